//! Runs several servers in turn on the same core: A B C, A B C, ...
//!
//! All servers stay up; only one is loaded at a time. Turns are short, so that what else the machine
//! does meets all of them alike, and ratios of medians over the rounds cancel it.

use std::io::Write;
use std::time::Duration;

use crate::client::{self, Check, Length, Measured, Plan};
use crate::server::Server;
use crate::stat::{median, spread};
use crate::workload::{KeySpace, Order, Verb, Workload};

/// What one comparison asks of each server.
#[derive(Clone, Debug)]
pub struct Case {
    /// The requests.
    pub workload: Workload,
    /// The keys that must be there before.
    pub filled: Vec<KeySpace>,
    /// The number of connections.
    pub connections: usize,
    /// The number of requests under way on each.
    pub depth: usize,
}

impl Case {
    /// A case of one verb on one space of keys.
    pub fn new(verb: Verb, space: KeySpace, connections: usize, depth: usize) -> Self {
        let filled = if verb == Verb::Ping { vec![] } else { vec![space] };
        Self { workload: Workload::of(verb, space), filled, connections, depth }
    }

    /// What reports call it.
    pub fn title(&self) -> String {
        let values = match self.filled.as_slice() {
            [] => String::new(),
            spaces => {
                let sizes: Vec<_> = spaces.iter().map(|space| size(space.value_bytes)).collect();
                format!(", values of {}", sizes.join(" and "))
            }
        };
        let (connections, plural) =
            (self.connections, if self.connections == 1 { "" } else { "s" });
        let name = self.workload.name();
        format!("{name}, {connections} connection{plural}, depth {}{values}", self.depth)
    }
}

fn size(bytes: usize) -> String {
    match bytes {
        bytes if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => {
            format!("{} MiB", bytes >> 20)
        }
        bytes if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => {
            format!("{} KiB", bytes >> 10)
        }
        bytes => format!("{bytes} B"),
    }
}

/// Which cases a server can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Every request.
    Everything,
    /// PING alone.
    Ping,
    /// Requests of one length, whose replies have another.
    Lengths {
        /// The length of a request.
        request: usize,
        /// The length of a reply.
        reply: usize,
    },
}

impl Serves {
    fn covers(self, workload: &Workload) -> bool {
        match (self, workload.only_class()) {
            (Self::Everything, _) => true,
            (Self::Ping, _) => workload.name() == Verb::Ping.name(),
            (Self::Lengths { request, reply }, Some(class)) => {
                (request, reply) == (class.request_bytes(), class.reply_bytes())
            }
            (Self::Lengths { .. }, None) => false,
        }
    }
}

/// A server that takes part.
pub struct Contender {
    /// The running server.
    pub server: Server,
    /// What it can be asked for.
    pub serves: Serves,
}

/// How often and how long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How many turns each server gets per case.
    pub rounds: usize,
    /// The part of a turn before measuring.
    pub warmup: Duration,
    /// The measured part of a turn.
    pub measured: Duration,
    /// The seed of the keys' order.
    pub seed: u64,
    /// How to look at replies. Where every byte is checked, the floor has no turn.
    pub check: Check,
}

/// A case and what its servers did.
pub struct Group {
    /// The case.
    pub title: String,
    /// One row per server, in the order of their turns.
    pub rows: Vec<Row>,
}

impl Group {
    /// The row of the server called `name`.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The CPU time per request of server `name`, as a multiple of that of `reference`.
    pub fn cpu_ratio(&self, name: &str, reference: &str) -> Option<f64> {
        Some(self.row(name)?.cpu_ns()? / self.row(reference)?.cpu_ns()?)
    }

    /// The throughput of server `name`, as a multiple of that of `reference`.
    pub fn throughput_ratio(&self, name: &str, reference: &str) -> Option<f64> {
        Some(self.row(name)?.throughput() / self.row(reference)?.throughput())
    }
}

/// What one server did in one case. Figures are medians over the rounds.
pub struct Row {
    /// The server.
    pub name: String,
    /// Its turns.
    pub rounds: Vec<Measured>,
}

impl Row {
    /// Requests per second.
    pub fn throughput(&self) -> f64 {
        median(self.rounds.iter().map(Measured::throughput))
    }

    /// CPU time per request in nanoseconds.
    pub fn cpu_ns(&self) -> Option<f64> {
        self.all(Measured::cpu_ns).map(median)
    }

    /// Half the range of the CPU times per request, as a fraction of their median.
    pub fn cpu_spread(&self) -> Option<f64> {
        self.all(Measured::cpu_ns).map(spread)
    }

    /// Instructions per request.
    pub fn instructions(&self) -> Option<f64> {
        self.all(Measured::instructions).map(median)
    }

    /// The latency that `fraction` of the requests did not exceed, in microseconds.
    pub fn latency_us(&self, fraction: f64) -> f64 {
        median(self.rounds.iter().map(|round| round.latency.quantile(fraction).as_nanos() as f64))
            / 1000.0
    }

    /// The part of the time in which the client had nothing to do.
    pub fn client_idle(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.idle))
    }

    fn all(&self, figure: impl Fn(&Measured) -> Option<f64>) -> Option<Vec<f64>> {
        self.rounds.iter().map(figure).collect()
    }
}

/// Why a comparison has no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A run failed.
    #[error("{server}, {case}: {failure}")]
    Run {
        /// The server.
        server: String,
        /// What it was asked for.
        case: String,
        /// What failed.
        failure: client::Failure,
    },
    /// GETs found no value, so that something else than GETs was measured.
    #[error("{server}, {case}: {misses} GETs found no value; the result is invalid")]
    Misses {
        /// The server.
        server: String,
        /// What it was asked for.
        case: String,
        /// How many.
        misses: u64,
    },
}

/// Fills every server and runs every case on every server that covers it. Says on standard error
/// how far it is.
///
/// # Errors
///
/// The first failed run, or the first with a miss.
pub fn compare(
    contenders: &[Contender],
    cases: &[Case],
    pace: &Pace,
) -> Result<Vec<Group>, Failure> {
    fill(contenders, cases)?;
    let groups = cases.iter().map(|case| {
        let taking_part: Vec<_> =
            contenders.iter().filter(|contender| takes_part(contender, case, pace)).collect();
        let mut rows: Vec<_> = taking_part
            .iter()
            .map(|contender| Row { name: contender.server.name().to_owned(), rounds: vec![] })
            .collect();
        for round in 0..pace.rounds {
            eprint!("\r\x1b[K{}: round {} of {}", case.title(), round + 1, pace.rounds);
            let _ = std::io::stderr().flush();
            for (contender, row) in taking_part.iter().zip(&mut rows) {
                row.rounds.push(measure(&contender.server, case, pace, round)?);
            }
        }
        Ok(Group { title: case.title(), rows })
    });
    let groups = groups.collect();
    eprint!("\r\x1b[K");
    groups
}

fn takes_part(contender: &Contender, case: &Case, pace: &Pace) -> bool {
    let is_checkable =
        pace.check == Check::Heads || !matches!(contender.serves, Serves::Lengths { .. });
    is_checkable && contender.serves.covers(&case.workload)
}

/// Writes every key that a case needs to every server that keeps keys.
fn fill(contenders: &[Contender], cases: &[Case]) -> Result<(), Failure> {
    let mut spaces: Vec<KeySpace> = cases.iter().flat_map(|case| case.filled.clone()).collect();
    spaces.dedup();
    for contender in contenders.iter().filter(|it| it.serves == Serves::Everything) {
        for space in &spaces {
            let workload = Workload::of(Verb::Set, *space);
            client::fill(contender.server.address(), &workload).map_err(|failure| {
                Failure::Run {
                    server: contender.server.name().to_owned(),
                    case: "filling".to_owned(),
                    failure,
                }
            })?;
        }
    }
    Ok(())
}

/// One turn of one server.
///
/// # Errors
///
/// A failed run, or a miss.
pub fn measure(
    server: &Server,
    case: &Case,
    pace: &Pace,
    round: usize,
) -> Result<Measured, Failure> {
    let plan = Plan {
        address: server.address(),
        pid: Some(server.pid()),
        workload: &case.workload,
        order: Order::Random { seed: pace.seed + round as u64 },
        connections: case.connections,
        depth: case.depth,
        length: Length::Window { warmup: pace.warmup, measured: pace.measured },
        check: pace.check,
    };
    let (server, case) = (server.name().to_owned(), case.title());
    match client::run(&plan) {
        Ok(measured) if measured.misses == 0 => Ok(measured),
        Ok(measured) => Err(Failure::Misses { server, case, misses: measured.misses }),
        Err(failure) => Err(Failure::Run { server, case, failure }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_name_what_matters() {
        let case = Case::new(Verb::Get, KeySpace::new(10, 64 << 10), 1, 16);
        assert_eq!(case.title(), "GET, 1 connection, depth 16, values of 64 KiB");
        let case = Case::new(Verb::Ping, KeySpace::new(1, 0), 50, 1);
        assert_eq!(case.title(), "PING, 50 connections, depth 1");
    }

    #[test]
    fn a_floor_covers_its_lengths_only() {
        let space = KeySpace::new(10, 16);
        let floor = Serves::Lengths { request: 36, reply: 23 };
        assert!(floor.covers(&Workload::of(Verb::Get, space)));
        assert!(!floor.covers(&Workload::of(Verb::Set, space)));
        assert!(!floor.covers(&Workload::mixed(space)));
        assert!(Serves::Ping.covers(&Workload::of(Verb::Ping, space)));
        assert!(!Serves::Ping.covers(&Workload::of(Verb::Get, space)));
    }

    #[test]
    fn ratios_are_of_medians() {
        let row = |name: &str, requests: [u64; 3]| Row {
            name: name.to_owned(),
            rounds: requests
                .map(|requests| Measured {
                    requests,
                    elapsed: Duration::from_secs(1),
                    ..Measured::default()
                })
                .into(),
        };
        let rows = vec![row("a", [10, 40, 20]), row("b", [5, 10, 90])];
        let group = Group { title: String::new(), rows };
        assert_eq!(group.throughput_ratio("a", "b"), Some(2.0));
        assert_eq!(group.cpu_ratio("a", "b"), None);
        assert_eq!(group.throughput_ratio("a", "c"), None);
    }
}
