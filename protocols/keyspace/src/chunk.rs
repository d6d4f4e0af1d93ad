//! The memory that records lie in: the only unsafe code of this crate.
//!
//! A chunk is 64 KiB. A record starts with a header of eight bytes, four of which, the access word,
//! are written when the record is read. So the rest of the record is lent out as plain slices, and
//! the header never is.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Bytes of a chunk.
///
/// Smaller: more of them to find a record in. Larger: each class of records, of each database,
/// leaves half a chunk unused.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// Bytes of a header: where it lies nothing is lent out.
pub(crate) const HEADER_BYTES: usize = 8;

/// Where in a header the access word is.
const ACCESS_AT: usize = 4;

const LAYOUT: Layout = match Layout::from_size_align(CHUNK_BYTES, 64) {
    Ok(layout) => layout,
    Err(_) => panic!("64 KiB, aligned to cache lines"),
};

/// One chunk of memory, zeros at first.
///
/// # What its user owes it
///
/// All offsets of headers given to one chunk are multiples of eight, and for no two of them,
/// `header` and `other`, and no `range` lent out by [`Chunk::bytes`] does `range` meet
/// `other..other + HEADER_BYTES`. The heap, its only user, divides a chunk into places of one size,
/// which is a multiple of eight; headers are at their starts, ranges within one of them and behind
/// its header.
#[derive(Debug)]
pub(crate) struct Chunk {
    memory: NonNull<u8>,
}

// SAFETY: a chunk owns its memory, which nothing else points to.
unsafe impl Send for Chunk {}

impl Chunk {
    pub(crate) fn new() -> Self {
        // SAFETY: the layout is not of size zero.
        let memory = unsafe { alloc_zeroed(LAYOUT) };
        Chunk { memory: NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(LAYOUT)) }
    }

    /// Asks for the first two cache lines of a record.
    #[inline]
    pub(crate) fn prefetch(&self, at: usize) {
        assert!(at + HEADER_BYTES <= CHUNK_BYTES);
        // SAFETY: within the chunk, by the assertion, which is never unmapped while it is there. The
        // reference is used for its address only, and gone before anything is written.
        let first = unsafe { &*self.memory.as_ptr().add(at).cast::<std::cell::Cell<u64>>() };
        kevy_rt::prefetch(first);
        let next = (at + 64).min(CHUNK_BYTES - HEADER_BYTES);
        // SAFETY: the same.
        let second = unsafe { &*self.memory.as_ptr().add(next).cast::<std::cell::Cell<u64>>() };
        kevy_rt::prefetch(second);
    }

    /// The header at `at`.
    #[inline(always)]
    pub(crate) fn header(&self, at: usize) -> u64 {
        assert!(at + HEADER_BYTES <= CHUNK_BYTES);
        // SAFETY: within the chunk, by the assertion, all of which is initialised; aligned, as the
        // chunk is and `at` is a multiple of eight; no reference to a header lives, so nobody
        // expects it to stay as it is.
        u64::from_le(unsafe { self.memory.as_ptr().add(at).cast::<u64>().read_unaligned() })
    }

    /// Writes the access word of the header at `at`.
    #[inline(always)]
    pub(crate) fn set_access(&self, at: usize, access: u32) {
        assert!(at + HEADER_BYTES <= CHUNK_BYTES);
        // SAFETY: within the chunk, by the assertion; a header, and no reference reaches into one.
        // A chunk is not `Sync`: no other thread reads meanwhile.
        unsafe {
            self.memory.as_ptr().add(at + ACCESS_AT).cast::<u32>().write_unaligned(access.to_le())
        }
    }

    /// Writes the header at `at`.
    #[inline(always)]
    pub(crate) fn set_header(&mut self, at: usize, header: u64) {
        assert!(at + HEADER_BYTES <= CHUNK_BYTES);
        // SAFETY: within the chunk, by the assertion, which is borrowed for this alone.
        unsafe { self.memory.as_ptr().add(at).cast::<u64>().write_unaligned(header.to_le()) }
    }

    /// `len` bytes from `at` on, none of which belong to a header.
    #[inline(always)]
    pub(crate) fn bytes(&self, at: usize, len: usize) -> &[u8] {
        assert!(at <= CHUNK_BYTES && len <= CHUNK_BYTES - at);
        // SAFETY: within the chunk, by the assertion, and initialised. While the slice lives the
        // chunk is borrowed, so only access words are written, and it holds none.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(at), len) }
    }

    /// The same, to be changed; headers may be among them.
    #[inline(always)]
    pub(crate) fn bytes_mut(&mut self, at: usize, len: usize) -> &mut [u8] {
        assert!(at <= CHUNK_BYTES && len <= CHUNK_BYTES - at);
        // SAFETY: within the chunk, by the assertion, initialised, and borrowed for this alone.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr().add(at), len) }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and freed only here.
        unsafe { dealloc(self.memory.as_ptr(), LAYOUT) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_keeps_what_is_written() {
        let mut chunk = Chunk::new();
        let last = CHUNK_BYTES - 16;
        chunk.set_header(last, 0x1234_5678_9abc_def0);
        chunk.bytes_mut(last + 8, 8).copy_from_slice(b"8 bytes.");
        let bytes = chunk.bytes(last + 8, 8);
        chunk.set_access(last, 7);
        assert_eq!((chunk.header(last), bytes), (0x7_9abc_def0, &b"8 bytes."[..]));
        chunk.prefetch(last);
        assert_eq!(chunk.header(0), 0);
    }

    #[test]
    #[should_panic(expected = "assertion")]
    fn nothing_is_read_behind_the_end() {
        Chunk::new().bytes(CHUNK_BYTES - 4, 5);
    }
}
