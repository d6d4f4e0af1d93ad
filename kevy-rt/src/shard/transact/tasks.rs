//! Tasks: handlers over several shards, and queues that run as one. The shard polls them when a hop
//! comes home, and takes up what they ask for.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};

use super::start::StartTask;
use super::{Errand, Kind, TaskState, Transaction};
use crate::commands::{Commands, ReplyMode, Run};
use crate::conn::{ConnFacts, ConnId, Holds, Unfixed};
use crate::cx::Caller;
use crate::gather::{PartOut, Plan as PartPlan};
use crate::kept::Kept;
use crate::shard::batch::{Call, Item};
use crate::shard::run::{Engine, survive_panic, take_muted};
use crate::shared::Out;
use crate::tx::entries::Intents;
use crate::tx::hop::{Hop, Work};
use crate::tx::task::{Ask, Hub, TooManyRounds};
use crate::wire::Refusal;

impl<C: Commands, Socket: Send + 'static> Engine<C, Socket> {
    /// Starts a task with its connection in the table.
    ///
    /// Its first hops travel with the schedules. One whose keys are all here and free runs to its
    /// end at once: nothing can come between.
    pub(super) fn start_task(
        &mut self,
        id: ConnId,
        call: Call<C::Store>,
        start: StartTask<C::Store>,
    ) {
        let StartTask { hub, task, intents, watching, begins, queue, holds } = start;
        let number = {
            let mut conns = self.server.conns.borrow_mut();
            let Some(conn) = conns.get_mut(id) else { return };
            let is_muted = take_muted(&mut conn.state);
            // What a queue runs may turn its own replies on and off.
            hub.is_muted.set(is_muted);
            conn.queue.wait(is_muted && queue.is_none())
        };
        let me = self.server.place.shard as u16;
        let entries = &self.server.entries;
        let is_alone = intents.iter().all(|(owner, intents)| {
            *owner == me
                && (self.transactions.entries == 0 || !entries.borrow().conflict_with(intents))
        });
        let state = TaskState { task: Some(task), reply: None, open: 0, watching, begins, queue };
        let kind = Kind::Task(Box::new(state));
        let mut transaction = self.transaction(id, number, call, kind, Some(hub));
        let sender = match &transaction.kind {
            Kind::Task(state) if is_alone && state.queue.is_some() => {
                self.server.conns.borrow_mut().get_mut(id).map(|conn| conn.facts.clone())
            }
            _ => None,
        };
        let mut first_hops = Vec::new();
        let is_through = self.poll(&mut transaction, |engine, asks| {
            if is_alone {
                return engine.run_alone(asks, sender.as_ref());
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
                Errand { owner, intents: Some(intents), hop }
            })
            .collect();
        let Kind::Task(state) = &mut transaction.kind else { return };
        state.open = errands.iter().filter(|errand| errand.hop.is_some()).count();
        let others = errands.iter().any(|errand| errand.owner != me);
        let is_queue = state.queue.is_some();
        let tx = self.open(transaction, errands);
        let mut conns = self.server.conns.borrow_mut();
        let Some(conn) = conns.get_mut(id) else { return };
        conn.running_queues += u32::from(is_queue);
        if others || holds != Holds::Order {
            conn.unfixed.push(Unfixed::new(tx, hashes, is_whole, holds));
            conn.attend();
        }
    }

    /// Polls a task; its asks for hops are given to `send`, which answers those that are done at
    /// once. Whether it is through.
    pub(super) fn poll(
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
            hub.polls.set(hub.polls.get() + 1);
            let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut context)));
            match polled {
                Ok(Poll::Ready(reply)) => {
                    state.reply = Some(reply);
                    state.task = None;
                }
                Ok(Poll::Pending) => {}
                Err(panic) => {
                    state.task = None;
                    // Hops that were asked for in vain are not sent.
                    hub.drop_asks();
                    survive_panic(&call.command.info, hub.has_written.get());
                    state.reply = Some(self.failed(call, &hub, refusal_of(&*panic)));
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
                answered.into_iter().for_each(|(number, work)| hub.answer(number, work));
            }
            if is_through {
                return true;
            }
            if !was_answered {
                let Kind::Task(state) = &mut transaction.kind else { return true };
                if state.open == 0 && !has_hops {
                    // It awaits what no hop will bring.
                    state.task = None;
                    survive_panic(&call.command.info, hub.has_written.get());
                    state.reply = Some(self.failed(call, &hub, Refusal::Panicked));
                    return true;
                }
                return false;
            }
        }
    }

    /// The reply of a task that was not to end so.
    pub(super) fn failed(&self, call: Call<C::Store>, hub: &Hub<C::Store>, why: Refusal) -> Out {
        let mut reply = Out::default();
        if !hub.is_muted.get() {
            (self.ports[call.port as usize].refuse)(why, call.scope, &mut reply);
        }
        reply
    }

    /// Runs hops of a task whose keys are all here and free.
    pub(super) fn run_alone(
        &mut self,
        asks: Vec<(u16, u32, Work<C::Store>)>,
        conn: Option<&ConnFacts>,
    ) -> Vec<(u32, Work<C::Store>)> {
        let run = |(_, number, mut work)| {
            self.run_work(&mut work, conn.into());
            (number, work)
        };
        asks.into_iter().map(run).collect()
    }

    /// Goes on with a task whose hops came home.
    pub(super) fn run_task(&mut self, tx: u32) {
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
    pub(super) fn finish_task(&mut self, transaction: Transaction<C::Store>, tx: Option<u32>) {
        let Transaction { conn: id, number, call, visits, kind, .. } = transaction;
        let Kind::Task(state) = kind else { return };
        self.release_visits(&visits);
        if let Some(watching) = state.watching {
            self.drop_watch(watching.id, watching.owners());
        }
        if let Some(watch) = state.begins {
            self.end_watch_if_dropped(id, watch, visits.iter().map(|visit| visit.owner));
        }
        let reply = state.reply.unwrap_or_default();
        self.count_run(call.index, reply.errors() != 0);
        self.late_reply(id, number, &reply);
        if let Some(tx) = tx {
            self.end_queue(id, state.queue.is_some());
            self.order_is_known(id, tx, true);
        }
    }

    /// A connection's transaction is through, which ran its queue if it `is_queue`.
    pub(super) fn end_queue(&mut self, id: ConnId, is_queue: bool) {
        if let Some(conn) = self.server.conns.borrow_mut().get_mut(id) {
            conn.running_queues -= u32::from(is_queue);
        }
    }

    /// Makes one reply of the parts of a queue's request.
    pub(super) fn merge(
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
                let cx = self.cx(Caller::Nobody, call.scope);
                merge(&cx, plan, &mut parts, &mut reply);
            }
            _ => {}
        }
        self.count_run(call.index, reply.errors() != 0);
        Work::Whole { call, args: Kept::default(), reply, is_admitted: true }
    }

    /// Runs a queued request that belongs to the connection's shard.
    pub(super) fn run_queued_here(
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
                let skips = conn.state.reply == ReplyMode::SkipNext;
                self.run_session_request(&mut conn, call, run, args.args(), &mut reply);
                // Later requests of the connection wait for this one, so that is its own change.
                hub.scope.set(conn.state.scope);
                match conn.state.reply {
                    ReplyMode::Off => hub.is_muted.set(true),
                    ReplyMode::OnAtOnce => hub.is_muted.set(false),
                    ReplyMode::SkipNext => reply.clear(),
                    ReplyMode::On => {}
                }
                // The reply that is to be skipped is the one after the queue's.
                conn.state.reply = match conn.state.reply {
                    ReplyMode::On | ReplyMode::OnAtOnce if skips => ReplyMode::SkipNext,
                    ReplyMode::OnAtOnce => ReplyMode::On,
                    mode => mode,
                };
            }
            Run::One(run) => {
                self.run_whole(call, run, Caller::Within(&conn.facts), args.args(), &mut reply);
            }
            _ => {}
        });
        if catch_unwind(guarded).is_err() {
            survive_panic(&call.command.info, call.command.info.write);
            reply.clear();
            (port.refuse)(Refusal::Panicked, call.scope, &mut reply);
        }
        self.server.conns.borrow_mut().give_back(conn);
        Work::Whole { call, args: Kept::default(), reply, is_admitted: true }
    }
}

/// What a handler is refused with that unwound.
pub(crate) fn refusal_of(panic: &(dyn Any + Send)) -> Refusal {
    if panic.is::<TooManyRounds>() { Refusal::TooManyRounds } else { Refusal::Panicked }
}

/// Hops by owner, each with all that is asked of it.
pub(super) fn group<S>(asks: Vec<(u16, u32, Work<S>)>) -> Vec<(u16, Hop<S>)> {
    let mut groups: Vec<(u16, Hop<S>)> = Vec::new();
    for (owner, number, work) in asks {
        match groups.iter_mut().find(|(other, _)| *other == owner) {
            Some((_, hop)) => hop.works.push((number, work)),
            None => groups.push((owner, Hop { works: vec![(number, work)], is_last: false })),
        }
    }
    groups
}
