//! A thread's way to the kernel: an io_uring instance with a pool of provided receive buffers.
//!
//! The caller queues submissions, calls [`Ring::turn`], which hands all of them over in one enter
//! and waits, and then reads [`Ring::completions`]. A receive is multishot: armed once per
//! connection, it completes once per chunk, each in a buffer of the pool that the caller looks at
//! with [`Ring::chunk`] and gives back with [`Ring::give_back`].

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode, squeue};

/// The one buffer group of a ring.
const GROUP: u16 = 0;

/// Room for every connection of a run to have a submission in the same turn; a full queue is
/// flushed early, so fewer only costs more enters.
const SUBMISSIONS: u32 = 1024;

/// Room for the completions of a turn. The kernel keeps what overflows, at a cost.
const COMPLETIONS: u32 = 8192;

const PAGE: usize = 4096;

/// The number and the size of the receive buffers.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// How many; a power of two.
    pub buffers: u16,
    /// The size of each.
    pub buffer_bytes: u32,
}

impl Pool {
    /// For requests and replies that are smaller than a page.
    pub const SMALL: Self = Self { buffers: 512, buffer_bytes: 16 << 10 };
    /// For large values: fewer completions per value.
    pub const LARGE: Self = Self { buffers: 64, buffer_bytes: 256 << 10 };
}

/// How a send deals with a full socket buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendMode {
    /// Takes what fits now. Completes only if that was not all of it: the result is the number of
    /// bytes taken or `-EAGAIN`. The bytes are the caller's again after the turn.
    Now,
    /// Waits for room. Completes only on failure. The bytes are lent until the peer has them.
    Whole,
    /// As [`SendMode::Whole`], and always completes.
    Confirmed,
}

/// The kernel's answer to a submission.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// The caller's name for the submission.
    pub tag: u64,
    /// What the system call would have returned; a negative error number on failure.
    pub result: i32,
    flags: u32,
}

impl Completion {
    /// Whether a multishot submission stays armed.
    pub fn is_armed(&self) -> bool {
        cqueue::more(self.flags)
    }
}

/// An io_uring instance and its receive buffers, for one thread.
pub struct Ring {
    // Dropped before the buffers: the kernel lets go of them when the instance is closed.
    uring: IoUring,
    buffers: Buffers,
    enter_fd: RawFd,
    enter_flags: u32,
}

impl Ring {
    /// Sets up a ring for the calling thread.
    ///
    /// # Errors
    ///
    /// What the kernel answers; `EINVAL` from one that lacks deferred task work.
    pub fn new(pool: Pool) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS);
        let uring = builder.clone().setup_no_sqarray().build(SUBMISSIONS).or_else(|error| {
            match error.raw_os_error() {
                Some(libc::EINVAL) => builder.build(SUBMISSIONS),
                _ => Err(error),
            }
        })?;
        let buffers = Buffers::register(&uring, pool)?;
        let (enter_fd, enter_flags) = match register_ring_fd(uring.as_raw_fd()) {
            Some(index) => (index, ENTER_REGISTERED_RING),
            None => (uring.as_raw_fd(), 0),
        };
        Ok(Self { uring, buffers, enter_fd, enter_flags })
    }

    /// Queues a multishot accept. Each completion's result is a new connection's descriptor.
    ///
    /// # Errors
    ///
    /// A failed flush of a full queue; so for every submission.
    pub fn accept(&mut self, listener: RawFd, tag: u64) -> io::Result<()> {
        self.push(opcode::AcceptMulti::new(Fd(listener)).build().user_data(tag))
    }

    /// Queues a multishot receive.
    ///
    /// # Errors
    ///
    /// As [`Ring::accept`].
    pub fn recv(&mut self, fd: RawFd, tag: u64) -> io::Result<()> {
        self.push(opcode::RecvMulti::new(Fd(fd), GROUP).build().user_data(tag))
    }

    /// Queues a send of `len` bytes at `bytes`.
    ///
    /// # Errors
    ///
    /// As [`Ring::accept`].
    ///
    /// # Safety
    ///
    /// The bytes stay where they are, unchanged, for as long as `mode` says that they are lent.
    pub unsafe fn send(
        &mut self,
        fd: RawFd,
        bytes: *const u8,
        len: usize,
        mode: SendMode,
        tag: u64,
    ) -> io::Result<()> {
        let wait = if mode == SendMode::Now { libc::MSG_DONTWAIT } else { 0 };
        let skip = match mode {
            SendMode::Now | SendMode::Whole => squeue::Flags::SKIP_SUCCESS,
            SendMode::Confirmed => squeue::Flags::empty(),
        };
        let len = u32::try_from(len).expect("a send is below 4 GiB");
        let entry = opcode::Send::new(Fd(fd), bytes, len)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL | wait)
            .build()
            .flags(skip)
            .user_data(tag);
        self.push(entry)
    }

    fn push(&mut self, entry: squeue::Entry) -> io::Result<()> {
        if self.uring.submission().is_full() {
            self.enter(0, None)?;
        }
        // SAFETY: accepts and receives borrow no memory of the caller's; a send's bytes are lent
        // by the contract of `send`.
        unsafe { self.uring.submission().push(&entry) }
            .map_err(|_| io::Error::other("the submission queue stays full"))
    }

    /// Hands over what is queued and waits for a completion: it looks for one for `spin`, then
    /// sleeps for `timeout` at most, or without end. Returns how long there was nothing to do;
    /// zero where `spin` is, as then submitting and sleeping are one call.
    ///
    /// # Errors
    ///
    /// What the enter answers; a timeout and a signal are no errors.
    pub fn turn(&mut self, spin: Duration, timeout: Option<Duration>) -> io::Result<Duration> {
        if spin.is_zero() {
            self.enter(1, timeout)?;
            return Ok(Duration::ZERO);
        }
        self.enter(0, None)?;
        if self.has_completion() {
            return Ok(Duration::ZERO);
        }
        let start = Instant::now();
        loop {
            if self.uring.submission().taskrun() {
                let waited = start.elapsed();
                self.enter(0, None)?;
                if self.has_completion() {
                    return Ok(waited);
                }
            }
            if start.elapsed() >= spin {
                self.enter(1, timeout)?;
                return Ok(start.elapsed());
            }
            std::hint::spin_loop();
        }
    }

    fn has_completion(&mut self) -> bool {
        !self.uring.completion().is_empty()
    }

    fn enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        let timespec = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let wait = EnterArgument {
            signals: 0,
            signals_bytes: 0,
            min_wait_us: 0,
            timeout: timespec.as_ref().map_or(0, |timespec| &raw const *timespec as u64),
        };
        let to_submit = self.uring.submission().len();
        // SAFETY: `wait` and the timespec in it outlive the call; what the submissions refer to
        // is lent by the contract of `send`.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.enter_fd,
                to_submit,
                want,
                ENTER_GETEVENTS | ENTER_EXT_ARG | self.enter_flags,
                &raw const wait,
                size_of::<EnterArgument>(),
            )
        };
        if result >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // `EBUSY` asks to read completions first.
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        }
    }

    /// Appends the completions of this turn to `out`.
    pub fn completions(&mut self, out: &mut Vec<Completion>) {
        out.extend(self.uring.completion().map(|entry| Completion {
            tag: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
    }

    /// The bytes that a receive brought; empty if it brought none.
    pub fn chunk(&self, completion: &Completion) -> &[u8] {
        match (cqueue::buffer_select(completion.flags), usize::try_from(completion.result)) {
            (Some(index), Ok(len)) => self.buffers.bytes(index, len),
            _ => &[],
        }
    }

    /// Returns the completion's buffer, if it has one, to the pool.
    pub fn give_back(&mut self, completion: &Completion) {
        if let Some(index) = cqueue::buffer_select(completion.flags) {
            self.buffers.provide(index);
        }
    }
}

const ENTER_GETEVENTS: u32 = 1 << 0;
const ENTER_EXT_ARG: u32 = 1 << 3;
const ENTER_REGISTERED_RING: u32 = 1 << 4;

/// The kernel's `struct io_uring_getevents_arg`.
#[repr(C)]
struct EnterArgument {
    signals: u64,
    signals_bytes: u32,
    min_wait_us: u32,
    timeout: u64,
}

/// Registers the ring's own descriptor, which spares each enter its look-up; the index, or nothing
/// where the kernel can't.
fn register_ring_fd(fd: RawFd) -> Option<RawFd> {
    const REGISTER_RING_FDS: u32 = 20;
    /// The kernel's `struct io_uring_rsrc_update`.
    #[repr(C)]
    struct Update {
        offset: u32,
        reserved: u32,
        data: u64,
    }
    let mut update = Update { offset: u32::MAX, reserved: 0, data: fd as u64 };
    // SAFETY: `update` is the one element that the call reads and writes.
    let registered = unsafe {
        libc::syscall(libc::SYS_io_uring_register, fd, REGISTER_RING_FDS, &raw mut update, 1)
    };
    (registered == 1).then_some(update.offset as RawFd)
}

/// The pool of receive buffers, and the queue in which the kernel finds the free ones:
///
/// ```text
/// queue   | entry 0 (its spare field is the tail) | entry 1 | ... |
/// memory  | buffer 0 | buffer 1 | ...
/// ```
struct Buffers {
    queue: PageMemory,
    memory: PageMemory,
    pool: Pool,
    tail: u16,
}

impl Buffers {
    fn register(uring: &IoUring, pool: Pool) -> io::Result<Self> {
        assert!(pool.buffers.is_power_of_two());
        let count = usize::from(pool.buffers);
        let mut buffers = Self {
            queue: PageMemory::new(count * size_of::<BufRingEntry>()),
            memory: PageMemory::new(count * pool.buffer_bytes as usize),
            pool,
            tail: 0,
        };
        let queue = buffers.queue.start.as_ptr() as u64;
        // SAFETY: the queue has `pool.buffers` entries and `Ring` drops it after the instance.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(queue, pool.buffers, GROUP, 0)?;
        }
        for index in 0..pool.buffers {
            buffers.provide(index);
        }
        Ok(buffers)
    }

    fn start(&self, index: u16) -> *mut u8 {
        assert!(index < self.pool.buffers);
        let offset = usize::from(index) * self.pool.buffer_bytes as usize;
        // SAFETY: the memory holds `pool.buffers` buffers and `index` is one of them.
        unsafe { self.memory.start.as_ptr().add(offset) }
    }

    fn bytes(&self, index: u16, len: usize) -> &[u8] {
        assert!(len <= self.pool.buffer_bytes as usize);
        // SAFETY: the buffer is that long, was zeroed at first, and the kernel does not write to it
        // before `provide`, which needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.start(index), len) }
    }

    fn provide(&mut self, index: u16) {
        let base = self.queue.start.as_ptr().cast::<BufRingEntry>();
        let slot = usize::from(self.tail & (self.pool.buffers - 1));
        // SAFETY: the queue has `pool.buffers` entries, a power of two, so `slot` is one of them.
        let entry = unsafe { base.add(slot) };
        // SAFETY: the entry was zeroed at first, and the kernel looks at it only after the store of
        // the tail below.
        let entry = unsafe { &mut *entry };
        entry.set_addr(self.start(index) as u64);
        entry.set_len(self.pool.buffer_bytes);
        entry.set_bid(index);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `base` is the address of the first entry.
        let tail = unsafe { BufRingEntry::tail(base) };
        // SAFETY: the field is two aligned bytes in the queue. This thread writes it, the kernel
        // reads it with acquire.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
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
        let layout = Layout::from_size_align(bytes, PAGE).expect("the pool fits the address space");
        // SAFETY: the layout is not empty, by the assertion.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        Self { start, layout }
    }
}

impl Drop for PageMemory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}
