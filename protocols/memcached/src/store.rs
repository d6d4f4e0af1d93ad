//! A shard's data, and what this protocol asks of a store that it shares with others.

use std::sync::Arc;

use kevy_keyspace::{Among, Db, Eviction, Keyspace, NoObject, Object, Policy, Share, Total};
use kevy_rt::{Args, Changes, CommandInfo, Cx, Key, KeyHasher, OpenError, Place};

use crate::item::{self, Item, Meta};
use crate::stats::Counters;

/// Keys that are drawn for each that goes.
const DRAWS: usize = 10;

/// A server's store, as this protocol needs it: keys, and what it keeps beside them.
///
/// A keyspace that others use too is fine. Keys are those of its first database; values that aren't
/// bytes are not there for this protocol.
pub trait Items: 'static {
    /// What values that aren't bytes are.
    type Object: Object;
    /// What this protocol keeps beside the keys.
    fn cache(&self) -> &Cache;
    /// The keys.
    fn keyspace(&self) -> &Keyspace<Self::Object>;
    /// Both, to be changed.
    fn parts(&mut self) -> (&mut Cache, &mut Keyspace<Self::Object>);
}

/// The database that the keys are in.
#[inline]
pub(crate) fn db<S: Items>(store: &S) -> &Db<S::Object> {
    &store.keyspace().dbs[0]
}

/// The item of a key, for a command that reads it: counted and used.
#[inline(always)]
pub(crate) fn read<'a, S: Items>(store: &'a S, key: Key<'_>) -> Option<Item<'a, S::Object>> {
    db(store).read(key).and_then(Item::of)
}

/// How a cache is set up. All its shards have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes that one item may have, as memcached counts them.
    pub item_bytes: usize,
    /// Bytes that all items together may take; zero for no limit. Where the keys are shared with
    /// another protocol, that one's limit holds.
    pub memory_bytes: u64,
    /// Whether items go when there is no room; otherwise new ones are refused.
    pub evicts: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { item_bytes: 1024 * 1024, memory_bytes: 64 * 1024 * 1024, evicts: true }
    }
}

/// What this protocol keeps on a shard beside the keys.
#[derive(Debug)]
pub struct Cache {
    pub(crate) settings: Settings,
    pub(crate) counters: Counters,
    /// Whether the last write that asked for room got it.
    pub(crate) has_room: bool,
    /// When all items are dropped, if somebody said so; in milliseconds since the Unix epoch.
    pub(crate) flush_at_ms: Option<u64>,
    hasher: KeyHasher,
    place: Place,
    /// Unique numbers given so far.
    numbers: u64,
}

impl Cache {
    /// That of one shard.
    pub fn new(settings: Settings, place: Place, hasher: &KeyHasher) -> Self {
        Cache {
            settings,
            counters: Counters::default(),
            has_room: true,
            flush_at_ms: None,
            hasher: hasher.clone(),
            place,
            numbers: 0,
        }
    }

    /// Says whether there is room for the write that comes next. A store that shares its keys asks
    /// for room itself, before each command with the flag `asks_room`, and lets it run either way.
    pub fn set_room(&mut self, has_room: bool) {
        self.has_room = has_room;
    }

    /// Starts a turn: drops all keys if that was due.
    #[inline]
    pub fn begin<T: Object>(&mut self, keyspace: &mut Keyspace<T>, now_ms: u64) {
        if self.flush_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.flush_at_ms = None;
            keyspace.dbs[0].clear();
        }
    }

    /// Milliseconds until there is something to do for [`Cache::begin`].
    pub fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        self.flush_at_ms.map(|at_ms| at_ms.saturating_sub(now_ms))
    }

    /// A number that no item has had, on any shard.
    pub(crate) fn unique(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers * self.place.shards as u64 + self.place.shard as u64
    }

    /// The unique number of an item. For a key that another protocol has written it is a hash of its
    /// value, which no number that was given is equal to.
    #[inline]
    pub(crate) fn cas<T: Object>(&self, item: &Item<'_, T>) -> u64 {
        const HASHED: u64 = 1 << 63;
        match item.meta {
            Meta { cas: 0, .. } => self.hasher.hash(item.value.bytes()) | HASHED,
            Meta { cas, .. } => cas,
        }
    }

    /// Whether an item may be as large.
    pub(crate) fn takes(&self, key_len: usize, flags: u32, len: usize) -> bool {
        item::size(key_len, flags, len) <= self.settings.item_bytes
    }
}

/// Whether a command looks for itself whether there is room.
pub fn asks_room(command: &CommandInfo) -> bool {
    command.has_flag("asks_room")
}

/// One shard's data, for a server of this protocol alone.
#[derive(Debug)]
pub struct Store {
    keyspace: Keyspace<NoObject>,
    cache: Cache,
    share: Share,
}

/// What the stores of all shards are opened with.
#[derive(Debug, Default)]
pub struct StoreSettings {
    cache: Settings,
    total: Arc<Total>,
}

impl From<Settings> for StoreSettings {
    fn from(cache: Settings) -> Self {
        StoreSettings { cache, total: Arc::default() }
    }
}

impl Items for Store {
    type Object = NoObject;

    #[inline]
    fn cache(&self) -> &Cache {
        &self.cache
    }

    #[inline]
    fn keyspace(&self) -> &Keyspace<NoObject> {
        &self.keyspace
    }

    #[inline]
    fn parts(&mut self) -> (&mut Cache, &mut Keyspace<NoObject>) {
        (&mut self.cache, &mut self.keyspace)
    }
}

impl kevy_rt::Store for Store {
    type Settings = StoreSettings;

    fn open(settings: &StoreSettings, place: Place, hasher: &KeyHasher) -> Result<Self, OpenError> {
        Ok(Store {
            keyspace: Keyspace::new(1, hasher),
            cache: Cache::new(settings.cache, place, hasher),
            share: Share::new(settings.total.clone(), place.shards),
        })
    }

    #[inline]
    fn begin(&mut self, now_ms: u64) {
        self.keyspace.begin(now_ms);
        self.cache.begin(&mut self.keyspace, now_ms);
    }

    fn tick(&mut self, cx: &Cx<'_>) -> Option<u64> {
        self.begin(cx.now_ms());
        let next = self.keyspace.tick(&|hash| cx.server().is_claimed(hash));
        next.into_iter().chain(self.cache.wait_ms(cx.now_ms())).min()
    }

    #[inline]
    fn admit(&mut self, cx: &Cx<'_>, command: &CommandInfo, args: Args<'_>) -> bool {
        let Settings { memory_bytes, evicts, .. } = self.cache.settings;
        if memory_bytes > 0 && asks_room(command) {
            let policy = if evicts { Policy::Recency(Among::All) } else { Policy::Refuse };
            let more = args.iter().map(|arg| arg.len() as u64).sum::<u64>();
            let eviction = Eviction { policy, draws: DRAWS };
            let is_held = |hash| cx.server().is_held(hash);
            let has_room =
                self.share.make(&mut self.keyspace, memory_bytes, more, eviction, &is_held);
            self.cache.set_room(has_room);
        }
        true
    }

    fn attach(&mut self, changes: &Changes) {
        self.keyspace.attach(changes);
    }

    fn settle(&mut self, _: &Cx<'_>, key: Key<'_>) {
        self.keyspace.dbs[0].settle(key);
    }

    #[inline]
    fn prefetch(&self, hash: u64, _: u64) {
        self.keyspace.dbs[0].prefetch(hash);
    }

    #[inline]
    fn prefetch_record(&self, hash: u64, _: u64) {
        self.keyspace.dbs[0].prefetch_record(hash);
    }
}
