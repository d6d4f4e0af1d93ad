//! The slowest insertion while keys come, and the slowest removal while they go.
//!
//! What met a page fault is told apart: that is the system's time, and on a virtual machine its
//! host's.

use std::hint::black_box;
use std::time::Duration;

use kevy_keyspace::Expiry;
use kevy_rt::KeyHasher;
use rustix::time::{ClockId, clock_gettime};

use crate::{key, keyspace, name, set, verdict};

/// What one pass saw.
#[derive(Default)]
struct Slowest {
    /// Of those that met no page fault.
    clean: Duration,
    at: u64,
    /// Of those that did.
    faulting: Duration,
    faults: u64,
    over_300_us: u64,
    total: Duration,
}

impl Slowest {
    fn time(&mut self, number: u64, what: impl FnOnce()) {
        let (faults, started) = (page_faults(), cpu_time());
        what();
        let took = cpu_time() - started;
        let faults = page_faults() - faults;
        self.total += took;
        self.faults += faults;
        if faults > 0 {
            self.faulting = self.faulting.max(took);
        } else {
            self.over_300_us += u64::from(took > Duration::from_micros(300));
            if took > self.clean {
                (self.clean, self.at) = (took, number);
            }
        }
    }

    fn tell(&self, what: &str, keys: u64) {
        let each = self.total.as_nanos() as f64 / keys as f64;
        println!(
            "{what}: slowest {:?} at {}, {} over 300 us; with page faults ({} of them) {:?}; {each:.0} \
             ns each, clock included",
            self.clean, self.at, self.over_300_us, self.faults, self.faulting
        );
    }
}

pub(crate) fn run(keys: u64) {
    // What the machine does to an operation that does next to nothing: the error of the rest.
    let mut control = Slowest::default();
    (0..keys).for_each(|number| {
        control.time(number, || {
            black_box(name(number));
        })
    });
    control.tell("nothing", keys);
    for round in ["fresh memory", "memory that was used"] {
        let hasher = KeyHasher::random();
        let mut keyspace = keyspace(&hasher);
        let db = &mut keyspace.dbs[0];
        let mut slowest = Slowest::default();
        for number in 0..keys {
            slowest.time(number, || set(db, &hasher, number, Expiry::Never));
        }
        slowest.tell(&format!("{round}, insertions"), keys);
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
                    keyspace.tick(&|_| false);
                });
            }
        }
        slowest.tell(&format!("{round}, removals"), keys);
        ticks.tell(&format!("{round}, ticks between them"), keys / 64);
        judge("slowest removal", round, &slowest);
        judge("slowest tick", round, &ticks);
        while keyspace.tick(&|_| false).is_some() {}
    }
}

fn judge(what: &str, round: &str, slowest: &Slowest) {
    let ms = slowest.clean.as_secs_f64() * 1e3;
    verdict(&format!("{what}, {round}"), ms, "ms", 0.3, ms <= 0.3);
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Page faults of this thread.
fn page_faults() -> u64 {
    // SAFETY: it is numbers, for which zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes to `usage` and nowhere else.
    let result = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    assert_eq!(result, 0, "a thread may ask for its own usage");
    usage.ru_minflt as u64
}
