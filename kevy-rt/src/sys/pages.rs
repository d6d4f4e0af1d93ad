//! The pages of large buffers: huge ones where the system has them, and given back to it before the
//! allocator gets the addresses back.

use std::thread::yield_now;

/// What is given back at once.
///
/// Smaller: huge pages are split. Larger: who shares the core, or faults a page in, waits longer.
const PIECE_BYTES: usize = 2 * 1024 * 1024;

/// The system's pages are no larger than this.
const PAGE_BYTES: usize = 64 * 1024;

/// Gives back the pages of a buffer that is to be freed.
///
/// An allocator may keep freed memory and give its pages back much later, within whatever it is
/// asked then: on a thread that has no time for it.
pub(crate) fn release_pages(buffer: &mut Vec<u8>) {
    buffer.clear();
    let room = buffer.spare_capacity_mut();
    let partial = room.as_ptr().align_offset(PAGE_BYTES).min(room.len());
    let (pages, _) = room[partial..].as_chunks_mut::<PAGE_BYTES>();
    let pages = pages.as_flattened_mut();
    let to_piece = pages.as_ptr().align_offset(PIECE_BYTES).min(pages.len());
    let (head, pieces) = pages.split_at_mut(to_piece);
    for piece in std::iter::once(head).chain(pieces.chunks_mut(PIECE_BYTES)) {
        // SAFETY: `piece` is whole pages of a buffer that is lent for writing and has no content,
        // so that nobody reads what they held. Memory that can't be given back this way stays.
        unsafe { libc::madvise(piece.as_mut_ptr().cast(), piece.len(), libc::MADV_DONTNEED) };
        yield_now();
    }
}

/// A buffer with less room isn't asked to be of huge pages: the allocator puts others beside it.
const HUGE_BYTES: usize = 2 * PIECE_BYTES;

/// Wishes for huge pages in the room of a large buffer: filling it meets few page faults, and
/// giving it back takes a fraction of the time.
pub(crate) fn prefer_huge_pages(buffer: &mut Vec<u8>) {
    let room = buffer.spare_capacity_mut();
    if room.len() < HUGE_BYTES {
        return;
    }
    #[cfg(target_os = "linux")]
    {
        let to_piece = room.as_ptr().align_offset(PIECE_BYTES).min(room.len());
        let len = (room.len() - to_piece) / PIECE_BYTES * PIECE_BYTES;
        let pages = room[to_piece..].as_mut_ptr();
        // SAFETY: whole huge pages of a buffer that is lent for writing; what they hold stays. It is
        // a wish: without it the pages are small.
        unsafe { libc::madvise(pages.cast(), len, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_of_any_size_can_be_used_again() {
        for bytes in [0, 1, PAGE_BYTES, 3 * PAGE_BYTES - 1, PIECE_BYTES, 5 * PIECE_BYTES + 1] {
            let mut buffer = Vec::with_capacity(bytes);
            prefer_huge_pages(&mut buffer);
            buffer.resize(bytes, 1);
            let neighbours = [vec![2_u8; 5000], vec![2_u8; 5000]];
            release_pages(&mut buffer);
            assert!(buffer.is_empty() && buffer.capacity() == bytes);
            buffer.resize(bytes, 3);
            assert!(buffer.iter().all(|&byte| byte == 3));
            assert!(neighbours.iter().flatten().all(|&byte| byte == 2));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn pages_are_gone() {
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").expect("a file");
            let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
            let kilobytes = line.split_whitespace().nth(1).expect("a second word");
            kilobytes.parse::<usize>().expect("a number") * 1024
        };
        let bytes = 256 * 1024 * 1024;
        let mut buffer = vec![1_u8; bytes];
        let before = resident();
        release_pages(&mut buffer);
        assert!(resident() + bytes / 2 < before);
    }
}
