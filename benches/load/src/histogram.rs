//! A histogram of latencies whose buckets grow with the value.

use std::time::Duration;

/// Buckets per power of two, as a power of two: an error of at most one part in 2^6.
const PRECISION_BITS: u32 = 6;
const BUCKETS_PER_DOUBLING: usize = 1 << PRECISION_BITS;
const BUCKETS: usize = (u64::BITS - PRECISION_BITS + 1) as usize * BUCKETS_PER_DOUBLING;

/// Counts of latencies in nanoseconds, each exact to 1.6 %.
#[derive(Clone)]
pub struct Histogram {
    counts: Box<[u64]>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into_boxed_slice(), total: 0 }
    }
}

impl Histogram {
    /// Counts `count` requests that took `latency`.
    pub fn record(&mut self, latency: Duration, count: u64) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(ns)] += count;
        self.total += count;
    }

    /// The number of requests counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Forgets all counts.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// The latency that `fraction` of the requests did not exceed; zero where none was counted.
    pub fn quantile(&self, fraction: f64) -> Duration {
        let rank = ((self.total as f64 * fraction).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper_bound(index));
            }
        }
        Duration::ZERO
    }
}

/// The bucket of `ns`: linear below 2^PRECISION_BITS, then a mantissa of that many bits.
fn bucket(ns: u64) -> usize {
    let magnitude = (u64::BITS - ns.leading_zeros()).saturating_sub(PRECISION_BITS + 1);
    magnitude as usize * BUCKETS_PER_DOUBLING + (ns >> magnitude) as usize
}

/// The largest value in `bucket`.
fn upper_bound(bucket: usize) -> u64 {
    if bucket < 2 * BUCKETS_PER_DOUBLING {
        return bucket as u64;
    }
    let magnitude = bucket / BUCKETS_PER_DOUBLING - 1;
    let mantissa = (bucket % BUCKETS_PER_DOUBLING + BUCKETS_PER_DOUBLING) as u64;
    (mantissa << magnitude) | ((1 << magnitude) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_hold_their_bounds() {
        for index in 0..BUCKETS - 1 {
            assert_eq!(bucket(upper_bound(index)), index);
            assert_eq!(bucket(upper_bound(index) + 1), index + 1);
        }
        assert_eq!(upper_bound(BUCKETS - 1), u64::MAX);
    }

    #[test]
    fn quantiles_are_within_the_precision() {
        let mut histogram = Histogram::default();
        for us in 1..=1000 {
            histogram.record(Duration::from_micros(us), 1);
        }
        for (fraction, us) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
            let found = histogram.quantile(fraction).as_nanos() as f64 / 1000.0;
            assert!((found / us - 1.0).abs() < 0.017, "{fraction}: {found} for {us}");
        }
    }

    #[test]
    fn counts_weigh() {
        let mut histogram = Histogram::default();
        histogram.record(Duration::from_nanos(10), 99);
        histogram.record(Duration::from_nanos(60), 1);
        assert_eq!(histogram.total(), 100);
        assert_eq!(histogram.quantile(0.99).as_nanos(), 10);
        assert_eq!(histogram.quantile(1.0).as_nanos(), 60);
    }

    #[test]
    fn an_empty_histogram_answers_zero() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        histogram.record(Duration::from_nanos(5), 3);
        histogram.clear();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
    }
}
