//! A framework for sharded, thread-per-core in-memory servers.
//!
//! Commands are declared on plain functions over a store of one's own ([`macro@commands`]); [`server!`]
//! joins them with a wire to a server; [`Builder`] starts it on all cores. The runtime gives it
//! sockets, routing, order, limits and metrics, and knows no protocol.
//!
//! # A turn
//!
//! Each shard is a thread with its own store and connections. Its loop makes turns; every stage
//! takes a bounded amount, and what is left waits for the next one.
//!
//! ```text
//!            other shards                                    the kernel
//!                 |  rings: batches of requests,                 |  completions, or readiness
//!                 |  batches that come home                      |
//!                 v                                              v
//!   1 reactor     .                        hand over what the last turn asked for, collect
//!   2 mail        run the others' requests, hand the answers on
//!   3 events      bytes -> Wire::parse -> table -> keys' hashes -> prefetch -> route
//!                     |own shard: run, the reply goes straight into the output
//!                     |another:   into this turn's batch for it; a slot waits in the reply queue
//!                     |several:   a transaction: a part for each; the last part makes the reply
//!   4 ticks       expiry and the like; idle connections
//!   5 settle      one send per connection, in request order; limits; ends
//!   6 publish     one batch per shard, one wake for each that sleeps
//!   - rest        spin for a moment, then sleep until mail or a completion comes
//! ```
//!
//! # Where to look
//!
//! - [`Store`], [`Has`], [`Session`], [`Wire`], [`Arg`], [`Encode`]: what a server provides.
//! - [`KeyHasher`]: the one hash of a key, by which it is placed and found.
//! - [`Command`], [`Route`], [`gather`]: what a declaration becomes, and how parts of a reply from
//!   several shards become one.
//! - [`Tx`]: handlers over several shards; how transactions work, `tx/mod.rs` says. [`Changes`]: where a
//!   store tells of what it changes, for keys that are watched.
//! - [`Cx`], [`Server`], [`Process`]: what a handler may ask of the runtime.
//! - [`Limits`], [`Metrics`]: bounds and counters. [`metrics!`]: counters of one's own; [`Scrape`]: all
//!   of them, in one form.
//! - [`reference`](mod@reference): what the commands are, written out.
//! - [`free_later`]: a thread for what takes long to drop.
//! - [`TestShard`]: tests of commands without sockets. It stands on [`sim`]: the same server on one
//!   thread, from a seed, with a clock that a test turns.

extern crate self as kevy_rt;

mod args;
mod commands;
mod compose;
mod conn;
mod cx;
mod errands;
pub mod gather;
mod hash;
mod input;
mod kept;
mod later;
mod limits;
mod mesh;
mod metrics;
mod offload;
mod pool;
mod reactor;
mod reaper;
pub mod reference;
mod reply_queue;
mod runtime;
mod setting;
mod shard;
mod shared;
pub mod sim;
mod start;
mod stream;
mod sys;
#[doc(hidden)]
pub mod table;
mod test_shard;
#[doc(hidden)]
pub mod testing;
mod timers;
mod tx;
mod wire;

pub use args::{
    Arg, Args, Cursor, Key, Keys, MANY, OneOf, Rest, Span, add_counts, parse_float, parse_integer,
};
#[doc(hidden)]
pub use args::{KeyArg, fewest, is_key, is_word, most};
pub use commands::{
    ArgInfo, ArgKind, CheckFn, Command, CommandInfo, CommandSet, Commands, Has, KeyRange, KeySpec,
    LastKey, MergeFn, Open, OpenError, Part, PartFn, Place, Port, QueueVerb, Queueing, ReplyMode,
    Route, Run, RunFn, Session, SessionFn, SessionState, Store,
};
pub use conn::{Close, ConnFacts, ConnHandle, ConnView, Peer};
pub use cx::{Cx, Sent, Server};
pub use errands::Message;
pub use gather::{Carried, Carry, PartOut, Plan};
pub use hash::KeyHasher;
pub use kevy_rt_macros::{Arg, Store, command, commands};
pub use limits::Limits;
#[doc(hidden)]
pub use mesh::{Mesh, Published};
#[doc(hidden)]
pub use metrics::own::tell as tell_metric;
pub use metrics::{
    CommandStats, Counter, Distribution, Durations, Family, Gauge, Histogram, Kind, Label,
    Labelled, Labels, MetricCell, Metrics, Observe, Own, Sample, Scrape,
};
pub use offload::Offload;
pub use reaper::free_later;
pub use runtime::{Builder, Error, Listen, Listening, Process, ReactorChoice, Runtime};
pub use setting::{Setting, View};
pub use shared::{ATTACH_BYTES, Mark, Out, Shared, Value};
pub use stream::{Step, Streamed};
pub use test_shard::{ClientSide, TestClient, TestShard};
pub use timers::TimerId;
#[cfg(faults)]
#[doc(hidden)]
pub use tx::fault::{Fault, inject};
pub use tx::task::{Hop, MAX_ROUNDS, ReadTx, Tx};
#[doc(hidden)]
pub use tx::task::{Task, TxStart};
pub use tx::watch::Changes;
pub use wire::{
    BURST_REQUESTS, Body, Burst, Encode, Outcome, ParseLimits, Refusal, Reply, Resume, Scope, Wire,
};

/// Asks the processor for a cache line ahead of its use: for [`Store::prefetch`].
#[inline(always)]
pub fn prefetch<T: ?Sized>(line: &T) {
    sys::prefetch_line(std::ptr::from_ref(line).cast());
}

/// The same for an address, whether or not something is there.
#[inline(always)]
pub fn prefetch_address(address: *const u8) {
    sys::prefetch_line(address);
}
