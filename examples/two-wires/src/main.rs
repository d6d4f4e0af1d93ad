//! Two protocols on two ports over one store: what one writes the other reads.
//!
//! ```text
//! cargo run --release -p two-wires
//! redis-cli -p 7006 add visits 3
//! echo 'add visits 4' | nc -N 127.0.0.1 7007
//! ```

use std::collections::HashMap;
use std::net::SocketAddr;

use kevy_resp::Resp;
use kevy_rt::{Builder, Key, Store, commands, server};
use own_protocol::Lines;

/// One shard's counters: what both sets are about.
#[derive(Default, Store)]
struct Counters(HashMap<Box<[u8]>, i64>);

impl Counters {
    fn add(&mut self, counter: Key<'_>, n: i64) -> i64 {
        let value = self.0.entry(counter.bytes().into()).or_default();
        *value = value.saturating_add(n);
        *value
    }
}

/// What Redis clients may say.
struct ForRedisClients;

#[commands(store = Counters, wire = Resp)]
impl ForRedisClients {
    /// Adds to a counter; answers the sum.
    #[command(route = single(1), write)]
    fn add(db: &mut Counters, counter: Key<'_>, n: i64) -> i64 {
        db.add(counter, n)
    }

    /// Answers what counters hold, all at one moment.
    #[command(route = keys(1..), gather = in_order)]
    fn read(db: &Counters, counter: Key<'_>) -> Option<i64> {
        db.0.get(counter.bytes()).copied()
    }
}

/// What people with a terminal may say.
struct ForPeople;

#[commands(store = Counters, wire = Lines)]
impl ForPeople {
    /// Adds to a counter, 1 if it isn't said; answers the sum.
    #[command(route = single(1), write)]
    fn add(db: &mut Counters, counter: Key<'_>, n: Option<i64>) -> i64 {
        db.add(counter, n.unwrap_or(1))
    }
}

server! {
    Server: store = Counters, ports = [
        Resp, () => [ForRedisClients];
        Lines, () => [ForPeople]
    ]
}

fn main() -> Result<(), kevy_rt::Error> {
    tracing_subscriber::fmt().init();
    let mut addresses = std::env::args().skip(1);
    let mut address = |default: &str| -> SocketAddr {
        addresses.next().unwrap_or(default.into()).parse().expect("an address with a port")
    };
    Builder::<Server>::new(())
        .listen(0, address("127.0.0.1:7006"))
        .listen(1, address("127.0.0.1:7007"))
        .start()?
        .join()
}

#[cfg(test)]
mod tests {
    use kevy_rt::TestShard;

    use super::*;

    #[test]
    fn what_one_wire_writes_the_other_reads() {
        for shards in [1, 2, 5] {
            let server = TestShard::<Server>::new((), shards);
            let (mut redis, mut person) = (server.connect::<Resp>(), server.connect::<Lines>());
            assert_eq!(redis.call(["add", "visits", "3"]), 3);
            assert_eq!(person.call(["add", "visits"]), "4");
            assert_eq!(redis.call(["read", "visits"]), [4]);
            // A verb belongs to its wire.
            assert_eq!(person.call(["read", "visits"]), "error: there is no such command");
        }
    }
}
