//! Room for what is written, under `maxmemory`: all shards together keep within it, each by removing
//! keys of its own.

use std::sync::Arc;

use kevy_keyspace::{Among, Eviction, Policy, Share, Total, Tracking};
use kevy_rt::{Args, CommandInfo};

use super::Keyspace;
use crate::config::Config;

/// For each key that `maxmemory-samples` asks for so many are drawn. A draw costs less than Redis's,
/// and more of them come closer to the order that the policy means.
const DRAWS_PER_SAMPLE: usize = 2;

/// What the configuration says of it.
#[derive(Clone, Copy, Debug)]
struct Rules {
    /// Zero for none.
    limit: u64,
    eviction: Eviction,
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
            eviction: Eviction { policy, draws: config.max_memory_samples() * DRAWS_PER_SAMPLE },
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
    share: Share,
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
        Room { rules, changes, share: Share::new(total, shards) }
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
    /// before there were keys. Keys that are held stay. False if there is none.
    #[inline]
    pub(super) fn make(
        &mut self,
        keyspace: &mut Keyspace,
        command: &CommandInfo,
        args: Args<'_>,
        is_held: &dyn Fn(u64) -> bool,
        held: impl FnOnce() -> u64,
    ) -> bool {
        if self.rules.limit == 0 || !command.has_flag("denyoom") {
            return true;
        }
        let limit = self.rules.limit.saturating_sub(held());
        let more = args.iter().map(|arg| arg.len() as u64).sum::<u64>();
        self.share.make(keyspace, limit, more, self.rules.eviction, is_held)
    }

    /// The same for a request that is to be queued: without room even those are refused that need
    /// none.
    pub(super) fn make_for_queued(
        &mut self,
        keyspace: &mut Keyspace,
        command: &CommandInfo,
        args: Args<'_>,
        is_held: &dyn Fn(u64) -> bool,
        held: impl FnOnce() -> u64,
    ) -> bool {
        if self.rules.limit == 0 || command.has_flag("denyoom") {
            return self.make(keyspace, command, args, is_held, held);
        }
        // What is over the limit without a key has no room by any removal.
        let Some(limit) = self.rules.limit.checked_sub(held()) else { return false };
        self.share.make(keyspace, limit, 0, self.rules.eviction, is_held)
    }
}
