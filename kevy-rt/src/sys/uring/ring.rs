//! A thread's way to the kernel: submissions in, completions out.
//!
//! Whatever is asked for is queued and handed over by [`Ring::enter`], all of it in one system
//! call. A queue that is full is handed over early; what the kernel doesn't take then waits in a
//! backlog, in order. Nothing that was asked for is ever skipped.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::buffers::{Buffers, Chunk, GROUP, Pool};
use super::flight::Flight;
use crate::shared::Out;

/// Room for the submissions of a turn. Fewer: more calls in a large turn. More: memory.
const SUBMISSIONS: u32 = 1024;

/// Room for the completions of a turn, several for each submission since receives go on by
/// themselves. The kernel keeps what overflows, at a cost, and ends receives and accepts by it.
const COMPLETIONS: u32 = 8192;

/// Of the kernel's interface.
const ENTER_GETEVENTS: u32 = 1;
const ENTER_EXT_ARG: u32 = 8;
const ENTER_REGISTERED_RING: u32 = 16;
const ENTER_NO_IOWAIT: u32 = 128;
const REGISTER_RING_FDS: u32 = 20;
const UNREGISTER_RING_FDS: u32 = 21;

/// When the kernel does what a completion still needs of this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskWork {
    /// When the thread enters the kernel to ask for completions.
    Deferred,
    /// When it enters the kernel for anything.
    Cooperative,
    /// At any time: it is interrupted.
    Interrupting,
}

/// How a ring is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setup {
    task_work: TaskWork,
    pool: Pool,
    submissions: u32,
    completions: u32,
}

impl Setup {
    pub(crate) fn new(task_work: TaskWork, pool: Pool) -> Self {
        Setup { task_work, pool, submissions: SUBMISSIONS, completions: COMPLETIONS }
    }

    /// For a ring whose thread shares its core with those of other rings.
    pub(crate) fn shared_by(self, rings: usize) -> Self {
        Setup { pool: self.pool.shared_by(rings), ..self }
    }

    /// With queues that overflow when a few sockets are busy.
    pub(crate) fn crowded(self) -> Self {
        Setup { submissions: 8, completions: 8, ..self }
    }

    /// With so little of everything that it runs out all the time.
    #[cfg(test)]
    pub(crate) fn scarce(task_work: TaskWork, pool: Pool) -> Self {
        Setup::new(task_work, pool.scarce()).crowded()
    }
}

/// Which of the caller's sockets: a place, and which of the sockets that had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whose {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl Whose {
    /// Generations from which on they come again. One lasts for as long as the kernel is at
    /// something of a socket, and a place gets its next socket only after that.
    const GENERATIONS: u32 = 1 << 24;

    /// The next one at this place.
    pub(crate) fn next(self) -> Self {
        Whose { generation: (self.generation + 1) % Whose::GENERATIONS, ..self }
    }
}

/// What the kernel has done.
#[derive(Debug)]
pub(crate) enum Completion {
    /// Somebody connected to a listener, or could not.
    Accepted { listener: u32, result: io::Result<OwnedFd>, is_armed: bool },
    /// Bytes arrived; none of them: the other side sends no more. Or the receive failed.
    Received { whose: Whose, result: io::Result<Option<Chunk>>, is_armed: bool },
    /// An output went, all of it; or it failed and is gone.
    Sent { whose: Whose, result: io::Result<Out> },
    /// The descriptor that is polled became readable.
    Polled { is_armed: bool },
    /// The ring of this shard could not be messaged.
    Unreached { shard: u32 },
}

#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Accept,
    Receive,
    Send,
    Poll,
    /// A message to another ring.
    Message,
    /// A message from another ring: nothing to be done, the thread is awake by it.
    Woken,
    /// Says only that there was nothing to cancel.
    Cancel,
}

impl Kind {
    const ALL: [Kind; 7] = [
        Kind::Accept,
        Kind::Receive,
        Kind::Send,
        Kind::Poll,
        Kind::Message,
        Kind::Woken,
        Kind::Cancel,
    ];
}

/// What a submission is called, for its completions:
///
/// ```text
/// 63        56 55               32 31            0
/// |   kind    |    generation     |    index     |
/// ```
#[derive(Clone, Copy)]
struct Tag(u64);

impl Tag {
    fn new(kind: Kind, whose: Whose) -> Self {
        let Whose { index, generation } = whose;
        Tag(u64::from(kind as u8) << 56 | u64::from(generation) << 32 | u64::from(index))
    }

    /// For kinds of which a ring has few.
    fn of_index(kind: Kind, index: u32) -> Self {
        Tag::new(kind, Whose { index, generation: 0 })
    }

    #[inline]
    fn kind(self) -> Kind {
        Kind::ALL[(self.0 >> 56) as usize]
    }

    #[inline]
    fn whose(self) -> Whose {
        let generation = (self.0 >> 32) as u32 % Whose::GENERATIONS;
        Whose { index: self.index(), generation }
    }

    #[inline]
    fn index(self) -> u32 {
        self.0 as u32
    }
}

/// An io_uring instance with its receive buffers, for the thread that made it.
pub(crate) struct Ring {
    // Dropped before what the kernel borrows.
    uring: IoUring,
    buffers: Buffers,
    /// Sends that the kernel is at, by their socket's place.
    flights: Vec<Option<Flight>>,
    /// Submissions that found the queue full.
    backlog: VecDeque<squeue::Entry>,
    /// The instance's index among this thread's registered ones, which spares each enter a look-up.
    registered: Option<u32>,
    wait_flags: u32,
    /// Not for several threads at once: [`Ring::is_ready`] looks at the queues.
    one_thread: PhantomData<Cell<()>>,
}

impl Ring {
    /// Makes a ring for the calling thread.
    ///
    /// # Errors
    /// The kernel's: it has no io_uring, not with this setup, or not for us.
    pub(crate) fn new(setup: Setup) -> io::Result<Self> {
        let uring = build(setup)?;
        let params = uring.params();
        if !(params.is_feature_nodrop() && params.is_feature_ext_arg()) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "this kernel's is too old"));
        }
        let wait_flags = if params.is_feature_no_iowait() { ENTER_NO_IOWAIT } else { 0 };
        let buffers = Buffers::register(&uring, setup.pool)?;
        let registered = register(&uring);
        Ok(Ring {
            uring,
            buffers,
            flights: Vec::new(),
            backlog: VecDeque::new(),
            registered,
            wait_flags,
            one_thread: PhantomData,
        })
    }

    /// What other rings message it by.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.uring.as_raw_fd()
    }

    /// Accepts connections until it is cancelled or a completion says otherwise.
    pub(crate) fn accept(&mut self, socket: BorrowedFd<'_>, listener: u32) {
        let accept = opcode::AcceptMulti::new(Fd(socket.as_raw_fd())).flags(libc::SOCK_CLOEXEC);
        self.push(accept.build(), Tag::of_index(Kind::Accept, listener));
    }

    /// Stops accepting. The last completion of the accept says so.
    pub(crate) fn cancel_accept(&mut self, listener: u32) {
        self.cancel(Tag::of_index(Kind::Accept, listener));
    }

    /// Receives until it is cancelled or a completion says otherwise.
    #[inline]
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>, whose: Whose) {
        let receive = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), GROUP);
        self.push(receive.build(), Tag::new(Kind::Receive, whose));
    }

    /// Stops receiving. The last completion of the receive says so.
    pub(crate) fn cancel_receive(&mut self, whose: Whose) {
        self.cancel(Tag::new(Kind::Receive, whose));
    }

    /// Sends all of `out`. Keep `socket` open until the completion.
    ///
    /// # Panics
    /// When a send of this socket is under way.
    #[inline]
    pub(crate) fn send(&mut self, socket: BorrowedFd<'_>, whose: Whose, out: Out) {
        let place = whose.index as usize;
        if place >= self.flights.len() {
            self.flights.resize_with(place + 1, || None);
        }
        assert!(self.flights[place].is_none(), "one send at a time");
        self.launch(Tag::new(Kind::Send, whose), Flight::new(socket.as_raw_fd(), out));
    }

    /// Gives up a send. Its completion says so, or that all went before.
    pub(crate) fn cancel_send(&mut self, whose: Whose) {
        if let Some(flight) = &mut self.flights[whose.index as usize] {
            flight.cancel();
            self.cancel(Tag::new(Kind::Send, whose));
        }
    }

    /// Polls `descriptor` for bytes to read until a completion says otherwise.
    pub(crate) fn poll(&mut self, descriptor: BorrowedFd<'_>) {
        let poll = opcode::PollAdd::new(Fd(descriptor.as_raw_fd()), libc::POLLIN as u32);
        self.push(poll.multi(true).build(), Tag::of_index(Kind::Poll, 0));
    }

    /// Wakes the thread of another ring. Completes only if that fails.
    pub(crate) fn message(&mut self, ring: RawFd, shard: u32) {
        let woken = Tag::of_index(Kind::Woken, 0);
        let message = opcode::MsgRingData::new(Fd(ring), 0, woken.0, None).build();
        let message = message.flags(squeue::Flags::SKIP_SUCCESS);
        self.push(message, Tag::of_index(Kind::Message, shard));
    }

    /// Whether there are completions, or [`Ring::enter`] would do something.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.has_completions() || self.has_work()
    }

    /// Whether [`Ring::next`] has one.
    #[inline]
    pub(crate) fn has_completions(&self) -> bool {
        // SAFETY: one thread uses this ring, and each use of the queue ends within its statement.
        let completions = unsafe { self.uring.completion_shared() };
        !completions.is_empty()
    }

    #[inline]
    fn has_work(&self) -> bool {
        // SAFETY: one thread uses this ring, and each use of the queue ends within its statement.
        let submissions = unsafe { self.uring.submission_shared() };
        !submissions.is_empty() || submissions.taskrun() || submissions.cq_overflow()
    }

    /// Hands over what was asked for and lets the kernel do what it put off; with `wait` sleeps for
    /// at most so long until there is a completion. No system call if there is nothing to do.
    ///
    /// # Errors
    /// The instance broke.
    pub(crate) fn enter(&mut self, wait: Option<Duration>) -> io::Result<()> {
        if !self.backlog.is_empty() {
            self.work_off_backlog()?;
        }
        match wait {
            Some(wait) if self.backlog.is_empty() && !self.has_completions() => {
                self.submit(Some(wait))
            }
            _ if self.has_work() => self.submit(None),
            _ => Ok(()),
        }
    }

    /// The next thing that the kernel has done.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Completion> {
        loop {
            let entry = self.uring.completion().next()?;
            if let Some(completion) = self.read(&entry) {
                return Some(completion);
            }
        }
    }

    /// The bytes of a chunk.
    #[inline]
    pub(crate) fn bytes(&self, chunk: &Chunk) -> &[u8] {
        self.buffers.bytes(chunk)
    }

    /// Bytes of memory of the receive buffers that were ever used.
    #[inline]
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.buffers.memory()
    }

    /// Takes a chunk back, so that its buffer is used again.
    #[inline]
    pub(crate) fn give_back(&mut self, chunk: Chunk) {
        self.buffers.give_back(chunk);
    }

    /// Whether a buffer became free since the last call.
    pub(crate) fn take_returned(&mut self) -> bool {
        self.buffers.take_returned()
    }

    #[inline]
    fn read(&mut self, entry: &cqueue::Entry) -> Option<Completion> {
        let tag = Tag(entry.user_data());
        let result = entry.result();
        let is_armed = cqueue::more(entry.flags());
        match tag.kind() {
            Kind::Receive => {
                let chunk = self.buffers.take(entry.flags(), result.max(0) as u32);
                let result = self.received(result, chunk);
                Some(Completion::Received { whose: tag.whose(), result, is_armed })
            }
            Kind::Send => self.land(tag, result),
            Kind::Accept => {
                let result = accepted(result);
                Some(Completion::Accepted { listener: tag.index(), result, is_armed })
            }
            Kind::Poll => Some(Completion::Polled { is_armed }),
            Kind::Message => Some(Completion::Unreached { shard: tag.index() }),
            Kind::Woken | Kind::Cancel => None,
        }
    }

    #[inline]
    fn received(&mut self, result: i32, chunk: Option<Chunk>) -> io::Result<Option<Chunk>> {
        if result > 0 {
            return Ok(Some(chunk.expect("a receive with bytes took a buffer")));
        }
        if let Some(unused) = chunk {
            self.give_back(unused);
        }
        if result == 0 { Ok(None) } else { Err(error(result)) }
    }

    /// A send came back: to be told, or it goes on with what is left.
    fn land(&mut self, tag: Tag, result: i32) -> Option<Completion> {
        let flight = &mut self.flights[tag.index() as usize];
        let mut flight = flight.take().expect("a send completes once");
        let goes_on = match result {
            0.. => flight.advance(result as usize),
            _ => result == -libc::EINTR && flight.advance(0),
        };
        if goes_on {
            self.launch(tag, flight);
            return None;
        }
        let cause = if result < 0 { result } else { -libc::ECANCELED };
        let result = flight.into_sent().ok_or_else(|| error(cause));
        Some(Completion::Sent { whose: tag.whose(), result })
    }

    fn launch(&mut self, tag: Tag, mut flight: Flight) {
        let submission = flight.submission();
        self.flights[tag.index() as usize] = Some(flight);
        self.push(submission, tag);
    }

    fn cancel(&mut self, what: Tag) {
        let cancel = opcode::AsyncCancel::new(what.0).build();
        self.push(cancel.flags(squeue::Flags::SKIP_SUCCESS), Tag::of_index(Kind::Cancel, 0));
    }

    #[inline]
    fn push(&mut self, submission: squeue::Entry, tag: Tag) {
        let submission = submission.user_data(tag.0);
        if !self.backlog.is_empty() || !self.try_push(&submission) {
            self.push_when_full(submission);
        }
    }

    #[cold]
    fn push_when_full(&mut self, submission: squeue::Entry) {
        self.backlog.push_back(submission);
        // An error comes again in the next enter, where somebody hears it.
        let _ = self.work_off_backlog();
    }

    /// Moves the backlog into the queue for as long as the kernel makes room.
    fn work_off_backlog(&mut self) -> io::Result<()> {
        while let Some(submission) = self.backlog.pop_front() {
            if self.try_push(&submission) {
                continue;
            }
            let entered = self.submit(None);
            if entered.is_err() || !self.try_push(&submission) {
                self.backlog.push_front(submission);
                return entered;
            }
        }
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, submission: &squeue::Entry) -> bool {
        // SAFETY: submissions are made in this file alone. Of memory they name only what a flight
        // owns, which is kept until its completion; receives go to the buffers of this ring.
        unsafe { self.uring.submission().push(submission) }.is_ok()
    }

    fn submit(&mut self, wait: Option<Duration>) -> io::Result<()> {
        let queued = self.uring.submission().len() as u32;
        self.enter_kernel(queued, wait)
    }

    fn enter_kernel(&mut self, to_submit: u32, wait: Option<Duration>) -> io::Result<()> {
        let timeout = Timespec::from(wait.unwrap_or_default());
        let args = SubmitArgs::new().timespec(&timeout);
        let (fd, ring_flags) = match self.registered {
            Some(index) => (index as RawFd, ENTER_REGISTERED_RING),
            None => (self.uring.as_raw_fd(), 0),
        };
        let (completions, wait_flags, args, args_bytes) = match wait {
            Some(_) => {
                let flags = ENTER_EXT_ARG | self.wait_flags;
                (1_u32, flags, (&raw const args).cast(), size_of_val(&args))
            }
            None => (0, 0, std::ptr::null::<u8>(), 0),
        };
        // SAFETY: the call reads `args`, a whole one or none, and the queues, by `try_push`.
        let entered = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                fd,
                to_submit,
                completions,
                ENTER_GETEVENTS | ring_flags | wait_flags,
                args,
                args_bytes,
            )
        };
        if entered >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // The wait is over; or there is no memory, or no room for completions, just now.
            Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => Ok(()),
            _ => Err(error),
        }
    }

    /// Makes the kernel let go of all that it borrows.
    fn cancel_all(&mut self) -> io::Result<()> {
        let timeout = Timespec::new().sec(1);
        let submitter = self.uring.submitter();
        match submitter.register_sync_cancel(Some(timeout), CancelBuilder::any()) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
            // A submission that the kernel has not seen is not handed over any more.
            _ => self.enter_kernel(0, None)?,
        }
        // Connections that were accepted meanwhile are closed by this, among others. What did not
        // fit in the queue comes after what did.
        while self.next().is_some() || self.has_overflow() {
            if !self.has_completions() {
                self.enter_kernel(0, None)?;
            }
        }
        Ok(())
    }

    fn has_overflow(&mut self) -> bool {
        self.uring.submission().cq_overflow()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let cancelled = self.cancel_all();
        if let Some(index) = self.registered {
            unregister(&self.uring, index);
        }
        if cancelled.is_err() {
            // Nobody knows what the kernel still uses, so nothing of it is freed.
            std::mem::forget(std::mem::take(&mut self.flights));
            self.buffers.leak();
        }
    }
}

fn build(setup: Setup) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_submit_all().setup_cqsize(setup.completions);
    match setup.task_work {
        TaskWork::Deferred => {
            builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
        }
        TaskWork::Cooperative => {
            builder.setup_coop_taskrun().setup_taskrun_flag();
        }
        TaskWork::Interrupting => {}
    }
    let with_array = builder.clone();
    let entries = setup.submissions;
    builder.setup_no_sqarray().build(entries).or_else(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => with_array.build(entries),
        _ => Err(error),
    })
}

/// The kernel's `struct io_uring_rsrc_update`.
#[repr(C)]
struct RegisteredRing {
    index: u32,
    reserved: u32,
    data: u64,
}

fn register(uring: &IoUring) -> Option<u32> {
    let fd = uring.as_raw_fd();
    let mut ring = RegisteredRing { index: u32::MAX, reserved: 0, data: fd as u64 };
    // SAFETY: `ring` is the one element that the call reads and writes.
    let done = unsafe {
        libc::syscall(libc::SYS_io_uring_register, fd, REGISTER_RING_FDS, &raw mut ring, 1)
    };
    (done == 1).then_some(ring.index)
}

/// Without this the thread holds the instance for as long as it lives.
fn unregister(uring: &IoUring, index: u32) {
    let ring = RegisteredRing { index, reserved: 0, data: 0 };
    // SAFETY: `ring` is the one element that the call reads.
    unsafe {
        let fd = uring.as_raw_fd();
        libc::syscall(libc::SYS_io_uring_register, fd, UNREGISTER_RING_FDS, &raw const ring, 1);
    }
}

fn accepted(result: i32) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(error(result));
    }
    // SAFETY: the kernel made this descriptor for the accept; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

fn error(result: i32) -> io::Error {
    io::Error::from_raw_os_error(-result)
}
