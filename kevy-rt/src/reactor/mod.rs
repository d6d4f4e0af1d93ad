//! What a shard asks of its I/O engine, and what it hears from it.
//!
//! A reactor owns the sockets and all that the kernel borrows: receive buffers, and the output that
//! a send in flight points at. The shard owns what bytes mean. Both reactors, and the simulated
//! one, stand behind [`Reactor`] and pass one conformance suite.

pub(crate) mod sim;

#[cfg(test)]
mod conformance;
mod listener;
pub(crate) mod poll;
#[cfg(target_os = "linux")]
pub(crate) mod uring;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::conn::{ConnId, Peer};
use crate::runtime::Process;
use crate::shared::Out;

pub(crate) use listener::Listener;

/// A reactor's own number for a socket that it was given, valid until [`Reactor::close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transport(pub(crate) u32);

/// The time of a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Time {
    /// Nanoseconds of a clock that never goes back, from some start.
    pub(crate) steady_ns: u64,
    /// Milliseconds since the Unix epoch: the wall clock's when the process started, plus the
    /// steady clock's since, so that a jump of the wall clock expires nothing.
    pub(crate) unix_ms: u64,
}

/// Tells a process's time. All shards have the same one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    start_unix_ns: u64,
}

impl Clock {
    /// Starts now.
    pub(crate) fn start() -> Self {
        let start_unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { start: Instant::now(), start_unix_ns: start_unix.as_nanos() as u64 }
    }

    /// When it started, in milliseconds since the Unix epoch.
    pub(crate) fn started_ms(&self) -> u64 {
        self.start_unix_ns / 1_000_000
    }

    #[inline]
    pub(crate) fn now(&self) -> Time {
        let steady_ns = self.start.elapsed().as_nanos() as u64;
        Time { steady_ns, unix_ms: (self.start_unix_ns + steady_ns) / 1_000_000 }
    }
}

/// What a reactor of sockets is made of.
pub(crate) struct Parts {
    /// Whose it is.
    pub(crate) shard: usize,
    pub(crate) listeners: Vec<Listener>,
    /// After how long a silence TCP asks whether the other side is there. `None` for never.
    pub(crate) keepalive: Option<Duration>,
    pub(crate) clock: Clock,
    /// Has the way to wake this shard, and the others.
    pub(crate) process: Arc<Process>,
}

/// A connection that was accepted and is not yet any shard's. It can cross to another one.
#[derive(Debug)]
pub(crate) struct Incoming<Socket> {
    pub(crate) socket: Socket,
    /// Which of the listeners it came by.
    pub(crate) listener: u16,
    pub(crate) peer: Peer,
    /// The address that it came to.
    pub(crate) local: Peer,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Event<'a, Socket> {
    /// Somebody connected.
    Accepted(Incoming<Socket>),
    /// Bytes arrived. They are lent for this event only.
    Received { conn: ConnId, bytes: &'a [u8] },
    /// A send is through, all of it. Here is its output, to be used again.
    Sent { conn: ConnId, out: Out },
    /// The other side will send no more. It may still read.
    Ended { conn: ConnId },
    /// The connection broke. What was in flight is dropped, and so is what is sent from now on;
    /// close it. No other event of it follows.
    Broken { conn: ConnId },
}

/// An I/O engine of one shard.
///
/// Everything is asked for by methods that return at once; [`Reactor::turn`] hands all of it to the
/// kernel in one call and collects what happened, which [`Reactor::next_event`] then tells one by
/// one.
pub(crate) trait Reactor: 'static {
    /// A connected socket.
    type Socket: Send + 'static;

    /// For logs and for `Server::reactor`.
    const NAME: &'static str;

    /// Reads the clocks.
    fn now(&self) -> Time;

    /// Hands over what was asked for and collects what happened; with `wait` sleeps for at most
    /// so long until something happens, or until somebody wakes this shard. Events that are left
    /// over from the last call stay ahead, and it doesn't sleep while there are any.
    ///
    /// # Errors
    /// The engine itself broke; the shard can't go on.
    fn turn(&mut self, wait: Option<Duration>) -> io::Result<()>;

    /// The next of what happened. `None` when all was told.
    fn next_event(&mut self) -> Option<Event<'_, Self::Socket>>;

    /// Whether [`Reactor::turn`] would find something: cheap enough to spin on.
    fn is_ready(&self) -> bool;

    /// Takes a socket in and starts to read from it. Its events carry `conn`.
    fn open(&mut self, socket: Self::Socket, conn: ConnId) -> Transport;

    /// The descriptor's number, for people. -1 where there is none.
    fn descriptor(&self, transport: Transport) -> i32;

    /// Sends `out`, all of it, and answers with `Sent`. At most one is in flight per socket.
    fn send(&mut self, transport: Transport, out: Out);

    /// Whether to read from it. Bytes that are already here may still be told.
    fn set_reading(&mut self, transport: Transport, reading: bool);

    /// Closes it, once the kernel holds nothing of it. No event of it follows.
    fn close(&mut self, transport: Transport);

    /// Whether to accept. Off: those who connect wait in the listener's queue.
    fn set_accepting(&mut self, accepting: bool);

    /// Drops the listeners: nobody can connect any more.
    fn stop_listening(&mut self);

    /// Bytes of the buffers that it receives into, as far as they were used.
    fn buffer_bytes(&self) -> usize;

    /// Wakes another shard of this process, which is parked, with the next [`Reactor::turn`] at
    /// the latest.
    fn wake(&mut self, shard: usize);

    /// Whether mail from another shard is looked at. Always, but where a simulation holds it back.
    #[inline(always)]
    fn hears(&self, source: usize) -> bool {
        let _ = source;
        true
    }
}
