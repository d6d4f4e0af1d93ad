//! Starts the program and talks to it.

use kevy_wire_tests::{Program, fresh_address};

#[test]
fn it_takes_lines() {
    let address = fresh_address();
    let mut server = Program::start(env!("CARGO_BIN_EXE_own-protocol"), &[&address.to_string()]);
    let mut client = server.connect(address);
    client.send_raw(b"put colour dark blue\nget colour\n").expect("it listens");
    let (replies, _) = client.read_until(|all| all.ends_with(b"blue\n")).expect("it answers");
    assert_eq!(replies, b"done\ndark blue\n");
    server.stop();
}
