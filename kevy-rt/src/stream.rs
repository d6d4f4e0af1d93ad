//! Replies in pieces: what is too large to be held whole is written while it is sent.
//!
//! ```text
//! handler returns Streamed       the request keeps its place in the reply queue
//!    |
//!    v  first in the queue, and little of its connection's output is left
//! step() -> a piece              run by the shard that ran the handler
//!    |  of another shard: one piece travels, the next one is asked for when this one was taken
//!    v
//! the connection's output        ... until step() says that it was the last
//! ```
//!
//! Other connections go on between two steps, and so do writes: each step sees the store as it is by
//! then.

use std::any::{Any, TypeId};
use std::fmt;

use crate::cx::Cx;
use crate::later::Later;
use crate::shared::Out;
use crate::wire::{Encode, Refusal, Reply, Wire};

/// Output of a connection from which on no further step is taken.
///
/// Smaller: more sends for the same reply. Larger: more memory for each client that reads slowly.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// Whether a reply in pieces goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to come.
    More,
    /// That was the last piece.
    Done,
}

/// Writes the next piece of a reply.
type StepFn<P, W> = dyn FnMut(&P, &Cx<'_>, &mut Reply<'_, W>) -> Step + Send;

/// The reply of a handler that writes it step by step, over the wire `W`, from the store `P` of its
/// set (or of the whole server).
///
/// ```
/// # use kevy_rt::{Encode, Reply, Step, Streamed, Wire};
/// fn count_to<W: Wire>(n: u64) -> Streamed<(), W>
/// where
///     u64: Encode<W>,
/// {
///     let mut numbers = 1..=n;
///     Streamed::new(move |_: &(), _, reply: &mut Reply<'_, W>| match numbers.next() {
///         Some(number) => {
///             reply.put(number);
///             Step::More
///         }
///         None => Step::Done,
///     })
/// }
/// ```
///
/// What it writes in all has to be one whole reply. A step writes little: a connection holds what
/// one step writes beyond a mark of 64 KB, and the shard does nothing else meanwhile. A step that panics
/// ends the connection, whose reply is broken off then. If the connection goes first, the rest is
/// dropped.
///
/// A request that was queued to run with others is refused with [`Refusal::NotQueueable`], as is one of
/// a route whose reply can't wait (`session`, `tx`).
pub struct Streamed<P, W: Wire> {
    step: Box<StepFn<P, W>>,
}

impl<P, W: Wire> fmt::Debug for Streamed<P, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streamed").finish_non_exhaustive()
    }
}

impl<P: 'static, W: Wire> Streamed<P, W> {
    /// A reply whose pieces `step` writes.
    pub fn new(step: impl FnMut(&P, &Cx<'_>, &mut Reply<'_, W>) -> Step + Send + 'static) -> Self {
        Streamed { step: Box::new(step) }
    }
}

impl<P: 'static, W: Wire> Encode<W> for Streamed<P, W> {
    fn encode(self, reply: &mut Reply<'_, W>) {
        if reply.may_come_later() {
            reply.out().come_later(Later::Pieces(Box::new(self)));
        } else {
            W::Refusal::from(Refusal::NotQueueable).encode(reply);
        }
    }
}

/// What writes the pieces, whatever the wire and the store.
pub(crate) trait Pieces: Send {
    /// The type of the part of the store that it reads.
    fn part(&self) -> TypeId;
    /// Writes the next piece.
    fn step(&mut self, part: &mut dyn Any, cx: &Cx<'_>, out: &mut Out) -> Step;
}

impl<P: 'static, W: Wire> Pieces for Streamed<P, W> {
    fn part(&self) -> TypeId {
        TypeId::of::<P>()
    }

    fn step(&mut self, part: &mut dyn Any, cx: &Cx<'_>, out: &mut Out) -> Step {
        match part.downcast_ref::<P>() {
            Some(part) => (self.step)(part, cx, &mut Reply::new(out, cx)),
            None => Step::Done,
        }
    }
}

/// A reply in pieces, in its place of the reply queue.
pub(crate) struct Stream {
    pub(crate) source: Source,
    pub(crate) scope: u64,
    /// Whether nobody wants it.
    pub(crate) is_muted: bool,
    /// Whether a piece of it has left.
    pub(crate) has_begun: bool,
}

/// Where the pieces come from.
pub(crate) enum Source {
    /// This shard.
    Here(Box<dyn Pieces>),
    /// Another one.
    There {
        from: There,
        /// The piece that is here and has not left.
        piece: Option<Box<Out>>,
        /// Whether the next one is on its way.
        is_asked: bool,
    },
}

/// A reply in pieces of another shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct There {
    pub(crate) owner: u16,
    /// Its number there.
    pub(crate) stream: u32,
    /// Bytes of its arguments that this shard counts until its end.
    pub(crate) bytes: usize,
}
