//! Room for what is written, under `maxmemory`: all shards together keep within it, each by removing
//! keys of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kevy_keyspace::{Among, Policy, Tracking};
use kevy_rt::{Args, CommandInfo};

use super::Keyspace;
use crate::config::Config;

/// Keys that one request removes at most: some milliseconds.
///
/// Smaller: a large value is refused where many small ones would go. Larger: others wait.
const EVICTED_PER_REQUEST: usize = 16 * 1024;

/// For each key that `maxmemory-samples` asks for so many are drawn. A draw costs less than Redis's,
/// and more of them come closer to the order that the policy means.
const DRAWS_PER_SAMPLE: usize = 2;

/// The part of `maxmemory` by which what all shards know of each other may be wrong.
const SLACK: u64 = 2048;

/// Bytes beside the arguments that a write may take: it may make a segment of the index grow.
const BESIDE: u64 = 64 * 1024;

/// Bytes that the keys of all shards take, as far as these have told.
#[derive(Debug, Default)]
pub(super) struct Total(AtomicI64);

/// What the configuration says of it.
#[derive(Clone, Copy, Debug)]
struct Rules {
    /// Zero for none.
    limit: u64,
    policy: Policy,
    draws: usize,
    tracking: Tracking,
}

impl Rules {
    fn read(config: &Config) -> Self {
        let policy = match config.max_memory_policy().as_str() {
            "allkeys-lru" => Policy::Recency(Among::All),
            "volatile-lru" => Policy::Recency(Among::Volatile),
            "allkeys-lfu" => Policy::Frequency(Among::All),
            "volatile-lfu" => Policy::Frequency(Among::Volatile),
            "allkeys-random" => Policy::Random(Among::All),
            "volatile-random" => Policy::Random(Among::Volatile),
            "volatile-ttl" => Policy::Expiry,
            _ => Policy::Refuse,
        };
        let (log_factor, decay_minutes) = config.frequency();
        Rules {
            limit: config.max_memory(),
            policy,
            draws: config.max_memory_samples() * DRAWS_PER_SAMPLE,
            tracking: match policy {
                Policy::Frequency(_) => Tracking::Frequency { log_factor, decay_minutes },
                _ => Tracking::Recency,
            },
        }
    }
}

/// A shard's share of the memory.
#[derive(Debug)]
pub(super) struct Room {
    rules: Rules,
    /// The changes of the configuration that they are read from.
    changes: u64,
    total: Arc<Total>,
    shards: u64,
    /// What of the total is this shard's.
    told: u64,
}

impl Room {
    pub(super) fn new(
        config: &Config,
        total: Arc<Total>,
        shards: usize,
        keyspace: &Keyspace,
    ) -> Self {
        let (rules, changes) = (Rules::read(config), config.changes());
        keyspace.track(rules.tracking);
        Room { rules, changes, total, shards: shards as u64, told: 0 }
    }

    /// Follows the configuration.
    #[inline]
    pub(super) fn follow(&mut self, config: &Config, keyspace: &Keyspace) {
        if self.changes != config.changes() {
            self.changes = config.changes();
            self.rules = Rules::read(config);
            keyspace.track(self.rules.tracking);
        }
    }

    /// Makes room for a command that may use memory, beside the `held` bytes that the process had
    /// before there were keys. Keys that are claimed stay. False if there is none.
    #[inline]
    pub(super) fn make(
        &mut self,
        keyspace: &mut Keyspace,
        command: &CommandInfo,
        args: Args<'_>,
        is_claimed: &dyn Fn(u64) -> bool,
        held: impl FnOnce() -> u64,
    ) -> bool {
        if self.rules.limit == 0 || !command.has_flag("denyoom") {
            return true;
        }
        let limit = self.rules.limit.saturating_sub(held());
        self.make_below(keyspace, limit, args, is_claimed)
    }

    #[cold]
    fn make_below(
        &mut self,
        keyspace: &mut Keyspace,
        limit: u64,
        args: Args<'_>,
        is_claimed: &dyn Fn(u64) -> bool,
    ) -> bool {
        let Rules { policy, draws, .. } = self.rules;
        let more = args.iter().map(|arg| arg.len() as u64).sum::<u64>();
        let beside = BESIDE.min(limit / 256);
        for _ in 0..EVICTED_PER_REQUEST {
            if self.tell(keyspace, limit) + more + beside <= limit {
                return true;
            }
            if !keyspace.evict(policy, draws, is_claimed) {
                return false;
            }
        }
        false
    }

    /// Tells the others how much this shard has, if that has changed by much; answers how much all
    /// have.
    fn tell(&mut self, keyspace: &Keyspace, limit: u64) -> u64 {
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

impl Drop for Room {
    fn drop(&mut self) {
        self.total.0.fetch_sub(self.told as i64, Ordering::Relaxed);
    }
}
