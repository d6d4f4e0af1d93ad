//! The mailboxes between shards.
//!
//! Every ordered pair of shards has a mailbox of its own: a bounded ring with one writer and one
//! reader ([`ring`]). A [`Mesh`] is one shard's end of all of them. A turn sends as often as it likes and
//! publishes once: one store per target, one fence for all, and a wake for each target that sleeps.
//!
//! Ordering: what goes from one shard to another is received in the order sent, nothing is lost
//! and nothing comes twice. Between different pairs there is no order. A shard never sleeps while
//! there is mail that it hasn't seen ([`parking`]).
//!
//! # Proof
//! loom runs this code, not a copy, through all interleavings and all values that the memory model
//! lets a load return; and again with each [`Step`] left out that the proof rests on, when it must
//! fail:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p kevy-rt --release loom
//! ```
//!
//! loom knows `SeqCst` for fences only, so the fences are written as such.

#[cfg(all(test, loom))]
mod loom_tests;
mod parking;
mod ring;
#[cfg(all(test, not(loom)))]
mod tests;

use crate::sys::sync::{Arc, Step, is_left_out};
use parking::Parking;
use ring::{Incoming, Outgoing, mailbox};

/// How many items a ring holds.
///
/// A turn sends one batch per target and a few items of transactions, so this is many turns of a
/// target that lags. Smaller: a lagging target sends its senders into their backlogs, which hold
/// back connections. Larger: a round of turns takes longer, since a target takes all that is there
/// in one turn, and memory grows with the square of the number of shards (2 KiB of pointers per
/// ring are 10 MiB at 70 shards).
const CAPACITY: usize = 256;

/// All mailboxes of one shard. `T` is what travels. Public for this workspace's benchmarks only.
pub struct Mesh<T> {
    me: usize,
    /// By target; none to itself.
    outgoing: Box<[Option<Outgoing<T>>]>,
    /// By source; none from itself.
    incoming: Box<[Option<Incoming<T>>]>,
    /// The targets that something was sent to since the last publish, or that have a backlog; each
    /// once.
    pending: Vec<usize>,
    /// The targets that got mail by the publish under way; empty between two.
    mailed: Vec<usize>,
    /// How many items are in backlogs.
    backlog: usize,
    parking: Arc<Parking>,
}

/// What a publish did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Targets that got mail, were parked, and that nobody else had woken.
    pub wakes_sent: usize,
    /// Targets that got mail and needed no wake from here.
    pub wakes_saved: usize,
    /// Items that still wait in backlogs.
    pub backlog: usize,
}

impl<T: Send> Mesh<T> {
    /// The ends of all shards, in their order.
    pub fn connect(shards: usize) -> Vec<Self> {
        Self::connect_with(shards, CAPACITY)
    }

    /// The same with rings that hold `capacity` items.
    pub(crate) fn connect_with(shards: usize, capacity: usize) -> Vec<Self> {
        let parking = Parking::new(shards);
        let mut meshes: Vec<Self> = (0..shards)
            .map(|me| Self {
                me,
                outgoing: (0..shards).map(|_| None).collect(),
                incoming: (0..shards).map(|_| None).collect(),
                pending: Vec::with_capacity(shards),
                mailed: Vec::with_capacity(shards),
                backlog: 0,
                parking: Arc::clone(&parking),
            })
            .collect();
        for source in 0..shards {
            for target in (0..shards).filter(|&target| target != source) {
                let (outgoing, incoming) = mailbox(capacity);
                meshes[source].outgoing[target] = Some(outgoing);
                meshes[target].incoming[source] = Some(incoming);
            }
        }
        meshes
    }

    /// This shard.
    pub fn me(&self) -> usize {
        self.me
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.outgoing.len()
    }

    /// Appends `item` to what goes to `target`, which sees nothing of it before
    /// [`Mesh::publish`]. Never refused: what finds the ring full waits here, in order.
    ///
    /// # Panics
    /// If `target` is this shard.
    #[inline]
    pub fn send(&mut self, target: usize, item: T) {
        let outgoing = self.outgoing[target].as_mut().expect("a shard has no mail for itself");
        self.backlog += usize::from(outgoing.send(item));
        if !outgoing.is_pending {
            outgoing.is_pending = true;
            self.pending.push(target);
        }
    }

    /// Moves backlogs on, publishes all that was sent, and calls `wake` once for each target that
    /// got mail, is parked, and that no other sender has claimed. A wake must also end a sleep
    /// that begins after it.
    #[inline]
    pub fn publish(&mut self, wake: impl FnMut(usize)) -> Published {
        if self.pending.is_empty() {
            return Published::default();
        }
        self.parking.begin_publishing(self.me);
        self.publish_pending();
        let published = self.wake_mailed(wake);
        self.parking.end_publishing(self.me);
        published
    }

    fn publish_pending(&mut self) {
        let Self { pending, outgoing, mailed, backlog, .. } = self;
        pending.retain(|&target| {
            let outgoing = outgoing[target].as_mut().expect("was sent to");
            *backlog -= outgoing.advance();
            if outgoing.publish() {
                mailed.push(target);
            }
            outgoing.is_pending = outgoing.has_backlog();
            outgoing.is_pending
        });
    }

    fn wake_mailed(&mut self, mut wake: impl FnMut(usize)) -> Published {
        let mut published = Published { backlog: self.backlog, ..Published::default() };
        if self.mailed.is_empty() {
            return published;
        }
        self.parking.end_stores();
        for target in self.mailed.drain(..) {
            if self.parking.claim_wake(target) {
                published.wakes_sent += 1;
                wake(target);
            } else {
                published.wakes_saved += 1;
            }
        }
        published
    }

    /// Sees what `source` has published up to now: how many items [`Mesh::receive`] will give. No
    /// more than a ring holds, whatever arrives meanwhile. From itself: none.
    #[inline]
    pub fn look(&mut self, source: usize) -> usize {
        self.incoming[source].as_mut().map_or(0, |incoming| incoming.0.look())
    }

    /// The next item from `source` that the last [`Mesh::look`] saw. What it leaves is there for
    /// the next look.
    #[inline]
    pub fn receive(&mut self, source: usize) -> Option<T> {
        self.incoming[source].as_mut()?.0.take()
    }

    /// Whether there is anything to receive: cheap enough to spin on.
    #[inline]
    pub fn has_mail(&self) -> bool {
        self.sources_with_mail().next().is_some()
    }

    /// Whether anything waits for a free slot.
    #[inline]
    pub fn has_backlog(&self) -> bool {
        self.backlog != 0
    }

    /// Says that this shard is about to sleep. False: it must not, since there is mail, or
    /// something was sent that only its own next publish moves on. True: sleep, then
    /// [`Mesh::unpark`].
    pub fn park(&mut self) -> bool {
        if !self.pending.is_empty() {
            return false;
        }
        self.parking.set_parked(self.me);
        if self.has_mail() && !is_left_out(Step::SecondLook) {
            self.parking.set_awake(self.me);
            return false;
        }
        true
    }

    /// Says that this shard is awake. `timed_out`: the sleep ended by its time limit. The answer
    /// is whether a sender has left mail without waking this shard, which never happens, and which
    /// is worth counting because a time limit would hide it.
    pub fn unpark(&mut self, timed_out: bool) -> bool {
        let was_forgotten = timed_out
            && self.sources_with_mail().any(|source| self.parking.has_forgotten(source, self.me));
        self.parking.set_awake(self.me);
        was_forgotten
    }

    fn sources_with_mail(&self) -> impl Iterator<Item = usize> {
        self.incoming.iter().enumerate().filter_map(|(source, incoming)| {
            incoming.as_ref().is_some_and(|incoming| incoming.0.has_items()).then_some(source)
        })
    }
}
