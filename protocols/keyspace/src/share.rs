//! A bound on the memory of all shards together, which each keeps by removing keys of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::keyspace::{Keyspace, Policy};
use crate::outside::Object;

/// Keys that one request removes at most: some milliseconds.
///
/// Smaller: a large value is refused where many small ones would go. Larger: others wait.
const EVICTED_PER_REQUEST: usize = 16 * 1024;

/// The part of the bound by which what all shards know of each other may be wrong.
const SLACK: u64 = 2048;

/// Bytes beside what is written that a write may take: it may make a segment of the index grow.
const BESIDE: u64 = 64 * 1024;

/// Bytes that the keys of all shards take, as far as these have told.
#[derive(Debug, Default)]
pub struct Total(AtomicI64);

/// A shard's share of the memory.
#[derive(Debug)]
pub struct Share {
    total: Arc<Total>,
    shards: u64,
    /// What of the total is this shard's.
    told: u64,
}

/// What makes room when there is none.
#[derive(Clone, Copy, Debug)]
pub struct Eviction {
    /// Which keys go.
    pub policy: Policy,
    /// How many are drawn for each that goes.
    pub draws: usize,
}

impl Share {
    /// That of one of so many shards, which have told nothing yet.
    pub fn new(total: Arc<Total>, shards: usize) -> Self {
        Share { total, shards: shards as u64, told: 0 }
    }

    /// Makes room for `more` bytes, so that all shards' keys take at most `limit`. Keys whose hash
    /// `is_held` stay. False if there is no room.
    #[cold]
    pub fn make<T: Object>(
        &mut self,
        keyspace: &mut Keyspace<T>,
        limit: u64,
        more: u64,
        eviction: Eviction,
        is_held: &dyn Fn(u64) -> bool,
    ) -> bool {
        let beside = BESIDE.min(limit / 256);
        for _ in 0..EVICTED_PER_REQUEST {
            if self.tell(keyspace, limit) + more + beside <= limit {
                return true;
            }
            if !keyspace.evict(eviction.policy, eviction.draws, is_held) {
                return false;
            }
        }
        false
    }

    /// Tells the others how much this shard has, if that has changed by much; answers how much all
    /// have.
    fn tell<T: Object>(&mut self, keyspace: &Keyspace<T>, limit: u64) -> u64 {
        let mine = keyspace.memory() as u64;
        let change = mine as i64 - self.told as i64;
        if change.unsigned_abs() > limit / SLACK / self.shards {
            self.told = mine;
            self.total.0.fetch_add(change, Ordering::Relaxed);
        }
        let others = self.total.0.load(Ordering::Relaxed) - self.told as i64;
        mine + others.max(0) as u64
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.total.0.fetch_sub(self.told as i64, Ordering::Relaxed);
    }
}
