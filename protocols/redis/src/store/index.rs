//! From a key to its record.
//!
//! ```text
//! tables, 1 or 64: picked by the lowest bits of the hash
//! slots, 8 bytes:  [hash, record] [hash, record] [-] [hash, record] ...    eight to a cache line
//! records, 64:     [expiry, key, value] ...                                one to a cache line
//! ```
//!
//! A lookup reads a line of slots and, when 32 bits of the hash agree, a record: two cache misses
//! in a large index, both of which can be asked for ahead. A small index, which the caches hold,
//! has one table. A large one has many, which grow one at a time, so that no insertion waits for
//! more than a sixty-fourth of the slots.

use super::record::Record;
use super::records::{RecordId, Records, Search};
use super::table::{Slot, Table};

/// Bits of the hash that pick the table of a large index.
///
/// Fewer: an insertion that makes a table grow takes longer, some milliseconds from ten million
/// keys on. More: the tables' heads take up the first-level cache.
const TABLE_BITS: u32 = 6;

/// An index is small as long as one table of so many slots holds it.
///
/// Smaller: what a lookup reads is asked for though it is in the cache anyway; so many slots fill a
/// second-level cache of 1 MiB, with the records. Larger: lookups wait, and so does the insertion
/// that makes the table grow.
const SMALL_SLOTS: usize = 1 << 15;

/// How often a random slot is drawn before the next one with a key is taken.
///
/// At least one slot in sixteen of an index that was not emptied just now holds a key.
const RANDOM_DRAWS: usize = 128;

/// Keys and their records.
#[derive(Debug)]
pub struct Index {
    /// One, or `2^TABLE_BITS`.
    tables: Vec<Table>,
    records: Records,
}

impl Default for Index {
    fn default() -> Self {
        Index { tables: vec![Table::new(0)], records: Records::default() }
    }
}

impl Index {
    /// How many keys there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The records.
    #[inline]
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The record of a number that [`Index::find`] answered, as long as it was not removed.
    #[inline]
    pub fn get(&self, id: RecordId) -> &Record {
        self.records.get(id)
    }

    /// Where the record of `key` is. `hash` is the key's, the same in every call.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<RecordId> {
        let hash = hash as u32;
        self.table(hash)
            .probe(hash)
            .find(|slot| slot.hash == hash && self.records.get(slot.record).key() == key)
            .map(|slot| slot.record)
    }

    /// Adds a record for a key that has none.
    #[inline]
    pub fn insert(&mut self, record: Record) -> RecordId {
        let hash = record.hash();
        let record = self.records.insert(record);
        if !self.is_large() && self.tables[0].slots() >= SMALL_SLOTS && self.tables[0].is_full() {
            self.split();
        }
        self.table_mut(hash).insert(Slot { hash, record });
        record
    }

    /// Distributes the slots of the one table over many.
    fn split(&mut self) {
        let tables = (0..1 << TABLE_BITS).map(|_| Table::new(TABLE_BITS)).collect();
        let small = std::mem::replace(&mut self.tables, tables);
        for slot in small.iter().flat_map(Table::iter) {
            self.table_mut(slot.hash).insert(slot);
        }
    }

    /// Whether lookups are expected to miss the caches.
    #[inline]
    fn is_large(&self) -> bool {
        self.tables.len() > 1
    }

    #[inline]
    fn table(&self, hash: u32) -> &Table {
        &self.tables[hash as usize & (self.tables.len() - 1)]
    }

    #[inline]
    fn table_mut(&mut self, hash: u32) -> &mut Table {
        let mask = self.tables.len() - 1;
        &mut self.tables[hash as usize & mask]
    }

    /// Removes a record.
    #[inline]
    pub fn remove(&mut self, id: RecordId) -> Record {
        let record = self.records.remove(id);
        let hash = record.hash();
        self.table_mut(hash).remove(Slot { hash, record: id });
        record
    }

    /// Changes a record in its place.
    #[inline]
    pub fn change<R>(&mut self, id: RecordId, change: impl FnOnce(&mut Record) -> R) -> R {
        self.records.change(id, change)
    }

    /// Says when a record expires, in milliseconds since the Unix epoch; zero for never.
    #[inline]
    pub fn set_expires_ms(&mut self, id: RecordId, expires_ms: u64) {
        self.records.set_expires_ms(id, expires_ms);
    }

    /// Removes up to `limit` records that have expired before `now_ms`, looking at no more than
    /// `blocks` blocks of expiries.
    pub fn remove_expired(&mut self, now_ms: u64, limit: usize, blocks: usize) -> (usize, Search) {
        let mut due = Vec::new();
        let search = self.records.search_expired(now_ms, blocks, |id, record| {
            due.push((id, record.hash()));
            due.len() < limit
        });
        // One pass asks for the lines, the other one finds them there.
        due.iter().for_each(|&(_, hash)| self.prefetch(u64::from(hash)));
        due.iter().for_each(|&(id, _)| drop(self.remove(id)));
        (due.len(), search)
    }

    /// Asks for the line of slots that a lookup of `hash` reads first.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if self.is_large() {
            self.table(hash as u32).prefetch(hash as u32);
        }
    }

    /// Asks for the record that a lookup of `hash` reads, once [`Index::prefetch`] got the slots.
    #[inline]
    pub fn prefetch_record(&self, hash: u64) {
        let hash = hash as u32;
        if self.is_large()
            && let Some(slot) = self.table(hash).probe(hash).find(|slot| slot.hash == hash)
        {
            kevy_rt::prefetch(self.records.get(slot.record));
        }
    }

    /// Calls `visit` with a few records, and answers the cursor for the next few, 0 at the end. Any
    /// cursor is good; a pass starts with 0 and visits every key that is there all the time.
    pub fn scan<'a>(&'a self, cursor: u64, mut visit: impl FnMut(&'a Record)) -> u64 {
        let cursor = cursor as u32;
        let next = self.table(cursor).scan(cursor, |slot| visit(self.records.get(slot.record)));
        u64::from(next)
    }

    /// A random one of the records that `is_wanted`; `None` if there is no such record.
    pub fn random(
        &self,
        mut random: impl FnMut() -> u64,
        is_wanted: impl Fn(&Record) -> bool,
    ) -> Option<&Record> {
        // Places are drawn as if all tables were of one size, so that each key is as likely: those
        // that are smaller have empty places at their end.
        let tables = self.tables.len();
        let slots = self.tables.iter().map(Table::slots).max().unwrap_or_default();
        let record = |place: usize| {
            let slot = self.tables[place % tables].at(place / tables)?;
            Some(self.records.get(slot.record)).filter(|record| is_wanted(record))
        };
        let places = (slots * tables).checked_sub(1)?;
        let drawn = (0..RANDOM_DRAWS).find_map(|_| record(random() as usize & places));
        drawn.or_else(|| {
            let start = random() as usize;
            (0..=places).find_map(|step| record(start.wrapping_add(step) & places))
        })
    }

    /// Removes all keys. Answers the chunks that the records lie in, to be freed one by one.
    pub fn clear(&mut self) -> Vec<Vec<Record>> {
        std::mem::take(self).records.clear()
    }

    /// Bytes that slots, records and values take.
    pub fn memory(&self) -> usize {
        self.tables.iter().map(Table::memory).sum::<usize>() + self.records.memory()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use kevy_rt::Value;
    use proptest::prelude::*;

    use super::*;
    use crate::store::record::Form;

    /// A few bits only, so that homes collide and probes wrap around.
    fn hash(key: u16) -> u64 {
        u64::from(key % 97).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
    }

    fn find(index: &Index, key: u16) -> Option<RecordId> {
        index.find(hash(key), &key.to_le_bytes())
    }

    fn put(index: &mut Index, key: u16, value: &[u8]) {
        let value = Value::Slice(value);
        match find(index, key) {
            Some(id) => index.change(id, |record| record.set_value(value, Form::Whole)),
            None => {
                let record = Record::new(hash(key) as u32, &key.to_le_bytes(), value, Form::Whole);
                index.insert(record);
            }
        }
    }

    fn remove(index: &mut Index, key: u16) -> bool {
        find(index, key).map(|id| index.remove(id)).is_some()
    }

    fn number(record: &Record) -> u16 {
        u16::from_le_bytes(record.key().try_into().unwrap())
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u16, Vec<u8>),
        Remove(u16),
        Clear,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let value = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            prop::collection::vec(any::<u8>(), 0..200),
        ];
        let step = prop_oneof![
            60 => (0..400u16, value).prop_map(|(key, value)| Step::Put(key, value)),
            40 => (0..400u16).prop_map(Step::Remove),
            1 => Just(Step::Clear),
        ];
        prop::collection::vec(step, 0..600)
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in steps()) {
            let (mut index, mut map) = (Index::default(), HashMap::new());
            for step in steps {
                match step {
                    Step::Put(key, value) => {
                        put(&mut index, key, &value);
                        map.insert(key, value);
                    }
                    Step::Remove(key) => {
                        prop_assert_eq!(remove(&mut index, key), map.remove(&key).is_some());
                    }
                    Step::Clear => {
                        index.clear();
                        map.clear();
                    }
                }
                prop_assert_eq!(index.len(), map.len());
            }
            for key in 0..400 {
                let value = find(&index, key).map(|id| index.get(id).value().bytes());
                prop_assert_eq!(value, map.get(&key).map(Vec::as_slice));
            }
            let keys: HashSet<u16> = index.records().iter().map(number).collect();
            prop_assert_eq!(keys, map.keys().copied().collect());
        }

        /// Between two calls anything may happen to the other keys.
        #[test]
        fn a_scan_misses_nothing_that_stays(
            stay in prop::collection::hash_set(0..10_000u16, 0..200),
            changes in prop::collection::vec((10_000..30_000u16, any::<bool>()), 0..4000),
            per_call in 1..40usize,
        ) {
            let mut index = Index::default();
            stay.iter().for_each(|&key| put(&mut index, key, b"stays"));
            let (mut seen, mut cursor, mut changes) = (HashSet::new(), 0, changes.iter());
            loop {
                cursor = index.scan(cursor, |record| seen.extend([number(record)]));
                for &(key, is_insert) in changes.by_ref().take(per_call) {
                    if is_insert {
                        put(&mut index, key, b"comes");
                    } else {
                        remove(&mut index, (key - key % 7).max(10_000));
                    }
                }
                if cursor == 0 {
                    break;
                }
            }
            prop_assert!(stay.is_subset(&seen));
        }
    }

    #[test]
    fn a_scan_of_a_table_at_rest_visits_each_key_once() {
        let mut index = Index::default();
        (0..1000).for_each(|key| put(&mut index, key, b""));
        let (mut seen, mut cursor) = (Vec::new(), 0);
        loop {
            cursor = index.scan(cursor, |record| seen.push(number(record)));
            if cursor == 0 {
                break;
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    }

    /// A key with a hash of its own.
    fn insert(index: &mut Index, key: u32) -> RecordId {
        let hash = key.wrapping_mul(0x9E37_79B9);
        index.insert(Record::new(hash, &key.to_le_bytes(), Value::Slice(b""), Form::Whole))
    }

    #[test]
    fn a_scan_goes_on_when_the_index_gets_large_and_small() {
        const STAY: u32 = 1000;
        const OTHERS: u32 = 60_000;
        for per_call in [10, 100, 1000, 10_000] {
            let mut index = Index::default();
            let mut others: Vec<RecordId> = Vec::new();
            for key in 0..STAY {
                insert(&mut index, key);
            }
            let (mut seen, mut cursor, mut is_growing) = (HashSet::new(), 0, true);
            loop {
                cursor = index.scan(cursor, |record| {
                    seen.insert(u32::from_le_bytes(record.key().try_into().unwrap()));
                });
                for _ in 0..per_call {
                    is_growing &= others.len() < OTHERS as usize;
                    match is_growing {
                        true => others.push(insert(&mut index, STAY + others.len() as u32)),
                        false => drop(others.pop().map(|id| index.remove(id))),
                    }
                }
                if cursor == 0 {
                    break;
                }
            }
            assert!((0..STAY).all(|key| seen.contains(&key)), "{per_call} per call");
        }
    }

    #[test]
    fn random_records_are_spread() {
        let mut index = Index::default();
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            state >> 20
        };
        assert!(index.random(&mut random, |_| true).is_none());
        let number = |record: &Record| u32::from_le_bytes(record.key().try_into().unwrap());
        // The second time in an index with many tables.
        for (first, end) in [(0, 8), (8, 40_000)] {
            for key in first..end {
                insert(&mut index, key);
            }
            let mut drawn = [0; 8];
            for _ in 0..8000 {
                let record = index.random(&mut random, |_| true).unwrap();
                drawn[(number(record) * 8 / end) as usize] += 1;
            }
            assert!(drawn.iter().all(|&n| (800..1200).contains(&n)), "{drawn:?}");
            // However few are wanted, they are found.
            let seven = index.random(&mut random, |record| number(record) == 7);
            assert_eq!(seven.map(number), Some(7));
            assert!(index.random(&mut random, |_| false).is_none());
        }
    }

    #[test]
    fn the_expired_are_removed_and_no_other() {
        let mut index = Index::default();
        for key in 0..1000u16 {
            put(&mut index, key, b"value");
            let id = find(&index, key).unwrap();
            index.set_expires_ms(id, u64::from(key % 10) * 100);
        }
        assert_eq!(index.records().volatile(), 900);
        let mut removed = 0;
        let next = loop {
            let (count, search) = index.remove_expired(301, 70, 3);
            assert!(count <= 70);
            removed += count;
            if let Search::Done(next) = search {
                break next;
            }
        };
        assert_eq!((removed, next), (300, Some(400)));
        assert_eq!(index.records().volatile(), 600);
        let stays = |key: u16| !(1..=3).contains(&(key % 10));
        assert!((0..1000).all(|key| find(&index, key).is_some() == stays(key)));
        let (removed, search) = index.remove_expired(10_000, usize::MAX, usize::MAX);
        assert_eq!((removed, search), (600, Search::Done(None)));
        assert_eq!(index.len(), 100);
    }

    #[test]
    fn memory_is_given_back() {
        let mut index = Index::default();
        assert_eq!(index.memory(), 0);
        put(&mut index, 1, &[b'x'; 1000]);
        let with_value = index.memory();
        put(&mut index, 1, b"");
        assert_eq!(with_value - index.memory(), 1000);
        put(&mut index, 1, &[b'x'; 1000]);
        assert_eq!(index.memory(), with_value);
        remove(&mut index, 1);
        assert_eq!(with_value - index.memory(), 1000);
        index.clear();
        assert_eq!(index.memory(), 0);
    }
}
