//! A reactor under test, with a record of what it told; and the other sides of its sockets.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{SockRef, Socket};

use super::Subject;
use crate::commands::{Commands, OpenError, Place, Port, Store};
use crate::conn::ConnId;
use crate::hash::KeyHasher;
use crate::offload::PoolSize;
use crate::reactor::{Clock, Event, Incoming, Listener, Parts, Reactor, Transport};
use crate::runtime::Process;
use crate::shared::Out;

/// How long anything may take before it counts as not happening.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// How long a turn sleeps that waits for another thread as well.
const MOMENT: Duration = Duration::from_millis(10);

/// What a reactor told of one connection.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) received: Vec<u8>,
    pub(super) sent: usize,
    pub(super) sends: usize,
    pub(super) ends: usize,
    pub(super) breaks: usize,
}

impl Record {
    /// Events other than sends.
    pub(super) fn is_empty(&self) -> bool {
        self.received.is_empty() && self.ends + self.breaks + self.sends == 0
    }
}

pub(super) struct Bench<S: Subject> {
    pub(super) reactor: S::Reactor,
    pub(super) process: Arc<Process>,
    /// By connection, in the order in which they were opened.
    pub(super) records: Vec<Record>,
    pub(super) accepted: Vec<Incoming<OwnedFd>>,
    /// How long a turn sleeps, if it does.
    pub(super) sleep: Option<Duration>,
}

impl<S: Subject> Bench<S> {
    /// A reactor alone, with nobody listening.
    pub(super) fn new() -> Self {
        Bench::listening(Vec::new())
    }

    pub(super) fn listening(listeners: Vec<Listener>) -> Self {
        let subject = S::new(1).expect("the test was to run");
        Bench::of_shard(&subject, process::<S>(1), 0, listeners)
    }

    pub(super) fn of_shard(
        subject: &S,
        process: Arc<Process>,
        shard: usize,
        listeners: Vec<Listener>,
    ) -> Self {
        let keepalive = Some(Duration::from_secs(300));
        let clock = Clock::start();
        let parts = Parts { shard, listeners, keepalive, clock, process: process.clone() };
        let reactor = subject.make(parts).unwrap();
        Bench { reactor, process, records: Vec::new(), accepted: Vec::new(), sleep: Some(MOMENT) }
    }

    /// Takes a socket in. Its connection's slot is its number here.
    pub(super) fn open(&mut self, socket: impl Into<OwnedFd>) -> (usize, Transport) {
        let conn = self.records.len();
        self.records.push(Record::default());
        let id = ConnId { slot: conn as u32, generation: 7 };
        (conn, self.reactor.open(socket.into(), id))
    }

    /// A pair of Unix sockets, one of them taken in.
    pub(super) fn pair(&mut self) -> (usize, Transport, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        far.set_read_timeout(Some(PATIENCE)).unwrap();
        let (conn, transport) = self.open(near);
        (conn, transport, far)
    }

    /// A TCP connection, one side taken in.
    pub(super) fn tcp_pair(&mut self) -> (usize, Transport, TcpStream) {
        let (near, far) = tcp_pair();
        let (conn, transport) = self.open(near);
        (conn, transport, far)
    }

    /// Records the next event. False if there is none.
    pub(super) fn take_event(&mut self) -> bool {
        let record = |conn: ConnId| {
            assert_eq!(conn.generation, 7);
            conn.slot as usize
        };
        match self.reactor.next_event() {
            Some(Event::Accepted(incoming)) => self.accepted.push(incoming),
            Some(Event::Received { conn, bytes }) => {
                assert!(!bytes.is_empty());
                self.records[record(conn)].received.extend_from_slice(bytes);
            }
            Some(Event::Sent { conn, out }) => {
                let record = &mut self.records[record(conn)];
                record.sends += 1;
                record.sent += out.len();
            }
            Some(Event::Ended { conn }) => self.records[record(conn)].ends += 1,
            Some(Event::Broken { conn }) => self.records[record(conn)].breaks += 1,
            None => return false,
        }
        true
    }

    /// Turns until `is_done` says so.
    pub(super) fn run_until(&mut self, what: &str, mut is_done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_done(self) {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            self.reactor.turn(self.sleep).unwrap();
            while self.take_event() {}
        }
    }

    /// Turns until all that was asked for before has had its effect: what a connection of its own
    /// sends comes back twice.
    pub(super) fn settle(&mut self) {
        for _ in 0..2 {
            let (conn, transport, far) = self.pair();
            write(&far, b"through");
            self.run_until("a round trip", |bench| bench.records[conn].received == b"through");
            self.reactor.send(transport, out(b"through"));
            self.run_until("a round trip", |bench| bench.records[conn].sends == 1);
            self.reactor.close(transport);
        }
    }
}

pub(super) fn process<S: Subject>(shards: usize) -> Arc<Process> {
    let wakers = (0..shards).map(|_| S::waker()).collect();
    let pool = PoolSize { threads: 0, queue: 0 };
    Arc::new(Process::new::<NoServer>(0, Vec::new(), wakers, shards, pool))
}

pub(super) fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    (listener.accept().unwrap().0, far)
}

/// A listener of a reactor, and its address.
pub(super) fn tcp_listener() -> (Listener, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (Listener { socket: Socket::from(listener), number: 3, path: None }, address)
}

pub(super) fn out(bytes: &[u8]) -> Out {
    let mut out = Out::default();
    out.extend(bytes);
    out
}

/// Writes all of a little.
pub(super) fn write(mut far: impl io::Write, bytes: &[u8]) {
    far.write_all(bytes).unwrap();
}

/// Reads as much as `expected`, which it has to be.
pub(super) fn expect(mut far: impl io::Read, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    far.read_exact(&mut bytes).unwrap();
    assert!(bytes == expected, "other bytes came than were sent");
}

/// Bytes whose period fits no buffer; each `seed` gives others.
pub(super) fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| ((at + seed * 31) % 251) as u8).collect()
}

/// Makes a socket take few bytes at a time.
pub(super) fn set_small_buffer(socket: &impl AsFd) {
    SockRef::from(socket).set_send_buffer_size(16 << 10).unwrap();
}

/// So that a process can be made.
struct NoServer;

struct NoStore;

impl Store for NoStore {
    type Settings = ();

    fn open((): &(), _: Place, _: &KeyHasher) -> Result<Self, OpenError> {
        Ok(NoStore)
    }
}

impl Commands for NoServer {
    type Store = NoStore;

    fn ports() -> &'static [Port<NoStore>] {
        &[]
    }
}
