//! `maxmemory`: what each policy refuses or removes, over any number of shards.

use std::collections::BTreeMap;

use kevy_wire_tests::{Client, Launch, Reply, Server, Setup, encode, is_self_check, matrix};

/// Above what the server holds when it has started.
const LIMIT: u64 = 10 << 20;

/// More than fit under the limit.
const KEYS: usize = 200_000;

/// Requests in one piece.
const PIECE: usize = 1000;

const OOM: &[u8] = b"OOM command not allowed when used memory > 'maxmemory'.";

fn start(setup: Setup, policy: &str) -> Server {
    let server = Launch::ours(setup).option("maxmemory-policy", policy).start();
    let mut client = server.connect();
    let limit = numbers(&mut client)["used_memory_startup"] + LIMIT;
    assert_eq!(client.call(["CONFIG", "SET", "maxmemory", &limit.to_string()]), Reply::ok());
    server
}

/// The numbers of INFO.
fn numbers(client: &mut Client) -> BTreeMap<String, u64> {
    let text = client.call(["INFO"]).text();
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

/// Bytes that keys and clients take.
fn used(client: &mut Client) -> u64 {
    let numbers = numbers(client);
    numbers["used_memory"] - numbers["used_memory_startup"]
}

/// Writes keys; answers how many of them were refused, and the most that was used in between.
fn fill(client: &mut Client, other: &mut Client, place: &str) -> (usize, u64) {
    let (mut refused, mut most) = (0, 0);
    for from in (0..KEYS).step_by(PIECE) {
        let requests = (from..from + PIECE)
            .flat_map(|i| encode(["SET".to_owned(), format!("key:{i:012}"), "x".repeat(16)]));
        client.send_raw(&requests.collect::<Vec<u8>>()).expect("send");
        for received in client.receive_all(PIECE).expect("all replies") {
            match received.reply {
                Reply::Error(text) => {
                    assert_eq!(text, OOM, "{place}");
                    refused += 1;
                }
                reply => assert_eq!(reply, Reply::ok(), "{place}"),
            }
        }
        if (from / PIECE).is_multiple_of(10) {
            most = most.max(used(other));
        }
    }
    (refused, most.max(used(other)))
}

/// Within a hundredth.
fn assert_within_limit(most: u64, place: &str) {
    assert!(most <= LIMIT + LIMIT / 100, "{place}: {most} bytes are used");
}

#[test]
fn writes_are_refused_where_nothing_may_be_removed() {
    if is_self_check() {
        return;
    }
    for setup in matrix() {
        for policy in
            ["noeviction", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"]
        {
            let place = format!("{setup}, {policy}");
            let server = start(setup, policy);
            let (mut client, mut other) = (server.connect(), server.connect());
            let (refused, most) = fill(&mut client, &mut other, &place);
            assert_within_limit(most, &place);
            let there = client.call(["DBSIZE"]).integer() as usize;
            assert!(refused > 0 && there + refused == KEYS, "{place}: {there}, {refused}");
            assert_eq!(numbers(&mut client)["evicted_keys"], 0, "{place}");
            let key = "key:000000000000";
            assert_eq!(client.call(["GET", key]), Reply::bulk("x".repeat(16)), "{place}");
            assert_eq!(client.call(["DEL", key]), Reply::Integer(1), "{place}");
            assert!(client.call(["APPEND", "key:000000000001", &"x".repeat(1 << 20)]).is_error());

            // What may be removed is decided anew when the policy is.
            let set = ["CONFIG", "SET", "maxmemory-policy", "allkeys-random"];
            assert_eq!(client.call(set), Reply::ok(), "{place}");
            for i in 0..100 {
                let set = client.call(["SET".into(), format!("new:{i}"), "v".repeat(1000)]);
                assert_eq!(set, Reply::ok(), "{place}");
            }
            assert!(numbers(&mut client)["evicted_keys"] > 0, "{place}");
            assert_within_limit(used(&mut client), &place);
        }
    }
}

#[test]
fn keys_are_removed_where_any_may_be() {
    if is_self_check() {
        return;
    }
    for setup in matrix() {
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
            let place = format!("{setup}, {policy}");
            let server = start(setup, policy);
            let (mut client, mut other) = (server.connect(), server.connect());
            let (refused, most) = fill(&mut client, &mut other, &place);
            assert_eq!(refused, 0, "{place}");
            assert_within_limit(most, &place);
            let there = client.call(["DBSIZE"]).integer() as usize;
            let evicted = numbers(&mut client)["evicted_keys"] as usize;
            assert!(evicted > 0 && there + evicted == KEYS, "{place}: {there}, {evicted}");
            // It holds nearly as many as have room.
            assert!(used(&mut client) > LIMIT / 10 * 9, "{place}");

            let set = ["CONFIG", "SET", "maxmemory-policy", "noeviction"];
            assert_eq!(client.call(set), Reply::ok(), "{place}");
            let set = client.call(["SET", "new", &"v".repeat(1 << 20)]);
            assert!(set.is_error(), "{place}: {set:?}");
        }
    }
}
