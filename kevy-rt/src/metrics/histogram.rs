//! How often which sizes occur, in a bounded table of counts.
//!
//! ```text
//! values 0 to 7       a bucket each
//! every doubling      eight buckets of equal width: 8 9 .. 15, 16 18 .. 30, 32 36 .. 60, ...
//! ```
//!
//! So a value is known to an eighth of itself, whatever its size, and counting it costs a few
//! instructions.

use std::cell::Cell;
use std::time::Duration;

use super::Counter;

/// Buckets per doubling, as a power of two.
const STEPS_LOG2: u32 = 3;
const STEPS: usize = 1 << STEPS_LOG2;

/// Enough for every word.
pub(crate) const BUCKETS: usize = (64 - STEPS_LOG2 as usize + 1) * STEPS;

/// Counts values by their size. One thread writes and reads it.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[Cell<u64>]>,
    sum: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { buckets: vec![Cell::new(0); BUCKETS].into(), sum: Counter::default() }
    }
}

impl Histogram {
    /// Counts a value.
    #[inline]
    pub fn record(&self, value: u64) {
        let count = &self.buckets[bucket_of(value)];
        count.set(count.get() + 1);
        self.sum.add(value);
    }

    /// What was counted so far.
    pub fn read(&self) -> Distribution {
        let counts = self.buckets.iter().map(Cell::get).enumerate();
        let counts = counts.filter(|(_, count)| *count > 0);
        Distribution {
            counts: counts.map(|(bucket, count)| (bucket as u16, count)).collect(),
            sum: u128::from(self.sum.get()),
        }
    }

    /// Forgets all values.
    pub fn reset(&self) {
        self.buckets.iter().for_each(|count| count.set(0));
        self.sum.reset();
    }
}

/// Counts times by their length, to the nanosecond.
#[derive(Debug, Default)]
pub struct Durations(Histogram);

impl Durations {
    /// Counts a time.
    #[inline]
    pub fn record(&self, time: Duration) {
        self.record_ns(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts a time in nanoseconds.
    #[inline]
    pub fn record_ns(&self, time_ns: u64) {
        self.0.record(time_ns);
    }

    /// What was counted so far, in nanoseconds.
    pub fn read(&self) -> Distribution {
        self.0.read()
    }

    /// Forgets all times.
    pub fn reset(&self) {
        self.0.reset();
    }
}

/// What a histogram held at some moment, of one shard or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// The buckets that are not empty, in rising order.
    counts: Vec<(u16, u64)>,
    sum: u128,
}

impl Distribution {
    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }

    /// Their sum.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// The buckets that are not empty, in rising order: the largest value that belongs there, and
    /// how many do.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.counts.iter().map(|(bucket, count)| (largest_of(usize::from(*bucket)), *count))
    }

    /// How many values are less than two to the `exponent`.
    pub fn count_below_power(&self, exponent: u32) -> u64 {
        let end = bucket_of(1 << exponent) as u16;
        self.counts.iter().take_while(|(bucket, _)| *bucket < end).map(|(_, count)| count).sum()
    }

    /// Adds what another one held.
    pub fn add(&mut self, other: &Distribution) {
        self.sum += other.sum;
        for &(bucket, count) in &other.counts {
            match self.counts.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
                Ok(at) => self.counts[at].1 += count,
                Err(at) => self.counts.insert(at, (bucket, count)),
            }
        }
    }
}

/// The bucket that a value belongs to.
#[inline]
fn bucket_of(value: u64) -> usize {
    let top = (value | STEPS as u64).ilog2();
    let shift = top - STEPS_LOG2;
    // The highest bit says which doubling, the next three which of its steps.
    shift as usize * STEPS + (value >> shift) as usize
}

/// The largest value that belongs to a bucket.
fn largest_of(bucket: usize) -> u64 {
    if bucket < 2 * STEPS {
        return bucket as u64;
    }
    let shift = (bucket / STEPS - 1) as u32;
    let step = (bucket % STEPS + STEPS) as u64;
    (step << shift) + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_follow_one_another_without_a_gap() {
        let mut next = 0;
        for bucket in 0..BUCKETS {
            let largest = largest_of(bucket);
            assert_eq!((bucket_of(next), bucket_of(largest)), (bucket, bucket), "{next}");
            next = largest.wrapping_add(1);
        }
        assert_eq!(next, 0, "the last one ends with the largest word");
    }

    proptest! {
        #[test]
        fn a_value_is_known_to_an_eighth(value: u64, shift in 0..64_u32) {
            let value = value >> shift;
            let largest = largest_of(bucket_of(value));
            prop_assert!(largest >= value && largest - value <= value / 8);
        }

        #[test]
        fn what_shards_counted_adds_up(
            ours in proptest::collection::vec(any::<u32>(), 0..50),
            theirs in proptest::collection::vec(any::<u16>(), 0..50),
        ) {
            let (one, other, both) = <(Histogram, Histogram, Histogram)>::default();
            ours.iter().for_each(|value| one.record(u64::from(*value)));
            theirs.iter().for_each(|value| other.record(u64::from(*value)));
            let all = ours.iter().copied().chain(theirs.iter().map(|value| u32::from(*value)));
            all.clone().for_each(|value| both.record(u64::from(value)));
            let mut sum = one.read();
            sum.add(&other.read());
            prop_assert_eq!(&sum, &both.read());
            for exponent in 0..33 {
                let below = all.clone().filter(|value| u64::from(*value) < 1 << exponent).count();
                prop_assert_eq!(sum.count_below_power(exponent), below as u64);
            }
        }
    }
}
