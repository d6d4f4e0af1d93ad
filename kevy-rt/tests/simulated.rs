//! The runtime under simulation: order of replies, limits, time, ends.

mod toy;

use std::collections::BTreeMap;
use std::time::Duration;

use kevy_rt::Limits;
use kevy_rt::sim::{Client, Simulation};
use proptest::prelude::*;
use toy::{Server, text};

const SHARDS: [usize; 3] = [1, 2, 5];

fn small_limits() -> Limits {
    Limits {
        output_soft_bytes: 10_000,
        output_hard_bytes: 100_000,
        idle_timeout: Duration::from_secs(5),
        ..Limits::default()
    }
}

/// One request of a random pipeline, over few keys of one client.
#[derive(Clone, Debug)]
enum Step {
    Set(u8, u8),
    Get(u8),
    Del(Vec<u8>),
    Mget(Vec<u8>),
    Echo(u8),
    After(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..12u8;
    prop_oneof![
        (key(), any::<u8>()).prop_map(|(key, value)| Step::Set(key, value)),
        key().prop_map(Step::Get),
        prop::collection::vec(key(), 1..5).prop_map(Step::Del),
        prop::collection::vec(key(), 1..5).prop_map(Step::Mget),
        any::<u8>().prop_map(Step::Echo),
        any::<u8>().prop_map(Step::After),
    ]
}

/// What the client sends, and what has to come back.
fn script(client: usize, steps: &[Step]) -> (String, String) {
    let mut model = BTreeMap::new();
    let (mut sent, mut expected) = (String::new(), String::new());
    let name = |key: &u8| format!("{client}:{key}");
    let value = |value: Option<&u8>| value.map_or("_\n".into(), |value| format!("${value}\n"));
    for step in steps {
        let (request, reply) = match step {
            Step::Set(key, value) => {
                model.insert(*key, *value);
                (format!("set {} {value}", name(key)), "+OK\n".into())
            }
            Step::Get(key) => (format!("get {}", name(key)), value(model.get(key))),
            Step::Del(keys) => {
                let gone = keys.iter().filter(|key| model.remove(*key).is_some()).count();
                let keys: Vec<_> = keys.iter().map(name).collect();
                (format!("del {}", keys.join(" ")), format!(":{gone}\n"))
            }
            Step::Mget(keys) => {
                let values: String = keys.iter().map(|key| value(model.get(key))).collect();
                let names: Vec<_> = keys.iter().map(name).collect();
                (format!("mget {}", names.join(" ")), format!("*{}\n{values}", keys.len()))
            }
            Step::Echo(word) => (format!("echo {word}"), format!("${word}\n")),
            Step::After(word) => (format!("after {word}"), format!("${word}\n")),
        };
        sent += &format!("{request}\n");
        expected += &reply;
    }
    (sent, expected)
}

/// So many cases, unless `PROPTEST_CASES` says another number.
fn cases(count: u32) -> ProptestConfig {
    let said = std::env::var_os("PROPTEST_CASES").is_some();
    if said { ProptestConfig::default() } else { ProptestConfig::with_cases(count) }
}

proptest! {
    #![proptest_config(cases(96))]

    /// Replies of each connection are those of its requests, in their order, whatever others do
    /// and however many of them break off; and afterwards nothing is left of any of them.
    #[test]
    fn replies_are_in_order(
        seed in any::<u64>(),
        shards in prop::sample::select(&SHARDS[..]),
        scripts in prop::collection::vec((prop::collection::vec(step(), 1..60), any::<bool>()), 1..6),
    ) {
        let mut server = Simulation::<Server>::new(&(), shards, seed);
        let clients: Vec<_> = scripts.iter().map(|_| server.connect(0)).collect();
        for (client, (steps, _)) in scripts.iter().enumerate() {
            server.send(clients[client], script(client, steps).0.as_bytes());
        }
        for (client, (_, breaks)) in scripts.iter().enumerate() {
            for _ in 0..server.random() % 40 {
                server.step();
            }
            if *breaks {
                server.disconnect(clients[client]);
            }
        }
        server.run();
        for (client, (steps, breaks)) in scripts.iter().enumerate() {
            let received = text(server.receive(clients[client]));
            let expected = script(client, steps).1;
            if *breaks {
                prop_assert!(expected.starts_with(&received));
                prop_assert!(server.is_closed(clients[client]));
            } else {
                prop_assert_eq!(received, expected);
                server.end(clients[client]);
            }
        }
        server.run();
        prop_assert_eq!(server.open_sockets(), 0);
        prop_assert_eq!(server.process().connections(), 0);
        for shard in 0..shards {
            prop_assert_eq!(server.with_shard(shard, |_, server| server.conn_count()), 0);
        }
    }
}

fn each_shard_count(seed: u64, mut test: impl FnMut(Simulation<Server>)) {
    for shards in SHARDS {
        for seed in 4 * seed..4 * seed + 4 {
            test(Simulation::with_limits(&(), shards, seed, small_limits()));
        }
    }
}

#[test]
fn a_deep_pipeline_to_all_shards_comes_back_whole() {
    each_shard_count(1, |mut server| {
        let client = server.connect(0);
        let keys = 0..20_000;
        let sets: String = keys.clone().map(|key| format!("set key{key} {key}\n")).collect();
        assert_eq!(text(server.call(client, sets.as_bytes())), "+OK\n".repeat(20_000));
        let gets: String = keys.clone().map(|key| format!("get key{key}\n")).collect();
        let values: String = keys.map(|key| format!("${key}\n")).collect();
        assert_eq!(text(server.call(client, gets.as_bytes())), values);
        assert_eq!(text(server.call(client, b"count\n")), ":20000\n");
        for shard in 0..server.shards() {
            // Credits keep what waits for a ring below what one ring holds.
            let peak = server.with_shard(shard, |_, server| server.metrics().backlog_peak.get());
            assert!(peak <= 64, "{peak}");
        }
    });
}

/// A key of this name that the shard owns.
fn key_of(server: &Simulation<Server>, name: &str, owner: usize) -> String {
    let mut keys = (0..).map(|number| format!("{name}{number}"));
    keys.find(|key| server.owner(key.as_bytes()) == owner).expect("each shard owns some")
}

/// A client whose connection lives on the shard.
fn client_of(server: &mut Simulation<Server>, home: usize) -> Client {
    loop {
        let client = server.connect(0);
        server.run();
        if server.home(client) == Some(home) {
            return client;
        }
    }
}

/// As many requests for one shard as it may be sent are under way, and more wait on each of many
/// connections; meanwhile other mail comes and goes.
#[test]
fn whoever_waits_for_credits_goes_on() {
    for seed in [0, 1, 6, 8] {
        let mut server = Simulation::<Server>::new(&(), 3, seed);
        let (far, near) = (key_of(&server, "far", 1), key_of(&server, "near", 2));
        let clients: Vec<_> = (0..20).map(|_| client_of(&mut server, 0)).collect();
        server.hold(0, 1, true);
        for client in &clients {
            let sent = format!("get {far}\n").repeat(300) + &format!("get {near}\n");
            server.send(*client, sent.as_bytes());
        }
        server.run();
        let stalls = server.with_shard(0, |_, server| server.metrics().credit_stalls.get());
        assert!(stalls > 10, "{stalls}");
        // Mail from elsewhere brings no credit for those who wait.
        let other = client_of(&mut server, 0);
        assert_eq!(text(server.call(other, format!("get {near}\n").as_bytes())), "_\n");
        server.hold(0, 1, false);
        server.run();
        for client in &clients {
            assert_eq!(text(server.receive(*client)), "_\n".repeat(301), "seed {seed}");
        }
    }
}

/// The credits come back one by one, as requests that waited on their owner are answered.
#[test]
fn whoever_waits_for_credits_goes_on_when_deferred_requests_are_through() {
    for seed in [0, 1, 6, 8] {
        let mut server = Simulation::<Server>::new(&(), 3, seed);
        let (a, b) = (key_of(&server, "a", 1), key_of(&server, "b", 2));
        let clients: Vec<_> = (0..10).map(|_| client_of(&mut server, 0)).collect();
        let writer = client_of(&mut server, 0);
        server.hold(0, 2, true);
        server.send(writer, format!("mset {a} 1 {b} 1\n").as_bytes());
        server.run();
        for client in &clients {
            server.send(*client, format!("get {a}\n").repeat(300).as_bytes());
        }
        server.run();
        assert!(server.with_shard(1, |_, server| server.open_entries()) > 2000);
        server.hold(0, 2, false);
        server.run();
        for client in &clients {
            assert_eq!(text(server.receive(*client)).lines().count(), 300, "seed {seed}");
        }
    }
}

/// Requests for keys of the own shard that wait for a transaction are as many as may be sent to
/// another one.
#[test]
fn what_waits_on_its_own_shard_is_bounded() {
    for seed in [0, 9] {
        let mut server = Simulation::<Server>::new(&(), 3, seed);
        let (a, b) = (key_of(&server, "a", 0), key_of(&server, "b", 2));
        let (clients, writer) =
            ([0; 4].map(|_| client_of(&mut server, 0)), client_of(&mut server, 0));
        server.hold(0, 2, true);
        server.send(writer, format!("mset {a} 1 {b} 1\n").as_bytes());
        server.run();
        for client in &clients {
            server.send(*client, format!("get {a}\ntransfer {a} {a} 0\n").repeat(2000).as_bytes());
        }
        server.run();
        let open = server.with_shard(0, |_, server| server.open_entries());
        assert!((2000..2100).contains(&open), "{open}");
        server.hold(0, 2, false);
        server.run();
        for client in &clients {
            assert_eq!(text(server.receive(*client)).lines().count(), 4000, "seed {seed}");
        }
    }
}

#[test]
fn who_does_not_read_is_not_read_from() {
    each_shard_count(2, |mut server| {
        let (slow, other) = (server.connect(0), server.connect(0));
        server.run();
        server.set_taking(slow, false);
        server.send(slow, "fill 500\n".repeat(60_000).as_bytes());
        server.run();
        assert!(server.unread(slow) > 100_000, "{}", server.unread(slow));
        assert_eq!(text(server.call(other, b"echo here\n")), "$here\n");
        server.set_taking(slow, true);
        server.run();
        assert_eq!(server.receive(slow).len(), 60_000 * 502);
    });
}

#[test]
fn replies_past_the_hard_mark_close_the_connection() {
    each_shard_count(3, |mut server| {
        let client = server.connect(0);
        server.run();
        server.set_taking(client, false);
        server.call(client, b"echo small\nfill 200000\n");
        assert!(server.is_closed(client));
        let other = server.connect(0);
        assert_eq!(text(server.call(other, b"echo here\n")), "$here\n");
    });
}

#[test]
fn idle_connections_are_closed_and_busy_ones_are_not() {
    each_shard_count(4, |mut server| {
        let (idle, busy) = (server.connect(0), server.connect(0));
        server.run();
        for _ in 0..7 {
            assert_eq!(text(server.call(busy, b"echo x\n")), "$x\n");
            server.advance(Duration::from_secs(1));
            server.run();
        }
        assert!(server.is_closed(idle));
        assert!(!server.is_closed(busy));
    });
}

#[test]
fn too_many_connections_are_told_so() {
    for shards in SHARDS {
        let limits = Limits { connections: 7, ..Limits::default() };
        let mut server = Simulation::<Server>::with_limits(&(), shards, 5, limits);
        let clients: Vec<Client> = (0..8).map(|_| server.connect(0)).collect();
        server.run();
        let refused: Vec<_> = clients.iter().filter(|client| server.is_closed(**client)).collect();
        assert_eq!(refused.len(), 1);
        assert_eq!(text(server.receive(*refused[0])), "-TooManyConnections\n");
        let open = *clients.iter().find(|client| !server.is_closed(**client)).expect("seven are");
        server.disconnect(open);
        server.run();
        let next = server.connect(0);
        assert_eq!(text(server.call(next, b"echo in\n")), "$in\n");
    }
}

#[test]
fn connections_are_spread_evenly() {
    for shards in SHARDS {
        let mut server = Simulation::<Server>::new(&(), shards, 6);
        let clients: Vec<_> = (0..43).map(|_| server.connect(0)).collect();
        server.run();
        let counts: Vec<_> =
            (0..shards).map(|shard| server.with_shard(shard, |_, s| s.conn_count())).collect();
        let (most, fewest) = (counts.iter().max(), counts.iter().min());
        assert!(most.unwrap() - fewest.unwrap() <= 1, "{counts:?}");
        assert_eq!(text(server.call(clients[0], b"conns\n")), ":43\n");
    }
}

#[test]
fn what_a_locked_session_may_send_is_little() {
    each_shard_count(7, |mut server| {
        let client = server.connect(0);
        assert_eq!(
            text(server.call(client, b"lock\nget a\nunlock\nget a\n")),
            "+OK\n-Denied\n+OK\n_\n"
        );
        // The limits change with the session, also in the middle of a pipeline.
        let sent = b"lock\nunlock\nmget a b c d e f g h i j k l\nlock\n";
        assert_eq!(
            text(server.call(client, sent)),
            format!("+OK\n+OK\n*12\n{}+OK\n", "_\n".repeat(12))
        );
        assert_eq!(text(server.call(client, b"mget a b c d e f g h i j k l\n")), "-args\n");
        assert!(server.is_closed(client));
    });
}

#[test]
fn malformed_input_ends_its_connection_after_its_error() {
    each_shard_count(8, |mut server| {
        let client = server.connect(0);
        let line = vec![b'x'; 100_000];
        assert_eq!(text(server.call(client, b"set a 1\nget a\n")), "+OK\n$1\n");
        assert_eq!(text(server.call(client, &line)), "-line\n");
        assert!(server.is_closed(client));
    });
}

#[test]
fn a_panic_harms_one_request() {
    each_shard_count(9, |mut server| {
        let client = server.connect(0);
        let sent = (0..20).map(|n| format!("boom {n}\necho {n}\n")).collect::<String>();
        let expected = (0..20).map(|n| format!("-Panicked\n${n}\n")).collect::<String>();
        assert_eq!(text(server.call(client, sent.as_bytes())), expected);
    });
}

#[test]
fn a_panic_on_one_shard_refuses_the_whole_request() {
    each_shard_count(9, |mut server| {
        let client = server.connect(0);
        let keys: Vec<_> = (0..20).map(|key| key.to_string()).collect();
        let sent = format!("booms {}\nbooms {} bad\necho on\n", keys.join(" "), keys.join(" "));
        let expected = format!("*20\n{}-Panicked\n$on\n", ":0\n".repeat(20));
        assert_eq!(text(server.call(client, sent.as_bytes())), expected);
        for shard in 0..server.shards() {
            let sent = format!("boom_at {shard}\necho on\n");
            assert_eq!(text(server.call(client, sent.as_bytes())), "-Panicked\n$on\n");
        }
        let all = format!(":{}\n", server.shards());
        assert_eq!(text(server.call(client, b"boom_at 100\n")), all);
    });
}

#[test]
fn unknown_verbs_and_wrong_counts_are_refused_in_turn() {
    each_shard_count(10, |mut server| {
        let client = server.connect(0);
        let replies = server.call(client, b"nope\nget\nget a b\n\nfill x\nkill\necho on\n");
        let lines = text(replies);
        let lines: Vec<_> = lines.lines().collect();
        assert_eq!(lines[0], "-unknown nope");
        assert!(lines[1].starts_with("-Arity") && lines[2].starts_with("-Arity"), "{lines:?}");
        assert_eq!(lines[3], "-NotAnInteger");
        assert!(lines[4].starts_with("-Arity"));
        assert_eq!(lines[5], "$on");
    });
}

#[test]
fn replies_can_be_turned_off() {
    each_shard_count(11, |mut server| {
        let client = server.connect(0);
        let keys: String = (0..9).map(|key| format!("set k{key} v\n")).collect();
        let sent = format!("reply off\n{keys}mget k1 k2 k3\ncount\nreply on\ncount\n");
        assert_eq!(text(server.call(client, sent.as_bytes())), "+OK\n:9\n");
        let sent = "reply skip\nmget k1 k2 k3\nget k1\nreply skip\necho a\necho b\n";
        assert_eq!(text(server.call(client, sent.as_bytes())), "$v\n$b\n");
    });
}

#[test]
fn quit_and_kill_close_after_the_reply() {
    each_shard_count(12, |mut server| {
        let (first, second) = (server.connect(0), server.connect(0));
        let id = text(server.call(second, b"id\n")).trim_start_matches(':').trim().to_owned();
        assert_eq!(text(server.call(first, format!("kill {id}\n").as_bytes())), ":1\n");
        server.run();
        assert!(server.is_closed(second));
        let own = text(server.call(first, b"id\n")).trim_start_matches(':').trim().to_owned();
        let sent = format!("kill {own}\necho never\n");
        assert_eq!(text(server.call(first, sent.as_bytes())), ":1\n");
        assert!(server.is_closed(first));
        let third = server.connect(0);
        assert_eq!(text(server.call(third, b"set a 1\nquit\necho never\n")), "+OK\n+BYE\n");
        assert!(server.is_closed(third));
    });
}

#[test]
fn a_half_closed_connection_gets_all_its_replies() {
    each_shard_count(13, |mut server| {
        let client = server.connect(0);
        let sent: String = (0..500).map(|n| format!("set key{n} {n}\n")).collect();
        server.send(client, sent.as_bytes());
        server.end(client);
        server.run();
        assert_eq!(text(server.receive(client)), "+OK\n".repeat(500));
        assert!(server.is_closed(client));
    });
}

#[test]
fn a_stopping_server_answers_what_it_read() {
    each_shard_count(14, |mut server| {
        let client = server.connect(0);
        server.run();
        let sent: String = (0..200).map(|n| format!("set key{n} {n}\n")).collect();
        server.send(client, sent.as_bytes());
        for _ in 0..30 {
            server.step();
        }
        server.process().stop();
        server.run();
        let received = text(server.receive(client));
        assert_eq!(received, "+OK\n".repeat(received.len() / 4));
        assert!(server.is_closed(client));
        assert_eq!(server.open_sockets(), 0);
    });
}

#[test]
fn who_holds_most_goes_first_when_all_hold_too_much() {
    for shards in SHARDS {
        let limits = Limits { client_memory_bytes: 3 << 20, ..Limits::default() };
        let mut server = Simulation::<Server>::with_limits(&(), shards, 15, limits);
        let clients: Vec<_> = (0..10).map(|_| server.connect(0)).collect();
        server.run();
        for client in &clients {
            server.set_taking(*client, false);
            server.send(*client, b"fill 900000\n");
        }
        server.run();
        let closed = clients.iter().filter(|client| server.is_closed(**client)).count();
        assert!((1..10).contains(&closed), "{closed}");
    }
}

#[test]
fn who_half_closes_while_waiting_still_gets_all_replies() {
    each_shard_count(16, |mut server| {
        let client = server.connect(0);
        server.run();
        server.set_taking(client, false);
        server.send(client, "fill 5000\nafter x\n".repeat(100).as_bytes());
        server.end(client);
        server.run();
        server.set_taking(client, true);
        server.run();
        assert_eq!(server.receive(client).len(), 100 * (5_002 + 3));
        assert!(server.is_closed(client));
    });
}

#[test]
fn a_request_for_all_shards_knows_its_connection_where_that_lives() {
    each_shard_count(17, |mut server| {
        let clients: Vec<_> = (0..7).map(|_| server.connect(0)).collect();
        for client in clients {
            let replies = text(server.call(client, b"id\ncaller\n"));
            let (id, caller) = replies.trim().split_once('\n').expect("two replies");
            assert_eq!(id, caller);
        }
    });
}
