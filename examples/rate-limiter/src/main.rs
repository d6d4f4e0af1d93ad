//! A rate limiter: how often a client may do something, counted over all cores.
//!
//! A bucket of tokens fills steadily until it is full; whoever does something takes tokens out. All
//! that has to be kept of a bucket is when it is full again, and one that is full need not be kept.
//!
//! ```text
//! cargo run --release -p rate-limiter
//! redis-cli -p 7003 take alice 3
//! ```

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use kevy_resp::{Error, Resp};
use kevy_rt::{Builder, Cx, Key, KeyHasher, OpenError, Place, Store, commands, server};

/// What a bucket holds at most, and how long a token takes to come.
struct Rate {
    capacity: u64,
    token_ms: u64,
}

/// One shard's buckets that are not full.
struct Buckets {
    rate: Rate,
    full_at_ms: HashMap<Box<[u8]>, u64>,
    /// The same by their times.
    due: BTreeSet<(u64, Box<[u8]>)>,
}

/// Buckets that are forgotten in one go: more would hold up requests.
const FORGOTTEN_AT_ONCE: usize = 64;

impl Store for Buckets {
    type Settings = Rate;

    fn open(rate: &Rate, _: Place, _: &KeyHasher) -> Result<Self, OpenError> {
        let rate = Rate { ..*rate };
        Ok(Buckets { rate, full_at_ms: HashMap::new(), due: BTreeSet::new() })
    }

    /// Forgets buckets that are full; answers when the next one is.
    fn tick(&mut self, cx: &Cx<'_>) -> Option<u64> {
        for _ in 0..FORGOTTEN_AT_ONCE {
            let (full_at_ms, _) = self.due.first()?;
            if *full_at_ms > cx.now_ms() {
                return Some(full_at_ms - cx.now_ms());
            }
            let (_, bucket) = self.due.pop_first()?;
            self.full_at_ms.remove(&bucket);
        }
        Some(0)
    }
}

impl Buckets {
    /// How many milliseconds a bucket needs until it is full.
    fn missing_ms(&self, bucket: Key<'_>, now_ms: u64) -> u64 {
        self.full_at_ms.get(bucket.bytes()).map_or(0, |full| full.saturating_sub(now_ms))
    }

    /// How many tokens are in a bucket that needs so long.
    fn tokens(&self, missing_ms: u64) -> u64 {
        self.rate.capacity.saturating_sub(missing_ms.div_ceil(self.rate.token_ms))
    }
}

/// The command set.
struct Limiting;

#[commands(store = Buckets, wire = Resp)]
impl Limiting {
    /// Takes tokens from a bucket, 1 if it isn't said; answers how many are left, or -1 if there
    /// are too few, and then takes none.
    #[command(route = single(1), write)]
    fn take(db: &mut Buckets, cx: &Cx<'_>, bucket: Key<'_>, n: Option<u32>) -> Result<i64, Error> {
        let n = u64::from(n.unwrap_or(1));
        let missing_ms = db.missing_ms(bucket, cx.now_ms());
        let Some(left) = db.tokens(missing_ms).checked_sub(n) else { return Ok(-1) };
        let old = db.full_at_ms.get(bucket.bytes()).copied();
        let full_at_ms = cx.now_ms() + missing_ms + n * db.rate.token_ms;
        if let Some(old) = old {
            db.due.remove(&(old, bucket.bytes().into()));
        }
        db.due.insert((full_at_ms, bucket.bytes().into()));
        db.full_at_ms.insert(bucket.bytes().into(), full_at_ms);
        i64::try_from(left).map_err(|_| Error::OUT_OF_RANGE)
    }

    /// Answers how many tokens are in a bucket.
    #[command(route = single(1))]
    fn left(db: &Buckets, cx: &Cx<'_>, bucket: Key<'_>) -> u64 {
        db.tokens(db.missing_ms(bucket, cx.now_ms()))
    }

    /// How many buckets are not full, over all shards.
    #[command(route = all, gather = sum)]
    fn buckets(db: &Buckets) -> u64 {
        db.full_at_ms.len() as u64
    }
}

server! { Limiter: store = Buckets, ports = [ Resp, () => [Limiting] ] }

fn main() -> Result<(), kevy_rt::Error> {
    tracing_subscriber::fmt().init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7003".into());
    let address: SocketAddr = address.parse().expect("an address with a port");
    let rate = Rate { capacity: 10, token_ms: 1000 };
    Builder::<Limiter>::new(rate).listen(0, address).start()?.join()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kevy_rt::TestShard;

    use super::*;

    #[test]
    fn a_bucket_empties_and_fills_again() {
        for shards in [1, 2, 5] {
            let server = TestShard::<Limiter>::new(Rate { capacity: 3, token_ms: 100 }, shards);
            let mut client = server.connect::<Resp>();
            assert_eq!(client.call(["take", "alice", "2"]), 1);
            assert_eq!(client.call(["take", "bob"]), 2);
            assert_eq!(client.call(["take", "alice", "2"]), -1);
            assert_eq!(client.call(["buckets"]), 2);
            server.advance(Duration::from_millis(100));
            assert_eq!(client.call(["take", "alice", "2"]), 0);
            server.advance(Duration::from_millis(300));
            assert_eq!(client.call(["left", "alice"]), 3);
            assert_eq!(client.call(["buckets"]), 0);
        }
    }

    #[test]
    fn many_buckets_are_forgotten_in_turns() {
        let server = TestShard::<Limiter>::new(Rate { capacity: 3, token_ms: 100 }, 2);
        let mut client = server.connect::<Resp>();
        for bucket in 0..1000 {
            client.call(["take", &bucket.to_string()]);
        }
        assert_eq!(client.call(["buckets"]), 1000);
        server.advance(Duration::from_millis(100));
        assert_eq!(client.call(["buckets"]), 0);
        assert!((0..2).all(|shard| server.store(shard, |store| store.due.is_empty())));
    }
}
