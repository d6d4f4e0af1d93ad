//! Transactions on a shard: as the coordinator of its connections' and as an owner of others' keys.
//! How they work, and why, says [`crate::tx`].
//!
//! Entries become ready, and hops come home, only by mail or when a request runs with its
//! connection in the table: [`Engine::advance`] then goes on with all that can.

//!
//! - [`owner`]: entries and hops on the shard that has the keys.
//! - [`coordinator`]: schedules, orders, answers.
//! - [`tasks`]: handlers over several shards at work.
//! - [`start`], [`requests`]: from a connection's request to a transaction.

mod coordinator;
mod owner;
mod requests;
mod start;
mod tasks;

use std::rc::Rc;

use smallvec::SmallVec;

use crate::commands::Commands;
use crate::conn::ConnId;
use crate::shard::batch::{Call, Item};
use crate::shard::run::Engine;
use crate::shared::Out;
use crate::tx::entries::{EntryId, Intents};
use crate::tx::hop::Hop;
use crate::tx::queue::{Queue, Watching};
use crate::tx::stamp::Stamp;
use crate::tx::task::{Hub, Task};
use crate::tx::watch::WatchId;

pub(super) use start::parts_of;
pub(crate) use tasks::refusal_of;

/// A transaction asks an owner for its place in the order.
pub(crate) struct Schedule<S: 'static> {
    coordinator: u16,
    tx: u32,
    visit: u16,
    /// What it wants; `None` if that is what its hop's request names.
    intents: Option<Box<Intents>>,
    /// Whether every other owner is scheduled: then this one's stamp is the order.
    is_last_owner: bool,
    hop: Option<Hop<S>>,
}

impl<S> Schedule<S> {
    /// The keys of its hop, by hash, and their scope. It runs now or within a round trip.
    pub(crate) fn keys(&self) -> (&[u64], u64) {
        self.hop.as_ref().map_or((&[], 0), Hop::keys)
    }
}

/// Whose an entry is.
enum Held {
    /// A transaction's, at one of its owners.
    Visit { coordinator: u16, tx: u32, visit: u16 },
    /// A request's that had to wait.
    Request { coordinator: u16, conn: ConnId, number: u64, bytes: usize },
}

/// What an entry runs, and for whom.
struct Waiting<S: 'static> {
    held: Held,
    /// In the order in which they came; mostly one.
    hops: SmallVec<[Hop<S>; 1]>,
    /// The stamp that its coordinator wasn't told.
    untold: Option<Stamp>,
}

/// A transaction at one of its owners.
struct Visit {
    owner: u16,
    /// Its entry there, once it is known.
    entry: Option<EntryId>,
    /// Whether the owner fixed it by itself.
    is_last_owner: bool,
    /// Bytes of the arguments of its first hop, which are open with it.
    bytes: usize,
}

/// How a transaction goes on when a hop comes home.
enum Kind {
    /// Each brings a part of the reply.
    Gather,
    Task(Box<TaskState>),
}

struct TaskState {
    task: Option<Task>,
    /// The reply, once the task is through.
    reply: Option<Out>,
    /// Hops that are with their owners.
    open: usize,
    /// What it watched, to be dropped at its end.
    watching: Option<Watching>,
    /// The watch that it begins.
    begins: Option<WatchId>,
    /// The requests that it runs.
    queue: Option<Queue>,
}

/// A transaction under way, on its coordinator.
struct Transaction<S: 'static> {
    conn: ConnId,
    /// Its number in the connection's reply queue.
    number: u64,
    call: Call<S>,
    visits: SmallVec<[Visit; 4]>,
    /// Owners whose stamps are to come.
    unscheduled: usize,
    order: Stamp,
    is_refused: bool,
    /// Owners that it isn't through with.
    open: usize,
    hub: Option<Rc<Hub<S>>>,
    kind: Kind,
}

/// Both sides' tables.
pub(crate) struct Transactions<S: 'static> {
    /// By number; what this shard coordinates.
    running: Vec<Option<Transaction<S>>>,
    free: Vec<u32>,
    /// Tasks that something came home for.
    runnable: Vec<u32>,
    /// By entry: what this shard runs as an owner.
    waiting: Vec<Option<Waiting<S>>>,
    /// How many entries there are: nothing else is looked at while there is none.
    pub(super) entries: usize,
    next_watch: u64,
}

impl<S> Default for Transactions<S> {
    fn default() -> Self {
        Transactions {
            running: Vec::new(),
            free: Vec::new(),
            runnable: Vec::new(),
            waiting: Vec::new(),
            entries: 0,
            next_watch: 0,
        }
    }
}

impl<S> Transactions<S> {
    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.entries == 0 && self.running.len() == self.free.len()
    }
}

/// A new transaction's errand to one owner.
struct Errand<S: 'static> {
    owner: u16,
    /// What it wants; `None` if that is what its hop's request names.
    intents: Option<Intents>,
    hop: Option<Hop<S>>,
}

impl<C: Commands, Socket: Send + 'static> Engine<C, Socket> {
    /// Takes in what another shard has to say of a transaction, and goes on with what that lets go
    /// on.
    pub(in crate::shard) fn take_item(&mut self, source: usize, item: Item<C::Store, Socket>) {
        match item {
            Item::Fix { entry, order } => self.fix_entry(entry, order),
            Item::Hop { entry, hop } => self.add_hop(entry, hop),
            Item::End { entry } => self.end_entry(entry),
            Item::Unwatch(watch) => self.server.changes.unwatch(watch),
            Item::Marked(watch) => self.note_mark(watch),
            Item::Scheduled { tx, visit, entry, stamp, is_refused } => {
                self.scheduled((tx, visit), entry, stamp, is_refused);
            }
            Item::Ran { tx, visit, hop, scheduled } => {
                if let Some((stamp, entry)) = scheduled {
                    self.scheduled((tx, visit), entry, stamp, false);
                }
                self.hop_is_home(tx, visit, hop);
            }
            Item::Late { conn, number, reply, bytes } => {
                self.outbox.close(source, bytes);
                self.late_reply(conn, number, &reply);
            }
            _ => return,
        }
        self.advance();
    }
}
