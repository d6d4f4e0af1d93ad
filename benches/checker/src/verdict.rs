//! What a check came to.

use std::fmt;

/// What a history is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is a serial order that agrees with real time and with everything read.
    Serializable,
    /// There is none, for this reason.
    Violation(Anomaly),
    /// It can't be told: the history isn't one that can be checked, or the search over the orders
    /// of blind writes was given up.
    Undecided(String),
}

/// Why there is no serial order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// What is wrong, in a sentence.
    pub what: String,
    /// The operations that it takes: their number in the history and what they did.
    pub operations: Vec<(usize, String)>,
    /// If it is a cycle: why each of them must have run before the next one, and the last before
    /// the first.
    pub steps: Vec<String>,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        for (number, description) in &self.operations {
            writeln!(f, "  op {number}: {description}")?;
        }
        for step in &self.steps {
            writeln!(f, "  - {step}")?;
        }
        Ok(())
    }
}

/// What stops a check early.
#[derive(Debug)]
pub(crate) enum Stop {
    Violation(Anomaly),
    Undecided(String),
}

impl From<Anomaly> for Stop {
    fn from(anomaly: Anomaly) -> Self {
        Stop::Violation(anomaly)
    }
}
