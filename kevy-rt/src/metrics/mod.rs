//! Metrics of one shard. Plain words that only its thread touches: counting costs an add.
//!
//! [`Metrics`] and [`CommandStats`] are what the runtime counts, `own` what sets and stores count
//! themselves. A scrape tells all of it in one form ([`Scrape`]), which a port may show.

pub(crate) mod histogram;
mod observe;
pub(crate) mod own;
mod scrape;

use std::cell::Cell;

pub use histogram::{Distribution, Durations, Histogram};
pub use observe::Observe;
pub use own::{Cell as MetricCell, Labelled, Own};
pub use scrape::{Family, Kind, Label, Labels, Sample, Scrape};

/// A count that one thread writes and reads.
#[derive(Debug, Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.set(self.0.get().wrapping_add(n));
    }

    /// Takes `n` away.
    #[inline]
    pub fn subtract(&self, n: u64) {
        self.0.set(self.0.get().wrapping_sub(n));
    }

    /// Raises it to `n` if it is less.
    #[inline]
    pub fn raise(&self, n: u64) {
        self.0.set(self.0.get().max(n));
    }

    /// Its value.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.get()
    }

    /// Sets it to zero.
    pub fn reset(&self) {
        self.0.set(0);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.set(n);
    }
}

/// A number that goes up and down, which one thread writes and reads.
#[derive(Debug, Default)]
pub struct Gauge(Cell<f64>);

impl Gauge {
    /// Sets it.
    #[inline]
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }

    /// Adds `change`, which may be negative.
    #[inline]
    pub fn add(&self, change: f64) {
        self.0.set(self.0.get() + change);
    }

    /// Its value.
    #[inline]
    pub fn get(&self) -> f64 {
        self.0.get()
    }
}

macro_rules! shard_metrics {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// What a shard counts.
        #[derive(Debug, Default)]
        pub struct Metrics { $($(#[doc = $doc])+ pub $name: Counter),+ }

        impl Metrics {
            /// Each counter with its name, in the order of declaration.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name.get())),+].into_iter()
            }

            /// The same with what each means.
            pub(crate) fn with_meaning(
                &self,
            ) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name.get())),+]
                    .into_iter()
            }

            /// Sets all of them to zero but those that say what is there now.
            pub fn reset(&self) {
                let now = [&self.backlog_batches, &self.connections, &self.buffer_bytes];
                let kept = now.map(Counter::get);
                $(self.$name.reset();)+
                now.iter().zip(kept).for_each(|(counter, value)| counter.set(value));
            }
        }
    };
}

shard_metrics! {
    /// Passes of the loop.
    turns,
    /// Requests of this shard's connections.
    requests,
    /// Requests, or parts of them, that this shard ran for another.
    requests_for_others,
    /// Error replies to this shard's connections.
    error_replies,
    /// Batches sent to other shards, answers not counted.
    batches_sent,
    /// Batches that came from other shards.
    batches_received,
    /// Batches that wait because a ring is full.
    backlog_batches,
    /// The most that ever waited.
    backlog_peak,
    /// Wakes of a parked shard.
    wakes_sent,
    /// Batches for a shard that was awake, so that no wake was needed.
    wakes_saved,
    /// How often the shard went to sleep.
    parks,
    /// Parks that ended by their timeout and found mail that nobody had said was there. Stays zero.
    parks_missed_mail,
    /// Nanoseconds not asleep.
    busy_ns,
    /// Thread CPU time of the longest turn, in nanoseconds; up to a fifth of a millisecond too high.
    longest_turn_ns,
    /// Wall time of the longest turn, in nanoseconds.
    longest_turn_wall_ns,
    /// Connections open now.
    connections,
    /// Connections ever taken in.
    connections_received,
    /// Connections turned away.
    connections_rejected,
    /// Bytes of buffers that the shard keeps to use them again: its reactor's, its batches', those of
    /// large values.
    buffer_bytes,
    /// Bytes received.
    bytes_in,
    /// Bytes sent.
    bytes_out,
    /// Times that a connection was not read from because its replies were not taken.
    output_pauses,
    /// Times that a connection waited because another shard had too many open requests.
    credit_stalls,
    /// Connections closed past the hard mark of their output.
    output_overruns,
    /// Connections closed because all of them together held too much.
    memory_evictions,
    /// Connections closed because they were idle.
    idle_closes,
    /// Messages that connections got without having asked.
    messages_sent,
    /// Messages for connections that were gone, or of another wire.
    messages_dropped,
    /// Malformed requests.
    protocol_errors,
    /// Transactions over several shards, or that had to wait for their keys, of this shard's
    /// connections.
    transactions,
    /// Things that hops did on this shard.
    hops,
    /// Transactions that this shard ordered and ran in the message that scheduled them.
    one_round,
    /// Transactions that this shard ordered and could not run at once.
    early_answers,
    /// Entries whose order was another than this shard's stamp.
    moved_entries,
    /// Requests of one shard that waited for a transaction here.
    deferred,
    /// Times that a connection waited for the order of its own transaction.
    order_stalls,
}

/// Every how many requests of a shard one is timed.
///
/// Smaller: reading the clock shows. Larger: a rare command's time is a guess for longer.
pub(crate) const TIMED_EVERY: u64 = 128;

/// What a shard counts per command.
#[derive(Debug, Default)]
pub struct CommandStats {
    /// Requests run here; those of several shards where their connection is.
    pub calls: Counter,
    /// Requests refused before their handler was called.
    pub rejected: Counter,
    /// Requests whose reply was an error.
    pub failed: Counter,
    /// Nanoseconds that the timed ones took.
    pub timed_ns: Counter,
    /// How many were timed.
    pub timed: Counter,
}

impl CommandStats {
    /// Nanoseconds of all calls, estimated from the timed ones.
    pub fn total_ns(&self) -> u64 {
        match self.timed.get() {
            0 => 0,
            timed => {
                (u128::from(self.timed_ns.get()) * u128::from(self.calls.get()) / u128::from(timed))
                    as u64
            }
        }
    }

    /// Sets all to zero.
    pub fn reset(&self) {
        for counter in [&self.calls, &self.rejected, &self.failed, &self.timed_ns, &self.timed] {
            counter.reset();
        }
    }
}
