//! A whole connection: any bytes to a server of several shards, beside a client that means well.

use kevy_redis::Redis;
use kevy_redis::config::Config;
use kevy_rt::sim::Simulation;

/// The first byte says how many shards and which of the seeds; the rest is sent.
///
/// # Panics
/// When the other client isn't served, or something is left of the connection.
pub(crate) fn check(input: &[u8]) {
    let Some((&first, stream)) = input.split_first() else { return };
    let shards = 1 + usize::from(first % 3);
    let mut server = Simulation::<Redis>::new(&Config::default().into(), shards, u64::from(first));
    let other = server.connect(0);
    let fuzzed = server.connect(0);
    server.run();
    server.send(fuzzed, stream);
    server.run();
    if !server.process().is_stopping() && !server.is_closed(other) {
        assert_eq!(server.call(other, b"ECHO fine\r\n"), b"$4\r\nfine\r\n");
    }
    server.disconnect(fuzzed);
    server.disconnect(other);
    server.run();
    assert_eq!(server.open_sockets(), 0);
}
