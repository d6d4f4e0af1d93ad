//! A command set and a store of one's own: named counters over all cores.
//!
//! ```text
//! cargo run --release -p counter
//! redis-cli -p 7001 add visits 3
//! redis-cli -p 7001 total
//! ```

use std::collections::HashMap;
use std::net::SocketAddr;

use kevy_resp::{Error, Resp};
use kevy_rt::{Builder, Key, Store, commands, server};

/// One shard's counters. Only its own thread touches them, so a plain map does.
#[derive(Default, Store)]
struct Counters(HashMap<Box<[u8]>, i64>);

/// The command set.
struct Counting;

#[commands(store = Counters, wire = Resp)]
impl Counting {
    /// Adds `n` to a counter, 1 if it isn't said; answers the sum.
    #[command(route = single(1), write)]
    fn add(db: &mut Counters, counter: Key<'_>, n: Option<i64>) -> Result<i64, Error> {
        let value = db.0.entry(counter.bytes().into()).or_default();
        *value = value.checked_add(n.unwrap_or(1)).ok_or(Error::new("ERR the counter is full"))?;
        Ok(*value)
    }

    /// Answers a counter's value; nothing if there is no such counter.
    #[command(route = single(1))]
    fn read(db: &Counters, counter: Key<'_>) -> Option<i64> {
        db.0.get(counter.bytes()).copied()
    }

    /// Removes counters, wherever they are; answers how many there were.
    #[command(route = keys(1..), write, gather = sum)]
    fn drop(db: &mut Counters, counter: Key<'_>) -> u64 {
        u64::from(db.0.remove(counter.bytes()).is_some())
    }

    /// The sum of all counters, over all shards.
    #[command(route = all, gather = sum)]
    fn total(db: &Counters) -> i64 {
        db.0.values().sum()
    }
}

server! { Server: store = Counters, ports = [ Resp, () => [Counting] ] }

fn main() -> Result<(), kevy_rt::Error> {
    tracing_subscriber::fmt().init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7001".into());
    let address: SocketAddr = address.parse().expect("an address with a port");
    Builder::<Server>::new(()).listen(0, address).start()?.join()
}
