//! The receive buffers of a ring, which the kernel picks from when bytes arrive.
//!
//! ```text
//! queue   | entry 0 (its spare field is the tail) | entry 1 | ... |   the free ones, for the kernel
//! memory  | buffer 0 | buffer 1 | ...
//! ```
//!
//! In a pool of incremental buffers the kernel fills one buffer with the bytes of several receives,
//! of any sockets, one after the other, before it takes the next. A buffer is offered again when
//! the kernel is done with it and every chunk of it came back.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use io_uring::{IoUring, cqueue};

/// The one buffer group of a ring.
pub(super) const GROUP: u16 = 0;

/// What the queue has to start on, and more than the buffers need.
const PAGE_BYTES: usize = 4096;

/// `IOU_PBUF_RING_INC` of the kernel's interface.
const INCREMENTAL: u16 = 2;

/// Buffers that each ring has, however many rings share a core: with fewer, sockets run dry.
const LEAST_SHARE: usize = 4;

/// Number, size and manner of the receive buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    /// How many; a power of two.
    buffers: u16,
    buffer_bytes: u32,
    is_incremental: bool,
}

impl Pool {
    /// Large buffers, each for as many receives as fit. Fewer: sockets run dry in a burst. Larger:
    /// nothing gained, and each shard holds them.
    pub(crate) const INCREMENTAL: Pool =
        Pool { buffers: 16, buffer_bytes: 64 << 10, is_incremental: true };

    /// A buffer per receive, for kernels that don't fill them in turn. Smaller: a large value takes
    /// more completions. Larger: the same memory is fewer receives.
    pub(crate) const WHOLE: Pool =
        Pool { buffers: 512, buffer_bytes: 16 << 10, is_incremental: false };

    /// A share of the buffers for each of several rings whose threads take turns on one core: what
    /// all of them write to fits the cache that the one ring's buffers fit.
    pub(super) fn shared_by(self, rings: usize) -> Self {
        let most = usize::from(self.buffers);
        let share = (most / rings.max(1)).max(LEAST_SHARE.min(most)).next_power_of_two();
        Pool { buffers: share.min(most) as u16, ..self }
    }

    /// The same with so few buffers that they run out.
    #[cfg(test)]
    pub(super) fn scarce(self) -> Self {
        Pool { buffers: 2, buffer_bytes: 4 << 10, ..self }
    }
}

/// Bytes that arrived, in a buffer. There is one handle to them, to be given back.
#[derive(Debug)]
#[must_use = "a chunk that isn't given back is a buffer lost"]
pub(crate) struct Chunk {
    buffer: u16,
    start: u32,
    len: u32,
}

#[derive(Clone, Copy, Default)]
struct Buffer {
    /// Where the kernel will put the next bytes.
    head: u32,
    /// Chunks that did not come back yet.
    lent: u32,
    /// Whether the kernel will put no more bytes in it.
    is_over: bool,
}

pub(super) struct Buffers {
    pool: Pool,
    queue: PageMemory,
    memory: PageMemory,
    states: Vec<Buffer>,
    tail: u16,
    has_returned: bool,
    /// Buffers that the kernel ever put something in, from the first one on.
    filled: usize,
}

impl Buffers {
    /// Makes the pool and tells the kernel about it. Keep it until `uring` is gone.
    pub(super) fn register(uring: &IoUring, pool: Pool) -> io::Result<Self> {
        assert!(pool.buffers.is_power_of_two());
        let count = usize::from(pool.buffers);
        let mut buffers = Buffers {
            pool,
            queue: PageMemory::new(count * size_of::<BufRingEntry>()),
            memory: PageMemory::new(count * pool.buffer_bytes as usize),
            states: vec![Buffer::default(); count],
            tail: 0,
            has_returned: false,
            filled: 0,
        };
        let queue = buffers.queue.start.as_ptr() as u64;
        let flags = if pool.is_incremental { INCREMENTAL } else { 0 };
        let submitter = uring.submitter();
        // SAFETY: the queue has `pool.buffers` entries, and `Ring` keeps it longer than the instance.
        unsafe { submitter.register_buf_ring_with_flags(queue, pool.buffers, GROUP, flags)? };
        for buffer in 0..pool.buffers {
            buffers.offer(buffer);
        }
        Ok(buffers)
    }

    /// The chunk that a completion with these flags and `len` bytes speaks of, if it took a buffer.
    pub(super) fn take(&mut self, flags: u32, len: u32) -> Option<Chunk> {
        let buffer = cqueue::buffer_select(flags)?;
        let state = &mut self.states[usize::from(buffer)];
        let start = state.head;
        assert!(len <= self.pool.buffer_bytes - start, "the kernel fills a buffer in order");
        state.head += len;
        state.lent += 1;
        state.is_over = !(self.pool.is_incremental && cqueue::buffer_more(flags));
        self.filled = self.filled.max(usize::from(buffer) + 1);
        Some(Chunk { buffer, start, len })
    }

    /// The bytes of a chunk.
    pub(super) fn bytes(&self, chunk: &Chunk) -> &[u8] {
        let start = self.start_of(chunk.buffer, chunk.start);
        // SAFETY: `take` saw to it that the chunk lies in its buffer. The kernel wrote it, and
        // writes there again only after `offer`, for which the chunk has to be given up.
        unsafe { std::slice::from_raw_parts(start, chunk.len as usize) }
    }

    /// Bytes of memory of the buffers that were ever used.
    pub(super) fn memory(&self) -> usize {
        self.filled * self.pool.buffer_bytes as usize
    }

    /// Takes a chunk back; with the last one the kernel may use its buffer again.
    pub(super) fn give_back(&mut self, chunk: Chunk) {
        let state = &mut self.states[usize::from(chunk.buffer)];
        state.lent -= 1;
        if state.lent == 0 && state.is_over {
            *state = Buffer::default();
            self.has_returned = true;
            self.offer(chunk.buffer);
        }
    }

    /// Whether a buffer was offered again since the last call.
    pub(super) fn take_returned(&mut self) -> bool {
        std::mem::take(&mut self.has_returned)
    }

    /// Never frees the memory, since the kernel may still use it.
    pub(super) fn leak(&mut self) {
        for memory in [&mut self.queue, &mut self.memory] {
            std::mem::forget(std::mem::replace(memory, PageMemory::new(1)));
        }
    }

    fn start_of(&self, buffer: u16, offset: u32) -> *mut u8 {
        assert!(buffer < self.pool.buffers && offset <= self.pool.buffer_bytes);
        let offset = usize::from(buffer) * self.pool.buffer_bytes as usize + offset as usize;
        // SAFETY: the memory holds `pool.buffers` buffers, and this is in or at the end of one.
        unsafe { self.memory.start.as_ptr().add(offset) }
    }

    fn offer(&mut self, buffer: u16) {
        let base = self.queue.start.as_ptr().cast::<BufRingEntry>();
        let place = usize::from(self.tail & (self.pool.buffers - 1));
        // SAFETY: the queue has `pool.buffers` entries, a power of two, so `place` is one of them.
        let entry = unsafe { base.add(place) };
        // SAFETY: zeros are an entry; the kernel looks at this one only after the tail moved past it.
        let entry = unsafe { &mut *entry };
        entry.set_addr(self.start_of(buffer, 0) as u64);
        entry.set_len(self.pool.buffer_bytes);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `base` is the first entry of the queue.
        let tail = unsafe { BufRingEntry::tail(base) };
        // SAFETY: two aligned bytes of the queue; this thread alone writes them, the kernel reads.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // Release: the kernel, which reads the tail with acquire, sees the entry whole.
        tail.store(self.tail, Ordering::Release);
    }
}

/// Zeroed memory that starts on a page.
struct PageMemory {
    start: NonNull<u8>,
    layout: Layout,
}

impl PageMemory {
    fn new(bytes: usize) -> Self {
        assert!(bytes > 0);
        let layout = Layout::from_size_align(bytes, PAGE_BYTES).expect("a pool is small");
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        PageMemory { start, layout }
    }
}

impl Drop for PageMemory {
    fn drop(&mut self) {
        // SAFETY: `new` allocated it with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}
