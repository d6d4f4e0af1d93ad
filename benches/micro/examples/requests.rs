//! Runs requests of one shard in process, to count their instructions:
//!
//! ```text
//! cargo build --release -p kevy-bench-micro --example requests
//! for rounds in 20 60; do
//!     valgrind --tool=callgrind --callgrind-out-file=/dev/null \
//!         target/release/examples/requests $rounds 1 get 2>&1 | grep Collected
//! done
//! ```
//!
//! The difference, divided by 40 rounds of 500 requests, is what one costs, the simulated network
//! (some 1,400 of it) included. Arguments: rounds, shards, `get` or `set`.

use std::env;

use kevy_redis::Redis;
use kevy_redis::config::Config;
use kevy_redis::store::Settings;
use kevy_rt::sim::Simulation;

const REQUESTS: usize = 500;

fn main() {
    let mut args = env::args().skip(1);
    let mut number = |default| args.next().and_then(|word| word.parse().ok()).unwrap_or(default);
    let (rounds, shards) = (number(20), number(1));
    let writes = env::args().nth(3).is_some_and(|word| word == "set");

    let mut server = Simulation::<Redis>::new(&Settings::from(Config::default()), shards, 0);
    let client = server.connect(0);
    let key = |n: usize| format!("key:{:012}", n * 7919 % 1000);
    let set = |n, value| format!("*3\r\n$3\r\nSET\r\n$16\r\n{}\r\n$3\r\n{value}\r\n", key(n));
    let fill: String = (0..1000).map(|n| set(n, "xxx")).collect();
    server.call(client, fill.as_bytes());

    let get = |n| format!("*2\r\n$3\r\nGET\r\n$16\r\n{}\r\n", key(n));
    let burst: String =
        (0..REQUESTS).map(|n| if writes { set(n, "yyy") } else { get(n) }).collect();
    let reply = if writes { "+OK\r\n".len() } else { "$3\r\nxxx\r\n".len() };
    for _ in 0..rounds {
        server.send(client, burst.as_bytes());
        let mut received = 0;
        while received < REQUESTS * reply {
            server.step();
            received += server.receive(client).len();
        }
    }
}
