//! A framework for sharded, thread-per-core in-memory servers.

extern crate self as kevy_rt;

mod args;
mod commands;
mod conn;
mod cx;
pub mod gather;
mod input;
mod limits;
mod mesh;
mod metrics;
mod reactor;
mod reply_queue;
mod hash;
mod shard;
pub mod sim;
mod runtime;
mod shared;
mod start;
mod sys;
#[doc(hidden)]
pub mod table;
#[doc(hidden)]
pub mod testing;
mod wire;

#[doc(hidden)]
pub use args::{KeyArg, is_key};
pub use args::{Arg, Args, Cursor, Key, MANY, Rest, Span, add_counts, parse_float, parse_integer};
pub use commands::{
    ArgInfo, CheckFn, Command, CommandInfo, CommandSet, Commands, Has, KeyRange, MergeFn, Open,
    PartFn, Place, Port, ReplyMode, Route, Run, RunFn, Session, SessionFn, SessionState, Store,
};
pub use conn::{ConnFacts, ConnView, Peer};
pub use cx::{Cx, Server};
pub use gather::{Carried, Carry, PartOut, Plan};
pub use kevy_rt_macros::{command, commands};
pub use limits::Limits;
pub use metrics::{CommandStats, Counter, Metrics};
pub use runtime::{Builder, Error, Listen, Listening, Process, ReactorChoice, Runtime};
pub use shared::{ATTACH_BYTES, Mark, Out, Shared, Value};
pub use wire::{
    BURST_REQUESTS, Body, Burst, Encode, ParseLimits, Refusal, Reply, Resume, Scope, Wire,
};

/// Asks the processor for a cache line ahead of its use: for [`Store::prefetch`].
#[inline(always)]
pub fn prefetch<T: ?Sized>(line: &T) {
    sys::prefetch_line(line);
}
