//! A reactor without a kernel: connections are queues in memory, time is handed in, and how much
//! arrives when is drawn from a seed.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::conn::{ConnId, Peer};
use crate::reactor::{Event, Incoming, Reactor, Time, Transport};
use crate::shared::Out;

/// One simulated connection, both ends of it.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// What the client sent and the server has not taken.
    pub(crate) to_server: VecDeque<u8>,
    /// What the server sent.
    pub(crate) to_client: Vec<u8>,
    /// The client sends no more.
    pub(crate) is_ended: bool,
    /// The client is gone.
    pub(crate) is_broken: bool,
    /// The server let go of it.
    pub(crate) is_closed: bool,
    /// The client takes what is sent.
    pub(crate) is_taking: bool,
}

/// What all simulated reactors share.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) pipes: Vec<Pipe>,
    /// Who connected and is not accepted yet, by listener.
    pub(crate) waiting: VecDeque<(u64, u16)>,
    pub(crate) now_ns: u64,
    pub(crate) random: u64,
    /// Most bytes of one receive.
    pub(crate) chunk: usize,
    /// Nothing is drawn: all that was sent arrives with the next turn.
    pub(crate) is_prompt: bool,
    /// Pairs of shards whose mail is held back: from, to.
    pub(crate) held: Vec<(usize, usize)>,
}

impl Network {
    /// The next random word.
    pub(crate) fn random(&mut self) -> u64 {
        // Xorshift64*: any seed but zero.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

#[derive(Debug)]
struct Socket {
    pipe: usize,
    conn: ConnId,
    is_reading: bool,
    sending: Option<Out>,
    is_end_told: bool,
}

#[derive(Debug)]
enum Happened {
    Accepted(u64, u16),
    Received(ConnId, Vec<u8>),
    Sent(ConnId, Out),
    Ended(ConnId),
    Broken(ConnId),
}

/// The simulated reactor of one shard.
#[derive(Debug)]
pub(crate) struct SimReactor {
    network: Rc<RefCell<Network>>,
    shard: usize,
    sockets: BTreeMap<u32, Socket>,
    next: u32,
    happened: VecDeque<Happened>,
    /// The bytes that the last event lent.
    lent: Vec<u8>,
    is_listening: bool,
    /// Wakes asked of other shards.
    pub(crate) wakes: u64,
}

impl SimReactor {
    pub(crate) fn new(network: Rc<RefCell<Network>>, shard: usize) -> Self {
        SimReactor {
            network,
            shard,
            sockets: BTreeMap::new(),
            next: 0,
            happened: VecDeque::new(),
            lent: Vec::new(),
            is_listening: true,
            wakes: 0,
        }
    }

    /// Whether it has the server's end of this connection.
    pub(crate) fn serves(&self, pipe: usize) -> bool {
        self.sockets.values().any(|socket| socket.pipe == pipe)
    }

    /// Sockets that were opened and not closed.
    pub(crate) fn open_sockets(&self) -> usize {
        self.sockets.len()
    }
}

impl Socket {
    /// What happens to it in this turn.
    fn poll(&mut self, network: &mut Network, happened: &mut VecDeque<Happened>) {
        let (word, chunk) = match network.is_prompt {
            true => (2, usize::MAX),
            false => (network.random(), 1 + network.random() as usize % network.chunk),
        };
        let pipe = &mut network.pipes[self.pipe];
        if pipe.is_broken {
            if !self.is_end_told {
                self.is_end_told = true;
                self.sending = None;
                happened.push_back(Happened::Broken(self.conn));
            }
            return;
        }
        if pipe.is_taking
            && word & 1 == 0
            && let Some(out) = self.sending.take()
        {
            out.pieces().for_each(|piece| pipe.to_client.extend_from_slice(piece));
            happened.push_back(Happened::Sent(self.conn, out));
        }
        if !self.is_reading || self.is_end_told || word & 2 == 0 {
            return;
        }
        if !pipe.to_server.is_empty() {
            let (first, second) = pipe.to_server.as_slices();
            let arrived: Vec<u8> = match chunk.checked_sub(first.len()) {
                None => first[..chunk].into(),
                Some(rest) => [first, &second[..rest.min(second.len())]].concat(),
            };
            pipe.to_server.drain(..arrived.len());
            happened.push_back(Happened::Received(self.conn, arrived));
        } else if pipe.is_ended {
            self.is_end_told = true;
            happened.push_back(Happened::Ended(self.conn));
        }
    }
}

impl Reactor for SimReactor {
    type Socket = u64;

    const NAME: &'static str = "sim";

    fn now(&self) -> Time {
        let now_ns = self.network.borrow().now_ns;
        Time { steady_ns: now_ns, unix_ms: now_ns / 1_000_000 }
    }

    fn turn(&mut self, _: Option<Duration>) -> io::Result<()> {
        let network = &mut *self.network.borrow_mut();
        if self.is_listening
            && let Some((client, listener)) = network.waiting.pop_front()
        {
            self.happened.push_back(Happened::Accepted(client, listener));
        }
        for socket in self.sockets.values_mut() {
            socket.poll(network, &mut self.happened);
        }
        Ok(())
    }

    fn next_event(&mut self) -> Option<Event<'_, u64>> {
        loop {
            // What a socket that was closed since had to tell is not told.
            let is_open = |conn: &ConnId| self.sockets.values().any(|s| s.conn == *conn);
            return Some(match self.happened.pop_front()? {
                Happened::Accepted(client, listener) => Event::Accepted(Incoming {
                    socket: client,
                    listener,
                    peer: Peer::Simulated(client),
                    local: Peer::Unix("sim".into()),
                }),
                Happened::Received(conn, bytes) if is_open(&conn) => {
                    self.lent = bytes;
                    Event::Received { conn, bytes: &self.lent }
                }
                Happened::Sent(conn, out) if is_open(&conn) => Event::Sent { conn, out },
                Happened::Ended(conn) if is_open(&conn) => Event::Ended { conn },
                Happened::Broken(conn) if is_open(&conn) => Event::Broken { conn },
                _ => continue,
            });
        }
    }

    fn is_ready(&self) -> bool {
        !self.happened.is_empty()
    }

    fn open(&mut self, socket: u64, conn: ConnId) -> Transport {
        let transport = self.next;
        self.next += 1;
        let socket = Socket {
            pipe: socket as usize,
            conn,
            is_reading: true,
            sending: None,
            is_end_told: false,
        };
        self.sockets.insert(transport, socket);
        Transport(transport)
    }

    fn descriptor(&self, _: Transport) -> i32 {
        -1
    }

    fn send(&mut self, transport: Transport, out: Out) {
        if let Some(socket) = self.sockets.get_mut(&transport.0) {
            assert!(socket.sending.is_none(), "one send at a time");
            socket.sending = Some(out);
        }
    }

    fn set_reading(&mut self, transport: Transport, reading: bool) {
        if let Some(socket) = self.sockets.get_mut(&transport.0) {
            socket.is_reading = reading;
        }
    }

    fn close(&mut self, transport: Transport) {
        if let Some(socket) = self.sockets.remove(&transport.0) {
            self.network.borrow_mut().pipes[socket.pipe].is_closed = true;
        }
    }

    fn set_accepting(&mut self, accepting: bool) {
        self.is_listening = accepting;
    }

    fn stop_listening(&mut self) {
        self.is_listening = false;
    }

    fn buffer_bytes(&self) -> usize {
        0
    }

    fn wake(&mut self, _: usize) {
        self.wakes += 1;
    }

    fn hears(&self, source: usize) -> bool {
        !self.network.borrow().held.contains(&(source, self.shard))
    }
}
