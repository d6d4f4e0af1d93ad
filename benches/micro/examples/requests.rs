//! Runs requests in process, to count their instructions:
//!
//! ```text
//! cargo build --release -p kevy-bench-micro --example requests
//! for rounds in 20 60; do
//!     valgrind --tool=callgrind --callgrind-out-file=/dev/null \
//!         target/release/examples/requests $rounds 1 get 2>&1 | grep Collected
//! done
//! ```
//!
//! The difference, divided by 40 rounds of 512 requests, is what one costs, the simulated network
//! (some 1,400 of a GET) included. Arguments: rounds, shards, and `get`, `set`, or of ten keys each
//! `mget`, `mset`. Some clients send 16 requests at once each.

use std::env;
use std::fmt::Write;

use kevy_redis::Redis;
use kevy_redis::config::Config;
use kevy_redis::store::Settings;
use kevy_rt::sim::{Client, Simulation};

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const REQUESTS: usize = 512;
const KEYS: usize = 100_000;

/// Requests that a client sends at once.
const DEPTH: usize = 16;

/// Keys of a request of several.
const SEVERAL: usize = 10;

/// Adds a request.
fn request(out: &mut String, words: &[String]) {
    let _ = write!(out, "*{}\r\n", words.len());
    words.iter().for_each(|word| {
        let _ = write!(out, "${}\r\n{word}\r\n", word.len());
    });
}

fn key(n: usize) -> String {
    format!("key:{:012}", n * 7919 % KEYS)
}

/// A request of the given verb, and how long its reply is.
fn words(verb: &str, n: usize) -> (Vec<String>, usize) {
    let several = |n| (0..SEVERAL).map(move |other| key(n * SEVERAL + other));
    let with_value = |key| [key, "yyy".to_string()];
    let verb = verb.to_uppercase();
    match verb.as_str() {
        "SET" => ([verb].into_iter().chain(with_value(key(n))).collect(), "+OK\r\n".len()),
        "MSET" => {
            let pairs = several(n).flat_map(with_value);
            ([verb].into_iter().chain(pairs).collect(), "+OK\r\n".len())
        }
        "MGET" => {
            let reply = "*10\r\n".len() + SEVERAL * "$3\r\nyyy\r\n".len();
            ([verb].into_iter().chain(several(n)).collect(), reply)
        }
        _ => (vec!["GET".to_string(), key(n)], "$3\r\nyyy\r\n".len()),
    }
}

fn main() {
    let mut args = env::args().skip(1);
    let mut number = |default| args.next().and_then(|word| word.parse().ok()).unwrap_or(default);
    let (rounds, shards) = (number(20), number(1));
    let verb = env::args().nth(3).unwrap_or_else(|| "get".to_string());

    let mut server = Simulation::<Redis>::new(&Settings::from(Config::default()), shards, 0);
    let clients: Vec<Client> = (0..REQUESTS / DEPTH).map(|_| server.connect(0)).collect();
    let mut fill = String::new();
    (0..KEYS).for_each(|n| request(&mut fill, &words("set", n).0));
    server.call(clients[0], fill.as_bytes());

    let mut bursts = vec![(String::new(), 0); clients.len()];
    for n in 0..REQUESTS {
        let (burst, reply) = &mut bursts[n / DEPTH];
        let (words, len) = words(&verb, n);
        request(burst, &words);
        *reply += len;
    }
    for _ in 0..rounds {
        clients.iter().zip(&bursts).for_each(|(&client, (burst, _))| {
            server.send(client, burst.as_bytes());
        });
        let mut owed: Vec<usize> = bursts.iter().map(|(_, reply)| *reply).collect();
        while owed.iter().any(|&bytes| bytes > 0) {
            for _ in 0..shards {
                server.step();
            }
            for (owed, &client) in owed.iter_mut().zip(&clients) {
                *owed -= server.receive(client).len();
            }
        }
    }
}
