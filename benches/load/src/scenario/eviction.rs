//! What to keep when memory is limited: hit rates on a Zipf trace, and whether the limit is held.

use std::time::Duration;

use super::watch::watching;
use super::{Failure, Outcome, progress};
use crate::info;
use crate::pipeline::{Pipeline, Reply, write_request};
use crate::random::{Random, mix};
use crate::report::REDIS;
use crate::server::{Program, Server};
use crate::setting::{OURS, Setting};
use crate::verdict::Verdict;
use crate::workload::key;
use crate::zipf::Zipf;

/// How unevenly keys are asked for.
const SKEW: f64 = 0.99;

/// GETs that are under way at once; the SETs of those that missed follow together.
const DEPTH: usize = 64;

/// The length of the trace and of its first part, which isn't counted, in GETs per key.
const GETS_PER_KEY: u64 = 4;
const WARMUP_PER_KEY: u64 = 2;

/// The part of the footprint that there is room for.
const ROOM: u64 = 10;

/// How far numbers of items that count as equal may differ.
const ALIKE: f64 = 0.01;

const POLICIES: [&str; 2] = ["allkeys-lru", "allkeys-lfu"];

/// Plays the trace to both servers: with as much memory for both, and with room for as many items.
pub(super) fn run(setting: &Setting) -> Result<Outcome, Failure> {
    let programs = &setting.programs;
    let (ours, redis) = (programs.ours(OURS, 1), programs.redis());
    let mut outcome = Outcome::default();
    if !redis.path.is_file() {
        outcome.notes.push(format!("{} is missing; skipped", redis.path.display()));
        return Ok(outcome);
    }
    let trace = Trace::new(setting);
    let footprints = [&ours, &redis].map(|program| Footprint::of(setting, program));
    let [our_footprint, footprint] = footprints;
    let (our_footprint, footprint) = (our_footprint?, footprint?);
    for (name, it) in [(OURS, our_footprint), (REDIS, footprint)] {
        let bytes_per_key = it.filled as f64 / setting.keys as f64;
        outcome.notes.push(format!(
            "{name}: used_memory {} without keys, {} more with all {}: {bytes_per_key:.1} of a key",
            it.empty, it.filled, setting.keys
        ));
    }
    let max_memory = footprint.empty + footprint.filled / ROOM;
    for policy in POLICIES {
        let limit = Limit { policy, max_memory };
        let reference = trace.play(setting, &redis, limit)?;
        let of_same_bytes = trace.play(setting, &ours, limit)?;
        let of_same_items = as_many_items(&of_same_bytes, our_footprint.empty, &reference, |it| {
            trace.play(setting, &ours, Limit { policy, max_memory: it })
        })?;
        outcome.notes.push(format!("{policy}, {}", reference.note(REDIS)));
        for (what, played) in [("bytes", Some(of_same_bytes)), ("items", of_same_items)] {
            let of = format!("{policy}, equal {what}");
            // What can't be brought to hold as many items misses the bar too.
            let rate = played.as_ref().map_or(f64::INFINITY, |it| reference.rate_against(it));
            let name = format!("{of}: hit rate of {REDIS} / {OURS}");
            outcome.verdicts.push(Verdict::new(name, Some(rate), 1.0));
            let most = played.as_ref().map(Played::most_of_limit);
            let name = format!("{of}: most used_memory of {OURS} / maxmemory");
            outcome.verdicts.push(Verdict::new(name, most, 1.01));
            outcome.notes.push(match played {
                Some(played) => format!("{of}, {}", played.note(OURS)),
                None => format!("{of}: no maxmemory was found that holds {}", reference.items),
            });
        }
    }
    progress("");
    Ok(outcome)
}

/// The length of a key's value: 64 to 512 bytes, always the same.
fn value_bytes(number: u64) -> usize {
    64 + (mix(number) % 449) as usize
}

/// Appends the SET of a key.
fn write_set(number: u64, out: &mut Vec<u8>) {
    static LONGEST: [u8; 512] = [b'x'; 512];
    write_request(&[b"SET", &key(number), &LONGEST[..value_bytes(number)]], out);
}

/// What all keys take in a server, by `used_memory`.
#[derive(Clone, Copy)]
struct Footprint {
    /// Without a key.
    empty: u64,
    /// What the keys add.
    filled: u64,
}

impl Footprint {
    fn of(setting: &Setting, program: &Program) -> Result<Self, Failure> {
        progress(&format!("{}: footprint of {} keys", program.name, setting.keys));
        let server = program.start(&setting.place)?;
        let mut pipeline = Pipeline::new(server.address())?;
        let empty = used_memory(&mut pipeline)?;
        pipeline.stream(0..setting.keys, write_set, |_, reply| reply.ok())?;
        let filled = used_memory(&mut pipeline)?.saturating_sub(empty);
        Ok(Self { empty, filled })
    }
}

fn used_memory(pipeline: &mut Pipeline) -> Result<u64, Failure> {
    Ok(info::number(pipeline, "memory", "used_memory")?)
}

#[derive(Clone, Copy)]
struct Limit {
    policy: &'static str,
    max_memory: u64,
}

/// What playing the trace showed.
#[derive(Clone)]
struct Played {
    limit: u64,
    /// Hits of the GETs after the warm-up.
    hit_rate: f64,
    /// The number of keys at the end.
    items: u64,
    evicted: u64,
    /// The most used memory at any look.
    most_used: u64,
}

impl Played {
    /// The hit rate as a multiple of the other's. One that came without evictions is worth nothing.
    fn rate_against(&self, other: &Self) -> f64 {
        if other.evicted > 0 { self.hit_rate / other.hit_rate } else { f64::INFINITY }
    }

    fn most_of_limit(&self) -> f64 {
        self.most_used as f64 / self.limit as f64
    }

    fn holds_as_many_as(&self, other: &Self) -> bool {
        (self.items as f64 / other.items as f64 - 1.0).abs() <= ALIKE
    }

    fn note(&self, name: &str) -> String {
        let Self { limit, hit_rate, items, evicted, .. } = self;
        let most = self.most_of_limit();
        format!(
            "{name}: hit rate {:.3} %, {items} items at the end, {evicted} evicted, \
             maxmemory {limit}, used_memory at most {most:.4} of it",
            100.0 * hit_rate
        )
    }
}

/// Plays with other limits until as many items are held as by `reference`; nothing if that can't be
/// brought about. `empty` is the memory that holds no item.
fn as_many_items(
    first: &Played,
    empty: u64,
    reference: &Played,
    mut play: impl FnMut(u64) -> Result<Played, Failure>,
) -> Result<Option<Played>, Failure> {
    const TRIES: usize = 6;
    let mut played = first.clone();
    for _ in 0..TRIES {
        if played.holds_as_many_as(reference) {
            return Ok(Some(played));
        }
        // Without evictions the number of items doesn't hang on the limit.
        if played.evicted == 0 {
            return Ok(None);
        }
        // An item takes nearly the same, however many there are.
        let for_items = played.limit.saturating_sub(empty) as f64;
        let wanted = for_items * reference.items as f64 / played.items.max(1) as f64;
        played = play(empty + wanted as u64)?;
    }
    Ok(played.holds_as_many_as(reference).then_some(played))
}

/// A sequence of keys, the same for every server.
struct Trace {
    zipf: Zipf,
    seed: u64,
    warmup: u64,
    gets: u64,
}

impl Trace {
    fn new(setting: &Setting) -> Self {
        Self {
            zipf: Zipf::new(setting.keys, SKEW),
            seed: setting.pace.seed,
            warmup: WARMUP_PER_KEY * setting.keys,
            gets: GETS_PER_KEY * setting.keys,
        }
    }

    /// Plays the trace to a fresh server, while another connection looks at the used memory.
    fn play(&self, setting: &Setting, program: &Program, limit: Limit) -> Result<Played, Failure> {
        const PAUSE: Duration = Duration::from_millis(10);
        let Limit { policy, max_memory } = limit;
        let server = program.start(&setting.place)?;
        let mut pipeline = Pipeline::new(server.address())?;
        pipeline.ask(&[b"CONFIG", b"SET", b"maxmemory-policy", policy.as_bytes()])?.ok()?;
        let bytes = max_memory.to_string();
        pipeline.ask(&[b"CONFIG", b"SET", b"maxmemory", bytes.as_bytes()])?.ok()?;
        let mut looking = Pipeline::new(server.address())?;
        let mut most_used = 0;
        let look = || {
            most_used = most_used.max(used_memory(&mut looking)?);
            Ok(())
        };
        let what = format!("{}: {policy}, maxmemory {max_memory}", program.name);
        let hit_rate = watching(PAUSE, look, || self.hit_rate(&server, &what))?;
        Ok(Played {
            limit: max_memory,
            hit_rate,
            items: pipeline.ask(&[b"DBSIZE"])?.integer()? as u64,
            evicted: info::number(&mut pipeline, "stats", "evicted_keys")?,
            most_used,
        })
    }

    fn hit_rate(&self, server: &Server, what: &str) -> Result<f64, Failure> {
        let mut pipeline = Pipeline::new(server.address())?;
        let mut random = Random::new(self.seed);
        let (mut hits, mut counted) = (0u64, 0u64);
        let mut asked = 0;
        let mut told = 0;
        while asked < self.gets {
            let count = DEPTH.min((self.gets - asked) as usize);
            let batch: Vec<u64> = (0..count).map(|_| self.zipf.draw(&mut random)).collect();
            let missed = round(&mut pipeline, &batch)?;
            if asked >= self.warmup {
                counted += count as u64;
                hits += (count - missed) as u64;
            }
            asked += count as u64;
            if 100 * asked / self.gets > told {
                told = 100 * asked / self.gets;
                progress(&format!("{what}: {told} %"));
            }
        }
        Ok(hits as f64 / counted.max(1) as f64)
    }
}

/// Reads the keys of `batch` and writes those that missed. Returns the number of misses.
fn round(pipeline: &mut Pipeline, batch: &[u64]) -> Result<usize, Failure> {
    let mut requests = Vec::new();
    for number in batch {
        write_request(&[b"GET", &key(*number)], &mut requests);
    }
    pipeline.send(&requests)?;
    let mut misses = 0;
    let mut missed = Vec::new();
    for number in batch {
        match pipeline.receive()? {
            Reply::Bulk(Some(value)) if value.len() == value_bytes(*number) => {}
            Reply::Bulk(None) => {
                misses += 1;
                if !missed.contains(number) {
                    missed.push(*number);
                }
            }
            other => return Err(other.unexpected().into()),
        }
    }
    requests.clear();
    for number in &missed {
        write_set(*number, &mut requests);
    }
    pipeline.send(&requests)?;
    for _ in &missed {
        pipeline.receive()?.ok()?;
    }
    Ok(misses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(limit: u64, items: u64, evicted: u64) -> Played {
        Played { limit, hit_rate: 0.5, items, evicted, most_used: limit }
    }

    #[test]
    fn values_have_every_length_in_range() {
        let lengths: Vec<usize> = (0..100_000).map(value_bytes).collect();
        assert_eq!(lengths.iter().min(), Some(&64));
        assert_eq!(lengths.iter().max(), Some(&512));
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
        assert!((mean - 288.0).abs() < 2.0, "{mean}");
    }

    #[test]
    fn a_limit_is_found_that_holds_as_many_items() {
        // Half a kilobyte per item at first, more with many.
        let items = |limit: u64| (limit - 1000) / (500 + limit / 100_000);
        let reference = played(0, 7000, 1);
        let mut tries = 0;
        let found = as_many_items(&played(900_000, items(900_000), 1), 1000, &reference, |limit| {
            tries += 1;
            Ok(played(limit, items(limit), 1))
        });
        let found = found.unwrap().unwrap();
        assert!(found.holds_as_many_as(&reference), "{}", found.items);
        assert!(tries <= 3, "{tries}");
    }

    #[test]
    fn without_evictions_there_is_nothing_to_find() {
        let play = |_| panic!("it is not tried");
        let found = as_many_items(&played(1000, 50, 0), 0, &played(1000, 10, 40), play);
        assert!(found.unwrap().is_none());
        assert_eq!(played(1, 1, 1).rate_against(&played(1, 1, 0)), f64::INFINITY);
        assert_eq!(played(1, 1, 1).rate_against(&played(1, 1, 1)), 1.0);
    }
}
