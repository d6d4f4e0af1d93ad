//! Starts the program and talks to it over both ports.

use kevy_wire_tests::{Program, Reply, fresh_address};

#[test]
fn it_listens_on_two_ports() {
    let addresses = [fresh_address(), fresh_address()];
    let arguments = addresses.map(|address| address.to_string());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut server = Program::start(env!("CARGO_BIN_EXE_two-wires"), &arguments);
    let mut redis = server.connect(addresses[0]);
    assert_eq!(redis.call(["add", "visits", "3"]), Reply::Integer(3));
    let mut person = server.connect(addresses[1]);
    person.send_raw(b"add visits\n").expect("it listens");
    let (reply, _) = person.read_until(|all| all.ends_with(b"\n")).expect("it answers");
    assert_eq!(reply, b"4\n");
    server.stop();
}
