//! A shard's data: the numbered databases and the configuration.

mod room;
mod startup;
pub mod value;

use std::sync::Arc;

use kevy_resp::Dialect;
use kevy_rt::{
    Args, Changes, CommandInfo, Cx, Has, Key, KeyHasher, OpenError, Place, Scope, Scrape,
};

pub use kevy_keyspace::Expiry;
use kevy_keyspace::Total;

use self::room::Room;
use self::startup::Startup;
use self::value::Object;
use crate::config::Config;
use crate::info::Rates;

/// The numbered databases of a shard.
pub type Keyspace = kevy_keyspace::Keyspace<Object>;

/// One of them.
pub type Db = kevy_keyspace::Db<Object>;

/// A value on its way from key to key.
pub type Detached = kevy_keyspace::Detached<Object>;

/// The place of a key in one.
pub type Entry<'a> = kevy_keyspace::Entry<'a, Object>;

/// What the stores of all shards are opened with.
#[derive(Debug)]
pub struct Settings {
    config: Config,
    total: Arc<Total>,
    startup: Arc<Startup>,
}

impl From<Config> for Settings {
    fn from(config: Config) -> Self {
        Settings { config, total: Arc::default(), startup: Arc::default() }
    }
}

/// One shard's data.
#[derive(Debug)]
pub struct Store {
    /// The numbered databases.
    pub keyspace: Keyspace,
    /// This shard's copy of the configuration.
    pub config: Config,
    /// How fast its counters grow.
    pub rates: Rates,
    room: Room,
    startup: Arc<Startup>,
    has_begun: bool,
}

impl kevy_rt::Store for Store {
    type Settings = Settings;

    fn open(settings: &Settings, place: Place, hasher: &KeyHasher) -> Result<Self, OpenError> {
        let Settings { config, total, startup } = settings;
        let keyspace = Keyspace::new(usize::from(config.databases()), hasher);
        let room = Room::new(config, total.clone(), place.shards, &keyspace);
        Ok(Store {
            keyspace,
            config: config.clone(),
            rates: Rates::default(),
            room,
            startup: startup.clone(),
            has_begun: false,
        })
    }

    fn begin(&mut self, now_ms: u64) {
        if !self.has_begun {
            self.has_begun = true;
            self.startup.shard_begins();
        }
        self.keyspace.begin(now_ms);
        self.room.follow(&self.config, &self.keyspace);
    }

    fn tick(&mut self, cx: &Cx<'_>) -> Option<u64> {
        self.keyspace.begin(cx.now_ms());
        self.keyspace.tick(&|hash| cx.server().is_claimed(hash))
    }

    #[inline]
    fn admit(&mut self, cx: &Cx<'_>, command: &CommandInfo, args: Args<'_>) -> bool {
        self.room.follow(&self.config, &self.keyspace);
        let is_held = |hash| cx.server().is_held(hash);
        let held = || self.startup.bytes();
        self.room.make(&mut self.keyspace, command, args, &is_held, held)
    }

    fn admit_queued(&mut self, cx: &Cx<'_>, command: &CommandInfo, args: Args<'_>) -> bool {
        self.room.follow(&self.config, &self.keyspace);
        let is_held = |hash| cx.server().is_held(hash);
        let held = || self.startup.bytes();
        self.room.make_for_queued(&mut self.keyspace, command, args, &is_held, held)
    }

    fn observe(&self, cx: &Cx<'_>, scrape: &mut Scrape) {
        crate::info::tell(self, cx, scrape);
    }

    fn attach(&mut self, changes: &Changes) {
        self.keyspace.attach(changes);
    }

    /// The database's number.
    fn space(scope: u64) -> u64 {
        Dialect::from_bits(scope).db.into()
    }

    fn settle(&mut self, cx: &Cx<'_>, key: Key<'_>) {
        let db: &mut Db = self.part_mut(cx);
        db.settle(key);
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
    /// Bytes that the process held before there were keys.
    pub(crate) fn startup_bytes(&self) -> u64 {
        self.startup.bytes()
    }

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
    fn a_space_is_a_database() {
        let scope = |db, resp3| Dialect { db, resp3 }.bits();
        let space = <Store as kevy_rt::Store>::space;
        assert_eq!((space(scope(0, true)), space(scope(0, false))), (0, 0));
        assert_eq!((space(scope(65_534, true)), space(scope(7, false))), (65_534, 7));
    }

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
