//! Whole servers, simulated: with a clock that is turned, and any number of shards.

use std::time::Duration;

use kevy_rt::sim::Simulation;

use crate::{Memcached, Settings};

/// Calls a server of each number of shards with each request, and compares the replies.
fn script(requests: &[(&str, &str)]) {
    for shards in [1, 2, 5] {
        let mut server = Simulation::<Memcached>::new(&Settings::default().into(), shards, 1);
        let client = server.connect(0);
        for (request, reply) in requests {
            let said = server.call(client, request.as_bytes());
            let said = String::from_utf8_lossy(&said).into_owned();
            assert_eq!(said, *reply, "{request:?} on {shards} shards");
        }
    }
}

#[test]
fn values_come_in_the_order_of_their_keys() {
    script(&[
        (
            "set a 1 0 1\r\nA\r\nset b 2 0 1\r\nB\r\nset c 3 0 1\r\nC\r\n",
            "STORED\r\n".repeat(3).as_str(),
        ),
        (
            "get c x a b a\r\n",
            "VALUE c 3 1\r\nC\r\nVALUE a 1 1\r\nA\r\nVALUE b 2 1\r\nB\r\nVALUE a 1 1\r\nA\r\nEND\r\n",
        ),
        ("get x y z\r\n", "END\r\n"),
        ("gat 100 b a\r\n", "VALUE b 2 1\r\nB\r\nVALUE a 1 1\r\nA\r\nEND\r\n"),
    ]);
}

#[test]
fn replies_are_in_the_order_of_their_requests_quiet_ones_left_out() {
    script(&[
        (
            "ms a 1 q\r\n1\r\nset b 0 0 1 noreply\r\n2\r\nmg a v q\r\nmg x v q\r\nmg b v q\r\nmn\r\nversion\r\n",
            concat!("VA 1\r\n1\r\nVA 1\r\n2\r\nMN\r\nVERSION ", env!("CARGO_PKG_VERSION"), "\r\n"),
        ),
        ("md a q\r\nmd b q\r\nmd c q\r\nmn\r\n", "NF\r\nMN\r\n"),
    ]);
}

#[test]
fn a_value_that_is_too_large_goes_and_takes_the_old_one_with_it() {
    let large = "x".repeat(3 << 20);
    let too_large = "SERVER_ERROR object too large for cache\r\n";
    script(&[
        ("set a 0 0 1\r\n1\r\n", "STORED\r\n"),
        (
            &format!("add a 0 0 {}\r\n{large}\r\nget a\r\n", large.len()),
            &format!("{too_large}VALUE a 0 1\r\n1\r\nEND\r\n"),
        ),
        (
            &format!("set a 0 0 {}\r\n{large}\r\nget a\r\n", large.len()),
            &format!("{too_large}END\r\n"),
        ),
    ]);
}

#[test]
fn items_are_gone_when_their_time_is_over() {
    for shards in [1, 2, 5] {
        let mut server = Simulation::<Memcached>::new(&Settings::default().into(), shards, 1);
        let client = server.connect(0);
        let hit = |key: &str| format!("VALUE {key} 0 1\r\n1\r\n");
        server.call(client, b"set a 0 10 1\r\n1\r\nset b 0 20 1\r\n1\r\nset c 0 0 1\r\n1\r\n");
        server.advance(Duration::from_millis(9_000));
        let all = [hit("a"), hit("b"), hit("c"), "END\r\n".into()].concat();
        assert_eq!(server.call(client, b"get a b c\r\n"), all.as_bytes());
        assert_eq!(server.call(client, b"touch b 100\r\nmg a t\r\n"), b"TOUCHED\r\nHD t1\r\n");
        server.advance(Duration::from_millis(12_000));
        let left = [hit("b"), hit("c"), "END\r\n".into()].concat();
        assert_eq!(server.call(client, b"get a b c\r\n"), left.as_bytes());

        // What is set before a delayed flush is due goes with the rest.
        assert_eq!(
            server.call(client, b"flush_all 10\r\nset d 0 0 1\r\n1\r\n"),
            b"OK\r\nSTORED\r\n"
        );
        server.advance(Duration::from_millis(9_000));
        assert_eq!(server.call(client, b"get d\r\n"), (hit("d") + "END\r\n").as_bytes());
        server.advance(Duration::from_millis(2_000));
        assert_eq!(server.call(client, b"get b c d\r\n"), b"END\r\n");
        assert_eq!(server.call(client, b"set d 0 0 1\r\n1\r\n"), b"STORED\r\n");
        server.advance(Duration::from_millis(20_000));
        assert_eq!(server.call(client, b"get d\r\n"), (hit("d") + "END\r\n").as_bytes());
    }
}

#[test]
fn memory_is_bounded_by_eviction_or_refusal() {
    let value = "v".repeat(1000);
    for evicts in [true, false] {
        let settings = Settings { memory_bytes: 2 << 20, evicts, ..Settings::default() };
        let mut server = Simulation::<Memcached>::new(&settings.into(), 2, 1);
        let client = server.connect(0);
        let (mut stored, mut refused) = (0, 0);
        for number in 0..5000 {
            let set = format!("set k{number} 0 0 1000\r\n{value}\r\n");
            match &server.call(client, set.as_bytes())[..] {
                b"STORED\r\n" => stored += 1,
                b"SERVER_ERROR out of memory storing object\r\n" => refused += 1,
                other => panic!("{}", String::from_utf8_lossy(other)),
            }
        }
        let quiet = format!("set last 0 0 1000 noreply\r\n{value}\r\nmn\r\n");
        assert_eq!(server.call(client, quiet.as_bytes()), b"MN\r\n");
        let stats = server.call(client, b"stats\r\n");
        let stats = String::from_utf8_lossy(&stats).into_owned();
        let number = |name: &str| -> u64 {
            let line = stats.lines().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
            line.and_then(|number| number.trim().parse().ok()).expect(name)
        };
        assert!(number("bytes") <= 2 << 20, "{stats}");
        assert_eq!(refused > 0, !evicts);
        let vivified = server.call(client, b"mg new N30\r\nma newer N30\r\n");
        let refusal = "EN\r\nSERVER_ERROR Out of memory allocating new item\r\n";
        let expected = if evicts { "HD W\r\nHD\r\n" } else { refusal };
        assert_eq!(String::from_utf8_lossy(&vivified), expected);
        assert_eq!(number("evictions") > 0, evicts);
        assert_eq!(number("total_items"), stored + u64::from(evicts));
        assert_eq!(number("curr_items"), number("total_items") - number("evictions"));
    }
}
