//! How fast a shard's counters grow, measured from one INFO to the next: nothing is sampled while
//! nobody asks, so an idle server sleeps.

use std::cell::Cell;

/// How old a reading has to be before another one replaces it, so that clients that ask often
/// still get the rate of a whole second.
const SPAN_MS: u64 = 1000;

/// Counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) at_ms: u64,
    pub(super) requests: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// Growth per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rate {
    pub(super) requests: f64,
    pub(super) bytes_in: f64,
    pub(super) bytes_out: f64,
}

/// A shard's last two readings.
#[derive(Debug, Default)]
pub struct Rates {
    newer: Cell<Reading>,
    older: Cell<Reading>,
}

impl Rates {
    /// The rate since the last reading that is old enough. The first one is since `started_ms`.
    pub(super) fn since_last(&self, now: Reading, started_ms: u64) -> Rate {
        if self.newer.get() == Reading::default() {
            let start = Reading { at_ms: started_ms, ..Reading::default() };
            self.newer.set(start);
            self.older.set(start);
        }
        if now.at_ms >= self.newer.get().at_ms + SPAN_MS {
            self.older.set(self.newer.replace(now));
        }
        let older = self.older.get();
        let seconds = now.at_ms.saturating_sub(older.at_ms).max(1) as f64 / 1000.0;
        // A counter that was reset in between starts again from zero.
        let growth = |now: u64, then: u64| now.checked_sub(then).unwrap_or(now) as f64 / seconds;
        Rate {
            requests: growth(now.requests, older.requests),
            bytes_in: growth(now.bytes_in, older.bytes_in),
            bytes_out: growth(now.bytes_out, older.bytes_out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_spans_the_time_between_two_askers() {
        let rates = Rates::default();
        let reading = |at_ms, requests| Reading { at_ms, requests, ..Reading::default() };
        let rate = |at_ms, requests| rates.since_last(reading(at_ms, requests), 1000).requests;
        assert_eq!(rate(3000, 100), 50.0, "since the start");
        assert_eq!(rate(5000, 2100), 1000.0, "since the last one");
        assert_eq!(rate(5500, 2100), 800.0, "since the one before: the last is too fresh");
        assert_eq!(rate(7000, 2100), 0.0);
        assert_eq!(rate(9000, 20), 10.0, "reset in between");
    }
}
