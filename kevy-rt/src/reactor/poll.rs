//! The reactor on readiness: epoll, kqueue, or what else the system has.
//!
//! The system says which sockets can be read from or written to, and says it again for as long as
//! that is so; the reactor then does it. A socket is watched only for what is wanted of it: for
//! reading while the shard reads, for writing while output is left. One of which neither is wanted
//! is not watched at all, or its hang-up would wake the shard over and over.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use polling::{Events, Poller};
use socket2::Socket;

use super::listener::{ACCEPT_PAUSE, Listener, concerns_one_connection};
use super::{Clock, Event, Incoming, Parts, Reactor, Time, Transport};
use crate::conn::ConnId;
use crate::runtime::Process;
use crate::shared::Out;
use crate::sys::{Interest, Watched, is_readable};

/// Most bytes of one receive, and per socket and turn: one that sends without end doesn't keep the
/// others waiting. Smaller: large values take more calls.
const RECEIVE_BYTES: usize = 64 * 1024;

/// Connections accepted from a listener per turn, so that those that are there get theirs.
const ACCEPTS: usize = 64;

/// Pieces per send: what the system takes at most (`IOV_MAX`).
const PIECES: usize = 1024;

/// Keys of listeners start here; those of sockets are their places.
const LISTENER_KEYS: usize = usize::MAX / 2;

/// A peer that is gone is an error, not a signal. Where the flag is missing a socket has an option.
#[cfg(not(target_vendor = "apple"))]
const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL;
#[cfg(target_vendor = "apple")]
const SEND_FLAGS: i32 = 0;

/// The readiness reactor of one shard.
pub(crate) struct PollReactor {
    poller: Arc<Poller>,
    events: Events,
    process: Arc<Process>,
    clock: Clock,
    acceptor: Acceptor,
    places: Vec<Option<Connected>>,
    free: Vec<u32>,
    /// What the last turn found, and nobody asked for yet.
    ready: VecDeque<Ready>,
    /// What is known of a place without the system. It comes before what is ready.
    known: VecDeque<(u32, Told)>,
    buffer: Box<[u8]>,
}

/// The listeners, and whether connections are taken from them.
struct Acceptor {
    listeners: Vec<Watched<Listener>>,
    keepalive: Option<Duration>,
    is_accepting: bool,
    /// When to accept again after the system had no room for a connection.
    paused_until_ns: Option<u64>,
}

struct Connected {
    socket: Watched<Socket>,
    conn: ConnId,
    is_reading: bool,
    /// The other side sends no more.
    is_ended: bool,
    /// Nothing more is told of it.
    is_broken: bool,
    output: Option<Output>,
}

/// An output on its way, and how much of it went.
struct Output {
    out: Out,
    sent: usize,
}

#[derive(Clone, Copy)]
enum Ready {
    Socket { place: u32, reading: bool, writing: bool },
    Listener { listener: usize, accepts: usize },
}

/// An event without what it lends.
enum Told {
    Accepted(Incoming<OwnedFd>),
    Received(ConnId, usize),
    Sent(ConnId, Out),
    Ended(ConnId),
    Broken(ConnId),
}

impl PollReactor {
    /// Makes the reactor of a shard.
    ///
    /// # Errors
    /// When a listener can't be made not to block.
    ///
    /// # Panics
    /// When the shard's waker is no poller's.
    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
        let Parts { shard, listeners, keepalive, clock, process } = parts;
        let poller = process.wakers[shard].as_poller().expect("it wakes this reactor").clone();
        let listeners = listeners.into_iter().enumerate().map(|(at, listener)| {
            listener.socket.set_nonblocking(true)?;
            Ok(Watched::new(listener, poller.clone(), LISTENER_KEYS + at))
        });
        let acceptor = Acceptor {
            listeners: listeners.collect::<io::Result<_>>()?,
            keepalive,
            is_accepting: false,
            paused_until_ns: None,
        };
        let mut reactor = PollReactor {
            poller,
            events: Events::new(),
            process,
            clock,
            acceptor,
            places: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            known: VecDeque::new(),
            buffer: vec![0; RECEIVE_BYTES].into(),
        };
        reactor.set_accepting(true);
        Ok(reactor)
    }

    fn next_told(&mut self) -> Option<Told> {
        loop {
            let told = match self.known.pop_front() {
                Some((place, told)) => self.unless_closed(place, told),
                None => self.try_ready()?,
            };
            if told.is_some() {
                return told;
            }
        }
    }

    fn unless_closed(&self, place: u32, told: Told) -> Option<Told> {
        let conn = match &told {
            Told::Received(conn, _) | Told::Sent(conn, _) => *conn,
            Told::Ended(conn) | Told::Broken(conn) => *conn,
            Told::Accepted(_) => return Some(told),
        };
        let connected = self.places[place as usize].as_ref();
        connected.is_some_and(|connected| connected.conn == conn).then_some(told)
    }

    /// Does what the next ready one is ready for. `None` if there is no next one; it may have been
    /// ready for nothing that is wanted.
    fn try_ready(&mut self) -> Option<Option<Told>> {
        Some(match self.ready.pop_front()? {
            Ready::Socket { place, reading, writing: true } => {
                self.ready.push_front(Ready::Socket { place, reading, writing: false });
                self.write(place)
            }
            Ready::Socket { place, reading: true, .. } => self.read(place),
            Ready::Socket { .. } => None,
            Ready::Listener { listener, accepts } => self.accept(listener, accepts),
        })
    }

    fn read(&mut self, place: u32) -> Option<Told> {
        let connected = self.places[place as usize].as_mut()?;
        if !connected.wanted().reading {
            return None;
        }
        match connected.socket.source().read(&mut self.buffer) {
            Ok(0) => {
                connected.is_ended = true;
                Some(connected.watch().map_or_else(|told| told, |()| Told::Ended(connected.conn)))
            }
            Ok(bytes) => Some(Told::Received(connected.conn, bytes)),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => None,
                _ => Some(connected.fall_silent()),
            },
        }
    }

    /// Sends on with what is left of an output.
    fn write(&mut self, place: u32) -> Option<Told> {
        let connected = self.places[place as usize].as_mut()?;
        let output = connected.output.as_mut()?;
        let told = match output.send(connected.socket.source()) {
            Ok(false) => None,
            Ok(true) => connected.output.take().map(|sent| Told::Sent(connected.conn, sent.out)),
            Err(_) => return Some(connected.fall_silent()),
        };
        connected.watch().map_or_else(Some, |()| told)
    }

    fn accept(&mut self, listener: usize, accepts: usize) -> Option<Told> {
        let watched = self.acceptor.listeners.get(listener)?;
        if !self.acceptor.is_accepting || accepts == 0 {
            return None;
        }
        let error = match watched.source().socket.accept() {
            Ok((socket, _)) => {
                self.ready.push_front(Ready::Listener { listener, accepts: accepts - 1 });
                let incoming = watched.source().incoming(socket.into(), self.acceptor.keepalive);
                return incoming.map(Told::Accepted);
            }
            Err(error) => error,
        };
        if !concerns_one_connection(&error) {
            tracing::warn!(%error, "can't accept connections, trying again shortly");
            self.pause_accepting();
            self.watch_listeners();
        }
        None
    }

    fn pause_accepting(&mut self) {
        let until_ns = self.clock.now().steady_ns + ACCEPT_PAUSE.as_nanos() as u64;
        self.acceptor.paused_until_ns = Some(until_ns);
    }

    /// Accepts again if the pause is over; else shortens `wait` to its end.
    fn end_accept_pause(&mut self, wait: Option<Duration>) -> Option<Duration> {
        let Some(until_ns) = self.acceptor.paused_until_ns else { return wait };
        let left_ns = until_ns.saturating_sub(self.clock.now().steady_ns);
        if left_ns > 0 {
            return wait.map(|wait| wait.min(Duration::from_nanos(left_ns)));
        }
        self.acceptor.paused_until_ns = None;
        self.watch_listeners();
        wait
    }

    fn watch_listeners(&mut self) {
        let acceptor = &mut self.acceptor;
        let reading = acceptor.is_accepting && acceptor.paused_until_ns.is_none();
        let interest = Interest { reading, writing: false };
        let mut watched = acceptor.listeners.iter_mut();
        if let Err(error) = watched.try_for_each(|watched| watched.set_interest(interest)) {
            tracing::warn!(%error, "can't watch the listeners, trying again shortly");
            self.pause_accepting();
        }
    }

    fn collect(&mut self, wait: Duration) -> io::Result<()> {
        self.events.clear();
        self.poller.wait(&mut self.events, Some(wait))?;
        self.ready.extend(self.events.iter().map(|event| match event.key {
            LISTENER_KEYS.. => {
                Ready::Listener { listener: event.key - LISTENER_KEYS, accepts: ACCEPTS }
            }
            place => Ready::Socket {
                place: place as u32,
                reading: event.readable,
                writing: event.writable,
            },
        }));
        Ok(())
    }

    fn connected(&mut self, transport: Transport) -> &mut Connected {
        let connected = self.places[transport.0 as usize].as_mut();
        connected.expect("a transport is used until it is closed")
    }

    fn tell(&mut self, transport: Transport, told: Option<Told>) {
        self.known.extend(told.map(|told| (transport.0, told)));
    }
}

impl Connected {
    fn wanted(&self) -> Interest {
        Interest {
            reading: self.is_reading && !self.is_ended && !self.is_broken,
            writing: self.output.is_some(),
        }
    }

    /// Has it watched for what is wanted now; if that can't be had, it is of no use.
    fn watch(&mut self) -> Result<(), Told> {
        self.socket.set_interest(self.wanted()).map_err(|_| self.fall_silent())
    }

    fn fall_silent(&mut self) -> Told {
        self.is_broken = true;
        self.output = None;
        // Nothing is wanted any more, so this takes no room.
        let _ = self.socket.set_interest(Interest::default());
        Told::Broken(self.conn)
    }
}

impl Output {
    /// Sends as much as the socket takes. Whether that was all.
    fn send(&mut self, socket: &Socket) -> io::Result<bool> {
        loop {
            let (offered, taken) = self.send_some(socket);
            match taken {
                Ok(taken) => {
                    self.sent += taken;
                    if self.sent == self.out.len() {
                        return Ok(true);
                    }
                    if taken < offered {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// One system call: how many bytes it was offered, and how many it took.
    fn send_some(&self, socket: &Socket) -> (usize, io::Result<usize>) {
        if self.out.is_flat() {
            let rest = &self.out.flat()[self.sent..];
            return (rest.len(), socket.send_with_flags(rest, SEND_FLAGS));
        }
        let rest = self.out.pieces_after(self.sent).take(PIECES);
        let pieces: Vec<IoSlice<'_>> = rest.map(IoSlice::new).collect();
        let offered = pieces.iter().map(|piece| piece.len()).sum();
        (offered, socket.send_vectored_with_flags(&pieces, SEND_FLAGS))
    }
}

impl Reactor for PollReactor {
    type Socket = OwnedFd;

    const NAME: &'static str = "poll";

    fn now(&self) -> Time {
        self.clock.now()
    }

    fn turn(&mut self, wait: Option<Duration>) -> io::Result<()> {
        let wait = self.end_accept_pause(wait);
        if !self.ready.is_empty() {
            return Ok(());
        }
        match wait.filter(|_| self.known.is_empty()) {
            Some(wait) => self.collect(wait),
            None if is_readable(self.poller.as_fd()) => self.collect(Duration::ZERO),
            None => Ok(()),
        }
    }

    fn next_event(&mut self) -> Option<Event<'_, OwnedFd>> {
        Some(match self.next_told()? {
            Told::Received(conn, len) => Event::Received { conn, bytes: &self.buffer[..len] },
            Told::Sent(conn, out) => Event::Sent { conn, out },
            Told::Accepted(incoming) => Event::Accepted(incoming),
            Told::Ended(conn) => Event::Ended { conn },
            Told::Broken(conn) => Event::Broken { conn },
        })
    }

    fn is_ready(&self) -> bool {
        !self.known.is_empty() || !self.ready.is_empty() || is_readable(self.poller.as_fd())
    }

    fn open(&mut self, socket: OwnedFd, conn: ConnId) -> Transport {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() as u32 - 1
        });
        let socket = Socket::from(socket);
        let prepared = prepare(&socket);
        let connected = self.places[place as usize].insert(Connected {
            socket: Watched::new(socket, self.poller.clone(), place as usize),
            conn,
            is_reading: true,
            is_ended: false,
            is_broken: false,
            output: None,
        });
        let watched = match prepared {
            Ok(()) => connected.watch().err(),
            Err(_) => Some(connected.fall_silent()),
        };
        self.tell(Transport(place), watched);
        Transport(place)
    }

    fn descriptor(&self, transport: Transport) -> i32 {
        let connected = self.places[transport.0 as usize].as_ref();
        connected.map_or(-1, |connected| connected.socket.source().as_raw_fd())
    }

    fn send(&mut self, transport: Transport, out: Out) {
        let connected = self.connected(transport);
        if connected.is_broken {
            return;
        }
        assert!(connected.output.is_none(), "one send at a time");
        connected.output = Some(Output { out, sent: 0 });
        let told = self.write(transport.0);
        self.tell(transport, told);
    }

    fn set_reading(&mut self, transport: Transport, reading: bool) {
        let connected = self.connected(transport);
        connected.is_reading = reading;
        let failed = connected.watch().err();
        self.tell(transport, failed);
    }

    fn close(&mut self, transport: Transport) {
        self.places[transport.0 as usize] = None;
        self.free.push(transport.0);
    }

    fn set_accepting(&mut self, accepting: bool) {
        self.acceptor.is_accepting = accepting;
        self.watch_listeners();
    }

    fn stop_listening(&mut self) {
        self.acceptor.listeners.clear();
    }

    fn buffer_bytes(&self) -> usize {
        self.buffer.len()
    }

    fn wake(&mut self, shard: usize) {
        self.process.wakers[shard].wake();
    }
}

fn prepare(socket: &Socket) -> io::Result<()> {
    #[cfg(target_vendor = "apple")]
    socket.set_nosigpipe(true)?;
    socket.set_nonblocking(true)
}
