//! Starts the program and talks to it.

use kevy_wire_tests::{Program, Reply, fresh_address};

#[test]
fn it_moves_amounts() {
    let address = fresh_address();
    let mut server = Program::start(env!("CARGO_BIN_EXE_transfer"), &[&address.to_string()]);
    let mut client = server.connect(address);
    client.call(["open", "alice", "100"]);
    client.call(["open", "bob", "0"]);
    let both = Reply::Array(vec![Reply::Integer(70), Reply::Integer(30)]);
    assert_eq!(client.call(["transfer", "alice", "bob", "30"]), both);
    assert_eq!(client.call(["balance", "alice", "bob"]), both);
    assert!(client.call(["transfer", "bob", "alice", "31"]).is_error());
    server.stop();
}
