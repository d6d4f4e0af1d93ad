//! Connections come and go: placement over the shards, closing, bounds on what they hold, and the
//! way a stopping server drains.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use crate::commands::{Commands, Session};
use crate::conn::{Closing, Conn, ConnFacts, ConnHandle, ConnId, Stall};
use crate::cx::{Caller, Cx};
use crate::input::Input;
use crate::reactor::{Incoming, Reactor};
use crate::reply_queue::ReplyQueue;
use crate::shard::batch::Item;
use crate::shard::{Shard, mark_dirty};
use crate::shared::Out;
use crate::wire::Refusal;

/// A shard tells the process's total what its connections hold in steps of this size.
const MEMORY_STEP: isize = 1024 * 1024;

/// What a connection holds is worth counting from here on.
const COUNTED_BYTES: usize = 16 * 1024;

/// A stopping shard.
#[derive(Debug)]
pub(crate) struct Draining {
    /// When it stops to wait for replies to be taken.
    until_ns: u64,
    /// Whether the others know that its connections are gone.
    is_reported: bool,
}

impl<C: Commands, R: Reactor> Shard<C, R> {
    /// Somebody connected: finds the shard with the fewest connections.
    pub(super) fn accepted(&mut self, incoming: Incoming<R::Socket>) {
        if self.draining.is_some() {
            return;
        }
        let server = &self.engine.server;
        let before = server.process.connections.fetch_add(1, Ordering::Relaxed);
        let is_full = before >= server.limits.get().connections;
        let shard = {
            let mut placed = server.process.placed.lock().unwrap_or_else(|held| held.into_inner());
            // Its own shard first: a hand-over costs a message.
            let me = server.place.shard;
            let fewest = placed.iter().copied().min().unwrap_or(0);
            let shard = if is_full || placed[me] == fewest {
                me
            } else {
                placed.iter().position(|&count| count == fewest).unwrap_or(me)
            };
            placed[shard] += 1;
            shard
        };
        if shard == server.place.shard {
            self.adopt(incoming, is_full);
        } else {
            self.engine.outbox.push_free(shard, Item::Adopt(Some(incoming)));
        }
    }

    /// Takes a connection in that was placed here; one too many is told so and closed.
    pub(super) fn adopt(&mut self, incoming: Incoming<R::Socket>, is_full: bool) {
        let server = &self.engine.server;
        let port = server.process.listeners[incoming.listener as usize].port;
        let id = server.conns.borrow_mut().reserve();
        let transport = self.reactor.open(incoming.socket, id);
        let facts = ConnFacts {
            id: server.process.next_conn.fetch_add(1, Ordering::Relaxed),
            peer: incoming.peer,
            local: incoming.local,
            descriptor: self.reactor.descriptor(transport),
            opened_ms: self.engine.now_ms,
            last_ms: Cell::new(self.engine.now_ms),
            last_command: Cell::new(None),
            handle: ConnHandle { shard: server.place.shard as u16, id },
            closing: Cell::new(Closing::No),
        };
        let mut out = Out::default();
        let ports = C::ports();
        let opened = if is_full {
            (ports[port].refuse)(Refusal::TooManyConnections, 0, &mut out);
            None
        } else {
            let caller = Caller::Within(&facts);
            let cx = Cx { now_ms: self.engine.now_ms, scope: 0, server, caller };
            (ports[port].open)(&mut self.engine.store, &cx, &mut out)
        };
        let counter = match opened {
            Some(_) => &server.metrics.connections_received,
            None => &server.metrics.connections_rejected,
        };
        counter.add(1);
        server.metrics.connections.add(1);
        if opened.is_none() {
            facts.close(Closing::AfterFlush);
        }
        let mut session = opened.unwrap_or_else(|| Box::new(()) as Box<dyn Session>);
        let mut conn = Box::new(Conn {
            id,
            transport,
            port: port as u16,
            facts,
            state: session.state(),
            session,
            input: Input::default(),
            queue: ReplyQueue::default(),
            out,
            messages: None,
            sending_bytes: 0,
            is_sending: false,
            deferred_until_ns: None,
            is_reading: true,
            is_ended: false,
            is_dirty: false,
            stall: Stall::No,
            awaits_credit: false,
            is_special: false,
            unfixed: Vec::new(),
            queued: None,
            running_queues: 0,
            watching: None,
            kept: None,
            counted_memory: 0,
        });
        conn.attend();
        mark_dirty(&mut conn, &mut self.dirty);
        server.conns.borrow_mut().give_back(conn);
    }

    /// Nothing more comes: the connection is closed when what it sent is answered.
    pub(super) fn ended(&mut self, id: ConnId) {
        if let Some(conn) = self.engine.server.conns.borrow_mut().get_mut(id) {
            conn.is_ended = true;
            mark_dirty(conn, &mut self.dirty);
        }
    }

    /// Marks a connection for closing.
    pub(super) fn close(&mut self, id: ConnId, how: Closing) {
        if let Some(conn) = self.engine.server.conns.borrow_mut().get_mut(id) {
            conn.close(how);
            mark_dirty(conn, &mut self.dirty);
        }
    }

    /// Lets go of a lent connection. Answers that are still to come find it gone.
    pub(super) fn release(&mut self, mut conn: Box<Conn>) {
        self.client_memory -= std::mem::take(&mut conn.counted_memory) as isize;
        self.engine.unwatch(&mut conn);
        self.engine.stop_streams(&conn);
        self.engine.keep_output(std::mem::take(&mut conn.out));
        self.reactor.close(conn.transport);
        let port = self.engine.port(&conn);
        let server = &self.engine.server;
        let (now_ms, scope) = (self.engine.now_ms, conn.state.scope);
        let cx = Cx { now_ms, scope, server, caller: Caller::Within(&conn.facts) };
        (port.close)(conn.session, &mut self.engine.store, &cx);
        server.conns.borrow_mut().free(conn.id);
        server.metrics.connections.subtract(1);
        server.process.connections.fetch_sub(1, Ordering::Relaxed);
        let mut placed = server.process.placed.lock().unwrap_or_else(|held| held.into_inner());
        placed[server.place.shard] -= 1;
    }

    /// Counts what a lent connection holds, and closes the largest one if all of the process's
    /// hold too much.
    pub(super) fn count_memory(&mut self, conn: &mut Conn) {
        let held = conn.held_memory();
        let held = if held < COUNTED_BYTES { 0 } else { held };
        if held == conn.counted_memory {
            return;
        }
        self.client_memory += held as isize - conn.counted_memory as isize;
        conn.counted_memory = held;
        let process = &self.engine.server.process;
        if (self.client_memory - self.reported_memory).abs() >= MEMORY_STEP {
            let change = (self.client_memory - self.reported_memory) as i64;
            process.client_memory.fetch_add(change, Ordering::Relaxed);
            self.reported_memory = self.client_memory;
        }
        let limit = self.engine.server.limits.get().client_memory_bytes;
        if limit > 0 && process.client_memory.load(Ordering::Relaxed) > limit as i64 {
            self.evict_largest(conn);
        }
    }

    /// Closes the connection of this shard that holds most; it may be the lent one.
    #[cold]
    fn evict_largest(&mut self, lent: &mut Conn) {
        let mut conns = self.engine.server.conns.borrow_mut();
        let mut largest = (lent.counted_memory, None);
        conns.for_each(|conn| {
            if conn.counted_memory > largest.0 && conn.closing() != Closing::Now {
                largest = (conn.counted_memory, Some(conn.id));
            }
        });
        self.engine.server.metrics.memory_evictions.add(1);
        match largest.1.and_then(|id| conns.get_mut(id)) {
            Some(conn) => {
                conn.close(Closing::Now);
                mark_dirty(conn, &mut self.dirty);
            }
            None => lent.close(Closing::Now),
        }
    }

    /// Closes connections that were idle for too long.
    pub(super) fn sweep(&mut self) {
        let timeout = self.engine.server.limits.get().idle_timeout.as_millis() as u64;
        if timeout == 0 {
            return;
        }
        let mut idle = Vec::new();
        self.engine.server.conns.borrow().for_each(|conn| {
            if conn.is_settled() && conn.facts.last_ms() + timeout < self.engine.now_ms {
                idle.push(conn.id);
            }
        });
        self.engine.server.metrics.idle_closes.add(idle.len() as u64);
        for id in idle {
            self.close(id, Closing::Now);
        }
    }

    /// Goes through the steps of a stop: nobody connects any more, nothing more is read, what was
    /// read is answered, then connections are closed. The shard goes on to answer the others until
    /// all are through.
    pub(super) fn drain(&mut self) {
        if self.draining.is_none() {
            if !self.engine.server.process.is_stopping() {
                return;
            }
            self.reactor.stop_listening();
            let wait = self.engine.server.limits.get().drain_timeout.as_nanos() as u64;
            let until_ns = self.reactor.now().steady_ns.saturating_add(wait);
            self.draining = Some(Draining { until_ns, is_reported: false });
        }
        let Some(draining) = &mut self.draining else { return };
        let is_late = self.reactor.now().steady_ns >= draining.until_ns;
        let mut conns = self.engine.server.conns.borrow_mut();
        for id in conns.ids() {
            let Some(conn) = conns.get_mut(id) else { continue };
            if is_late && conn.closing() != Closing::Now {
                let is_owed = !conn.is_settled() || conn.stall != Stall::No;
                self.engine.server.process.cut_off.fetch_add(is_owed.into(), Ordering::Relaxed);
                conn.close(Closing::Now);
            }
            conn.is_ended = true;
            mark_dirty(conn, &mut self.dirty);
        }
        // Transactions run to their end, whoever has left.
        let is_idle = self.engine.transactions.is_idle();
        if conns.len() == 0 && is_idle && !draining.is_reported {
            draining.is_reported = true;
            self.engine.server.process.shard_drained();
        }
    }

    /// Whether every shard of a stopping server is through.
    pub(super) fn is_finished(&self) -> bool {
        self.draining.is_some() && self.engine.server.process.is_drained()
    }

    /// The last turn: what was handed to the reactor leaves.
    pub(super) fn finish(&mut self) {
        // Whatever the reactor says now, nobody is left to hear it.
        let _ = self.reactor.turn(None);
    }
}
