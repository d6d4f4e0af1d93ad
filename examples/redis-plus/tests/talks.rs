//! Starts the program and talks to it.

use kevy_wire_tests::{Program, Reply, fresh_address};

#[test]
fn it_is_redis_and_more() {
    let address = fresh_address();
    let mut server = Program::start(env!("CARGO_BIN_EXE_redis-plus"), &[&address.to_string()]);
    let mut client = server.connect(address);
    assert_eq!(client.call(["set", "colour", "red"]), Reply::ok());
    assert_eq!(client.call(["swapif", "colour", "red", "blue"]), Reply::Integer(1));
    assert_eq!(client.call(["get", "colour"]), Reply::bulk("blue"));
    assert_eq!(client.call(["vote", "blue"]), Reply::Integer(1));
    server.stop();
}
