//! Cases that count or use up what a whole process has. Each runs in a process of its own: the test
//! starts this program again, with nothing but itself to run.

use std::net::TcpStream;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::process::Command;
use std::time::Instant;

use super::Subject;
use super::bench::{Bench, PATIENCE, out, tcp_listener, write};
use crate::reactor::Reactor;
use crate::reactor::listener::ACCEPT_PAUSE;
use crate::sys::{lower_descriptor_limit, raise_descriptor_limit};

/// Set in the process that a case has to itself.
const ALONE: &str = "KEVY_TEST_ALONE";

/// Runs `case` in a process of its own.
fn alone(case: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return case();
    }
    let name = std::thread::current().name().expect("a test's thread has its name").to_owned();
    let program = std::env::current_exe().unwrap();
    let run =
        Command::new(program).args(["--exact", &name, "--nocapture"]).env(ALONE, "1").output();
    let run = run.unwrap();
    let (told, complaints) = (run.stdout, run.stderr);
    let [told, complaints] =
        [told, complaints].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(run.status.success() && told.contains("1 passed"), "{told}\n{complaints}");
}

/// How many descriptors this process has.
fn descriptors() -> usize {
    std::fs::read_dir("/dev/fd").unwrap().count()
}

pub(super) fn nothing_is_left_open<S: Subject>() {
    alone(|| {
        // What is opened once and stays.
        drop(Bench::<S>::new());
        let before = descriptors();
        for round in 0..3 {
            let (listener, address) = tcp_listener();
            let mut bench = Bench::<S>::listening(vec![listener]);
            let peers: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
            bench.run_until("connections", |bench| bench.accepted.len() == peers.len());
            let incoming = bench.accepted.split_off(5);
            let opened: Vec<_> =
                incoming.into_iter().map(|incoming| bench.open(incoming.socket)).collect();
            for (transport, peer) in opened.iter().map(|(_, transport)| *transport).zip(&peers) {
                write(peer, b"something");
                bench.reactor.send(transport, out(&vec![0; 1 << 20]));
            }
            bench.reactor.turn(None).unwrap();
            // Some are closed and let go, some are closed just now, some never; connections that
            // nobody heard of yet, too.
            opened[..5].iter().for_each(|(_, transport)| bench.reactor.close(*transport));
            bench.settle();
            opened[5..10].iter().for_each(|(_, transport)| bench.reactor.close(*transport));
            let late: Vec<_> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
            bench.reactor.turn(None).unwrap();
            if round == 1 {
                bench.reactor.stop_listening();
            }
            drop((bench, peers, late));
        }
        assert_eq!(descriptors(), before);
    });
}

/// Takes the numbers below that are free, so that the next descriptor is the highest.
fn fill_gaps(below: RawFd) -> RawFd {
    let mut descriptor = -1;
    while descriptor < below {
        descriptor = std::fs::File::open("/dev/null").unwrap().into_raw_fd();
    }
    descriptor
}

pub(super) fn without_descriptors_accepting_pauses<S: Subject>() {
    const CLIENTS: usize = 10;
    alone(|| {
        let (listener, address) = tcp_listener();
        let peers: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut bench = Bench::<S>::listening(vec![listener]);
        let highest = fill_gaps(peers.last().unwrap().as_raw_fd() + 20);
        lower_descriptor_limit(highest as u64 + 1 + 3).unwrap();
        bench.run_until("there is no room for more", |bench| bench.accepted.len() >= 3);
        let (start, mut turns) = (Instant::now(), 0);
        while start.elapsed() < 3 * ACCEPT_PAUSE {
            bench.reactor.turn(Some(PATIENCE.min(3 * ACCEPT_PAUSE))).unwrap();
            while bench.take_event() {}
            turns += 1;
        }
        assert!(turns < 20, "it pauses, and turned {turns} times");
        assert!(bench.accepted.len() < CLIENTS);
        raise_descriptor_limit(highest as u64 + 100).unwrap();
        bench.run_until("there is room again", |bench| bench.accepted.len() == CLIENTS);
    });
}
