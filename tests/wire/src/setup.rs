//! The setups every test runs in, and how much of it.

use std::fmt;
use std::sync::Once;

use crate::notice;

/// An I/O engine of our server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reactor {
    /// io_uring
    Uring,
    /// Readiness: epoll
    Poll,
}

/// A reactor and a number of shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The I/O engine.
    pub reactor: Reactor,
    /// How many shards.
    pub shards: usize,
}

impl fmt::Display for Setup {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} with {} shard(s)", self.reactor.name(), self.shards)
    }
}

impl Reactor {
    /// The value of `--reactor`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Poll => "poll",
        }
    }
}

/// Whether a second oracle stands in for our server (`KEVY_SELF_CHECK=1`), so that the tests
/// themselves can be tested.
#[must_use]
pub fn is_self_check() -> bool {
    is_set("KEVY_SELF_CHECK")
}

/// Both reactors with 1, 2 and 5 shards.
///
/// `KEVY_WITHOUT_URING=1` leaves io_uring out, for a machine that refuses it; without that a
/// refusal is a failure, so that nobody believes it tested.
#[must_use]
pub fn matrix() -> Vec<Setup> {
    with_shards(&[1, 2, 5])
}

/// Both reactors with 1 and 5 shards, for tests in which two shards are nothing new.
#[must_use]
pub fn smallest_and_largest() -> Vec<Setup> {
    with_shards(&[1, 5])
}

fn with_shards(counts: &[usize]) -> Vec<Setup> {
    if is_self_check() {
        return vec![Setup { reactor: Reactor::Poll, shards: 1 }];
    }
    let mut reactors = vec![Reactor::Poll];
    if is_set("KEVY_WITHOUT_URING") {
        static SAID: Once = Once::new();
        SAID.call_once(|| notice("KEVY_WITHOUT_URING is set: nothing here is tested on io_uring"));
    } else {
        reactors.insert(0, Reactor::Uring);
    }
    let setups = |&reactor| counts.iter().map(move |&shards| Setup { reactor, shards });
    reactors.iter().flat_map(setups).collect()
}

/// `count`, times the factor in `KEVY_WIRE_EFFORT` (1 if it is not set), at least 1.
///
/// # Panics
///
/// If the variable is no number.
#[must_use]
pub fn effort(count: usize) -> usize {
    let factor: f64 = std::env::var("KEVY_WIRE_EFFORT")
        .map_or(1.0, |text| text.parse().expect("KEVY_WIRE_EFFORT is a number"));
    ((count as f64 * factor) as usize).max(1)
}

pub(crate) fn is_set(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|value| value == "1")
}
