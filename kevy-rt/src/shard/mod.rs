//! A shard: one thread, its store, its connections, and the loop that serves them.

mod batch;
mod errands;
mod idle;
mod latency;
mod later;
mod lifecycle;
mod outbox;
mod plan;
pub(crate) mod run;
mod transact;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::commands::{Commands, Store};
use crate::conn::{Closing, Conn, ConnId, Stall};
use crate::cx::{Caller, Cx, Server};
use crate::hash::KeyHasher;
use crate::mesh::Mesh;
use crate::pool;
use crate::reactor::{Event, Reactor};
use crate::shared::Out;
use crate::sys::thread_cpu_ns;

pub(crate) use batch::{Batch, Call};
use idle::{Idle, LONGEST_SLEEP};
use latency::Probe;
use run::Engine;
pub(crate) use run::survive_panic;
pub(crate) use transact::refusal_of;

/// What travels between the shards of a server.
pub(crate) type Mail<C, R> = Box<Batch<<C as Commands>::Store, <R as Reactor>::Socket>>;

/// Requests after which a turn goes on to its later stages; what is left is told in the next one.
///
/// Smaller: less is sent per system call. Larger: a turn gets longer than a waiting client likes.
pub(crate) const TURN_REQUESTS: usize = 2048;

/// Received bytes after which a turn goes on, likewise. A large value may have to be copied to
/// memory that was never touched, which takes the system many times as long as the copy.
const TURN_BYTES: usize = 256 * 1024;

/// Bytes that a turn hands to the reactor to be sent, as the system copies them within the turn.
const TURN_OUTPUT_BYTES: usize = 1024 * 1024;

/// A connection that waits is read from until it holds this much.
const STALLED_INPUT_BYTES: usize = 256 * 1024;

/// A shard that shares its core publishes after so many turns with work, or before it rests: whom it
/// would wake can't run while it does, and finds more at once this way.
///
/// Smaller: more switches between threads. Larger: requests wait longer for their owner.
const CROWDED_TURNS: u32 = 8;

/// Replies that are ready wait for so long, at most, for later ones of the same pipeline that other
/// shards still owe: one send instead of two.
///
/// Smaller: two sends where shards share a core. Larger: a busy shard delays
/// what others have ready.
const DEFER: Duration = Duration::from_millis(1);

/// Replies of so many bytes don't wait: a send of their own costs little by comparison.
const DEFER_BYTES: usize = 16 * 1024;

/// Every how often idle connections are looked for.
const SWEEP_MS: u64 = 1000;

/// How old the thread's last CPU time reading may get while turns are short: the error of
/// `longest_turn_ns`.
const CPU_READING_NS: u64 = 200_000;

/// What a shard is made of.
pub(crate) struct ShardParts<C: Commands, R: Reactor> {
    pub(crate) server: Server,
    pub(crate) store: C::Store,
    pub(crate) reactor: R,
    pub(crate) mesh: Mesh<Mail<C, R>>,
    pub(crate) hasher: KeyHasher,
    /// Whether there are more shards than cores.
    pub(crate) is_crowded: bool,
}

/// One shard, generic over what it serves and over its I/O engine.
pub(crate) struct Shard<C: Commands, R: Reactor> {
    engine: Engine<C, R::Socket>,
    reactor: R,
    mesh: Mesh<Mail<C, R>>,
    /// Connections with something to send or to decide.
    dirty: Vec<ConnId>,
    /// Connections whose replies wait for others, each with the time when they wait no longer.
    deferred: VecDeque<(u64, ConnId)>,
    adopted: Vec<crate::reactor::Incoming<R::Socket>>,
    idle: Idle,
    /// Whether there are more shards than cores.
    is_crowded: bool,
    /// Bytes that this turn handed over to be sent.
    turn_output: usize,
    /// Turns whose batches nobody has seen yet.
    unpublished_turns: u32,
    clock: TurnClock,
    probe: Probe,
    /// When the store wants to be called next, and when idle connections are looked for.
    tick_ms: Option<u64>,
    sweep_ms: u64,
    /// What this shard's connections hold, and how much of it the process's total knows.
    client_memory: isize,
    reported_memory: isize,
    draining: Option<lifecycle::Draining>,
}

impl<C: Commands, R: Reactor> Shard<C, R> {
    pub(crate) fn new(parts: ShardParts<C, R>) -> Self {
        Shard {
            engine: Engine::new(parts.store, parts.server, parts.hasher),
            reactor: parts.reactor,
            mesh: parts.mesh,
            dirty: Vec::new(),
            deferred: VecDeque::new(),
            adopted: Vec::new(),
            idle: Idle::default(),
            is_crowded: parts.is_crowded,
            turn_output: 0,
            unpublished_turns: 0,
            clock: TurnClock::default(),
            probe: Probe::default(),
            tick_ms: Some(0),
            sweep_ms: 0,
            client_memory: 0,
            reported_memory: 0,
            draining: None,
        }
    }

    /// What its handlers see of the runtime.
    pub(crate) fn server(&self) -> &Server {
        &self.engine.server
    }

    /// Its I/O engine.
    pub(crate) fn reactor(&self) -> &R {
        &self.reactor
    }

    /// Its store, with what handlers see of the runtime.
    pub(crate) fn with_parts<T>(&mut self, see: impl FnOnce(&mut C::Store, &Server) -> T) -> T {
        see(&mut self.engine.store, &self.engine.server)
    }

    /// Serves until the server is stopped and every shard is through.
    ///
    /// # Errors
    /// When the reactor broke.
    pub(crate) fn run(mut self) -> io::Result<()> {
        while !self.is_finished() {
            if !self.turn()? {
                self.rest()?;
            }
        }
        self.finish();
        Ok(())
    }

    /// One pass of the loop. Answers whether there was anything to do.
    ///
    /// 1. The reactor hands over what the last turn asked for and collects what happened: one
    ///    system call for both.
    /// 2. Mail comes before new requests: it frees credits and answers those who wait longest.
    /// 3. Events run requests in the order in which they arrived.
    /// 4. The store's own work, and the clock's.
    /// 5. What all of them left is sent: once per connection, ...
    /// 6. ... and once per shard, with one wake for each that sleeps.
    pub(crate) fn turn(&mut self) -> io::Result<bool> {
        self.reactor.turn(None)?;
        self.begin();
        let had_mail = self.take_mail();
        let had_events = self.take_events();
        let had_timers = self.tick();
        self.engine.tell_marks();
        self.settle();
        let has_errands = self.engine.server.errands.borrow().is_fresh;
        let worked = had_mail || had_events || had_timers || has_errands || !self.dirty.is_empty();
        self.unpublished_turns += 1;
        if !self.is_crowded || !worked || self.unpublished_turns >= CROWDED_TURNS {
            self.publish();
        }
        Ok(worked)
    }

    /// Reads the clocks: all of a turn's requests see one time.
    fn begin(&mut self) {
        self.engine.requests = 0;
        let time = self.reactor.now();
        let metrics = &self.engine.server.metrics;
        metrics.turns.add(1);
        let kept = self.engine.outbox.pooled_bytes() + pool::kept_bytes();
        metrics.buffer_bytes.set((kept + self.reactor.buffer_bytes()) as u64);
        self.clock.turn_starts(time.steady_ns, metrics);
        self.probe.turn_starts(time.steady_ns, &self.engine.server);
        self.engine.begin(time.unix_ms);
        self.engine.watch_load();
    }

    /// Takes what the other shards sent: runs their requests, hands their answers on.
    fn take_mail(&mut self) -> bool {
        let mut had_any = false;
        for source in 0..self.mesh.shards() {
            if source == self.mesh.me() || !self.reactor.hears(source) {
                continue;
            }
            for _ in 0..self.mesh.look(source) {
                let Some(mut batch) = self.mesh.receive(source) else { break };
                had_any = true;
                if batch.is_answered {
                    self.take_home(source, batch);
                } else {
                    self.engine.server.metrics.batches_received.add(1);
                    self.engine.run_batch(source, &mut batch, &mut self.adopted);
                    self.mesh.send(source, batch);
                }
            }
        }
        while let Some(incoming) = self.adopted.pop() {
            self.adopt(incoming, false);
        }
        had_any |= self.engine.take_done_tasks();
        self.note_touched();
        had_any
    }

    /// Hands the answers of a batch on.
    fn take_home(&mut self, source: usize, mut batch: Mail<C, R>) {
        self.engine.outbox.settle(source, &batch);
        self.engine.take_home(source, &mut batch);
        self.engine.outbox.recycle(batch);
    }

    /// Puts those on the list that mail had something for.
    fn note_touched(&mut self) {
        let mut conns = self.engine.server.conns.borrow_mut();
        for id in self.engine.touched.drain(..) {
            if let Some(conn) = conns.get_mut(id) {
                mark_dirty(conn, &mut self.dirty);
            }
        }
    }

    /// Takes what the reactor tells: connections that came, bytes, sends that are through, ends.
    fn take_events(&mut self) -> bool {
        let mut events = 0;
        let mut bytes_in = 0;
        while self.engine.requests < TURN_REQUESTS && bytes_in < TURN_BYTES {
            let Some(event) = self.reactor.next_event() else { break };
            match event {
                Event::Received { conn: id, bytes } => {
                    bytes_in += bytes.len();
                    let lent = self.engine.server.conns.borrow_mut().lend(id);
                    if let Some(mut conn) = lent {
                        self.engine.receive(&mut conn, bytes);
                        self.after_requests(conn);
                        if self.probe.takes(events) {
                            self.start_probe(id);
                        }
                    }
                }
                Event::Sent { conn, out } => self.sent(conn, out),
                Event::Accepted(incoming) => self.accepted(incoming),
                Event::Ended { conn } => self.ended(conn),
                Event::Broken { conn } => self.close(conn, Closing::Now),
            }
            events += 1;
        }
        self.probe.events_end(events);
        self.engine.server.metrics.bytes_in.add(bytes_in as u64);
        events > 0
    }

    #[cold]
    fn start_probe(&mut self, id: ConnId) {
        if let Some(conn) = self.engine.server.conns.borrow_mut().get_mut(id) {
            self.probe.start(conn, self.clock.now_ns());
        }
    }

    /// Gives a connection back after its requests ran, and runs those that need it in the table.
    fn after_requests(&mut self, mut conn: Box<Conn>) {
        while conn.stall == Stall::Table {
            let id = conn.id;
            self.engine.server.conns.borrow_mut().give_back(conn);
            self.engine.run_kept_request(id);
            self.note_touched();
            let lent = self.engine.server.conns.borrow_mut().lend(id);
            let Some(returned) = lent else { return };
            conn = returned;
            self.close_if_asked(&mut conn);
            if conn.may_run() {
                self.engine.resume(&mut conn);
            }
        }
        mark_dirty(&mut conn, &mut self.dirty);
        self.engine.server.conns.borrow_mut().give_back(conn);
    }

    /// A send is through.
    fn sent(&mut self, id: ConnId, out: Out) {
        self.engine.server.metrics.bytes_out.add(out.len() as u64);
        if let Some(conn) = self.engine.server.conns.borrow_mut().get_mut(id) {
            conn.is_sending = false;
            conn.sending_bytes = 0;
            // Nothing is left to do for most connections.
            let is_at_rest =
                conn.out.is_empty() && conn.stall == Stall::No && conn.closing() == Closing::No;
            // What it held is counted again.
            if !is_at_rest || conn.queue.streams() || conn.counted_memory > 0 {
                mark_dirty(conn, &mut self.dirty);
            }
        }
        self.engine.keep_output(out);
    }

    /// The store's own work between requests, and what the clock brings. Answers whether a timer
    /// ran.
    fn tick(&mut self) -> bool {
        let now_ms = self.engine.now_ms;
        if self.tick_ms.is_some_and(|due| due <= now_ms) {
            self.tick_ms = self.engine.tick().map(|after| now_ms + after);
        } else if self.tick_ms.is_none() && self.engine.requests > 0 {
            // Requests may have given it something to do.
            self.tick_ms = Some(now_ms);
        }
        if self.sweep_ms <= now_ms {
            self.sweep_ms = now_ms + SWEEP_MS;
            self.sweep();
        }
        self.end_deferrals();
        self.drain();
        self.engine.run_timers()
    }

    /// Sends, once per connection; lets those go on who may; closes those who are through.
    fn settle(&mut self) {
        self.end_credit_waits();
        self.run_errands();
        self.turn_output = 0;
        let mut dirty = std::mem::take(&mut self.dirty).into_iter();
        while self.turn_output < TURN_OUTPUT_BYTES
            && let Some(id) = dirty.next()
        {
            let lent = self.engine.server.conns.borrow_mut().lend(id);
            let Some(mut conn) = lent else { continue };
            conn.is_dirty = false;
            let mut goes_on = conn.queue.streams() && self.engine.stream(&mut conn);
            if self.may_resume(&conn) {
                self.engine.resume(&mut conn);
                goes_on |= conn.queue.streams();
                if conn.stall == Stall::Table {
                    self.after_requests(conn);
                    continue;
                }
            }
            if goes_on {
                mark_dirty(&mut conn, &mut self.dirty);
            }
            conn.release_messages();
            self.settle_one(conn);
        }
        // What is left is settled in the next turn.
        self.dirty.extend(dirty);
    }

    /// Puts those on the list for whom there are credits again.
    fn end_credit_waits(&mut self) {
        let Engine { outbox, server, .. } = &mut self.engine;
        outbox.end_credit_waits(|id| {
            if let Some(conn) = server.conns.borrow_mut().get_mut(id) {
                conn.awaits_credit = false;
                mark_dirty(conn, &mut self.dirty);
            }
        });
    }

    fn settle_one(&mut self, mut conn: Box<Conn>) {
        if !conn.is_sending && !conn.out.is_empty() && conn.closing() != Closing::Now {
            if !self.defers(&mut conn) {
                let out = std::mem::take(&mut conn.out);
                (conn.is_sending, conn.sending_bytes) = (true, out.len());
                self.turn_output += out.len();
                self.reactor.send(conn.transport, out);
                if let Some(started_ns) = self.probe.end(&conn) {
                    let taken_ns = self.reactor.now().steady_ns - started_ns;
                    self.engine.server.latency.record_ns(taken_ns);
                }
            }
        } else if conn.out.is_empty() {
            self.engine.keep_output(std::mem::take(&mut conn.out));
        }
        let limits = self.engine.server.limits.get();
        if conn.output_bytes() + conn.message_bytes() > limits.output_hard_bytes {
            self.engine.server.metrics.output_overruns.add(1);
            conn.close(Closing::Now);
        }
        self.count_memory(&mut conn);
        let is_last = conn.is_ended || conn.closing() == Closing::AfterRequest;
        if is_last && conn.stall == Stall::No {
            conn.close(Closing::AfterFlush);
        }
        let is_through = conn.closing() == Closing::AfterFlush && conn.is_settled();
        if (conn.closing() == Closing::Now || is_through) && conn.running_queues == 0 {
            self.release(conn);
            return;
        }
        match conn.stall {
            Stall::Turn => mark_dirty(&mut conn, &mut self.dirty),
            Stall::Credits(target) if !conn.awaits_credit => {
                conn.awaits_credit = true;
                self.engine.outbox.wait_for_credit(target as usize, conn.id);
            }
            _ => {}
        }
        let is_full = match conn.stall {
            Stall::No => false,
            Stall::Output => true,
            _ => conn.input.len() > STALLED_INPUT_BYTES,
        };
        let is_reading = !is_full && conn.closing() == Closing::No && !conn.is_ended;
        if is_reading != conn.is_reading {
            conn.is_reading = is_reading;
            self.reactor.set_reading(conn.transport, is_reading);
        }
        self.engine.server.conns.borrow_mut().give_back(conn);
    }

    /// Whether a connection's replies wait for those that other shards owe it.
    #[inline]
    fn defers(&mut self, conn: &mut Conn) -> bool {
        let is_alone = conn.queue.is_empty() || conn.queue.streams();
        if is_alone || conn.out.len() >= DEFER_BYTES {
            conn.deferred_until_ns = None;
            return false;
        }
        let now_ns = self.clock.now_ns();
        match conn.deferred_until_ns {
            Some(until_ns) if until_ns <= now_ns => {
                conn.deferred_until_ns = None;
                false
            }
            Some(_) => true,
            None => {
                let until_ns = now_ns + DEFER.as_nanos() as u64;
                conn.deferred_until_ns = Some(until_ns);
                self.deferred.push_back((until_ns, conn.id));
                true
            }
        }
    }

    /// Puts those on the list whose replies have waited long enough.
    fn end_deferrals(&mut self) {
        while let Some(&(until_ns, id)) = self.deferred.front()
            && until_ns <= self.clock.now_ns()
        {
            self.deferred.pop_front();
            if let Some(conn) = self.engine.server.conns.borrow_mut().get_mut(id)
                && conn.deferred_until_ns.is_some()
            {
                mark_dirty(conn, &mut self.dirty);
            }
        }
    }

    /// When the first of those that still wait has waited long enough.
    fn next_deferral(&mut self) -> Option<u64> {
        while let Some(&(until_ns, id)) = self.deferred.front() {
            let mut conns = self.engine.server.conns.borrow_mut();
            if conns.get_mut(id).is_some_and(|conn| conn.deferred_until_ns == Some(until_ns)) {
                return Some(until_ns);
            }
            self.deferred.pop_front();
        }
        None
    }

    fn may_resume(&self, conn: &Conn) -> bool {
        conn.may_run()
            && match conn.stall {
                Stall::No => false,
                Stall::Credits(target) => self.engine.outbox.has_credit(target as usize),
                Stall::Output => {
                    conn.output_bytes() < self.engine.server.limits.get().output_soft_bytes
                }
                Stall::Barrier => conn.queue.is_empty(),
                Stall::Order(tx) => conn.unfixed.iter().all(|unfixed| unfixed.tx != tx),
                Stall::Table | Stall::Turn => true,
            }
    }

    /// Hands the batches over, and wakes whoever sleeps.
    fn publish(&mut self) {
        self.unpublished_turns = 0;
        let Server { metrics, sent, .. } = &self.engine.server;
        metrics.batches_sent.add(self.engine.outbox.dispatch(&mut self.mesh, sent) as u64);
        let reactor = &mut self.reactor;
        let published = self.mesh.publish(|shard| reactor.wake(shard));
        metrics.wakes_sent.add(published.wakes_sent as u64);
        metrics.wakes_saved.add(published.wakes_saved as u64);
        metrics.backlog_batches.set(published.backlog as u64);
        metrics.backlog_peak.raise(published.backlog as u64);
    }

    /// Spins for a moment, then sleeps until something happens.
    fn rest(&mut self) -> io::Result<()> {
        self.clock.pause(self.reactor.now().steady_ns, &self.engine.server.metrics);
        let spin = self.idle.spin();
        if !spin.is_zero() {
            let until = self.reactor.now().steady_ns + spin.as_nanos() as u64;
            loop {
                if self.reactor.is_ready() || self.mesh.has_mail() {
                    self.idle.hit();
                    return Ok(());
                }
                if self.reactor.now().steady_ns >= until {
                    break;
                }
                if self.is_crowded {
                    std::thread::yield_now();
                } else {
                    std::hint::spin_loop();
                }
            }
            self.idle.miss();
        }
        let timeout = self.sleep_time();
        if timeout.is_zero() || !self.mesh.park() {
            return Ok(());
        }
        self.engine.server.metrics.parks.add(1);
        let asleep = self.reactor.now().steady_ns;
        let result = self.reactor.turn(Some(timeout));
        let slept = Duration::from_nanos(self.reactor.now().steady_ns - asleep);
        if self.mesh.unpark(slept >= timeout) {
            self.engine.server.metrics.parks_missed_mail.add(1);
        }
        self.idle.slept(slept);
        result
    }

    /// How long nothing is due.
    fn sleep_time(&mut self) -> Duration {
        let now_ms = self.engine.now_ms;
        let mut sleep = LONGEST_SLEEP;
        if let Some(due) = self.tick_ms {
            sleep = sleep.min(Duration::from_millis(due.saturating_sub(now_ms)));
        }
        if let Some(due) = self.engine.server.timers.borrow().next_due() {
            sleep = sleep.min(Duration::from_millis(due.saturating_sub(now_ms)));
        }
        if let Some(until_ns) = self.next_deferral() {
            sleep = sleep.min(Duration::from_nanos(until_ns.saturating_sub(self.clock.now_ns())));
        }
        if self.draining.is_some() {
            sleep = sleep.min(Duration::from_millis(1));
        }
        sleep
    }
}

impl<C: Commands, Socket: Send + 'static> Engine<C, Socket> {
    /// The time of a transaction may run ahead of this shard's clock, and nobody behind it sees an
    /// earlier one.
    fn begin(&mut self, now_ms: u64) {
        if now_ms > self.now_ms {
            self.now_ms = now_ms;
            self.store.begin(now_ms);
        }
    }

    fn tick(&mut self) -> Option<u64> {
        let caller = Caller::Nobody;
        let cx = Cx { now_ms: self.now_ms, scope: 0, server: &self.server, caller };
        self.store.tick(&cx)
    }
}

/// Puts a connection on the list of those that [`Shard::settle`] looks at.
fn mark_dirty(conn: &mut Conn, dirty: &mut Vec<ConnId>) {
    if !conn.is_dirty {
        conn.is_dirty = true;
        dirty.push(conn.id);
    }
}

/// How long turns take.
#[derive(Debug, Default)]
struct TurnClock {
    /// When the present turn started, or the last one.
    now_ns: u64,
    /// When the present turn started, if the shard didn't rest since.
    started_ns: Option<u64>,
    /// A recent reading: wall time and the thread's CPU time.
    reading: (u64, u64),
}

impl TurnClock {
    /// A turn starts, and the one before is over.
    fn turn_starts(&mut self, now_ns: u64, metrics: &crate::Metrics) {
        self.pause(now_ns, metrics);
        self.now_ns = now_ns;
        self.started_ns = Some(now_ns);
        if now_ns - self.reading.0 > CPU_READING_NS {
            self.reading = (now_ns, thread_cpu_ns());
        }
    }

    fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// The shard rests: what follows belongs to no turn.
    fn pause(&mut self, now_ns: u64, metrics: &crate::Metrics) {
        let Some(started_ns) = self.started_ns.take() else { return };
        let wall_ns = now_ns - started_ns;
        metrics.busy_ns.add(wall_ns);
        metrics.longest_turn_wall_ns.raise(wall_ns);
        // Its CPU time can't be a record unless its wall time is.
        if wall_ns > metrics.longest_turn_ns.get() {
            let cpu_ns = thread_cpu_ns();
            metrics.longest_turn_ns.raise((cpu_ns - self.reading.1).min(wall_ns));
            self.reading = (now_ns, cpu_ns);
        }
    }
}
