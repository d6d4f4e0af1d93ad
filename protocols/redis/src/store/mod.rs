//! A shard's data: the numbered databases, what they count together, and the configuration.
//!
//! ```text
//! Store ── Keyspace ── Db 0 ── Index ── Table      hash to the record's number
//!   │         │         ...        └─── Records    key, value and expiry, 64 bytes each
//!   │         └ Clock, Stats              └ Due    when the next of each block expires
//!   └ Config
//! ```
//!
//! The command sets see a [`Db`] and its [`Entry`]; nothing else knows how keys are found.

pub mod db;
mod due;
pub mod index;
pub mod record;
pub mod records;
mod table;

use std::cell::Cell;
use std::rc::Rc;

use kevy_resp::Dialect;
use kevy_rt::{Cx, Has, KeyHasher, Place, Scope};

pub use self::db::{Db, Entry, Expiry};
use crate::config::Config;
use crate::info::Rates;

/// One shard's data.
#[derive(Debug)]
pub struct Store {
    /// The numbered databases.
    pub keyspace: Keyspace,
    /// This shard's copy of the configuration.
    pub config: Config,
    /// How fast its counters grow.
    pub rates: Rates,
}

/// The numbered databases of a shard, and what they have in common.
#[derive(Debug)]
pub struct Keyspace {
    /// By number.
    pub dbs: Vec<Db>,
    /// What all of them count.
    pub stats: Rc<Stats>,
    clock: Clock,
}

/// The time that all requests of a turn see. The databases of a shard share it.
#[derive(Clone, Debug, Default)]
pub struct Clock(Rc<Cell<u64>>);

impl Clock {
    /// Milliseconds since the Unix epoch.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.0.get()
    }

    /// Starts a turn.
    #[inline]
    pub fn set(&self, now_ms: u64) {
        self.0.set(now_ms);
    }
}

/// Counters of a shard's databases, since start or since they were last reset.
#[derive(Debug, Default)]
pub struct Stats {
    /// Reads that found their key.
    pub hits: Cell<u64>,
    /// Reads that didn't.
    pub misses: Cell<u64>,
    /// Keys removed because their time was over.
    pub expired: Cell<u64>,
}

impl Stats {
    /// Adds one.
    #[inline]
    pub(crate) fn count(counter: &Cell<u64>) {
        counter.set(counter.get().wrapping_add(1));
    }

    /// Starts again from zero.
    pub fn reset(&self) {
        self.hits.set(0);
        self.misses.set(0);
        self.expired.set(0);
    }
}

impl Keyspace {
    /// `databases` empty ones.
    pub fn new(databases: usize) -> Self {
        let (clock, stats) = (Clock::default(), Rc::<Stats>::default());
        let dbs = (0..databases).map(|_| Db::new(clock.clone(), stats.clone())).collect();
        Keyspace { dbs, stats, clock }
    }

    /// Empties every database.
    pub fn clear(&mut self) {
        self.dbs.iter_mut().for_each(Db::clear);
    }

    /// Exchanges two databases.
    ///
    /// # Panics
    /// If there is no such database.
    pub fn swap(&mut self, a: usize, b: usize) {
        self.dbs.swap(a, b);
    }

    /// Bytes of memory that keys and values take, tables included.
    pub fn memory(&self) -> usize {
        self.dbs.iter().map(Db::memory).sum()
    }

    /// Removes some of what has expired; answers after how many milliseconds to go on.
    fn tick(&mut self) -> Option<u64> {
        self.dbs.iter_mut().filter_map(Db::tick).min()
    }
}

impl kevy_rt::Store for Store {
    type Settings = Config;

    fn open(settings: &Config, _: Place, _: &KeyHasher) -> Self {
        let keyspace = Keyspace::new(usize::from(settings.databases()));
        Store { keyspace, config: settings.clone(), rates: Rates::default() }
    }

    fn begin(&mut self, now_ms: u64) {
        self.keyspace.clock.set(now_ms);
    }

    fn tick(&mut self, cx: &Cx<'_>) -> Option<u64> {
        self.keyspace.clock.set(cx.now_ms());
        self.keyspace.tick()
    }

    #[inline]
    fn prefetch(&self, hash: u64, scope: u64) {
        self.db(scope).prefetch(hash);
    }

    #[inline]
    fn prefetch_record(&self, hash: u64, scope: u64) {
        self.db(scope).prefetch_record(hash);
    }

    #[inline]
    fn placement(key: &[u8]) -> &[u8] {
        hash_tag(key).unwrap_or(key)
    }
}

impl Store {
    #[inline(always)]
    fn db(&self, scope: u64) -> &Db {
        &self.keyspace.dbs[usize::from(Dialect::from_bits(scope).db)]
    }
}

/// The bytes between a key's first `{` and the next `}`, unless there are none: keys with the same
/// ones live on the same shard.
#[inline]
pub fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|&byte| byte == b'{')?;
    let tail = &key[open + 1..];
    let close = tail.iter().position(|&byte| byte == b'}')?;
    (close > 0).then(|| &tail[..close])
}

impl Has<Db> for Store {
    #[inline(always)]
    fn part(&self, cx: &Cx<'_>) -> &Db {
        self.db(cx.scope())
    }

    #[inline(always)]
    fn part_mut(&mut self, cx: &Cx<'_>) -> &mut Db {
        &mut self.keyspace.dbs[usize::from(Dialect::from_bits(cx.scope()).db)]
    }
}

impl Has<Keyspace> for Store {
    fn part(&self, _: &Cx<'_>) -> &Keyspace {
        &self.keyspace
    }

    fn part_mut(&mut self, _: &Cx<'_>) -> &mut Keyspace {
        &mut self.keyspace
    }
}

impl Has<Config> for Store {
    fn part(&self, _: &Cx<'_>) -> &Config {
        &self.config
    }

    fn part_mut(&mut self, _: &Cx<'_>) -> &mut Config {
        &mut self.config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_tag_is_what_redis_cluster_takes() {
        for (key, tag) in [
            ("{user}.following", Some("user")),
            ("a{b}c{d}", Some("b")),
            ("foo{}{bar}", None),
            ("foo{{bar}}zap", Some("{bar")),
            ("foo{bar", None),
            ("foo}bar{", None),
            ("", None),
        ] {
            assert_eq!(hash_tag(key.as_bytes()), tag.map(str::as_bytes), "{key}");
        }
    }
}
