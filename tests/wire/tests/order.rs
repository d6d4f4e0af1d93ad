//! Replies of one connection come in the order of its requests, whatever shards they are for.
//!
//! Each connection has keys of its own and a model of them, so every reply is known in advance. It
//! sends random pipelines cut into random pieces, beside others that do the same, and beside
//! connections that are dropped at any moment. Afterwards nothing of all this is left in the
//! server: no file, no client, no memory. `KEVY_WIRE_SEED` repeats a run.

use std::collections::BTreeMap;

use kevy_wire_tests::{Client, Random, Reply, Server, effort, encode, matrix, wait_until};

/// Connections that run at once.
const CONNECTIONS: usize = 6;

/// What a reply has to be.
enum Expected {
    Exactly(Reply),
    /// Of the keys of this connection, in any order.
    Sorted(Vec<Reply>),
    /// A number that others have a part in.
    AnyInteger,
}

impl Expected {
    fn assert(&self, reply: &Reply, place: &str) {
        match self {
            Self::Exactly(expected) => {
                assert!(reply == expected, "{place}: {} for {}", shown(reply), shown(expected));
            }
            Self::Sorted(expected) => {
                let mut keys = reply.elements().to_vec();
                keys.sort();
                assert_eq!(&keys, expected, "{place}");
            }
            Self::AnyInteger => assert!(matches!(reply, Reply::Integer(_)), "{place}: {reply:?}"),
        }
    }
}

/// A reply as text that does not fill the screen.
fn shown(reply: &Reply) -> String {
    let mut text = format!("{reply:?}");
    text.truncate(300);
    text
}

/// The keys of one connection as they should be, and a source of requests for them.
struct Model {
    name: String,
    random: Random,
    values: BTreeMap<String, Vec<u8>>,
    sent: u64,
}

impl Model {
    fn new(name: String, seed: u64) -> Self {
        Self { name, random: Random::new(seed), values: BTreeMap::new(), sent: 0 }
    }

    /// A request and the reply it has to have after all before it.
    fn request(&mut self) -> (Vec<u8>, Expected) {
        self.sent += 1;
        let key = self.key();
        let (command, reply) = match self.random.below(40) {
            0..8 => {
                let id = format!("{} {}", self.name, self.sent);
                (vec!["ECHO".into(), id.clone()], Reply::bulk(id))
            }
            8..17 => {
                let value = self.value();
                self.values.insert(key.clone(), value.clone().into_bytes());
                (vec!["SET".into(), key, value], Reply::ok())
            }
            17..25 => {
                let reply = self.get(&key);
                (vec!["GET".into(), key], reply)
            }
            25..29 => {
                let reply = self.incr(&key);
                (vec!["INCR".into(), key], reply)
            }
            29..32 => {
                let keys = self.keys();
                let values = keys.iter().map(|key| self.get(key)).collect();
                (named("MGET", keys), Reply::Array(values))
            }
            32..34 => {
                let keys = self.keys();
                let gone = keys.iter().filter(|key| self.values.remove(*key).is_some()).count();
                (named("DEL", keys), Reply::Integer(gone as i64))
            }
            34 => {
                let keys = self.keys();
                let pairs = keys.into_iter().flat_map(|key| {
                    let value = self.value();
                    self.values.insert(key.clone(), value.clone().into_bytes());
                    [key, value]
                });
                let pairs = pairs.collect();
                (named("MSET", pairs), Reply::ok())
            }
            35 => {
                let keys = self.keys();
                let there = keys.iter().filter(|key| self.values.contains_key(*key)).count();
                (named("EXISTS", keys), Reply::Integer(there as i64))
            }
            36 => {
                let value = self.values.entry(key.clone()).or_default();
                value.extend_from_slice(b"+tail");
                let len = value.len() as i64;
                (vec!["APPEND".into(), key, "+tail".into()], Reply::Integer(len))
            }
            37 => {
                let reply = self.values.remove(&key).map_or(Reply::Nil, Reply::Bulk);
                (vec!["GETDEL".into(), key], reply)
            }
            38 => {
                let error = b"ERR wrong number of arguments for 'get' command".to_vec();
                (vec!["GET".into()], Reply::Error(error))
            }
            _ if self.random.one_in(4) => return self.all_keys(),
            _ => return (encode(["DBSIZE"]), Expected::AnyInteger),
        };
        (encode(command), Expected::Exactly(reply))
    }

    fn all_keys(&self) -> (Vec<u8>, Expected) {
        let keys = self.values.keys().map(Reply::bulk).collect();
        (encode(["KEYS".to_owned(), format!("{}:*", self.name)]), Expected::Sorted(keys))
    }

    fn key(&mut self) -> String {
        format!("{}:{}", self.name, self.random.below(40))
    }

    fn keys(&mut self) -> Vec<String> {
        (0..=self.random.below(10)).map(|_| self.key()).collect()
    }

    /// Mostly small, a number or not; now and then one that takes several reads.
    fn value(&mut self) -> String {
        match self.random.below(60) {
            0 => "large".repeat(self.random.below(40_000)),
            1..5 => "middling".repeat(self.random.below(300)),
            5..30 => self.random.between(-1000, 1000).to_string(),
            _ => format!("{} {}", self.name, self.sent),
        }
    }

    fn get(&self, key: &str) -> Reply {
        self.values.get(key).map_or(Reply::Nil, Reply::bulk)
    }

    fn incr(&mut self, key: &str) -> Reply {
        let value = self.values.entry(key.to_owned()).or_insert_with(|| b"0".to_vec());
        match std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok()) {
            Some(number) => {
                *value = (number + 1).to_string().into_bytes();
                Reply::Integer(number + 1)
            }
            None => Reply::Error(b"ERR value is not an integer or out of range".to_vec()),
        }
    }
}

fn named(verb: &str, arguments: Vec<String>) -> Vec<String> {
    [verb.to_owned()].into_iter().chain(arguments).collect()
}

/// Sends bytes in random pieces, mostly a few hundred bytes long.
fn send_in_pieces(
    send: &mut impl FnMut(&[u8]) -> std::io::Result<()>,
    mut bytes: &[u8],
    random: &mut Random,
) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let most = random.pick(&[1, 20, 500, 5000, 100_000]);
        let (piece, rest) = bytes.split_at((1 + random.below(most)).min(bytes.len()));
        send(piece)?;
        bytes = rest;
    }
    Ok(())
}

/// Random pipelines on one connection; every reply is looked at.
fn talk(server: &Server, name: String, seed: u64, pipelines: usize, place: &str) {
    let mut client = server.connect();
    let mut model = Model::new(name, seed);
    let mut random = Random::new(!seed);
    for _ in 0..pipelines {
        let most = random.pick(&[1, 10, 100, 700]);
        let depth = 1 + random.below(most);
        let (bytes, expected): (Vec<_>, Vec<_>) = (0..depth).map(|_| model.request()).unzip();
        let bytes = bytes.concat();
        let mut writer = client.writer();
        let mut cuts = random.clone();
        random.word();
        // Written and read at once: neither side may have room for all of it.
        let received = std::thread::scope(|scope| {
            scope.spawn(move || {
                send_in_pieces(&mut |piece| writer.send_raw(piece), &bytes, &mut cuts)
            });
            client.receive_all(depth).unwrap_or_else(|failure| panic!("{place}: {failure:?}"))
        });
        for (at, (received, expected)) in received.iter().zip(&expected).enumerate() {
            expected
                .assert(&received.reply, &format!("{place}, seed {seed}, reply {at} of {depth}"));
        }
    }
}

/// Talks on several connections at once, each with keys of its own.
fn talk_on_several(server: &Server, seed: u64, pipelines: usize, place: &str) {
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let seed = seed + connection as u64;
            scope.spawn(move || {
                talk(server, format!("c{connection}-{seed}"), seed, pipelines, place);
            });
        }
    });
}

/// Opens connections, sends a part of a pipeline, perhaps waits for the first of the replies, and
/// goes.
fn drop_connections(server: &Server, seed: u64, count: usize) {
    // More than a socket holds would wait for a server that waits for a reader.
    const MOST: usize = 100_000;
    let mut random = Random::new(seed);
    let mut model = Model::new(format!("dropped-{seed}"), seed);
    for _ in 0..count {
        let requests: Vec<Vec<u8>> =
            (0..1 + random.below(300)).map(|_| model.request().0).collect();
        let first = requests[0].len();
        let mut bytes = requests.concat();
        bytes.truncate(random.below(bytes.len().min(MOST)));
        let mut client = server.connect();
        let mut send = |piece: &[u8]| client.send_raw(piece);
        send_in_pieces(&mut send, &bytes, &mut random).expect("the server takes what is sent");
        if bytes.len() >= first && random.one_in(2) {
            client.read_until(|input| !input.is_empty()).expect("the first reply");
        }
    }
}

#[test]
fn replies_come_in_order() {
    for (at, setup) in matrix().into_iter().enumerate() {
        let server = Server::ours(setup);
        let seed = Random::seed_or(100 * at as u64);
        talk_on_several(&server, seed, effort(80), &setup.to_string());
    }
}

#[test]
fn a_deep_pipeline_comes_back_in_order() {
    const DEPTH: usize = 50_000;
    for setup in matrix() {
        let server = Server::ours(setup);
        let mut client = server.connect();
        let count = effort(DEPTH);
        let bytes: Vec<u8> = (0..count)
            .flat_map(|i| match i % 3 {
                0 => encode(["SET".to_owned(), format!("k{}", i % 1000), i.to_string()]),
                1 => encode(["GET".to_owned(), format!("k{}", (i - 1) % 1000)]),
                _ => encode(["ECHO".to_owned(), i.to_string()]),
            })
            .collect();
        let mut writer = client.writer();
        let received = std::thread::scope(|scope| {
            scope.spawn(move || writer.send_raw(&bytes));
            client.receive_all(count).unwrap_or_else(|failure| panic!("{setup}: {failure:?}"))
        });
        for (i, received) in received.iter().enumerate() {
            let expected = match i % 3 {
                0 => Reply::ok(),
                1 => Reply::bulk((i - 1).to_string()),
                _ => Reply::bulk(i.to_string()),
            };
            assert_eq!(received.reply, expected, "{setup}, reply {i}");
        }
    }
}

/// How many clients the server thinks it has.
fn connected_clients(client: &mut Client) -> String {
    let info = client.call(["INFO", "clients"]).text();
    let line = info.lines().find_map(|line| line.strip_prefix("connected_clients:"));
    line.expect("a line of its clients").to_owned()
}

#[test]
fn dropped_connections_leave_nothing_behind() {
    const ROUNDS: u64 = 4;
    // The allocator may keep what a round had at its height, and rounds differ.
    const GROWTH: u64 = 64 << 20;
    for setup in matrix() {
        let server = Server::ours(setup);
        let mut watcher = server.connect();
        wait_until("the watcher is alone", || {
            (connected_clients(&mut watcher) == "1").then_some(())
        });
        let files = server.open_files();
        let mut resident = 0;
        for round in 0..ROUNDS {
            let seed = Random::seed_or(0) + 1000 * round;
            std::thread::scope(|scope| {
                let server = &server;
                for dropper in 0..3 {
                    scope.spawn(move || drop_connections(server, seed + dropper, effort(120)));
                }
                let place = setup.to_string();
                scope.spawn(move || talk_on_several(server, seed + 10, effort(8), &place));
            });
            assert_eq!(watcher.call(["FLUSHALL"]), Reply::ok(), "{setup}");
            wait_until("the watcher is alone again", || {
                (connected_clients(&mut watcher) == "1").then_some(())
            });
            wait_until("the files of the dropped connections are closed", || {
                (server.open_files() <= files).then_some(())
            });
            if round == 1 {
                resident = server.resident_bytes();
            }
        }
        let grown = server.resident_bytes().saturating_sub(resident);
        assert!(grown < GROWTH, "{setup}: {} MiB more", grown >> 20);
    }
}

/// Each connection's requests stay whole when many come and go at once.
#[test]
fn many_connections_at_once() {
    for setup in matrix() {
        let server = Server::ours(setup);
        let mut clients: Vec<Client> = (0..effort(200)).map(|_| server.connect()).collect();
        for round in 0..3 {
            for (at, client) in clients.iter_mut().enumerate() {
                let (key, value) = (format!("k{at}"), format!("{at}.{round}"));
                client.send(["SET", &key, &value]);
                client.send(["GET", &key]);
            }
            for (at, client) in clients.iter_mut().enumerate() {
                assert_eq!(client.reply(), Reply::ok(), "{setup}");
                assert_eq!(client.reply(), Reply::bulk(format!("{at}.{round}")), "{setup}");
            }
        }
    }
}
