//! The owner's side: entries, and the hops that they run.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Held, Kind, Schedule, Waiting};
use crate::commands::{Commands, Route, Run, Store};
use crate::conn::{ConnFacts, ConnHandle, ConnId};
use crate::cx::{Caller, Cx};
use crate::kept::Kept;
use crate::offload::Home;
use crate::shard::batch::{Call, Item};
use crate::shard::run::{Engine, survive_panic};
use crate::shared::Out;
use crate::tx::entries::{Access, EntryId, Intents, Wanted};
use crate::tx::fault::{self, Fault};
use crate::tx::hop::{Hop, Work};
use crate::tx::stamp::Stamp;
use crate::wire::Refusal;
use crate::{Args, args::Key};

impl<C: Commands, Socket: Send + 'static> Engine<C, Socket> {
    /// What a request of one shard wants there.
    pub(super) fn intents(call: Call<C::Store>, args: Args<'_>) -> Intents {
        let access = Access::of(call.command.info.write);
        match call.command.info.route {
            Route::All { .. } | Route::At(_) => Intents::Whole(access),
            _ => Intents::keys(args.hashes().iter().copied(), access),
        }
    }

    /// Whether a request that would run here has to wait for entries.
    #[cold]
    pub(in crate::shard) fn must_wait(&self, call: Call<C::Store>, args: Args<'_>) -> bool {
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

    /// Makes an entry of a request that has to wait; answers the bytes of its arguments, which stay
    /// open with it.
    #[cold]
    pub(in crate::shard) fn defer(
        &mut self,
        call: Call<C::Store>,
        args: Args<'_>,
        (coordinator, conn, number): (u16, ConnId, u64),
    ) -> usize {
        self.server.metrics.deferred.add(1);
        let stamp = match self.server.process.stamps.take(self.now_ms) {
            _ if fault::is_on(Fault::OldDeferral) => Stamp::default(),
            stamp if fault::is_on(Fault::LateDeferral) => stamp.later(),
            stamp => stamp,
        };
        let args_kept = Kept::new(args);
        let bytes = args_kept.argument_bytes();
        let reply = Out::default();
        let work = Work::Whole { call, args: args_kept, reply, is_admitted: false };
        let held = Held::Request { coordinator, conn, number, bytes };
        self.add_entry(stamp, Self::intents(call, args), true, held, Some(Hop::last(work)));
        bytes
    }

    pub(super) fn add_entry(
        &mut self,
        stamp: Stamp,
        intents: Intents,
        is_fixed: bool,
        held: Held,
        hop: Option<Hop<C::Store>>,
    ) -> EntryId {
        let mut entries = self.server.entries.borrow_mut();
        let is_released = fault::is_on(Fault::EarlyRelease);
        let intents = if is_released { Intents::Keys(Wanted::new()) } else { intents };
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

    pub(super) fn remove_entry(&mut self, entry: EntryId) {
        self.server.entries.borrow_mut().remove(entry);
        if let Some(waiting) = self.transactions.waiting.get_mut(entry.0 as usize) {
            self.transactions.entries -= usize::from(waiting.take().is_some());
        }
    }

    /// A transaction wants its place; answers what goes home in the schedule's stead.
    pub(in crate::shard) fn schedule(
        &mut self,
        schedule: Schedule<C::Store>,
    ) -> Item<C::Store, Socket> {
        let Schedule { coordinator, tx, visit, intents, is_last_owner, hop } = schedule;
        let intents = intents.map(|intents| *intents);
        if hop.as_ref().is_some_and(|hop| !self.admits_hop(hop)) {
            let stamp = Stamp::default();
            return Item::Scheduled { tx, visit, entry: None, stamp, is_refused: true };
        }
        let stamp = self.server.process.stamps.take(self.now_ms);
        if let Some(hop) = hop {
            let is_free = self.is_free(intents.as_ref(), &hop);
            if is_last_owner && is_free && hop.is_last {
                self.server.metrics.one_round.add(1);
                let hop = self.run_hop(hop, stamp, Caller::Nobody);
                return Item::Ran { tx, visit, hop, scheduled: Some((stamp, None)) };
            }
            let held = Held::Visit { coordinator, tx, visit };
            let intents = Self::wanted(intents, Some(&hop));
            let entry = self.add_entry(stamp, intents, is_last_owner, held, Some(hop));
            if is_last_owner && fault::is_on(Fault::NoEarlyAnswer) {
                let waiting = self.transactions.waiting[entry.0 as usize].as_mut();
                waiting.expect("it was added").untold = Some(stamp);
                return Item::Done;
            }
            if is_last_owner && is_free {
                self.server.metrics.one_round.add(1);
                let hop = self.take_hop(entry).expect("it came along");
                let hop = self.run_hop(hop, stamp, Caller::Nobody);
                return Item::Ran { tx, visit, hop, scheduled: Some((stamp, Some(entry))) };
            }
            if is_last_owner {
                self.server.metrics.early_answers.add(1);
            }
            return Item::Scheduled { tx, visit, entry: Some(entry), stamp, is_refused: false };
        }
        let held = Held::Visit { coordinator, tx, visit };
        let intents = Self::wanted(intents, None);
        let entry = Some(self.add_entry(stamp, intents, is_last_owner, held, None));
        Item::Scheduled { tx, visit, entry, stamp, is_refused: false }
    }

    /// What an errand wants: what is said, or what the request of its hop names.
    pub(super) fn wanted(intents: Option<Intents>, hop: Option<&Hop<C::Store>>) -> Intents {
        intents.unwrap_or_else(|| match hop.and_then(|hop| hop.works.first()) {
            Some((_, Work::Part { call, args, .. })) => Self::intents(*call, args.args()),
            _ => Intents::Keys(Wanted::new()),
        })
    }

    /// Whether nothing that is here conflicts with what an errand wants.
    fn is_free(&self, intents: Option<&Intents>, hop: &Hop<C::Store>) -> bool {
        if self.transactions.entries == 0 {
            return true;
        }
        match (intents, hop.works.first()) {
            (Some(intents), _) => !self.server.entries.borrow().conflict_with(intents),
            (None, Some((_, Work::Part { call, args, .. }))) => !self.must_wait(*call, args.args()),
            _ => true,
        }
    }

    /// Whether this shard's store has room for what a hop may write.
    pub(super) fn admits_hop(&mut self, hop: &Hop<C::Store>) -> bool {
        hop.works.iter().all(|(_, work)| match work {
            Work::Part { call, args, .. } => self.admits(*call, Caller::Nobody, args.args()),
            _ => true,
        })
    }

    /// A transaction's order is known.
    pub(in crate::shard) fn fix_entry(&mut self, entry: EntryId, order: Stamp) {
        let mut entries = self.server.entries.borrow_mut();
        if fault::is_on(Fault::RunAtSchedule) && !entries.is_there(entry) {
            return;
        }
        if entries.stamp(entry) != order {
            self.server.metrics.moved_entries.add(1);
        }
        entries.fix(entry, order);
    }

    /// A further hop came for an entry.
    pub(in crate::shard) fn add_hop(&mut self, entry: EntryId, hop: Hop<C::Store>) {
        let waiting = self.transactions.waiting[entry.0 as usize].as_mut();
        waiting.expect("an entry stays until its last hop").hops.push(hop);
        self.server.entries.borrow_mut().add_hop(entry);
    }

    /// A transaction is through here.
    pub(in crate::shard) fn end_entry(&mut self, entry: EntryId) {
        self.remove_entry(entry);
    }

    pub(super) fn take_hop(&mut self, entry: EntryId) -> Option<Hop<C::Store>> {
        let mut entries = self.server.entries.borrow_mut();
        entries.take_hop(entry);
        let hops = &mut self.transactions.waiting[entry.0 as usize].as_mut()?.hops;
        let hop = (!hops.is_empty()).then(|| hops.remove(0))?;
        if !hop.is_last {
            entries.begin(entry);
        }
        Some(hop)
    }

    /// Goes on with everything that can: entries whose turn has come, tasks whose hops came home.
    pub(in crate::shard) fn advance(&mut self) {
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
    pub(super) fn run_entry(&mut self, entry: EntryId) {
        let stamp = self.server.entries.borrow().stamp(entry);
        let Some(hop) = self.take_hop(entry) else { return };
        let sender = self.queue_sender(entry);
        let caller = match self.transactions.waiting[entry.0 as usize].as_ref() {
            Some(Waiting { held: Held::Request { coordinator: shard, conn: id, .. }, .. }) => {
                Caller::There(ConnHandle { shard: *shard, id: *id })
            }
            _ => sender.as_ref().into(),
        };
        let hop = self.run_hop(hop, stamp, caller);
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
            Held::Request { coordinator, conn, number, bytes } => {
                self.remove_entry(entry);
                let Some((_, Work::Whole { call, mut reply, .. })) = hop.works.into_iter().next()
                else {
                    return;
                };
                let home =
                    Home { whom: ConnHandle { shard: coordinator, id: conn }, number, bytes };
                if coordinator == me {
                    self.outbox.close(me as usize, bytes);
                }
                if let Some(later) = reply.take_later()
                    && self.start_later(later, home, call, &mut reply)
                {
                    return;
                }
                self.finish_late(home, reply);
            }
        }
    }

    /// Who sent the queue that an entry runs a part of, if that is a connection of this shard.
    fn queue_sender(&self, entry: EntryId) -> Option<ConnFacts> {
        let waiting = self.transactions.waiting[entry.0 as usize].as_ref()?;
        let Held::Visit { coordinator, tx, .. } = waiting.held else { return None };
        if usize::from(coordinator) != self.server.place.shard {
            return None;
        }
        let transaction = self.transactions.running[tx as usize].as_ref()?;
        let Kind::Task(state) = &transaction.kind else { return None };
        state.queue.as_ref()?;
        self.server.conns.borrow_mut().get_mut(transaction.conn).map(|conn| conn.facts.clone())
    }

    /// Runs a hop at the time of its stamp, for `caller`.
    pub(super) fn run_hop(
        &mut self,
        mut hop: Hop<C::Store>,
        stamp: Stamp,
        caller: Caller<'_>,
    ) -> Hop<C::Store> {
        let turn_ms = self.now_ms;
        let now_ms = if fault::is_on(Fault::OwnTime) { turn_ms } else { stamp.now_ms() };
        self.set_now(now_ms);
        // They may give the store something to do, as requests do.
        self.requests += hop.works.len();
        hop.works.iter_mut().for_each(|(_, work)| self.run_work(work, caller));
        // Whoever comes behind it sees no earlier time.
        self.set_now(turn_ms.max(now_ms));
        hop
    }

    pub(super) fn set_now(&mut self, now_ms: u64) {
        if now_ms != self.now_ms {
            self.now_ms = now_ms;
            self.store.begin(now_ms);
        }
    }

    pub(super) fn run_work(&mut self, work: &mut Work<C::Store>, caller: Caller<'_>) {
        self.server.metrics.hops.add(1);
        match work {
            Work::Part { call, args, answer, .. } => {
                self.run_admitted_part(*call, caller, args.args(), answer);
            }
            Work::Whole { call, args, reply, is_admitted } => {
                self.run_kept((*call, caller), args, reply, *is_admitted);
            }
            Work::Closure { scope, command, may_write, project, job } => {
                let (scope, command, may_write) = (*scope, *command, *may_write);
                let ran = catch_unwind(AssertUnwindSafe(|| {
                    let caller = Caller::Nobody;
                    let cx = Cx { now_ms: self.now_ms, scope, server: &self.server, caller };
                    job.run(project(&mut self.store, &cx));
                }));
                if ran.is_err() {
                    survive_panic(command, may_write);
                    *work = Work::Panicked;
                }
            }
            Work::Watch { watch, scope, keys } => {
                let space = C::Store::space(*scope);
                self.each_settled(*scope, keys, |engine, key| {
                    engine.server.changes.watch(*watch, space, key);
                });
            }
            Work::Check { watch, scope, keys, is_marked } => {
                self.each_settled(*scope, keys, |_, _| {});
                *is_marked = self.server.changes.is_marked(*watch);
            }
            Work::Panicked => {}
        }
    }

    /// Brings keys up to date, each before `see` is called with it.
    pub(super) fn each_settled(
        &mut self,
        scope: u64,
        keys: &Kept,
        mut see: impl FnMut(&mut Self, Key<'_>),
    ) {
        let args = keys.args();
        for (index, &hash) in args.hashes().iter().enumerate() {
            let key = Key::new(args.get(index).unwrap_or_default(), hash);
            let caller = Caller::Nobody;
            let cx = Cx { now_ms: self.now_ms, scope, server: &self.server, caller };
            self.store.settle(&cx, key);
            see(self, key);
        }
    }

    /// Runs a request that was kept, wherever its connection is.
    pub(super) fn run_kept(
        &mut self,
        (call, caller): (Call<C::Store>, Caller<'_>),
        args: &Kept,
        reply: &mut Out,
        is_admitted: bool,
    ) {
        let (Run::One(run) | Run::Gather { whole: run, .. }) = call.command.run else {
            unreachable!("only requests of owners are kept for them")
        };
        let guarded = AssertUnwindSafe(|| {
            if is_admitted {
                self.run_admitted(call, run, caller, args.args(), reply);
            } else {
                self.run_whole(call, run, caller, args.args(), reply);
            }
        });
        if catch_unwind(guarded).is_err() {
            survive_panic(&call.command.info, call.command.info.write);
            reply.clear();
            (self.ports[call.port as usize].refuse)(Refusal::Panicked, call.scope, reply);
        }
    }
}
