//! From a key to its record: a table of slots with linear probing over numbered records.
//!
//! ```text
//! slots, 8 bytes:  [hash, record] [hash, record] [-] [hash, record] ...    eight to a cache line
//! records, 64:     [expiry, key, value] ...                                one to a cache line
//! ```
//!
//! A lookup reads a line of slots and, when 32 bits of the hash agree, a record: two cache misses
//! in a large table, both of which can be asked for ahead. The low bits of the hash are a key's
//! home slot; it lies there or in the next free slot behind. Removal moves back what the gap would
//! cut off from its home, so there are no tombstones. The table doubles at three quarters, in one
//! go; since slots hold the hash, no record is read for that.

use super::record::Record;
use super::records::{RecordId, Records, Search};

/// Slots of the smallest table.
const MIN_SLOTS: usize = 16;

/// From this many slots on, what a lookup reads is asked for ahead.
///
/// Smaller: instructions are spent on lines that are in the cache anyway. Larger: lookups wait.
/// So many slots and their records fill a second-level cache of 1 MiB.
const PREFETCH_SLOTS: usize = 1 << 15;

/// How often a random slot is drawn before the next one with a key is taken.
///
/// At least one slot in eight of a table that was not emptied just now holds a key.
const RANDOM_DRAWS: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    record: RecordId,
}

impl Slot {
    const EMPTY: Slot = Slot { hash: 0, record: RecordId::MAX };

    #[inline(always)]
    fn is_empty(self) -> bool {
        self.record == RecordId::MAX
    }
}

/// Keys and their records.
#[derive(Debug, Default)]
pub struct Index {
    /// A power of two of them, or none as long as there was no key.
    slots: Vec<Slot>,
    records: Records,
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
        self.probe(hash)
            .find(|slot| slot.hash == hash && self.records.get(slot.record).key() == key)
            .map(|slot| slot.record)
    }

    /// The slots from the home of `hash` on, up to the first empty one.
    #[inline]
    fn probe(&self, hash: u32) -> impl Iterator<Item = Slot> {
        let mut at = hash as usize;
        std::iter::from_fn(move || {
            let slot = *self.slots.get(at & self.slots.len().wrapping_sub(1))?;
            at += 1;
            (!slot.is_empty()).then_some(slot)
        })
    }

    /// Adds a record for a key that has none.
    #[inline]
    pub fn insert(&mut self, record: Record) -> RecordId {
        if (self.len() + 1) * 4 > self.slots.len() * 3 {
            self.resize((self.slots.len() * 2).max(MIN_SLOTS));
        }
        let hash = record.hash();
        let record = self.records.insert(record);
        place(&mut self.slots, Slot { hash, record });
        record
    }

    /// Removes a record.
    #[inline]
    pub fn remove(&mut self, id: RecordId) -> Record {
        let record = self.records.remove(id);
        self.vacate(id, record.hash());
        if self.slots.len() > MIN_SLOTS && self.len() * 8 < self.slots.len() {
            self.resize(self.slots.len() / 2);
        }
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
        let search = self.records.search_expired(now_ms, blocks, |records, id| {
            due.push((id, records.get(id).hash()));
            due.len() < limit
        });
        // One pass asks for the lines, the other one finds them there.
        due.iter().for_each(|&(_, hash)| self.prefetch(u64::from(hash)));
        due.iter().for_each(|&(id, _)| drop(self.remove(id)));
        (due.len(), search)
    }

    /// Empties the slot of record `id`, and moves back those that it would cut off.
    fn vacate(&mut self, id: RecordId, hash: u32) {
        let mask = self.slots.len() - 1;
        let mut gap = hash as usize & mask;
        while self.slots[gap].record != id {
            debug_assert!(!self.slots[gap].is_empty(), "a record's slot is behind its home");
            gap = (gap + 1) & mask;
        }
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots[at];
            if slot.is_empty() {
                break;
            }
            // It may move to any place between its home and where it is.
            let distance = at.wrapping_sub(slot.hash as usize) & mask;
            if distance >= at.wrapping_sub(gap) & mask {
                self.slots[gap] = slot;
                gap = at;
            }
        }
        self.slots[gap] = Slot::EMPTY;
    }

    fn resize(&mut self, slots: usize) {
        let mut table = vec![Slot::EMPTY; slots];
        for &slot in self.slots.iter().filter(|slot| !slot.is_empty()) {
            place(&mut table, slot);
        }
        self.slots = table;
    }

    /// Asks for the line of slots that a lookup of `hash` reads first.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if self.slots.len() >= PREFETCH_SLOTS {
            kevy_rt::prefetch(&self.slots[hash as usize & (self.slots.len() - 1)]);
        }
    }

    /// Asks for the record that a lookup of `hash` reads, once [`Index::prefetch`] got the slots.
    #[inline]
    pub fn prefetch_record(&self, hash: u64) {
        if self.slots.len() >= PREFETCH_SLOTS {
            let hash = hash as u32;
            if let Some(slot) = self.probe(hash).find(|slot| slot.hash == hash) {
                kevy_rt::prefetch(self.records.get(slot.record));
            }
        }
    }

    /// Calls `visit` with the records whose home is the slot that `cursor` names, and answers the
    /// cursor that comes next, 0 at the end. Any cursor is good; a pass starts with 0.
    ///
    /// Cursors count with their bits in reverse, the highest first. A table that doubles splits
    /// the home `0b01` into `0b001` and `0b101`, which follow each other in that order; so what
    /// was passed stays passed and what was not stays ahead, and a pass visits every key that is
    /// there from its start to its end, however often the table is resized meanwhile. A key may be
    /// visited twice when the table shrinks.
    pub fn scan<'a>(&'a self, cursor: u64, mut visit: impl FnMut(&'a Record)) -> u64 {
        let Some(mask) = self.slots.len().checked_sub(1) else { return 0 };
        let home = cursor as usize & mask;
        self.probe(home as u32)
            .filter(|slot| slot.hash as usize & mask == home)
            .for_each(|slot| visit(self.records.get(slot.record)));
        (cursor | !(mask as u64)).reverse_bits().wrapping_add(1).reverse_bits()
    }

    /// A random one of the records that `is_wanted`; `None` if there is no such record.
    pub fn random(
        &self,
        mut random: impl FnMut() -> u64,
        is_wanted: impl Fn(&Record) -> bool,
    ) -> Option<&Record> {
        let mask = self.slots.len().checked_sub(1)?;
        let record = |at: usize| {
            let slot = self.slots[at & mask];
            let record = (!slot.is_empty()).then(|| self.records.get(slot.record))?;
            is_wanted(record).then_some(record)
        };
        let drawn = (0..RANDOM_DRAWS).find_map(|_| record(random() as usize));
        drawn.or_else(|| {
            let start = random() as usize;
            (0..self.slots.len()).find_map(|step| record(start.wrapping_add(step)))
        })
    }

    /// Removes all keys. Answers the chunks that the records lie in, to be freed one by one.
    pub fn clear(&mut self) -> Vec<Vec<Record>> {
        self.slots = Vec::new();
        self.records.clear()
    }

    /// Bytes that slots, records and values take.
    pub fn memory(&self) -> usize {
        self.slots.len() * size_of::<Slot>() + self.records.memory()
    }
}

/// Puts a slot into the first empty place from its home on. There has to be one.
#[inline]
fn place(slots: &mut [Slot], slot: Slot) {
    let mask = slots.len() - 1;
    let mut at = slot.hash as usize & mask;
    while !slots[at].is_empty() {
        at = (at + 1) & mask;
    }
    slots[at] = slot;
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
                        remove(&mut index, key - key % 7);
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

    #[test]
    fn a_forged_cursor_does_no_harm() {
        let mut index = Index::default();
        assert_eq!(index.scan(u64::MAX, |_| panic!("nothing is here")), 0);
        put(&mut index, 1, b"");
        for cursor in [u64::MAX, 1 << 63, 12345, u64::MAX - 7] {
            let (mut cursor, mut calls) = (cursor, 0);
            while cursor != 0 || calls == 0 {
                cursor = index.scan(cursor, |_| ());
                calls += 1;
            }
            assert!(calls <= MIN_SLOTS);
        }
    }

    #[test]
    fn it_shrinks() {
        let mut index = Index::default();
        (0..10_000).for_each(|key| put(&mut index, key, b"value"));
        let large = index.slots.len();
        (0..9_990).for_each(|key| assert!(remove(&mut index, key)));
        assert!(index.slots.len() < large / 64);
        assert!((9_990..10_000).all(|key| find(&index, key).is_some()));
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
        // Their own hashes, as collisions would make some slots' neighbours likelier.
        for key in 0..8u16 {
            let hash = u32::from(key).wrapping_mul(0x9E37_79B9);
            let record = Record::new(hash, &key.to_le_bytes(), Value::Slice(b""), Form::Whole);
            index.insert(record);
        }
        let mut drawn = [0; 8];
        for _ in 0..8000 {
            drawn[usize::from(number(index.random(&mut random, |_| true).unwrap()))] += 1;
        }
        assert!(drawn.iter().all(|&n| (800..1200).contains(&n)), "{drawn:?}");
        // However few are wanted, they are found.
        let last = index.random(&mut random, |record| number(record) == 7);
        assert_eq!(last.map(number), Some(7));
        assert!(index.random(&mut random, |_| false).is_none());
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
