//! The reactor on io_uring: operations go to the kernel, completions come back.
//!
//! Accepts and receives are asked for once and complete many times. Received bytes lie in buffers
//! that the kernel picks and are lent to the shard from there. A send owns its output until the
//! kernel is through with all of it.
//!
//! A socket's descriptor is closed, and its place given to another, only when the kernel is at
//! nothing of it any more. Completions are told apart by place and generation all the same.

mod multishot;
mod probe;
mod rings;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use self::multishot::{Ask, End, Multishot};
use super::listener::{ACCEPT_PAUSE, Listener, concerns_one_connection};
use super::{Clock, Event, Incoming, Parts, Reactor, Time, Transport};
use crate::conn::ConnId;
use crate::runtime::Process;
use crate::shared::Out;
use crate::sys::uring::{Chunk, Completion, Ring, Setup, Whose};

pub(crate) use probe::find_setup;
pub(crate) use rings::Rings;

/// The io_uring reactor of one shard. It stays on the thread that made it.
pub(crate) struct UringReactor {
    ring: Ring,
    rings: Arc<Rings>,
    shard: usize,
    process: Arc<Process>,
    clock: Clock,
    acceptor: Acceptor,
    places: Vec<Place>,
    free: Vec<u32>,
    /// Sockets whose receive found no buffer.
    starved: Vec<Whose>,
    /// What the shard looks at. It goes back when the next event is asked for.
    lent: Option<Chunk>,
}

/// The listeners, and whether connections are taken from them.
struct Acceptor {
    listeners: Vec<Option<Accepting>>,
    keepalive: Option<Duration>,
    /// When to accept again after the system had no room for a connection.
    paused_until_ns: Option<u64>,
    is_stopped: bool,
}

struct Accepting {
    listener: Listener,
    accept: Multishot,
}

struct Place {
    whose: Whose,
    socket: Option<Socket>,
}

struct Socket {
    descriptor: OwnedFd,
    conn: ConnId,
    receive: Multishot,
    is_sending: bool,
    /// Broken or being closed: nothing more is told of it.
    is_silent: bool,
    is_closing: bool,
}

/// An event without what it lends.
enum Told {
    Accepted(Incoming<OwnedFd>),
    Received(ConnId, Chunk),
    Sent(ConnId, Out),
    Ended(ConnId),
    Broken(ConnId),
}

impl UringReactor {
    /// Makes the reactor of the shard whose thread this is.
    ///
    /// # Errors
    /// When the kernel refuses the ring.
    pub(crate) fn new(setup: Setup, rings: Arc<Rings>, parts: Parts) -> io::Result<Self> {
        let Parts { shard, listeners, keepalive, clock, process } = parts;
        let ring = Ring::new(setup)?;
        rings.set(shard, ring.descriptor());
        let accepting = |listener| Some(Accepting { listener, accept: Multishot::Off });
        let acceptor = Acceptor {
            listeners: listeners.into_iter().map(accepting).collect(),
            keepalive,
            paused_until_ns: None,
            is_stopped: false,
        };
        let mut reactor = UringReactor {
            ring,
            rings,
            shard,
            process,
            clock,
            acceptor,
            places: Vec::new(),
            free: Vec::new(),
            starved: Vec::new(),
            lent: None,
        };
        reactor.poll_waker();
        reactor.set_accepting(true);
        Ok(reactor)
    }

    fn poll_waker(&mut self) {
        if let Some(descriptor) = self.process.wakers[self.shard].descriptor() {
            self.ring.poll(descriptor);
        }
    }

    fn next_told(&mut self) -> Option<Told> {
        loop {
            let told = match self.ring.next()? {
                Completion::Received { whose, result, is_armed } => {
                    self.received(whose, result, is_armed)
                }
                Completion::Sent { whose, result } => self.sent(whose, result),
                Completion::Accepted { listener, result, is_armed } => {
                    self.accepted(listener, result, is_armed)
                }
                Completion::Polled { is_armed } => {
                    if !is_armed {
                        self.poll_waker();
                    }
                    None
                }
                Completion::Unreached { shard } => {
                    self.process.wakers[shard as usize].wake();
                    None
                }
            };
            if told.is_some() {
                return told;
            }
        }
    }

    fn received(
        &mut self,
        whose: Whose,
        result: io::Result<Option<Chunk>>,
        is_armed: bool,
    ) -> Option<Told> {
        let Some(socket) = socket_of(&mut self.places, whose) else {
            self.drop_chunk(result);
            return None;
        };
        if !is_armed {
            let end = end_of_receive(&result);
            if socket.receive.ended(end) == Ask::Arm {
                self.ring.receive(socket.descriptor.as_fd(), whose);
            } else if socket.receive == Multishot::Waiting {
                self.starved.push(whose);
            }
        }
        if socket.is_silent {
            self.drop_chunk(result);
            self.close_if_through(whose);
            return None;
        }
        match result {
            Ok(Some(chunk)) => Some(Told::Received(socket.conn, chunk)),
            Ok(None) => Some(Told::Ended(socket.conn)),
            Err(error) if is_pause(&error) || is_lack_of_buffers(&error) => None,
            Err(_) => Some(Told::Broken(self.fall_silent(whose))),
        }
    }

    fn drop_chunk(&mut self, result: io::Result<Option<Chunk>>) {
        if let Ok(Some(chunk)) = result {
            self.ring.give_back(chunk);
        }
    }

    fn sent(&mut self, whose: Whose, result: io::Result<Out>) -> Option<Told> {
        let socket = socket_of(&mut self.places, whose)?;
        socket.is_sending = false;
        if socket.is_silent {
            self.close_if_through(whose);
            return None;
        }
        match result {
            Ok(out) => Some(Told::Sent(socket.conn, out)),
            Err(_) => Some(Told::Broken(self.fall_silent(whose))),
        }
    }

    /// Ends what the kernel is at of a socket, and tells nothing more of it.
    fn fall_silent(&mut self, whose: Whose) -> ConnId {
        let socket = socket_of(&mut self.places, whose).expect("it is silenced while it is open");
        socket.is_silent = true;
        if socket.receive.want_no_more() == Ask::Cancel {
            self.ring.cancel_receive(whose);
        }
        if socket.is_sending {
            self.ring.cancel_send(whose);
        }
        socket.conn
    }

    fn close_if_through(&mut self, whose: Whose) {
        let place = &mut self.places[whose.index as usize];
        let is_through = |socket: &mut Socket| {
            socket.is_closing && !socket.is_sending && !socket.receive.is_under_way()
        };
        if place.socket.take_if(is_through).is_some() {
            place.whose = whose.next();
            self.free.push(whose.index);
        }
    }

    /// Asks again for the receives that found no buffer, once there are some: one came back since,
    /// or all completions were told, so that none is out. (That a receive found none may be told
    /// long after that buffer came back.) All of them are asked for: some may have nothing to
    /// receive, and would keep the others from it.
    fn feed_starved(&mut self) {
        if self.starved.is_empty() {
            return;
        }
        let has_returned = self.ring.take_returned();
        if !has_returned && self.ring.has_completions() {
            return;
        }
        for whose in std::mem::take(&mut self.starved) {
            if let Some(socket) = socket_of(&mut self.places, whose)
                && socket.receive.retry() == Ask::Arm
            {
                self.ring.receive(socket.descriptor.as_fd(), whose);
            }
        }
    }

    fn accepted(
        &mut self,
        listener: u32,
        result: io::Result<OwnedFd>,
        is_armed: bool,
    ) -> Option<Told> {
        let place = &mut self.acceptor.listeners[listener as usize];
        let accepting = place.as_mut().expect("a listener outlives its accept");
        if !is_armed {
            let end = end_of_accept(&result, self.acceptor.is_stopped);
            if accepting.accept.ended(end) == Ask::Arm {
                self.ring.accept(accepting.listener.socket.as_fd(), listener);
            } else if accepting.accept == Multishot::Waiting {
                self.acceptor.paused_until_ns =
                    Some(self.clock.now().steady_ns + ACCEPT_PAUSE.as_nanos() as u64);
            }
        }
        if self.acceptor.is_stopped {
            place.take_if(|accepting| !accepting.accept.is_under_way());
            return None;
        }
        match result {
            Ok(socket) => {
                accepting.listener.incoming(socket, self.acceptor.keepalive).map(Told::Accepted)
            }
            Err(error) => {
                if accepting.accept == Multishot::Waiting {
                    tracing::warn!(%error, "can't accept connections, trying again shortly");
                }
                None
            }
        }
    }

    /// Accepts again if the pause is over; else shortens `wait` to its end.
    fn end_accept_pause(&mut self, wait: Option<Duration>) -> Option<Duration> {
        let Some(until_ns) = self.acceptor.paused_until_ns else { return wait };
        let left_ns = until_ns.saturating_sub(self.clock.now().steady_ns);
        if left_ns > 0 {
            return wait.map(|wait| wait.min(Duration::from_nanos(left_ns)));
        }
        self.acceptor.paused_until_ns = None;
        self.ask_listeners(Multishot::retry);
        wait
    }

    fn ask_listeners(&mut self, what: fn(&mut Multishot) -> Ask) {
        for (listener, place) in self.acceptor.listeners.iter_mut().enumerate() {
            let Some(accepting) = place else { continue };
            match what(&mut accepting.accept) {
                Ask::Arm => {
                    self.ring.accept(accepting.listener.socket.as_fd(), listener as u32);
                }
                Ask::Cancel => self.ring.cancel_accept(listener as u32),
                Ask::Nothing => {}
            }
        }
    }

    fn take_back_lent(&mut self) {
        if let Some(chunk) = self.lent.take() {
            self.ring.give_back(chunk);
        }
    }
}

impl Reactor for UringReactor {
    type Socket = OwnedFd;

    const NAME: &'static str = "io_uring";

    fn now(&self) -> Time {
        self.clock.now()
    }

    fn turn(&mut self, wait: Option<Duration>) -> io::Result<()> {
        self.take_back_lent();
        self.feed_starved();
        let wait = self.end_accept_pause(wait);
        self.ring.enter(wait)
    }

    #[inline]
    fn next_event(&mut self) -> Option<Event<'_, OwnedFd>> {
        self.take_back_lent();
        Some(match self.next_told()? {
            Told::Received(conn, chunk) => {
                let bytes = self.ring.bytes(self.lent.insert(chunk));
                Event::Received { conn, bytes }
            }
            Told::Sent(conn, out) => Event::Sent { conn, out },
            Told::Accepted(incoming) => Event::Accepted(incoming),
            Told::Ended(conn) => Event::Ended { conn },
            Told::Broken(conn) => Event::Broken { conn },
        })
    }

    #[inline]
    fn is_ready(&self) -> bool {
        self.ring.is_ready()
    }

    fn open(&mut self, socket: OwnedFd, conn: ConnId) -> Transport {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = self.places.len() as u32;
            self.places.push(Place { whose: Whose { index, generation: 0 }, socket: None });
            index
        });
        let place = &mut self.places[index as usize];
        let socket = place.socket.insert(Socket {
            descriptor: socket,
            conn,
            receive: Multishot::Armed,
            is_sending: false,
            is_silent: false,
            is_closing: false,
        });
        self.ring.receive(socket.descriptor.as_fd(), place.whose);
        Transport(index)
    }

    fn descriptor(&self, transport: Transport) -> i32 {
        let socket = self.places[transport.0 as usize].socket.as_ref();
        socket.map_or(-1, |socket| socket.descriptor.as_raw_fd())
    }

    #[inline]
    fn send(&mut self, transport: Transport, out: Out) {
        let (socket, whose) = open_socket(&mut self.places, transport);
        if !socket.is_silent {
            socket.is_sending = true;
            self.ring.send(socket.descriptor.as_fd(), whose, out);
        }
    }

    fn set_reading(&mut self, transport: Transport, reading: bool) {
        let (socket, whose) = open_socket(&mut self.places, transport);
        if socket.is_silent {
            return;
        }
        match if reading { socket.receive.want() } else { socket.receive.want_no_more() } {
            Ask::Arm => self.ring.receive(socket.descriptor.as_fd(), whose),
            Ask::Cancel => self.ring.cancel_receive(whose),
            Ask::Nothing => {}
        }
    }

    fn close(&mut self, transport: Transport) {
        let (socket, whose) = open_socket(&mut self.places, transport);
        socket.is_closing = true;
        if !socket.is_silent {
            self.fall_silent(whose);
        }
        self.close_if_through(whose);
    }

    fn set_accepting(&mut self, accepting: bool) {
        if !self.acceptor.is_stopped {
            self.ask_listeners(if accepting { Multishot::want } else { Multishot::want_no_more });
        }
    }

    fn stop_listening(&mut self) {
        self.set_accepting(false);
        self.acceptor.is_stopped = true;
        self.acceptor.paused_until_ns = None;
        for place in &mut self.acceptor.listeners {
            place.take_if(|accepting| !accepting.accept.is_under_way());
        }
    }

    fn buffer_bytes(&self) -> usize {
        self.ring.buffer_bytes()
    }

    fn wake(&mut self, shard: usize) {
        match self.rings.get(shard) {
            Some(ring) => self.ring.message(ring, shard as u32),
            None => self.process.wakers[shard].wake(),
        }
    }
}

impl Drop for UringReactor {
    fn drop(&mut self) {
        self.rings.clear(self.shard);
    }
}

/// The socket that `transport` means, and which it is.
#[inline]
fn open_socket(places: &mut [Place], transport: Transport) -> (&mut Socket, Whose) {
    let place = &mut places[transport.0 as usize];
    let socket = place.socket.as_mut().filter(|socket| !socket.is_closing);
    (socket.expect("a transport is used until it is closed"), place.whose)
}

/// The socket of a completion, unless it is gone.
#[inline]
fn socket_of(places: &mut [Place], whose: Whose) -> Option<&mut Socket> {
    let place = &mut places[whose.index as usize];
    place.socket.as_mut().filter(|_| place.whose == whose)
}

fn end_of_receive(result: &io::Result<Option<Chunk>>) -> End {
    match result {
        Ok(Some(_)) => End::Pause,
        Ok(None) => End::Over,
        Err(error) if is_pause(error) => End::Pause,
        Err(error) if is_lack_of_buffers(error) => End::Lack,
        Err(_) => End::Over,
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::EINTR | libc::EAGAIN))
}

fn is_lack_of_buffers(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS)
}

fn end_of_accept(result: &io::Result<OwnedFd>, is_stopped: bool) -> End {
    match result {
        _ if is_stopped => End::Over,
        Ok(_) => End::Pause,
        Err(error) if is_pause(error) || concerns_one_connection(error) => End::Pause,
        Err(_) => End::Lack,
    }
}
