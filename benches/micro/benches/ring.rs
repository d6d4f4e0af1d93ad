//! The mesh between two threads: items that go one way, and batches that go there and back.
//!
//! ```text
//! cargo bench -p kevy-bench-micro --bench ring
//! ```
//!
//! Each thread wants a core of its own. `one_way/N` is the time of N items and one publish,
//! `round_trip/N` that of one batch of N requests of 48 bytes, which are all written on both sides.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kevy_rt::Mesh;

/// A batch as shards send it: one allocation, answered in place and sent back.
type Batch = Box<[[u64; 6]]>;

const BATCHES: [u64; 3] = [1, 16, 64];

/// `batches` publishes of `batch` items, until the last one is received.
fn one_way(batches: u64, batch: u64) -> Duration {
    let [mut left, mut right] = pair::<u64>();
    thread::scope(|scope| {
        let receiver = scope.spawn(move || {
            let mut received = 0;
            while received < batches * batch {
                if right.look(0) == 0 {
                    spin_loop();
                }
                while let Some(item) = right.receive(0) {
                    black_box(item);
                    received += 1;
                }
            }
        });
        let start = Instant::now();
        for _ in 0..batches {
            for item in 0..batch {
                left.send(1, item);
            }
            left.publish(drop);
            while left.has_backlog() {
                spin_loop();
                left.publish(drop);
            }
        }
        receiver.join().expect("the receiver");
        start.elapsed()
    })
}

/// `trips` times a batch of `requests` to the other thread and back.
fn round_trip(trips: u64, requests: u64) -> Duration {
    let [mut left, mut right] = pair::<Batch>();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let is_over = &is_over;
        scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                if right.look(0) == 0 {
                    spin_loop();
                }
                while let Some(mut batch) = right.receive(0) {
                    batch.iter_mut().for_each(|request| request[0] += request[5]);
                    right.send(0, batch);
                }
                right.publish(drop);
            }
        });
        let mut batch: Batch = (0..requests).map(|request| [request; 6]).collect();
        let start = Instant::now();
        for _ in 0..trips {
            batch.iter_mut().for_each(|request| request[5] += 1);
            left.send(1, batch);
            left.publish(drop);
            while left.look(1) == 0 {
                spin_loop();
            }
            batch = left.receive(1).expect("looked");
        }
        let took = start.elapsed();
        is_over.store(true, Ordering::Relaxed);
        took
    })
}

fn pair<T: Send>() -> [Mesh<T>; 2] {
    Mesh::connect(2).try_into().ok().expect("two shards")
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mesh/one_way");
    for batch in BATCHES {
        group.throughput(Throughput::Elements(batch));
        group.bench_function(batch.to_string(), |bencher| {
            bencher.iter_custom(|batches| one_way(batches, batch));
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("mesh/round_trip");
    for batch in BATCHES {
        group.throughput(Throughput::Elements(batch));
        group.bench_function(batch.to_string(), |bencher| {
            bencher.iter_custom(|trips| round_trip(trips, batch));
        });
    }
    group.finish();
}

criterion_group!(ring, benches);
criterion_main!(ring);
