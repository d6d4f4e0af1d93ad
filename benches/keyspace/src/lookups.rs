//! Lookups of random keys: one at a time, in bursts of 32, and in a plain hash table of boxed
//! records; each without and with some work beside, as a server has.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::hint::black_box;
use std::time::Instant;

use kevy_keyspace::{Db, Expiry, NoObject};
use kevy_rt::{KeyHasher, testing};

use crate::{KEY_BYTES, Random, VALUE, keyspace, name, set, verdict};

const BURST: usize = 32;
const LOOKUPS: usize = 4_000_000;
const ROUNDS: usize = 5;

/// Steps of a chain of multiplications: some 40 ns.
const WORK: u32 = 40;

/// A record of its own allocation, found by its key.
struct Boxed(Box<([u8; KEY_BYTES], [u8; 16])>);

impl Borrow<[u8]> for Boxed {
    fn borrow(&self) -> &[u8] {
        &self.0.0
    }
}

impl Hash for Boxed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.0[..].hash(state);
    }
}

impl PartialEq for Boxed {
    fn eq(&self, other: &Self) -> bool {
        self.0.0 == other.0.0
    }
}

impl Eq for Boxed {}

pub(crate) fn run(keys: u64) {
    let hasher = KeyHasher::random();
    let mut keyspace = keyspace(&hasher);
    (0..keys).for_each(|number| set(&mut keyspace.dbs[0], &hasher, number, Expiry::Never));
    let db = &keyspace.dbs[0];
    let mut table = HashSet::with_hasher(ahash::RandomState::new());
    table.extend((0..keys).map(|number| Boxed(Box::new((name(number), *VALUE)))));

    for work in [0, WORK] {
        let (mut plain, mut single, mut burst) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS as u64 {
            let seed = round << 32;
            plain.push(time(keys, seed, |names| {
                for name in names {
                    let found = table.get(&name[..]);
                    black_box(found.map(|boxed| boxed.0.1[0]));
                    beside(work);
                }
            }));
            single.push(time(keys, seed, |names| {
                names.iter().for_each(|name| look_up(db, name, hasher.hash(name), work));
            }));
            burst.push(time(keys, seed, |names| {
                let mut hashes = [0; BURST];
                for (hash, name) in hashes.iter_mut().zip(names) {
                    *hash = hasher.hash(name);
                }
                hashes.iter().for_each(|&hash| db.prefetch(hash));
                hashes.iter().for_each(|&hash| db.prefetch_record(hash));
                names.iter().zip(hashes).for_each(|(name, hash)| look_up(db, name, hash, work));
            }));
        }
        let [plain, single, burst] = [plain, single, burst].map(median);
        println!(
            "{keys} keys, work {work}: hash table {plain:.0} ns, one at a time {single:.0} ns, \
             bursts of {BURST} {burst:.0} ns"
        );
        let ratio = single / plain;
        verdict("one at a time / hash table", ratio, "", 1.0, ratio <= 1.0);
        if work > 0 {
            verdict(
                "bursts, lookups per second",
                single / burst,
                "times",
                2.5,
                single / burst >= 2.5,
            );
        }
    }
}

#[inline]
fn look_up(db: &Db<NoObject>, name: &[u8], hash: u64, work: u32) {
    let found = db.get(testing::key(name, hash));
    black_box(found.map(|value| value.bytes()[0]));
    beside(work);
}

/// What else a request takes: each step needs the one before.
#[inline]
fn beside(steps: u32) {
    let mut value = black_box(steps as u64);
    for _ in 0..steps {
        value = value.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 1;
    }
    black_box(value);
}

/// Nanoseconds for each of many random keys, given in bursts.
fn time(keys: u64, seed: u64, mut look: impl FnMut(&[[u8; KEY_BYTES]; BURST])) -> f64 {
    let mut random = Random(seed);
    let started = Instant::now();
    for _ in 0..LOOKUPS / BURST {
        let names = std::array::from_fn(|_| name(random.next() % keys));
        look(&names);
    }
    started.elapsed().as_nanos() as f64 / LOOKUPS as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
