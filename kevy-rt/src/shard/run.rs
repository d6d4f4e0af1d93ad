//! Running requests: a connection's burst, and the batches that other shards sent.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use tracing::error;

use crate::args::{Args, Span};
use crate::commands::{
    CheckFn, Command, CommandInfo, Commands, Place, Port, ReplyMode, Route, Run, RunFn, SessionFn,
    SessionState, Store,
};
use crate::conn::{Closing, Conn, ConnFacts, ConnId, Stall};
use crate::cx::{Cx, Server};
use crate::gather::{PartOut, Plan as PartPlan};
use crate::hash::KeyHasher;
use crate::metrics::TIMED_EVERY;
use crate::reactor::Incoming;
use crate::reaper;
use crate::reply_queue::Gather;
use crate::shard::TURN_REQUESTS;
use crate::shard::batch::{ArgsWriter, Batch, Call, Item, Ticket};
use crate::shard::outbox::Outbox;
use crate::shard::plan::{Known, Placement, Plan, Planned, Where, prefetch_all};
use crate::shared::{Mark, Out, Shared, Value};
use crate::table::Found;
use crate::wire::{BURST_REQUESTS, Burst, Refusal, Resume};

/// A request that was parsed and has to wait: its arguments, kept until the connection goes on.
#[derive(Debug)]
pub(crate) struct Kept {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    large: Vec<Shared>,
}

impl Kept {
    fn new(args: Args<'_>) -> Self {
        let mut kept = Kept { bytes: Vec::new(), spans: Vec::new(), large: Vec::new() };
        for index in 0..args.len() {
            match args.value(index) {
                Some(Value::Shared(shared)) => {
                    kept.spans.push(Span::large(kept.large.len(), shared.len()));
                    kept.large.push(shared.clone());
                }
                value => {
                    let bytes = value.map_or(&b""[..], |value| value.bytes());
                    kept.spans.push(Span::new(kept.bytes.len(), bytes.len()));
                    kept.bytes.extend_from_slice(bytes);
                }
            }
        }
        kept
    }

    fn args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.spans, &self.large)
    }
}

/// What of a turn all requests share: the parts of a shard that running them needs.
pub(crate) struct Engine<C: Commands, Socket> {
    pub(crate) store: C::Store,
    pub(crate) server: Server,
    pub(crate) outbox: Outbox<C::Store, Socket>,
    pub(crate) hasher: KeyHasher,
    pub(crate) now_ms: u64,
    ports: &'static [Port<C::Store>],
    /// Index of each port's first command among the process's.
    first_command: Vec<u32>,
    burst: Burst,
    plan: Plan<C::Store>,
    /// Where a reply is written that can't go to its connection's output yet.
    scratch: Out,
    parts: Vec<PartOut>,
    /// Output buffers that no connection uses.
    outputs: Vec<Out>,
    until_timed: u64,
    /// Requests run in this turn.
    pub(crate) requests: usize,
    /// Connections that wait for credits.
    pub(crate) waiting_for_credits: Vec<crate::conn::ConnId>,
}

/// A request for all shards, the number of its slot, and who sent it.
type StartedAll<S> = (Box<Kept>, Call<S>, u64, ConnFacts);

/// What became of a request.
enum Ran {
    /// It is answered, or under way.
    Done,
    /// It can't be taken now: its connection waits.
    Stalled(Stall),
}

impl<C: Commands, Socket: Send + 'static> Engine<C, Socket> {
    pub(crate) fn new(store: C::Store, server: Server, hasher: KeyHasher) -> Self {
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
            first_command,
            burst: Burst::default(),
            plan: Plan::default(),
            scratch: Out::default(),
            parts: Vec::new(),
            outputs: Vec::new(),
            until_timed: TIMED_EVERY,
            requests: 0,
            waiting_for_credits: Vec::new(),
        }
    }

    pub(crate) fn port(&self, conn: &Conn) -> &'static Port<C::Store> {
        &self.ports[conn.port as usize]
    }

    fn cx<'a>(&'a self, conn: Option<&'a Conn>, scope: u64) -> Cx<'a> {
        Cx { now_ms: self.now_ms, scope, server: &self.server, conn: conn.map(|conn| &conn.facts) }
    }

    /// What a connection's request calls; `index` is the command's in the port's table.
    #[inline]
    fn call(&self, conn: &Conn, command: &'static Command<C::Store>, index: u32) -> Call<C::Store> {
        let index = self.first_command[conn.port as usize] + index;
        Call { command, index, port: conn.port, scope: conn.state.scope }
    }

    fn placement(&self) -> Placement<'_> {
        let place = self.server.place;
        Placement { hasher: &self.hasher, me: place.shard, shards: place.shards }
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
        if conn.closing != Closing::No {
            return;
        }
        lend_output(conn, &mut self.outputs);
        let mut bytes = &bytes[conn.input.feed(bytes)..];
        // A request that was cut is put together with as little as it takes; what follows it is
        // parsed where it lies.
        while !conn.input.is_empty()
            && !bytes.is_empty()
            && conn.stall == Stall::No
            && conn.closing == Closing::No
        {
            let seam = conn.input.len().max(SEAM_BYTES).min(bytes.len());
            conn.input.keep(&bytes[..seam]);
            self.run_kept_input(conn);
            bytes = &bytes[seam - conn.input.take_back(seam)..];
        }
        if conn.closing != Closing::No {
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
        lend_output(conn, &mut self.outputs);
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
        if conn.closing != Closing::No || conn.input.is_gathering() {
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
        while conn.closing == Closing::No && conn.stall == Stall::No {
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
            self.burst = burst;
            if ran < parsed || conn.stall != Stall::No || conn.state.restricted != was_restricted {
                // What was read of later requests is read again when this one is through, and under
                // the limits that hold by then.
                conn.input.resume = Resume::default();
            } else if !is_well_formed && conn.closing == Closing::No {
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
        while at.get() < plan.requests.len()
            && conn.stall == Stall::No
            && conn.closing == Closing::No
        {
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
                    if conn.closing != Closing::No {
                        return;
                    }
                }
            });
            if catch_unwind(guarded).is_err() {
                if let Known::Command(command, _) = &plan.requests[at.get()].known {
                    survive_panic(&command.info);
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

    #[cold]
    fn note_stall(&mut self, conn: &Conn) {
        match conn.stall {
            Stall::Credits(_) => {
                self.server.metrics.credit_stalls.add(1);
                self.waiting_for_credits.push(conn.id);
            }
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
        if (conn.state.restricted || command.info.barrier)
            && let Some(ran) = self.hold_back(conn, port, command, index)
        {
            return ran;
        }
        conn.facts.last_command.set(Some(&command.info));
        let call = self.call(conn, command, index);
        match (request.place, &command.run) {
            (Where::Here, Run::One(run) | Run::Gather { whole: run, .. })
                if !matches!(command.info.route, Route::All { .. }) =>
            {
                self.run_here(conn, call, *run, args);
                Ran::Done
            }
            (Where::Here, Run::Session(run)) => {
                self.run_session(conn, call, *run, args);
                Ran::Done
            }
            (Where::There(owner), _) => self.send(conn, owner, call, args),
            (Where::Several, Run::Gather { check, .. })
                if !matches!(command.info.route, Route::All { .. }) =>
            {
                self.scatter(conn, call, *check, args, plan.owners(request))
            }
            _ => self.before_all(),
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
        answer(conn, &mut reply);
        self.scratch = reply;
        Ran::Done
    }

    /// What comes before a request of a session in an unusual state, or before a barrier.
    #[cold]
    fn hold_back(
        &mut self,
        conn: &mut Conn,
        port: &'static Port<C::Store>,
        command: &'static Command<C::Store>,
        index: u32,
    ) -> Option<Ran> {
        if command.info.barrier && !conn.queue.is_empty() {
            return Some(Ran::Stalled(Stall::Barrier));
        }
        if conn.state.restricted
            && let Err(refusal) = conn.session.admit(&command.info)
        {
            let mut reply = Out::default();
            (port.refuse)(refusal, conn.state.scope, &mut reply);
            self.count_rejected(self.call(conn, command, index).index);
            answer(conn, &mut reply);
            return Some(Ran::Done);
        }
        None
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
            self.run_whole(call, run, Some(facts), args, out);
        } else {
            let mut reply = std::mem::take(&mut self.scratch);
            reply.clear();
            self.run_whole(call, run, Some(&conn.facts), args, &mut reply);
            answer(conn, &mut reply);
            self.scratch = reply;
        }
    }

    /// Whether the store takes a request: one that may write is asked for.
    #[inline]
    fn admits(&mut self, call: Call<C::Store>, conn: Option<&ConnFacts>, args: Args<'_>) -> bool {
        let info = &call.command.info;
        let cx = Cx { now_ms: self.now_ms, scope: call.scope, server: &self.server, conn };
        !info.write || self.store.admit(&cx, info, args)
    }

    /// Answers a request that the store has no room for.
    #[cold]
    fn refuse_room(&self, call: Call<C::Store>, out: &mut Out) {
        (self.ports[call.port as usize].refuse)(Refusal::NoRoom, call.scope, out);
        self.count_rejected(call.index);
    }

    /// Counts a request whose handler was not called.
    #[cold]
    fn count_rejected(&self, index: u32) {
        self.server.stats[index as usize].rejected.add(1);
        self.server.metrics.error_replies.add(1);
    }

    /// Counts a request that ran.
    #[inline]
    fn count_run(&self, index: u32, has_failed: bool) {
        let stats = &self.server.stats[index as usize];
        stats.calls.add(1);
        if has_failed {
            stats.failed.add(1);
            self.server.metrics.error_replies.add(1);
        }
    }

    /// Runs a whole request's handler, and counts.
    #[inline]
    fn run_whole(
        &mut self,
        call: Call<C::Store>,
        run: RunFn<C::Store>,
        conn: Option<&ConnFacts>,
        args: Args<'_>,
        out: &mut Out,
    ) {
        if !self.admits(call, conn, args) {
            return self.refuse_room(call, out);
        }
        let cx = Cx { now_ms: self.now_ms, scope: call.scope, server: &self.server, conn };
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
        self.count_run(call.index, out.errors() != errors);
    }

    fn run_session(
        &mut self,
        conn: &mut Conn,
        call: Call<C::Store>,
        run: SessionFn<C::Store>,
        args: Args<'_>,
    ) {
        let (mut reply, facts) = (Out::default(), Some(&conn.facts));
        if !self.admits(call, facts, args) {
            self.refuse_room(call, &mut reply);
            return answer(conn, &mut reply);
        }
        let cx = Cx { now_ms: self.now_ms, scope: call.scope, server: &self.server, conn: facts };
        let session: &mut dyn Any = &mut *conn.session;
        run(session, &mut self.store, &cx, args, &mut reply);
        self.count_run(call.index, reply.errors() != 0);
        conn.state = conn.session.state();
        // A session that just turned replies off, or on, means its own reply too.
        match conn.state.reply {
            ReplyMode::SkipNext => {}
            _ => answer(conn, &mut reply),
        }
        let mine = conn.facts.id;
        self.server.closing.borrow_mut().retain(|&(id, flush)| {
            if id == mine {
                conn.close(if flush { Closing::AfterFlush } else { Closing::Now });
            }
            id != mine
        });
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
        if let Some(&owner) = owners.iter().find(|&&owner| !self.has_credit(owner)) {
            return Ran::Stalled(Stall::Credits(owner));
        }
        if !self.passes(conn, call, check, args) {
            return Ran::Done;
        }
        let me = self.server.place.shard as u16;
        let (mut shards, mut plan) = (Vec::new(), PartPlan::default());
        for owner in owners {
            let part = shards.iter().position(|shard| shard == owner).unwrap_or_else(|| {
                shards.push(*owner);
                shards.len() - 1
            });
            plan.part_of.push(part as u16);
        }
        // The request of part `part`: what precedes the keys, its own keys, what follows them.
        let part_of = std::mem::take(&mut plan.part_of);
        let write = |writer: &mut ArgsWriter<'_, C::Store, Socket>, part: usize| {
            writer.range(args, 0, range.first as usize);
            for (key, _) in part_of.iter().enumerate().filter(|(_, of)| usize::from(**of) == part) {
                let start = range.start_of(key);
                writer.range(args, start, start + range.step as usize);
                writer.hash(args.hashes()[key]);
            }
            writer.range(args, range.end(args.len()), args.len());
        };
        let number = self.open_gather(conn, call, shards.len());
        let mut own = None;
        for (part, &owner) in shards.iter().enumerate() {
            if owner == me {
                let mut batch = Batch::<C::Store, Socket>::default();
                let mut writer = batch.writer();
                write(&mut writer, part);
                let ticket = writer.ticket(conn.id, number, call);
                own = Some((part, batch, ticket));
                continue;
            }
            let mut writer = self.outbox.batch(owner as usize).writer();
            write(&mut writer, part);
            let ticket = writer.ticket(conn.id, number, call);
            let answer = self.parts.pop().unwrap_or_default();
            self.outbox.push(owner as usize, Item::Part { ticket, part: part as u16, answer });
        }
        if let Some(gather) = conn.queue.gathering(number) {
            gather.plan.part_of = part_of;
        }
        if let Some((part, batch, ticket)) = own {
            let mut answer = self.parts.pop().unwrap_or_default();
            self.run_part(call, Some(&conn.facts), batch.args(&ticket), &mut answer);
            self.finish_part(conn, number, part, answer);
        }
        Ran::Done
    }

    fn has_credit(&self, owner: u16) -> bool {
        usize::from(owner) == self.server.place.shard || self.outbox.has_credit(owner as usize)
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
        let passes = check(&self.cx(Some(conn), call.scope), args, &mut reply);
        if !passes {
            self.count_run(call.index, true);
            answer(conn, &mut reply);
        }
        passes
    }

    /// Takes a slot for a request of `parts` parts.
    fn open_gather(&mut self, conn: &mut Conn, call: Call<C::Store>, parts: usize) -> u64 {
        let Run::Gather { merge, .. } = call.command.run else { unreachable!("routed to several") };
        let muted = take_muted(&mut conn.state);
        let slots = (0..parts).map(|_| PartOut::default()).collect();
        conn.queue.gather(Box::new(Gather {
            merge,
            plan: PartPlan::default(),
            parts: slots,
            open: parts,
            index: call.index,
            scope: call.scope,
            muted,
        }))
    }

    /// Runs a part. One that the store has no room for is a refusal, and so is one that panics.
    fn run_part(
        &mut self,
        call: Call<C::Store>,
        conn: Option<&ConnFacts>,
        args: Args<'_>,
        answer: &mut PartOut,
    ) {
        let Run::Gather { part, .. } = call.command.run else { unreachable!("sent as a part") };
        let guarded = AssertUnwindSafe(|| {
            if self.admits(call, conn, args) {
                let cx = Cx { now_ms: self.now_ms, scope: call.scope, server: &self.server, conn };
                part(&mut self.store, &cx, args, answer);
            } else {
                answer.refuse(Refusal::NoRoom);
            }
        });
        if catch_unwind(guarded).is_err() {
            survive_panic(&call.command.info);
            answer.refuse(Refusal::Panicked);
        }
    }

    /// Takes in one part of a request's reply; the last one makes the reply.
    fn finish_part(&mut self, conn: &mut Conn, number: u64, part: usize, answer: PartOut) {
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
            let cx = self.cx(Some(conn), gather.scope);
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

    /// A request for all shards waits for the moment when its connection is in the table again, so
    /// that its handler sees all connections.
    fn before_all(&mut self) -> Ran {
        let mut others =
            (0..self.server.place.shards as u16).filter(|&owner| !self.has_credit(owner));
        match others.next() {
            Some(owner) => Ran::Stalled(Stall::Credits(owner)),
            None => Ran::Stalled(Stall::All),
        }
    }

    /// Runs a kept request of route `all`, whose connection is in the table.
    pub(crate) fn run_all(&mut self, id: ConnId) {
        let lent = self.server.conns.borrow_mut().lend(id);
        let Some(mut conn) = lent else { return };
        let started = self.start_all(&mut conn);
        self.server.conns.borrow_mut().give_back(conn);
        let Some((kept, call, number, facts)) = started else { return };

        let args = kept.args();
        let Place { shard: me, shards } = self.server.place;
        for owner in (0..shards).filter(|&owner| owner != me) {
            let mut writer = self.outbox.batch(owner).writer();
            writer.whole(args);
            let ticket = writer.ticket(id, number, call);
            let answer = self.parts.pop().unwrap_or_default();
            self.outbox.push(owner, Item::Part { ticket, part: owner as u16, answer });
        }
        let mut reply = Out::default();
        let mut own = self.parts.pop().unwrap_or_default();
        let guarded = catch_unwind(AssertUnwindSafe(|| match call.command.run {
            Run::Gather { whole, .. } if shards == 1 => {
                self.run_whole(call, whole, Some(&facts), args, &mut reply);
            }
            _ => self.run_part(call, Some(&facts), args, &mut own),
        }));
        if guarded.is_err() {
            survive_panic(&call.command.info);
            reply.clear();
            let port = &self.ports[call.port as usize];
            (port.refuse)(Refusal::Panicked, call.scope, &mut reply);
        }
        let lent = self.server.conns.borrow_mut().lend(id);
        let Some(mut conn) = lent else { return };
        if shards == 1 {
            answer(&mut conn, &mut reply);
        } else {
            self.finish_part(&mut conn, number, me, own);
        }
        self.server.conns.borrow_mut().give_back(conn);
    }

    /// Takes the request that a connection waits with, a slot for its reply, and a copy of what is
    /// known of the connection, which is not lent while the request runs.
    fn start_all(&mut self, conn: &mut Conn) -> Option<StartedAll<C::Store>> {
        conn.stall = Stall::No;
        let kept = conn.kept.take()?;
        let args = kept.args();
        let Found::Command(command, index) = self.port(conn).table.find(args) else { return None };
        let Run::Gather { check, .. } = command.run else { return None };
        let call = self.call(conn, command, index as u32);
        let mut number = 0;
        if self.server.place.shards > 1 {
            if !self.passes(conn, call, check, args) {
                return None;
            }
            number = self.open_gather(conn, call, self.server.place.shards);
        }
        Some((kept, call, number, conn.facts.clone()))
    }

    /// Runs what another shard sent. Connections that came along are left in `adopted`.
    pub(crate) fn run_batch(
        &mut self,
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
                        self.run_item(batch, item, &mut replies, adopted);
                        at.set(at.get() + 1);
                    }
                });
                if catch_unwind(guarded).is_err() {
                    // A part's panic is its refusal already, and connections come without code.
                    let Item::Request(Ticket { call, .. }, end) = &mut burst[at.get()] else {
                        std::process::abort()
                    };
                    survive_panic(&call.command.info);
                    replies.truncate(mark.get());
                    let port = &self.ports[call.port as usize];
                    (port.refuse)(Refusal::Panicked, call.scope, &mut replies);
                    *end = replies.mark();
                    at.set(at.get() + 1);
                }
            }
        }
        batch.items = items;
        batch.replies = replies;
        batch.is_answered = true;
    }

    #[inline]
    fn run_item(
        &mut self,
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
                self.run_whole(call, run, None, batch.args(ticket), replies);
                *end = replies.mark();
            }
            Item::Part { ticket, answer, .. } => {
                self.run_part(ticket.call, None, batch.args(ticket), answer);
            }
            Item::Adopt(incoming) => adopted.extend(incoming.take()),
        }
    }

    /// Hands the replies of a batch that came home to their connections, which are named in
    /// `touched`.
    pub(crate) fn take_home(
        &mut self,
        batch: &mut Batch<C::Store, Socket>,
        mut touched: impl FnMut(&mut Conn),
    ) {
        let mut start = Mark::default();
        for item in batch.items.drain(..) {
            match item {
                Item::Request(ticket, end) => {
                    let mut conns = self.server.conns.borrow_mut();
                    if let Some(conn) = conns.get_mut(ticket.conn) {
                        lend_output(conn, &mut self.outputs);
                        let marks = (start, end);
                        conn.queue.finish(ticket.number, &batch.replies, marks, &mut conn.out);
                        touched(conn);
                    }
                    start = end;
                }
                Item::Part { ticket, part, answer } => {
                    let lent = self.server.conns.borrow_mut().lend(ticket.conn);
                    if let Some(mut conn) = lent {
                        self.finish_part(&mut conn, ticket.number, part as usize, answer);
                        touched(&mut conn);
                        self.server.conns.borrow_mut().give_back(conn);
                    }
                }
                Item::Adopt(_) => {}
            }
        }
    }
}

/// How much of what was received is joined at first to the kept start of a request.
///
/// Smaller: it takes several goes where a little is missing. Larger: requests behind it are copied
/// for nothing.
const SEAM_BYTES: usize = 512;

/// Emptied parts that are kept.
const KEPT_PARTS: usize = 256;

/// Output buffers that are kept for reuse, and the largest that is.
const KEPT_OUTPUTS: usize = 64;
const KEPT_OUTPUT_BYTES: usize = 256 * 1024;

/// An idle connection holds no output buffer; one that gets requests borrows one.
#[inline]
fn lend_output(conn: &mut Conn, outputs: &mut Vec<Out>) {
    if conn.out.capacity() == 0
        && let Some(out) = outputs.pop()
    {
        conn.out = out;
    }
}

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
fn take_muted(state: &mut SessionState) -> bool {
    match state.reply {
        ReplyMode::On => false,
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
fn survive_panic(command: &CommandInfo) {
    if command.write {
        error!(command = command.name, "a handler that may have changed the store panicked");
        std::process::abort();
    }
    error!(command = command.name, "a handler panicked; its request is refused");
}
