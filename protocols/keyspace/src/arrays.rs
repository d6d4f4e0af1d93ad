//! Memory for the index: arrays of buckets of a few sizes.
//!
//! An array that was given back is used again for the next one of its size, as happens all the time
//! while an index grows. Some such arrays keep their memory; that of the others goes back to the
//! system, and only addresses stay.

use std::collections::BTreeMap;

use crate::bucket::Slot;
use crate::space::{BUCKET_BYTES, Bucket, Buckets, REGION_BUCKETS};

/// Of the buckets in use so many part as many again may be kept for the next arrays, and so many
/// whatever is used.
///
/// Smaller: the system is asked for memory that was just given back. Larger: memory is held for
/// nothing.
const KEPT_PART: usize = 32;
const KEPT_BUCKETS: usize = 1024;

/// Unused arrays that lose their memory when one is given back, at most.
///
/// One: what is kept never gets less. More: it takes longer.
const RELEASED_AT_ONCE: usize = 2;

/// Buckets that [`Arrays::dismantle`] gives back at once: 64 KiB.
const PIECE_BUCKETS: usize = 1024;

/// Some buckets in a row. Six bytes: directories are made of them.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, packed(2))]
pub(crate) struct Array {
    start: u32,
    count: u16,
}

impl Array {
    /// How many buckets it has.
    #[inline(always)]
    pub(crate) fn count(self) -> usize {
        usize::from(self.count)
    }

    #[inline(always)]
    fn number(self, bucket: usize) -> usize {
        debug_assert!(bucket < self.count());
        self.start as usize + bucket
    }
}

/// The starts of arrays of one size that nobody uses.
#[derive(Debug, Default)]
struct Unused {
    kept: Vec<u32>,
    released: Vec<u32>,
}

/// All arrays of an index.
#[derive(Debug, Default)]
pub(crate) struct Arrays {
    buckets: Buckets,
    /// Buckets from here on were never used.
    end: usize,
    unused: BTreeMap<u16, Unused>,
    /// Buckets of arrays in use; while it is dismantled, of what is left.
    used: usize,
    /// Buckets of unused ones whose memory is kept.
    kept: usize,
}

impl Arrays {
    /// A bucket of an array.
    #[inline(always)]
    pub(crate) fn bucket(&self, array: Array, bucket: usize) -> &Bucket {
        self.buckets.get(array.number(bucket))
    }

    /// The same, to be changed.
    #[inline(always)]
    pub(crate) fn bucket_mut(&mut self, array: Array, bucket: usize) -> &mut Bucket {
        self.buckets.get_mut(array.number(bucket))
    }

    /// All slots of an array that are used, in no order.
    pub(crate) fn slots(&self, array: Array) -> impl Iterator<Item = Slot> {
        (0..array.count()).flat_map(move |bucket| self.bucket(array, bucket).slots())
    }

    /// An array of `count` empty buckets.
    ///
    /// # Panics
    /// If addresses for 2^32 buckets are used up, 256 GB, as when an allocation fails.
    pub(crate) fn allocate(&mut self, count: u16) -> Array {
        self.used += usize::from(count);
        let unused = self.unused.get_mut(&count);
        let again = unused.and_then(|unused| {
            let kept = unused.kept.pop().map(|start| (start, count));
            kept.or_else(|| unused.released.pop().map(|start| (start, 0)))
        });
        let Some((start, kept)) = again else { return self.extend(count) };
        self.kept -= usize::from(kept);
        let array = Array { start, count };
        (0..array.count()).for_each(|bucket| *self.bucket_mut(array, bucket) = Bucket::default());
        array
    }

    /// An array behind all others. It is within one region.
    fn extend(&mut self, count: u16) -> Array {
        const { assert!(u16::MAX as usize <= REGION_BUCKETS) };
        let len = usize::from(count);
        if self.end % REGION_BUCKETS + len > REGION_BUCKETS {
            self.end = self.end.next_multiple_of(REGION_BUCKETS);
        }
        let start = u32::try_from(self.end).expect("addresses of buckets are used up");
        self.end += len;
        self.buckets.reach(self.end);
        Array { start, count }
    }

    /// Takes an array back.
    pub(crate) fn free(&mut self, array: Array) {
        if array.count == 0 {
            return;
        }
        self.used -= array.count();
        self.kept += array.count();
        self.unused.entry(array.count).or_default().kept.push(array.start);
        for _ in 0..RELEASED_AT_ONCE {
            if self.kept <= self.used / KEPT_PART + KEPT_BUCKETS {
                break;
            }
            self.release_one();
        }
    }

    /// Gives the memory of an unused array back to the system.
    fn release_one(&mut self) {
        let one = self.unused.iter_mut().find(|(_, unused)| !unused.kept.is_empty());
        let Some((&count, unused)) = one else { return };
        let start = unused.kept.swap_remove(0);
        unused.released.push(start);
        self.kept -= usize::from(count);
        self.buckets.release(start as usize, count.into());
    }

    /// Gives memory back, `most` pieces of it, when no array is needed any more. Answers how many it
    /// gave.
    pub(crate) fn dismantle(&mut self, most: usize) -> usize {
        let pieces = self.end.div_ceil(PIECE_BUCKETS);
        let keep = pieces.saturating_sub(most);
        for piece in keep..pieces {
            self.buckets.release(piece * PIECE_BUCKETS, PIECE_BUCKETS);
        }
        self.end = self.end.min(keep * PIECE_BUCKETS);
        (self.used, self.kept) = (self.end, 0);
        self.buckets.truncate(self.end);
        pieces - keep
    }

    /// Bytes of arrays in use.
    pub(crate) fn memory(&self) -> usize {
        self.used * BUCKET_BYTES
    }

    /// Bytes of arrays that are kept for later ones.
    pub(crate) fn unused(&self) -> usize {
        self.kept * BUCKET_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::RecordId;

    #[test]
    fn an_array_is_used_again_and_is_empty_then() {
        let mut arrays = Arrays::default();
        let (first, second) = (arrays.allocate(192), arrays.allocate(192));
        assert_ne!({ first.start }, { second.start });
        arrays.bucket_mut(first, 191).set(7, Slot::new(1, RecordId(5)));
        arrays.free(first);
        let other_size = arrays.allocate(48);
        let again = arrays.allocate(192);
        assert_ne!({ other_size.start }, { first.start });
        assert_eq!({ again.start }, { first.start });
        assert_eq!(arrays.slots(again).count(), 0);
        assert_eq!(arrays.memory(), (192 + 192 + 48) * 64);
    }

    #[test]
    fn few_unused_arrays_keep_their_memory() {
        let mut arrays = Arrays::default();
        let all: Vec<Array> = (0..10_000).map(|_| arrays.allocate(320)).collect();
        all.iter().for_each(|&array| arrays.free(array));
        assert_eq!(arrays.memory(), 0);
        assert!(arrays.unused() <= KEPT_BUCKETS * 64);
        let again: Vec<u32> = (0..10_000).map(|_| arrays.allocate(320).start).collect();
        let mut distinct = again.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!((distinct.len(), arrays.unused()), (10_000, 0));
        assert!(again.iter().all(|&start| (start as usize) < arrays.end));
    }

    #[test]
    fn no_array_lies_in_two_regions() {
        let mut arrays = Arrays::default();
        let most = usize::from(u16::MAX);
        let all: Vec<Array> = (0..40).map(|_| arrays.allocate(u16::MAX)).collect();
        let region = |bucket: usize| bucket / REGION_BUCKETS;
        let starts = all.iter().map(|array| array.start as usize);
        assert!(starts.clone().all(|start| region(start) == region(start + most - 1)));
        assert_eq!({ starts }.next_back().map(region), Some(2));
        while arrays.dismantle(64) > 0 {}
        assert_eq!(arrays.end, 0);
    }
}
