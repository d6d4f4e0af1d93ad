//! What the keyspace costs without sockets: bytes per key, the slowest insertion and removal while
//! it grows and shrinks, and lookups one at a time and in bursts, beside a plain hash table.
//!
//! ```text
//! cargo run --release -p kevy-bench-keyspace -- growth
//! cargo run --release -p kevy-bench-keyspace -- lookups
//! cargo run --release -p kevy-bench-keyspace -- bytes
//! ```
//!
//! Figures are of one thread; pin it to a core of its own with `taskset -c 1`.

mod bytes;
mod growth;
mod lookups;

use clap::{Parser, ValueEnum};
use kevy_keyspace::{Db, Expiry, Keyspace, NoObject};
use kevy_rt::{Key, KeyHasher, Value, testing};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the keyspace without sockets.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure.
    what: What,
    /// Keys, instead of as many as the bars are for.
    #[arg(short = 'r', long)]
    keys: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// The slowest insertion while keys come, and the slowest removal while they go.
    Growth,
    /// Lookups of random keys, one at a time and in bursts.
    Lookups,
    /// Resident bytes for each key.
    Bytes,
}

fn main() {
    let arguments = Arguments::parse();
    match arguments.what {
        What::Growth => growth::run(arguments.keys.unwrap_or(20_000_000)),
        What::Lookups => lookups::run(arguments.keys.unwrap_or(10_000_000)),
        What::Bytes => bytes::run(arguments.keys.unwrap_or(20_000_000)),
    }
}

/// The bytes of a key and of a value.
const KEY_BYTES: usize = 16;
const VALUE: &[u8; 16] = b"sixteen bytes...";

/// The key of a number: digits.
fn name(number: u64) -> [u8; KEY_BYTES] {
    let mut name = *b"key:000000000000";
    let (mut rest, mut at) = (number, KEY_BYTES);
    while rest > 0 {
        at -= 1;
        name[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    name
}

/// A keyspace of one database, at some time.
fn keyspace(hasher: &KeyHasher) -> Keyspace<NoObject> {
    let keyspace = Keyspace::new(1, hasher);
    keyspace.begin(1_700_000_000_000);
    keyspace
}

fn key<'a>(hasher: &KeyHasher, name: &'a [u8]) -> Key<'a> {
    testing::key(name, hasher.hash(name))
}

fn set(db: &mut Db<NoObject>, hasher: &KeyHasher, number: u64, expiry: Expiry) {
    db.set(key(hasher, &name(number)), Value::Slice(VALUE), 0, expiry);
}

/// Random numbers (Steele, Lea and Flood, SplitMix, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// Prints a figure beside its bar.
fn verdict(what: &str, figure: f64, unit: &str, bar: f64, is_met: bool) {
    let met = if is_met { "met" } else { "MISSED" };
    println!("- {what}: {figure:.3} {unit}, bar {bar}: {met}");
}
