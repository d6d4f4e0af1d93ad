//! Work that leaves the shard, because it takes a core or a disk for long: a handler returns
//! [`Offload`], threads beside the shards do it, and the reply follows.
//!
//! ```text
//! shard: handler returns Offload   the request keeps its place in the reply queue
//!          | one bounded queue of the process
//!          v
//! pool:  work()                    a thread is started when there is work and none is idle
//!          | the shard's list of what is done; the shard is woken
//!          v
//! shard: encodes the result        replies leave in request order, whichever work is done first
//! ```
//!
//! Work is begun in the order in which it came, and may end in any. The connection may be gone by
//! then, and its reply with it; the work is done nevertheless.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use crate::conn::ConnHandle;
use crate::later::Later;
use crate::runtime::Process;
use crate::shared::Out;
use crate::wire::{Encode, Refusal, Reply, Scope, Wire};

/// The reply of a handler whose work is done beside the shards.
///
/// ```
/// # use kevy_rt::Offload;
/// # fn expensive(_: &[u8]) -> u64 { 0 }
/// fn derive(secret: &[u8]) -> Offload<u64> {
///     let secret = secret.to_vec();
///     Offload::new(move || expensive(&secret))
/// }
/// ```
///
/// What it returns has to be the whole reply. The request is refused with [`Refusal::Overloaded`]
/// if as much work waits as [`Builder::offload_queue`](crate::Builder::offload_queue) allows, and
/// with [`Refusal::Panicked`] if the work panics. Where a reply can't wait, it is done by the shard:
/// in a request that was queued, in a part of one for several shards, and in handlers of routes
/// `session` and `tx`.
pub struct Offload<T> {
    work: Box<dyn FnOnce() -> T + Send>,
}

impl<T> fmt::Debug for Offload<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offload").finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Offload<T> {
    /// Work that needs neither store nor connection, to be done soon.
    pub fn new(work: impl FnOnce() -> T + Send + 'static) -> Self {
        Offload { work: Box::new(work) }
    }
}

impl<W: Wire, T: Encode<W> + Send + 'static> Encode<W> for Offload<T> {
    fn encode(self, reply: &mut Reply<'_, W>) {
        if reply.may_come_later() {
            let job = Job { work: Some(self.work), result: None, wire: PhantomData::<fn(W)> };
            reply.out().come_later(Later::Job(Box::new(job)));
        } else {
            (self.work)().encode(reply);
        }
    }
}

/// Work on its way to the pool and back, with what it results in.
pub(crate) trait Jobs: Send {
    /// Does it.
    fn run(&mut self);
    /// Writes the reply; a refusal if it wasn't done to its end.
    fn encode(self: Box<Self>, scope: u64, out: &mut Out);
}

struct Job<W, T> {
    work: Option<Box<dyn FnOnce() -> T + Send>>,
    result: Option<T>,
    wire: PhantomData<fn(W)>,
}

impl<W: Wire, T: Encode<W> + Send + 'static> Jobs for Job<W, T> {
    fn run(&mut self) {
        let Some(work) = self.work.take() else { return };
        self.result = catch_unwind(AssertUnwindSafe(work)).ok();
    }

    fn encode(self: Box<Self>, scope: u64, out: &mut Out) {
        let mut reply = Reply::<W>::in_scope(out, W::Scope::from_bits(scope));
        match self.result {
            Some(result) => result.encode(&mut reply),
            None if self.work.is_some() => W::Refusal::from(Refusal::Overloaded).encode(&mut reply),
            None => W::Refusal::from(Refusal::Panicked).encode(&mut reply),
        }
    }
}

/// Where a reply goes that comes later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home {
    /// Whose it is.
    pub(crate) whom: ConnHandle,
    /// The number of its place among the connection's replies.
    pub(crate) number: u64,
    /// Bytes of arguments that the connection's shard, if it is another, counts until then.
    pub(crate) bytes: usize,
}

/// A request's work, and where its reply goes.
pub(crate) struct Task {
    pub(crate) job: Box<dyn Jobs>,
    /// The shard that handed it over, and takes it back.
    pub(crate) shard: u16,
    pub(crate) home: Home,
    pub(crate) scope: u64,
    /// The command's index among the process's.
    pub(crate) index: u32,
}

/// How much of it there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolSize {
    /// Most threads. None in a simulation, which does the work itself.
    pub(crate) threads: usize,
    /// Most tasks that wait.
    pub(crate) queue: usize,
}

/// The threads beside the shards, and what they have to do.
pub(crate) struct Pool {
    size: PoolSize,
    state: Mutex<State>,
    /// Told when there is a task, or the end, and when a thread is through.
    changed: Condvar,
    /// By shard: tasks that are done.
    done: Vec<Mutex<Vec<Task>>>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Task>,
    /// Threads that wait for a task.
    idle: usize,
    /// Tasks that are being done.
    busy: usize,
    is_closed: bool,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Pool {
    pub(crate) fn new(size: PoolSize, shards: usize) -> Self {
        let done = (0..shards).map(|_| Mutex::default()).collect();
        Pool { size, state: Mutex::default(), changed: Condvar::new(), done }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|held| held.into_inner())
    }

    fn done(&self, shard: u16) -> MutexGuard<'_, Vec<Task>> {
        self.done[usize::from(shard)].lock().unwrap_or_else(|held| held.into_inner())
    }

    /// Takes a task in, or gives it back if too many wait.
    fn take(&self, task: Task) -> Result<bool, Task> {
        let mut state = self.state();
        if state.waiting.len() >= self.size.queue || state.is_closed {
            return Err(task);
        }
        state.waiting.push_back(task);
        let wants_thread =
            state.waiting.len() > state.idle && state.threads.len() < self.size.threads;
        drop(state);
        self.changed.notify_one();
        Ok(wants_thread)
    }

    /// The next task; `None` at the end.
    fn next(&self) -> Option<Task> {
        let mut state = self.state();
        loop {
            if state.is_closed {
                return None;
            }
            if let Some(task) = state.waiting.pop_front() {
                state.busy += 1;
                return Some(task);
            }
            state.idle += 1;
            state = self.changed.wait(state).unwrap_or_else(|held| held.into_inner());
            state.idle -= 1;
        }
    }

    /// Does a task and puts it where its shard finds it.
    fn run(&self, mut task: Task) -> u16 {
        let shard = task.shard;
        task.job.run();
        self.done(shard).push(task);
        shard
    }

    /// Whether a task waits.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.state().waiting.is_empty()
    }

    /// For a simulation: does the task that `word` picks. Whether there was one.
    pub(crate) fn run_one(&self, word: u64) -> bool {
        let mut state = self.state();
        if state.waiting.is_empty() {
            return false;
        }
        let at = word as usize % state.waiting.len();
        let task = state.waiting.remove(at);
        drop(state);
        task.map(|task| self.run(task));
        true
    }

    /// A shard's tasks that are done.
    pub(crate) fn take_done(&self, shard: u16) -> Vec<Task> {
        std::mem::take(&mut *self.done(shard))
    }
}

impl Process {
    /// How much offloaded work of all shards waits for a thread.
    pub fn offloaded(&self) -> usize {
        self.pool.state().waiting.len()
    }

    /// How much of it is being done.
    pub fn offloading(&self) -> usize {
        self.pool.state().busy
    }

    /// Hands a task to the pool, or gives it back if too many wait there.
    pub(crate) fn offload(self: &Arc<Self>, task: Task) -> Result<(), Task> {
        if self.pool.take(task)? {
            let (process, number) = (self.clone(), self.pool.state().threads.len());
            let started = std::thread::Builder::new()
                .name(format!("offload-{number}"))
                .spawn(move || process.work_off());
            match started {
                Ok(thread) => self.pool.state().threads.push(thread),
                Err(error) => {
                    tracing::warn!(%error, "can't start a thread for offloaded work");
                    self.give_up_without_threads();
                }
            }
        }
        Ok(())
    }

    /// Nobody will ever do what waits: hands it back undone.
    fn give_up_without_threads(&self) {
        let mut state = self.pool.state();
        if !state.threads.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for task in waiting {
            let shard = task.shard;
            self.pool.done(shard).push(task);
            self.wake(shard);
        }
    }

    fn wake(&self, shard: u16) {
        if let Some(waker) = self.wakers.get(usize::from(shard)) {
            waker.wake();
        }
    }

    /// A thread of the pool.
    fn work_off(&self) {
        // It was started by a shard, which may be kept on its core.
        if let Err(error) = crate::sys::leave_core() {
            tracing::debug!(%error, "a thread for offloaded work stays on a shard's core");
        }
        while let Some(task) = self.pool.next() {
            let shard = self.pool.run(task);
            self.pool.state().busy -= 1;
            self.wake(shard);
        }
    }

    /// Ends the pool when the shards are through. Tasks that wait are dropped; what is being done
    /// belongs to nobody any more, and its thread ends with it. Answers how many these are.
    pub(crate) fn end_offload(&self) -> usize {
        let (threads, busy) = {
            let mut state = self.pool.state();
            state.is_closed = true;
            state.waiting.clear();
            (std::mem::take(&mut state.threads), state.busy)
        };
        self.pool.changed.notify_all();
        // With nothing under way all threads end at once.
        if busy == 0 {
            for thread in threads {
                if let Err(panic) = thread.join() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
        busy
    }
}

static_assertions::assert_impl_all!(Task: Send);
