//! When two replies count as the same, and the report of those that don't.

use std::fmt::Write;

use kevy_wire_tests::{Failure, Outcome, Reply, printable};

/// How closely our reply has to match the oracle's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// The same bytes.
    Exact,
    /// The same elements in any order.
    Sorted,
    /// Integers this far apart at most; anything else exactly.
    Near(i64),
    /// The same types, in the same nesting; errors, and the names in maps, exactly.
    Shape,
}

impl View {
    /// Whether our outcome is as good as the oracle's.
    pub(crate) fn accepts(self, oracle: &Outcome, ours: &Outcome) -> bool {
        let (Ok(oracle), Ok(ours)) = (oracle, ours) else {
            return oracle == ours;
        };
        match self {
            Self::Exact => oracle.raw == ours.raw,
            Self::Sorted => sorted(&oracle.reply) == sorted(&ours.reply),
            Self::Near(slack) => match (&oracle.reply, &ours.reply) {
                (Reply::Integer(a), Reply::Integer(b)) if *a >= 0 && *b >= 0 => {
                    a.abs_diff(*b) <= slack.unsigned_abs()
                }
                _ => oracle.raw == ours.raw,
            },
            Self::Shape => shape(&oracle.reply) == shape(&ours.reply),
        }
    }
}

fn sorted(reply: &Reply) -> Reply {
    match reply {
        Reply::Array(all) => Reply::Array(sorted_elements(all)),
        Reply::Set(all) => Reply::Set(sorted_elements(all)),
        Reply::Map(all) => {
            let mut pairs: Vec<_> = all.chunks(2).map(<[Reply]>::to_vec).collect();
            pairs.sort();
            Reply::Map(pairs.concat())
        }
        other => other.clone(),
    }
}

fn sorted_elements(all: &[Reply]) -> Vec<Reply> {
    let mut all = all.to_vec();
    all.sort();
    all
}

/// The reply with its strings and numbers emptied, but for the names in a map.
fn shape(reply: &Reply) -> Reply {
    let each = |all: &[Reply]| all.iter().map(shape).collect();
    match reply {
        Reply::Integer(_) => Reply::Integer(0),
        Reply::Bulk(_) => Reply::Bulk(Vec::new()),
        Reply::Verbatim(_) => Reply::Verbatim(Vec::new()),
        Reply::Simple(_) => Reply::Simple(Vec::new()),
        Reply::Array(all) => Reply::Array(each(all)),
        Reply::Set(all) => Reply::Set(each(all)),
        Reply::Map(all) => {
            Reply::Map(all.chunks(2).flat_map(|pair| [pair[0].clone(), shape(&pair[1])]).collect())
        }
        other => other.clone(),
    }
}

/// What came of waiting, in words.
pub(crate) fn describe(outcome: &Outcome) -> String {
    match outcome {
        Ok(received) => printable(&received.raw),
        Err(Failure::Closed) => "closed the connection".into(),
        Err(Failure::Silent) => "stayed silent".into(),
        Err(Failure::Garbled(what)) => format!("sent what is no reply: {what}"),
    }
}

/// Collects differences, each once, with the setups it showed in.
#[derive(Default)]
pub(crate) struct Report {
    differences: Vec<(String, Vec<String>)>,
    is_over: bool,
}

impl Report {
    /// Adds a difference.
    pub(crate) fn add(&mut self, setup: &str, what: String) {
        match self.differences.iter_mut().find(|(known, _)| *known == what) {
            Some((_, setups)) => setups.push(setup.to_owned()),
            None => self.differences.push((what, vec![setup.to_owned()])),
        }
        self.is_over |= self.differences.len() >= 200;
    }

    /// Takes no more, after a silence for example, which costs a deadline each time.
    pub(crate) fn end(&mut self) {
        self.is_over = true;
    }

    /// Whether going on would tell nothing more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Fails the test if there was any difference.
    pub(crate) fn finish(self) {
        let mut text = String::new();
        for (what, setups) in &self.differences {
            write!(text, "\n{what}\n  in {}\n", setups.join("; ")).expect("a string takes all");
        }
        let count = self.differences.len();
        assert!(count == 0, "{count} difference(s):\n{text}");
    }
}
