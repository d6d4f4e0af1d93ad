//! A connection: its input, its session, the replies it is owed; and the table of all of a shard's.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::commands::{CommandInfo, Session, SessionState};
use crate::input::Input;
use crate::kept::Kept;
use crate::reactor::Transport;
use crate::reply_queue::ReplyQueue;
use crate::shared::Out;
use crate::tx::queue::{Queue, Watching};

/// A connection of a shard: a place in its table, and which of the connections that had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// A connection of any shard, to be told something or closed from elsewhere.
///
/// It may be kept and sent to other shards. Once the connection is gone it names nobody, whoever
/// connects next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnHandle {
    pub(crate) shard: u16,
    pub(crate) id: ConnId,
}

/// When to close a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// When all that it is owed by now was sent, the reply to the present request included.
    AfterReplies,
    /// At once, whatever it is owed.
    Now,
}

impl From<Close> for Closing {
    fn from(close: Close) -> Self {
        match close {
            Close::AfterReplies => Closing::AfterFlush,
            Close::Now => Closing::Now,
        }
    }
}

/// The other side of a connection, or this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(PathBuf),
    /// A simulated client.
    Simulated(u64),
}

impl Peer {
    /// Whether it is on this machine.
    pub fn is_local(&self) -> bool {
        match self {
            Peer::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Peer::Unix(_) | Peer::Simulated(_) => true,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => write!(f, "{address}"),
            Peer::Unix(path) => write!(f, "{}:0", path.display()),
            Peer::Simulated(number) => write!(f, "simulated:{number}"),
        }
    }
}

/// What is known of a connection apart from its session.
#[derive(Clone, Debug)]
pub struct ConnFacts {
    /// Its number, which no other connection of this process has had.
    pub id: u64,
    /// Who connected.
    pub peer: Peer,
    /// To which address of this machine.
    pub local: Peer,
    /// The descriptor's number, or -1.
    pub descriptor: i32,
    /// When, in milliseconds since the Unix epoch.
    pub opened_ms: u64,
    pub(crate) last_ms: Cell<u64>,
    pub(crate) last_command: Cell<Option<&'static CommandInfo>>,
    pub(crate) handle: ConnHandle,
    pub(crate) closing: Cell<Closing>,
}

impl ConnFacts {
    /// When it last sent something, in milliseconds since the Unix epoch.
    pub fn last_ms(&self) -> u64 {
        self.last_ms.get()
    }

    /// What names it on other shards, and later.
    pub fn handle(&self) -> ConnHandle {
        self.handle
    }

    pub(crate) fn close(&self, how: Closing) {
        self.closing.set(self.closing.get().max(how));
    }

    /// The command that it ran last.
    pub fn last_command(&self) -> Option<&'static CommandInfo> {
        self.last_command.get()
    }
}

/// A connection as other connections' commands may see it.
#[derive(Clone, Copy)]
pub struct ConnView<'a> {
    /// What is known of it.
    pub facts: &'a ConnFacts,
    /// Its session, to be downcast to the type that its port has.
    pub session: &'a dyn Any,
    /// Bytes received and not yet parsed to whole requests.
    pub input_bytes: usize,
    /// Room of the input buffers beyond these.
    pub input_room: usize,
    /// Bytes of replies that wait to be sent.
    pub output_bytes: usize,
    /// Requests whose replies are still open.
    pub open_requests: usize,
    /// Requests that are queued to run as one; `None` if none are being queued.
    pub queued: Option<usize>,
    /// Bytes of memory that these take.
    pub queued_bytes: usize,
    /// Whether a key that it watches was changed, as far as its owner has told.
    pub is_watch_marked: bool,
    /// Keys that it watches.
    pub watched_keys: usize,
    /// Bytes of memory in all.
    pub memory: usize,
}

/// What is known of a connection's transaction while its order isn't.
#[derive(Debug)]
pub(crate) struct Unfixed {
    /// Its number on the coordinator.
    pub(crate) tx: u32,
    /// The keys that it wants, by hash, and a filter before them.
    hashes: Vec<u64>,
    filter: [u64; 4],
    /// It wants everything.
    pub(crate) is_whole: bool,
    pub(crate) holds: Holds,
}

/// Which later requests of a connection wait for its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Those that share a key, for its order.
    Order,
    /// The same; and those about the queue until it is through, as it begins a watch.
    Queue,
    /// All, until it is through, as it changes the session.
    All,
}

impl Unfixed {
    pub(crate) fn new(tx: u32, hashes: Vec<u64>, is_whole: bool, holds: Holds) -> Self {
        let mut filter = [0; 4];
        for hash in &hashes {
            filter[*hash as usize % 4] |= 1 << (hash >> 2 & 63);
        }
        Unfixed { tx, hashes, filter, is_whole, holds }
    }

    /// Its order is known: whether it holds some requests on.
    pub(crate) fn stays(&mut self) -> bool {
        if self.holds == Holds::Queue {
            // The same keys' requests come behind it by now.
            (self.filter, self.is_whole) = ([0; 4], false);
        }
        self.holds != Holds::Order
    }

    /// Whether it wants one of these keys.
    pub(crate) fn wants(&self, hashes: &[u64]) -> bool {
        let may_want = |hash: u64| self.filter[hash as usize % 4] & 1 << (hash >> 2 & 63) != 0;
        self.is_whole || hashes.iter().any(|hash| may_want(*hash) && self.hashes.contains(hash))
    }
}

/// How far a connection is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Closing {
    /// It isn't.
    No,
    /// The last request that it will run was taken: nothing behind it is read, and it is closed once
    /// that one is through.
    AfterRequest,
    /// No further request is run; it is closed when all that it is owed was sent.
    AfterFlush,
    /// At once.
    Now,
}

/// Why a connection's requests wait while whole ones may lie in its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stall {
    /// They don't.
    No,
    /// This shard has too many open requests there.
    Credits(u16),
    /// Its replies are not taken.
    Output,
    /// A command that must run alone waits for the earlier requests' replies.
    Barrier,
    /// A transaction of its own has no order yet, the one of this number, and what is next has to
    /// come behind it.
    Order(u32),
    /// The turn has had enough requests: it goes on in the next one.
    Turn,
    /// What is next runs with the connection in the table: as soon as it is there again.
    Table,
}

/// One connection. Its shard lends it to the stages of a turn.
pub(crate) struct Conn {
    pub(crate) id: ConnId,
    pub(crate) transport: Transport,
    pub(crate) port: u16,
    pub(crate) facts: ConnFacts,
    pub(crate) session: Box<dyn Session>,
    /// What `session` said when it was last asked.
    pub(crate) state: SessionState,
    pub(crate) input: Input,
    pub(crate) queue: ReplyQueue,
    pub(crate) out: Out,
    /// Messages that wait for the end of the reply that is leaving in pieces.
    pub(crate) messages: Option<Box<Out>>,
    /// Bytes handed to the reactor and not yet reported sent; zero when no send is in flight.
    pub(crate) sending_bytes: usize,
    pub(crate) is_sending: bool,
    /// Its replies wait until then for those that other shards owe.
    pub(crate) deferred_until_ns: Option<u64>,
    pub(crate) is_reading: bool,
    /// Nothing more comes, or nothing more is to be read: it is closed when it is through.
    pub(crate) is_ended: bool,
    /// Whether it is on the list of those with something to send or to decide.
    pub(crate) is_dirty: bool,
    pub(crate) stall: Stall,
    /// Whether it is on the list of those who wait for credits.
    pub(crate) awaits_credit: bool,
    /// Whether something has to be looked at before each request: the three below, or that the
    /// session is restricted.
    pub(crate) is_special: bool,
    /// Its transactions whose orders aren't known yet.
    pub(crate) unfixed: Vec<Unfixed>,
    /// The requests that it queues to run as one.
    pub(crate) queued: Option<Box<Queue>>,
    /// How many of its queues are running. They may change its session and have it known to
    /// requests of theirs, so it stays in the table until they are through, whoever has left.
    pub(crate) running_queues: u32,
    /// The keys that it watches.
    pub(crate) watching: Option<Box<Watching>>,
    /// The request that it waits with.
    pub(crate) kept: Option<Box<Kept>>,
    /// What this shard's total counts for it.
    pub(crate) counted_memory: usize,
}

impl Conn {
    /// Bytes of replies that wait here or in the reactor.
    #[inline]
    pub(crate) fn output_bytes(&self) -> usize {
        self.out.len() + self.sending_bytes + self.queue.held_bytes()
    }

    /// Bytes of messages that wait for the end of a reply.
    pub(crate) fn message_bytes(&self) -> usize {
        self.messages.as_ref().map_or(0, |messages| messages.len())
    }

    /// Bytes of memory that it holds beside itself.
    pub(crate) fn held_memory(&self) -> usize {
        let queued = self.queued.as_ref().map_or(0, |queue| queue.bytes);
        let watched = self.watching.as_ref().map_or(0, |watching| watching.bytes);
        self.input.memory() + self.output_bytes() + self.message_bytes() + queued + watched
    }

    /// Bytes of memory that it holds.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Conn>() + self.held_memory()
    }

    /// Finds out anew whether its requests need a second look.
    pub(crate) fn attend(&mut self) {
        self.is_special =
            self.state.restricted || self.queued.is_some() || !self.unfixed.is_empty();
    }

    /// Whether it is owed nothing.
    pub(crate) fn is_settled(&self) -> bool {
        self.queue.is_empty() && self.out.is_empty() && !self.is_sending
    }

    /// Whether a request that was taken may run.
    #[inline]
    pub(crate) fn may_run(&self) -> bool {
        self.closing() <= Closing::AfterRequest
    }

    /// How far it is on its way out.
    #[inline]
    pub(crate) fn closing(&self) -> Closing {
        self.facts.closing.get()
    }

    pub(crate) fn close(&mut self, how: Closing) {
        self.facts.close(how);
    }

    /// Where a message is written that belongs to no request: never within a reply.
    pub(crate) fn message_output(&mut self) -> &mut Out {
        if self.queue.is_within_stream() {
            self.messages.get_or_insert_default()
        } else {
            &mut self.out
        }
    }

    /// Lets messages leave that waited for the end of a reply.
    pub(crate) fn release_messages(&mut self) {
        if self.messages.is_some()
            && !self.queue.is_within_stream()
            && let Some(messages) = self.messages.take()
        {
            self.out.append(&messages);
        }
    }

    pub(crate) fn view(&self) -> ConnView<'_> {
        let session: &dyn Any = &*self.session;
        ConnView {
            facts: &self.facts,
            session,
            input_bytes: self.input.len(),
            input_room: self.input.memory().saturating_sub(self.input.len()),
            output_bytes: self.output_bytes(),
            open_requests: self.queue.len(),
            queued: self.queued.as_ref().map(|queue| queue.requests.len()),
            queued_bytes: self.queued.as_ref().map_or(0, |queue| queue.bytes),
            is_watch_marked: self.watching.as_ref().is_some_and(|watching| watching.is_marked),
            watched_keys: self.watching.as_ref().map_or(0, |watching| {
                watching.keys.iter().map(|(.., keys)| keys.args().len()).sum()
            }),
            memory: self.memory(),
        }
    }
}

#[derive(Default)]
struct Place {
    generation: u32,
    conn: Option<Box<Conn>>,
}

/// All connections of a shard. One that is lent out keeps its place.
#[derive(Default)]
pub(crate) struct ConnTable {
    places: Vec<Place>,
    free: Vec<u32>,
    len: usize,
}

impl ConnTable {
    /// Takes a place for a connection that [`ConnTable::give_back`] fills.
    pub(crate) fn reserve(&mut self) -> ConnId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() as u32 - 1
        });
        self.len += 1;
        ConnId { slot, generation: self.places[slot as usize].generation }
    }

    /// Lends the connection, if it is still the one that `id` means.
    #[inline]
    pub(crate) fn lend(&mut self, id: ConnId) -> Option<Box<Conn>> {
        let place = self.places.get_mut(id.slot as usize)?;
        if place.generation == id.generation { place.conn.take() } else { None }
    }

    /// Puts a lent connection back.
    #[inline]
    pub(crate) fn give_back(&mut self, conn: Box<Conn>) {
        let place = &mut self.places[conn.id.slot as usize];
        debug_assert!(place.generation == conn.id.generation && place.conn.is_none());
        place.conn = Some(conn);
    }

    /// Frees the place of a connection that was lent and is gone.
    pub(crate) fn free(&mut self, id: ConnId) {
        let place = &mut self.places[id.slot as usize];
        debug_assert!(place.generation == id.generation && place.conn.is_none());
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.slot);
        self.len -= 1;
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        let place = self.places.get_mut(id.slot as usize)?;
        if place.generation == id.generation { place.conn.as_deref_mut() } else { None }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn for_each(&self, mut see: impl FnMut(&Conn)) {
        self.places.iter().filter_map(|place| place.conn.as_deref()).for_each(&mut see);
    }

    pub(crate) fn ids(&self) -> Vec<ConnId> {
        let mut ids = Vec::with_capacity(self.len);
        self.for_each(|conn| ids.push(conn.id));
        ids
    }
}
