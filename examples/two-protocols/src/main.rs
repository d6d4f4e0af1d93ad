//! Redis and memcached on two ports, over the same keys: a string that one sets, the other reads.
//!
//! ```text
//! cargo run --release -p two-protocols                  # ports 6379 and 11211, or two others
//! redis-cli set greeting hello
//! printf 'get greeting\r\nquit\r\n' | nc 127.0.0.1 11211
//! ```
//!
//! Each protocol's command sets say what they need of a store, and neither knows of the other. This
//! store is the Redis server's, and beside it what memcached keeps. Memory is bounded by Redis's
//! `maxmemory`.
#![forbid(unsafe_code)]

use kevy_keyspace::Keyspace;
use kevy_memcached::{Cache, Classic, Control, Items, Meta, Statistics, Text, asks_room};
use kevy_redis::config::Config;
use kevy_redis::store::{Db, Settings, value::Object};
use kevy_redis::{
    client::Client, configuration::Configuration, connection::Connection, info::Info,
    introspection::Introspection, keys::Databases, keys::Keys, moves::Moves, moves::Renames,
    session::Session, strings::Strings, transactions::Transactions,
};
use kevy_resp::Resp;
use kevy_rt::{
    Args, Builder, Changes, CommandInfo, Cx, Has, Key, KeyHasher, Listen, OpenError, Place, Store,
};

/// Keys, with what each protocol keeps beside them.
struct Both {
    redis: kevy_redis::store::Store,
    cache: Cache,
}

impl Store for Both {
    type Settings = Settings;

    fn open(settings: &Settings, place: Place, hasher: &KeyHasher) -> Result<Self, OpenError> {
        let redis = kevy_redis::store::Store::open(settings, place, hasher)?;
        Ok(Both { redis, cache: Cache::new(Default::default(), place, hasher) })
    }

    fn begin(&mut self, now_ms: u64) {
        self.redis.begin(now_ms);
        self.cache.begin(&mut self.redis.keyspace, now_ms);
    }

    fn tick(&mut self, cx: &Cx<'_>) -> Option<u64> {
        let next = self.redis.tick(cx);
        self.cache.begin(&mut self.redis.keyspace, cx.now_ms());
        next.into_iter().chain(self.cache.wait_ms(cx.now_ms())).min()
    }

    /// Room is Redis's to make. A memcached command that gets none says so in its own words.
    fn admit(&mut self, cx: &Cx<'_>, command: &CommandInfo, args: Args<'_>) -> bool {
        let has_room = self.redis.admit(cx, command, args);
        self.cache.set_room(has_room);
        has_room || asks_room(command)
    }

    fn attach(&mut self, changes: &Changes) {
        self.redis.attach(changes);
    }

    fn space(scope: u64) -> u64 {
        <kevy_redis::store::Store as Store>::space(scope)
    }

    fn settle(&mut self, cx: &Cx<'_>, key: Key<'_>) {
        self.redis.settle(cx, key);
    }

    fn prefetch(&self, hash: u64, scope: u64) {
        self.redis.prefetch(hash, scope);
    }

    fn prefetch_record(&self, hash: u64, scope: u64) {
        self.redis.prefetch_record(hash, scope);
    }

    fn placement(key: &[u8]) -> &[u8] {
        <kevy_redis::store::Store as Store>::placement(key)
    }
}

impl Items for Both {
    type Object = Object;

    fn cache(&self) -> &Cache {
        &self.cache
    }

    fn keyspace(&self) -> &Keyspace<Object> {
        &self.redis.keyspace
    }

    fn parts(&mut self) -> (&mut Cache, &mut Keyspace<Object>) {
        (&mut self.cache, &mut self.redis.keyspace)
    }
}

/// The Redis sets find their parts of the store where they are.
macro_rules! has {
    ($($part:ty),+) => { $(
        impl Has<$part> for Both {
            fn part(&self, cx: &Cx<'_>) -> &$part {
                self.redis.part(cx)
            }
            fn part_mut(&mut self, cx: &Cx<'_>) -> &mut $part {
                self.redis.part_mut(cx)
            }
        }
    )+ };
}
has!(Db, Keyspace<Object>, Config, kevy_redis::store::Store);

kevy_rt::server! { Server: store = Both, ports = [
    Resp, Session => [
        Connection, Client, Configuration, Introspection, Info, Strings, Keys, Renames, Moves,
        Databases, Transactions,
    ];
    Text, kevy_memcached::Session => [Classic, Meta, Control, Statistics]
] }

fn main() -> Result<(), kevy_rt::Error> {
    tracing_subscriber::fmt().init();
    let mut ports = std::env::args().skip(1).map_while(|port| port.parse().ok());
    let mut at = |port| Listen::Tcp(([127, 0, 0, 1], ports.next().unwrap_or(port)).into());
    Builder::<Server>::new(Config::default().into())
        .listen(0, at(6379))
        .listen(1, at(11211))
        .start()?
        .join()
}

#[cfg(test)]
mod tests {
    use kevy_rt::sim::Simulation;

    use super::*;

    #[test]
    fn what_one_protocol_writes_the_other_reads() {
        for shards in [1, 2, 5] {
            let settings = Settings::from(Config::default());
            let mut server = Simulation::<Server>::new(&settings, shards, 1);
            let (redis, memcached) = (server.connect(0), server.connect(1));
            let mut calls = |steps: &[(usize, &str, &str)]| {
                for (port, request, reply) in steps {
                    let client = if *port == 0 { redis } else { memcached };
                    let said = server.call(client, request.as_bytes());
                    let said = String::from_utf8_lossy(&said).into_owned();
                    assert_eq!(said, *reply, "{request} on {shards} shards");
                }
            };
            calls(&[
                (0, "MSET a 1 b two\r\n", "+OK\r\n"),
                (1, "get a b c\r\n", "VALUE a 0 1\r\n1\r\nVALUE b 0 3\r\ntwo\r\nEND\r\n"),
                (1, "set c 7 100 5\r\nthree\r\n", "STORED\r\n"),
                (0, "MGET a b c\r\n", "*3\r\n$1\r\n1\r\n$3\r\ntwo\r\n$5\r\nthree\r\n"),
                (0, "TTL c\r\n", ":100\r\n"),
                // Flags go with the value, and with the value they are overwritten.
                (0, "RENAME c d\r\n", "+OK\r\n"),
                (1, "get d\r\n", "VALUE d 7 5\r\nthree\r\nEND\r\n"),
                (0, "APPEND d !\r\n", ":6\r\n"),
                (1, "get d\r\n", "VALUE d 0 6\r\nthree!\r\nEND\r\n"),
                (1, "incr a 41\r\n", "42\r\n"),
                (0, "INCR a\r\n", ":43\r\n"),
                (1, "flush_all\r\n", "OK\r\n"),
                (0, "DBSIZE\r\n", ":0\r\n"),
            ]);
        }
    }

    #[test]
    fn a_unique_number_stands_for_what_redis_has_written() {
        let settings = Settings::from(Config::default());
        let mut server = Simulation::<Server>::new(&settings, 2, 1);
        let (redis, memcached) = (server.connect(0), server.connect(1));
        server.call(redis, b"SET a 1\r\n");
        let said = server.call(memcached, b"gets a\r\n");
        let said = String::from_utf8_lossy(&said).into_owned();
        let unique = said.split([' ', '\r']).nth(4).expect("a number").to_owned();
        let cas = |value: u8| format!("cas a 0 0 1 {unique}\r\n{value}\r\n").into_bytes();
        server.call(redis, b"SET a 2\r\n");
        assert_eq!(server.call(memcached, &cas(3)), b"EXISTS\r\n");
        server.call(redis, b"SET a 1\r\n");
        assert_eq!(server.call(memcached, &cas(3)), b"STORED\r\n");
        assert_eq!(server.call(redis, b"GET a\r\n"), b"$1\r\n3\r\n");
    }
}
