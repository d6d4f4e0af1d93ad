//! The slowest insertion while keys come, and the slowest removal while they go.
//!
//! Twice: at first memory is fresh, and the system's page faults count; the second time the
//! allocator has it. Run with `MIMALLOC_PURGE_DELAY=-1`, so that it gives none back between.

use std::fs;
use std::time::Duration;

use kevy_keyspace::Expiry;
use kevy_rt::KeyHasher;
use rustix::time::{ClockId, clock_gettime};

use crate::{key, keyspace, name, set, verdict};

/// What one pass saw.
#[derive(Default)]
struct Slowest {
    all: Duration,
    at: u64,
    over_100_us: u64,
    total: Duration,
}

impl Slowest {
    fn time(&mut self, number: u64, what: impl FnOnce()) {
        let started = cpu_time();
        what();
        let took = cpu_time() - started;
        self.total += took;
        self.over_100_us += u64::from(took > Duration::from_micros(100));
        if took > self.all {
            (self.all, self.at) = (took, number);
        }
    }

    fn tell(&self, what: &str, keys: u64) {
        let each = self.total.as_nanos() as f64 / keys as f64;
        println!(
            "{what}: slowest {:?} at {}, {} over 100 us, {each:.0} ns each, clock included",
            self.all, self.at, self.over_100_us
        );
    }
}

pub(crate) fn run(keys: u64) {
    for round in ["fresh memory", "memory that was used"] {
        let hasher = KeyHasher::random();
        let mut keyspace = keyspace(&hasher);
        let db = &mut keyspace.dbs[0];
        let faults = page_faults();
        let mut slowest = Slowest::default();
        for number in 0..keys {
            slowest.time(number, || set(db, &hasher, number, Expiry::Never));
        }
        slowest.tell(&format!("{round}, insertions, {} page faults", page_faults() - faults), keys);
        judge("slowest insertion", round, &slowest);
        let mut slowest = Slowest::default();
        let mut ticks = Slowest::default();
        for number in 0..keys {
            slowest.time(number, || {
                keyspace.dbs[0].remove(key(&hasher, &name(number)));
            });
            // A turn's worth.
            if number % 64 == 63 {
                ticks.time(number, || {
                    keyspace.tick();
                });
            }
        }
        slowest.tell(&format!("{round}, removals"), keys);
        ticks.tell(&format!("{round}, ticks between them"), keys / 64);
        judge("slowest removal", round, &slowest);
        judge("slowest tick", round, &ticks);
        while keyspace.tick().is_some() {}
    }
}

fn judge(what: &str, round: &str, slowest: &Slowest) {
    let ms = slowest.all.as_secs_f64() * 1e3;
    verdict(&format!("{what}, {round}"), ms, "ms", 0.3, ms <= 0.3);
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Minor page faults of this process.
fn page_faults() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux has it");
    let fields = stat.rsplit(')').next().expect("the name is in parentheses");
    fields.split_whitespace().nth(7).expect("a figure").parse().expect("digits")
}
