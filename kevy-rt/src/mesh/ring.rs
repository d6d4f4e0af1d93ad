//! The sending end of a mailbox: a ring, and behind it a backlog for what found the ring full.
//!
//! A sender never waits for a slow target: what doesn't fit is kept here, in order, and moves on as
//! slots get free. The backlog itself has no bound; whoever feeds it stops while it isn't empty.

use std::collections::VecDeque;

use crate::sys::sync::{Step, is_left_out};
use crate::sys::{Consumer, Producer, ring};

/// The two ends of a mailbox whose ring holds `capacity` items.
pub(super) fn mailbox<T: Send>(capacity: usize) -> (Outgoing<T>, Incoming<T>) {
    let (producer, consumer) = ring(capacity);
    (Outgoing { producer, backlog: VecDeque::new(), is_pending: false }, Incoming(consumer))
}

/// The sending end.
// On lines of its own: shards' ends lie beside one another in memory.
#[repr(align(128))]
pub(super) struct Outgoing<T> {
    producer: Producer<T>,
    /// Younger than all in the ring.
    backlog: VecDeque<T>,
    /// Whether the mesh has this mailbox in its list of those to publish.
    pub(super) is_pending: bool,
}

impl<T: Send> Outgoing<T> {
    /// Appends. Whether it went to the backlog.
    #[inline]
    pub(super) fn send(&mut self, item: T) -> bool {
        let waits_in_turn = !self.backlog.is_empty() && !is_left_out(Step::BacklogOrder);
        let overflow = if waits_in_turn { Some(item) } else { self.producer.push(item).err() };
        let overflowed = overflow.is_some();
        self.backlog.extend(overflow);
        overflowed
    }

    /// Moves what fits from the backlog to the ring. How many items.
    pub(super) fn advance(&mut self) -> usize {
        let before = self.backlog.len();
        while let Some(item) = self.backlog.pop_front() {
            if let Err(item) = self.producer.push(item) {
                self.backlog.push_front(item);
                break;
            }
        }
        before - self.backlog.len()
    }

    /// Publishes what is in the ring. Whether there was anything new.
    #[inline]
    pub(super) fn publish(&mut self) -> bool {
        self.producer.publish()
    }

    pub(super) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }
}

/// The receiving end.
#[repr(align(128))]
pub(super) struct Incoming<T>(pub(super) Consumer<T>);
