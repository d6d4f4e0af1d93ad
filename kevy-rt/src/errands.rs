//! What handlers, hooks and timers ask of connections other than by a reply: that one is told
//! something, or is closed.
//!
//! ```text
//! Server::push, close     errands of this turn, in order; bounded
//!   |
//!   v  shard/errands.rs, before connections are settled
//! of this shard           written to the connection's output, behind the replies that are done
//! of another              an item of the turn's batch for it; while too many are under way there,
//!                         the rest waits here, so the order per connection stays
//! ```
//!
//! A connection gets what one shard tells it in that order. What is for a connection that is gone is
//! dropped.

use std::any::TypeId;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::conn::{Closing, ConnHandle};
use crate::shared::Out;
use crate::wire::{Reply, Scope, Wire};

/// Errands of a shard that wait at most.
///
/// Smaller: one message to very many connections is refused to some of them. Larger: more memory
/// where another shard doesn't keep up.
pub(crate) const MOST_ERRANDS: usize = 64 * 1024;

/// Errands of one shard that are under way to another at most.
///
/// Smaller: messages wait for round trips. Larger: a turn of the other shard gets longer.
pub(crate) const ERRANDS_UNDER_WAY: usize = 4096;

/// Writes a message in a scope.
type Writer = dyn Fn(u64, &mut Out) + Send + Sync;

/// A message for connections. Each gets it encoded by its wire, in its own scope.
///
/// ```
/// # use kevy_rt::{Message, Reply, Wire};
/// # fn of<W: Wire>(text: String) -> Message where for<'a> &'a [u8]: kevy_rt::Encode<W> {
/// Message::new(move |reply: &mut Reply<'_, W>| reply.put(text.as_bytes()))
/// # }
/// ```
#[derive(Clone)]
pub struct Message {
    /// Connections of other wires can't be told it.
    pub(crate) wire: TypeId,
    encode: Arc<Writer>,
}

impl Message {
    /// What `encode` writes, once for each connection. It is called on the connection's shard.
    /// Cloning a message counts, it doesn't copy.
    pub fn new<W: Wire>(encode: impl Fn(&mut Reply<'_, W>) + Send + Sync + 'static) -> Self {
        let encode = move |scope, out: &mut Out| {
            encode(&mut Reply::in_scope(out, W::Scope::from_bits(scope)));
        };
        Message { wire: TypeId::of::<W>(), encode: Arc::new(encode) }
    }

    pub(crate) fn write(&self, scope: u64, out: &mut Out) {
        (self.encode)(scope, out);
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").finish_non_exhaustive()
    }
}

/// What is to be done with a connection.
#[derive(Debug)]
pub(crate) enum Errand {
    Tell(Message),
    Close(Closing),
}

/// Those that wait.
#[derive(Debug, Default)]
pub(crate) struct Errands {
    pub(crate) waiting: VecDeque<(ConnHandle, Errand)>,
    /// Whether something came since they were last looked at.
    pub(crate) is_fresh: bool,
}

impl Errands {
    /// Adds a message, if there is room for it.
    pub(crate) fn tell(&mut self, whom: ConnHandle, message: Message) -> bool {
        let has_room = self.waiting.len() < MOST_ERRANDS;
        if has_room {
            self.add(whom, Errand::Tell(message));
        }
        has_room
    }

    /// Closes a connection. Not refused: each request names its own, or those that it sees.
    pub(crate) fn close(&mut self, whom: ConnHandle, how: Closing) {
        self.add(whom, Errand::Close(how));
    }

    fn add(&mut self, whom: ConnHandle, errand: Errand) {
        self.waiting.push_back((whom, errand));
        self.is_fresh = true;
    }
}
