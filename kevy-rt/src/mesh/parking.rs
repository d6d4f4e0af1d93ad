//! Who is parked, and who is publishing: the words by which shards sleep and are woken.
//!
//! A shard that is about to sleep and a sender that has mail for it each write one word and read
//! the other's:
//!
//! ```text
//!   sleeper (park)                    sender (publish)
//!   1 parked = true                   1 store `published` of the ring
//!   2 fence                           2 fence
//!   3 look at the mailboxes again     3 read `parked`, wake if it is set
//!   4 sleep
//! ```
//!
//! Without fences both reads may come ahead of the other side's write, though each was written
//! first: a store waits in its core's buffer while a later load is served. Then the sleeper finds
//! no mail, the sender finds nobody parked, and the mail lies there while its owner sleeps. One
//! fence alone doesn't help, the other side's read still overtakes its own store. With both, one
//! fence comes first in the single order of all such fences, and what was stored before it is read
//! by the loads behind the other: either the sleeper sees the mail or the sender sees the flag.
//!
//! The second look is what makes a first look worthless without harm: mail that came between it and
//! the flag found nobody parked, and no sender will come back to it.
//!
//! Whoever turns `parked` from true to false wakes, once; a shard that wakes by itself turns it
//! back and at worst gets a wake that it doesn't need. All that write the word swap it, so each
//! finds what the one before it left.

use crate::sys::sync::{Arc, AtomicBool, AtomicUsize, Line, Ordering, Step, fence, is_left_out};

/// The words of all shards.
pub(super) struct Parking {
    places: Box<[Place]>,
}

struct Place {
    /// The shard itself sets it before it sleeps and clears it after; senders read it, and clear
    /// it when they wake the shard.
    parked: Line<AtomicBool>,
    /// Odd while the shard publishes and wakes. It alone writes it; those who judge whether a
    /// wake was forgotten read it.
    publishing: Line<AtomicUsize>,
}

impl Parking {
    pub(super) fn new(shards: usize) -> Arc<Self> {
        let place = |_| Place {
            parked: Line(AtomicBool::new(false)),
            publishing: Line(AtomicUsize::new(0)),
        };
        Arc::new(Self { places: (0..shards).map(place).collect() })
    }

    /// The sleeper's first two steps. Its next is to look again.
    pub(super) fn set_parked(&self, me: usize) {
        self.places[me].parked.0.swap(true, Ordering::AcqRel);
        if !is_left_out(Step::SleeperFence) {
            fence(Ordering::SeqCst);
        }
    }

    /// The sleeper is awake.
    pub(super) fn set_awake(&self, me: usize) {
        // No fence: a sender that still reads `true` sends a wake too many, and one that reads
        // `false` leaves its mail to the looks of the coming turns, that before the next sleep
        // included.
        self.places[me].parked.0.swap(false, Ordering::AcqRel);
    }

    /// The sender's first step: before it publishes anything.
    pub(super) fn begin_publishing(&self, me: usize) {
        let publishing = &self.places[me].publishing.0;
        // Relaxed: the store of `published` that follows is a release, so who sees the mail sees
        // this.
        publishing.store(publishing.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// The sender has published, to all of its targets. Its next step is to claim their wakes.
    pub(super) fn end_stores(&self) {
        if !is_left_out(Step::SenderFence) {
            fence(Ordering::SeqCst);
        }
    }

    /// Whether `target` is parked and this sender is the one to wake it.
    pub(super) fn claim_wake(&self, target: usize) -> bool {
        let parked = &self.places[target].parked.0;
        // Read before it is swapped, so that a target that is awake keeps its line. Relaxed: the
        // fence before orders the load.
        parked.load(Ordering::Relaxed)
            && (parked.swap(false, Ordering::AcqRel) || is_left_out(Step::OneClaim))
    }

    /// The sender's last step: all wakes are claimed.
    pub(super) fn end_publishing(&self, me: usize) {
        let publishing = &self.places[me].publishing.0;
        // Release: who sees this sees the claims.
        publishing.store(publishing.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }

    /// Whether `source`, whose mail `me` just saw, should have claimed the wake of `me` and has
    /// not. Never so, unless the steps above are wrong.
    pub(super) fn has_forgotten(&self, source: usize, me: usize) -> bool {
        // Acquire: an even number is at least that of the end of the publishing whose mail was
        // seen, and its claim is seen with it.
        let publishing = self.places[source].publishing.0.load(Ordering::Acquire);
        let is_through = publishing.is_multiple_of(2) || is_left_out(Step::JudgeLate);
        is_through && self.places[me].parked.0.load(Ordering::Relaxed)
    }
}
