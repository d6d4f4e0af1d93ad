//! Whole servers, simulated: with a clock that is turned, and any number of shards.

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
