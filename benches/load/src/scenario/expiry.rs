//! Many keys that expire one after the other: whether they go in time, and in short turns.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use super::watch::pinging;
use super::{Failure, Outcome, progress};
use crate::info;
use crate::pipeline::{Pipeline, write_request};
use crate::server::{Program, Server};
use crate::setting::{OURS, Setting};
use crate::verdict::Verdict;
use crate::workload::key;

/// From the first write to the first key's end: time enough to write them all.
const LEAD: Duration = Duration::from_secs(4);

/// From the first key's end to the last one's.
const SPREAD: Duration = Duration::from_secs(10);

/// How long after its end a key may still be counted.
const GRACE: Duration = Duration::from_secs(1);

/// The time between two looks at the number of keys.
const PAUSE: Duration = Duration::from_millis(20);

/// Lets keys expire in the server under test, then in redis-server.
pub(super) fn run(setting: &Setting) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    let ours = expire(setting, &setting.programs.ours(OURS, 1))?;
    let verdict = |what: &str, figure: f64| {
        Verdict::new(format!("{OURS}: {what}"), Some(figure), 0.0).in_unit(" keys")
    };
    outcome.verdicts = vec![
        verdict("left a second after the last one's time", ours.left as f64),
        verdict("most counted whose time was over a second ago", ours.most_overdue as f64),
        Verdict::new(format!("{OURS}: longest turn"), ours.longest_turn_ms, 2.0).in_unit(" ms"),
    ];
    outcome.notes.push(ours.note(OURS));
    if setting.programs.redis.is_file() {
        let program = setting.programs.redis();
        outcome.notes.push(expire(setting, &program)?.note(&program.name));
    }
    progress("");
    Ok(outcome)
}

/// What was seen while keys expired.
#[derive(Default)]
struct Seen {
    /// Keys that were counted a second after the last one's end.
    left: u64,
    /// The most keys at a time that were counted more than a second after their end.
    most_overdue: u64,
    /// The longest time that a key was counted after its end.
    worst_lag: Duration,
    longest_turn_ms: Option<f64>,
    longest_ping_ms: f64,
}

impl Seen {
    fn note(&self, name: &str) -> String {
        format!(
            "{name}: {} keys left at the end, at most {} overdue by a second, worst lag {:.3} s, \
             longest PING meanwhile {:.3} ms",
            self.left,
            self.most_overdue,
            self.worst_lag.as_secs_f64(),
            self.longest_ping_ms,
        )
    }
}

fn expire(setting: &Setting, program: &Program) -> Result<Seen, Failure> {
    progress(&format!("{}: {} keys", program.name, setting.keys));
    let server = program.start(&setting.place)?;
    let mut pipeline = Pipeline::new(server.address())?;
    let ends = fill(&mut pipeline, setting.keys)?;
    info::reset(&mut pipeline)?;
    let (mut seen, longest_ping_ms) =
        pinging(server.address(), || watch(&server, &mut pipeline, &ends))?;
    seen.longest_ping_ms = longest_ping_ms;
    Ok(seen)
}

/// Writes the keys. Returns the time of each one's end or shortly after it, in order.
fn fill(pipeline: &mut Pipeline, keys: u64) -> Result<Vec<Instant>, Failure> {
    let start = Instant::now();
    // The time that each key was given, for when its reply is there.
    let lives = RefCell::new(Vec::with_capacity(keys as usize));
    let mut ends = Vec::with_capacity(keys as usize);
    pipeline.stream(
        0..keys,
        |number, out| {
            let end = LEAD + SPREAD.mul_f64(number as f64 / keys as f64);
            let life_ms = end.saturating_sub(start.elapsed()).as_millis().max(1) as u64;
            lives.borrow_mut().push(life_ms);
            let key = key(number);
            write_request(&[b"SET", &key, &key, b"PX", life_ms.to_string().as_bytes()], out);
        },
        |number, reply| {
            let life = Duration::from_millis(lives.borrow()[number as usize]);
            ends.push(Instant::now() + life);
            reply.ok()
        },
    )?;
    ends.sort_unstable();
    Ok(ends)
}

/// Counts keys until a second after the last one's end.
fn watch(server: &Server, pipeline: &mut Pipeline, ends: &[Instant]) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    let over = ends.last().map_or_else(Instant::now, |last| *last + GRACE);
    loop {
        let now = Instant::now();
        let counted = pipeline.ask(&[b"DBSIZE"])?.integer()? as u64;
        seen.most_overdue = seen.most_overdue.max(overdue(counted, ends, now));
        seen.worst_lag = seen.worst_lag.max(lag(counted, ends, now));
        progress(&format!("{}: {counted} keys left", server.name()));
        if now >= over {
            seen.left = counted;
            seen.longest_turn_ms = info::longest_turn_ms(pipeline)?;
            return Ok(seen);
        }
        std::thread::sleep(PAUSE);
    }
}

/// How many of `counted` keys ended more than the grace before `now`.
fn overdue(counted: u64, ends: &[Instant], now: Instant) -> u64 {
    let gone = ends.partition_point(|end| *end + GRACE < now);
    counted.saturating_sub((ends.len() - gone) as u64)
}

/// How long before `now` the first of `counted` keys ended, if those that are counted end last.
fn lag(counted: u64, ends: &[Instant], now: Instant) -> Duration {
    let gone = ends.len().saturating_sub(counted as usize);
    ends.get(gone).map_or(Duration::ZERO, |first| now.saturating_duration_since(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_overdue_a_second_after_their_end() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let ends = [at(100), at(200), at(300), at(4000)];
        assert_eq!(overdue(4, &ends, at(1100)), 0);
        assert_eq!(overdue(4, &ends, at(1101)), 1);
        assert_eq!(overdue(3, &ends, at(1101)), 0);
        assert_eq!(overdue(4, &ends, at(1301)), 3);
        assert_eq!(overdue(1, &ends, at(9000)), 1);
        assert_eq!(overdue(0, &ends, at(9000)), 0);
    }

    #[test]
    fn the_lag_is_that_of_the_first_key_that_should_be_gone() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let ends = [at(100), at(200), at(300)];
        assert_eq!(lag(3, &ends, at(50)), Duration::ZERO);
        assert_eq!(lag(3, &ends, at(150)), Duration::from_millis(50));
        assert_eq!(lag(2, &ends, at(150)), Duration::ZERO);
        assert_eq!(lag(1, &ends, at(950)), Duration::from_millis(650));
        assert_eq!(lag(0, &ends, at(950)), Duration::ZERO);
    }
}
