//! Starting and stopping whole servers: listeners, signals, what is left behind.

mod toy;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use kevy_rt::{Builder, Error, Limits, Listen, ReactorChoice, Runtime};
use toy::Server;

const PATIENCE: Duration = Duration::from_secs(20);

fn reactors() -> Vec<ReactorChoice> {
    let without = std::env::var("KEVY_WITHOUT_URING").is_ok_and(|value| value == "1");
    let uring = (cfg!(target_os = "linux") && !without).then_some(ReactorChoice::Uring);
    uring.into_iter().chain([ReactorChoice::Poll]).collect()
}

fn builder() -> Builder<Server> {
    Builder::new(()).signals(false)
}

fn loopback(port: u16) -> Listen {
    Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn address(server: &Runtime, listener: usize) -> SocketAddr {
    match server.process().listeners()[listener].at {
        Listen::Tcp(address) => address,
        Listen::Unix { .. } => panic!("it is a Unix socket"),
    }
}

/// A path that no other test and no other run has.
fn socket_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("kevy-start-{}-{name}", std::process::id()))
}

fn unix(path: &std::path::Path, mode: Option<u32>) -> Listen {
    Listen::Unix { path: path.into(), mode }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// Asks for an echo.
fn answers(mut stream: impl Read + Write) -> bool {
    stream.write_all(b"echo hello\n").unwrap();
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).is_ok() && &reply == b"$hello\n"
}

fn stop(server: Runtime) {
    server.process().stop();
    server.join().unwrap();
}

#[test]
fn it_listens_on_several_addresses_and_counts_shards() {
    for reactor in reactors() {
        for shards in [1, 2, 5] {
            let path = socket_path(&format!("several-{reactor:?}-{shards}"));
            let server = builder()
                .reactor(reactor)
                .shards(shards)
                .listen(0, loopback(0))
                .listen(0, loopback(0))
                .listen(0, unix(&path, None))
                .start()
                .unwrap();
            for listener in 0..2 {
                assert!(answers(TcpStream::connect(address(&server, listener)).unwrap()));
            }
            let clients: Vec<_> = (0..10).map(|_| UnixStream::connect(&path).unwrap()).collect();
            assert!(clients.iter().all(answers));
            stop(server);
            assert!(!path.exists(), "its file goes with the server");
        }
    }
}

#[test]
fn both_families_have_a_port_of_one_number() {
    let server = builder().shards(1).listen(0, loopback(0)).start().unwrap();
    let port = address(&server, 0).port();
    let six = Listen::Tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    match builder().shards(1).listen(0, six).start() {
        Ok(second) => {
            assert!(answers(TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap()));
            stop(second);
        }
        // A machine without IPv6 says so, and not that the port is taken.
        Err(Error::Listen { source, .. }) => {
            assert_ne!(source.kind(), std::io::ErrorKind::AddrInUse);
        }
        Err(other) => panic!("{other}"),
    }
    stop(server);
}

#[test]
fn a_taken_port_releases_all_that_was_opened() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = socket_path("released");
    let failed = builder()
        .listen(0, unix(&path, None))
        .listen(0, Listen::Tcp(taken.local_addr().unwrap()))
        .start();
    let Err(Error::Listen { at, source }) = failed else { panic!("the port was taken") };
    assert_eq!(at, taken.local_addr().unwrap().to_string());
    assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
    assert!(!path.exists());
}

#[test]
fn a_second_server_on_a_port_is_refused() {
    for reactor in reactors() {
        let server = builder().reactor(reactor).shards(2).listen(0, loopback(0)).start().unwrap();
        let port = address(&server, 0).port();
        let second = builder().reactor(reactor).listen(0, loopback(port)).start();
        assert!(matches!(second, Err(Error::Listen { .. })));
        let client = TcpStream::connect(address(&server, 0)).unwrap();
        assert!(answers(&client));
        stop(server);
        // And the port is free again, although connections of the first are still remembered. For
        // a moment it may be held by a process that another test is about to start.
        let mut third = None;
        wait_until("the port is free", || {
            let again = builder().reactor(reactor).shards(1).listen(0, loopback(port));
            third = again.start().ok();
            third.is_some()
        });
        stop(third.unwrap());
    }
}

#[test]
fn a_stale_socket_file_is_replaced() {
    let path = socket_path("stale");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "nobody listens, and the file is there");
    let server = builder().shards(1).listen(0, unix(&path, Some(0o700))).start().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(answers(UnixStream::connect(&path).unwrap()));
    stop(server);
    assert!(!path.exists());
}

#[test]
fn a_living_socket_is_not_taken_away() {
    let path = socket_path("living");
    let server = builder().shards(1).listen(0, unix(&path, None)).start().unwrap();
    let second = builder().shards(1).listen(0, unix(&path, None)).start();
    assert!(matches!(second, Err(Error::Listen { .. })));
    assert!(answers(UnixStream::connect(&path).unwrap()));
    stop(server);
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let path = socket_path("file");
    fs::write(&path, "precious").unwrap();
    let failed = builder().listen(0, unix(&path, None)).start();
    assert!(matches!(failed, Err(Error::Listen { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    fs::remove_file(&path).unwrap();
}

#[test]
fn a_file_that_took_our_place_stays() {
    let path = socket_path("replaced");
    let server = builder().shards(1).listen(0, unix(&path, None)).start().unwrap();
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    stop(server);
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    fs::remove_file(&path).unwrap();
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = |builder: Builder<Server>| matches!(builder.start(), Err(Error::Invalid(_)));
    assert!(refused(builder().shards(0).listen(0, loopback(0))));
    assert!(refused(builder().shards(1_000_000).listen(0, loopback(0))));
    assert!(refused(builder().shards(1)));
    assert!(refused(builder().shards(1).listen(1, loopback(0))));
}

#[test]
fn a_stopped_server_answers_what_it_read() {
    for reactor in reactors() {
        let server = builder().reactor(reactor).shards(2).listen(0, loopback(0)).start().unwrap();
        let mut client = TcpStream::connect(address(&server, 0)).unwrap();
        assert!(answers(&client));
        client.write_all(b"fill 3000000\n").unwrap();
        let mut reply = vec![0; 10];
        client.read_exact(&mut reply).unwrap();
        server.process().stop();
        client.read_to_end(&mut reply).unwrap();
        assert_eq!(reply.len(), 3_000_002);
        server.join().unwrap();
    }
}

/// What the process does that a test starts to send it signals: set to the test's name.
const ROLE: &str = "KEVY_TEST_ROLE";

/// Starts this test again, in a process of its own.
fn in_a_process(test: &str) -> (Child, BufReader<impl Read>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ROLE, test)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

fn has_role(test: &str) -> bool {
    std::env::var(ROLE).is_ok_and(|role| role == test)
}

/// What the child says after `word`.
fn told(output: &mut impl BufRead, word: &str) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "it ended without saying {word}");
        // The test runner's own words may precede it on the line.
        if let Some((_, rest)) = line.split_once(word) {
            return rest.trim().to_owned();
        }
    }
}

fn send_signal(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn end_of(mut child: Child) -> ExitStatus {
    let mut status = None;
    wait_until("its end", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

#[test]
fn sigterm_stops_the_server_and_then_does_what_it_always_does() {
    const TEST: &str = "sigterm_stops_the_server_and_then_does_what_it_always_does";
    if has_role(TEST) {
        let server = Builder::<Server>::new(()).shards(2).listen(0, loopback(0)).start().unwrap();
        println!("serving {}", address(&server, 0));
        server.join().unwrap();
        println!("served .");
        loop {
            std::thread::park();
        }
    }
    let (child, mut output) = in_a_process(TEST);
    let at = told(&mut output, "serving ");
    assert!(answers(TcpStream::connect(at).unwrap()));
    send_signal(&child, "-TERM");
    told(&mut output, "served ");
    send_signal(&child, "-TERM");
    assert_eq!(end_of(child).signal(), Some(15));
}

#[test]
fn a_second_sigint_ends_it_at_once() {
    const TEST: &str = "a_second_sigint_ends_it_at_once";
    if has_role(TEST) {
        let limits = Limits { drain_timeout: Duration::from_secs(600), ..Limits::default() };
        let server = Builder::<Server>::new(()).shards(1).limits(limits).listen(0, loopback(0));
        let server = server.start().unwrap();
        println!("serving {}", address(&server, 0));
        while !server.process().is_stopping() {
            std::thread::yield_now();
        }
        println!("stopping .");
        server.join().unwrap();
        return;
    }
    let (child, mut output) = in_a_process(TEST);
    let mut client = TcpStream::connect(told(&mut output, "serving ")).unwrap();
    // A reply that nobody takes keeps it from ending.
    client.write_all(b"fill 100000000\n").unwrap();
    client.read_exact(&mut [0]).unwrap();
    send_signal(&child, "-INT");
    told(&mut output, "stopping ");
    send_signal(&child, "-INT");
    assert_eq!(end_of(child).code(), Some(1));
}

#[cfg(target_os = "linux")]
#[test]
fn threads_have_names_and_leave_nothing() {
    const TEST: &str = "threads_have_names_and_leave_nothing";
    if !has_role(TEST) {
        let (child, _output) = in_a_process(TEST);
        assert!(end_of(child).success());
        return;
    }
    let descriptors = || fs::read_dir("/dev/fd").unwrap().count();
    let threads = || {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
        let names = tasks.filter_map(|task| name(task.unwrap()));
        // The process keeps one thread for what takes long to free.
        names.filter(|name| name != "reaper\n").collect::<String>()
    };
    let before = (descriptors(), threads().lines().count());
    for reactor in reactors() {
        let server = builder().reactor(reactor).shards(3).listen(0, loopback(0)).start().unwrap();
        let names = threads();
        assert!((0..3).all(|shard| names.contains(&format!("shard-{shard}\n"))), "{names}");
        assert!(answers(TcpStream::connect(address(&server, 0)).unwrap()));
        stop(server);
        let first = builder().reactor(reactor).listen(0, loopback(0)).start().unwrap();
        let taken = loopback(address(&first, 0).port());
        let second = builder().reactor(reactor).listen(0, loopback(0)).listen(0, taken);
        assert!(second.start().is_err());
        stop(first);
    }
    // A thread that was joined is on the system's list for a moment more.
    wait_until("nothing is left", || (descriptors(), threads().lines().count()) == before);
}
