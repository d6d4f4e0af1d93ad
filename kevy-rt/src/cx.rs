//! What a handler may ask of the runtime: the time, randomness, its connection, its shard.
//!
//! [`Server`] is one per shard and knows no protocol. What concerns all shards is asked of each of
//! them by a command of route `all, loose`, so nothing here is locked.

use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::commands::{CommandInfo, Place};
use crate::conn::{Close, ConnFacts, ConnHandle, ConnTable, ConnView};
use crate::errands::{Errands, Message};
use crate::hash::{GOLDEN, mixed};
use crate::limits::Limits;
use crate::metrics::own::Registry;
use crate::metrics::{CommandStats, Counter, Durations, Metrics, Own};
use crate::runtime::Process;
use crate::timers::Timers;
use crate::tx::entries::Entries;
use crate::tx::fault::{self, Fault};
use crate::tx::watch::Changes;
use crate::wire::Wire;

/// Who sent a request, and whether its reply may come later.
#[derive(Clone, Copy)]
pub(crate) enum Caller<'a> {
    /// No connection, or one that isn't known here.
    Nobody,
    /// A connection of this shard, whose reply queue has a place for the reply.
    Here(&'a ConnFacts),
    /// A connection of another shard, which waits for the reply.
    There(ConnHandle),
    /// A connection of this shard; the reply is wanted at once.
    Within(&'a ConnFacts),
}

impl<'a> From<Option<&'a ConnFacts>> for Caller<'a> {
    fn from(conn: Option<&'a ConnFacts>) -> Self {
        conn.map_or(Caller::Nobody, Caller::Within)
    }
}

/// The surroundings of one request.
#[derive(Clone, Copy)]
pub struct Cx<'a> {
    pub(crate) now_ms: u64,
    pub(crate) scope: u64,
    pub(crate) server: &'a Server,
    pub(crate) caller: Caller<'a>,
}

impl<'a> Cx<'a> {
    /// The time of this turn, in milliseconds since the Unix epoch. It never goes back, whatever
    /// the system's clock does.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The wire's word about the connection.
    #[inline]
    pub fn scope(&self) -> u64 {
        self.scope
    }

    /// A random word. Not for secrets.
    pub fn random(&self) -> u64 {
        self.server.random()
    }

    /// Who sent the request. `None` where it runs for a connection of another shard.
    #[inline]
    pub fn conn(&self) -> Option<&'a ConnFacts> {
        match self.caller {
            Caller::Here(conn) | Caller::Within(conn) => Some(conn),
            Caller::There(_) | Caller::Nobody => None,
        }
    }

    /// The connection that sent the request, whichever shard it is on: to be told something later.
    /// `None` in a part of a request for several shards that runs for another one, and where
    /// there is no request.
    pub fn caller(&self) -> Option<ConnHandle> {
        match self.caller {
            Caller::Here(conn) | Caller::Within(conn) => Some(conn.handle()),
            Caller::There(handle) => Some(handle),
            Caller::Nobody => None,
        }
    }

    /// Closes the connection that sent the request. Nothing that it sent behind this request is
    /// run any more, but what is under way already. Does nothing where there is no
    /// [`Cx::caller`].
    pub fn close(&self, when: Close) {
        // At once for a connection that is being served; one that isn't finds the errand.
        if let Some(conn) = self.conn() {
            conn.close(when.into());
        }
        if let Some(caller) = self.caller() {
            self.server.close(caller, when);
        }
    }

    /// Whether the reply may come after the handler has returned.
    #[inline]
    pub(crate) fn may_come_later(&self) -> bool {
        matches!(self.caller, Caller::Here(_) | Caller::There(_))
    }

    /// This shard's metrics of the type `M`, which [`metrics!`](crate::metrics!) declared.
    #[inline]
    pub fn own<M: Own>(&self) -> &'a M {
        self.server.own.get()
    }

    /// This shard.
    #[inline]
    pub fn server(&self) -> &'a Server {
        self.server
    }
}

/// What one shard sent another.
#[derive(Debug, Default)]
pub struct Sent {
    /// Batches, answers not counted.
    pub batches: Counter,
    /// Requests, and the like, that were in them.
    pub items: Counter,
}

/// One shard, as handlers see it.
pub struct Server {
    pub(crate) place: Place,
    pub(crate) process: Arc<Process>,
    pub(crate) conns: RefCell<ConnTable>,
    pub(crate) limits: Cell<Limits>,
    pub(crate) metrics: Metrics,
    pub(crate) stats: Vec<CommandStats>,
    /// How long requests took, of a sample.
    pub(crate) latency: Durations,
    /// What was sent to each shard.
    pub(crate) sent: Vec<Sent>,
    /// The metrics of sets.
    pub(crate) own: Registry,
    pub(crate) random: Cell<u64>,
    /// What is wanted of this shard's keys.
    pub(crate) entries: RefCell<Entries>,
    /// The watched keys that changed.
    pub(crate) changes: Changes,
    /// What is to be done with connections once the present request is through.
    pub(crate) errands: RefCell<Errands>,
    /// What runs later.
    pub(crate) timers: RefCell<Timers>,
    /// The types of the stores of this server and its sets.
    pub(crate) parts: Vec<TypeId>,
    /// Handed in by a simulation; the system's is read otherwise.
    pub(crate) wall_clock: Cell<Option<Duration>>,
    /// The reactor that was chosen.
    pub(crate) reactor: &'static str,
}

impl Server {
    /// A shard's view of the runtime, before its first connection.
    pub(crate) fn new(
        place: Place,
        process: Arc<Process>,
        limits: Limits,
        seed: u64,
        reactor: &'static str,
    ) -> Self {
        Server {
            place,
            conns: RefCell::new(ConnTable::default()),
            limits: Cell::new(limits),
            metrics: Metrics::default(),
            stats: process.commands.iter().map(|_| Default::default()).collect(),
            latency: Durations::default(),
            sent: (0..place.shards).map(|_| Sent::default()).collect(),
            own: Registry::default(),
            random: Cell::new(seed),
            entries: RefCell::default(),
            changes: Changes::default(),
            errands: RefCell::default(),
            timers: RefCell::default(),
            parts: Vec::new(),
            wall_clock: Cell::new(None),
            reactor,
            process,
        }
    }

    /// Which shard this is, of how many.
    pub fn place(&self) -> Place {
        self.place
    }

    /// What all shards share: start time, listeners, the way to stop.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The name of the reactor that was chosen at start.
    pub fn reactor(&self) -> &'static str {
        self.reactor
    }

    /// The limits that hold on this shard.
    pub fn limits(&self) -> Limits {
        self.limits.get()
    }

    /// Whether a transaction under way, or a request that waits for one, wants the key of this hash:
    /// then a store doesn't remove it because its time is over. They may run at an earlier time, and
    /// find all keys as they were by then.
    #[inline]
    pub fn is_claimed(&self, hash: u64) -> bool {
        let entries = self.entries.borrow();
        entries.len() > 0 && entries.is_claimed(hash) && !fault::is_on(Fault::TakeClaimed)
    }

    /// Whether a transaction that wants the key of this hash has begun on this shard: then a store
    /// doesn't remove it to make room, as what the transaction has found still has to be so. Before
    /// it begins a removal is a change like any other.
    #[inline]
    pub fn is_held(&self, hash: u64) -> bool {
        let entries = self.entries.borrow();
        entries.len() > 0 && entries.is_held(hash) && !fault::is_on(Fault::TakeClaimed)
    }

    /// How many transactions, and requests that wait for them, have a place in this shard's order.
    pub fn open_entries(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Where this shard's store tells of changes.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Changes this shard's limits; a command of route `all, loose` changes all.
    pub fn set_limits(&self, limits: Limits) {
        self.limits.set(limits);
    }

    /// This shard's counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How long this shard's requests took, from their arrival until their replies were sent, of a
    /// sample of them.
    pub fn latency(&self) -> &Durations {
        &self.latency
    }

    /// What this shard sent another one.
    pub fn sent_to(&self, shard: usize) -> &Sent {
        &self.sent[shard]
    }

    /// Every command of every port with its counters on this shard.
    pub fn commands(&self) -> impl Iterator<Item = (&'static CommandInfo, &CommandStats)> {
        self.commands_by_port().map(|(_, command, stats)| (command, stats))
    }

    /// The same with the port's name before each.
    pub fn commands_by_port(
        &self,
    ) -> impl Iterator<Item = (&'static str, &'static CommandInfo, &CommandStats)> {
        let commands = self.process.commands.iter().zip(&self.stats);
        commands.map(|(served, stats)| (served.port, served.info, stats))
    }

    /// Every command of the ports that speak `W`.
    pub fn commands_over<W: Wire>(
        &self,
    ) -> impl Iterator<Item = (&'static CommandInfo, &CommandStats)> {
        let commands = self.process.commands.iter().zip(&self.stats);
        let commands = commands.filter(|(served, _)| served.wire == TypeId::of::<W>());
        commands.map(|(served, stats)| (served.info, stats))
    }

    /// Calls `see` with each connection of this shard, as of the last turn.
    pub fn for_each_conn(&self, mut see: impl FnMut(ConnView<'_>)) {
        self.conns.borrow().for_each(|conn| see(conn.view()));
    }

    /// How many connections this shard has.
    pub fn conn_count(&self) -> usize {
        self.conns.borrow().len()
    }

    /// Closes a connection of any shard, once the present request is through.
    pub fn close(&self, whom: ConnHandle, when: Close) {
        self.errands.borrow_mut().close(whom, when.into());
    }

    /// Tells a connection of any shard something that it didn't ask for, once the present request
    /// is through: behind the replies that are done by then, never within one. What one shard
    /// tells a connection arrives in order. A connection that is gone, or speaks another wire, is
    /// told nothing; one that doesn't read is closed past [`Limits::output_hard_bytes`].
    ///
    /// False if too much waits on this shard to be told: then it isn't.
    pub fn push(&self, whom: ConnHandle, message: &Message) -> bool {
        self.errands.borrow_mut().tell(whom, message.clone())
    }

    /// The system's wall clock, which may jump: time since the Unix epoch.
    pub fn wall_clock(&self) -> Duration {
        let system = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.wall_clock.get().unwrap_or_else(system)
    }

    pub(crate) fn random(&self) -> u64 {
        // Splitmix64: every seed is good.
        let state = self.random.get().wrapping_add(GOLDEN);
        self.random.set(state);
        mixed(state)
    }
}
