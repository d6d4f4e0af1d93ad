//! How records are used: the access word of each, and what eviction makes of it.
//!
//! ```text
//! by recency:    | time of the last use, in 16 ms                    32 |
//! by frequency:  | minutes of the last use 24            | counter 8    |
//! ```
//!
//! The counter grows with the logarithm of the uses and falls with time, as Morris counters do
//! (Morris, 1978) and as Redis's LFU has made them known.

use std::cell::Cell;

/// Milliseconds per tick of a time of last use, as a power of two.
///
/// Smaller: idle times of years wrap around. Larger: what was used at nearly the same time can't be
/// told apart.
const TICK_SHIFT: u32 = 4;

/// The counter of a new record: it isn't the next to go before it had a chance.
const NEW_COUNTER: u32 = 5;

/// What access words remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// When a record was last used.
    Recency,
    /// How often it is used.
    Frequency {
        /// How slowly the counter grows: at `log_factor` 10 it is full after a million uses.
        log_factor: u32,
        /// Minutes after which it falls by one; zero for never.
        decay_minutes: u32,
    },
}

/// What the records of a shard's databases are used by.
#[derive(Debug)]
pub(crate) struct Usage {
    pub(crate) tracking: Cell<Tracking>,
    pub(crate) random: Random,
}

/// A xorshift generator (Marsaglia, 2003): fast, and good enough to draw samples with.
#[derive(Debug)]
pub(crate) struct Random(Cell<u64>);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(Cell::new(seed | 1))
    }

    #[inline]
    pub(crate) fn next(&self) -> u64 {
        let mut state = self.0.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.0.set(state);
        state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`, which isn't zero.
    #[inline]
    pub(crate) fn below(&self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}

impl Usage {
    pub(crate) fn new(seed: u64) -> Self {
        Usage { tracking: Cell::new(Tracking::Recency), random: Random::new(seed) }
    }

    /// The word of a new record.
    #[inline(always)]
    pub(crate) fn first(&self, now_ms: u64) -> u32 {
        match self.tracking.get() {
            Tracking::Recency => (now_ms >> TICK_SHIFT) as u32,
            Tracking::Frequency { .. } => minutes(now_ms) << 8 | NEW_COUNTER,
        }
    }

    /// The word of a record that is used now.
    #[inline(always)]
    pub(crate) fn again(&self, access: u32, now_ms: u64) -> u32 {
        match self.tracking.get() {
            Tracking::Recency => (now_ms >> TICK_SHIFT) as u32,
            Tracking::Frequency { log_factor, decay_minutes } => {
                let counter = decayed(access, now_ms, decay_minutes);
                minutes(now_ms) << 8 | self.increased(counter, log_factor)
            }
        }
    }

    fn increased(&self, counter: u32, log_factor: u32) -> u32 {
        let above = u64::from(counter.saturating_sub(NEW_COUNTER));
        let one_in = above * u64::from(log_factor) + 1;
        let is_drawn = counter < 255 && self.random.next() <= u64::MAX / one_in;
        counter + u32::from(is_drawn)
    }

    /// Milliseconds since the last use.
    pub(crate) fn idle_ms(&self, access: u32, now_ms: u64) -> u64 {
        u64::from(((now_ms >> TICK_SHIFT) as u32).wrapping_sub(access)) << TICK_SHIFT
    }

    /// The counter as it stands now.
    pub(crate) fn frequency(&self, access: u32, now_ms: u64) -> u8 {
        match self.tracking.get() {
            Tracking::Frequency { decay_minutes, .. } => {
                decayed(access, now_ms, decay_minutes) as u8
            }
            Tracking::Recency => 0,
        }
    }
}

fn minutes(now_ms: u64) -> u32 {
    (now_ms / 60_000) as u32 & 0x00FF_FFFF
}

fn decayed(access: u32, now_ms: u64, decay_minutes: u32) -> u32 {
    let counter = access & 255;
    let elapsed = minutes(now_ms).wrapping_sub(access >> 8) & 0x00FF_FFFF;
    counter.saturating_sub(elapsed.checked_div(decay_minutes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    #[test]
    fn idle_times_are_of_the_last_use() {
        let usage = Usage::new(1);
        let word = usage.first(1_000_000);
        assert_eq!(usage.idle_ms(word, 1_005_000), 5000 / 16 * 16);
        let word = usage.again(word, 1_005_000);
        assert!(usage.idle_ms(word, 1_005_000) < 16);
    }

    #[test]
    fn counters_grow_ever_slower_and_fall_with_time() {
        let usage = Usage::new(1);
        usage.tracking.set(Tracking::Frequency { log_factor: 10, decay_minutes: 1 });
        let mut word = usage.first(MINUTE);
        let mut after = Vec::new();
        for uses in 1..=100_000 {
            word = usage.again(word, MINUTE);
            if [100, 1000, 100_000].contains(&uses) {
                after.push(usage.frequency(word, MINUTE));
            }
        }
        // As the table in redis.conf has it, within chance.
        assert!((7..14).contains(&after[0]) && (14..24).contains(&after[1]), "{after:?}");
        assert!((120..165).contains(&after[2]), "{after:?}");
        assert_eq!(usage.frequency(word, 11 * MINUTE), after[2] - 10);
        assert_eq!(usage.frequency(word, 1000 * MINUTE), 0);
    }

    #[test]
    fn draws_are_below_their_end() {
        let random = Random::new(7);
        let mut seen = [0; 10];
        (0..10_000).for_each(|_| seen[random.below(10)] += 1);
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
    }
}
