//! Stamps: the values of the one counter that orders transactions.
//!
//! A stamp carries the time at which it was taken in its upper bits, as a hybrid logical clock does
//! (Kulkarni and others, 2014). So a transaction's time follows from its order, all its hops see the
//! same one, and it never goes back along the order: a key that one request found expired is expired
//! for all that come after it.

use crate::sys::sync::{AtomicU64, Ordering};

/// Bits of a stamp that count within a millisecond. More stamps than they hold run ahead of the
/// clock, which does no harm.
const COUNT_BITS: u32 = 20;

/// A value of the counter. Each is given once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(u64);

impl Stamp {
    /// The time that it stands for, in milliseconds since the Unix epoch.
    pub(crate) fn now_ms(self) -> u64 {
        self.0 >> COUNT_BITS
    }

    /// One that will be given in some milliseconds: for a fault.
    pub(crate) fn later(self) -> Self {
        Stamp(self.0 + (8 << COUNT_BITS))
    }

    #[cfg(test)]
    pub(crate) fn new(word: u64) -> Self {
        Stamp(word)
    }
}

/// The counter, one per server.
///
/// Any shard writes it. A single word's changes have one order, and messages between shards carry it
/// on: a stamp taken after a message that tells of another is larger. So no order but that of the
/// word itself is needed.
#[derive(Debug, Default)]
pub(crate) struct Stamps(AtomicU64);

impl Stamps {
    /// Takes the next one on a shard whose turn sees the time `now_ms`: larger than all before, and
    /// of no earlier time.
    pub(crate) fn take(&self, now_ms: u64) -> Stamp {
        let least = now_ms << COUNT_BITS;
        let next = |last: u64| (last + 1).max(least);
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last))) {
            Ok(last) | Err(last) => Stamp(next(last)),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn stamps_rise_with_time_and_without() {
        let stamps = Stamps::default();
        let (a, b) = (stamps.take(1000), stamps.take(1000));
        assert!(a < b && a.now_ms() == 1000 && b.now_ms() == 1000);
        // A shard whose clock is behind takes the time that others have seen.
        let c = stamps.take(990);
        assert!(b < c && c.now_ms() == 1000);
        assert_eq!(stamps.take(2000).now_ms(), 2000);
    }
}
