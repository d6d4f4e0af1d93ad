//! What is in a bucket: eight slots, each with a record's id and a window of its key's position.
//!
//! ```text
//! | tags 8 x 16: window's low bits | ids' low bits 8 x 32 | 8 x 16: window's high bits, id's |
//! ```
//!
//! So the tags of all are compared at once.

use crate::heap::{ID_BITS, RecordId};
use crate::space::{BUCKET_SLOTS, Bucket};

/// Bits of a position that a slot holds.
pub(crate) const WINDOW_BITS: u32 = 64 - ID_BITS;

const TAG_BITS: u32 = 16;
const TAGS_PER_WORD: usize = 4;

/// One in each of four tags, and the highest bit of each.
const ONES: u64 = 0x0001_0001_0001_0001;
const TOPS: u64 = ONES << (TAG_BITS - 1);

/// What a slot holds: what a position has in the window, above its id. An unused one holds zero: no
/// id has low bits of zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u64);

impl Slot {
    pub(crate) const UNUSED: Slot = Slot(0);

    #[inline(always)]
    pub(crate) fn new(window: u64, id: RecordId) -> Self {
        Slot(window << ID_BITS | id.0)
    }

    #[inline(always)]
    pub(crate) fn id(self) -> RecordId {
        RecordId(self.0 & ((1 << ID_BITS) - 1))
    }

    #[inline(always)]
    pub(crate) fn window(self) -> u64 {
        self.0 >> ID_BITS
    }
}

impl Bucket {
    /// What a slot holds.
    #[inline(always)]
    pub(crate) fn slot(&self, number: usize) -> Slot {
        let shift = (number % TAGS_PER_WORD) as u32 * TAG_BITS;
        let tag = self.tags[number / TAGS_PER_WORD] >> shift & 0xFFFF;
        let high = u64::from(self.high[number]);
        let window = (high >> 8) << TAG_BITS | tag;
        Slot(window << ID_BITS | (high & 0xFF) << 32 | u64::from(self.low[number]))
    }

    #[inline(always)]
    pub(crate) fn set(&mut self, number: usize, slot: Slot) {
        let (window, id) = (slot.window(), slot.id().0);
        let shift = (number % TAGS_PER_WORD) as u32 * TAG_BITS;
        let word = &mut self.tags[number / TAGS_PER_WORD];
        *word = *word & !(0xFFFF << shift) | (window & 0xFFFF) << shift;
        self.low[number] = id as u32;
        self.high[number] = ((window >> TAG_BITS) << 8 | id >> 32) as u16;
    }

    #[inline(always)]
    pub(crate) fn is_used(&self, number: usize) -> bool {
        self.low[number] != 0
    }

    #[inline(always)]
    pub(crate) fn is_full(&self) -> bool {
        self.low.iter().fold(true, |is_full, &low| is_full & (low != 0))
    }

    /// The first slot that isn't used.
    #[inline(always)]
    pub(crate) fn vacant(&self) -> Option<usize> {
        self.low.iter().position(|&low| low == 0)
    }

    /// The slots that are used.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        (0..BUCKET_SLOTS).filter(|&number| self.is_used(number)).map(|number| self.slot(number))
    }

    /// The slots that may have that window, and perhaps some more. Without a branch, so that the
    /// processor goes on to what follows while the line is on its way.
    #[inline(always)]
    pub(crate) fn candidates(&self, window: u64) -> Candidates {
        let wanted = (window & 0xFFFF) * ONES;
        let [first, second] = self.tags.map(|tags| {
            // A tag becomes zero, which alone borrows (Mycroft, 1987).
            let zeroed = tags ^ wanted;
            zeroed.wrapping_sub(ONES) & !zeroed & TOPS
        });
        Candidates(first | second >> 1)
    }
}

/// Numbers of slots: a bit for each, those of the first word of tags at the top of their tag, those
/// of the second below.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidates(u64);

impl Iterator for Candidates {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        let word = (bit & 1 ^ 1) as usize;
        Some((bit / TAG_BITS) as usize + word * TAGS_PER_WORD)
    }
}
