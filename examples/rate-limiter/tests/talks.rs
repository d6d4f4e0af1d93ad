//! Starts the program and talks to it.

use kevy_wire_tests::{Program, Reply, fresh_address};

#[test]
fn it_limits() {
    let address = fresh_address();
    let mut server = Program::start(env!("CARGO_BIN_EXE_rate-limiter"), &[&address.to_string()]);
    let mut client = server.connect(address);
    assert_eq!(client.call(["take", "alice", "10"]), Reply::Integer(0));
    assert_eq!(client.call(["take", "bob", "11"]), Reply::Integer(-1));
    server.stop();
}
