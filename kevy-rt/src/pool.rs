//! Buffers of large values, kept by each thread for the next one.
//!
//! A value that replaces another takes over the memory of one that went before it: neither the
//! allocator nor the system has to be asked, and no page is touched for the first time.

use std::cell::RefCell;

/// Only buffers of so many bytes and more are kept: smaller ones an allocator has at hand.
pub(crate) const POOLED_BYTES: usize = 16 * 1024;

/// Bytes that a thread keeps at most.
///
/// Smaller: large values that come in a row find it empty. Larger: each shard holds more for nothing
/// when they don't.
const KEPT_BYTES: usize = 8 * 1024 * 1024;

/// Buffers that a thread keeps at most, so that a search stays short.
const KEPT_BUFFERS: usize = 128;

/// A buffer is used for what fills at least this share of it, as its value keeps all of it.
const LEAST_FILL: f64 = 0.875;

#[derive(Default)]
struct Pool {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// An empty buffer with room for `bytes` that a value of so many bytes may keep, if there is one.
pub(crate) fn take(bytes: usize) -> Option<Vec<u8>> {
    if bytes < POOLED_BYTES {
        return None;
    }
    let most = (bytes as f64 / LEAST_FILL) as usize;
    POOL.with_borrow_mut(|pool| {
        // The last one that came is the likeliest to be in a cache.
        let fits = |buffer: &Vec<u8>| (bytes..=most).contains(&buffer.capacity());
        let found = pool.buffers.iter().rposition(fits)?;
        let buffer = pool.buffers.remove(found);
        pool.bytes -= buffer.capacity();
        Some(buffer)
    })
}

/// Keeps a buffer that is not needed any more, or frees it.
pub(crate) fn give(mut buffer: Vec<u8>) {
    let bytes = buffer.capacity();
    if !(POOLED_BYTES..=KEPT_BYTES).contains(&bytes) {
        return;
    }
    buffer.clear();
    // A thread that ends has no pool any more.
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        while pool.bytes + bytes > KEPT_BYTES || pool.buffers.len() >= KEPT_BUFFERS {
            // The first of them is the one that nobody wanted for longest.
            let unwanted = pool.buffers.remove(0);
            pool.bytes -= unwanted.capacity();
        }
        pool.bytes += bytes;
        pool.buffers.push(buffer);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_for_what_fills_it() {
        give(Vec::with_capacity(100_000));
        assert!(take(50_000).is_none());
        assert!(take(100_001).is_none());
        let buffer = take(99_000).expect("it fits");
        assert!(buffer.is_empty() && buffer.capacity() == 100_000);
        assert!(take(99_000).is_none());
    }

    #[test]
    fn it_keeps_no_more_than_it_may() {
        for _ in 0..1000 {
            give(Vec::with_capacity(1 << 20));
        }
        give(Vec::with_capacity(KEPT_BYTES + 1));
        give(Vec::with_capacity(10));
        POOL.with_borrow(|pool| {
            assert!(pool.bytes <= KEPT_BYTES && pool.buffers.len() == 8);
        });
    }
}
