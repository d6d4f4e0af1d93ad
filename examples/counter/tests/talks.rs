//! Starts the program and talks to it.

use kevy_wire_tests::{Program, Reply, fresh_address};

#[test]
fn it_counts() {
    let address = fresh_address();
    let mut server = Program::start(env!("CARGO_BIN_EXE_counter"), &[&address.to_string()]);
    let mut client = server.connect(address);
    assert_eq!(client.call(["add", "visits", "3"]), Reply::Integer(3));
    assert_eq!(client.call(["add", "hits"]), Reply::Integer(1));
    assert_eq!(client.call(["read", "visits"]), Reply::Integer(3));
    assert_eq!(client.call(["total"]), Reply::Integer(4));
    assert_eq!(client.call(["drop", "visits", "misses"]), Reply::Integer(1));
    assert_eq!(client.call(["read", "visits"]), Reply::Nil);
    client.call(["add", "hits", &(i64::MAX - 1).to_string()]);
    assert_eq!(client.call(["add", "hits"]).text(), "ERR the counter is full");
    server.stop();
}
