//! The bounds of a server, each with what breaks without it.

use std::time::Duration;

use crate::wire::ParseLimits;

const MIB: usize = 1024 * 1024;

/// Bounds that may be changed while the server runs. Each shard has its copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections over all shards. More would run out of file descriptors.
    pub connections: usize,
    /// What a request may hold.
    pub parse: ParseLimits,
    /// What a request of a restricted session may hold: whoever can't authenticate gets no memory.
    pub restricted: ParseLimits,
    /// Bytes of replies that wait for a connection, from which on no more is read from it. A
    /// client that reads slowly slows itself down, nobody else.
    pub output_soft_bytes: usize,
    /// Bytes of replies that wait for a connection, past which it is closed. The soft mark already
    /// stops requests, so this is for replies that were on their way.
    pub output_hard_bytes: usize,
    /// Bytes of input and output that all connections may hold together; the largest is closed.
    /// Zero for no limit.
    pub client_memory_bytes: usize,
    /// How long a connection may send nothing while nothing is owed to it. Zero for ever.
    pub idle_timeout: Duration,
    /// Timers that each shard's handlers may have set. More: memory, and turns that run nothing
    /// else.
    pub timers: usize,
    /// Requests of a shard's connections that may be open (with other shards, in transactions,
    /// offloaded), from which on the server is overloaded: requests with keys, or for all shards
    /// as one moment, are refused with [`Refusal::Overloaded`](crate::Refusal::Overloaded). Looked
    /// at once in a turn. Zero for never: they wait, which slows their clients down.
    pub overload_requests: usize,
    /// Bytes that all connections may hold together, from which on the server is overloaded, likewise.
    /// Below [`Limits::client_memory_bytes`], or connections are closed first. Zero for never.
    pub overload_bytes: usize,
    /// Whether a request waits for the replies to all earlier ones of its connection that other
    /// shards owe. Off, a request to another shard overtakes them: its connection sees all that it
    /// sent before, but another one may see a later request of an unfinished pipeline first.
    pub strict_pipelines: bool,
    /// How long a stopping server waits for its replies to be taken.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 10_000,
            parse: ParseLimits {
                args: 1024 * 1024,
                argument_bytes: 512 * MIB,
                line_bytes: 64 * 1024,
                request_bytes: 1024 * MIB,
                restricted: false,
            },
            restricted: ParseLimits {
                args: 10,
                argument_bytes: 16 * 1024,
                line_bytes: 64 * 1024,
                request_bytes: 256 * 1024,
                restricted: true,
            },
            output_soft_bytes: MIB,
            output_hard_bytes: 4096 * MIB,
            client_memory_bytes: 4096 * MIB,
            idle_timeout: Duration::ZERO,
            timers: 64 * 1024,
            overload_requests: 0,
            overload_bytes: 0,
            strict_pipelines: false,
            drain_timeout: Duration::from_secs(10),
        }
    }
}
