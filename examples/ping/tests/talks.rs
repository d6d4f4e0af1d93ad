//! Starts the program and talks to it.

use kevy_wire_tests::{Program, Reply, fresh_address};

#[test]
fn it_answers() {
    let address = fresh_address();
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    for more in [&["--shards", "2"][..], &["--poll"]] {
        let arguments = [&["--bind", &ip, "--port", &port], more].concat();
        let mut server = Program::start(env!("CARGO_BIN_EXE_ping"), &arguments);
        let mut client = server.connect(address);
        assert_eq!(client.call(["ping"]), Reply::Simple(b"PONG".to_vec()));
        server.stop();
    }
}
