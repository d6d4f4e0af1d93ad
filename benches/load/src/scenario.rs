//! The presets: what each runs, and the bars that its figures are held against.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::address::read_until;
use crate::client;
use crate::compare::{self, Case, Contender, Group, Pace, Serves, compare, measure};
use crate::report::{FLOOR, REDIS};
use crate::server::{Place, Program, Server, StartFailure};
use crate::usage::Meter;
use crate::workload::{Class, KeySpace, Verb, Workload};

/// The name of the server under test, and of its variants with more shards.
const OURS: &str = "ours";
/// The name of the server on the same framework that only answers PING.
const PING: &str = "ping";

/// What stands for the number of shards in the arguments of the server under test.
pub const SHARDS: &str = "{shards}";

/// Where the servers' executables are, and how ours are called.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The server under test.
    pub ours: PathBuf,
    /// Its arguments, with [`SHARDS`] where the number of shards goes.
    pub ours_arguments: Vec<String>,
    /// The server on the same framework that only answers PING.
    pub ping: PathBuf,
    /// Its arguments, as `ours_arguments`.
    pub ping_arguments: Vec<String>,
    /// The server to compare with.
    pub redis: PathBuf,
    /// The lower bound.
    pub floor: PathBuf,
    /// Its arguments, less the lengths.
    pub floor_arguments: Vec<String>,
}

impl Programs {
    fn ours(&self, name: impl Into<String>, shards: usize) -> Program {
        Program::new(name, &self.ours, with_shards(&self.ours_arguments, shards))
    }

    fn ping(&self) -> Program {
        Program::new(PING, &self.ping, with_shards(&self.ping_arguments, 1))
    }

    fn redis(&self) -> Program {
        let arguments = ["--save", "", "--appendonly", "no"].map(str::to_owned).into();
        Program::new(REDIS, &self.redis, arguments)
    }

    fn floor(&self, class: &Class) -> Program {
        let (request, reply) = (class.request_bytes(), class.reply_bytes());
        let lengths = [format!("--request-bytes={request}"), format!("--reply-bytes={reply}")];
        let arguments = lengths.into_iter().chain(self.floor_arguments.iter().cloned()).collect();
        Program::new(FLOOR, &self.floor, arguments)
    }

    fn tells_shards(&self) -> bool {
        self.ours_arguments.iter().any(|argument| argument.contains(SHARDS))
    }
}

fn with_shards(arguments: &[String], shards: usize) -> Vec<String> {
    arguments.iter().map(|argument| argument.replace(SHARDS, &shards.to_string())).collect()
}

/// What a scenario works with.
pub struct Setting {
    /// The executables.
    pub programs: Programs,
    /// Where the servers run.
    pub place: Place,
    /// How often and how long to measure.
    pub pace: Pace,
    /// The number of small keys.
    pub keys: u64,
    /// The length of small values.
    pub value_bytes: usize,
}

impl Setting {
    fn small(&self) -> KeySpace {
        KeySpace::new(self.keys, self.value_bytes)
    }

    fn start(&self, program: &Program, serves: Serves) -> Result<Contender, Failure> {
        Ok(Contender { server: program.start(&self.place)?, serves })
    }

    /// All the servers that can take part in `cases`, started; says which executable is missing.
    fn contenders(&self, cases: &[Case]) -> Result<Vec<Contender>, Failure> {
        let mut contenders = Vec::new();
        let everything = [(self.programs.redis(), Serves::Everything)]
            .into_iter()
            .chain([(self.programs.ours(OURS, 1), Serves::Everything)])
            .chain([(self.programs.ping(), Serves::Ping)]);
        for (program, serves) in everything {
            if serves == Serves::Ping && !cases.iter().any(|case| case.filled.is_empty()) {
                continue;
            }
            if is_there(&program.path) {
                contenders.push(self.start(&program, serves)?);
            }
        }
        let mut lengths = Vec::new();
        for class in cases.iter().filter_map(|case| case.workload.only_class()) {
            let serves =
                Serves::Lengths { request: class.request_bytes(), reply: class.reply_bytes() };
            if !lengths.contains(&serves) && is_there(&self.programs.floor) {
                lengths.push(serves);
                contenders.push(self.start(&self.programs.floor(class), serves)?);
            }
        }
        Ok(contenders)
    }
}

/// Whether the executable is there; says so on standard error if not.
fn is_there(path: &Path) -> bool {
    let is_there = path.is_file();
    if !is_there {
        eprintln!("{} is missing; left out", path.display());
    }
    is_there
}

/// A figure and the bar that it is held against.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What is measured.
    pub name: String,
    /// The figure; nothing where it could not be measured.
    pub figure: Option<f64>,
    /// The largest figure that is good enough.
    pub bar: f64,
    /// The unit, after a space; empty for ratios.
    pub unit: &'static str,
}

impl Verdict {
    fn new(name: impl Into<String>, figure: Option<f64>, bar: f64) -> Self {
        Self { name: name.into(), figure, bar, unit: "" }
    }

    fn in_unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    /// Whether the figure is above the bar.
    pub fn is_missed(&self) -> bool {
        self.figure.is_some_and(|figure| figure > self.bar)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, bar, unit, .. } = self;
        match self.figure {
            None => write!(f, "- {name}: not measured (bar {bar}{unit})"),
            Some(figure) => {
                let word = if self.is_missed() { "MISSED" } else { "met" };
                write!(f, "- {name}: {figure:.3}{unit}, bar {bar}{unit}: {word}")
            }
        }
    }
}

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
        let mut outcome = match self {
            Self::Depths => depths(setting),
            Self::Large => large(setting),
            Self::TwoShards => two_shards(setting),
            Self::Deep => deep(setting),
            Self::Idle => idle(setting),
            Self::Turns => turns(setting),
        }?;
        if matches!(self, Self::Large | Self::TwoShards) && !setting.programs.tells_shards() {
            outcome.notes.push(format!("the arguments have no {SHARDS}: shards are all alike"));
        }
        Ok(outcome)
    }
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
        Bar(Verb::Get, 16, OURS, REDIS, 0.58),
        Bar(Verb::Set, 16, OURS, REDIS, 0.57),
        Bar(Verb::Get, 100, OURS, REDIS, 0.38),
        Bar(Verb::Set, 100, OURS, REDIS, 0.38),
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

fn idle(setting: &Setting) -> Result<Outcome, Failure> {
    const CONNECTIONS: usize = 1000;
    const WATCHED: Duration = Duration::from_secs(10);
    let server = setting.programs.ours(OURS, 8).start(&setting.place)?;
    let mut outcome = Outcome::default();
    let mut watch = |open: usize| -> io::Result<()> {
        // What follows the last connection has passed.
        std::thread::sleep(Duration::from_millis(500));
        let meter = Meter::new(server.pid());
        let (before, start) = (meter.read()?, Instant::now());
        std::thread::sleep(WATCHED);
        let cpu = meter.read()?.since(before).cpu;
        let use_percent = 100.0 * cpu.as_secs_f64() / start.elapsed().as_secs_f64();
        let what = format!("8 shards, {open} idle connections, CPU use of a core");
        outcome.verdicts.push(Verdict::new(what, Some(use_percent), 0.2).in_unit(" %"));
        Ok(())
    };
    watch(0)?;
    let connections: Vec<Socket> =
        (0..CONNECTIONS).map(|_| server.address().connect()).collect::<io::Result<_>>()?;
    watch(CONNECTIONS)?;
    drop(connections);
    let latencies = latencies_after_sleep(&server)?;
    let (median, worst) = (latencies[latencies.len() / 2], latencies[latencies.len() - 1]);
    outcome.notes.push(format!("median latency after a second of sleep: {median:.3} ms"));
    let what = format!("worst latency after a second of sleep, of {}", latencies.len());
    outcome.verdicts.push(Verdict::new(what, Some(worst), 1.0).in_unit(" ms"));
    Ok(outcome)
}

/// The latencies of single requests to a server that slept, in milliseconds, from the least on.
fn latencies_after_sleep(server: &Server) -> io::Result<Vec<f64>> {
    const TIMES: usize = 20;
    const SLEEP: Duration = Duration::from_secs(1);
    let mut socket = server.address().connect()?;
    let mut latencies = Vec::new();
    for _ in 0..TIMES {
        std::thread::sleep(SLEEP);
        let start = Instant::now();
        io::Write::write_all(&mut socket, b"*1\r\n$4\r\nPING\r\n")?;
        read_until(&mut socket, |reply| reply.ends_with(b"\r\n"))?;
        latencies.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}

fn turns(setting: &Setting) -> Result<Outcome, Failure> {
    const LOADED: Duration = Duration::from_secs(5);
    let small = setting.small();
    let big = KeySpace { prefix: "big:", keys: 64, value_bytes: 1 << 20 };
    let classes =
        [(Verb::Get, small, 49), (Verb::Set, small, 49), (Verb::Get, big, 1), (Verb::Set, big, 1)];
    let workload = Workload::new(
        "98 % small, 2 % big, GET+SET",
        classes.map(|(verb, space, weight)| Class::new(verb, space, weight)).into(),
    );
    let case = Case { workload, filled: vec![small, big], connections: MANY, depth: 16 };
    let server = setting.programs.ours(OURS, 2).start(&setting.place)?;
    for space in &case.filled {
        let workload = Workload::of(Verb::Set, *space);
        client::fill(server.address(), &workload).map_err(Failure::Fill)?;
    }
    let pace = Pace { measured: LOADED, ..setting.pace };
    let measured = measure(&server, &case, &pace, 0)?;
    let info = info_shards(&server)?;
    let turns = longest_turns_ms(&info);
    let mut outcome = Outcome::default();
    let row = compare::Row { name: OURS.to_owned(), rounds: vec![measured] };
    outcome.groups.push(Group { title: case.title(), rows: vec![row] });
    if turns.is_empty() {
        outcome.notes.push("INFO shards names no longest_turn".to_owned());
    }
    let each: Vec<_> = turns.iter().map(|turn| format!("{turn:.3} ms")).collect();
    outcome.notes.push(format!("longest turn of each shard: {}", each.join(", ")));
    let worst = turns.into_iter().reduce(f64::max);
    outcome.verdicts.push(Verdict::new("longest turn", worst, 10.0).in_unit(" ms"));
    Ok(outcome)
}

/// The text of the server's `INFO shards`.
fn info_shards(server: &Server) -> io::Result<String> {
    let whole_len = |reply: &[u8]| {
        let end = reply.iter().position(|byte| *byte == b'\r')?;
        let len: usize = std::str::from_utf8(&reply[1..end]).ok()?.parse().ok()?;
        Some(end + 2 + len + 2)
    };
    // An error is a line; so is the start of anything else that is no bulk string.
    let is_whole = |reply: &[u8]| match reply.first() {
        Some(b'$') => whole_len(reply).is_some_and(|len| reply.len() >= len),
        _ => reply.ends_with(b"\r\n"),
    };
    let reply = server.address().ask(b"*2\r\n$4\r\nINFO\r\n$6\r\nshards\r\n", is_whole)?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}

/// The figures after `longest_turn`, in milliseconds. The field's name ends in its unit, `_ns`,
/// `_us` or `_ms`, or has none, which means microseconds.
fn longest_turns_ms(info: &str) -> Vec<f64> {
    let figures = info.split("longest_turn").skip(1).filter_map(|rest| {
        let (unit, rest) = rest.split_at(rest.find([':', '='])?);
        let end =
            rest[1..].find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(rest.len() - 1);
        let figure: f64 = rest[1..=end].parse().ok()?;
        match unit {
            "_ns" => Some(figure / 1e6),
            "_us" | "" => Some(figure / 1e3),
            "_ms" => Some(figure),
            _ => None,
        }
    });
    figures.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_turns_are_found_in_any_unit() {
        let info = "# Shards\r\nshard0:keys=1,longest_turn_us=250,x=1\r\nlongest_turn_ns:5000000\r\n\
                    longest_turn_ms=1.5";
        assert_eq!(longest_turns_ms(info), [0.25, 5.0, 1.5]);
        assert!(longest_turns_ms("$0\r\n\r\n").is_empty());
    }

    #[test]
    fn verdicts_say_what_they_found() {
        let verdict = |figure| Verdict::new("x", figure, 0.95).to_string();
        assert_eq!(verdict(Some(0.9)), "- x: 0.900, bar 0.95: met");
        assert_eq!(verdict(Some(1.0)), "- x: 1.000, bar 0.95: MISSED");
        assert_eq!(verdict(None), "- x: not measured (bar 0.95)");
        assert!(!Verdict::new("x", None, 1.0).is_missed());
    }

    #[test]
    fn shards_are_put_into_the_arguments() {
        let arguments = ["--shards".to_owned(), SHARDS.to_owned()];
        assert_eq!(with_shards(&arguments, 5), ["--shards", "5"]);
    }
}
