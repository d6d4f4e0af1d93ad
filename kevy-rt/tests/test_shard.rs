//! Tests without sockets: what a test of a command set can see and turn.

mod toy;

use std::time::Duration;

use kevy_rt::{Limits, TestClient, TestShard};
use toy::{Lines, Server};

type Client = TestClient<Server, Lines>;

#[test]
fn a_command_is_called_and_answers() {
    for shards in [1, 2, 5] {
        let server = TestShard::<Server>::new((), shards);
        let mut client = server.connect::<Lines>();
        assert_eq!(client.call(["set", "a", "1"]), "+OK");
        assert_eq!(client.call(["get", "a"]), "$1");
        assert_eq!(client.call(["nonsense"]), "-unknown nonsense");
        assert_eq!(client.exchange(b"get a\nget b\n"), b"$1\n_\n");
        assert_eq!(server.store(server.owner("a"), |db| db.map.len()), 1);
    }
}

#[test]
fn keys_apart_are_on_all_shards() {
    let server = TestShard::<Server>::new((), 5);
    let mut client = server.connect::<Lines>();
    let keys = server.keys_apart();
    assert_eq!(keys.len(), 5);
    for (shard, key) in keys.iter().enumerate() {
        client.call(["set", key, "10"]);
        assert_eq!(server.store(shard, |db| db.map.len()), 1);
    }
    assert_eq!(client.call(["transfer", &keys[1], &keys[4], "3"]), ":7");
    let sums = client.call(["mget", &keys[0], &keys[1], &keys[4]]);
    assert_eq!(sums, "$10 $7 $13");
    assert_eq!(client.call(["count"]), ":5");
}

#[test]
fn the_clock_stands_still_until_it_is_turned() {
    for shards in [1, 2, 5] {
        let server = TestShard::<Server>::new((), shards);
        let mut client = server.connect::<Lines>();
        let end = (server.now_ms() + 1000).to_string();
        client.call(["lease", &end, "a", "1", "b", "2"]);
        assert_eq!(client.call(["mget", "a", "b"]), "$1 $2");
        server.advance(Duration::from_millis(999));
        assert_eq!(client.call(["count"]), ":2");
        server.advance(Duration::from_millis(1));
        assert_eq!(client.call(["mget", "a", "b"]), "_ _");
    }
}

#[test]
fn each_connection_has_its_session() {
    let server = TestShard::<Server>::new((), 2);
    let (mut one, mut other) = (server.connect::<Lines>(), server.connect::<Lines>());
    assert_eq!(one.call(["lock"]), "+OK");
    assert_eq!(one.call(["get", "a"]), "-Denied");
    assert_eq!(other.call(["get", "a"]), "_");
    assert_eq!(other.call(["conns"]), ":2");
    assert_eq!(other.exchange(b"quit\n"), b"+BYE\n");
    assert!(other.is_closed() && !one.is_closed());
    one.disconnect();
    let count = |shard| server.server(shard, |server| server.conn_count());
    assert_eq!((0..server.shards()).map(count).sum::<usize>(), 0);
}

#[test]
fn queued_requests_run_as_one() {
    let server = TestShard::<Server>::new((), 5);
    let (mut one, mut other) = (server.connect::<Lines>(), server.connect::<Lines>());
    one.call(["watch", "a"]);
    assert_eq!(one.call(["multi"]), "+OK");
    assert_eq!(one.call(["append", "a", "1"]), "+QUEUED");
    other.call(["set", "a", "2"]);
    assert_eq!(one.call(["exec"]), "_");
    assert_eq!(one.call(["get", "a"]), "$2");
}

/// Runs two transactions step by step; answers after how many steps each was answered.
fn race(seed: u64) -> [usize; 2] {
    let server = TestShard::<Server>::seeded((), 5, seed);
    let keys = server.keys_apart();
    let mut clients: [Client; 2] = std::array::from_fn(|_| server.connect());
    clients[0].call(["mset", &keys[0], "5", &keys[1], "5"]);
    clients[0].send(["transfer", &keys[0], &keys[1], "1"]);
    clients[1].send(["transfer", &keys[1], &keys[0], "1"]);
    let mut answered = [0; 2];
    for step in 1.. {
        server.step();
        for (client, answered) in clients.iter_mut().zip(&mut answered) {
            if client.receive().is_some() {
                *answered = step;
            }
        }
        if !answered.contains(&0) {
            break;
        }
    }
    assert_eq!(clients[0].call(["mget", &keys[0], &keys[1]]), "$5 $5");
    answered
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let races: Vec<_> = (0..20).map(race).collect();
    assert_eq!(races, (0..20).map(race).collect::<Vec<_>>());
    assert!(races.iter().any(|[a, b]| a < b) && races.iter().any(|[a, b]| a > b), "{races:?}");
}

#[test]
fn limits_are_those_of_a_server() {
    let server = TestShard::<Server>::new((), 2);
    server.set_limits(Limits { idle_timeout: Duration::from_secs(5), ..Limits::default() });
    let mut client = server.connect::<Lines>();
    assert_eq!(client.call(["echo", "a"]), "$a");
    server.advance(Duration::from_secs(10));
    assert!(client.is_closed());
}

#[test]
fn replies_that_nobody_takes_stay_in_the_server() {
    let server = TestShard::<Server>::new((), 2);
    let mut client = server.connect::<Lines>();
    client.set_taking(false);
    client.send(["echo", "a"]);
    server.run();
    assert_eq!(client.receive(), None);
    client.set_taking(true);
    server.run();
    assert_eq!(client.receive(), Some("$a".into()));
    client.send(["echo", "b"]);
    client.end();
    server.run();
    assert!(client.receive().is_some() && client.is_closed());
}

#[test]
#[should_panic(expected = "take what came before with `receive` first: \"$a\"")]
fn a_call_does_not_take_another_ones_reply() {
    let server = TestShard::<Server>::new((), 2);
    let mut client = server.connect::<Lines>();
    client.send(["echo", "a"]);
    client.call(["echo", "b"]);
}

#[test]
#[should_panic(expected = "no reply to get a\\n: the connection is closed")]
fn a_call_that_gets_no_reply_says_so() {
    let server = TestShard::<Server>::new((), 2);
    let mut client = server.connect::<Lines>();
    client.exchange(b"quit\n");
    client.call(["get", "a"]);
}
