//! What a key costs in memory, and whether memory is given back.

use std::time::Duration;

use super::watch::settled_bytes;
use super::{Failure, Outcome, progress};
use crate::info;
use crate::pipeline::{Pipeline, write_request};
use crate::server::{Program, Server};
use crate::setting::{OURS, Setting};
use crate::usage::resident_bytes;
use crate::verdict::Verdict;
use crate::workload::{KEY_BYTES, key};

/// The bytes that nothing can save: a key, and a value of its length.
const CONTENT_BYTES: u64 = 2 * KEY_BYTES as u64;

/// The least and most keys of the growth, in halves of the setting's number of keys.
const LEAST: u64 = 10;
const MOST: u64 = 40;
/// Where redis-server's growth ends, and how many keys expire, or are removed.
const MIDDLE: u64 = 20;

/// Memory that isn't given back within so long of the last that was, is kept.
const STILL: Duration = Duration::from_secs(3);

/// One of so many keys is left when the others are removed.
const LEFT_OF: u64 = 100;

/// Grows servers step by step, with and without expiry, and removes most of the keys.
pub(super) fn run(setting: &Setting) -> Result<Outcome, Failure> {
    let programs = &setting.programs;
    let many = format!("{OURS}, 5 shards");
    let mut outcome = Outcome::default();
    for program in [programs.ours(OURS, 1), programs.ours(&many, 5)] {
        measure(setting, &program, MOST, true, &mut outcome)?;
    }
    if programs.redis.is_file() {
        measure(setting, &programs.redis(), MIDDLE, false, &mut outcome)?;
    }
    progress("");
    Ok(outcome)
}

/// Measures one server; without bars, its figures are notes.
fn measure(
    setting: &Setting,
    program: &Program,
    most: u64,
    has_bars: bool,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let keys = |halves: u64| halves * setting.keys / 2;
    let (least, middle) = (keys(LEAST), keys(MIDDLE));
    let name = &program.name;
    let mut tell = |what: String, figure: f64, bar: f64, unit: &'static str| match has_bars {
        true => outcome.verdicts.push(Verdict::new(what, Some(figure), bar).in_unit(unit)),
        false => outcome.notes.push(format!("{what}: {figure:.3}{unit}")),
    };

    let plain = grow(setting, program, most, Keys::Plain)?;
    let counted = plain[0];
    let plain = &plain[1..];
    let worst = plain.iter().map(Reading::overhead).fold(f64::MIN, f64::max);
    let what =
        format!("{name}: resident bytes of a key over its {CONTENT_BYTES}, worst of {least} keys");
    tell(format!("{what} to {}", keys(most)), worst, 28.0, " bytes");

    let expiring = grow(setting, program, MIDDLE, Keys::Expiring)?;
    let more: Vec<(u64, f64)> = plain
        .iter()
        .zip(&expiring[1..])
        .map(|(plain, expiring)| (plain.keys, expiring.overhead() - plain.overhead()))
        .collect();
    let at_middle = more.iter().find(|(keys, _)| *keys == middle).map_or(f64::NAN, |(_, it)| *it);
    let what = format!("{name}: more bytes of a key that expires, of {middle}");
    tell(what, at_middle, 8.0, " bytes");

    let ratio = counted.used as f64 / counted.resident as f64;
    let what = format!("{name}: used_memory of {} keys, off the resident size", counted.keys);
    tell(what, 100.0 * (ratio - 1.0).abs(), 15.0, " %");

    let (before, after) = shrink(setting, program)?;
    let left = after as f64 / before as f64;
    let what = format!("{name}: resident size after DEL of 99 % of {middle} keys, of that before");
    tell(what, 100.0 * left, 25.0, " %");

    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    outcome.notes.push(format!(
        "{name}: {:.1} MB before DEL, {:.1} MB after",
        megabytes(before),
        megabytes(after)
    ));
    outcome.notes.push(format!(
        "{name}: used_memory {:.1} MB, resident {:.1} MB",
        megabytes(counted.used),
        megabytes(counted.resident)
    ));
    let steps: Vec<_> =
        plain.iter().map(|step| format!("{:.1} at {}", step.overhead(), step.keys)).collect();
    outcome.notes.push(format!("{name}, each step: {}", steps.join(", ")));
    let steps: Vec<_> = more.iter().map(|(keys, more)| format!("{more:.1} at {keys}")).collect();
    outcome.notes.push(format!("{name}, more with expiry: {}", steps.join(", ")));
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    Plain,
    /// Each has an expiry, far ahead.
    Expiring,
}

/// A server's memory when it holds some keys, in bytes.
#[derive(Clone, Copy)]
struct Reading {
    keys: u64,
    /// Resident of the process.
    resident: u64,
    /// Resident before the first key.
    empty: u64,
    /// As INFO tells it.
    used: u64,
}

impl Reading {
    /// What a key takes beyond its own bytes and its value's.
    fn overhead(&self) -> f64 {
        self.resident.saturating_sub(self.empty) as f64 / self.keys as f64 - CONTENT_BYTES as f64
    }
}

/// A server under the filling.
struct Filling {
    server: Server,
    pipeline: Pipeline,
    empty: u64,
    keys: u64,
}

impl Filling {
    fn start(setting: &Setting, program: &Program) -> Result<Self, Failure> {
        let server = program.start(&setting.place)?;
        let mut pipeline = Pipeline::new(server.address())?;
        pipeline.ask(&[b"PING"])?;
        let empty = resident_bytes(server.pid())?;
        Ok(Self { server, pipeline, empty, keys: 0 })
    }

    /// Writes keys until there are `keys`.
    fn fill(&mut self, keys: u64, kind: Keys) -> Result<Reading, Failure> {
        progress(&format!("{}: {keys} keys", self.server.name()));
        let write = |number: u64, out: &mut Vec<u8>| {
            let key = key(number);
            match kind {
                Keys::Plain => write_request(&[b"SET", &key, &key], out),
                Keys::Expiring => write_request(&[b"SET", &key, &key, b"EX", b"100000"], out),
            }
        };
        self.pipeline.stream(self.keys..keys, write, |_, reply| reply.ok())?;
        self.keys = keys;
        Ok(Reading {
            keys,
            resident: resident_bytes(self.server.pid())?,
            empty: self.empty,
            used: info::number(&mut self.pipeline, "memory", "used_memory")?,
        })
    }
}

/// Fills a server up to `most` halves of the setting's number of keys, with a reading at two halves
/// and at each from the least on.
fn grow(
    setting: &Setting,
    program: &Program,
    most: u64,
    kind: Keys,
) -> Result<Vec<Reading>, Failure> {
    let mut filling = Filling::start(setting, program)?;
    let stops = std::iter::once(2).chain(LEAST..=most);
    stops.map(|halves| filling.fill(halves * setting.keys / 2, kind)).collect()
}

/// Fills a server and removes nearly all keys again. Returns the resident sizes before and after.
fn shrink(setting: &Setting, program: &Program) -> Result<(u64, u64), Failure> {
    let keys = MIDDLE * setting.keys / 2;
    let mut filling = Filling::start(setting, program)?;
    let before = filling.fill(keys, Keys::Plain)?.resident;
    progress(&format!("{}: removing", program.name));
    let removed = keys - keys.div_ceil(LEFT_OF);
    filling.pipeline.stream(
        0..removed,
        |number, out| {
            // Every hundredth key is passed over.
            let number = number + number / (LEFT_OF - 1) + 1;
            write_request(&[b"DEL", &key(number)], out);
        },
        |_, reply| match reply.integer()? {
            1 => Ok(()),
            _ => Err(reply.unexpected()),
        },
    )?;
    Ok((before, settled_bytes(filling.server.pid(), STILL)?))
}
