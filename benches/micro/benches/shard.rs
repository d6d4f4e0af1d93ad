//! A shard without sockets: looking a verb up, and a pipeline whose keys are this shard's or
//! others'. What a request costs more on several shards is its way through a batch.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kevy_redis::Redis;
use kevy_redis::config::Config;
use kevy_rt::Commands;
use kevy_rt::sim::Simulation;

fn table(criterion: &mut Criterion) {
    let table = &Redis::ports()[0].table;
    let mut group = criterion.benchmark_group("table lookup");
    for verb in ["get", "INCRBYFLOAT", "nothing"] {
        group.bench_function(verb, |bencher| {
            bencher.iter(|| table.command(black_box(verb.as_bytes())).is_some());
        });
    }
    group.finish();
}

/// Requests of one pipeline.
const DEPTH: u64 = 1000;

fn hop(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pipeline through the stages");
    group.throughput(Throughput::Elements(DEPTH));
    let get = |key: u64| format!("*2\r\n$3\r\nGET\r\n$16\r\nkey:{key:012}\r\n");
    let requests: String = (0..DEPTH).map(get).collect();
    for shards in [1, 2, 5] {
        let mut server = Simulation::<Redis>::new(&Config::default().into(), shards, 1);
        let client = server.connect(0);
        for key in 0..DEPTH {
            let set = format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:{key:012}\r\n$1\r\nv\r\n");
            server.send(client, set.as_bytes());
        }
        server.run();
        server.receive(client);
        let name = BenchmarkId::new("get", format!("{shards} shards"));
        group.bench_function(name, |bencher| {
            bencher.iter(|| server.call(client, requests.as_bytes()).len());
        });
    }
    group.finish();
}

criterion_group!(benches, table, hop);
criterion_main!(benches);
