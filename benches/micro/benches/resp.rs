//! RESP: parsing requests, writing replies. Times are per request, or per reply.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kevy_resp::{Dialect, Double, Resp, Writer};
use kevy_rt::testing::clear;
use kevy_rt::{BURST_REQUESTS, Burst, Limits, Out, Reply, Resume, Value, Wire};

/// A request as a client sends it.
fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        request.extend_from_slice(arg);
        request.extend_from_slice(b"\r\n");
    }
    request
}

/// Parses all of `input`, burst by burst, as a shard does.
fn parse(input: &[u8], burst: &mut Burst) {
    let limits = Limits::default().parse;
    let mut resume = Resume::default();
    let mut rest = black_box(input);
    while !rest.is_empty() {
        clear(burst);
        let parsed = Resp::parse(rest, &mut resume, &limits, burst);
        assert!(parsed.is_ok() && burst.consumed() > 0);
        rest = &rest[burst.consumed()..];
    }
}

fn parsing(criterion: &mut Criterion) {
    let key = b"key:000000123456";
    let large = vec![b'x'; 64 * 1024];
    let many = vec![&key[..]; 1000];
    let requests: [(&str, Vec<u8>); 9] = [
        ("ping", request(&[b"PING"])),
        ("ping, inline", b"PING\r\n".to_vec()),
        ("get, key of 16", request(&[b"GET", key])),
        ("set, key and value of 16", request(&[b"SET", key, &[b'x'; 16]])),
        ("set, value of 100", request(&[b"SET", key, &[b'x'; 100]])),
        ("set, value of 4096", request(&[b"SET", key, &[b'x'; 4096]])),
        ("set, value of 65536", request(&[b"SET", key, &large])),
        ("three of 8", request(&[&[b'x'; 8][..]; 3])),
        ("del, 1000 keys of 16", request(&[&[&b"DEL"[..]], &many[..]].concat())),
    ];
    let mut group = criterion.benchmark_group("resp parse");
    for (name, request) in &requests {
        for depth in [1, BURST_REQUESTS] {
            let input = request.repeat(depth);
            let mut burst = Burst::default();
            group.throughput(Throughput::Elements(depth as u64));
            group.bench_function(BenchmarkId::new(*name, depth), |bencher| {
                bencher.iter(|| parse(&input, &mut burst));
            });
        }
    }
    group.finish();
}

/// Replies written between two times that the output is emptied.
const REPLIES: usize = 32;

fn writing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resp encode");
    group.throughput(Throughput::Elements(REPLIES as u64));
    let mut out = Out::default();
    let mut bench = |name: &str, write: &dyn Fn(&mut Reply<'_, Resp>)| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                for _ in 0..REPLIES {
                    let out = black_box(&mut out);
                    write(&mut Reply::in_scope(out, Dialect::default()));
                }
            });
        });
    };
    let bytes = [b'x'; 5000];
    bench("ok", &|reply| reply.put(()));
    bench("null", &|reply| reply.put(None::<i64>));
    bench("integer of 1 digit", &|reply| reply.put(black_box(7_i64)));
    bench("integer of 10 digits", &|reply| reply.put(black_box(1_234_567_890_i64)));
    for len in [3, 16, 100, 5000] {
        let name = format!("bulk of {len}");
        bench(&name, &|reply| reply.put(Value::Slice(black_box(&bytes[..len]))));
    }
    bench("double", &|reply| reply.put(Double(black_box(0.1))));
    bench("list of 10 bulks of 16", &|reply| {
        reply.array(10);
        for _ in 0..10 {
            reply.bulk(black_box(&bytes[..16]));
        }
    });
    group.finish();
}

criterion_group!(benches, parsing, writing);
criterion_main!(benches);
