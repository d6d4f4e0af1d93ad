//! The cases that run beside one another.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{SockRef, Socket};

use super::Subject;
use super::bench::{
    Bench, PATIENCE, expect, out, pattern, process, set_small_buffer, tcp_listener, tcp_pair, write,
};
use crate::conn::Peer;
use crate::reactor::{Listener, Reactor};
use crate::shared::{ATTACH_BYTES, Out, Shared, Value};

pub(super) fn bytes_come_back<S: Subject>() {
    let mut bench = Bench::<S>::new();
    let (unix, unix_transport, unix_far) = bench.pair();
    let (tcp, tcp_transport, tcp_far) = bench.tcp_pair();
    for round in 1..=20 {
        let bytes = pattern(round * 50, round);
        write(&unix_far, &bytes);
        write(&tcp_far, &bytes);
        bench.run_until("bytes", |bench| {
            [unix, tcp].iter().all(|conn| bench.records[*conn].received.len() == bytes.len())
        });
        for (conn, transport) in [(unix, unix_transport), (tcp, tcp_transport)] {
            let received = std::mem::take(&mut bench.records[conn].received);
            assert!(received == bytes);
            bench.reactor.send(transport, out(&received));
        }
        bench.run_until("sends", |bench| {
            [unix, tcp].iter().all(|conn| bench.records[*conn].sends == round)
        });
        expect(&unix_far, &bytes);
        expect(&tcp_far, &bytes);
    }
}

/// A peer that sends and takes `bytes` at the same time, slowly.
fn exchange(far: TcpStream, sends: Vec<u8>, takes: Vec<u8>) -> thread::JoinHandle<()> {
    let mut sender = far.try_clone().unwrap();
    let sending = thread::spawn(move || {
        sends.chunks(10_007).for_each(|chunk| sender.write_all(chunk).unwrap());
    });
    thread::spawn(move || {
        expect(far, &takes);
        sending.join().unwrap();
    })
}

pub(super) fn large_values_go_both_ways<S: Subject>() {
    const VALUE: usize = 1 << 20;
    let mut bench = Bench::<S>::new();
    let (near, far) = tcp_pair();
    set_small_buffer(&near);
    let (conn, transport) = bench.open(near);
    let mut output = Out::default();
    let mut takes = Vec::new();
    for value in 0..4 {
        let bytes = pattern(VALUE + value, value);
        output.extend(b"before");
        takes.extend(b"before");
        takes.extend(&bytes);
        output.value(Value::Shared(&Shared::new(bytes)));
    }
    output.extend(b"after");
    takes.extend(b"after");
    let sends = pattern(4 * VALUE, 9);
    let len = takes.len();
    let peer = exchange(far, sends.clone(), takes);
    bench.reactor.send(transport, output);
    bench.run_until("both directions", |bench| {
        let record = &bench.records[conn];
        record.received.len() == sends.len() && record.sends == 1
    });
    peer.join().unwrap();
    assert_eq!(bench.records[conn].sent, len);
    assert!(bench.records[conn].received == sends);
}

pub(super) fn an_output_of_many_pieces_is_whole<S: Subject>() {
    const VALUES: usize = 600;
    let mut bench = Bench::<S>::new();
    let (conn, transport, far) = bench.pair();
    let value = Shared::new(pattern(ATTACH_BYTES, 1));
    let mut output = Out::default();
    for number in 0..VALUES {
        output.extend(&number.to_le_bytes());
        output.value(Value::Shared(&value));
    }
    let peer = thread::spawn(move || {
        for number in 0..VALUES {
            expect(&far, &number.to_le_bytes());
            expect(&far, &pattern(ATTACH_BYTES, 1));
        }
    });
    bench.reactor.send(transport, output);
    bench.run_until("the send", |bench| bench.records[conn].sends == 1);
    peer.join().unwrap();
    assert_eq!(bench.records[conn].sent, VALUES * (ATTACH_BYTES + size_of::<usize>()));
}

pub(super) fn nothing_is_read_while_reading_is_off<S: Subject>() {
    let mut bench = Bench::<S>::new();
    let (conn, transport, far) = bench.pair();
    write(&far, b"first");
    bench.run_until("bytes", |bench| bench.records[conn].received == b"first");
    bench.reactor.set_reading(transport, false);
    bench.settle();
    write(&far, b" second");
    bench.settle();
    assert_eq!(bench.records[conn].received, b"first");
    bench.reactor.send(transport, out(b"still sends"));
    bench.run_until("the send", |bench| bench.records[conn].sends == 1);
    expect(&far, b"still sends");
    bench.reactor.set_reading(transport, true);
    bench.run_until("bytes", |bench| bench.records[conn].received == b"first second");
}

pub(super) fn changes_of_mind_lose_nothing<S: Subject>() {
    let mut bench = Bench::<S>::new();
    let (conn, transport, far) = bench.pair();
    let bytes = pattern(300_000, 3);
    let sends = bytes.clone();
    let peer = thread::spawn(move || write(far, &sends));
    let mut step = 0;
    bench.run_until("all bytes", |bench| {
        // On in the end, and after any number of changes within a turn.
        for _ in 0..step % 4 {
            bench.reactor.set_reading(transport, step % 2 == 0);
            bench.reactor.set_reading(transport, step % 3 == 0);
        }
        bench.reactor.set_reading(transport, step % 5 != 0);
        step += 1;
        bench.records[conn].received.len() == bytes.len()
    });
    peer.join().unwrap();
    assert!(bench.records[conn].received == bytes);
}

pub(super) fn many_sockets_at_once<S: Subject>() {
    const SOCKETS: usize = 1300;
    crate::sys::raise_descriptor_limit(4 * SOCKETS as u64 * 8).unwrap();
    let mut bench = Bench::<S>::new();
    // Without a sleep too it has to see what its queues had no room for.
    bench.sleep = None;
    let peers: Vec<_> = (0..SOCKETS).map(|_| bench.pair()).collect();
    for round in 1..=3 {
        for (conn, _, far) in &peers {
            write(far, &pattern(100, conn + round));
        }
        bench.run_until("bytes of all", |bench| {
            bench.records.iter().all(|record| record.received.len() == 100)
        });
        for (conn, transport, _) in &peers {
            let received = std::mem::take(&mut bench.records[*conn].received);
            bench.reactor.send(*transport, out(&received));
        }
        bench.run_until("sends of all", |bench| {
            bench.records.iter().all(|record| record.sends == round)
        });
        for (conn, _, far) in &peers {
            expect(far, &pattern(100, conn + round));
        }
    }
}

pub(super) fn more_bytes_than_buffers<S: Subject>() {
    const SOCKETS: usize = 40;
    let mut bench = Bench::<S>::new();
    let bytes = |conn: usize| pattern(300_000 + conn, conn);
    let peers: Vec<_> = (0..SOCKETS)
        .map(|_| {
            let (conn, _, far) = bench.pair();
            thread::spawn(move || {
                write(&far, &bytes(conn));
                far
            })
        })
        .collect();
    bench.run_until("bytes of all", |bench| {
        let records = bench.records.iter().enumerate();
        records.into_iter().all(|(conn, record)| record.received.len() == 300_000 + conn)
    });
    for (conn, record) in bench.records.iter().enumerate() {
        assert!(record.received == bytes(conn), "socket {conn}");
    }
    drop(peers);
}

pub(super) fn a_closed_socket_tells_nothing<S: Subject>() {
    let mut bench = Bench::<S>::new();
    let (conn, transport, mut far) = bench.pair();
    write(&far, b"first");
    bench.run_until("bytes", |bench| bench.records[conn].received == b"first");
    write(&far, b"second");
    bench.reactor.close(transport);
    bench.settle();
    assert_eq!(bench.records[conn].received, b"first");
    assert!(has_ended(&mut far), "it was closed for the other side");
    assert_eq!(bench.records[conn].ends + bench.records[conn].breaks, 0);
}

/// Whether the other side has closed, with or without bytes unread.
fn has_ended(far: &mut impl Read) -> bool {
    let mut rest = Vec::new();
    match far.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

pub(super) fn closing_gives_up_the_send<S: Subject>() {
    let mut bench = Bench::<S>::new();
    for value in [Value::Slice(&[7; 1 << 20]), Value::Shared(&Shared::new(vec![7; 4 << 20]))] {
        let (near, mut far) = UnixStream::pair().unwrap();
        set_small_buffer(&near);
        far.set_read_timeout(Some(PATIENCE)).unwrap();
        let (conn, transport) = bench.open(near);
        let mut output = out(b"begins");
        output.value(value);
        bench.reactor.send(transport, output);
        expect_while(&mut bench, &far, b"begins");
        bench.reactor.close(transport);
        bench.settle();
        assert!(has_ended(&mut far));
        assert!(bench.records[conn].is_empty(), "{:?}", bench.records[conn]);
    }
}

/// Reads a little, which the reactor may still have to send.
fn expect_while<S: Subject>(bench: &mut Bench<S>, far: &UnixStream, expected: &[u8]) {
    far.set_nonblocking(true).unwrap();
    let mut bytes = vec![0; expected.len()];
    let mut filled = 0;
    bench.run_until("the first bytes of a send", |_| {
        if let Ok(more) = (&mut &*far).read(&mut bytes[filled..]) {
            filled += more;
        }
        filled == expected.len()
    });
    assert_eq!(bytes, expected);
    far.set_nonblocking(false).unwrap();
}

pub(super) fn late_completions_reach_no_new_socket<S: Subject>() {
    let mut bench = Bench::<S>::new();
    let mut peers = Vec::new();
    for round in 0..300_usize {
        let (conn, transport, far) = bench.pair();
        write(&far, &[conn as u8; 50]);
        match round % 4 {
            // The receive is not even asked for yet.
            0 => {}
            // It may be under way, or through.
            1 => bench.reactor.turn(None).unwrap(),
            2 => {
                bench.reactor.turn(None).unwrap();
                bench.take_event();
                write(&far, &[conn as u8; 50]);
            }
            _ => {
                bench.reactor.send(transport, out(&[conn as u8; 60_000]));
                bench.reactor.turn(None).unwrap();
            }
        }
        bench.reactor.close(transport);
        peers.push(far);
    }
    bench.settle();
    for (conn, record) in bench.records.iter().enumerate().take(peers.len()) {
        assert!(record.received.iter().all(|byte| *byte == conn as u8), "connection {conn}");
        assert_eq!(record.sends + record.ends + record.breaks, 0, "connection {conn}");
    }
}

/// Closes so that the other side is told of an error.
fn reset(far: TcpStream) {
    SockRef::from(&far).set_linger(Some(Duration::ZERO)).unwrap();
}

pub(super) fn a_reset_breaks_once<S: Subject>() {
    let mut bench = Bench::<S>::new();
    let (conn, transport, far) = bench.tcp_pair();
    reset(far);
    bench.run_until("the break", |bench| bench.records[conn].breaks == 1);
    bench.reactor.send(transport, out(b"to nobody"));
    bench.reactor.set_reading(transport, false);
    bench.reactor.set_reading(transport, true);
    bench.settle();
    assert_eq!((bench.records[conn].breaks, bench.records[conn].sends), (1, 0));
    bench.reactor.close(transport);
    bench.settle();
    assert_eq!(bench.records[conn].breaks, 1);
}

pub(super) fn a_send_to_nobody_breaks_once<S: Subject>() {
    let mut bench = Bench::<S>::new();
    let (near, far) = tcp_pair();
    set_small_buffer(&near);
    let (conn, transport) = bench.open(near);
    // Only the send can notice.
    bench.reactor.set_reading(transport, false);
    bench.reactor.send(transport, out(&vec![1; 8 << 20]));
    bench.settle();
    assert!(bench.records[conn].is_empty(), "nobody takes that much");
    reset(far);
    bench.run_until("the break", |bench| bench.records[conn].breaks == 1);
    bench.settle();
    assert_eq!((bench.records[conn].breaks, bench.records[conn].sends), (1, 0));
    bench.reactor.close(transport);
}

pub(super) fn half_a_connection_still_takes<S: Subject>() {
    let mut bench = Bench::<S>::new();
    let (unix, unix_transport, unix_far) = bench.pair();
    let (tcp, tcp_transport, tcp_far) = bench.tcp_pair();
    write(&unix_far, b"last words");
    write(&tcp_far, b"last words");
    unix_far.shutdown(Shutdown::Write).unwrap();
    tcp_far.shutdown(Shutdown::Write).unwrap();
    bench.run_until("the ends", |bench| [unix, tcp].iter().all(|c| bench.records[*c].ends == 1));
    for (conn, transport) in [(unix, unix_transport), (tcp, tcp_transport)] {
        assert_eq!(bench.records[conn].received, b"last words");
        bench.reactor.send(transport, out(&pattern(50_000, 2)));
    }
    let takes = thread::spawn(move || {
        expect(&unix_far, &pattern(50_000, 2));
        expect(&tcp_far, &pattern(50_000, 2));
    });
    for (conn, transport) in [(unix, unix_transport), (tcp, tcp_transport)] {
        bench.run_until("the sends", |bench| bench.records[conn].sends == 1);
        assert_eq!((bench.records[conn].ends, bench.records[conn].breaks), (1, 0));
        bench.reactor.close(transport);
    }
    takes.join().unwrap();
}

pub(super) fn connections_are_told_with_their_peer<S: Subject>() {
    let (tcp, address) = tcp_listener();
    let directory = std::env::temp_dir();
    let path = directory.join(format!("kevy-{}-{}", std::process::id(), S::Reactor::NAME));
    let path = path.with_extension(std::any::type_name::<S>().len().to_string());
    let _ = std::fs::remove_file(&path);
    let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let unix = Listener { socket: Socket::from(unix), number: 5, path: Some(path.clone()) };
    let mut bench = Bench::<S>::listening(vec![tcp, unix]);
    let tcp_far = TcpStream::connect(address).unwrap();
    let _unix_far = UnixStream::connect(&path).unwrap();
    bench.run_until("connections", |bench| bench.accepted.len() == 2);
    std::fs::remove_file(&path).unwrap();
    bench.accepted.sort_by_key(|incoming| incoming.listener);
    let [tcp, unix] = &bench.accepted[..] else { panic!("two connected") };
    assert_eq!((tcp.listener, unix.listener), (3, 5));
    assert_eq!(tcp.peer, Peer::Tcp(tcp_far.local_addr().unwrap()));
    assert_eq!(unix.peer, Peer::Unix(path));
    let socket = SockRef::from(&tcp.socket);
    assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
}

pub(super) fn accepting_can_be_put_off<S: Subject>() {
    let (listener, address) = tcp_listener();
    let mut bench = Bench::<S>::listening(vec![listener]);
    let _first = TcpStream::connect(address).unwrap();
    bench.run_until("a connection", |bench| bench.accepted.len() == 1);
    bench.reactor.set_accepting(false);
    bench.settle();
    let _second = TcpStream::connect(address).unwrap();
    bench.settle();
    assert_eq!(bench.accepted.len(), 1);
    bench.reactor.set_accepting(true);
    bench.run_until("the one that waited", |bench| bench.accepted.len() == 2);
    bench.reactor.set_accepting(false);
    bench.reactor.set_accepting(true);
    let _third = TcpStream::connect(address).unwrap();
    bench.run_until("a connection", |bench| bench.accepted.len() == 3);
}

pub(super) fn after_the_listeners_nobody_connects<S: Subject>() {
    let (listener, address) = tcp_listener();
    let mut bench = Bench::<S>::listening(vec![listener]);
    let _first = TcpStream::connect(address).unwrap();
    bench.run_until("a connection", |bench| bench.accepted.len() == 1);
    bench.reactor.stop_listening();
    bench.run_until("nobody listens", |_| TcpStream::connect(address).is_err());
    bench.reactor.set_accepting(true);
    bench.settle();
    assert!(TcpStream::connect(address).is_err());
}

pub(super) fn a_wake_ends_a_sleep<S: Subject>() {
    let mut bench = Bench::<S>::new();
    bench.settle();
    let process = bench.process.clone();
    // It wakes the sleep or comes before it; either will do.
    let waking = thread::spawn(move || process.wakers[0].wake());
    let start = Instant::now();
    bench.reactor.turn(Some(PATIENCE)).unwrap();
    assert!(start.elapsed() < PATIENCE);
    assert!(!bench.take_event());
    waking.join().unwrap();
    bench.settle();
    sleeps(&mut bench);
}

pub(super) fn a_wake_before_a_sleep_ends_it<S: Subject>() {
    let mut bench = Bench::<S>::new();
    bench.settle();
    for _ in 0..3 {
        bench.process.wakers[0].wake();
        let start = Instant::now();
        bench.reactor.turn(Some(PATIENCE)).unwrap();
        assert!(start.elapsed() < PATIENCE);
        assert!(!bench.take_event());
    }
}

pub(super) fn a_shard_wakes_another<S: Subject>() {
    let subject = S::new(2).expect("the test was to run");
    let process = process::<S>(2);
    let mut bench = Bench::of_shard(&subject, process.clone(), 0, Vec::new());
    bench.settle();
    let other = thread::spawn(move || {
        let mut other = Bench::of_shard(&subject, process, 1, Vec::new());
        for _ in 0..3 {
            other.reactor.wake(0);
        }
        other.reactor.turn(None).unwrap();
        assert!(!other.take_event());
    });
    let start = Instant::now();
    bench.reactor.turn(Some(PATIENCE)).unwrap();
    assert!(start.elapsed() < PATIENCE);
    assert!(!bench.take_event());
    other.join().unwrap();
}

pub(super) fn a_sleep_ends_by_itself<S: Subject>() {
    let mut bench = Bench::<S>::new();
    bench.settle();
    sleeps(&mut bench);
}

/// It sleeps for as long as it is told to, more or less, rather than spin.
fn sleeps<S: Subject>(bench: &mut Bench<S>) {
    const SLEEP: Duration = Duration::from_millis(30);
    let start = Instant::now();
    let mut turns = 0;
    while let Some(left) = SLEEP.checked_sub(start.elapsed()) {
        bench.reactor.turn(Some(left)).unwrap();
        while bench.take_event() {}
        turns += 1;
    }
    assert!(turns < 10, "it turned {turns} times");
}

pub(super) fn those_that_are_gone_keep_nobody_awake<S: Subject>() {
    let mut bench = Bench::<S>::new();
    // One that was read to its end; those whose end, or reset, nobody asks for.
    let (ended, _, far) = bench.pair();
    drop(far);
    bench.run_until("the end", |bench| bench.records[ended].ends == 1);
    for is_reset in [false, true] {
        let (_, transport, far) = bench.tcp_pair();
        bench.reactor.set_reading(transport, false);
        bench.settle();
        if is_reset { reset(far) } else { drop(far) }
    }
    let (_, transport, far) = bench.pair();
    bench.reactor.set_reading(transport, false);
    bench.settle();
    drop(far);
    bench.settle();
    sleeps(&mut bench);
}

pub(super) fn an_urgent_byte_keeps_nobody_awake<S: Subject>() {
    let mut bench = Bench::<S>::new();
    let (conn, _, far) = bench.tcp_pair();
    SockRef::from(&far).send_out_of_band(b"!").unwrap();
    bench.settle();
    sleeps(&mut bench);
    write(&far, b"plain");
    bench.run_until("bytes", |bench| bench.records[conn].received.ends_with(b"plain"));
    sleeps(&mut bench);
}

pub(super) fn leftovers_keep_it_awake<S: Subject>() {
    let mut bench = Bench::<S>::new();
    let (first, _, first_far) = bench.pair();
    let (second, _, second_far) = bench.pair();
    bench.settle();
    write(&first_far, b"one");
    write(&second_far, b"two");
    let received = |bench: &Bench<S>| {
        [first, second].iter().filter(|conn| !bench.records[**conn].received.is_empty()).count()
    };
    let start = Instant::now();
    for taken in 1..=2 {
        while received(&bench) < taken {
            bench.reactor.turn(Some(PATIENCE)).unwrap();
            bench.take_event();
        }
        assert!(start.elapsed() < PATIENCE);
    }
    assert_eq!(bench.records[first].received, b"one");
    assert_eq!(bench.records[second].received, b"two");
}

pub(super) fn readiness_shows_without_a_turn<S: Subject>() {
    let mut bench = Bench::<S>::new();
    let (conn, _, far) = bench.pair();
    bench.settle();
    while bench.reactor.is_ready() {
        bench.reactor.turn(None).unwrap();
        while bench.take_event() {}
    }
    write(&far, b"here");
    let deadline = Instant::now() + PATIENCE;
    while !bench.reactor.is_ready() {
        assert!(Instant::now() < deadline);
        std::hint::spin_loop();
    }
    bench.run_until("bytes", |bench| bench.records[conn].received == b"here");
}
