//! Starting a server, its shards and listeners; stopping it.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::commands::{Command, CommandInfo, Commands, OpenError, Port, Store};
use crate::limits::Limits;
use crate::offload::{Pool, PoolSize};
use crate::sys::Waker;
use crate::tx::stamp::Stamps;

/// Where a port listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket. A file that no server listens on any more is replaced.
    Unix {
        /// Its path.
        path: PathBuf,
        /// The file's mode, if it is to be set.
        mode: Option<u32>,
    },
}

impl Listen {
    /// The address, if it is one of TCP.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Listen::Tcp(address) => Some(*address),
            Listen::Unix { .. } => None,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => write!(f, "{address}"),
            Listen::Unix { path, .. } => write!(f, "{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Listen::Tcp(address)
    }
}

impl From<([u8; 4], u16)> for Listen {
    /// An IPv4 address and a port.
    fn from(address: ([u8; 4], u16)) -> Self {
        Listen::Tcp(address.into())
    }
}

/// Which I/O engine to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReactorChoice {
    /// io_uring if this kernel lets us, else readiness; the reason is logged.
    #[default]
    Auto,
    /// io_uring, or fail.
    Uring,
    /// Readiness: epoll or kqueue.
    Poll,
}

/// A listener as it stands.
#[derive(Clone, Debug)]
pub struct Listening {
    /// The index of the port that it serves.
    pub port: usize,
    /// Where; the real TCP port if any was asked for.
    pub at: Listen,
}

/// A command, and where it is served.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) info: &'static CommandInfo,
    /// The port's name.
    pub(crate) port: &'static str,
    /// The type of its wire.
    pub(crate) wire: TypeId,
}

/// What all shards of a process share. None of it is on a request's way.
#[derive(Debug)]
pub struct Process {
    pub(crate) started_ms: u64,
    pub(crate) listeners: Vec<Listening>,
    pub(crate) commands: Vec<Served>,
    /// Why the reactor is the one that it is.
    pub(crate) reactor_reason: String,
    /// Set by whoever stops the server; read by every shard once per turn.
    pub(crate) stopping: AtomicBool,
    /// Bytes that connections hold. Each shard adds what changed, in large steps.
    pub(crate) client_memory: AtomicI64,
    /// Shards of a stopping server whose connections are gone.
    pub(crate) drained: AtomicUsize,
    /// Connections that a stopping server closed although they were owed something.
    pub(crate) cut_off: AtomicUsize,
    /// The next connection's number.
    pub(crate) next_conn: AtomicU64,
    /// Connections of all shards.
    pub(crate) connections: AtomicUsize,
    /// Connections of each shard, to place the next one. Taken once per connection.
    pub(crate) placed: Mutex<Vec<usize>>,
    /// What orders transactions.
    pub(crate) stamps: Stamps,
    /// Does what takes long, beside the shards.
    pub(crate) pool: Pool,
    /// One per shard: wakes it from any thread.
    pub(crate) wakers: Vec<Waker>,
}

impl Process {
    /// A process that is about to start.
    pub(crate) fn new<C: Commands>(
        started_ms: u64,
        listeners: Vec<Listening>,
        wakers: Vec<Waker>,
        shards: usize,
        pool: PoolSize,
    ) -> Self {
        let of_port = |port: &'static Port<C::Store>| {
            let served = |command: &'static Command<C::Store>| Served {
                info: &command.info,
                port: port.name,
                wire: port.wire,
            };
            port.table.commands().map(served)
        };
        Process {
            started_ms,
            listeners,
            commands: C::ports().iter().flat_map(of_port).collect(),
            reactor_reason: String::new(),
            stopping: false.into(),
            client_memory: 0.into(),
            drained: 0.into(),
            cut_off: 0.into(),
            next_conn: 1.into(),
            connections: 0.into(),
            placed: vec![0; shards].into(),
            stamps: Stamps::default(),
            pool: Pool::new(pool, shards),
            wakers,
        }
    }

    /// When the server started, in milliseconds since the Unix epoch.
    pub fn started_ms(&self) -> u64 {
        self.started_ms
    }

    /// Why the reactor is the one that it is.
    pub fn reactor_reason(&self) -> &str {
        &self.reactor_reason
    }

    /// Its listeners.
    pub fn listeners(&self) -> &[Listening] {
        &self.listeners
    }

    /// Connections of all shards together.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Stops the server: no connection is accepted any more, what was read is answered, then all
    /// are closed. Returns at once; may be called from any thread and more than once.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        for waker in &self.wakers {
            waker.wake();
        }
    }

    /// One more shard's connections are gone.
    pub(crate) fn shard_drained(&self) {
        self.drained.fetch_add(1, Ordering::AcqRel);
        for waker in &self.wakers {
            waker.wake();
        }
    }

    /// A shard is gone for ever: the others end as well, without waiting for it.
    pub(crate) fn abandon(&self) {
        self.drained.fetch_add(self.placed_shards(), Ordering::AcqRel);
        self.stop();
    }

    /// Whether those of all shards are.
    pub(crate) fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Acquire) >= self.placed_shards()
    }

    fn placed_shards(&self) -> usize {
        self.placed.lock().unwrap_or_else(|held| held.into_inner()).len()
    }

    /// Connections that this server, while it stopped, closed although they were owed something.
    pub fn cut_off(&self) -> usize {
        self.cut_off.load(Ordering::Relaxed)
    }

    /// Whether it is being stopped.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// Why a server didn't start, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address can't be listened on.
    #[error("can't listen on {at}: {source}")]
    Listen {
        /// Which one.
        at: String,
        /// Why.
        source: std::io::Error,
    },
    /// io_uring was asked for and is not to be had.
    #[error("io_uring is not available: {0}")]
    NoUring(std::io::Error),
    /// A shard couldn't start, or its reactor broke.
    #[error("shard {shard}: {source}")]
    Shard {
        /// Which one.
        shard: usize,
        /// Why.
        source: std::io::Error,
    },
    /// A shard's store can't be opened: what [`Store::open`] said.
    #[error("shard {shard} can't open its store: {source}")]
    Open {
        /// Which one; the first that said so, where several did.
        shard: usize,
        /// Why.
        source: OpenError,
    },
    /// The server was stopped, and not all that was owed by then was taken within
    /// [`Limits::drain_timeout`].
    #[error(
        "not all was done in time: {connections} connections were closed with replies open, \
         {offloaded} offloaded requests are left to their threads"
    )]
    Undrained {
        /// Connections that were closed although they were owed replies.
        connections: usize,
        /// Offloaded requests that are still being done. Their threads end with them.
        offloaded: usize,
    },
    /// Signals can't be received.
    #[error("can't install the signal handlers: {0}")]
    Signals(std::io::Error),
    /// A setting that makes no sense.
    #[error("{0}")]
    Invalid(String),
}

/// What a server is started with.
pub struct Builder<C: Commands> {
    pub(crate) settings: <C::Store as Store>::Settings,
    pub(crate) shards: Option<usize>,
    pub(crate) listen: Vec<(usize, Listen)>,
    pub(crate) reactor: ReactorChoice,
    pub(crate) limits: Limits,
    pub(crate) accept_queue: i32,
    pub(crate) keepalive_s: u32,
    pub(crate) pin: bool,
    pub(crate) signals: bool,
    pub(crate) offload: PoolSize,
    server: PhantomData<C>,
}

impl<C: Commands> Builder<C> {
    /// A server whose stores are opened with `settings`.
    pub fn new(settings: <C::Store as Store>::Settings) -> Self {
        Builder {
            settings,
            shards: None,
            listen: Vec::new(),
            reactor: ReactorChoice::Auto,
            limits: Limits::default(),
            accept_queue: 511,
            keepalive_s: 300,
            pin: true,
            signals: true,
            offload: PoolSize { threads: 4, queue: 1024 },
            server: PhantomData,
        }
    }

    /// How many shards; without it, the cores that this process may use.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards);
        self
    }

    /// Listens with port `port` of the server's list. May be called several times.
    pub fn listen(mut self, port: usize, at: impl Into<Listen>) -> Self {
        self.listen.push((port, at.into()));
        self
    }

    /// Which I/O engine.
    pub fn reactor(mut self, choice: ReactorChoice) -> Self {
        self.reactor = choice;
        self
    }

    /// The bounds to start with.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How many connections may wait to be accepted.
    pub fn accept_queue(mut self, connections: i32) -> Self {
        self.accept_queue = connections;
        self
    }

    /// After how many idle seconds TCP asks whether the other side is still there; 0 for never.
    pub fn keepalive_s(mut self, seconds: u32) -> Self {
        self.keepalive_s = seconds;
        self
    }

    /// Whether each shard's thread stays on one core. By default it does if there is one for each.
    pub fn pin(mut self, pin: bool) -> Self {
        self.pin = pin;
        self
    }

    /// Whether SIGTERM and SIGINT stop the server, the second one at once. By default they do.
    pub fn signals(mut self, signals: bool) -> Self {
        self.signals = signals;
        self
    }

    /// Most threads that do what handlers [`Offload`](crate::Offload), 4 unless it is said. They
    /// are started as they are needed; with none, all of it is refused.
    pub fn offload_threads(mut self, threads: usize) -> Self {
        self.offload.threads = threads;
        self
    }

    /// How much offloaded work of all shards may wait for a thread, 1,024 requests unless it is
    /// said; what exceeds it is refused with [`Refusal::Overloaded`](crate::Refusal::Overloaded).
    ///
    /// Smaller: a burst is refused that would soon be done. Larger: who waits at its end waits
    /// longer than for a refusal, and more memory.
    pub fn offload_queue(mut self, requests: usize) -> Self {
        self.offload.queue = requests;
        self
    }

    /// How long a stopping server waits for what it owes: replies that other shards, transactions
    /// or offloaded work have to make, and clients that take theirs. What is left then is closed, and
    /// [`Runtime::join`] says so. The same as [`Limits::drain_timeout`].
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.limits.drain_timeout = timeout;
        self
    }

    /// Opens the listeners and starts the shards.
    ///
    /// # Errors
    /// When an address can't be listened on, the reactor asked for is not to be had, a shard
    /// doesn't start, or its store doesn't open. Nothing is left running then.
    pub fn start(self) -> Result<Runtime, Error> {
        crate::start::start(self)
    }
}

/// A running server.
#[derive(Debug)]
pub struct Runtime {
    pub(crate) process: Arc<Process>,
    pub(crate) shards: Vec<std::thread::JoinHandle<Result<(), Error>>>,
    pub(crate) signals: Option<crate::start::Signals>,
}

impl Runtime {
    /// What the shards share, with the way to stop.
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Waits until the server was stopped and all its shards are through.
    ///
    /// # Errors
    /// The first shard's that ended by one; [`Error::Undrained`] if something that was owed was cut off.
    ///
    /// # Panics
    /// When a shard's thread panicked.
    pub fn join(self) -> Result<(), Error> {
        let results: Vec<_> = self.shards.into_iter().map(|shard| shard.join()).collect();
        let offloaded = self.process.end_offload();
        drop(self.signals);
        results.into_iter().try_for_each(|result| match result {
            Ok(ended) => ended,
            Err(panic) => std::panic::resume_unwind(panic),
        })?;
        match self.process.cut_off() {
            0 if offloaded == 0 => Ok(()),
            connections => Err(Error::Undrained { connections, offloaded }),
        }
    }
}
