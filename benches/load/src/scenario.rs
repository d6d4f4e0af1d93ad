//! The presets: what each runs, and the bars that its figures are held against.

mod eviction;
mod expiry;
mod idle;
mod large_removal;
mod memory;
mod scan;
mod turns;
mod watch;

use std::io::{self, Write};
use std::time::Instant;

use crate::client;
use crate::compare::{self, Case, Group, Serves, compare};
use crate::report::{FLOOR, REDIS};
use crate::server::StartFailure;
use crate::setting::{OURS, PING, SHARDS, Setting};
use crate::verdict::Verdict;
use crate::workload::{KeySpace, Verb};

/// What a scenario found.
#[derive(Default)]
pub struct Outcome {
    /// Figures and bars.
    pub verdicts: Vec<Verdict>,
    /// The comparisons behind them.
    pub groups: Vec<Group>,
    /// What else there is to say, one line each.
    pub notes: Vec<String>,
}

/// Why a scenario has no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A server did not start.
    #[error(transparent)]
    Start(#[from] StartFailure),
    /// A comparison failed.
    #[error(transparent)]
    Compare(#[from] compare::Failure),
    /// Filling a server failed.
    #[error("filling: {0}")]
    Fill(client::Failure),
    /// A request had no reply, or not the expected one.
    #[error("asking: {0}")]
    Ask(#[from] client::Failure),
    /// A system call failed.
    #[error("I/O: {0}")]
    Io(#[from] io::Error),
}

/// The presets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// GET, SET and PING at depths 1, 16 and 100, against redis-server and the floor.
    Depths,
    /// Values of 64 KiB and 1 MiB against redis-server, and five shards against one.
    Large,
    /// Two shards against one, both on one core.
    TwoShards,
    /// 100,000 requests at once on one connection, against 100 at once.
    Deep,
    /// CPU use without load, and the latency of a request after a second of sleep.
    Idle,
    /// The longest turn under a mixed load with values of 1 MiB.
    Turns,
    /// Memory of a key, with and without expiry, while keys get more, and after most are gone.
    /// Counts are multiples of the number of keys, up to twenty.
    Memory,
    /// Keys that expire over ten seconds: how many are late, and the longest turn.
    Expiry,
    /// CPU time of a full SCAN, against redis-server.
    Scan,
    /// Hit rates on a Zipf trace through a limited memory, against redis-server.
    Eviction,
    /// The longest turn when a value of 512 MiB is removed.
    LargeRemoval,
}

impl Scenario {
    /// Runs the scenario. Without the server under test, all but the comparisons with others are
    /// skipped.
    ///
    /// # Errors
    ///
    /// As [`Failure`] says.
    pub fn run(self, setting: &Setting) -> Result<Outcome, Failure> {
        if self != Self::Depths && !setting.programs.ours.is_file() {
            let note = format!("{} is missing; skipped", setting.programs.ours.display());
            return Ok(Outcome { notes: vec![note], ..Outcome::default() });
        }
        let start = Instant::now();
        let mut outcome = match self {
            Self::Depths => depths(setting),
            Self::Large => large(setting),
            Self::TwoShards => two_shards(setting),
            Self::Deep => deep(setting),
            Self::Idle => idle::run(setting),
            Self::Turns => turns::run(setting),
            Self::Memory => memory::run(setting),
            Self::Expiry => expiry::run(setting),
            Self::Scan => scan::run(setting),
            Self::Eviction => eviction::run(setting),
            Self::LargeRemoval => large_removal::run(setting),
        }?;
        if matches!(self, Self::Large | Self::TwoShards | Self::Memory)
            && !setting.programs.tells_shards()
        {
            outcome.notes.push(format!("the arguments have no {SHARDS}: shards are all alike"));
        }
        outcome.notes.push(format!("took {:.1} s", start.elapsed().as_secs_f64()));
        Ok(outcome)
    }
}

/// Says on standard error how far a scenario is, in place of what it said before.
fn progress(text: &str) {
    eprint!("\r\x1b[K{text}");
    let _ = io::stderr().flush();
}

/// Runs every combination of the given verbs, numbers of connections and depths.
///
/// # Errors
///
/// As [`Failure`] says.
pub fn matrix(
    setting: &Setting,
    verbs: &[Verb],
    connections: &[usize],
    depths: &[usize],
) -> Result<Outcome, Failure> {
    let mut cases = Vec::new();
    for verb in verbs {
        for connections in connections {
            for depth in depths {
                cases.push(Case::new(*verb, setting.small(), *connections, *depth));
            }
        }
    }
    let contenders = setting.contenders(&cases)?;
    let groups = compare(&contenders, &cases, &setting.pace)?;
    Ok(Outcome { groups, ..Outcome::default() })
}

/// Connections of the scenarios with small values: enough that a core has always work.
const MANY: usize = 50;

fn depths(setting: &Setting) -> Result<Outcome, Failure> {
    struct Bar(Verb, usize, &'static str, &'static str, f64);
    let bars = [
        Bar(Verb::Get, 1, OURS, REDIS, 0.95),
        Bar(Verb::Set, 1, OURS, REDIS, 0.95),
        Bar(Verb::Get, 16, OURS, REDIS, 0.48),
        Bar(Verb::Set, 16, OURS, REDIS, 0.47),
        Bar(Verb::Get, 100, OURS, REDIS, 0.24),
        Bar(Verb::Set, 100, OURS, REDIS, 0.25),
        Bar(Verb::Ping, 1, PING, FLOOR, 1.10),
        Bar(Verb::Ping, 16, PING, FLOOR, 1.25),
        // Above these, the floor is none.
        Bar(Verb::Get, 1, FLOOR, REDIS, 0.84),
        Bar(Verb::Get, 16, FLOOR, REDIS, 0.38),
    ];
    let verbs = [Verb::Get, Verb::Set, Verb::Ping];
    let mut outcome = matrix(setting, &verbs, &[MANY], &[1, 16, 100])?;
    for Bar(verb, depth, name, reference, bar) in bars {
        let title = Case::new(verb, setting.small(), MANY, depth).title();
        let group = outcome.groups.iter().find(|group| group.title == title);
        let figure = group.and_then(|group| group.cpu_ratio(name, reference));
        let what = format!("{} d{depth}, CPU of {name} / {reference}", verb.name());
        outcome.verdicts.push(Verdict::new(what, figure, bar));
    }
    Ok(outcome)
}

fn large(setting: &Setting) -> Result<Outcome, Failure> {
    const SHARDS_OF_MANY: usize = 5;
    let many = format!("{OURS}, {SHARDS_OF_MANY} shards");
    let contenders = [
        (setting.programs.redis(), setting.programs.redis.is_file()),
        (setting.programs.ours(OURS, 1), true),
        (setting.programs.ours(&many, SHARDS_OF_MANY), true),
    ];
    let contenders = contenders
        .iter()
        .filter(|(_, is_there)| *is_there)
        .map(|(program, _)| setting.start(program, Serves::Everything))
        .collect::<Result<Vec<_>, _>>()?;
    let mut outcome = Outcome::default();
    // As many keys as fit a moderate data set; connections that keep a few megabytes under way.
    for (value_bytes, keys, connections, bar) in [(64 << 10, 1000, 8, 0.95), (1 << 20, 64, 4, 1.0)]
    {
        let space = KeySpace { prefix: "big:", keys, value_bytes };
        let cases = [Verb::Get, Verb::Set].map(|verb| Case::new(verb, space, connections, 1));
        for group in compare(&contenders, &cases, &setting.pace)? {
            for (name, reference, bar) in [(OURS, REDIS, bar), (&many, OURS, 1.2)] {
                let what = format!("{}: CPU of {name} / {reference}", group.title);
                let figure = group.cpu_ratio(name, reference);
                outcome.verdicts.push(Verdict::new(what, figure, bar));
            }
            outcome.groups.push(group);
        }
    }
    Ok(outcome)
}

fn two_shards(setting: &Setting) -> Result<Outcome, Failure> {
    let two = format!("{OURS}, 2 shards");
    let contenders = [setting.programs.ours(OURS, 1), setting.programs.ours(&two, 2)]
        .iter()
        .map(|program| setting.start(program, Serves::Everything))
        .collect::<Result<Vec<_>, _>>()?;
    let cases = [Verb::Get, Verb::Set].map(|verb| Case::new(verb, setting.small(), MANY, 16));
    let mut outcome = Outcome::default();
    for group in compare(&contenders, &cases, &setting.pace)? {
        let what = format!("{}: CPU of 2 shards / 1 shard", group.title);
        outcome.verdicts.push(Verdict::new(what, group.cpu_ratio(&two, OURS), 1.4));
        outcome.groups.push(group);
    }
    Ok(outcome)
}

fn deep(setting: &Setting) -> Result<Outcome, Failure> {
    const DEEP: usize = 100_000;
    let contenders = [setting.start(&setting.programs.ours(OURS, 1), Serves::Everything)?];
    let mut outcome = Outcome::default();
    for verb in [Verb::Get, Verb::Set] {
        let cases = [100, DEEP].map(|depth| Case::new(verb, setting.small(), 1, depth));
        let groups = compare(&contenders, &cases, &setting.pace)?;
        let cpu = |group: &Group| group.row(OURS).and_then(compare::Row::cpu_ns);
        let figure = cpu(&groups[1]).zip(cpu(&groups[0])).map(|(deep, usual)| deep / usual);
        let what = format!("{}, CPU of depth {DEEP} / depth 100", verb.name());
        outcome.verdicts.push(Verdict::new(what, figure, 1.05));
        outcome.groups.extend(groups);
    }
    Ok(outcome)
}
