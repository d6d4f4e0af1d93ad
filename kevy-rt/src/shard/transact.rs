//! Transactions on a shard: as the coordinator of its connections' and as an owner of others' keys.
//! How they work, and why, says [`crate::tx`].
//!
//! Entries become ready, and hops come home, only by mail or when a request runs with its
//! connection in the table: [`Engine::advance`] then goes on with all that can.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::commands::{CommandInfo, Commands, Port, QueueVerb, Queueing, Route, Run, Store};
use crate::conn::{Conn, ConnId, Stall, Unfixed};
use crate::cx::Cx;
use crate::gather::{PartOut, Plan as PartPlan};
use crate::kept::Kept;
use crate::shard::batch::{Call, Item};
use crate::shard::plan::{Known, Plan, Planned, Where};
use crate::shard::run::{Engine, Ran, answer, survive_panic, take_muted};
use crate::shared::{Mark, Out};
use crate::tx::entries::{Access, EntryId, Intents};
use crate::tx::fault::{self, Fault};
use crate::tx::hop::{Hop, Work};
use crate::tx::queue::{self, Queue, Step, Watching};
use crate::tx::stamp::Stamp;
use crate::tx::task::{Ask, Hub, Task, TxStart};
use crate::tx::watch::WatchId;
use crate::wire::{Outcome, Refusal};
use crate::{Args, args::Key};

/// A transaction asks an owner for its place in the order.
pub(crate) struct Schedule<S: 'static> {
    coordinator: u16,
    tx: u32,
    visit: u16,
    intents: Intents,
    /// Whether every other owner is scheduled: then this one's stamp is the order.
    is_last_owner: bool,
    hop: Option<Hop<S>>,
}

/// Whose an entry is.
enum Held {
    /// A transaction's, at one of its owners.
    Visit { coordinator: u16, tx: u32, visit: u16 },
    /// A request's that had to wait.
    Request { coordinator: u16, conn: ConnId, number: u64 },
}

/// What an entry runs, and for whom.
struct Waiting<S: 'static> {
    held: Held,
    hops: VecDeque<Hop<S>>,
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
    /// Whether anything of it has run.
    has_run: bool,
    /// What it watched, to be dropped at its end.
    watching: Option<Watching>,
    /// The requests that it runs.
    queue: Option<Queue>,
}

/// A transaction under way, on its coordinator.
struct Transaction<S: 'static> {
    conn: ConnId,
    /// Its number in the connection's reply queue.
    number: u64,
    call: Call<S>,
    visits: Vec<Visit>,
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
    intents: Intents,
    hop: Option<Hop<S>>,
}

// The owner.
impl<C: Commands, Socket: Send + 'static> Engine<C, Socket> {
    /// What a request of one shard wants there.
    fn intents(call: Call<C::Store>, args: Args<'_>) -> Intents {
        let access = Access::of(call.command.info.write);
        match call.command.info.route {
            Route::All { .. } | Route::At(_) => Intents::Whole(access),
            _ => Intents::keys(args.hashes().iter().copied(), access),
        }
    }

    /// Whether a request that would run here has to wait for entries.
    #[cold]
    pub(super) fn must_wait(&self, call: Call<C::Store>, args: Args<'_>) -> bool {
        let info = &call.command.info;
        let entries = self.server.entries.borrow();
        match info.route {
            Route::Local | Route::Session | Route::All { loose: true } => false,
            Route::All { .. } | Route::At(_) => {
                entries.conflict_with(&Intents::Whole(Access::of(info.write)))
            }
            _ => entries.conflict(args.hashes(), Access::of(info.write)),
        }
    }

    /// Makes an entry of a request that has to wait.
    #[cold]
    pub(super) fn defer(
        &mut self,
        call: Call<C::Store>,
        args: Args<'_>,
        (coordinator, conn, number): (u16, ConnId, u64),
    ) {
        self.server.metrics.deferred.add(1);
        let stamp = self.server.process.stamps.take(self.now_ms);
        let stamp = if fault::is_on(Fault::OldDeferral) { Stamp::default() } else { stamp };
        let args_kept = Kept::new(args);
        let reply = Out::default();
        let work = Work::Whole { call, args: args_kept, reply, is_admitted: false };
        let held = Held::Request { coordinator, conn, number };
        self.add_entry(stamp, Self::intents(call, args), true, held, Some(Hop::last(work)));
    }

    fn add_entry(
        &mut self,
        stamp: Stamp,
        intents: Intents,
        is_fixed: bool,
        held: Held,
        hop: Option<Hop<C::Store>>,
    ) -> EntryId {
        let mut entries = self.server.entries.borrow_mut();
        let is_released = fault::is_on(Fault::EarlyRelease);
        let intents = if is_released { Intents::Keys(Vec::new()) } else { intents };
        let entry = entries.insert(stamp, intents, is_fixed);
        if hop.is_some() {
            entries.add_hop(entry);
        }
        drop(entries);
        let tx = &mut self.transactions;
        tx.entries += 1;
        if tx.waiting.len() <= entry.0 as usize {
            tx.waiting.resize_with(entry.0 as usize + 1, || None);
        }
        let hops = hop.into_iter().collect();
        tx.waiting[entry.0 as usize] = Some(Waiting { held, hops, untold: None });
        entry
    }

    fn remove_entry(&mut self, entry: EntryId) {
        self.server.entries.borrow_mut().remove(entry);
        if let Some(waiting) = self.transactions.waiting.get_mut(entry.0 as usize) {
            self.transactions.entries -= usize::from(waiting.take().is_some());
        }
    }

    /// A transaction wants its place; answers what goes home in the schedule's stead.
    pub(super) fn schedule(&mut self, schedule: Schedule<C::Store>) -> Item<C::Store, Socket> {
        let Schedule { coordinator, tx, visit, intents, is_last_owner, hop } = schedule;
        if hop.as_ref().is_some_and(|hop| !self.admits_hop(hop)) {
            let stamp = Stamp::default();
            return Item::Scheduled { tx, visit, entry: None, stamp, is_refused: true };
        }
        let stamp = self.server.process.stamps.take(self.now_ms);
        let is_free = !self.server.entries.borrow().conflict_with(&intents);
        if let Some(hop) = hop {
            if is_last_owner && is_free && hop.is_last {
                self.server.metrics.one_round.add(1);
                let hop = self.run_hop(hop, stamp);
                return Item::Ran { tx, visit, hop, scheduled: Some((stamp, None)) };
            }
            let held = Held::Visit { coordinator, tx, visit };
            let entry = self.add_entry(stamp, intents, is_last_owner, held, Some(hop));
            if is_last_owner && fault::is_on(Fault::NoEarlyAnswer) {
                let waiting = self.transactions.waiting[entry.0 as usize].as_mut();
                waiting.expect("it was added").untold = Some(stamp);
                return Item::Done;
            }
            if is_last_owner && is_free {
                self.server.metrics.one_round.add(1);
                let hop = self.take_hop(entry).expect("it came along");
                let hop = self.run_hop(hop, stamp);
                return Item::Ran { tx, visit, hop, scheduled: Some((stamp, Some(entry))) };
            }
            if is_last_owner {
                self.server.metrics.early_answers.add(1);
            }
            return Item::Scheduled { tx, visit, entry: Some(entry), stamp, is_refused: false };
        }
        let held = Held::Visit { coordinator, tx, visit };
        let entry = Some(self.add_entry(stamp, intents, is_last_owner, held, None));
        Item::Scheduled { tx, visit, entry, stamp, is_refused: false }
    }

    /// Whether this shard's store has room for what a hop may write.
    fn admits_hop(&mut self, hop: &Hop<C::Store>) -> bool {
        hop.works.iter().all(|(_, work)| match work {
            Work::Part { call, args, .. } => self.admits(*call, None, args.args()),
            _ => true,
        })
    }

    /// A transaction's order is known.
    pub(super) fn fix_entry(&mut self, entry: EntryId, order: Stamp) {
        let mut entries = self.server.entries.borrow_mut();
        if entries.stamp(entry) != order {
            self.server.metrics.moved_entries.add(1);
        }
        entries.fix(entry, order);
    }

    /// A further hop came for an entry.
    pub(super) fn add_hop(&mut self, entry: EntryId, hop: Hop<C::Store>) {
        let waiting = self.transactions.waiting[entry.0 as usize].as_mut();
        waiting.expect("an entry stays until its last hop").hops.push_back(hop);
        self.server.entries.borrow_mut().add_hop(entry);
    }

    /// A transaction is through here.
    pub(super) fn end_entry(&mut self, entry: EntryId) {
        self.remove_entry(entry);
    }

    fn take_hop(&mut self, entry: EntryId) -> Option<Hop<C::Store>> {
        self.server.entries.borrow_mut().take_hop(entry);
        self.transactions.waiting[entry.0 as usize].as_mut()?.hops.pop_front()
    }

    /// Goes on with everything that can: entries whose turn has come, tasks whose hops came home.
    pub(super) fn advance(&mut self) {
        loop {
            let ready = match self.transactions.entries {
                0 => None,
                _ => self.server.entries.borrow_mut().next_ready(),
            };
            if let Some(entry) = ready {
                self.run_entry(entry);
            } else if let Some(tx) = self.transactions.runnable.pop() {
                self.run_task(tx);
            } else {
                return;
            }
        }
    }

    /// Runs an entry's next hop and sends its answer. The last one removes the entry in the same
    /// step.
    fn run_entry(&mut self, entry: EntryId) {
        let stamp = self.server.entries.borrow().stamp(entry);
        let Some(hop) = self.take_hop(entry) else { return };
        let hop = self.run_hop(hop, stamp);
        let Some(waiting) = &mut self.transactions.waiting[entry.0 as usize] else { return };
        let me = self.server.place.shard as u16;
        let untold = waiting.untold.take();
        if fault::is_on(Fault::ReleaseAfterFirstHop) && !hop.is_last {
            self.server.entries.borrow_mut().disclaim(entry);
        }
        match waiting.held {
            Held::Visit { coordinator, tx, visit } => {
                let is_last = hop.is_last;
                if is_last {
                    self.remove_entry(entry);
                }
                let scheduled = untold.map(|stamp| (stamp, (!is_last).then_some(entry)));
                if coordinator == me {
                    self.hop_is_home(tx, visit, hop);
                } else {
                    let ran = Item::Ran { tx, visit, hop, scheduled };
                    self.outbox.push_free(coordinator as usize, ran);
                }
            }
            Held::Request { coordinator, conn, number } => {
                self.remove_entry(entry);
                let Some((_, Work::Whole { reply, .. })) = hop.works.into_iter().next() else {
                    return;
                };
                if coordinator == me {
                    self.late_reply(conn, number, &reply);
                } else {
                    let late = Item::Late { conn, number, reply: Box::new(reply) };
                    self.outbox.push_free(coordinator as usize, late);
                }
            }
        }
    }

    /// Runs a hop at the time of its stamp.
    fn run_hop(&mut self, mut hop: Hop<C::Store>, stamp: Stamp) -> Hop<C::Store> {
        let turn_ms = self.now_ms;
        let now_ms = if fault::is_on(Fault::OwnTime) { turn_ms } else { stamp.now_ms() };
        self.set_now(now_ms);
        for (_, work) in &mut hop.works {
            let run = std::mem::replace(work, Work::Panicked);
            *work = self.run_work(run);
        }
        // Whoever comes behind it sees no earlier time.
        self.set_now(turn_ms.max(now_ms));
        hop
    }

    fn set_now(&mut self, now_ms: u64) {
        if now_ms != self.now_ms {
            self.now_ms = now_ms;
            self.store.begin(now_ms);
        }
    }

    fn run_work(&mut self, work: Work<C::Store>) -> Work<C::Store> {
        self.server.metrics.hops.add(1);
        match work {
            Work::Part { call, args, part, mut answer } => {
                self.run_admitted_part(call, None, args.args(), &mut answer);
                Work::Part { call, args, part, answer }
            }
            Work::Whole { call, args, mut reply, is_admitted } => {
                self.run_kept(call, &args, &mut reply, is_admitted);
                Work::Whole { call, args, reply, is_admitted }
            }
            Work::Closure { scope, command, project, mut job } => {
                let ran = catch_unwind(AssertUnwindSafe(|| {
                    let cx = Cx { now_ms: self.now_ms, scope, server: &self.server, conn: None };
                    job.run(project(&mut self.store, &cx));
                }));
                if ran.is_err() {
                    survive_panic(command);
                    return Work::Panicked;
                }
                Work::Closure { scope, command, project, job }
            }
            Work::Watch { watch, scope, keys } => {
                self.each_settled(scope, &keys, |engine, key| {
                    engine.server.changes.watch(watch, C::Store::space(scope), key);
                });
                Work::Watch { watch, scope, keys }
            }
            Work::Check { watch, scope, keys, .. } => {
                self.each_settled(scope, &keys, |_, _| {});
                let is_marked = self.server.changes.is_marked(watch);
                Work::Check { watch, scope, keys, is_marked }
            }
            Work::Panicked => Work::Panicked,
        }
    }

    /// Brings keys up to date, each before `see` is called with it.
    fn each_settled(&mut self, scope: u64, keys: &Kept, mut see: impl FnMut(&mut Self, Key<'_>)) {
        let args = keys.args();
        for (index, &hash) in args.hashes().iter().enumerate() {
            let key = Key::new(args.get(index).unwrap_or_default(), hash);
            let cx = Cx { now_ms: self.now_ms, scope, server: &self.server, conn: None };
            self.store.settle(&cx, key);
            see(self, key);
        }
    }

    /// Runs a request that was kept, wherever its connection is.
    fn run_kept(&mut self, call: Call<C::Store>, args: &Kept, reply: &mut Out, is_admitted: bool) {
        let (Run::One(run) | Run::Gather { whole: run, .. }) = call.command.run else {
            unreachable!("only requests of owners are kept for them")
        };
        let guarded = AssertUnwindSafe(|| {
            if is_admitted {
                self.run_admitted(call, run, None, args.args(), reply);
            } else {
                self.run_whole(call, run, None, args.args(), reply);
            }
        });
        if catch_unwind(guarded).is_err() {
            survive_panic(&call.command.info);
            reply.clear();
            (self.ports[call.port as usize].refuse)(Refusal::Panicked, call.scope, reply);
        }
    }
}

// Mail about transactions.
impl<C: Commands, Socket: Send + 'static> Engine<C, Socket> {
    /// Takes in what another shard has to say of a transaction, and goes on with what that lets go
    /// on.
    pub(super) fn take_item(&mut self, source: usize, item: Item<C::Store, Socket>) {
        match item {
            Item::Fix { entry, order } => self.fix_entry(entry, order),
            Item::Hop { entry, hop } => self.add_hop(entry, hop),
            Item::End { entry } => self.end_entry(entry),
            Item::Unwatch(watch) => self.server.changes.unwatch(watch),
            Item::Scheduled { tx, visit, entry, stamp, is_refused } => {
                self.scheduled((tx, visit), entry, stamp, is_refused);
            }
            Item::Ran { tx, visit, hop, scheduled } => {
                if let Some((stamp, entry)) = scheduled {
                    self.scheduled((tx, visit), entry, stamp, false);
                }
                self.hop_is_home(tx, visit, hop);
            }
            Item::Late { conn, number, reply } => {
                self.outbox.close_visit(source);
                self.late_reply(conn, number, &reply);
            }
            _ => return,
        }
        self.advance();
    }
}

// The coordinator.
impl<C: Commands, Socket: Send + 'static> Engine<C, Socket> {
    /// Starts a transaction: takes its place on this shard, and asks for one on the others.
    fn open(&mut self, transaction: Transaction<C::Store>, errands: Vec<Errand<C::Store>>) -> u32 {
        self.server.metrics.transactions.add(1);
        let me = self.server.place.shard as u16;
        let others = errands.iter().filter(|errand| errand.owner != me).count();
        let number = self.transactions.free.pop().unwrap_or_else(|| {
            self.transactions.running.push(None);
            self.transactions.running.len() as u32 - 1
        });
        let mut transaction =
            Transaction { unscheduled: others, open: errands.len(), ..transaction };
        // The own place first: then the only other owner's stamp is the larger one.
        let (own, rest): (Vec<_>, Vec<_>) =
            errands.into_iter().enumerate().partition(|(_, errand)| errand.owner == me);
        transaction.visits.extend((0..own.len() + rest.len()).map(|_| Visit {
            owner: me,
            entry: None,
            is_last_owner: false,
        }));
        for (visit, errand) in own {
            let stamp = self.server.process.stamps.take(self.now_ms);
            transaction.order = stamp;
            let held = Held::Visit { coordinator: me, tx: number, visit: visit as u16 };
            let is_fixed = others == 0 || (others == 1 && fault::is_on(Fault::OwnFirst));
            let entry = self.add_entry(stamp, errand.intents, is_fixed, held, errand.hop);
            transaction.visits[visit].entry = Some(entry);
        }
        for (visit, errand) in rest {
            let Errand { owner, intents, hop } = errand;
            let is_last_owner = others == 1;
            transaction.visits[visit].owner = owner;
            transaction.visits[visit].is_last_owner = is_last_owner;
            let (tx, visit) = (number, visit as u16);
            let schedule = Schedule { coordinator: me, tx, visit, intents, is_last_owner, hop };
            self.outbox.open_visit(owner as usize, Item::Schedule(Some(Box::new(schedule))));
        }
        self.transactions.running[number as usize] = Some(transaction);
        number
    }

    fn running(&mut self, tx: u32) -> &mut Transaction<C::Store> {
        self.transactions.running[tx as usize].as_mut().expect("a transaction runs to its end")
    }

    /// An owner has answered its stamp, or that its store has no room.
    pub(super) fn scheduled(
        &mut self,
        (tx, visit): (u32, u16),
        entry: Option<EntryId>,
        stamp: Stamp,
        is_refused: bool,
    ) {
        let transaction = self.running(tx);
        transaction.visits[visit as usize].entry = entry;
        transaction.order =
            if fault::is_on(Fault::SmallestStamp) && transaction.order != Stamp::default() {
                transaction.order.min(stamp)
            } else {
                transaction.order.max(stamp)
            };
        transaction.is_refused |= is_refused;
        transaction.unscheduled -= 1;
        if fault::is_on(Fault::FixEarly)
            && let Some(entry) = entry
        {
            let visit = &mut transaction.visits[visit as usize];
            if !visit.is_last_owner {
                visit.is_last_owner = true;
                let owner = visit.owner as usize;
                self.outbox.push_free(owner, Item::Fix { entry, order: stamp });
            }
        }
        let transaction = self.running(tx);
        if transaction.unscheduled > 0 {
            return;
        }
        if transaction.is_refused {
            return self.call_off(tx);
        }
        self.fix(tx);
    }

    /// All owners have answered: the largest stamp is the order.
    fn fix(&mut self, tx: u32) {
        let me = self.server.place.shard as u16;
        let transaction = self.transactions.running[tx as usize].as_mut().expect("it runs");
        let (order, conn) = (transaction.order, transaction.conn);
        let visits = transaction.visits.iter().filter(|visit| !visit.is_last_owner);
        let fixes: Vec<(u16, EntryId)> =
            visits.filter_map(|visit| Some((visit.owner, visit.entry?))).collect();
        for (owner, entry) in fixes {
            if owner == me {
                self.fix_entry(entry, order);
            } else {
                self.outbox.push_free(owner as usize, Item::Fix { entry, order });
            }
        }
        self.order_is_known(conn, tx, false);
    }

    /// Lets a connection go on whose transaction has its order, or `is_done`.
    fn order_is_known(&mut self, id: ConnId, tx: u32, is_done: bool) {
        let mut conns = self.server.conns.borrow_mut();
        let Some(conn) = conns.get_mut(id) else { return };
        let is_its = |unfixed: &Unfixed| unfixed.tx == tx && (is_done || !unfixed.until_done);
        if conn.unfixed.as_deref().is_some_and(is_its) {
            conn.unfixed = None;
            conn.attend();
            self.touched.push(id);
        }
    }

    /// An owner's store has no room: nothing has run, and nothing will.
    fn call_off(&mut self, tx: u32) {
        let Some(transaction) = self.transactions.running[tx as usize].take() else { return };
        self.transactions.free.push(tx);
        self.release_visits(&transaction.visits);
        let Transaction { conn: id, number, call, kind, .. } = transaction;
        let lent = self.server.conns.borrow_mut().lend(id);
        if let Some(mut conn) = lent {
            match kind {
                Kind::Gather => {
                    let parts = conn.queue.gathering(number).map_or(0, |gather| gather.parts.len());
                    for part in 0..parts {
                        let mut refused = PartOut::default();
                        refused.refuse(Refusal::NoRoom);
                        self.finish_part(&mut conn, number, part, refused);
                    }
                }
                Kind::Task(_) => {
                    let mut reply = Out::default();
                    self.refuse_room(call, &mut reply);
                    self.finish_reply(&mut conn, number, &reply);
                }
            }
            self.touched.push(id);
            self.server.conns.borrow_mut().give_back(conn);
        }
        self.order_is_known(id, tx, true);
    }

    /// Ends a transaction at all its owners.
    fn release_visits(&mut self, visits: &[Visit]) {
        let me = self.server.place.shard as u16;
        for visit in visits {
            if visit.owner != me {
                self.outbox.close_visit(visit.owner as usize);
            }
            let Some(entry) = visit.entry else { continue };
            if visit.owner == me {
                self.end_entry(entry);
            } else {
                self.outbox.push_free(visit.owner as usize, Item::End { entry });
            }
        }
    }

    /// A hop has run and is home.
    pub(super) fn hop_is_home(&mut self, tx: u32, visit: u16, hop: Hop<C::Store>) {
        let me = self.server.place.shard as u16;
        let transaction = self.running(tx);
        let (conn, number) = (transaction.conn, transaction.number);
        let owner = transaction.visits[visit as usize].owner;
        match &mut transaction.kind {
            Kind::Gather => {
                transaction.open -= 1;
                if transaction.open == 0 {
                    self.transactions.running[tx as usize] = None;
                    self.transactions.free.push(tx);
                }
                if owner != me {
                    self.outbox.close_visit(owner as usize);
                }
                let lent = self.server.conns.borrow_mut().lend(conn);
                let Some(mut conn) = lent else { return };
                for (_, work) in hop.works {
                    if let Work::Part { part, answer, .. } = work {
                        self.finish_part(&mut conn, number, part as usize, answer);
                    }
                }
                self.touched.push(conn.id);
                self.server.conns.borrow_mut().give_back(conn);
            }
            Kind::Task(state) => {
                state.open -= 1;
                state.has_run = true;
                let hub = transaction.hub.clone().expect("a task has a hub");
                hop.works.into_iter().for_each(|(number, work)| hub.answer(number, work));
                self.transactions.runnable.push(tx);
            }
        }
    }

    /// The reply of a request that had to wait on its owner.
    pub(super) fn late_reply(&mut self, id: ConnId, number: u64, reply: &Out) {
        let lent = self.server.conns.borrow_mut().lend(id);
        let Some(mut conn) = lent else { return };
        self.finish_reply(&mut conn, number, reply);
        self.touched.push(id);
        self.server.conns.borrow_mut().give_back(conn);
    }

    fn finish_reply(&mut self, conn: &mut Conn, number: u64, reply: &Out) {
        self.lend_output(conn);
        conn.queue.finish(number, reply, (Mark::default(), reply.mark()), &mut conn.out);
    }

    /// Sends a request's parts to all their owners as one transaction. The parts' arguments come
    /// by owner.
    pub(super) fn gather(
        &mut self,
        conn: &mut Conn,
        call: Call<C::Store>,
        plan: PartPlan,
        parts: Vec<(u16, Kept)>,
    ) {
        let number = self.open_gather(conn, call, parts.len());
        if let Some(gather) = conn.queue.gathering(number) {
            gather.plan = plan;
        }
        let mut hashes = Vec::new();
        let errands = parts.into_iter().enumerate().map(|(part, (owner, args))| {
            let intents = Self::intents(call, args.args());
            hashes.extend_from_slice(args.args().hashes());
            let work = Work::Part { call, args, part: part as u16, answer: PartOut::default() };
            Errand { owner, intents, hop: Some(Hop::last(work)) }
        });
        let errands: Vec<_> = errands.collect();
        let is_whole = errands.iter().any(|errand| matches!(errand.intents, Intents::Whole(_)));
        let me = self.server.place.shard as u16;
        let mut own_is_refused = false;
        for errand in errands.iter().filter(|errand| errand.owner == me) {
            own_is_refused |= errand.hop.as_ref().is_some_and(|hop| !self.admits_hop(hop));
        }
        if own_is_refused {
            for part in 0..errands.len() {
                let mut refused = PartOut::default();
                refused.refuse(Refusal::NoRoom);
                self.finish_part(conn, number, part, refused);
            }
            return;
        }
        let transaction = self.transaction(conn.id, number, call, Kind::Gather, None);
        let tx = self.open(transaction, errands);
        conn.unfixed = Some(Box::new(Unfixed { tx, hashes, is_whole, until_done: false }));
        conn.attend();
    }

    fn transaction(
        &self,
        conn: ConnId,
        number: u64,
        call: Call<C::Store>,
        kind: Kind,
        hub: Option<Rc<Hub<C::Store>>>,
    ) -> Transaction<C::Store> {
        Transaction {
            conn,
            number,
            call,
            visits: Vec::new(),
            unscheduled: 0,
            order: Stamp::default(),
            is_refused: false,
            open: 0,
            hub,
            kind,
        }
    }

    /// Starts a task with its connection in the table.
    ///
    /// Its first hops travel with the schedules. One whose keys are all here and free runs to its
    /// end at once: nothing can come between.
    fn start_task(&mut self, id: ConnId, call: Call<C::Store>, start: StartTask<C::Store>) {
        let StartTask { hub, task, intents, watching, queue, until_done } = start;
        let number = {
            let mut conns = self.server.conns.borrow_mut();
            let Some(conn) = conns.get_mut(id) else { return };
            let muted = take_muted(&mut conn.state);
            conn.queue.wait(muted)
        };
        let me = self.server.place.shard as u16;
        let entries = &self.server.entries;
        let is_alone = intents.iter().all(|(owner, intents)| {
            *owner == me
                && (self.transactions.entries == 0 || !entries.borrow().conflict_with(intents))
        });
        let state =
            TaskState { task: Some(task), reply: None, open: 0, has_run: false, watching, queue };
        let kind = Kind::Task(Box::new(state));
        let mut transaction = self.transaction(id, number, call, kind, Some(hub));
        let mut first_hops = Vec::new();
        let is_through = self.poll(&mut transaction, |engine, asks| {
            if is_alone {
                return engine.run_alone(asks);
            }
            first_hops = asks;
            Vec::new()
        });
        if is_through && first_hops.is_empty() {
            return self.finish_task(transaction, None);
        }
        let mut by_owner = group(first_hops);
        let hashes = intents.iter().flat_map(|(_, intents)| match intents {
            Intents::Keys(keys) => keys.iter().map(|key| key.0).collect(),
            Intents::Whole(_) => Vec::new(),
        });
        let hashes: Vec<u64> = hashes.collect();
        let is_whole = intents.iter().any(|(_, intents)| matches!(intents, Intents::Whole(_)));
        let errands: Vec<Errand<C::Store>> = intents
            .into_iter()
            .map(|(owner, intents)| {
                let at = by_owner.iter().position(|(other, _)| *other == owner);
                let hop = at.map(|at| by_owner.swap_remove(at).1);
                Errand { owner, intents, hop }
            })
            .collect();
        let Kind::Task(state) = &mut transaction.kind else { return };
        state.open = errands.iter().filter(|errand| errand.hop.is_some()).count();
        let others = errands.iter().any(|errand| errand.owner != me);
        let tx = self.open(transaction, errands);
        if others || until_done {
            let mut conns = self.server.conns.borrow_mut();
            if let Some(conn) = conns.get_mut(id) {
                conn.unfixed = Some(Box::new(Unfixed { tx, hashes, is_whole, until_done }));
                conn.attend();
            }
        }
    }

    /// Polls a task; its asks for hops are given to `send`, which answers those that are done at
    /// once. Whether it is through.
    fn poll(
        &mut self,
        transaction: &mut Transaction<C::Store>,
        mut send: impl FnMut(&mut Self, Vec<(u16, u32, Work<C::Store>)>) -> Vec<(u32, Work<C::Store>)>,
    ) -> bool {
        let (conn, call) = (transaction.conn, transaction.call);
        let Some(hub) = transaction.hub.clone() else { return true };
        loop {
            let Kind::Task(state) = &mut transaction.kind else { return true };
            let Some(task) = &mut state.task else { return true };
            let mut context = Context::from_waker(Waker::noop());
            let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut context)));
            match polled {
                Ok(Poll::Ready(reply)) => {
                    state.reply = Some(reply);
                    state.task = None;
                }
                Ok(Poll::Pending) => {}
                Err(_) => {
                    if state.has_run {
                        survive_panic(&call.command.info);
                    }
                    state.task = None;
                    // Hops that were asked for in vain are not sent.
                    hub.take_asks();
                    state.reply = Some(self.panicked(call));
                    return true;
                }
            }
            let is_through = state.task.is_none();
            let (mut hops, mut was_answered) = (Vec::new(), false);
            for ask in hub.take_asks() {
                match ask {
                    Ask::Hop(number, owner, work) => hops.push((owner, number, work)),
                    Ask::Here(number, request) => {
                        let work = self.run_queued_here(conn, transaction, request, &hub);
                        hub.answer(number, work);
                        was_answered = true;
                    }
                    Ask::Merge(number, call, plan, parts) => {
                        hub.answer(number, self.merge(call, &plan, parts));
                        was_answered = true;
                    }
                }
            }
            let has_hops = !hops.is_empty();
            if has_hops {
                let answered = send(self, hops);
                was_answered |= !answered.is_empty();
                let Kind::Task(state) = &mut transaction.kind else { return true };
                state.has_run |= !answered.is_empty();
                answered.into_iter().for_each(|(number, work)| hub.answer(number, work));
            }
            if is_through {
                return true;
            }
            if !was_answered {
                let Kind::Task(state) = &mut transaction.kind else { return true };
                if state.open == 0 && !has_hops {
                    // It awaits what no hop will bring.
                    if state.has_run {
                        survive_panic(&call.command.info);
                    }
                    state.task = None;
                    state.reply = Some(self.panicked(call));
                    return true;
                }
                return false;
            }
        }
    }

    fn panicked(&self, call: Call<C::Store>) -> Out {
        let mut reply = Out::default();
        (self.ports[call.port as usize].refuse)(Refusal::Panicked, call.scope, &mut reply);
        reply
    }

    /// Runs hops of a task whose keys are all here and free.
    fn run_alone(&mut self, asks: Vec<(u16, u32, Work<C::Store>)>) -> Vec<(u32, Work<C::Store>)> {
        let run = |(_, number, work)| (number, self.run_work(work));
        asks.into_iter().map(run).collect()
    }

    /// Goes on with a task whose hops came home.
    fn run_task(&mut self, tx: u32) {
        let Some(mut transaction) =
            self.transactions.running.get_mut(tx as usize).and_then(Option::take)
        else {
            return;
        };
        let mut asked = Vec::new();
        let is_through = self.poll(&mut transaction, |_, asks| {
            asked = asks;
            Vec::new()
        });
        let me = self.server.place.shard as u16;
        for (owner, hop) in group(asked) {
            let visit = transaction.visits.iter().find(|visit| visit.owner == owner);
            let entry =
                visit.and_then(|visit| visit.entry).expect("hops go to owners that are scheduled");
            let Kind::Task(state) = &mut transaction.kind else { return };
            state.open += 1;
            if owner == me {
                self.add_hop(entry, hop);
            } else {
                self.outbox.push_free(owner as usize, Item::Hop { entry, hop });
            }
        }
        let Kind::Task(state) = &transaction.kind else { return };
        if is_through && state.open == 0 {
            self.transactions.free.push(tx);
            self.finish_task(transaction, Some(tx));
        } else {
            self.transactions.running[tx as usize] = Some(transaction);
        }
    }

    /// A task is through: releases its keys, and replies. `tx` is its number, if it got one.
    fn finish_task(&mut self, transaction: Transaction<C::Store>, tx: Option<u32>) {
        let Transaction { conn: id, number, call, visits, kind, .. } = transaction;
        let Kind::Task(state) = kind else { return };
        self.release_visits(&visits);
        if let Some(watching) = state.watching {
            self.drop_watch(&watching);
        }
        let reply = state.reply.unwrap_or_default();
        self.count_run(call.index, reply.errors() != 0);
        self.late_reply(id, number, &reply);
        if let Some(tx) = tx {
            self.order_is_known(id, tx, true);
        }
    }

    /// Makes one reply of the parts of a queue's request.
    fn merge(
        &mut self,
        call: Call<C::Store>,
        plan: &PartPlan,
        mut parts: Vec<PartOut>,
    ) -> Work<C::Store> {
        let mut reply = Out::default();
        match (parts.iter().find_map(PartOut::refusal), &call.command.run) {
            (Some(refusal), _) => {
                (self.ports[call.port as usize].refuse)(refusal, call.scope, &mut reply);
            }
            (None, Run::Gather { merge, .. }) => {
                let cx =
                    Cx { now_ms: self.now_ms, scope: call.scope, server: &self.server, conn: None };
                merge(&cx, plan, &mut parts, &mut reply);
            }
            _ => {}
        }
        self.count_run(call.index, reply.errors() != 0);
        Work::Whole { call, args: Kept::default(), reply, is_admitted: true }
    }

    /// Runs a queued request that belongs to the connection's shard.
    fn run_queued_here(
        &mut self,
        id: ConnId,
        transaction: &mut Transaction<C::Store>,
        request: usize,
        hub: &Hub<C::Store>,
    ) -> Work<C::Store> {
        let mut reply = Out::default();
        let Kind::Task(state) = &mut transaction.kind else { return Work::Panicked };
        let Some(queue) = &mut state.queue else { return Work::Panicked };
        let (index, args) = std::mem::take(&mut queue.requests[request]);
        let port = &self.ports[transaction.call.port as usize];
        let command = port.table.numbered(index);
        let index = self.first_command[transaction.call.port as usize] + index;
        let call = Call { command, index, scope: hub.scope.get(), ..transaction.call };
        let lent = self.server.conns.borrow_mut().lend(id);
        let Some(mut conn) = lent else { return Work::Panicked };
        let guarded = AssertUnwindSafe(|| match call.command.run {
            Run::Session(run) => {
                self.run_session_request(&mut conn, call, run, args.args(), &mut reply);
            }
            Run::One(run) => {
                self.run_whole(call, run, Some(&conn.facts), args.args(), &mut reply);
            }
            _ => {}
        });
        if catch_unwind(guarded).is_err() {
            survive_panic(&call.command.info);
            reply = self.panicked(call);
        }
        hub.scope.set(conn.state.scope);
        self.server.conns.borrow_mut().give_back(conn);
        Work::Whole { call, args: Kept::default(), reply, is_admitted: true }
    }
}

/// What a task is started with.
struct StartTask<S: 'static> {
    hub: Rc<Hub<S>>,
    task: Task,
    intents: Vec<(u16, Intents)>,
    watching: Option<Watching>,
    queue: Option<Queue>,
    /// Whether later requests of its connection wait for its end.
    until_done: bool,
}

/// Hops by owner, each with all that is asked of it.
fn group<S>(asks: Vec<(u16, u32, Work<S>)>) -> Vec<(u16, Hop<S>)> {
    let mut groups: Vec<(u16, Hop<S>)> = Vec::new();
    for (owner, number, work) in asks {
        match groups.iter_mut().find(|(other, _)| *other == owner) {
            Some((_, hop)) => hop.works.push((number, work)),
            None => groups.push((owner, Hop { works: vec![(number, work)], is_last: false })),
        }
    }
    groups
}

// Requests of a connection.
impl<C: Commands, Socket: Send + 'static> Engine<C, Socket> {
    /// What comes before a request of a connection in an unusual state, or before a barrier.
    #[cold]
    pub(super) fn hold_back(
        &mut self,
        conn: &mut Conn,
        port: &'static Port<C::Store>,
        plan: &Plan<C::Store>,
        request: &Planned<C::Store>,
        args: Args<'_>,
    ) -> Option<Ran> {
        let Known::Command(command, index) = request.known else { return None };
        let info = &command.info;
        if conn.state.restricted
            && let Err(refusal) = conn.session.admit(info)
        {
            let mut reply = Out::default();
            (port.refuse)(refusal, conn.state.scope, &mut reply);
            self.count_rejected(self.call(conn, command, index).index);
            spoil(conn);
            answer(conn, &mut reply);
            return Some(Ran::Done);
        }
        let stays = matches!(command.run, Run::Queue(_)) || info.queueing == Queueing::AtOnce;
        if conn.queued.is_some() && !stays {
            return Some(self.enqueue(conn, port, command, index, args));
        }
        if let Some(unfixed) = &conn.unfixed
            && must_follow(unfixed, info, &command.run, request.place, plan.hashes(request))
        {
            self.server.metrics.order_stalls.add(1);
            return Some(Ran::Stalled(Stall::Order));
        }
        let is_local = matches!(info.route, Route::Local | Route::Session);
        let strict = self.server.limits.get().strict_pipelines && !is_local;
        let waits = (info.barrier && !fault::is_on(Fault::NoBarrier)) || strict;
        (waits && !conn.queue.is_empty()).then_some(Ran::Stalled(Stall::Barrier))
    }

    /// Queues a request.
    fn enqueue(
        &mut self,
        conn: &mut Conn,
        port: &'static Port<C::Store>,
        command: &'static crate::Command<C::Store>,
        index: u32,
        args: Args<'_>,
    ) -> Ran {
        let call = self.call(conn, command, index);
        let mut reply = Out::default();
        if command.info.queueing == Queueing::Never {
            (port.refuse)(Refusal::NotQueueable, call.scope, &mut reply);
            self.count_rejected(call.index);
            spoil(conn);
        } else if !self.admits(call, Some(&conn.facts), args) {
            self.refuse_room(call, &mut reply);
            spoil(conn);
        } else if let Some(queue) = &mut conn.queued {
            queue.push(index, Kept::new(args));
            (port.outcome)(Outcome::Queued, call.scope, &mut reply);
        }
        answer(conn, &mut reply);
        Ran::Done
    }

    /// Runs a verb about the queue, other than those that start a transaction.
    pub(super) fn run_queue_verb(
        &mut self,
        conn: &mut Conn,
        port: &'static Port<C::Store>,
        call: Call<C::Store>,
        verb: QueueVerb,
    ) -> Ran {
        let mut reply = Out::default();
        let outcome = match (verb, &conn.queued) {
            (QueueVerb::Open, None) => {
                conn.queued = Some(Box::default());
                Ok(Outcome::Done)
            }
            (QueueVerb::Open, Some(_)) => Err(Refusal::Nested),
            (QueueVerb::Drop, Some(_)) => {
                conn.queued = None;
                self.unwatch(conn);
                Ok(Outcome::Done)
            }
            (QueueVerb::Drop | QueueVerb::Run, None) => {
                Err(Refusal::NotQueueing(call.command.info.name))
            }
            (QueueVerb::Run, Some(_)) => {
                conn.queued = None;
                self.unwatch(conn);
                Err(Refusal::Spoiled)
            }
            (QueueVerb::Watch, _) => Err(Refusal::WatchWhileQueueing),
            (QueueVerb::Unwatch, None) => {
                self.unwatch(conn);
                Ok(Outcome::Done)
            }
            (QueueVerb::Unwatch, Some(_)) => Ok(Outcome::Done),
        };
        conn.attend();
        match outcome {
            Ok(outcome) => (port.outcome)(outcome, call.scope, &mut reply),
            Err(refusal) => (port.refuse)(refusal, call.scope, &mut reply),
        }
        self.count_run(call.index, reply.errors() != 0);
        answer(conn, &mut reply);
        Ran::Done
    }

    /// Whether a verb about the queue starts a transaction.
    pub(super) fn starts_transaction(conn: &Conn, verb: QueueVerb) -> bool {
        match verb {
            QueueVerb::Run => conn.queued.as_ref().is_some_and(|queue| !queue.is_spoiled),
            QueueVerb::Watch => conn.queued.is_none(),
            _ => false,
        }
    }

    /// The connection watches nothing any more.
    pub(crate) fn unwatch(&mut self, conn: &mut Conn) {
        if let Some(watching) = conn.watching.take() {
            self.drop_watch(&watching);
        }
    }

    fn drop_watch(&mut self, watching: &Watching) {
        let me = self.server.place.shard as u16;
        for owner in watching.owners() {
            if owner == me {
                self.server.changes.unwatch(watching.id);
            } else {
                self.outbox.push_free(owner as usize, Item::Unwatch(watching.id));
            }
        }
    }

    /// Starts what needs its connection in the table: a handler over several shards, a queue, a
    /// watch.
    pub(super) fn start_transaction(&mut self, id: ConnId) {
        let lent = self.server.conns.borrow_mut().lend(id);
        let Some(mut conn) = lent else { return };
        let prepared = self.prepare(&mut conn);
        self.server.conns.borrow_mut().give_back(conn);
        if let Some((call, start)) = prepared {
            self.start_task(id, call, start);
            self.advance();
        }
    }

    fn prepare(&mut self, conn: &mut Conn) -> Option<(Call<C::Store>, StartTask<C::Store>)> {
        conn.stall = Stall::No;
        let kept = conn.kept.take()?;
        let port = self.port(conn);
        let mut plan = std::mem::take(&mut self.plan);
        plan.clear();
        plan.add(&port.table, kept.args(), &self.placement());
        let request = plan.requests.first()?;
        let Known::Command(command, index) = request.known else { return None };
        let call = self.call(conn, command, index);
        let args = kept.args().with_hashes(plan.hashes(request));
        let owners = plan.owners(request);
        let start = match command.run {
            Run::Tx(start) if self.admits(call, Some(&conn.facts), args) => {
                let keys: Vec<(u64, u16)> =
                    args.hashes().iter().copied().zip(owners.iter().copied()).collect();
                let access = Access::of(command.info.write);
                let hub = Hub::new(keys.clone(), call.scope);
                let args = Rc::new(Kept::new(args));
                Some(StartTask {
                    task: start(TxStart { hub: hub.clone(), call, args }),
                    hub,
                    intents: by_owner(keys.into_iter().map(|(hash, owner)| (owner, hash, access))),
                    watching: None,
                    queue: None,
                    until_done: false,
                })
            }
            Run::Tx(_) => {
                let mut reply = Out::default();
                self.refuse_room(call, &mut reply);
                answer(conn, &mut reply);
                None
            }
            Run::Queue(QueueVerb::Watch) => Some(self.prepare_watch(conn, call, args, owners)),
            Run::Queue(QueueVerb::Run) => self.prepare_queue(conn, call),
            _ => None,
        };
        self.plan = plan;
        start.map(|start| (call, start))
    }

    fn prepare_watch(
        &mut self,
        conn: &mut Conn,
        call: Call<C::Store>,
        args: Args<'_>,
        owners: &[u16],
    ) -> StartTask<C::Store> {
        let Route::Keys(range) = call.command.info.route else { unreachable!("a watch has keys") };
        let mut by_shard: Vec<(u16, Kept)> = Vec::new();
        for (index, (&hash, &owner)) in args.hashes().iter().zip(owners).enumerate() {
            let key = args.get(range.start_of(index)).unwrap_or_default();
            let at = by_shard.iter().position(|(other, _)| *other == owner).unwrap_or_else(|| {
                by_shard.push((owner, Kept::default()));
                by_shard.len() - 1
            });
            by_shard[at].1.push_key(key, hash);
        }
        let port = self.port(conn);
        let watching = conn.watching.get_or_insert_with(|| {
            self.transactions.next_watch += 1;
            let shard = self.server.place.shard as u64;
            let id = WatchId(shard << 48 | self.transactions.next_watch);
            Box::new(Watching { id, keys: Vec::new() })
        });
        for (owner, keys) in &by_shard {
            watching.keys.push((*owner, call.scope, Kept::new(keys.args())));
        }
        let keys = args.hashes().iter().zip(owners);
        let keys = keys.map(|(&hash, &owner)| (owner, hash, Access::Shared));
        let hub = Hub::new(Vec::new(), call.scope);
        StartTask {
            task: Box::pin(queue::watch(hub.clone(), port, watching.id, by_shard)),
            hub,
            intents: by_owner(keys),
            watching: None,
            queue: None,
            until_done: false,
        }
    }

    /// Finds out where each request of a connection's queue runs, and what all of them want.
    fn prepare_queue(
        &mut self,
        conn: &mut Conn,
        call: Call<C::Store>,
    ) -> Option<StartTask<C::Store>> {
        let mut queue = *conn.queued.take()?;
        let watching = conn.watching.take();
        conn.attend();
        let port = self.port(conn);
        let shards = self.server.place.shards as u16;
        let mut wants: Vec<(u16, u64, Access)> = Vec::new();
        let mut keys: Vec<(u64, u16)> = Vec::new();
        let (mut whole, mut writes, mut changes_session) = (false, false, false);
        let mut steps = Vec::with_capacity(queue.requests.len());
        for (number, (index, kept)) in queue.requests.iter_mut().enumerate() {
            let mut plan = Plan::default();
            plan.add(&port.table, kept.args(), &self.placement());
            let Some(request) = plan.requests.first() else { continue };
            let command = port.table.numbered(*index);
            let requested = self.call(conn, command, *index);
            let info = &command.info;
            let args = kept.args().with_hashes(plan.hashes(request));
            let access = Access::of(info.write);
            writes |= info.write;
            for (&hash, &owner) in plan.hashes(request).iter().zip(plan.owners(request)) {
                wants.push((owner, hash, access));
                keys.push((hash, owner));
            }
            let mut refusal = Out::default();
            let passes = match &command.run {
                Run::Gather { check, .. } => {
                    check(&self.cx(Some(conn), requested.scope), args, &mut refusal)
                }
                _ => true,
            };
            let owner_here = self.server.place.shard as u16;
            let owner = match request.place {
                Where::Here => owner_here,
                Where::There(owner) => owner,
                Where::Several => owner_here,
            };
            steps.push(match (&command.run, info.route) {
                _ if !passes => {
                    self.count_run(requested.index, true);
                    Step::Done(refusal)
                }
                (Run::Tx(_), _) => Step::Task(requested, Kept::new(args)),
                (_, Route::Local) => Step::Here(number),
                (_, Route::Session) => {
                    changes_session = true;
                    Step::Here(number)
                }
                (Run::Queue(_), _) => Step::Done(refusal),
                (_, Route::All { .. }) if shards > 1 => {
                    whole = true;
                    let parts = (0..shards).map(|shard| (shard, Kept::new(args))).collect();
                    Step::Parts(requested, PartPlan::default(), parts)
                }
                (_, Route::All { .. } | Route::At(_)) => {
                    whole = true;
                    Step::Owner(owner, requested, Kept::new(args))
                }
                (_, Route::Keys(range)) if request.place == Where::Several => {
                    let (plan, parts) = parts_of(args, range, plan.owners(request));
                    Step::Parts(requested, plan, parts)
                }
                _ => Step::Owner(owner, requested, Kept::new(args)),
            });
        }
        let mut checks = Vec::new();
        if let Some(watching) = &watching {
            for (owner, scope, keys) in &watching.keys {
                let kept = Kept::new(keys.args());
                if !fault::is_on(Fault::EarlyMark) {
                    let hashes = keys.args().hashes();
                    wants.extend(hashes.iter().map(|&hash| (*owner, hash, Access::Shared)));
                }
                checks.push((watching.id, *owner, *scope, kept));
            }
        }
        let intents = if whole {
            (0..shards).map(|owner| (owner, Intents::Whole(Access::of(writes)))).collect()
        } else {
            by_owner(wants.into_iter())
        };
        let hub = Hub::new(keys, call.scope);
        Some(StartTask {
            task: Box::pin(queue::run(hub.clone(), port, checks, steps)),
            hub,
            intents,
            watching: watching.map(|watching| *watching),
            queue: Some(queue),
            until_done: changes_session,
        })
    }
}

/// What is wanted of each owner.
fn by_owner(wants: impl Iterator<Item = (u16, u64, Access)>) -> Vec<(u16, Intents)> {
    let mut owners: Vec<(u16, Vec<(u64, Access)>)> = Vec::new();
    for (owner, hash, access) in wants {
        match owners.iter_mut().find(|(other, _)| *other == owner) {
            Some((_, keys)) => keys.push((hash, access)),
            None => owners.push((owner, vec![(hash, access)])),
        }
    }
    owners.into_iter().map(|(owner, keys)| (owner, Intents::mixed(keys))).collect()
}

/// A request's parts by owner, and which of them each key went to.
pub(super) fn parts_of(
    args: Args<'_>,
    range: crate::KeyRange,
    owners: &[u16],
) -> (PartPlan, Vec<(u16, Kept)>) {
    let (mut shards, mut plan) = (Vec::new(), PartPlan::default());
    for owner in owners {
        let part = shards.iter().position(|shard| shard == owner).unwrap_or_else(|| {
            shards.push(*owner);
            shards.len() - 1
        });
        plan.part_of.push(part as u16);
    }
    let narrowed = |(part, &owner): (usize, &u16)| {
        (owner, Kept::narrowed(args, range, |key| usize::from(plan.part_of[key]) == part))
    };
    let parts = shards.iter().enumerate().map(narrowed).collect();
    (plan, parts)
}

/// Nothing of a connection's queue will run.
pub(super) fn spoil(conn: &mut Conn) {
    if let Some(queue) = &mut conn.queued {
        queue.is_spoiled = true;
    }
}

/// Whether a request has to wait for the order of its connection's transaction: until that is known
/// the transaction may still move behind it.
fn must_follow<S>(
    unfixed: &Unfixed,
    info: &CommandInfo,
    run: &Run<S>,
    place: Where,
    hashes: &[u64],
) -> bool {
    if unfixed.until_done {
        return true;
    }
    let is_transaction = place == Where::Several
        || matches!(run, Run::Tx(_) | Run::Queue(QueueVerb::Run | QueueVerb::Watch));
    if is_transaction {
        return !fault::is_on(Fault::NoTransactionStall);
    }
    let shares = match info.route {
        Route::Local | Route::Session => false,
        Route::All { .. } | Route::At(_) => true,
        _ => unfixed.is_whole || hashes.iter().any(|hash| unfixed.hashes.contains(hash)),
    };
    shares && !fault::is_on(Fault::NoOrderStall)
}
