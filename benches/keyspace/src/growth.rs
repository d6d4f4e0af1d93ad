//! The slowest insertion while keys come, and the slowest removal while they go.
//!
//! The same keys come and go several times, hashed with the same seed, so that what an operation has
//! to do it does in every round. Of each operation the fastest round counts: what the machine adds,
//! an interrupt or its host, hits another one each time. What met a page fault is told apart, since
//! that is the system's time; so is the first round, whose memory is fresh.

use std::hint::black_box;
use std::time::Duration;

use kevy_keyspace::Expiry;
use kevy_rt::KeyHasher;
use rustix::time::{ClockId, clock_gettime};

use crate::{key, keyspace, name, set, verdict};

/// Rounds that count.
const ROUNDS: usize = 2;

/// Removals to a tick: a turn's worth.
const TICK_EVERY: u64 = 64;

/// The bar for all.
const BAR: Duration = Duration::from_micros(300);

/// One kind of operation, over the rounds.
struct Times {
    what: &'static str,
    /// Of each operation the fastest round without a page fault, in nanoseconds.
    fastest: Vec<u32>,
    /// The slowest of this round, and how many were over the bar.
    slowest: Duration,
    over: u64,
    /// The slowest that met a page fault, and how many did.
    faulting: Duration,
    faults: u64,
}

impl Times {
    fn new(what: &'static str, operations: u64) -> Self {
        let fastest = vec![u32::MAX; operations as usize];
        let (slowest, faulting) = (Duration::ZERO, Duration::ZERO);
        Times { what, fastest, slowest, over: 0, faulting, faults: 0 }
    }

    fn time(&mut self, number: u64, what: impl FnOnce()) {
        let (faults, started) = (page_faults(), cpu_time());
        what();
        let took = cpu_time() - started;
        if page_faults() > faults {
            self.faults += 1;
            self.faulting = self.faulting.max(took);
            return;
        }
        self.over += u64::from(took > BAR);
        self.slowest = self.slowest.max(took);
        let fastest = &mut self.fastest[number as usize];
        *fastest = (*fastest).min(took.as_nanos().min(u32::MAX.into()) as u32);
    }

    /// Prints what one round saw.
    fn end_round(&mut self, round: &str) {
        println!(
            "{round}, {}: slowest {:?}, {} over {BAR:?}; {} met page faults, the slowest {:?}",
            self.what, self.slowest, self.over, self.faults, self.faulting
        );
        (self.slowest, self.faulting) = Default::default();
        (self.over, self.faults) = (0, 0);
    }

    fn forget(&mut self) {
        self.fastest.fill(u32::MAX);
    }

    fn judge(&self) {
        let met = self.fastest.iter().filter(|&&took| took != u32::MAX);
        let slowest = met.max().copied().unwrap_or_default();
        let ms = f64::from(slowest) / 1e6;
        let what = format!("slowest of the {}", self.what);
        verdict(&what, ms, "ms", 0.3, ms <= 0.3);
    }
}

pub(crate) fn run(keys: u64) {
    // What the machine does to an operation that does next to nothing: the error of the rest.
    let mut nothing = Times::new("operations that do nothing", keys);
    let mut insertions = Times::new("insertions", keys);
    let mut removals = Times::new("removals", keys);
    let mut ticks = Times::new("ticks between removals", keys / TICK_EVERY);
    for number in 0..keys {
        nothing.time(number, || {
            black_box(name(number));
        });
    }
    nothing.end_round("control");
    for round in 0..=ROUNDS {
        let hasher = KeyHasher::seeded(1);
        let mut keyspace = keyspace(&hasher);
        for number in 0..keys {
            let db = &mut keyspace.dbs[0];
            insertions.time(number, || set(db, &hasher, number, Expiry::Never));
        }
        for number in 0..keys {
            removals.time(number, || {
                keyspace.dbs[0].remove(key(&hasher, &name(number)));
            });
            if number % TICK_EVERY == TICK_EVERY - 1 {
                ticks.time(number / TICK_EVERY, || {
                    keyspace.tick(&|_| false);
                });
            }
        }
        while keyspace.tick(&|_| false).is_some() {}
        let round = if round == 0 { "fresh memory".into() } else { format!("round {round}") };
        for times in [&mut insertions, &mut removals, &mut ticks] {
            times.end_round(&round);
            if round == "fresh memory" {
                times.forget();
            }
        }
    }
    [insertions, removals, ticks].iter().for_each(Times::judge);
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
