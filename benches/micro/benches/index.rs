//! The index of a database: keys found one at a time, and in bursts whose cache lines are asked for
//! ahead, as a shard does.
//!
//! ```text
//! cargo bench -p kevy-bench-micro --bench index
//! ```
//!
//! Keys and values have 16 bytes. A figure is the time of one burst of 32, in random order over all
//! keys. In small tables both ways should cost the same: nothing is asked for there.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use kevy_redis::store::index::Index;
use kevy_redis::store::record::{Form, Record};
use kevy_rt::{BURST_REQUESTS, Value};

const SIZES: [usize; 5] = [1_000, 10_000, 30_000, 100_000, 1_000_000];

#[derive(Clone, Copy)]
struct Key {
    hash: u64,
    bytes: [u8; 16],
}

/// Splitmix64.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

fn key(number: usize) -> Key {
    let hash = mix(number as u64);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&hash.to_le_bytes());
    bytes[8..].copy_from_slice(&mix(hash).to_le_bytes());
    Key { hash, bytes }
}

fn record(key: &Key) -> Record {
    Record::new(key.hash as u32, &key.bytes, Value::Slice(&key.bytes), Form::Whole)
}

fn filled(keys: &[Key]) -> Index {
    let mut index = Index::default();
    for key in keys {
        index.insert(record(key));
    }
    index
}

/// Keys that are there, in an order that has nothing to do with that in which they came.
fn requests(size: usize) -> Vec<[Key; BURST_REQUESTS]> {
    let bursts = (size / BURST_REQUESTS).clamp(64, 8192);
    let at = |burst: usize, index: usize| mix((burst * BURST_REQUESTS + index) as u64 + 1);
    let burst = |burst| std::array::from_fn(|index| key(at(burst, index) as usize % size));
    (0..bursts).map(burst).collect()
}

fn look_up(index: &Index, key: &Key) {
    black_box(index.find(key.hash, &key.bytes).map(|id| index.get(id).value().bytes()));
}

fn prefetch(index: &Index, burst: &[Key]) {
    burst.iter().for_each(|key| index.prefetch(key.hash));
    burst.iter().for_each(|key| index.prefetch_record(key.hash));
}

/// Runs `work` on one burst after the other.
fn bursts(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    size: usize,
    requests: &[[Key; BURST_REQUESTS]],
    mut work: impl FnMut(&[Key; BURST_REQUESTS]),
) {
    let mut turn = requests.iter().cycle();
    group.throughput(Throughput::Elements(BURST_REQUESTS as u64));
    group.bench_function(BenchmarkId::new(name, size), |bencher| {
        bencher.iter(|| turn.next().into_iter().for_each(&mut work));
    });
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("index");
    for size in SIZES {
        let keys: Vec<Key> = (0..size).map(key).collect();
        let requests = requests(size);
        let mut index = filled(&keys);
        bursts(&mut group, "get", size, &requests, |burst| {
            burst.iter().for_each(|key| look_up(&index, key));
        });
        bursts(&mut group, "get/prefetched", size, &requests, |burst| {
            prefetch(&index, burst);
            burst.iter().for_each(|key| look_up(&index, key));
        });
        bursts(&mut group, "remove and insert", size, &requests, |burst| {
            burst.iter().for_each(|key| replace(&mut index, key));
        });
        bursts(&mut group, "remove and insert/prefetched", size, &requests, |burst| {
            prefetch(&index, burst);
            burst.iter().for_each(|key| replace(&mut index, key));
        });
        group.throughput(Throughput::Elements(size as u64));
        group.sample_size(10).bench_function(BenchmarkId::new("fill", size), |bencher| {
            bencher.iter_batched(|| (), |()| filled(&keys), BatchSize::PerIteration);
        });
        group.sample_size(50);
    }
    group.finish();
}

fn replace(index: &mut Index, key: &Key) {
    if let Some(id) = index.find(key.hash, &key.bytes) {
        let record = index.remove(id);
        index.insert(record);
    }
}

criterion_group!(all, benches);
criterion_main!(all);
