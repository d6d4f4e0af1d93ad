//! Running requests: a connection's burst, and the batches that other shards sent.

use std::any::{Any, TypeId};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::Instant;

use tracing::error;

use crate::args::Args;
use crate::commands::{
    CheckFn, Command, CommandInfo, Commands, Part, PartFn, Place, Port, ReplyMode, Route, Run,
    RunFn, SessionFn, SessionState, Store,
};
use crate::conn::{Closing, Conn, ConnFacts, ConnHandle, ConnId, Stall};
use crate::cx::{Caller, Cx, Server};
use crate::gather::{PartOut, Plan as PartPlan};
use crate::hash::KeyHasher;
use crate::kept::Kept;
use crate::metrics::TIMED_EVERY;
use crate::offload::Home;
use crate::reactor::Incoming;
use crate::reaper;
use crate::reply_queue::Gather;
use crate::shard::TURN_REQUESTS;
use crate::shard::batch::{Batch, Call, Item, Ticket};
use crate::shard::later::Streams;
use crate::shard::outbox::Outbox;
use crate::shard::plan::{Known, Placement, Plan, Planned, Where, prefetch_all};
use crate::shard::transact::{Transactions, parts_of};
use crate::shared::{Mark, Out};
use crate::stream::There;
use crate::table::Found;
use crate::timers::TIMERS_PER_TURN;
use crate::tx::hop::Project;
use crate::wire::{BURST_REQUESTS, Burst, Refusal, Resume};

/// What of a turn all requests share: the parts of a shard that running them needs.
pub(crate) struct Engine<C: Commands, Socket> {
    pub(crate) store: C::Store,
    pub(crate) server: Server,
    pub(crate) outbox: Outbox<C::Store, Socket>,
    pub(crate) hasher: KeyHasher,
    pub(crate) now_ms: u64,
    pub(super) ports: &'static [Port<C::Store>],
    /// Its own store, and those of all sets.
    parts_of_store: Vec<Part<C::Store>>,
    /// Index of each port's first command among the process's.
    pub(super) first_command: Vec<u32>,
    burst: Burst,
    pub(super) plan: Plan<C::Store>,
    pub(super) transactions: Transactions<C::Store>,
    /// Connections that mail had something for.
    pub(super) touched: Vec<ConnId>,
    /// Where a reply is written that can't go to its connection's output yet.
    scratch: Out,
    pub(super) parts: Vec<PartOut>,
    /// Emptied arguments of parts.
    pub(super) spare: Vec<Kept>,
    /// Output buffers that no connection uses.
    outputs: Vec<Out>,
    until_timed: u64,
    /// Requests run in this turn.
    pub(crate) requests: usize,
    /// Tasks of this shard's that the pool has.
    pub(super) open_tasks: usize,
    /// Whether something has to be looked at before each request of this turn: pipelines are
    /// strict, or the server is overloaded.
    is_watchful: bool,
    pub(super) is_overloaded: bool,
    /// Replies in pieces that this shard makes for others.
    pub(super) streams: Streams,
}

/// A request for all shards, and who sent it.
pub(super) type StartedAll<S> = (Box<Kept>, Call<S>, ConnFacts);

/// What became of a request.
pub(super) enum Ran {
    /// It is answered, or under way.
    Done,
    /// It can't be taken now: its connection waits.
    Stalled(Stall),
}

impl<C: Commands, Socket: Send + 'static> Engine<C, Socket> {
    pub(crate) fn new(mut store: C::Store, mut server: Server, hasher: KeyHasher) -> Self {
        store.attach(&server.changes);
        let mut parts = vec![Part::new::<C::Store>()];
        parts.extend(C::ports().iter().flat_map(|port| port.parts.concat()));
        server.parts = parts.iter().map(|part| (part.of)()).collect();
        let shards = server.place.shards;
        let ports = C::ports();
        let mut first_command = Vec::new();
        let mut commands = 0;
        for port in ports {
            first_command.push(commands);
            commands += port.table.commands().len() as u32;
        }
        Engine {
            store,
            server,
            outbox: Outbox::new(shards),
            hasher,
            now_ms: 0,
            ports,
            parts_of_store: parts,
            first_command,
            burst: Burst::default(),
            plan: Plan::default(),
            transactions: Transactions::default(),
            touched: Vec::new(),
            scratch: Out::default(),
            parts: Vec::new(),
            spare: Vec::new(),
            outputs: Vec::new(),
            until_timed: TIMED_EVERY,
            requests: 0,
            open_tasks: 0,
            is_watchful: false,
            is_overloaded: false,
            streams: Streams::default(),
        }
    }

    pub(crate) fn port(&self, conn: &Conn) -> &'static Port<C::Store> {
        &self.ports[conn.port as usize]
    }

    pub(super) fn cx<'a>(&'a self, caller: Caller<'a>, scope: u64) -> Cx<'a> {
        Cx { now_ms: self.now_ms, scope, server: &self.server, caller }
    }

    /// What a connection's request calls; `index` is the command's in the port's table.
    #[inline]
    pub(super) fn call(
        &self,
        conn: &Conn,
        command: &'static Command<C::Store>,
        index: u32,
    ) -> Call<C::Store> {
        let index = self.first_command[conn.port as usize] + index;
        Call { command, index, port: conn.port, scope: conn.state.scope }
    }

    pub(super) fn placement(&self) -> Placement<'_> {
        let place = self.server.place;
        Placement { hasher: &self.hasher, me: place.shard, shards: place.shards }
    }

    /// Finds out whether this turn's requests are looked at one by one.
    pub(super) fn watch_load(&mut self) {
        let limits = self.server.limits.get();
        let is_above = |limit: usize, load: &dyn Fn() -> usize| limit > 0 && load() >= limit;
        let open = || self.outbox.open_requests() + self.open_tasks;
        let held = || {
            let held = self.server.process.client_memory.load(Ordering::Relaxed);
            usize::try_from(held).unwrap_or(0)
        };
        self.is_overloaded =
            is_above(limits.overload_requests, &open) || is_above(limits.overload_bytes, &held);
        self.is_watchful = self.is_overloaded || limits.strict_pipelines;
    }

    /// Where the store holds the part of this type.
    ///
    /// # Panics
    /// If there is none.
    pub(super) fn project(&self, part: TypeId) -> Project<C::Store> {
        let part = self.parts_of_store.iter().find(|other| (other.of)() == part);
        part.expect("it is a store of this server or of one of its sets").project
    }

    /// Runs timers that are due, a bounded number. Answers whether there was one.
    pub(super) fn run_timers(&mut self) -> bool {
        for ran in 0..TIMERS_PER_TURN {
            let started = self.server.timers.borrow_mut().start(self.now_ms);
            let Some(mut timer) = started else { return ran > 0 };
            let project = self.project(timer.part);
            let scope = timer.scope;
            let caller = Caller::Nobody;
            let cx = Cx { now_ms: self.now_ms, scope, server: &self.server, caller };
            (timer.action)(project(&mut self.store, &cx), &cx);
            self.server.timers.borrow_mut().finish(timer, self.now_ms);
        }
        true
    }

    /// Keeps an output's buffer for another connection, or frees it.
    pub(crate) fn keep_output(&mut self, mut out: Out) {
        if (1..=KEPT_OUTPUT_BYTES).contains(&out.capacity()) && self.outputs.len() < KEPT_OUTPUTS {
            out.clear();
            self.outputs.push(out);
        } else {
            reaper::free(out.into_buffer());
        }
    }

    /// Takes in what arrived for a connection, and runs what is whole.
    pub(crate) fn receive(&mut self, conn: &mut Conn, bytes: &[u8]) {
        conn.facts.last_ms.set(self.now_ms);
        if conn.closing() != Closing::No {
            return;
        }
        self.lend_output(conn);
        let mut bytes = &bytes[conn.input.feed(bytes)..];
        // A request that was cut is put together with as little as it takes; what follows it is
        // parsed where it lies.
        while !conn.input.is_empty()
            && !bytes.is_empty()
            && conn.stall == Stall::No
            && conn.closing() == Closing::No
        {
            let seam = conn.input.len().max(SEAM_BYTES).min(bytes.len());
            conn.input.keep(&bytes[..seam]);
            self.run_kept_input(conn);
            bytes = &bytes[seam - conn.input.take_back(seam)..];
        }
        if conn.closing() != Closing::No {
            return;
        }
        if conn.stall != Stall::No {
            conn.input.keep(bytes);
        } else if conn.input.is_empty() {
            let used = self.run_input(conn, bytes);
            conn.input.keep_tail(&bytes[used..], conn.stall == Stall::No);
        } else {
            conn.input.gather();
        }
    }

    /// Goes on with a connection that waited: first the request that did, then its input.
    pub(crate) fn resume(&mut self, conn: &mut Conn) {
        conn.stall = Stall::No;
        self.lend_output(conn);
        if let Some(kept) = conn.kept.take() {
            let port = self.port(conn);
            self.plan.clear();
            let mut plan = std::mem::take(&mut self.plan);
            plan.add(&port.table, kept.args(), &self.placement());
            self.run_planned(conn, port, &plan, |_| kept.args());
            self.plan = plan;
        }
        if conn.stall == Stall::No {
            self.run_kept_input(conn);
        }
        if conn.stall == Stall::No {
            conn.input.gather();
        }
    }

    /// Runs what the connection keeps.
    fn run_kept_input(&mut self, conn: &mut Conn) {
        if conn.closing() != Closing::No || conn.input.is_gathering() {
            return;
        }
        let kept = conn.input.take();
        let used = self.run_input(conn, kept.bytes());
        conn.input.give_back(kept);
        conn.input.consume(used);
    }

    /// Parses and runs bursts from the start of `input`; answers how much of it they used.
    fn run_input(&mut self, conn: &mut Conn, input: &[u8]) -> usize {
        let port = self.port(conn);
        let mut used = 0;
        while conn.closing() == Closing::No && conn.stall == Stall::No {
            let limits = self.server.limits.get();
            let was_restricted = conn.state.restricted;
            let limits = if was_restricted { &limits.restricted } else { &limits.parse };
            let rest = &input[used..];
            let mut refusal = Out::default();
            let mut burst = std::mem::take(&mut self.burst);
            burst.clear();
            let resume = &mut conn.input.resume;
            let scope = conn.state.scope;
            let is_well_formed =
                (port.parse)(rest, resume, limits, &mut burst, &mut refusal, scope);

            let ran = self.run_burst(conn, port, &burst, rest);
            used += if ran == 0 { 0 } else { burst.ends[ran - 1].bytes as usize };
            let parsed = burst.ends.len();
            if burst.is_last && ran == parsed {
                conn.close(Closing::AfterRequest);
            }
            self.burst = burst;
            if ran < parsed || conn.stall != Stall::No || conn.state.restricted != was_restricted {
                // What was read of later requests is read again when this one is through, and under
                // the limits that hold by then.
                conn.input.resume = Resume::default();
            } else if !is_well_formed && conn.closing() == Closing::No {
                self.server.metrics.protocol_errors.add(1);
                self.server.metrics.error_replies.add(1);
                answer(conn, &mut refusal);
                conn.close(Closing::AfterFlush);
            } else if parsed < BURST_REQUESTS {
                break;
            } else if self.requests >= TURN_REQUESTS {
                conn.input.resume = Resume::default();
                conn.stall = Stall::Turn;
            }
        }
        used
    }

    /// Plans and runs a parsed burst; answers how many of its requests are through.
    #[inline]
    fn run_burst(
        &mut self,
        conn: &mut Conn,
        port: &'static Port<C::Store>,
        burst: &Burst,
        input: &[u8],
    ) -> usize {
        if burst.ends.is_empty() {
            return 0;
        }
        let mut plan = std::mem::take(&mut self.plan);
        plan.clear();
        let placement = self.placement();
        for index in 0..burst.ends.len() {
            plan.add(&port.table, burst.args(index, input), &placement);
        }
        plan.prefetch(&self.store, conn.state.scope, placement.me);
        let ran = self.run_planned(conn, port, &plan, |index| burst.args(index, input));
        self.plan = plan;
        ran
    }

    /// Runs planned requests in order; answers how many are through. One that has to wait is kept
    /// and counts. A handler that panics harms its own request only, unless it may have changed
    /// the store: then the process ends.
    #[inline]
    fn run_planned<'a>(
        &mut self,
        conn: &mut Conn,
        port: &'static Port<C::Store>,
        plan: &Plan<C::Store>,
        args: impl Fn(usize) -> Args<'a>,
    ) -> usize {
        let at = Cell::new(0);
        let mark = Cell::new(Mark::default());
        while at.get() < plan.requests.len() && conn.stall == Stall::No && conn.may_run() {
            let guarded = AssertUnwindSafe(|| {
                while let Some(request) = plan.requests.get(at.get()) {
                    mark.set(conn.out.mark());
                    let args = args(at.get()).with_hashes(plan.hashes(request));
                    let ran = self.run_request(conn, port, plan, request, args);
                    at.set(at.get() + 1);
                    if let Ran::Stalled(stall) = ran {
                        conn.stall = stall;
                        conn.kept = Some(Box::new(Kept::new(args)));
                        self.note_stall(conn);
                        return;
                    }
                    if !conn.may_run() {
                        return;
                    }
                }
            });
            if catch_unwind(guarded).is_err() {
                if let Known::Command(command, _) = &plan.requests[at.get()].known {
                    survive_panic(&command.info, command.info.write);
                }
                conn.out.truncate(mark.get());
                let mut reply = Out::default();
                (port.refuse)(Refusal::Panicked, conn.state.scope, &mut reply);
                self.server.metrics.error_replies.add(1);
                answer(conn, &mut reply);
                at.set(at.get() + 1);
            }
        }
        self.requests += at.get();
        self.server.metrics.requests.add(at.get() as u64);
        at.get()
    }

    /// An idle connection holds no output buffer; one that gets requests borrows one.
    #[inline]
    pub(super) fn lend_output(&mut self, conn: &mut Conn) {
        if conn.out.capacity() == 0
            && let Some(out) = self.outputs.pop()
        {
            conn.out = out;
        }
    }

    #[cold]
    fn note_stall(&mut self, conn: &Conn) {
        match conn.stall {
            Stall::Credits(_) => self.server.metrics.credit_stalls.add(1),
            Stall::Output => self.server.metrics.output_pauses.add(1),
            _ => {}
        }
    }

    /// Runs one request, or sends it to where it runs.
    #[inline]
    fn run_request(
        &mut self,
        conn: &mut Conn,
        port: &'static Port<C::Store>,
        plan: &Plan<C::Store>,
        request: &Planned<C::Store>,
        args: Args<'_>,
    ) -> Ran {
        let Known::Command(command, index) = request.known else {
            return self.refuse(conn, port, &request.known, args);
        };
        if conn.output_bytes() >= self.server.limits.get().output_soft_bytes {
            return Ran::Stalled(Stall::Output);
        }
        if (conn.is_special || command.info.barrier || self.is_watchful)
            && let Some(ran) = self.hold_back(conn, port, plan, request, args)
        {
            return ran;
        }
        conn.facts.last_command.set(Some(&command.info));
        let call = self.call(conn, command, index);
        match (request.place, &command.run) {
            (Where::Here, Run::One(run) | Run::Gather { whole: run, .. })
                if !matches!(command.info.route, Route::All { .. }) =>
            {
                if self.transactions.entries > 0 && self.must_wait(call, args) {
                    return self.wait_here(conn, call, args);
                }
                self.run_here(conn, call, *run, args);
                Ran::Done
            }
            (Where::Here, Run::Session(run)) => {
                self.run_session(conn, call, *run, args);
                Ran::Done
            }
            (Where::Several, Run::Gather { check, .. })
                if !matches!(command.info.route, Route::All { .. }) =>
            {
                self.scatter(conn, call, *check, args, plan.owners(request))
            }
            (Where::There(owner), Run::One(_) | Run::Gather { .. }) => {
                self.send(conn, owner, call, args)
            }
            (_, Run::Queue(verb)) if !Self::starts_transaction(conn, *verb) => {
                self.run_queue_verb(conn, port, call, *verb, args)
            }
            (_, Run::Tx(_)) => self.before_table(plan.owners(request).iter().copied()),
            _ => self.before_table(0..self.server.place.shards as u16),
        }
    }

    /// Answers a request that is no command's, or has a wrong number of arguments.
    #[cold]
    fn refuse(
        &mut self,
        conn: &mut Conn,
        port: &'static Port<C::Store>,
        known: &Known<C::Store>,
        args: Args<'_>,
    ) -> Ran {
        // A wire closes a request without arguments for bytes that it skips.
        if args.is_empty() {
            return Ran::Done;
        }
        let mut reply = std::mem::take(&mut self.scratch);
        reply.clear();
        let scope = conn.state.scope;
        match known {
            Known::Arity(command, index) => {
                self.count_rejected(self.call(conn, command, *index).index);
                (port.refuse)(Refusal::Arity(command.info.name), scope, &mut reply);
            }
            Known::No(verb) => {
                self.server.metrics.error_replies.add(1);
                (port.unknown)(args, *verb, scope, &mut reply);
            }
            Known::Command(..) => {}
        }
        self.refuse_queued(conn, known);
        answer(conn, &mut reply);
        self.scratch = reply;
        Ran::Done
    }

    /// A request of a connection here waits for transactions that want its keys.
    #[cold]
    fn wait_here(&mut self, conn: &mut Conn, call: Call<C::Store>, args: Args<'_>) -> Ran {
        let me = self.server.place.shard as u16;
        if !self.outbox.has_credit(me as usize) {
            return Ran::Stalled(Stall::Credits(me));
        }
        let number = conn.queue.wait(take_muted(&mut conn.state));
        let bytes = self.defer(call, args, (me, conn.id, number));
        self.outbox.open(me as usize, bytes);
        Ran::Done
    }

    /// Runs a request on this shard's store, for a connection of this shard.
    #[inline]
    fn run_here(
        &mut self,
        conn: &mut Conn,
        call: Call<C::Store>,
        run: RunFn<C::Store>,
        args: Args<'_>,
    ) {
        if conn.queue.is_empty() && conn.state.reply == ReplyMode::On {
            let Conn { out, facts, .. } = conn;
            if self.run_whole(call, run, Caller::Here(facts), args, out) {
                let later = out.take_later();
                self.answer_later(conn, call, later);
            }
        } else {
            let mut reply = std::mem::take(&mut self.scratch);
            reply.clear();
            if self.run_whole(call, run, Caller::Here(&conn.facts), args, &mut reply) {
                self.answer_later(conn, call, reply.take_later());
            } else {
                answer(conn, &mut reply);
            }
            self.scratch = reply;
        }
    }

    /// Whether the store takes a request: one that may write is asked for.
    #[inline]
    pub(super) fn admits(
        &mut self,
        call: Call<C::Store>,
        caller: Caller<'_>,
        args: Args<'_>,
    ) -> bool {
        let info = &call.command.info;
        let cx = Cx { now_ms: self.now_ms, scope: call.scope, server: &self.server, caller };
        !info.write || self.store.admit(&cx, info, args)
    }

    /// Answers a request that the store has no room for.
    #[cold]
    pub(super) fn refuse_room(&self, call: Call<C::Store>, out: &mut Out) {
        (self.ports[call.port as usize].refuse)(Refusal::NoRoom, call.scope, out);
        self.count_rejected(call.index);
    }

    /// Counts a request whose handler was not called.
    #[cold]
    pub(super) fn count_rejected(&self, index: u32) {
        self.server.stats[index as usize].rejected.add(1);
        self.server.metrics.error_replies.add(1);
    }

    /// Counts a request that ran.
    #[inline]
    pub(super) fn count_run(&self, index: u32, has_failed: bool) {
        let stats = &self.server.stats[index as usize];
        stats.calls.add(1);
        if has_failed {
            stats.failed.add(1);
            self.server.metrics.error_replies.add(1);
        }
    }

    /// Runs a whole request's handler, and counts. Answers whether the reply comes later, which it
    /// does for callers that say so only.
    #[inline]
    pub(super) fn run_whole(
        &mut self,
        call: Call<C::Store>,
        run: RunFn<C::Store>,
        caller: Caller<'_>,
        args: Args<'_>,
        out: &mut Out,
    ) -> bool {
        if !self.admits(call, caller, args) {
            self.refuse_room(call, out);
            return false;
        }
        self.run_admitted(call, run, caller, args, out)
    }

    /// The same for a request that the store has room for.
    #[inline(always)]
    pub(super) fn run_admitted(
        &mut self,
        call: Call<C::Store>,
        run: RunFn<C::Store>,
        caller: Caller<'_>,
        args: Args<'_>,
        out: &mut Out,
    ) -> bool {
        let cx = Cx { now_ms: self.now_ms, scope: call.scope, server: &self.server, caller };
        let errors = out.errors();
        self.until_timed -= 1;
        if self.until_timed == 0 {
            self.until_timed = TIMED_EVERY;
            let started = Instant::now();
            run(&mut self.store, &cx, args, out);
            let stats = &self.server.stats[call.index as usize];
            stats.timed_ns.add(started.elapsed().as_nanos() as u64);
            stats.timed.add(1);
        } else {
            run(&mut self.store, &cx, args, out);
        }
        let is_noted = out.errors() != errors;
        let comes_later = is_noted && out.comes_later();
        self.count_run(call.index, is_noted && !comes_later);
        comes_later
    }

    fn run_session(
        &mut self,
        conn: &mut Conn,
        call: Call<C::Store>,
        run: SessionFn<C::Store>,
        args: Args<'_>,
    ) {
        let mut reply = Out::default();
        let is_skipped = conn.state.reply == ReplyMode::SkipNext;
        self.run_session_request(conn, call, run, args, &mut reply);
        // A session that just turned replies off, or on, means its own reply too.
        match conn.state.reply {
            ReplyMode::SkipNext => {}
            ReplyMode::OnAtOnce => {
                conn.state.reply = ReplyMode::On;
                answer(conn, &mut reply);
            }
            _ if is_skipped => {}
            _ => answer(conn, &mut reply),
        }
    }

    /// Runs a request that may change its session, and looks at what has become of that.
    pub(super) fn run_session_request(
        &mut self,
        conn: &mut Conn,
        call: Call<C::Store>,
        run: SessionFn<C::Store>,
        args: Args<'_>,
        reply: &mut Out,
    ) {
        if !self.admits(call, Caller::Within(&conn.facts), args) {
            return self.refuse_room(call, reply);
        }
        let (now_ms, server) = (self.now_ms, &self.server);
        let caller = Caller::Within(&conn.facts);
        let cx = Cx { now_ms, scope: call.scope, server, caller };
        let session: &mut dyn Any = &mut *conn.session;
        run(session, &mut self.store, &cx, args, reply);
        self.count_run(call.index, reply.errors() != 0);
        conn.state = conn.session.state();
        if conn.state.drops_queue {
            conn.queued = None;
            self.unwatch(conn);
        }
        conn.attend();
    }

    /// Sends a whole request to its owner.
    #[inline]
    fn send(&mut self, conn: &mut Conn, owner: u16, call: Call<C::Store>, args: Args<'_>) -> Ran {
        if !self.outbox.has_credit(owner as usize) {
            return Ran::Stalled(Stall::Credits(owner));
        }
        let number = conn.queue.wait(take_muted(&mut conn.state));
        let mut writer = self.outbox.batch(owner as usize).writer();
        writer.whole(args);
        let ticket = writer.ticket(conn.id, number, call);
        self.outbox.push(owner as usize, Item::Request(ticket, Mark::default()));
        Ran::Done
    }

    /// Sends each owner of a request's keys its part, and runs what is here.
    fn scatter(
        &mut self,
        conn: &mut Conn,
        call: Call<C::Store>,
        check: CheckFn,
        args: Args<'_>,
        owners: &[u16],
    ) -> Ran {
        let Route::Keys(range) = call.command.info.route else { return Ran::Done };
        if let Some(&owner) = owners.iter().find(|&&owner| !self.outbox.has_credit(owner as usize))
        {
            return Ran::Stalled(Stall::Credits(owner));
        }
        if !self.passes(conn, call, check, args) {
            return Ran::Done;
        }
        let (plan, parts) = parts_of(args, range, owners, &mut self.spare);
        self.gather(conn, call, plan, parts);
        Ran::Done
    }

    /// Whether a request may be scattered; answers it if not.
    fn passes(
        &mut self,
        conn: &mut Conn,
        call: Call<C::Store>,
        check: CheckFn,
        args: Args<'_>,
    ) -> bool {
        let mut reply = Out::default();
        let passes = check(&self.cx(Caller::Within(&conn.facts), call.scope), args, &mut reply);
        if !passes {
            self.count_run(call.index, true);
            answer(conn, &mut reply);
        }
        passes
    }

    /// Takes a slot for a request of `parts` parts.
    pub(super) fn open_gather(
        &mut self,
        conn: &mut Conn,
        call: Call<C::Store>,
        plan: PartPlan,
        parts: usize,
    ) -> u64 {
        let Run::Gather { merge, .. } = call.command.run else { unreachable!("routed to several") };
        let muted = take_muted(&mut conn.state);
        let slots = (0..parts).map(|_| PartOut::default()).collect();
        conn.queue.gather(Box::new(Gather {
            merge,
            plan,
            parts: slots,
            open: parts,
            index: call.index,
            scope: call.scope,
            muted,
        }))
    }

    /// Runs a part. One that the store has no room for is a refusal.
    fn run_part(
        &mut self,
        call: Call<C::Store>,
        caller: Caller<'_>,
        args: Args<'_>,
        answer: &mut PartOut,
    ) {
        if self.admits(call, caller, args) {
            self.run_admitted_part(call, caller, args, answer);
        } else {
            answer.refuse(Refusal::NoRoom);
        }
    }

    /// The same for a part that the store has room for. One that panics is a refusal.
    pub(super) fn run_admitted_part(
        &mut self,
        call: Call<C::Store>,
        caller: Caller<'_>,
        args: Args<'_>,
        answer: &mut PartOut,
    ) {
        let Run::Gather { part, .. } = call.command.run else { unreachable!("sent as a part") };
        let part: PartFn<C::Store> = part;
        let guarded = AssertUnwindSafe(|| {
            let cx = Cx { now_ms: self.now_ms, scope: call.scope, server: &self.server, caller };
            part(&mut self.store, &cx, args, answer);
        });
        if catch_unwind(guarded).is_err() {
            survive_panic(&call.command.info, call.command.info.write);
            answer.refuse(Refusal::Panicked);
        }
    }

    /// Takes in one part of a request's reply; the last one makes the reply.
    pub(super) fn finish_part(
        &mut self,
        conn: &mut Conn,
        number: u64,
        part: usize,
        answer: PartOut,
    ) {
        let Some(gather) = conn.queue.gathering(number) else { return };
        gather.parts[part] = answer;
        gather.open -= 1;
        if gather.open > 0 {
            return;
        }
        let Some(mut gather) = conn.queue.take_gather(number) else { return };
        let mut reply = std::mem::take(&mut self.scratch);
        reply.clear();
        let refusal = gather.parts.iter().find_map(PartOut::refusal);
        if let Some(refusal) = refusal {
            (self.port(conn).refuse)(refusal, gather.scope, &mut reply);
        } else {
            let cx = self.cx(Caller::Within(&conn.facts), gather.scope);
            (gather.merge)(&cx, &gather.plan, &mut gather.parts, &mut reply);
        }
        match refusal {
            Some(Refusal::NoRoom) => self.count_rejected(gather.index),
            refusal => self.count_run(gather.index, refusal.is_some() || reply.errors() != 0),
        }
        let end = if gather.muted { Mark::default() } else { reply.mark() };
        conn.queue.finish(number, &reply, (Mark::default(), end), &mut conn.out);
        self.scratch = reply;
        for mut part in gather.parts {
            if self.parts.len() < KEPT_PARTS {
                part.clear();
                self.parts.push(part);
            }
        }
    }

    /// A request waits for the moment when its connection is in the table again: handlers that run
    /// for it see all connections.
    fn before_table(&self, mut owners: impl Iterator<Item = u16>) -> Ran {
        match owners.find(|&owner| !self.outbox.has_credit(owner as usize)) {
            Some(owner) => Ran::Stalled(Stall::Credits(owner)),
            None => Ran::Stalled(Stall::Table),
        }
    }

    /// Runs the kept request of a connection that is in the table.
    pub(crate) fn run_kept_request(&mut self, id: ConnId) {
        let is_all = {
            let mut conns = self.server.conns.borrow_mut();
            let Some(conn) = conns.get_mut(id) else { return };
            let found = conn.kept.as_ref().map(|kept| self.port(conn).table.find(kept.args()));
            matches!(
                found,
                Some(Found::Command(command, _)) if matches!(command.run, Run::Gather { .. })
            )
        };
        if is_all {
            self.run_all(id);
        } else {
            self.start_transaction(id);
        }
    }

    /// Runs a kept request of route `all`. One that wants a cut is a transaction.
    fn run_all(&mut self, id: ConnId) {
        let lent = self.server.conns.borrow_mut().lend(id);
        let Some(mut conn) = lent else { return };
        let started = self.start_all(&mut conn);
        let Some((kept, call, facts)) = started else {
            return self.server.conns.borrow_mut().give_back(conn);
        };
        let args = kept.args();
        let Place { shard: me, shards } = self.server.place;
        if shards == 1 {
            self.server.conns.borrow_mut().give_back(conn);
            return self.run_all_here(id, call, &facts, args);
        }
        if matches!(call.command.info.route, Route::All { loose: false }) {
            let parts = (0..shards as u16).map(|shard| (shard, Kept::new(args))).collect();
            self.gather(&mut conn, call, PartPlan::default(), parts);
            return self.server.conns.borrow_mut().give_back(conn);
        }
        let number = self.open_gather(&mut conn, call, PartPlan::default(), shards);
        self.server.conns.borrow_mut().give_back(conn);
        for owner in (0..shards).filter(|&owner| owner != me) {
            let mut writer = self.outbox.batch(owner).writer();
            writer.whole(args);
            let ticket = writer.ticket(id, number, call);
            let answer = self.parts.pop().unwrap_or_default();
            self.outbox
                .push(owner, Item::Part { ticket, part: owner as u16, answer: Box::new(answer) });
        }
        let mut own = self.parts.pop().unwrap_or_default();
        self.run_part(call, Caller::Within(&facts), args, &mut own);
        let lent = self.server.conns.borrow_mut().lend(id);
        let Some(mut conn) = lent else { return };
        self.finish_part(&mut conn, number, me, own);
        self.server.conns.borrow_mut().give_back(conn);
    }

    /// The only shard is all of them.
    fn run_all_here(
        &mut self,
        id: ConnId,
        call: Call<C::Store>,
        facts: &ConnFacts,
        args: Args<'_>,
    ) {
        let Run::Gather { whole, .. } = call.command.run else { return };
        let mut reply = Out::default();
        let guarded = catch_unwind(AssertUnwindSafe(|| {
            self.run_whole(call, whole, Caller::Within(facts), args, &mut reply);
        }));
        if guarded.is_err() {
            survive_panic(&call.command.info, call.command.info.write);
            reply.clear();
            let port = &self.ports[call.port as usize];
            (port.refuse)(Refusal::Panicked, call.scope, &mut reply);
        }
        if let Some(conn) = self.server.conns.borrow_mut().get_mut(id) {
            answer(conn, &mut reply);
        }
    }

    /// Takes the request that a connection waits with, and a copy of what is known of the
    /// connection, which is not lent while the request runs.
    fn start_all(&mut self, conn: &mut Conn) -> Option<StartedAll<C::Store>> {
        conn.stall = Stall::No;
        let kept = conn.kept.take()?;
        let args = kept.args();
        let Found::Command(command, index) = self.port(conn).table.find(args) else { return None };
        let Run::Gather { check, .. } = command.run else { return None };
        let call = self.call(conn, command, index as u32);
        if self.server.place.shards > 1 && !self.passes(conn, call, check, args) {
            return None;
        }
        Some((kept, call, conn.facts.clone()))
    }

    /// Runs what another shard sent. Connections that came along are left in `adopted`.
    pub(crate) fn run_batch(
        &mut self,
        source: usize,
        batch: &mut Batch<C::Store, Socket>,
        adopted: &mut Vec<Incoming<Socket>>,
    ) {
        let mut items = std::mem::take(&mut batch.items);
        let mut replies = std::mem::take(&mut batch.replies);
        self.server.metrics.requests_for_others.add(batch.requests as u64);
        self.requests += batch.requests;
        for burst in items.chunks_mut(BURST_REQUESTS) {
            if burst.len() > 1 {
                let keys = burst.iter().flat_map(|item| batch.keys(item));
                prefetch_all(&self.store, keys);
            }
            let at = Cell::new(0);
            let mark = Cell::new(Mark::default());
            while at.get() < burst.len() {
                let guarded = AssertUnwindSafe(|| {
                    while let Some(item) = burst.get_mut(at.get()) {
                        mark.set(replies.mark());
                        self.run_item(source, batch, item, &mut replies, adopted);
                        at.set(at.get() + 1);
                    }
                });
                if catch_unwind(guarded).is_err() {
                    // A part's panic is its refusal already, and connections come without code.
                    let Item::Request(Ticket { call, .. }, end) = &mut burst[at.get()] else {
                        std::process::abort()
                    };
                    survive_panic(&call.command.info, call.command.info.write);
                    replies.truncate(mark.get());
                    let port = &self.ports[call.port as usize];
                    (port.refuse)(Refusal::Panicked, call.scope, &mut replies);
                    *end = replies.mark();
                    at.set(at.get() + 1);
                }
            }
        }
        // Those that have to wait here are answered later, and stay open with their sender.
        for item in &items {
            if let Item::Waits { bytes } = item {
                batch.requests -= 1;
                batch.waiting_bytes += bytes;
            }
        }
        batch.items = items;
        batch.replies = replies;
        batch.is_answered = true;
    }

    #[inline]
    fn run_item(
        &mut self,
        source: usize,
        batch: &Batch<C::Store, Socket>,
        item: &mut Item<C::Store, Socket>,
        replies: &mut Out,
        adopted: &mut Vec<Incoming<Socket>>,
    ) {
        match item {
            Item::Request(ticket, end) => {
                let call = ticket.call;
                let (Run::One(run) | Run::Gather { whole: run, .. }) = call.command.run else {
                    unreachable!("a session's request stays with its connection")
                };
                let args = batch.args(ticket);
                if self.transactions.entries > 0 && self.must_wait(call, args) {
                    let whose = (source as u16, ticket.conn, ticket.number);
                    *item = Item::Waits { bytes: self.defer(call, args, whose) };
                    return;
                }
                let whom = ConnHandle { shard: source as u16, id: ticket.conn };
                let comes_later = self.run_whole(call, run, Caller::There(whom), args, replies);
                *end = replies.mark();
                if comes_later && let Some(later) = replies.take_later() {
                    let home = Home { whom, number: ticket.number, bytes: 0 };
                    if self.start_later(later, home, call, replies) {
                        *item = Item::Waits { bytes: 0 };
                    } else {
                        *end = replies.mark();
                    }
                }
            }
            Item::Part { ticket, answer, .. } => {
                let caller = Caller::There(ConnHandle { shard: source as u16, id: ticket.conn });
                self.run_part(ticket.call, caller, batch.args(ticket), answer);
            }
            Item::Adopt(incoming) => adopted.extend(incoming.take()),
            Item::Piece { .. } => {
                let taken = std::mem::replace(item, Item::Done);
                if let Item::Piece { conn, number, stream, bytes, piece } = taken {
                    let from = There { owner: source as u16, stream, bytes };
                    self.take_piece(conn, number, from, piece);
                }
            }
            Item::NextPiece(stream) => self.send_piece(*stream),
            Item::StopStream(stream) => self.streams.remove(*stream),
            Item::Errand(..) => {
                if let Item::Errand(id, errand) = std::mem::replace(item, Item::Done) {
                    self.do_errand(id, errand);
                }
            }
            Item::Schedule(schedule) => {
                if let Some(schedule) = schedule.take() {
                    *item = self.schedule(schedule);
                    self.advance();
                }
            }
            item => {
                let item = std::mem::replace(item, Item::Done);
                self.take_item(source, item);
            }
        }
    }

    /// Hands the replies of a batch that came home to their connections.
    pub(crate) fn take_home(&mut self, source: usize, batch: &mut Batch<C::Store, Socket>) {
        let mut start = Mark::default();
        for item in batch.items.drain(..) {
            match item {
                Item::Request(ticket, end) => {
                    let mut conns = self.server.conns.borrow_mut();
                    if let Some(conn) = conns.get_mut(ticket.conn) {
                        if conn.out.capacity() == 0
                            && let Some(out) = self.outputs.pop()
                        {
                            conn.out = out;
                        }
                        let marks = (start, end);
                        conn.queue.finish(ticket.number, &batch.replies, marks, &mut conn.out);
                        self.touched.push(ticket.conn);
                    }
                    start = end;
                }
                Item::Part { ticket, part, answer } => {
                    let lent = self.server.conns.borrow_mut().lend(ticket.conn);
                    if let Some(mut conn) = lent {
                        self.finish_part(&mut conn, ticket.number, part as usize, *answer);
                        self.touched.push(ticket.conn);
                        self.server.conns.borrow_mut().give_back(conn);
                    }
                }
                item => self.take_item(source, item),
            }
        }
    }
}

/// How much of what was received is joined at first to the kept start of a request.
///
/// Smaller: it takes several goes where a little is missing. Larger: requests behind it are copied
/// for nothing.
const SEAM_BYTES: usize = 512;

/// Emptied parts that are kept, and as many arguments of parts.
pub(super) const KEPT_PARTS: usize = 1024;

/// Output buffers that are kept for reuse, and the largest that is.
const KEPT_OUTPUTS: usize = 64;
const KEPT_OUTPUT_BYTES: usize = 256 * 1024;

/// Puts a finished reply where its turn comes, and empties `reply`.
pub(crate) fn answer(conn: &mut Conn, reply: &mut Out) {
    if take_muted(&mut conn.state) {
        reply.clear();
    } else if conn.queue.is_empty() {
        conn.out.append(reply);
        reply.clear();
    } else {
        conn.queue.hold(reply);
    }
}

/// Whether the reply to the present request is dropped.
#[inline]
pub(super) fn take_muted(state: &mut SessionState) -> bool {
    match state.reply {
        ReplyMode::On | ReplyMode::OnAtOnce => false,
        ReplyMode::Off => true,
        ReplyMode::SkipNext => {
            state.reply = ReplyMode::On;
            true
        }
    }
}

/// Ends the process after a panic that may have left the store half changed. What was acknowledged
/// is recovered; what is half done is not kept.
#[cold]
pub(crate) fn survive_panic(command: &CommandInfo, has_written: bool) {
    if has_written {
        error!(command = command.name, "a handler that may have changed the store panicked");
        std::process::abort();
    }
    error!(command = command.name, "a handler panicked; its request is refused");
}
