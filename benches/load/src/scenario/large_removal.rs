//! Removing a very large value: whether other connections have to wait for it.

use std::time::{Duration, Instant};

use super::watch::{pinging, settled_bytes};
use super::{Failure, Outcome, progress};
use crate::info;
use crate::pipeline::{Pipeline, Reply};
use crate::server::{Program, Server};
use crate::setting::{OURS, Setting};
use crate::usage::resident_bytes;
use crate::verdict::Verdict;

/// The largest value that servers take by default.
const LARGEST_BYTES: u64 = 512 << 20;

/// With fewer keys than these, the value is smaller in proportion.
const USUAL_KEYS: u64 = 1_000_000;

/// Ways to remove the value under the key `large`.
const REMOVALS: [(&str, &[&[u8]]); 5] = [
    ("UNLINK", &[b"UNLINK", b"large"]),
    ("DEL", &[b"DEL", b"large"]),
    ("SET of a small value", &[b"SET", b"large", b"small"]),
    ("expiry", &[b"PEXPIRE", b"large", b"200"]),
    ("FLUSHALL", &[b"FLUSHALL"]),
];

/// Removes the value in each way, from the server under test, then from redis-server.
pub(super) fn run(setting: &Setting) -> Result<Outcome, Failure> {
    let bytes = (LARGEST_BYTES * setting.keys / USUAL_KEYS).clamp(1, LARGEST_BYTES);
    let mut outcome = Outcome::default();
    let programs = &setting.programs;
    for removal in remove_all(setting, &programs.ours(OURS, 1), bytes)? {
        let what = format!("{OURS}: longest turn after {} of {bytes} bytes", removal.name);
        let verdict = Verdict::new(what, removal.longest_turn_ms, 2.0).in_unit(" ms");
        outcome.verdicts.push(verdict);
        outcome.notes.push(removal.note(OURS));
    }
    if programs.redis.is_file() {
        let redis = programs.redis();
        let removals = remove_all(setting, &redis, bytes)?;
        outcome.notes.extend(removals.iter().map(|removal| removal.note(&redis.name)));
    }
    progress("");
    Ok(outcome)
}

/// What one removal did.
struct Removal {
    name: &'static str,
    longest_turn_ms: Option<f64>,
    longest_ping_ms: f64,
    /// Resident before and after, in bytes.
    before: u64,
    after: u64,
}

impl Removal {
    fn note(&self, server: &str) -> String {
        format!(
            "{server}, {}: longest PING meanwhile {:.3} ms, resident {:.1} MB before, \
             {:.1} MB after",
            self.name,
            self.longest_ping_ms,
            self.before as f64 / 1e6,
            self.after as f64 / 1e6,
        )
    }
}

fn remove_all(setting: &Setting, program: &Program, bytes: u64) -> Result<Vec<Removal>, Failure> {
    let server = program.start(&setting.place)?;
    let mut pipeline = Pipeline::new(server.address())?;
    let removals = REMOVALS.iter().map(|(name, request)| {
        progress(&format!("{}: {name}", program.name));
        write_large(&mut pipeline, bytes)?;
        let before = resident_bytes(server.pid())?;
        info::reset(&mut pipeline)?;
        let remove = || remove(&server, &mut pipeline, request);
        let (after, longest_ping_ms) = pinging(server.address(), remove)?;
        let longest_turn_ms = info::longest_turn_ms(&mut pipeline)?;
        Ok(Removal { name, longest_turn_ms, longest_ping_ms, before, after })
    });
    removals.collect()
}

/// Sends the request and waits until the value is gone and its memory comes back no more. Returns
/// the resident size then.
fn remove(server: &Server, pipeline: &mut Pipeline, request: &[&[u8]]) -> Result<u64, Failure> {
    const PATIENCE: Duration = Duration::from_secs(10);
    const STILL: Duration = Duration::from_secs(1);
    let reply = pipeline.ask(request)?;
    if matches!(reply, Reply::Error(_)) {
        return Err(reply.unexpected().into());
    }
    let start = Instant::now();
    // Counting, unlike reading the key, has nothing expire.
    while request[0] == b"PEXPIRE" && pipeline.ask(&[b"DBSIZE"])?.integer()? > 0 {
        if start.elapsed() > PATIENCE {
            return Err(crate::client::Failure::Silent.into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    settled_bytes(server.pid(), STILL)
}

/// Writes the value, chunk by chunk.
fn write_large(pipeline: &mut Pipeline, bytes: u64) -> Result<(), Failure> {
    static CHUNK: [u8; 1 << 20] = [b'x'; 1 << 20];
    pipeline.send(format!("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n${bytes}\r\n").as_bytes())?;
    let mut left = bytes as usize;
    while left > 0 {
        let len = left.min(CHUNK.len());
        pipeline.send(&CHUNK[..len])?;
        left -= len;
    }
    pipeline.send(b"\r\n")?;
    pipeline.receive()?.ok()?;
    Ok(())
}
