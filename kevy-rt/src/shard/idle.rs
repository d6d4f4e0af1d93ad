//! What a shard does when a turn found nothing: spin for a moment, then sleep.
//!
//! Sleeping and being woken costs more than a short spin, so a spin that is likely to find
//! something pays. A spin that found nothing twice in a row is skipped for a while, for longer each
//! time; a hit, or a sleep that ended at once, brings it back.

use std::time::Duration;

/// How long to spin.
///
/// Smaller: a client that answers at once meets a sleeping shard. Larger: more is burnt for nothing
/// before each sleep than the sleep itself costs.
const SPIN: Duration = Duration::from_micros(20);

/// A sleep shorter than this means that a spin would have paid.
const SHORT_SLEEP: Duration = Duration::from_micros(20);

/// At most `2^MAX_BACKOFF` sleeps in a row go without a spin.
const MAX_BACKOFF: u32 = 6;

/// No sleep is longer. A defence only: whoever sends mail wakes the shard.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Whether the next spin pays.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    misses: u32,
    backoff: u32,
    skips: u32,
}

impl Idle {
    /// How long to spin now.
    pub(crate) fn spin(&mut self) -> Duration {
        if self.skips > 0 {
            self.skips -= 1;
            return Duration::ZERO;
        }
        SPIN
    }

    /// The spin found something.
    pub(crate) fn hit(&mut self) {
        (self.misses, self.backoff) = (0, 0);
    }

    /// The spin found nothing.
    pub(crate) fn miss(&mut self) {
        self.misses += 1;
        if self.misses >= 2 {
            self.skips = 1 << self.backoff;
            self.backoff = (self.backoff + 1).min(MAX_BACKOFF);
        }
    }

    /// It slept for so long.
    pub(crate) fn slept(&mut self, time: Duration) {
        if time < SHORT_SLEEP {
            (self.misses, self.backoff, self.skips) = (0, 0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spins_that_miss_become_rare_and_a_hit_brings_them_back() {
        let mut idle = Idle::default();
        let mut spins = 0;
        for _ in 0..1000 {
            if idle.spin() > Duration::ZERO {
                spins += 1;
                idle.miss();
            }
            idle.slept(Duration::from_millis(1));
        }
        assert!((10..40).contains(&spins), "{spins}");
        idle.slept(Duration::from_micros(5));
        assert_eq!(idle.spin(), SPIN);
        idle.hit();
        assert_eq!(idle.spin(), SPIN);
    }
}
