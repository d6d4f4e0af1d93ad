//! Bad input: frames that are none, lengths that lie, clients that don't read or don't write.
//!
//! A malformed frame gets the oracle's error and its end: closed where the oracle closes, served on
//! where it serves on. All the while other clients are served, and memory stays bounded.

use std::time::Duration;

use kevy_wire_tests::{
    Both, Client, Failure, Launch, Random, Reply, Server, effort, encode, fresh_address,
    is_self_check, matrix, printable, smallest_and_largest, wait_until,
};

const MIB: u64 = 1 << 20;

/// How many differences are looked for: silences among them cost a deadline each.
const MOST_SHOWN: usize = 20;

/// Follows every case. A server that took the case as something whole answers it; one that saw an
/// error has closed.
const PROBE: &[u8] = b"*2\r\n$4\r\nECHO\r\n$5\r\nprobe\r\n";
const PROBE_REPLY: &[u8] = b"$5\r\nprobe\r\n";

/// Input, each whole or wrong by itself: nothing here waits for more. (The oracle takes a line with
/// a zero byte for one without an end, so there is none.)
fn cases() -> Vec<Vec<u8>> {
    let mut cases: Vec<Vec<u8>> = [
        // Counts of arguments.
        &b"*-1\r\n"[..],
        b"*0\r\n",
        b"*-2\r\n",
        b"*-2147483648\r\n",
        b"*-9223372036854775808\r\n",
        b"*-9223372036854775809\r\n",
        b"*2147483648\r\n",
        b"*9223372036854775807\r\n",
        b"*99999999999999999999\r\n",
        b"*\r\n",
        b"*x\r\n",
        b"*1x\r\n",
        b"* 1\r\n",
        b"*1 \r\n",
        b"*+1\r\n",
        b"*01\r\n",
        b"*1.0\r\n",
        b"*0x1\r\n",
        b"**\r\n",
        b"*1\r\n*1\r\n",
        b"*1\r\n\r\n",
        b"*1\n$4\nPING\n",
        b"*1\r\r$4\r\nPING\r\n",
        // Lengths of arguments.
        b"*1\r\n$-1\r\n",
        b"*1\r\n$-2\r\n",
        b"*1\r\n$\r\n",
        b"*1\r\n$x\r\n",
        b"*1\r\n$4x\r\nPING\r\n",
        b"*1\r\n$ 4\r\nPING\r\n",
        b"*1\r\n$+4\r\nPING\r\n",
        b"*1\r\n$04\r\nPING\r\n",
        b"*1\r\n$0\r\n\r\n",
        b"*1\r\n$536870913\r\n",
        b"*1\r\n$9223372036854775807\r\n",
        b"*1\r\n$9223372036854775808\r\n",
        b"*2\r\n$4\r\nECHO\r\n$-1\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870913\r\n",
        // A type that no argument has.
        b"*1\r\n+PING\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n-x\r\n",
        b"*1\r\nPING\r\n",
        b"*1\r\n\xff\r\n",
        b"*1\r\n_\r\n",
        b"*2\r\n$4\r\nECHO\r\n:1\r\n",
        b"*2\r\n$4\r\nECHO\r\nabc\r\n",
        // Ends that are none: the bytes after an argument are skipped unseen.
        b"*1\r\n$4\r\nPINGxx",
        b"*1\r\n$3\r\nPING\r\n$4\r\n",
        b"*2\r\n$4\r\nECHO\r\n$1\r\nabcd\r\n",
        // Lines.
        b"\r\n",
        b"\n",
        b"   \r\n",
        b"\t\r\n",
        b"\r\n\r\n\n\n",
        b"PING\r\n",
        b"PING\n",
        b"  PING  \r\n",
        b"\tPING\r\n",
        b"PING\r\r\n",
        b"ECHO a b\r\n",
        b"ECHO \"a b\"\r\n",
        b"ECHO 'a b'\r\n",
        b"ECHO \"\\x41\\n\\t\\a\\b\\q\\\\\"\r\n",
        b"ECHO '\\x41\\'\\n'\r\n",
        b"ECHO a\"b\"\r\n",
        b"ECHO \"a\"b\r\n",
        b"ECHO 'a'b\r\n",
        b"ECHO \"a\r\n",
        b"ECHO 'a\r\n",
        b"ECHO \"\r\n",
        b"ECHO \"\\x4\"\r\n",
        b"ECHO \"\\xzz\"\r\n",
        b"ECHO \"a\\\r\n",
        b"ECHO \xff\xfe\r\n",
        b"$4\r\nPING\r\n",
        b"+PING\r\n",
        b"-x\r\n",
        b":1\r\n",
        b"%1\r\n",
        b"~1\r\n",
        b"FOO bar\r\n",
        b"GET\r\n",
        b"QUIT\r\n",
        b"\"\"\r\n",
        b"'' a\r\n",
        // Other protocols.
        b"GET / HTTP/1.1\r\n",
        b"POST / HTTP/1.1\r\n",
        b"POST\r\n",
        b"post / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"Host: localhost\r\n",
        b"host: localhost\r\n",
        b"HOST:\r\n",
        b"Host:x\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost:6379\r\nSET k v\r\n",
        b"*1\r\n$4\r\nPOST\r\n",
        b"*1\r\n$5\r\nhost:\r\n",
        b"*2\r\n$4\r\npost\r\n$1\r\n/\r\n",
        // What comes before an error is answered.
        b"*1\r\n$4\r\nPING\r\n*x\r\n*1\r\n$4\r\nPING\r\n",
        b"PING\r\nPING\r\n*1\r\n$x\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n:\r\n",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    // Headers and lines that don't end. After each read the oracle looks at what it has: more than
    // 64 KiB without an end are an error. These are much longer, so that no read has it all.
    for (start, fill) in
        [("*", b'1'), ("*1\r\n$", b'1'), ("", b'a'), ("*", b'x'), ("*1\r\n$", b'x')]
    {
        let mut case = start.as_bytes().to_vec();
        case.resize(case.len() + 400_000, fill);
        cases.push(case);
    }
    // Lines of the largest length, and one byte more or less.
    for len in [65_520, 65_530] {
        let mut case = b"ECHO ".to_vec();
        case.resize(len, b'a');
        case.extend_from_slice(b"\r\n");
        cases.push(case);
    }
    cases.push(format!("ECHO {}\r\n", "a ".repeat(5000)).into_bytes());
    cases.push(encode(vec!["EXISTS"; 5000]));
    cases
}

/// How the bytes of a case are cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    Bytes,
}

/// What a server answered, and whether it closed then.
type End = Result<(Vec<u8>, bool), Failure>;

fn describe(end: &End) -> String {
    match end {
        Ok((bytes, true)) => format!("{} and closed", printable(bytes)),
        Ok((bytes, false)) => printable(bytes),
        Err(failure) => format!("{failure:?}"),
    }
}

/// How the server takes a case and the probe.
fn end_of(client: &mut Client, case: &[u8], cut: Cut) -> End {
    // Once the server has closed, sending fails; what it said before is what counts.
    let _ = match cut {
        Cut::Whole => client.send_raw(case),
        Cut::Bytes => case.iter().try_for_each(|byte| client.send_raw(&[*byte])),
    };
    let _ = client.send_raw(PROBE);
    client.read_until(|input| input.ends_with(PROBE_REPLY))
}

/// Adds to `wrong` where our server takes the case in another way.
fn compare_ends(both: &Both, case: &[u8], setup: &str, wrong: &mut Vec<String>) {
    let mut expected = Vec::new();
    // Where it is short, cut everywhere too. How much of that a server reads at once is a matter of
    // time, so what the oracle makes of the whole is right as well.
    let cuts: &[Cut] = if case.len() < 100 { &[Cut::Whole, Cut::Bytes] } else { &[Cut::Whole] };
    for &cut in cuts {
        if wrong.len() >= MOST_SHOWN {
            return;
        }
        let (mut oracle, mut ours) = both.connect();
        let end = end_of(&mut oracle, case, cut);
        assert!(end.is_ok(), "the oracle waits for more: {}, {cut:?}", printable(case));
        expected.push(end);
        let actual = end_of(&mut ours, case, cut);
        if !expected.contains(&actual) {
            let oracle = expected.iter().map(describe).collect::<Vec<_>>().join(" or ");
            let (case, actual) = (printable(case), describe(&actual));
            wrong.push(format!("{setup}, {cut:?}: {case}\n  oracle {oracle}\n  ours   {actual}"));
        }
    }
}

#[test]
fn malformed_frames_end_as_they_do_with_the_oracle() {
    let mut wrong = Vec::new();
    for setup in matrix() {
        let both = Both::start(setup, &[]);
        let mut bystander = both.ours.connect();
        for case in cases() {
            compare_ends(&both, &case, &setup.to_string(), &mut wrong);
        }
        assert_eq!(bystander.call(["PING"]), Reply::Simple(b"PONG".to_vec()), "{setup}");
        if !wrong.is_empty() {
            break;
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn limits_before_the_password() {
    let long = |len: usize| encode([&b"GET"[..], &vec![b'x'; len]]);
    let whole = [
        [encode(["GET"; 10]), encode(["GET"; 10])].concat(),
        encode(["GET"; 11]),
        long(16384),
        long(16385),
        b"GET 1 2 3 4 5 6 7 8 9 10 11 12 13\r\n".to_vec(),
        format!("GET {}\r\n", "x".repeat(20_000)).into_bytes(),
        b"POST / HTTP/1.1\r\n".to_vec(),
        b"Host: x\r\n".to_vec(),
        b"FOO\r\n".to_vec(),
        b"QUIT\r\n".to_vec(),
    ];
    // With the password these would wait for the rest.
    let refused: [&[u8]; 4] =
        [b"*11\r\n", b"*10\r\n$16385\r\n", b"*1048576\r\n", b"*2\r\n$4\r\nAUTH\r\n$536870912\r\n"];
    let mut wrong = Vec::new();
    for setup in matrix() {
        let both = Both::start(setup, &[("requirepass", "secret")]);
        let mut compare = |case: &[u8], password: bool| {
            let (mut oracle, mut ours) = both.connect();
            if password {
                assert_eq!(oracle.call(["AUTH", "secret"]), Reply::ok());
                assert_eq!(ours.call(["AUTH", "secret"]), Reply::ok());
            }
            let expected = end_after_quit(&mut oracle, case);
            let actual = end_after_quit(&mut ours, case);
            if actual != expected {
                let (case, expected, actual) =
                    (printable(case), describe(&expected), describe(&actual));
                wrong.push(format!("{setup}: {case}\n  oracle {expected}\n  ours   {actual}"));
            }
        };
        for case in &whole {
            compare(case, false);
            compare(case, true);
        }
        for case in refused {
            compare(case, false);
        }
        if !wrong.is_empty() {
            break;
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// As [`end_of`], but ended by a QUIT, which needs no password.
fn end_after_quit(client: &mut Client, case: &[u8]) -> End {
    let _ = client.send_raw(case);
    let _ = client.send_raw(b"*1\r\n$4\r\nQUIT\r\n");
    client.read_until(|_| false)
}

/// Random bytes, and good requests with a byte or two changed: whatever they are, the server goes
/// on serving others.
#[test]
fn garbage_harms_nobody_else() {
    for setup in smallest_and_largest() {
        let server = Server::ours(setup);
        let mut bystander = server.connect();
        let seed = Random::seed_or(7);
        let mut random = Random::new(seed);
        for round in 0..effort(300) {
            let mut bytes: Vec<u8> = match random.below(3) {
                0 => (0..random.below(2000)).map(|_| random.word() as u8).collect(),
                _ => (0..1 + random.below(5))
                    .flat_map(|_| encode(["SET", "key", "a value of some length", "EX", "100"]))
                    .collect(),
            };
            for _ in 0..1 + random.below(3) {
                if !bytes.is_empty() {
                    let at = random.below(bytes.len());
                    bytes[at] = random.pick(b"*$-9\r\n\x00\xff");
                }
            }
            let mut client = server.connect();
            let _ = client.send_raw(&bytes);
            // Now and then wait for an answer; the rest goes in the middle of it.
            if random.one_in(4) {
                client.finish_sending();
                client.drain_until_closed();
            }
            drop(client);
            let round = round.to_string();
            assert_eq!(bystander.call(["SET", "mine", &round]), Reply::ok(), "{setup}, {seed}");
            assert_eq!(bystander.call(["GET", "mine"]), Reply::bulk(&round), "{setup}, {seed}");
        }
    }
}

#[test]
fn half_a_request_and_silence_harms_nobody_else() {
    for setup in matrix() {
        let server = Server::ours(setup);
        let halves: [&[u8]; 7] = [
            b"*",
            b"*3\r\n",
            b"*3\r\n$3\r\nSE",
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nabc",
            b"PIN",
            b"ECHO \"a",
            b"*2\r\n$3\r\nGET\r\n$1\r\nk\r",
        ];
        let mut silent: Vec<Client> = halves.iter().map(|_| server.connect()).collect();
        for (client, half) in silent.iter_mut().zip(halves) {
            client.send_raw(half).expect("send");
        }
        let mut other = server.connect();
        for round in 0..50 {
            let key = format!("k{round}");
            assert_eq!(other.call(["SET", &key, "v"]), Reply::ok(), "{setup}");
            assert_eq!(other.call(["GET", &key]), Reply::bulk("v"), "{setup}");
        }
        assert_eq!(other.call(["SET", "k", "v"]), Reply::ok(), "{setup}");
        // And the rest of it, however late, makes it whole.
        silent[6].send_raw(b"\n").expect("send");
        assert_eq!(silent[6].reply(), Reply::bulk("v"), "{setup}");
        silent[4].send_raw(b"G\r\n").expect("send");
        assert_eq!(silent[4].reply(), Reply::Simple(b"PONG".to_vec()), "{setup}");
        silent[3].send_raw(&[b"d".repeat(97), b"\r\n".to_vec()].concat()).expect("send");
        assert_eq!(silent[3].reply(), Reply::ok(), "{setup}");
        assert_eq!(other.call(["STRLEN", "k"]), Reply::Integer(100), "{setup}");
    }
}

/// What was sent before the end of sending is answered, then the connection ends.
#[test]
fn requests_before_the_end_of_sending_are_answered() {
    for setup in matrix() {
        for unix in [false, true] {
            let launch = Launch::ours(setup);
            let server = if unix { launch.on_unix_socket().start() } else { launch.start() };
            let mut client = server.connect();
            let requests: Vec<u8> = (0..100)
                .flat_map(|i| {
                    let key = format!("k{i}");
                    [encode(["SET", &key, "v"]), encode(["GET", &key])].concat()
                })
                .collect();
            client.send_raw(&requests).expect("send");
            client.finish_sending();
            for received in client.receive_all(200).expect("all replies").chunks(2) {
                assert_eq!(received[0].reply, Reply::ok(), "{setup}");
                assert_eq!(received[1].reply, Reply::bulk("v"), "{setup}");
            }
            assert_eq!(client.receive(), Err(Failure::Closed), "{setup}");
        }
    }
}

/// A value so large that a few replies fill any socket.
const LARGE: usize = 1 << 20;

fn store_large(server: &Server) -> Client {
    let mut client = server.connect();
    for key in 0..5 {
        let key = format!("large:{key}");
        let reply = client.call([&b"SET"[..], key.as_bytes(), &vec![b'x'; LARGE]]);
        assert_eq!(reply, Reply::ok());
    }
    client
}

fn gets(count: usize) -> Vec<u8> {
    (0..count).flat_map(|i| encode(["GET".to_owned(), format!("large:{}", i % 5)])).collect()
}

#[test]
fn a_reset_in_the_middle_of_a_reply_leaves_nothing_behind() {
    for setup in matrix() {
        let server = Server::ours(setup);
        let mut bystander = store_large(&server);
        let files = server.open_files();
        let rounds = effort(60);
        let mut resident_after_some = 0;
        for round in 0..rounds {
            let mut client = server.connect();
            client.send_raw(&gets(20)).expect("send");
            let first = client.read_until(|input| input.len() > 100_000).expect("some of a reply");
            assert!(!first.1, "{setup}: closed in mid-reply");
            // Closing with bytes unread resets the connection.
            drop(client);
            assert_eq!(bystander.call(["PING"]), Reply::Simple(b"PONG".to_vec()), "{setup}");
            if round == rounds / 2 {
                resident_after_some = server.resident_bytes();
            }
        }
        wait_until("the files of the connections are closed", || {
            (server.open_files() <= files).then_some(())
        });
        let grown = server.resident_bytes().saturating_sub(resident_after_some);
        assert!(grown < 64 * MIB, "{setup}: {} MiB more", grown / MIB);
    }
}

#[test]
fn clients_that_never_read_cost_bounded_memory() {
    for setup in smallest_and_largest() {
        if is_self_check() {
            return; // The oracle has no bound by default.
        }
        let server = Server::ours(setup);
        let mut bystander = store_large(&server);
        let before = server.resident_bytes();
        // Sixteen times 4000 replies of 1 MiB: unbounded, they would be 62 GiB.
        let stuck: Vec<Client> = (0..16).map(|_| server.connect()).collect();
        let requests = gets(4000);
        std::thread::scope(|scope| {
            for client in &stuck {
                let mut writer = client.writer();
                let requests = &requests;
                scope.spawn(move || writer.send_until_stuck(requests, Duration::from_millis(500)));
            }
            for round in 0..effort(200) {
                let key = format!("k{round}");
                assert_eq!(bystander.call(["SET", &key, "v"]), Reply::ok(), "{setup}");
                assert_eq!(bystander.call(["GET", &key]), Reply::bulk("v"), "{setup}");
            }
        });
        let grown = server.resident_bytes().saturating_sub(before);
        assert!(grown < 512 * MIB, "{setup}: {} MiB more", grown / MIB);
        drop(stuck);
        assert_eq!(bystander.call(["STRLEN", "large:1"]), Reply::Integer(LARGE as i64), "{setup}");
    }
}

#[test]
fn a_client_that_reads_late_gets_everything() {
    for setup in smallest_and_largest() {
        let server = Server::ours(setup);
        let _keeps_it = store_large(&server);
        let mut late = server.connect();
        late.send_raw(&gets(64)).expect("send");
        late.send(["ECHO", "end"]);
        // Another client's answers are the sign that the server has come past these.
        let mut other = server.connect();
        for _ in 0..100 {
            other.call(["PING"]);
        }
        for (at, received) in late.receive_all(65).expect("all replies").iter().enumerate() {
            match &received.reply {
                Reply::Bulk(value) if at < 64 => assert_eq!(value.len(), LARGE, "{setup}, {at}"),
                other => assert_eq!(*other, Reply::bulk("end"), "{setup}, {at}"),
            }
        }
    }
}

#[test]
fn declared_lengths_cost_no_memory() {
    for setup in matrix() {
        let server = Server::ours(setup);
        let mut bystander = server.connect();
        bystander.call(["SET", "k", "v"]);
        let before = server.resident_bytes();
        let mut waiting: Vec<Client> = (0..20).map(|_| server.connect()).collect();
        for (at, client) in waiting.iter_mut().enumerate() {
            let header: &[u8] = match at % 4 {
                0 => b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n",
                1 => b"*2\r\n$536870912\r\n",
                2 => b"*3\r\n$3\r\nSET\r\n$536870912\r\nabc",
                _ => b"*1000000\r\n$4\r\nMGET\r\n",
            };
            client.send_raw(header).expect("send");
        }
        // Once a round of others' requests is answered on every shard, these were read.
        for _ in 0..10 {
            let mut other = server.connect();
            for round in 0..20 {
                other.call(["GET".to_owned(), format!("k{round}")]);
            }
        }
        let grown = server.resident_bytes().saturating_sub(before);
        assert!(grown < 64 * MIB, "{setup}: {} MiB more", grown / MIB);
        assert_eq!(bystander.call(["GET", "k"]), Reply::bulk("v"), "{setup}");
    }
}

/// Loopback clients and those of a Unix socket are let in without a password, whatever the bind
/// address; the refusal itself needs a second machine.
#[test]
fn protected_mode_lets_loopback_in() {
    for setup in smallest_and_largest() {
        for (bind, protected) in [("0.0.0.0", "yes"), ("0.0.0.0", "no"), ("127.0.0.1 ::1", "yes")] {
            let launch = Launch::ours(setup);
            let socket = launch.dir().file("also");
            // Not the port of any server on an address of its own.
            let port = fresh_address().port().to_string();
            let address = format!("127.0.0.1:{port}").parse().expect("an address");
            let server = launch
                .listening_as_options_say(address)
                .option("port", &port)
                .option("bind", bind)
                .option("protected-mode", protected)
                .option("unixsocket", &socket)
                .start();
            let mut client = server.connect();
            assert_eq!(client.call(["SET", "k", "v"]), Reply::ok(), "{setup}, {bind}");
            let mut client = Client::connect(&kevy_wire_tests::Address::Unix(socket.into()));
            assert_eq!(client.call(["GET", "k"]), Reply::bulk("v"), "{setup}, {bind}");
        }
    }
}
