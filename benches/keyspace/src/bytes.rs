//! Resident bytes for each key, beyond key and value.

use std::fs;

use kevy_keyspace::Expiry;
use kevy_rt::KeyHasher;

use crate::{KEY_BYTES, VALUE, keyspace, set, verdict};

/// Where figures are taken.
const STEP: u64 = 250_000;

/// Grows to `keys` and tells the most bytes per key from a quarter of them on; then the same with
/// expiries at half as many.
pub(crate) fn run(keys: u64) {
    let hasher = KeyHasher::random();
    let started = resident();
    let mut keyspace = keyspace(&hasher);
    let (mut worst, mut worst_at) = (0.0f64, 0);
    for number in 0..keys {
        set(&mut keyspace.dbs[0], &hasher, number, Expiry::Never);
        let count = number + 1;
        if count.is_multiple_of(STEP.min(keys)) && count >= keys / 4 {
            let over = overhead(started, count);
            println!("{count} keys: {over:.1} bytes over, counted {:.1}", {
                keyspace.memory() as f64 / count as f64 - (KEY_BYTES + VALUE.len()) as f64
            });
            if over > worst {
                (worst, worst_at) = (over, count);
            }
        }
    }
    let what = format!("most bytes for each key over key and value, at {worst_at} keys");
    verdict(&what, worst, "bytes", 28.0, worst <= 28.0);

    let half = keys / 2;
    keyspace.clear();
    while keyspace.tick(&|_| false).is_some() {}
    drop(keyspace);
    let mut plain = crate::keyspace(&hasher);
    (0..half).for_each(|number| set(&mut plain.dbs[0], &hasher, number, Expiry::Never));
    let counted_plain = plain.memory() as f64 / half as f64;
    drop(plain);
    let mut keyspace = crate::keyspace(&hasher);
    let at = Expiry::At(1_800_000_000_000);
    (0..half).for_each(|number| set(&mut keyspace.dbs[0], &hasher, number, at));
    let more = keyspace.memory() as f64 / half as f64 - counted_plain;
    verdict("bytes more with an expiry, counted", more, "bytes", 8.0, more <= 8.0);
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it is there");
    let kib: u64 = line.split_whitespace().nth(1).expect("a figure").parse().expect("digits");
    kib * 1024
}

fn overhead(started: u64, keys: u64) -> f64 {
    (resident() - started) as f64 / keys as f64 - (KEY_BYTES + VALUE.len()) as f64
}
