//! What the operator sets and does: limits, directives, files, signals, errors at the start.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Instant;

use kevy_wire_tests::{
    Address, Both, Client, Exited, Failure, Launch, Reply, Server, TempDir, fresh_address,
    is_self_check, matrix, notice, parse, smallest_and_largest, wait_until,
};

const MIB: usize = 1 << 20;

fn pong() -> Reply {
    Reply::Simple(b"PONG".to_vec())
}

#[test]
fn the_reactor_is_the_one_that_was_asked_for() {
    if is_self_check() {
        return;
    }
    for setup in matrix() {
        let server = Server::ours(setup);
        assert_eq!(server.has_io_uring(), setup.is_uring(), "{setup}");
    }
}

/// Connects once there is room: a connection that left may still be on its way out.
fn connect_when_there_is_room(server: &Server) -> Client {
    wait_until("there is room for a client", || {
        let mut client = server.connect();
        client.send_raw(b"PING\r\n").ok()?;
        matches!(client.receive(), Ok(received) if received.reply == pong()).then_some(client)
    })
}

#[test]
fn maxclients() {
    for setup in matrix() {
        let both = Both::start(setup, &[("maxclients", "3")]);
        for server in [&both.oracle, &both.ours] {
            let mut inside: Vec<Client> =
                (0..3).map(|_| connect_when_there_is_room(server)).collect();
            for _ in 0..20 {
                let refused = server.connect().read_until(|_| false);
                let text = b"-ERR max number of clients reached\r\n".to_vec();
                assert_eq!(refused, Ok((text, true)), "{setup}");
            }
            for client in &mut inside {
                assert_eq!(client.call(["PING"]), pong(), "{setup}");
            }
            inside.remove(1);
            inside.push(connect_when_there_is_room(server));

            let info = inside[0].call(["INFO", "clients"]).text();
            assert!(info.contains("connected_clients:3\r\n"), "{setup}: {info}");
            let info = inside[0].call(["INFO", "stats"]).text();
            assert!(!info.contains("rejected_connections:0\r\n"), "{setup}: {info}");

            assert_eq!(inside[0].call(["CONFIG", "SET", "maxclients", "4"]), Reply::ok());
            inside.push(connect_when_there_is_room(server));
            let refused = server.connect().read_until(|_| false);
            assert!(matches!(refused, Ok((_, true))), "{setup}: {refused:?}");
        }
    }
}

#[test]
fn an_idle_client_is_closed_and_a_busy_one_is_not() {
    for setup in smallest_and_largest() {
        let server = Launch::ours(setup).option("timeout", "1").start();
        let mut busy = server.connect();
        assert_eq!(
            busy.call(["CONFIG", "GET", "timeout"]).elements(),
            [Reply::bulk("timeout"), Reply::bulk("1")]
        );
        let mut idle = server.connect();
        let id = idle.call(["CLIENT", "ID"]).integer().to_string();
        let since = Instant::now();
        wait_until("the idle client is closed", || {
            let listed = busy.call(["CLIENT", "LIST", "ID", &id]).text();
            listed.is_empty().then_some(())
        });
        assert!(since.elapsed().as_millis() > 900, "{setup}: after {:?}", since.elapsed());
        assert_eq!(idle.receive(), Err(Failure::Closed), "{setup}");
        assert_eq!(busy.call(["PING"]), pong(), "{setup}");
        // Set while it runs.
        assert_eq!(busy.call(["CONFIG", "SET", "timeout", "0"]), Reply::ok());
        let mut idle = server.connect();
        assert_eq!(idle.call(["PING"]), pong());
        assert_eq!(busy.call(["CONFIG", "SET", "timeout", "1"]), Reply::ok());
        assert_eq!(idle.receive(), Err(Failure::Closed), "{setup}");
    }
}

#[test]
fn output_past_its_hard_limit_closes_the_client() {
    const SIZE: usize = 48 * MIB;
    for setup in smallest_and_largest() {
        let server = Server::ours(setup);
        let mut other = server.connect();
        let value = vec![b'x'; SIZE];
        // On as many keys as it takes to have both: one's own shard and another.
        for key in ["a", "b", "c"] {
            assert_eq!(other.call([b"SET", key.as_bytes(), &value]), Reply::ok(), "{setup}");
        }
        let limit = ["CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 0 0"];
        assert_eq!(other.call(limit), Reply::ok(), "{setup}");
        for key in ["a", "b", "c"] {
            let mut reader = server.connect();
            let id = reader.call(["CLIENT", "ID"]).integer().to_string();
            reader.send(["GET", key]);
            wait_until("the client that does not read is closed", || {
                other.call(["CLIENT", "LIST", "ID", &id]).text().is_empty().then_some(())
            });
            assert!(reader.drain_until_closed() < SIZE, "{setup}: it got everything");
        }
        let limit = ["CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0"];
        assert_eq!(other.call(limit), Reply::ok(), "{setup}");
        assert_eq!(other.call(["GET", "a"]), Reply::Bulk(value), "{setup}");
    }
}

#[test]
fn proto_max_bulk_len() {
    for setup in smallest_and_largest() {
        let both = Both::start(setup, &[("proto-max-bulk-len", "1mb")]);
        let (mut oracle, mut ours) = both.connect();
        let full = vec![b'x'; MIB];
        let mut same = |command: &[&[u8]]| {
            let (expected, actual) = (oracle.call(command), ours.call(command));
            assert_eq!(actual, expected, "{setup}: {}", command[0].escape_ascii());
        };
        same(&[b"SET", b"k", &full]);
        same(&[b"STRLEN", b"k"]);
        same(&[b"APPEND", b"k", b"x"]);
        same(&[b"SETRANGE", b"k", b"1048575", b"xx"]);
        same(&[b"SETRANGE", b"k", b"1048575", b"x"]);
        same(&[b"SETRANGE", b"new", b"1048576", b"x"]);
        same(&[b"CONFIG", b"SET", b"proto-max-bulk-len", b"1000"]);
        same(&[b"CONFIG", b"SET", b"proto-max-bulk-len", b"2mb"]);
        same(&[b"APPEND", b"k", b"x"]);
        same(&[b"CONFIG", b"SET", b"proto-max-bulk-len", b"1mb"]);
        let header = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048577\r\n";
        for client in [&mut oracle, &mut ours] {
            client.send_raw(header).expect("send");
        }
        let expected = oracle.read_until(|_| false);
        assert_eq!(ours.read_until(|_| false), expected, "{setup}");
    }
}

/// A server with files that its end should remove.
struct WithFiles {
    server: Server,
    pid_file: String,
    socket: String,
    _files: TempDir,
}

impl WithFiles {
    fn start(launch: Launch) -> Self {
        let files = TempDir::new();
        let (pid_file, socket) = (files.file("pid"), files.file("socket"));
        let server = launch.option("pidfile", &pid_file).option("unixsocket", &socket).start();
        let pid = std::fs::read_to_string(&pid_file).expect("a pidfile");
        assert_eq!(pid.trim(), server.pid().to_string());
        assert!(Path::new(&socket).exists());
        Self { server, pid_file, socket, _files: files }
    }

    fn assert_ends_well(self, place: &str) {
        let Exited { status, log } = self.server.wait_for_exit();
        assert_eq!(status.code(), Some(0), "{place}: {status}\n{log}");
        assert!(!Path::new(&self.pid_file).exists(), "{place}: the pidfile is left");
        assert!(!Path::new(&self.socket).exists(), "{place}: the Unix socket is left");
    }
}

#[test]
fn shutdown_ends_the_server() {
    for setup in matrix() {
        for command in [&["SHUTDOWN"][..], &["SHUTDOWN", "NOSAVE"], &["shutdown", "nosave", "now"]]
        {
            let running = WithFiles::start(Launch::ours(setup));
            let mut client = running.server.connect();
            let mut other = running.server.connect();
            assert_eq!(other.call(["PING"]), pong());
            client.send(command);
            assert_eq!(client.receive(), Err(Failure::Closed), "{setup}, {command:?}");
            assert_eq!(other.receive(), Err(Failure::Closed), "{setup}, {command:?}");
            running.assert_ends_well(&format!("{setup}, {command:?}"));
        }
    }
}

#[test]
fn a_signal_ends_the_server_in_order() {
    for setup in matrix() {
        for signal in ["TERM", "INT"] {
            let running = WithFiles::start(Launch::ours(setup));
            let place = format!("{setup}, {signal}");
            let address = running.server.address().clone();
            let mut client = running.server.connect();
            let requests: Vec<u8> = (0..5000)
                .flat_map(|i| kevy_wire_tests::encode(["ECHO".to_owned(), i.to_string()]))
                .collect();
            client.send_raw(&requests).expect("send");
            assert_eq!(client.reply(), Reply::bulk("0"), "{place}");
            running.server.signal(signal);
            // As many as it had read are answered, and none of them by half.
            let (rest, _) = client.read_until(|_| false).expect("the end");
            let mut rest = &rest[..];
            let mut next = 1;
            while !rest.is_empty() {
                let (reply, len) = parse(rest).expect("replies").expect("whole replies");
                assert_eq!(reply, Reply::bulk(next.to_string()), "{place}");
                rest = &rest[len..];
                next += 1;
            }
            running.assert_ends_well(&place);
            assert!(Client::try_connect(&address).is_err(), "{place}: somebody still listens");
        }
    }
}

/// A client with tens of MiB to read, which it doesn't.
fn hold_up(server: &Server) -> Client {
    let mut client = server.connect();
    let value = vec![b'x'; 32 * MIB];
    assert_eq!(client.call([b"SET", &b"large"[..], &value]), Reply::ok());
    client.send(["GET", "large"]);
    client.send(["GET", "large"]);
    // The first bytes show that the server is at it.
    client.read_until(|input| !input.is_empty()).expect("some of the reply");
    client
}

#[test]
fn a_client_that_does_not_read_does_not_keep_the_server() {
    for setup in smallest_and_largest() {
        let launch = Launch::ours(setup).option("shutdown-timeout", "1");
        let running = WithFiles::start(launch);
        let _unread = hold_up(&running.server);
        running.server.signal("TERM");
        running.assert_ends_well(&setup.to_string());
    }
}

#[test]
fn a_second_interrupt_ends_the_server_at_once() {
    for setup in smallest_and_largest() {
        let server = Server::ours(setup);
        let _unread = hold_up(&server);
        server.signal("INT");
        server.signal("INT");
        let _ = server.wait_for_exit();
    }
}

#[test]
fn a_stale_unix_socket_is_replaced_and_its_mode_is_set() {
    for setup in matrix() {
        for mode in ["700", "777", "770"] {
            let files = TempDir::new();
            let path = files.file("socket");
            drop(UnixListener::bind(&path).expect("bind"));
            let server = Launch::ours(setup)
                .option("unixsocket", &path)
                .option("unixsocketperm", mode)
                .start();
            let mut client = Client::connect(&Address::Unix(path.clone().into()));
            assert_eq!(client.call(["PING"]), pong(), "{setup}");
            let permissions = std::fs::metadata(&path).expect("the socket").permissions();
            assert_eq!(format!("{:o}", permissions.mode() & 0o777), mode, "{setup}");
            drop(server);
        }
    }
}

#[test]
fn a_logfile_takes_the_log() {
    for setup in smallest_and_largest() {
        let files = TempDir::new();
        let path = files.file("server.log");
        let server = Launch::ours(setup).option("logfile", &path).start();
        let log = std::fs::read_to_string(&path).expect("the log");
        assert!(!log.is_empty(), "{setup}: nothing in the log");
        let elsewhere = server.log();
        assert!(elsewhere.trim().is_empty(), "{setup}: outside of the log: {elsewhere}");
    }
}

/// The value of a setting.
fn setting(client: &mut Client, name: &str) -> String {
    client.call(["CONFIG", "GET", name]).elements()[1].text()
}

#[test]
fn a_configuration_file_is_the_first_argument() {
    for setup in smallest_and_largest() {
        let address = fresh_address();
        let text = format!(
            "# a comment\n\n  bind {} \nport {}\nMaxClients 77\ntimeout   0\n\
             requirepass \"a \\x41\"\nsave 900 1\nsave 300 10 60 10000\nappendonly no\n\
             client-output-buffer-limit normal 0 0 0\n\
             client-output-buffer-limit pubsub 32mb 8mb 60\n\
             tcp-keepalive 100\nloglevel notice\ndatabases 16\n",
            address.ip(),
            address.port()
        );
        let server = Launch::ours(setup)
            .config_file(&text)
            .listening_as_options_say(address)
            .option("tcp-keepalive", "200")
            .start();
        let mut client = server.connect();
        assert!(client.call(["PING"]).is_error(), "{setup}: no password was asked for");
        assert_eq!(client.call(["AUTH", "a A"]), Reply::ok(), "{setup}");
        assert_eq!(setting(&mut client, "maxclients"), "77", "{setup}");
        assert_eq!(setting(&mut client, "tcp-keepalive"), "200", "{setup}: options come last");
        assert_eq!(setting(&mut client, "port"), address.port().to_string(), "{setup}");
    }
}

#[test]
fn directives_are_arguments() {
    for setup in smallest_and_largest() {
        let server = Launch::ours(setup)
            .arguments(&["--save", "900", "1", "--appendonly", "no", "--hz", "20"])
            .arguments(&["--save", "", "--tcp-backlog", "100", "--tcp-keepalive", "60"])
            .arguments(&["--daemonize", "no", "--loglevel", "notice", "--maxmemory", "1gb"])
            .arguments(&["--client-output-buffer-limit", "normal", "0", "0", "0"])
            .arguments(&["--protected-mode", "yes", "--TIMEOUT", "1000", "--databases", "16"])
            .arguments(&["--lazyfree-lazy-user-del", "yes", "--maxmemory-policy", "noeviction"])
            .start();
        let mut client = server.connect();
        assert_eq!(setting(&mut client, "timeout"), "1000", "{setup}");
        assert_eq!(setting(&mut client, "tcp-keepalive"), "60", "{setup}");
        assert_eq!(setting(&mut client, "maxmemory"), "1073741824", "{setup}");
    }
}

/// It ends with status 1 and says why.
fn assert_refused(launch: Launch, mentions: &[&str], place: &str) {
    let Exited { status, log } = launch.start_and_end();
    assert_eq!(status.code(), Some(1), "{place}: {status}\n{log}");
    let lower = log.to_lowercase();
    for word in mentions {
        assert!(lower.contains(word), "{place}: no word of {word}\n{log}");
    }
}

#[test]
fn a_bad_directive_is_a_clear_error() {
    let setup = matrix()[0];
    for (directive, value) in [
        ("nosuch-directive", "1"),
        ("timeout", "abc"),
        ("timeout", "-1"),
        ("maxclients", "0"),
        ("maxclients", "many"),
        ("maxmemory", "1x"),
        ("maxmemory-policy", "nosuch"),
        ("protected-mode", "maybe"),
        ("unixsocketperm", "999"),
        ("client-output-buffer-limit", "normal 0 0"),
        ("loglevel", "nosuch"),
        ("tcp-keepalive", ""),
    ] {
        let place = format!("--{directive} {value}");
        assert_refused(Launch::ours(setup).option(directive, value), &[directive], &place);
        let text = format!("# a line before\n{directive} \"{value}\"\n");
        assert_refused(Launch::ours(setup).config_file(&text), &[directive], &text);
    }
    for port in ["99999", "-1", "abc"] {
        let address = fresh_address();
        let launch = Launch::ours(setup).listening_as_options_say(address).option("port", port);
        assert_refused(launch, &["port"], port);
    }
    let file_is_missing = Launch::ours(setup).arguments(&["--pidfile"]);
    assert_refused(file_is_missing, &["pidfile"], "a directive without its value");
    if !is_self_check() {
        let ours = |name, value| Launch::ours(setup).option(name, value);
        assert_refused(ours("shards", "0"), &["shards"], "no shards");
        assert_refused(ours("shards", "x"), &["shards"], "shards that are no number");
        assert_refused(ours("reactor", "nosuch"), &["reactor", "nosuch"], "an unknown reactor");
    }
}

#[test]
fn an_address_in_use_is_a_clear_error() {
    for setup in matrix() {
        let first = Server::ours(setup);
        let address = first.socket_address();
        let again = Launch::ours(setup)
            .listening_as_options_say(address)
            .option("bind", &address.ip().to_string())
            .option("port", &address.port().to_string());
        let port = address.port().to_string();
        assert_refused(again, &["in use", &port], &setup.to_string());
        assert_eq!(first.connect().call(["PING"]), pong(), "{setup}");
    }
}

#[test]
fn several_addresses() {
    for setup in smallest_and_largest() {
        let (one, port) = (fresh_address(), fresh_address().port());
        let both = [SocketAddr::new(one.ip(), port), localhost_at(port)];
        let server = Launch::ours(setup)
            .listening_as_options_say(both[0])
            .option("port", &port.to_string())
            .option("bind", &format!("{} 127.0.0.1", one.ip()))
            .start();
        for address in both {
            let mut client = Client::connect(&Address::Tcp(address));
            assert_eq!(client.call(["PING"]), pong(), "{setup}, {address}");
        }
        drop(server);
    }
}

fn localhost_at(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

#[test]
fn ipv6() {
    let localhost = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if TcpListener::bind((localhost, 0)).is_err() {
        notice("SKIPPED: no IPv6 here: not tested");
        return;
    }
    for setup in smallest_and_largest() {
        let address = SocketAddr::new(localhost, fresh_address().port());
        let server = Launch::ours(setup)
            .listening_as_options_say(address)
            .option("port", &address.port().to_string())
            .option("bind", "::1")
            .start();
        let mut client = server.connect();
        let info = client.call(["CLIENT", "INFO"]).text();
        assert!(info.contains(&format!("laddr={address} ")), "{setup}: {info}");
    }
}

/// Loopback unless told otherwise: here, nothing but 127.0.0.1 of the loopback network.
#[test]
fn nobody_listens_to_the_world_unasked() {
    if is_self_check() {
        return;
    }
    for setup in smallest_and_largest() {
        let port = fresh_address().port();
        let server = Launch::ours(setup)
            .listening_as_options_say(localhost_at(port))
            .option("port", &port.to_string())
            .start();
        assert_eq!(server.connect().call(["PING"]), pong(), "{setup}");
        let neighbour = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), port);
        assert!(Client::try_connect(&Address::Tcp(neighbour)).is_err(), "{setup}");
    }
}
