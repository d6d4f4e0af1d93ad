//! How long requests take, from their arrival until their replies are sent: of one request at a
//! time, so that all others pay a comparison per event.
//!
//! A probe is due a moment after the last one. It takes an event of the turn by lot, as the first
//! ones of a turn wait least, and notes the number that the next request of that connection would
//! get: when all before it have left, the probe ends.

use crate::conn::{Conn, ConnId};
use crate::cx::Server;

/// How long after a probe the next one is due.
///
/// Smaller: reading the clock shows. Larger: less is known of a busy second's slowest requests.
const EVERY_NS: u64 = 250_000;

/// A probe that has not ended after so long is given up: what it waits for is no work of this shard.
const LONGEST_NS: u64 = 10_000_000_000;

/// No event.
const NONE: usize = usize::MAX;

/// The request that is watched, and when the next one is.
#[derive(Debug)]
pub(super) struct Probe {
    due_ns: u64,
    /// Which event of this turn starts one.
    event: usize,
    /// How many events the last turn that had any had.
    events: usize,
    random: u64,
    open: Option<Open>,
}

/// A connection all of whose requests up to a number are to be answered.
#[derive(Clone, Copy, Debug)]
struct Open {
    conn: ConnId,
    number: u64,
    started_ns: u64,
}

impl Default for Probe {
    fn default() -> Self {
        Probe { due_ns: 0, event: NONE, events: 1, random: 1, open: None }
    }
}

impl Probe {
    /// A turn starts.
    #[inline]
    pub(super) fn turn_starts(&mut self, now_ns: u64, server: &Server) {
        if now_ns >= self.due_ns {
            self.draw(now_ns, server);
        }
    }

    #[cold]
    fn draw(&mut self, now_ns: u64, server: &Server) {
        if let Some(open) = self.open {
            let is_there = server.conns.borrow_mut().get_mut(open.conn).is_some();
            if is_there && now_ns - open.started_ns < LONGEST_NS {
                self.due_ns = now_ns + EVERY_NS;
                return;
            }
            self.open = None;
        }
        // A linear congruence: its high bits are good enough for a lot.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.event = (self.random >> 33) as usize % self.events;
    }

    /// Whether this event of the turn starts a probe.
    #[inline]
    pub(super) fn takes(&self, event: usize) -> bool {
        self.event == event
    }

    /// The connection's requests have been taken in.
    #[cold]
    pub(super) fn start(&mut self, conn: &Conn, now_ns: u64) {
        // Perhaps no whole request has come.
        if conn.queue.is_empty() && conn.out.is_empty() && conn.kept.is_none() {
            return;
        }
        self.due_ns = now_ns + EVERY_NS;
        self.open = Some(Open { conn: conn.id, number: conn.queue.next(), started_ns: now_ns });
    }

    /// The turn had so many events.
    #[inline]
    pub(super) fn events_end(&mut self, events: usize) {
        if events > 0 {
            self.events = events;
        }
        self.event = NONE;
    }

    /// A connection's output is handed over to be sent. Answers when the probe started, if it ends
    /// with that.
    #[inline]
    pub(super) fn end(&mut self, conn: &Conn) -> Option<u64> {
        let open = self.open.filter(|open| open.conn == conn.id)?;
        if conn.queue.first() < open.number || conn.kept.is_some() {
            return None;
        }
        self.open = None;
        Some(open.started_ns)
    }
}
