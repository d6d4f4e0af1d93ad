//! Walking over all keys: the CPU time of a full SCAN.

use std::time::{Duration, Instant};

use super::{Failure, Outcome, progress};
use crate::client;
use crate::client::Measured;
use crate::compare::{Group, Row};
use crate::histogram::Histogram;
use crate::pipeline::{Pipeline, Reply};
use crate::report::REDIS;
use crate::server::Server;
use crate::setting::{OURS, Setting};
use crate::usage::Meter;
use crate::verdict::Verdict;
use crate::workload::{KeySpace, Verb, Workload, key_number};

/// Walks over both servers' keys in turn. The tables are per key, but for the latency, which is of
/// one call.
pub(super) fn run(setting: &Setting) -> Result<Outcome, Failure> {
    const COUNTS: [u64; 3] = [10, 100, 1000];
    let programs = &setting.programs;
    let mut servers = vec![programs.ours(OURS, 1).start(&setting.place)?];
    if programs.redis.is_file() {
        servers.push(programs.redis().start(&setting.place)?);
    }
    let keys = KeySpace::new(setting.keys, setting.value_bytes);
    for server in &servers {
        client::fill(server.address(), &Workload::of(Verb::Set, keys)).map_err(Failure::Fill)?;
    }
    let mut outcome = Outcome::default();
    let mut most_missed = 0;
    for count in COUNTS {
        let mut rows: Vec<Row> = servers
            .iter()
            .map(|server| Row { name: server.name().to_owned(), rounds: vec![] })
            .collect();
        for round in 0..setting.pace.rounds {
            progress(&format!("COUNT {count}: round {} of {}", round + 1, setting.pace.rounds));
            for (server, row) in servers.iter().zip(&mut rows) {
                let walk = walk(server, setting.keys, count)?;
                most_missed = most_missed.max(walk.missed);
                row.rounds.push(walk.measured);
            }
        }
        let title = format!("SCAN of {} keys with COUNT {count}, per key", setting.keys);
        let group = Group { title, rows };
        let what = format!("full SCAN with COUNT {count}, CPU of {OURS} / {REDIS}");
        outcome.verdicts.push(Verdict::new(what, group.cpu_ratio(OURS, REDIS), 1.0));
        outcome.groups.push(group);
    }
    let what = "keys that a full SCAN missed, at most";
    outcome.verdicts.push(Verdict::new(what, Some(most_missed as f64), 0.0));
    progress("");
    Ok(outcome)
}

/// A full SCAN.
struct Walk {
    /// Keys take the place of requests, so that servers that need more calls compare.
    measured: Measured,
    /// Keys that were not seen.
    missed: u64,
}

fn walk(server: &Server, keys: u64, count: u64) -> Result<Walk, Failure> {
    let mut pipeline = Pipeline::new(server.address())?;
    pipeline.ask(&[b"PING"])?;
    let meter = Meter::new(server.pid());
    let count = count.to_string();
    let mut is_seen = vec![false; keys as usize];
    let mut cursor = b"0".to_vec();
    let mut latency = Histogram::default();
    let mut waited = Duration::ZERO;
    let (before, start) = (meter.read()?, Instant::now());
    loop {
        let asked = Instant::now();
        let reply = pipeline.ask(&[b"SCAN", &cursor, b"COUNT", count.as_bytes()])?;
        let took = asked.elapsed();
        latency.record(took, 1);
        waited += took;
        let Reply::Array(parts) = &reply else { return Err(reply.unexpected().into()) };
        let [Reply::Bulk(Some(next)), Reply::Array(found)] = parts.as_slice() else {
            return Err(reply.unexpected().into());
        };
        for key in found {
            let number = match key {
                Reply::Bulk(Some(key)) => key_number(key),
                _ => None,
            };
            let number = number.filter(|number| *number < keys).ok_or_else(|| key.unexpected())?;
            is_seen[number as usize] = true;
        }
        cursor.clear();
        cursor.extend_from_slice(next);
        if cursor == b"0" {
            break;
        }
    }
    let elapsed = start.elapsed();
    let usage = meter.read()?.since(before);
    let measured = Measured {
        requests: keys,
        elapsed,
        usage: Some(usage),
        latency,
        idle: waited.as_secs_f64() / elapsed.as_secs_f64(),
        ..Measured::default()
    };
    Ok(Walk { measured, missed: is_seen.iter().filter(|is_seen| !**is_seen).count() as u64 })
}
