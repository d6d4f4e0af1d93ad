//! Buffers of large values, kept for the next one.
//!
//! A value that replaces another takes over the memory of one that went before it: neither the
//! allocator nor the system has to be asked, and no page is touched for the first time. Each thread
//! keeps what it uses itself. Where values are received by one shard and replaced on another,
//! buffers gather on one side only: what a thread has too much of, others may take.

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

use crate::reaper;

/// Only buffers of so many bytes and more are kept: smaller ones an allocator has at hand.
pub(crate) const POOLED_BYTES: usize = 16 * 1024;

/// Bytes that a thread keeps at most.
///
/// Smaller: large values that come in a row find it empty. Larger: each shard holds more for nothing
/// when they don't.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Bytes that are kept at most for whichever thread asks. A buffer too large for one thread's is
/// kept there at once, so that values of some megabytes that replace one another take over memory.
const SURPLUS_BYTES: usize = 32 * 1024 * 1024;

/// Buffers that a pool holds at most, so that a search stays short.
const KEPT_BUFFERS: usize = 128;

/// A buffer is used for what fills at least this share of it, as its value keeps all of it.
const LEAST_FILL: f64 = 0.875;

#[derive(Debug, Default)]
struct Pool {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Pool {
    const fn new() -> Self {
        Pool { buffers: Vec::new(), bytes: 0 }
    }

    fn take(&mut self, bytes: usize) -> Option<Vec<u8>> {
        let most = (bytes as f64 / LEAST_FILL) as usize;
        // The last one that came is the likeliest to be in a cache.
        let fits = |buffer: &Vec<u8>| (bytes..=most).contains(&buffer.capacity());
        let found = self.buffers.iter().rposition(fits)?;
        let buffer = self.buffers.remove(found);
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Keeps a buffer. `dropped` gets those that nobody wanted for longest, until all is within
    /// `most_bytes`.
    fn put(&mut self, buffer: Vec<u8>, most_bytes: usize, mut dropped: impl FnMut(Vec<u8>)) {
        self.bytes += buffer.capacity();
        self.buffers.push(buffer);
        while self.bytes > most_bytes || self.buffers.len() > KEPT_BUFFERS {
            let unwanted = self.buffers.remove(0);
            self.bytes -= unwanted.capacity();
            dropped(unwanted);
        }
    }
}

thread_local! {
    static OWN: RefCell<Pool> = const { RefCell::new(Pool::new()) };
}

/// What threads had too much of. Locked once per large value at most, and never while something is
/// freed or copied.
static SURPLUS: Mutex<Pool> = Mutex::new(Pool::new());

/// An empty buffer with room for `bytes` that a value of so many bytes may keep, if there is one.
pub(crate) fn take(bytes: usize) -> Option<Vec<u8>> {
    if bytes < POOLED_BYTES {
        return None;
    }
    OWN.with_borrow_mut(|own| own.take(bytes))
        .or_else(|| SURPLUS.lock().unwrap_or_else(PoisonError::into_inner).take(bytes))
}

/// Bytes that this thread keeps.
#[inline]
pub(crate) fn kept_bytes() -> usize {
    OWN.with_borrow(|own| own.bytes)
}

/// Keeps a buffer that is not needed any more, or frees it: a large one on a thread for that.
pub(crate) fn give(mut buffer: Vec<u8>) {
    if buffer.capacity() < POOLED_BYTES {
        return;
    }
    if buffer.capacity() > SURPLUS_BYTES {
        return reaper::free(buffer);
    }
    buffer.clear();
    let mut surplus = Vec::new();
    if buffer.capacity() > KEPT_BYTES {
        surplus.push(buffer);
    } else {
        // A thread that ends has no pool any more.
        let _ = OWN.try_with(|own| {
            own.borrow_mut().put(buffer, KEPT_BYTES, |unwanted| surplus.push(unwanted));
        });
    }
    let mut unwanted = Vec::new();
    for buffer in surplus {
        let mut pool = SURPLUS.lock().unwrap_or_else(PoisonError::into_inner);
        pool.put(buffer, SURPLUS_BYTES, |buffer| unwanted.push(buffer));
    }
    // Freed here, where nobody waits for the lock.
    unwanted.into_iter().for_each(reaper::free);
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
        for _ in 0..100 {
            give(Vec::with_capacity(1 << 20));
        }
        give(Vec::with_capacity(KEPT_BYTES + 1));
        give(Vec::with_capacity(10));
        OWN.with_borrow(|own| assert_eq!((own.bytes, own.buffers.len()), (KEPT_BYTES, 4)));
        let surplus = SURPLUS.lock().unwrap();
        assert!((1..=SURPLUS_BYTES).contains(&surplus.bytes), "{surplus:?}");
    }

    #[test]
    fn what_one_thread_has_too_much_of_another_takes() {
        const ODD: usize = 777_777;
        let giver = std::thread::spawn(|| {
            for _ in 0..20 {
                give(Vec::with_capacity(ODD));
            }
        });
        giver.join().unwrap();
        assert!(take(ODD).is_some());
    }
}
