//! What comes before a request in a connection that queues requests, or has a transaction whose order
//! isn't known.

use crate::Args;
use crate::commands::{CommandInfo, Commands, Port, QueueVerb, Queueing, Route, Run, Store};
use crate::conn::{Conn, ConnId, Holds, Stall, Unfixed};
use crate::cx::{Caller, Cx};
use crate::kept::Kept;
use crate::shard::batch::{Call, Item};
use crate::shard::plan::{Known, Plan, Planned, Where};
use crate::shard::run::{Engine, Ran, answer};
use crate::shared::Out;
use crate::tx::fault::{self, Fault};
use crate::tx::queue::Queue;
use crate::tx::watch::WatchId;
use crate::wire::{Outcome, Refusal};

/// Transactions of one connection whose orders aren't known, at most: each request behind them looks
/// at all of them.
///
/// Smaller: a deep pipeline of them waits for round trips. Larger: it takes longer to look, and what
/// many connections have open at once leaves the caches.
const UNFIXED: usize = 8;

impl<C: Commands, Socket: Send + 'static> Engine<C, Socket> {
    /// What comes before a request of a connection in an unusual state, or before a barrier.
    #[cold]
    pub(in crate::shard) fn hold_back(
        &mut self,
        conn: &mut Conn,
        port: &'static Port<C::Store>,
        plan: &Plan<C::Store>,
        request: &Planned<C::Store>,
        args: Args<'_>,
    ) -> Option<Ran> {
        let Known::Command(command, index) = request.known else { return None };
        let info = &command.info;
        let admitted = if conn.state.restricted { conn.session.admit(info) } else { Ok(()) };
        let admitted = admitted.and_then(|()| match self.is_overloaded && is_heavy(info) {
            true => Err(Refusal::Overloaded),
            false => Ok(()),
        });
        if let Err(refusal) = admitted {
            let runs_queue = matches!(command.run, Run::Queue(QueueVerb::Run));
            let is_denied_run = refusal == Refusal::Denied && runs_queue;
            let refusal = if is_denied_run { Refusal::RunDenied } else { refusal };
            let mut reply = Out::default();
            (port.refuse)(refusal, conn.state.scope, &mut reply);
            self.count_rejected(self.call(conn, command, index).index);
            self.refuse_queued(conn, &request.known);
            answer(conn, &mut reply);
            return Some(Ran::Done);
        }
        let is_about_queue = matches!(command.run, Run::Queue(verb) if verb != QueueVerb::Unwatch);
        let stays = is_about_queue || info.queueing == Queueing::AtOnce;
        if conn.queued.is_some() && !stays {
            return Some(self.enqueue(conn, port, command, index, args));
        }
        if conn.unfixed.len() >= UNFIXED
            && let Some(first) = conn.unfixed.first()
        {
            return Some(Ran::Stalled(Stall::Order(first.tx)));
        }
        let follows = |unfixed: &&Unfixed| {
            must_follow(unfixed, info, &command.run, request.place, plan.hashes(request))
        };
        if let Some(unfixed) = conn.unfixed.iter().find(follows) {
            self.server.metrics.order_stalls.add(1);
            return Some(Ran::Stalled(Stall::Order(unfixed.tx)));
        }
        let is_local = matches!(info.route, Route::Local | Route::Session);
        let strict = self.server.limits.get().strict_pipelines && !is_local;
        let waits = (info.barrier && !fault::is_on(Fault::NoBarrier)) || strict;
        (waits && !conn.queue.is_empty()).then_some(Ran::Stalled(Stall::Barrier))
    }

    /// Queues a request.
    pub(super) fn enqueue(
        &mut self,
        conn: &mut Conn,
        port: &'static Port<C::Store>,
        command: &'static crate::Command<C::Store>,
        index: u32,
        args: Args<'_>,
    ) -> Ran {
        conn.facts.last_command.set(Some(&command.info));
        let call = self.call(conn, command, index);
        let mut reply = Out::default();
        let most = self.server.limits.get().parse.request_bytes;
        let has_space = |queue: &Queue| queue.bytes + argument_bytes(args) <= most;
        let refusal = if command.info.queueing == Queueing::Never {
            Some(Refusal::NotQueueable)
        } else if !self.admits_queued(call, conn, args) {
            Some(Refusal::NoRoom)
        } else if !conn.queued.as_deref().is_some_and(has_space) {
            Some(Refusal::QueueFull)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            (port.refuse)(refusal, call.scope, &mut reply);
            self.count_rejected(call.index);
            spoil(conn);
        } else if let Some(queue) = &mut conn.queued {
            // Nothing of a spoiled one will run.
            if !queue.is_spoiled {
                queue.push(index, Kept::new(args));
            }
            (port.outcome)(Outcome::Queued, call.scope, &mut reply);
        }
        answer(conn, &mut reply);
        Ran::Done
    }

    /// Whether the store takes it that a request is queued.
    fn admits_queued(&mut self, call: Call<C::Store>, conn: &Conn, args: Args<'_>) -> bool {
        let (now_ms, scope, server) = (self.now_ms, call.scope, &self.server);
        let cx = Cx { now_ms, scope, server, caller: Caller::Within(&conn.facts) };
        self.store.admit_queued(&cx, &call.command.info, args)
    }

    /// Whether the store has room for what queued requests may write.
    pub(super) fn admits_queue(&mut self, conn: &Conn, queue: &Queue) -> bool {
        let port = self.port(conn);
        queue.requests.iter().all(|(index, args)| {
            let call = self.call(conn, port.table.numbered(*index), *index);
            self.admits(call, Caller::Within(&conn.facts), args.args())
        })
    }

    /// Runs a verb about the queue, other than those that start a transaction.
    pub(in crate::shard) fn run_queue_verb(
        &mut self,
        conn: &mut Conn,
        port: &'static Port<C::Store>,
        call: Call<C::Store>,
        verb: QueueVerb,
        args: Args<'_>,
    ) -> Ran {
        let mut reply = Out::default();
        let queue = conn.queued.take();
        let is_queued = queue.is_some() && matches!(verb, QueueVerb::Open | QueueVerb::Watch);
        let lacks_room = match &queue {
            Some(_) if is_queued => !self.admits_queued(call, conn, args),
            Some(queue) if verb == QueueVerb::Run => !self.admits_queue(conn, queue),
            _ => false,
        };
        conn.queued = queue;
        let outcome = match (verb, &conn.queued) {
            (QueueVerb::Open | QueueVerb::Watch, Some(_)) if lacks_room => {
                spoil(conn);
                Err(Refusal::NoRoom)
            }
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
                Err(if lacks_room { Refusal::RunNoRoom } else { Refusal::Spoiled })
            }
            (QueueVerb::Watch, _) => Err(Refusal::WatchWhileQueueing),
            (QueueVerb::Unwatch, _) => {
                self.unwatch(conn);
                Ok(Outcome::Done)
            }
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
    pub(in crate::shard) fn starts_transaction(conn: &Conn, verb: QueueVerb) -> bool {
        match verb {
            QueueVerb::Run => conn.queued.as_ref().is_some_and(|queue| !queue.is_spoiled),
            QueueVerb::Watch => conn.queued.is_none(),
            _ => false,
        }
    }

    /// A request that is refused spoils the queue; the one that was to run it ends it.
    pub(in crate::shard) fn refuse_queued(&mut self, conn: &mut Conn, known: &Known<C::Store>) {
        match known {
            Known::Arity(command, _) | Known::Command(command, _)
                if matches!(command.run, Run::Queue(QueueVerb::Run)) =>
            {
                conn.queued = None;
                self.unwatch(conn);
                conn.attend();
            }
            _ => spoil(conn),
        }
    }

    /// The connection watches nothing any more.
    pub(crate) fn unwatch(&mut self, conn: &mut Conn) {
        if let Some(watching) = conn.watching.take() {
            self.drop_watch(watching.id, watching.owners());
        }
    }

    pub(super) fn drop_watch(&mut self, watch: WatchId, owners: impl IntoIterator<Item = u16>) {
        let me = self.server.place.shard as u16;
        for owner in owners {
            if owner == me {
                self.server.changes.unwatch(watch);
            } else {
                self.outbox.push_free(owner as usize, Item::Unwatch(watch));
            }
        }
    }

    /// Tells those whose watched keys were changed in this turn. Nothing hangs on it: what counts is
    /// what a queue's run reads at the owner.
    #[inline]
    pub(in crate::shard) fn tell_marks(&mut self) {
        if self.server.changes.has_news() {
            for watch in self.server.changes.take_news() {
                if usize::from(watch.shard) == self.server.place.shard {
                    self.note_mark(watch);
                } else {
                    self.outbox.push_free(watch.shard.into(), Item::Marked(watch));
                }
            }
        }
    }

    /// A key that a connection watches was changed.
    pub(super) fn note_mark(&mut self, watch: WatchId) {
        let mut conns = self.server.conns.borrow_mut();
        let watching = conns.get_mut(watch.conn).and_then(|conn| conn.watching.as_mut());
        if let Some(watching) = watching.filter(|watching| watching.id == watch) {
            watching.is_marked = true;
        }
    }

    /// A watch has begun at its owners. Its connection may have dropped it before, or be gone.
    pub(super) fn end_watch_if_dropped(
        &mut self,
        id: ConnId,
        watch: WatchId,
        owners: impl IntoIterator<Item = u16>,
    ) {
        let is_kept = {
            let mut conns = self.server.conns.borrow_mut();
            let watching = conns.get_mut(id).and_then(|conn| conn.watching.as_ref());
            watching.is_some_and(|watching| watching.id == watch)
        };
        if !is_kept {
            self.drop_watch(watch, owners);
        }
    }
}

/// Whether an overloaded server refuses it. What concerns the connection or looks at the server goes
/// on, so that whoever has to find out why can.
fn is_heavy(info: &CommandInfo) -> bool {
    !matches!(info.route, Route::Local | Route::Session | Route::All { loose: true })
}

/// Bytes of a request's arguments.
fn argument_bytes(args: Args<'_>) -> usize {
    args.iter().map(<[u8]>::len).sum()
}

/// Nothing of a connection's queue will run.
fn spoil(conn: &mut Conn) {
    if let Some(queue) = &mut conn.queued {
        queue.is_spoiled = true;
    }
}

/// Whether a request has to wait for the order of its connection's transaction: until that is known
/// the transaction may still move behind it.
pub(super) fn must_follow<S>(
    unfixed: &Unfixed,
    info: &CommandInfo,
    run: &Run<S>,
    place: Where,
    hashes: &[u64],
) -> bool {
    match unfixed.holds {
        Holds::All => return true,
        Holds::Queue if matches!(run, Run::Queue(_)) => return true,
        _ => {}
    }
    // What a queue wants is found out when it runs.
    let is_queue = matches!(run, Run::Queue(QueueVerb::Run));
    let is_transaction =
        is_queue || place == Where::Several || matches!(run, Run::Tx(_) | Run::Queue(_));
    let follows = is_queue
        || match info.route {
            Route::Local | Route::Session => false,
            Route::All { .. } | Route::At(_) => true,
            _ => unfixed.wants(hashes),
        };
    let fault = if is_transaction { Fault::NoTransactionStall } else { Fault::NoOrderStall };
    follows && !fault::is_on(fault)
}
