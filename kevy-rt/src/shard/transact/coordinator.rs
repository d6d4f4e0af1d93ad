//! The coordinator's side: from schedules to an order, from answers to a reply.

use std::rc::Rc;

use smallvec::SmallVec;

use super::{Errand, Held, Kind, Schedule, Transaction, Visit};
use crate::commands::{Commands, Route};
use crate::conn::{Conn, ConnId, Holds, Stall, Unfixed};
use crate::gather::{PartOut, Plan as PartPlan};
use crate::kept::Kept;
use crate::shard::batch::{Call, Item};
use crate::shard::run::{Engine, KEPT_PARTS};
use crate::shared::{Mark, Out};
use crate::tx::entries::{EntryId, Intents, Wanted};
use crate::tx::fault::{self, Fault};
use crate::tx::hop::{Hop, Work};
use crate::tx::stamp::Stamp;
use crate::tx::task::Hub;
use crate::wire::Refusal;

impl<C: Commands, Socket: Send + 'static> Engine<C, Socket> {
    /// Starts a transaction: takes its place on this shard, and asks for one on the others.
    pub(super) fn open(
        &mut self,
        transaction: Transaction<C::Store>,
        mut errands: Vec<Errand<C::Store>>,
    ) -> u32 {
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
        let own = errands.iter().position(|errand| errand.owner == me);
        let visit = |errand: &Errand<C::Store>| Visit {
            owner: errand.owner,
            entry: None,
            is_last_owner: others == 1 && errand.owner != me,
            bytes: errand.hop.as_ref().map_or(0, Hop::argument_bytes),
        };
        transaction.visits.extend(errands.iter().map(visit));
        if let Some(visit) = own {
            self.outbox.open(me as usize, transaction.visits[visit].bytes);
            let errand = &mut errands[visit];
            let (intents, hop) = (errand.intents.take(), errand.hop.take());
            let stamp = self.server.process.stamps.take(self.now_ms);
            transaction.order = stamp;
            let held = Held::Visit { coordinator: me, tx: number, visit: visit as u16 };
            let is_fixed = others == 0 || (others == 1 && fault::is_on(Fault::OwnFirst));
            let intents = Self::wanted(intents, hop.as_ref());
            let entry = self.add_entry(stamp, intents, is_fixed, held, hop);
            transaction.visits[visit].entry = Some(entry);
        }
        for (visit, errand) in errands.into_iter().enumerate() {
            let Errand { owner, intents, hop } = errand;
            if owner == me {
                continue;
            }
            let intents = intents.map(Box::new);
            let is_last_owner = others == 1;
            let (tx, visit) = (number, visit as u16);
            let bytes = transaction.visits[visit as usize].bytes;
            let schedule = Schedule { coordinator: me, tx, visit, intents, is_last_owner, hop };
            self.outbox.open_visit(owner as usize, Item::Schedule(Some(schedule)), bytes);
        }
        self.transactions.running[number as usize] = Some(transaction);
        number
    }

    pub(super) fn running(&mut self, tx: u32) -> &mut Transaction<C::Store> {
        self.transactions.running[tx as usize].as_mut().expect("a transaction runs to its end")
    }

    /// An owner has answered its stamp, or that its store has no room.
    pub(in crate::shard) fn scheduled(
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
    pub(super) fn fix(&mut self, tx: u32) {
        let me = self.server.place.shard as u16;
        let transaction = self.transactions.running[tx as usize].as_mut().expect("it runs");
        let (order, conn) = (transaction.order, transaction.conn);
        let visits = transaction.visits.iter().filter(|visit| !visit.is_last_owner);
        let mut own = None;
        for (owner, entry) in visits.filter_map(|visit| Some((visit.owner, visit.entry?))) {
            if owner == me {
                own = Some(entry);
            } else {
                self.outbox.push_free(owner as usize, Item::Fix { entry, order });
            }
        }
        if let Some(entry) = own {
            self.fix_entry(entry, order);
        }
        self.order_is_known(conn, tx, false);
    }

    /// Lets a connection go on whose transaction has its order, or `is_done`.
    pub(super) fn order_is_known(&mut self, id: ConnId, tx: u32, is_done: bool) {
        let mut conns = self.server.conns.borrow_mut();
        let Some(conn) = conns.get_mut(id) else { return };
        let is_its = |unfixed: &Unfixed| unfixed.tx == tx;
        if let Some(at) = conn.unfixed.iter().position(is_its) {
            if !is_done && conn.unfixed[at].stays() {
                return;
            }
            conn.unfixed.swap_remove(at);
            conn.attend();
            if conn.stall == Stall::Order(tx) {
                self.touched.push(id);
            }
        }
    }

    /// An owner's store has no room: nothing has run, and nothing will.
    pub(super) fn call_off(&mut self, tx: u32) {
        let Some(transaction) = self.transactions.running[tx as usize].take() else { return };
        self.transactions.free.push(tx);
        self.release_visits(&transaction.visits);
        let Transaction { conn: id, number, call, kind, hub, .. } = transaction;
        let is_queue = matches!(&kind, Kind::Task(state) if state.queue.is_some());
        if let Kind::Task(state) = &kind
            && let Some(watching) = &state.watching
        {
            self.drop_watch(watching.id, watching.owners());
        }
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
                    if hub.is_some_and(|hub| hub.is_muted.get()) {
                        reply.clear();
                    }
                    self.finish_reply(&mut conn, number, &reply);
                }
            }
            conn.running_queues -= u32::from(is_queue);
            self.touched.push(id);
            self.server.conns.borrow_mut().give_back(conn);
        }
        self.order_is_known(id, tx, true);
    }

    /// Ends a transaction at all its owners.
    pub(super) fn release_visits(&mut self, visits: &[Visit]) {
        let me = self.server.place.shard as u16;
        for visit in visits {
            self.outbox.close(visit.owner as usize, visit.bytes);
            let Some(entry) = visit.entry else { continue };
            if visit.owner == me {
                self.end_entry(entry);
            } else {
                self.outbox.push_free(visit.owner as usize, Item::End { entry });
            }
        }
    }

    /// A hop has run and is home.
    pub(in crate::shard) fn hop_is_home(&mut self, tx: u32, visit: u16, hop: Hop<C::Store>) {
        let transaction = self.running(tx);
        let (conn, number) = (transaction.conn, transaction.number);
        let Visit { owner, bytes, .. } = transaction.visits[visit as usize];
        match &mut transaction.kind {
            Kind::Gather => {
                transaction.open -= 1;
                if transaction.open == 0 {
                    self.transactions.running[tx as usize] = None;
                    self.transactions.free.push(tx);
                }
                self.outbox.close(owner as usize, bytes);
                let lent = self.server.conns.borrow_mut().lend(conn);
                let Some(mut conn) = lent else { return };
                for (_, work) in hop.works {
                    if let Work::Part { args, part, answer, .. } = work {
                        self.finish_part(&mut conn, number, part as usize, answer);
                        if self.spare.len() < KEPT_PARTS {
                            self.spare.extend(args.emptied());
                        }
                    }
                }
                self.touched.push(conn.id);
                self.server.conns.borrow_mut().give_back(conn);
            }
            Kind::Task(state) => {
                state.open -= 1;
                let hub = transaction.hub.clone().expect("a task has a hub");
                hop.works.into_iter().for_each(|(number, work)| hub.answer(number, work));
                self.transactions.runnable.push(tx);
            }
        }
    }

    /// The reply of a request that had to wait on its owner.
    pub(in crate::shard) fn late_reply(&mut self, id: ConnId, number: u64, reply: &Out) {
        let lent = self.server.conns.borrow_mut().lend(id);
        let Some(mut conn) = lent else { return };
        self.finish_reply(&mut conn, number, reply);
        self.touched.push(id);
        self.server.conns.borrow_mut().give_back(conn);
    }

    pub(super) fn finish_reply(&mut self, conn: &mut Conn, number: u64, reply: &Out) {
        self.lend_output(conn);
        conn.queue.finish(number, reply, (Mark::default(), reply.mark()), &mut conn.out);
    }

    /// Sends a request's parts to all their owners as one transaction. The parts' arguments come
    /// by owner.
    pub(in crate::shard) fn gather(
        &mut self,
        conn: &mut Conn,
        call: Call<C::Store>,
        plan: PartPlan,
        parts: Vec<(u16, Kept)>,
    ) {
        let mut hashes = Vec::with_capacity(plan.part_of.len());
        let errands = parts.into_iter().enumerate().map(|(part, (owner, args))| {
            let is_loose = fault::is_on(Fault::LooseGather) && !call.command.info.write;
            let intents = is_loose.then(|| Intents::Keys(Wanted::new()));
            hashes.extend_from_slice(args.args().hashes());
            let answer = self.parts.pop().unwrap_or_default();
            let work = Work::Part { call, args, part: part as u16, answer };
            Errand { owner, intents, hop: Some(Hop::last(work)) }
        });
        let errands: Vec<_> = errands.collect();
        let number = self.open_gather(conn, call, plan, errands.len());
        let is_whole = matches!(call.command.info.route, Route::All { .. });
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
        conn.unfixed.push(Unfixed::new(tx, hashes, is_whole, Holds::Order));
        conn.attend();
    }

    pub(super) fn transaction(
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
            visits: SmallVec::new(),
            unscheduled: 0,
            order: Stamp::default(),
            is_refused: false,
            open: 0,
            hub,
            kind,
        }
    }
}
