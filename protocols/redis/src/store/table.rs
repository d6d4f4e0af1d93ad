//! One segment of an index: slots with linear probing, from a hash to a record's number.
//!
//! The hash's bits above those that pick the table say which slot is a key's home; it lies there or
//! in the next free slot behind. Removal moves back what the gap would cut off from its home, so
//! there are no tombstones. The table doubles at three quarters; since slots hold the hash, no
//! record is read for that.

use super::records::RecordId;

/// Slots of the smallest table.
const MIN_SLOTS: usize = 16;

/// Where a record is: eight bytes, eight to a cache line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// What of the key's hash places it.
    pub(super) hash: u32,
    /// The record's number.
    pub(super) record: RecordId,
}

impl Slot {
    const EMPTY: Slot = Slot { hash: 0, record: RecordId::MAX };

    #[inline(always)]
    fn is_empty(self) -> bool {
        self.record == RecordId::MAX
    }
}

/// Slots, a power of two of them, or none as long as there was no key.
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Slot>,
    len: usize,
    /// How many low bits of the hash pick the table.
    table_bits: u32,
}

impl Table {
    /// An empty one of `2^table_bits` tables.
    pub(super) fn new(table_bits: u32) -> Self {
        Table { slots: Vec::new(), len: 0, table_bits }
    }

    /// The home slot of `hash`, in a table that has slots.
    #[inline(always)]
    fn home(&self, hash: u32) -> usize {
        (hash >> self.table_bits) as usize & self.slots.len().wrapping_sub(1)
    }

    /// How many slots there are.
    #[inline]
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The slot at this place, if it holds a record.
    #[inline]
    pub(super) fn at(&self, place: usize) -> Option<Slot> {
        self.slots.get(place).copied().filter(|slot| !slot.is_empty())
    }

    /// Every slot that holds a record.
    pub(super) fn iter(&self) -> impl Iterator<Item = Slot> {
        self.slots.iter().copied().filter(|slot| !slot.is_empty())
    }

    /// Asks for the line that [`Table::probe`] reads first.
    #[inline]
    pub(super) fn prefetch(&self, hash: u32) {
        if let Some(slot) = self.slots.get(self.home(hash)) {
            kevy_rt::prefetch(slot);
        }
    }

    /// The slots from the home of `hash` on, up to the first empty one.
    #[inline]
    pub(super) fn probe(&self, hash: u32) -> impl Iterator<Item = Slot> {
        let mut at = self.home(hash);
        std::iter::from_fn(move || {
            let slot = *self.slots.get(at)?;
            at = (at + 1) & (self.slots.len() - 1);
            (!slot.is_empty()).then_some(slot)
        })
    }

    /// Whether the next insertion doubles it.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        (self.len + 1) * 4 > self.slots.len() * 3
    }

    /// Adds a slot.
    #[inline]
    pub(super) fn insert(&mut self, slot: Slot) {
        if self.is_full() {
            self.resize((self.slots.len() * 2).max(MIN_SLOTS));
        }
        self.len += 1;
        self.place(slot);
    }

    /// Puts a slot into the first empty place from its home on. There has to be one.
    #[inline]
    fn place(&mut self, slot: Slot) {
        let (mut at, mask) = (self.home(slot.hash), self.slots.len() - 1);
        while !self.slots[at].is_empty() {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }

    /// Removes a slot that is there, and moves back those that it would cut off.
    #[inline]
    pub(super) fn remove(&mut self, gone: Slot) {
        let mask = self.slots.len() - 1;
        let mut gap = self.home(gone.hash);
        while self.slots[gap].record != gone.record {
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
            let distance = at.wrapping_sub(self.home(slot.hash)) & mask;
            if distance >= at.wrapping_sub(gap) & mask {
                self.slots[gap] = slot;
                gap = at;
            }
        }
        self.slots[gap] = Slot::EMPTY;
        self.len -= 1;
        if self.slots.len() > MIN_SLOTS && self.len * 8 < self.slots.len() {
            self.resize(self.slots.len() / 2);
        }
    }

    fn resize(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![Slot::EMPTY; slots]);
        old.into_iter().filter(|slot| !slot.is_empty()).for_each(|slot| self.place(slot));
    }

    /// Calls `visit` with the slots whose home is the one that `cursor` names, read like a hash,
    /// and answers the cursor that comes next.
    ///
    /// Cursors count with their bits in reverse, the highest first, so the table's own bits come
    /// last: 0 is the end of the last table. A table that doubles splits the home `0b01` into
    /// `0b001` and `0b101`, which follow each other in that order, and so do the homes that one
    /// table has and the tables that it is split into. What was passed stays passed and what was
    /// not stays ahead: a pass visits every key that is there from its start to its end, however
    /// often tables are resized meanwhile. A key may be visited twice when a table shrinks.
    pub(super) fn scan(&self, cursor: u32, mut visit: impl FnMut(Slot)) -> u32 {
        let (home, slots) = (self.home(cursor), self.slots.len().max(1));
        self.probe(cursor).filter(|slot| self.home(slot.hash) == home).for_each(&mut visit);
        let mask = ((slots as u64) << self.table_bits) - 1;
        (cursor | !(mask as u32)).reverse_bits().wrapping_add(1).reverse_bits()
    }

    /// Bytes that the slots take.
    pub(super) fn memory(&self) -> usize {
        self.slots.len() * size_of::<Slot>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u32) -> Slot {
        // Few homes, so that probes are long and wrap around.
        Slot { hash: (number % 13).wrapping_mul(0x9E37_79B9), record: number }
    }

    fn numbers(table: &Table) -> Vec<u32> {
        let mut numbers: Vec<u32> =
            (0..table.slots()).filter_map(|at| Some(table.at(at)?.record)).collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn it_shrinks() {
        let mut table = Table::new(0);
        assert!(table.probe(7).next().is_none());
        (0..10_000).for_each(|number| table.insert(slot(number)));
        let large = table.slots();
        (0..9_990).for_each(|number| table.remove(slot(number)));
        assert!(table.slots() < large / 64);
        assert_eq!(numbers(&table), (9_990..10_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_gap_cuts_nothing_off() {
        for gone in 0..12 {
            let mut table = Table::new(0);
            (0..12).for_each(|number| table.insert(slot(number * 3)));
            table.remove(slot(gone * 3));
            for number in (0..12).filter(|&number| number != gone).map(|number| number * 3) {
                assert!(table.probe(slot(number).hash).any(|slot| slot.record == number));
            }
        }
    }

    #[test]
    fn a_forged_cursor_does_no_harm() {
        let mut table = Table::new(0);
        assert_eq!(table.scan(u32::MAX, |_| panic!("nothing is here")), 0);
        table.insert(slot(1));
        for forged in [u32::MAX, 1 << 31, 12345, u32::MAX - 7] {
            let (mut cursor, mut calls) = (forged, 0);
            while cursor != 0 || calls == 0 {
                cursor = table.scan(cursor, |_| ());
                calls += 1;
            }
            assert!(calls <= MIN_SLOTS);
        }
    }
}
