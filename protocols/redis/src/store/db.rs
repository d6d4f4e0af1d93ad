//! One numbered database of a shard: what commands read and write.
//!
//! A key whose time is over is not there for any reader, from that very millisecond on. It is
//! removed by the next write of it or by a tick, and counts as a key until then.

use std::rc::Rc;

use kevy_rt::{Key, Value};

use super::index::Index;
use super::record::{Form, Record};
use super::records::{RecordId, Search};
use super::{Clock, Stats};

/// Most keys removed by one [`Db::tick`] because they expired: some tens of microseconds.
///
/// Smaller: keys with short lives may come faster than they go. Larger: requests wait.
const EXPIRED_PER_TICK: usize = 1024;

/// Most blocks of records whose expiries one [`Db::tick`] looks at: 64 KiB, some microseconds.
const BLOCKS_PER_TICK: usize = 8 * 1024;

/// Most records of a cleared database that one [`Db::tick`] frees.
const FREED_PER_TICK: usize = 1024;

/// [`Db::tick`] left something to be done: it goes on in the next turn.
const AT_ONCE: u64 = 0;

/// The longest that [`Db::tick`] is not called while a key may expire: one that was set since may
/// expire before all others. In milliseconds.
const LONGEST_WAIT_MS: u64 = 250;

/// One numbered database of a shard.
#[derive(Debug)]
pub struct Db {
    index: Index,
    clock: Clock,
    stats: Rc<Stats>,
    /// Records of a cleared database that are not freed yet.
    discarded: Vec<Vec<Record>>,
}

/// What becomes of a key's expiry when it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It stays.
    Keep,
    /// There is none any more.
    Never,
    /// It is this, in milliseconds since the Unix epoch. Not zero.
    At(u64),
}

impl Db {
    /// An empty database.
    pub fn new(clock: Clock, stats: Rc<Stats>) -> Self {
        Db { index: Index::default(), clock, stats, discarded: Vec::new() }
    }

    /// How many keys there are, expired ones that were not removed yet included.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// How many keys have an expiry.
    pub fn volatile(&self) -> usize {
        self.index.records().volatile()
    }

    /// Bytes of memory that keys and values take, the table included.
    pub fn memory(&self) -> usize {
        self.index.memory()
    }

    /// The time of this turn, in milliseconds since the Unix epoch.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// The record of `key`, if it is there and its time is not over.
    #[inline]
    pub fn find(&self, key: Key<'_>) -> Option<&Record> {
        let id = self.index.find(key.hash(), key.bytes())?;
        let record = self.index.get(id);
        self.is_live(record).then_some(record)
    }

    #[inline]
    fn is_live(&self, record: &Record) -> bool {
        // The clock is read only for what expires.
        record.expires_ms() == 0 || !record.is_expired(self.clock.now_ms())
    }

    /// Same as [`Db::find`] for a command that reads: counted as a hit or a miss.
    #[inline]
    pub fn read(&self, key: Key<'_>) -> Option<&Record> {
        self.counted(self.find(key))
    }

    #[inline]
    fn counted<'a>(&self, found: Option<&'a Record>) -> Option<&'a Record> {
        Stats::count(if found.is_some() { &self.stats.hits } else { &self.stats.misses });
        found
    }

    /// The value of `key`; counted as a hit or a miss.
    #[inline]
    pub fn get(&self, key: Key<'_>) -> Option<Value<'_>> {
        self.read(key).map(Record::value)
    }

    /// The place of `key`, to be read and changed with one lookup. An expired record is removed.
    #[inline]
    pub fn entry<'a>(&'a mut self, key: Key<'a>) -> Entry<'a> {
        let mut id = self.index.find(key.hash(), key.bytes());
        if let Some(found) = id
            && !self.is_live(self.index.get(found))
        {
            self.index.remove(found);
            Stats::count(&self.stats.expired);
            id = None;
        }
        Entry { db: self, key, id }
    }

    /// Sets `key` to a whole value.
    #[inline]
    pub fn set(&mut self, key: Key<'_>, value: Value<'_>, expiry: Expiry) {
        self.entry(key).put(value, Form::Whole, expiry);
    }

    /// Removes `key`. False if it was not there.
    #[inline]
    pub fn remove(&mut self, key: Key<'_>) -> bool {
        self.entry(key).remove()
    }

    /// All records that are there.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.index.records().iter().filter(|record| self.is_live(record))
    }

    /// Calls `visit` with a few records, and answers the cursor for the next few, 0 at the end. A
    /// pass, which starts with cursor 0, visits every key that is there all the time.
    pub fn scan<'a>(&'a self, cursor: u64, mut visit: impl FnMut(&'a Record)) -> u64 {
        self.index.scan(cursor, |record| {
            if self.is_live(record) {
                visit(record);
            }
        })
    }

    /// A random key; `None` if there is none.
    pub fn random_key(&self, random: impl FnMut() -> u64) -> Option<&[u8]> {
        self.index.random(random, |record| self.is_live(record)).map(Record::key)
    }

    /// Removes all keys. Their memory is freed by and by.
    pub fn clear(&mut self) {
        self.discarded.append(&mut self.index.clear());
    }

    /// Removes some of what has expired, frees some of what was cleared. Answers after how many
    /// milliseconds there is more to do.
    pub(super) fn tick(&mut self) -> Option<u64> {
        if self.index.records().is_hollow() {
            self.clear();
        }
        if self.free_some() {
            return Some(AT_ONCE);
        }
        if self.volatile() == 0 {
            return None;
        }
        let now_ms = self.clock.now_ms();
        let (removed, search) =
            self.index.remove_expired(now_ms, EXPIRED_PER_TICK, BLOCKS_PER_TICK);
        self.stats.expired.set(self.stats.expired.get().wrapping_add(removed as u64));
        match search {
            Search::More => Some(AT_ONCE),
            Search::Done(next) => {
                let over_ms = next.map_or(LONGEST_WAIT_MS, |next| next.saturating_sub(now_ms) + 1);
                (self.volatile() > 0).then_some(over_ms.min(LONGEST_WAIT_MS))
            }
        }
    }

    /// Whether something was left to be freed.
    fn free_some(&mut self) -> bool {
        let Some(chunk) = self.discarded.last_mut() else { return false };
        chunk.truncate(chunk.len().saturating_sub(FREED_PER_TICK));
        if chunk.is_empty() {
            self.discarded.pop();
        }
        true
    }

    /// Asks for what a lookup of `hash` reads first, if that pays.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Asks for what a lookup of `hash` reads next, if that pays.
    #[inline]
    pub fn prefetch_record(&self, hash: u64) {
        self.index.prefetch_record(hash);
    }
}

/// The place of a key in a database, with or without a record.
#[derive(Debug)]
pub struct Entry<'a> {
    db: &'a mut Db,
    key: Key<'a>,
    id: Option<RecordId>,
}

impl Entry<'_> {
    /// The time of this turn, in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.db.now_ms()
    }

    /// The record, if there is one.
    #[inline]
    pub fn record(&self) -> Option<&Record> {
        self.id.map(|id| self.db.index.get(id))
    }

    /// Whether there is one.
    #[inline]
    pub fn exists(&self) -> bool {
        self.id.is_some()
    }

    /// The value, for a command that reads it: counted as a hit or a miss.
    #[inline]
    pub fn read(&self) -> Option<Value<'_>> {
        self.db.counted(self.record()).map(Record::value)
    }

    /// Sets a value, whether or not there was one.
    #[inline]
    pub fn put(&mut self, value: Value<'_>, form: Form, expiry: Expiry) {
        let index = &mut self.db.index;
        let id = match self.id {
            Some(id) => {
                index.change(id, |record| record.set_value(value, form));
                id
            }
            None => {
                let record = Record::new(self.key.hash() as u32, self.key.bytes(), value, form);
                *self.id.insert(index.insert(record))
            }
        };
        match expiry {
            Expiry::Keep => {}
            Expiry::Never => index.set_expires_ms(id, 0),
            Expiry::At(expires_ms) => index.set_expires_ms(id, expires_ms),
        }
    }

    /// Changes the value's bytes in place, with zeros appended up to `len`. No value is an empty
    /// one.
    pub fn edit<R>(&mut self, len: usize, edit: impl FnOnce(&mut [u8]) -> R) -> R {
        if self.id.is_none() {
            self.put(Value::Slice(b""), Form::Edited, Expiry::Keep);
        }
        let id = self.id.expect("put just now");
        self.db.index.change(id, |record| edit(record.edit(len)))
    }

    /// When the key expires; `None` for a key that isn't there or that stays for ever.
    #[inline]
    pub fn expires_ms(&self) -> Option<u64> {
        self.record().map(Record::expires_ms).filter(|&expires_ms| expires_ms != 0)
    }

    /// Changes when the key expires, if it is there.
    pub fn set_expiry(&mut self, expiry: Expiry) {
        let expires_ms = match expiry {
            Expiry::Keep => return,
            Expiry::Never => 0,
            Expiry::At(expires_ms) => expires_ms,
        };
        if let Some(id) = self.id {
            self.db.index.set_expires_ms(id, expires_ms);
        }
    }

    /// Removes the key. False if it was not there.
    #[inline]
    pub fn remove(&mut self) -> bool {
        self.id.take().map(|id| self.db.index.remove(id)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Keyspace;
    use crate::testing::key;

    fn keyspace(now_ms: u64) -> Keyspace {
        let keyspace = Keyspace::new(2);
        keyspace.clock.set(now_ms);
        keyspace
    }

    fn text(db: &Db, name: &str) -> Option<String> {
        db.get(key(name)).map(|value| String::from_utf8(value.bytes().to_vec()).unwrap())
    }

    fn set(db: &mut Db, name: &str, value: &str, expiry: Expiry) {
        db.set(key(name), Value::Slice(value.as_bytes()), expiry);
    }

    #[test]
    fn a_key_is_there_up_to_its_last_millisecond() {
        let mut keyspace = keyspace(1000);
        set(&mut keyspace.dbs[0], "k", "v", Expiry::At(1500));
        keyspace.clock.set(1500);
        assert_eq!(text(&keyspace.dbs[0], "k").as_deref(), Some("v"));
        keyspace.clock.set(1501);
        assert_eq!(text(&keyspace.dbs[0], "k"), None);
        assert_eq!(keyspace.dbs[0].len(), 1, "it counts until it is removed");
        assert_eq!(keyspace.dbs[0].random_key(|| 0), None);
        assert_eq!(keyspace.dbs[0].iter().count(), 0);
        assert!(!keyspace.dbs[0].entry(key("k")).exists());
        assert_eq!((keyspace.dbs[0].len(), keyspace.stats.expired.get()), (0, 1));
    }

    #[test]
    fn a_write_says_what_becomes_of_the_expiry() {
        let mut keyspace = keyspace(1000);
        let db = &mut keyspace.dbs[0];
        set(db, "k", "1", Expiry::At(2000));
        set(db, "k", "2", Expiry::Keep);
        assert_eq!((db.entry(key("k")).expires_ms(), db.volatile()), (Some(2000), 1));
        set(db, "k", "3", Expiry::Never);
        assert_eq!((db.entry(key("k")).expires_ms(), db.volatile()), (None, 0));
        db.entry(key("k")).set_expiry(Expiry::At(3000));
        db.entry(key("k")).edit(3, |bytes| bytes[2] = b'x');
        assert_eq!(text(db, "k").as_deref(), Some("3\0x"));
        assert_eq!(db.entry(key("k")).expires_ms(), Some(3000));
        assert!(db.remove(key("k")) && !db.remove(key("k")));
        assert_eq!(db.volatile(), 0);
    }

    #[test]
    fn reads_are_counted() {
        let mut keyspace = keyspace(0);
        set(&mut keyspace.dbs[1], "k", "v", Expiry::Never);
        assert!(text(&keyspace.dbs[1], "k").is_some());
        assert!(text(&keyspace.dbs[0], "k").is_none());
        assert!(keyspace.dbs[1].entry(key("k")).read().is_some());
        assert_eq!((keyspace.stats.hits.get(), keyspace.stats.misses.get()), (2, 1));
        keyspace.stats.reset();
        assert_eq!((keyspace.stats.hits.get(), keyspace.stats.misses.get()), (0, 0));
    }

    #[test]
    fn ticks_remove_what_expired_and_say_when_to_go_on() {
        let mut keyspace = keyspace(1000);
        assert_eq!(keyspace.tick(), None);
        for number in 0..5000 {
            set(&mut keyspace.dbs[0], &number.to_string(), "v", Expiry::At(1100));
        }
        set(&mut keyspace.dbs[1], "late", "v", Expiry::At(1_000_000));
        assert_eq!(keyspace.tick(), Some(101));
        keyspace.clock.set(1101);
        let mut ticks = 0;
        while keyspace.tick() == Some(AT_ONCE) {
            ticks += 1;
        }
        assert!((5000 / EXPIRED_PER_TICK..10).contains(&ticks));
        assert_eq!((keyspace.dbs[0].len(), keyspace.stats.expired.get()), (0, 5000));
        assert_eq!(keyspace.tick(), Some(LONGEST_WAIT_MS));
        keyspace.dbs[1].entry(key("late")).set_expiry(Expiry::Never);
        assert_eq!(keyspace.tick(), None);
    }

    #[test]
    fn what_was_cleared_is_freed_by_and_by() {
        let mut keyspace = keyspace(0);
        for number in 0..3000 {
            set(&mut keyspace.dbs[0], &number.to_string(), "v", Expiry::Never);
        }
        keyspace.swap(0, 1);
        assert_eq!((keyspace.dbs[0].len(), keyspace.dbs[1].len()), (0, 3000));
        keyspace.clear();
        assert_eq!((keyspace.dbs[1].len(), keyspace.memory()), (0, 0));
        assert_eq!(keyspace.tick(), Some(AT_ONCE));
        assert!((0..3).any(|_| keyspace.tick().is_none()));
        set(&mut keyspace.dbs[1], "1", "again", Expiry::Never);
        assert_eq!(text(&keyspace.dbs[1], "1").as_deref(), Some("again"));
    }

    #[test]
    fn an_emptied_database_keeps_no_memory() {
        let mut keyspace = keyspace(0);
        let names: Vec<String> = (0..40_000).map(|number| number.to_string()).collect();
        names.iter().for_each(|name| set(&mut keyspace.dbs[0], name, "v", Expiry::Never));
        assert!(names.iter().all(|name| keyspace.dbs[0].remove(key(name))));
        assert!(keyspace.memory() > 0);
        while keyspace.tick().is_some() {}
        assert_eq!(keyspace.memory(), 0);
    }
}
