//! The memory that records and the index's buckets lie in: the only unsafe code of this crate.
//!
//! ```text
//! region 0, 64 MiB of addresses                     region 1
//! | chunk 0, 64 KiB | chunk 1 | ...                 | chunk 1024 | ...
//! ```
//!
//! A region is taken from the system as addresses; memory comes to it where it is touched, and goes
//! chunk by chunk. So there are few regions, and finding a record's address reads a table that the
//! first-level cache holds.
//!
//! Buckets are numbers of which all bits are a value, so that memory is one whatever is in it, and are
//! lent out as such.
//!
//! A record starts with a header of eight bytes, four of which, the access word, are written when
//! the record is read. So the rest of the record is lent out as plain slices, and the header never
//! is. Neither are the extra words that some records have behind it, which are read and written
//! like it.

use std::marker::PhantomData;
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// Addresses are in units of so many bytes.
pub(crate) const GRANULE: usize = 8;

/// Bytes of a chunk.
///
/// Smaller: more of them to keep account of. Larger: each class of records, of each database,
/// leaves half a chunk unused.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// Bytes of a region.
///
/// Smaller: a longer table. Larger: more addresses for a small database, some systems count them.
const REGION_BYTES: usize = 64 * 1024 * 1024;
const REGION_GRANULES: u64 = (REGION_BYTES / GRANULE) as u64;
const MAPPED_BYTES: usize = REGION_BYTES + BEHIND_BYTES;
const REGION_CHUNKS: usize = REGION_BYTES / CHUNK_BYTES;

/// Mapped behind each region, and never touched: so the bounds of a place need not be looked at where
/// lengths can't be larger than this.
const BEHIND_BYTES: usize = 4096;

/// The first part of the first region is not asked to be of huge pages: a small database would leave
/// much of the last one unused.
///
/// Smaller: small databases take more than they need. Larger: in it, finding an address takes the
/// processor longer.
const SMALL_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of a header: where it lies nothing is lent out.
pub(crate) const HEADER_BYTES: usize = 8;

/// Where in a header the access word is.
const ACCESS_AT: usize = 4;

/// 64 MiB of addresses, aligned as pages are.
#[derive(Debug)]
struct Region(NonNull<u8>);

// SAFETY: a region owns its memory, which nothing else points to.
unsafe impl Send for Region {}

impl Region {
    /// # Panics
    /// If the system has no addresses left, as when an allocation fails.
    fn new(is_first: bool) -> Self {
        let (protection, flags) =
            (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
        // SAFETY: the system picks the addresses, which nothing uses.
        let mapped =
            unsafe { mmap_anonymous(std::ptr::null_mut(), MAPPED_BYTES, protection, flags) };
        let start = mapped.unwrap_or_else(|error| panic!("no memory for records: {error}"));
        #[cfg(target_os = "linux")]
        {
            let small = if is_first { SMALL_BYTES } else { 0 };
            let rest = start.wrapping_byte_add(small);
            // SAFETY: within the region, of which only the size of its pages changes. It is a wish:
            // without it the pages are small.
            let _ = unsafe { madvise(rest, REGION_BYTES - small, Advice::LinuxHugepage) };
        }
        let _ = is_first;
        Region(NonNull::new(start.cast()).expect("the system maps nothing at zero"))
    }

    /// Gives the memory of whole pages back to the system: `bytes` from `at` on, which nobody needs.
    /// They are zeros afterwards.
    fn release(&mut self, at: usize, bytes: usize) {
        assert!(at <= REGION_BYTES && bytes <= REGION_BYTES - at);
        let start = self.0.as_ptr().wrapping_add(at).cast();
        // SAFETY: within the region, which is borrowed for this alone; any content is good for what
        // nothing is in, zeros too.
        let released = unsafe { madvise(start, bytes, Advice::LinuxDontNeed) };
        debug_assert!(released.is_ok());
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped with this length, and unmapped only here.
        let unmapped = unsafe { munmap(self.0.as_ptr().cast(), MAPPED_BYTES) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Chunks of memory by number, from 0 on.
///
/// # What its user owes it
///
/// For no two records that are in use does the memory of one meet that of the other. The heap, its
/// only user, divides each chunk into places of one size, which is a multiple of eight; records are
/// at their starts, and it never asks for bytes of a record behind its place. Extra words are only
/// asked for of records that have them, and no bytes that meet them are lent while somebody may write
/// them. Then no slice that is lent out meets a header or extra words, and these are written nowhere
/// else.
#[derive(Debug, Default)]
pub(crate) struct Space {
    regions: Vec<Region>,
}

impl Space {
    /// The address of a granule.
    #[inline(always)]
    fn address(&self, granule: u64) -> NonNull<u8> {
        let region = &self.regions[(granule / REGION_GRANULES) as usize];
        let offset = (granule % REGION_GRANULES) as usize * GRANULE;
        // SAFETY: an offset below `REGION_BYTES`, so within the region.
        unsafe { region.0.add(offset) }
    }

    /// The place of the record at a granule.
    #[inline(always)]
    pub(crate) fn place(&self, granule: u64) -> Place<'_> {
        Place { start: self.address(granule), space: PhantomData }
    }

    /// Makes sure that there is a chunk of that number.
    pub(crate) fn reach(&mut self, chunk: usize) {
        while self.regions.len() <= chunk / REGION_CHUNKS {
            self.regions.push(Region::new(self.regions.is_empty()));
        }
    }

    /// Gives a chunk's memory back to the system. What is in it is lost.
    pub(crate) fn release(&mut self, chunk: usize) {
        let at = chunk % REGION_CHUNKS * CHUNK_BYTES;
        self.regions[chunk / REGION_CHUNKS].release(at, CHUNK_BYTES);
    }

    /// Gives up all chunks from this one on, as far as whole regions go.
    pub(crate) fn truncate(&mut self, chunk: usize) {
        self.regions.truncate(chunk.div_ceil(REGION_CHUNKS));
    }

    /// Asks for the one or two cache lines of a record of so many bytes, a line's at most.
    #[inline(always)]
    pub(crate) fn prefetch(&self, granule: u64, bytes: usize) {
        let first = self.address(granule).as_ptr();
        kevy_rt::prefetch_address(first);
        kevy_rt::prefetch_address(first.wrapping_add(bytes - 1));
    }

    /// Writes the header of a record.
    #[inline(always)]
    pub(crate) fn set_header(&mut self, granule: u64, header: u64) {
        let address = self.address(granule).cast::<u64>();
        // SAFETY: mapped, by `address`, and aligned as a granule; the space is borrowed for this
        // alone.
        unsafe { address.write(header.to_le()) }
    }

    /// `len` bytes from `at` on of a record, to be changed.
    #[inline(always)]
    pub(crate) fn bytes_mut(&mut self, granule: u64, at: usize, len: usize) -> &mut [u8] {
        assert!(at <= BEHIND_BYTES && len <= BEHIND_BYTES - at);
        let address = self.address(granule);
        // SAFETY: a granule of a region is mapped, and so is what is up to `BEHIND_BYTES` behind.
        let start = unsafe { address.add(at) };
        // SAFETY: mapped, so initialised, if by zeros; the space is borrowed for this alone.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len) }
    }

    /// Bytes that finding addresses takes.
    pub(crate) fn memory(&self) -> usize {
        self.regions.capacity() * size_of::<Region>()
    }
}

/// Where a record lies. Behind its start at least [`BEHIND_BYTES`] are mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    start: NonNull<u8>,
    space: PhantomData<&'a Space>,
}

impl<'a> Place<'a> {
    /// The header.
    #[inline(always)]
    pub(crate) fn header(self) -> u64 {
        // SAFETY: mapped, so initialised, if by zeros; aligned as a granule; no reference to a
        // header lives, so nobody expects it to stay as it is.
        u64::from_le(unsafe { self.start.cast::<u64>().read() })
    }

    /// Writes the access word of the header.
    #[inline(always)]
    pub(crate) fn set_access(self, access: u32) {
        // SAFETY: within the header, which is mapped.
        let word = unsafe { self.start.add(ACCESS_AT) }.cast::<u32>();
        // SAFETY: no reference reaches into a header; a space is not `Sync`, so no other thread
        // reads meanwhile; aligned as half of a granule.
        unsafe { word.write(access.to_le()) }
    }

    /// The extra words, of a record that has some.
    #[inline(always)]
    pub(crate) fn extra(self) -> [u64; 2] {
        // SAFETY: mapped, with all that is up to `BEHIND_BYTES` behind the start.
        let words = unsafe { self.start.add(HEADER_BYTES) }.cast::<[u64; 2]>();
        // SAFETY: mapped, so initialised, if by zeros; aligned as a granule; no reference to extra
        // words lives.
        let [first, second] = unsafe { words.read() };
        [u64::from_le(first), u64::from_le(second)]
    }

    /// Writes the extra words of a record that has some, or is to have them.
    #[inline(always)]
    pub(crate) fn set_extra(self, extra: [u64; 2]) {
        // SAFETY: as in `extra`.
        let words = unsafe { self.start.add(HEADER_BYTES) }.cast::<[u64; 2]>();
        // SAFETY: mapped and aligned; no reference reaches into extra words, as whoever lends bytes
        // of a record leaves them out; a space is not `Sync`, so no other thread reads meanwhile.
        unsafe { words.write([extra[0].to_le(), extra[1].to_le()]) }
    }

    /// `len` bytes from `at` on, none of which belong to a header or to extra words.
    #[inline(always)]
    pub(crate) fn bytes(self, at: usize, len: usize) -> &'a [u8] {
        assert!(at <= BEHIND_BYTES && len <= BEHIND_BYTES - at);
        // SAFETY: mapped, by the assertion.
        let start = unsafe { self.start.add(at) };
        // SAFETY: mapped, so initialised, if by zeros. While the slice lives the space is borrowed,
        // so only access words and extra words are written, and it
        // holds none.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }
}

/// Slots of a [`Bucket`].
pub(crate) const BUCKET_SLOTS: usize = 8;

/// A cache line of the index: eight slots in parts, which `bucket.rs` says the meaning of.
#[derive(Clone, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Bucket {
    /// Four to a word.
    pub(crate) tags: [u64; 2],
    pub(crate) low: [u32; BUCKET_SLOTS],
    pub(crate) high: [u16; BUCKET_SLOTS],
}

/// Bytes of a bucket, all of which are numbers.
pub(crate) const BUCKET_BYTES: usize = 64;
const _: () = assert!(size_of::<Bucket>() == BUCKET_BYTES);

/// Buckets of a region.
pub(crate) const REGION_BUCKETS: usize = REGION_BYTES / BUCKET_BYTES;

/// Bytes of what the system takes back at once.
const PAGE_BYTES: usize = 4096;

/// Buckets by number, from 0 on. Those that were never written are zeros.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    regions: Vec<Region>,
}

impl Buckets {
    /// Makes sure that there are so many.
    pub(crate) fn reach(&mut self, count: usize) {
        while self.regions.len() * REGION_BUCKETS < count {
            self.regions.push(Region::new(self.regions.is_empty()));
        }
    }

    #[inline(always)]
    fn address(&self, number: usize) -> NonNull<Bucket> {
        let region = &self.regions[number / REGION_BUCKETS];
        // SAFETY: an offset below `REGION_BYTES`, so within the region.
        unsafe { region.0.cast::<Bucket>().add(number % REGION_BUCKETS) }
    }

    /// One of them.
    #[inline(always)]
    pub(crate) fn get(&self, number: usize) -> &Bucket {
        // SAFETY: mapped, so initialised, if by zeros; aligned, as a region's start is; while it is
        // lent the buckets are borrowed, so nobody writes to it.
        unsafe { self.address(number).as_ref() }
    }

    /// One of them, to be changed.
    #[inline(always)]
    pub(crate) fn get_mut(&mut self, number: usize) -> &mut Bucket {
        // SAFETY: as for `get`, and the buckets are borrowed for this alone.
        unsafe { self.address(number).as_mut() }
    }

    /// Gives the memory of `count` buckets from `start` on, all of one region, back to the system, as
    /// far as whole pages go. What is in them is lost.
    pub(crate) fn release(&mut self, start: usize, count: usize) {
        let at = start % REGION_BUCKETS * BUCKET_BYTES;
        let first = at.next_multiple_of(PAGE_BYTES);
        let end = (at + count * BUCKET_BYTES) / PAGE_BYTES * PAGE_BYTES;
        if first < end {
            self.regions[start / REGION_BUCKETS].release(first, end - first);
        }
    }

    /// Gives up all of them from this number on, as far as whole regions go.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.regions.truncate(count.div_ceil(REGION_BUCKETS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_what_is_written_until_it_is_released() {
        let mut space = Space::default();
        space.reach(REGION_CHUNKS + 1);
        assert_eq!(space.regions.len(), 2);
        let last = REGION_GRANULES + 2 * (CHUNK_BYTES / GRANULE) as u64 - 2;
        space.set_header(last, 0x1234_5678_9abc_def0);
        space.bytes_mut(last, 8, 8).copy_from_slice(b"8 bytes.");
        let place = space.place(last);
        let bytes = place.bytes(8, 8);
        place.set_access(7);
        assert_eq!((place.header(), bytes), (0x7_9abc_def0, &b"8 bytes."[..]));
        space.prefetch(last, 40);
        assert_eq!(space.place(0).header(), 0);
        space.release(REGION_CHUNKS + 1);
        space.truncate(REGION_CHUNKS);
        assert_eq!(space.regions.len(), 1);
    }

    #[test]
    fn buckets_keep_what_is_written_until_they_are_released() {
        let mut buckets = Buckets::default();
        buckets.reach(REGION_BUCKETS + 1);
        assert_eq!(buckets.regions.len(), 2);
        for number in [0, 1, 63, 64, 127, 128, REGION_BUCKETS - 1, REGION_BUCKETS] {
            assert_eq!(buckets.get(number).low, [0; BUCKET_SLOTS]);
            buckets.get_mut(number).low[7] = number as u32 + 1;
        }
        // Whole pages only: 64 to 127.
        buckets.release(1, 127);
        let kept = [0, 1, 63, 64, 127, 128, REGION_BUCKETS - 1, REGION_BUCKETS]
            .map(|number| buckets.get(number).low[7]);
        let last = REGION_BUCKETS as u32;
        assert_eq!(kept, [1, 2, 64, 0, 0, 129, last, last + 1]);
        buckets.truncate(REGION_BUCKETS);
        assert_eq!(buckets.regions.len(), 1);
    }

    #[test]
    #[should_panic(expected = "assertion")]
    fn nothing_is_read_far_behind_a_place() {
        let mut space = Space::default();
        space.reach(0);
        space.place(0).bytes(8, BEHIND_BYTES);
    }
}
