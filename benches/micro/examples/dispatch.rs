//! What a declaration costs: the same verbs over the same store, by what `#[commands]` makes of them
//! and by a match that is written by hand, to count their instructions:
//!
//! ```text
//! cargo build --release -p kevy-bench-micro --example dispatch
//! for way in declared by_hand; do for rounds in 20 60; do
//!     valgrind --tool=callgrind --callgrind-out-file=/dev/null \
//!         target/release/examples/dispatch $rounds $way get 2>&1 | grep Collected
//! done; done
//! ```
//!
//! The difference between two numbers of rounds, divided by 40 rounds of 500 requests, is what one
//! request costs: lookup of the verb, hash of the key, arguments, handler, reply. Arguments: rounds,
//! `declared` or `by_hand`, and `get`, `set`, `setex` (with two options) or `incrby`.

use std::collections::HashMap;
use std::env;
use std::hash::{BuildHasherDefault, Hasher};

use kevy_resp::{Error, Resp, Status};
use kevy_rt::sim::Simulation;
use kevy_rt::testing::{dispatch, key as test_key};
use kevy_rt::{
    Arg, Args, Commands, Cx, Encode, Key, KeyHasher, OpenError, Out, Place, Reply, Span, commands,
    parse_integer, server,
};

const REQUESTS: usize = 500;

/// A key's own hash is the hash that finds it.
#[derive(Default)]
struct Own(u64);

impl Hasher for Own {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[derive(Default)]
struct Db {
    values: HashMap<u64, Entry, BuildHasherDefault<Own>>,
}

#[derive(Default)]
struct Entry {
    value: Vec<u8>,
    expires: u64,
}

impl kevy_rt::Store for Db {
    type Settings = ();

    fn open((): &(), _: Place, _: &KeyHasher) -> Result<Self, OpenError> {
        Ok(Db::default())
    }
}

impl Db {
    fn read(&self, key: Key<'_>) -> Option<&[u8]> {
        self.values.get(&key.hash()).map(|entry| entry.value.as_slice())
    }

    fn write(
        &mut self,
        key: Key<'_>,
        value: &[u8],
        expires: u64,
        condition: Option<Condition>,
    ) -> bool {
        let entry = self.values.entry(key.hash());
        let exists = matches!(entry, std::collections::hash_map::Entry::Occupied(_));
        let is_allowed = match condition {
            None => true,
            Some(Condition::Nx) => !exists,
            Some(Condition::Xx) => exists,
        };
        if is_allowed {
            let entry = entry.or_default();
            entry.value.clear();
            entry.value.extend_from_slice(value);
            entry.expires = expires;
        }
        is_allowed
    }

    fn add(&mut self, key: Key<'_>, by: i64) -> Result<i64, Error> {
        let entry = self.values.entry(key.hash()).or_default();
        let number = if entry.value.is_empty() { Some(0) } else { parse_integer(&entry.value) };
        let number = number.and_then(|number| i64::try_from(number).ok());
        let sum = number.ok_or(Error::NOT_AN_INTEGER)?.wrapping_add(by);
        entry.value.clear();
        entry.value.extend_from_slice(sum.to_string().as_bytes());
        Ok(sum)
    }
}

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Nx,
    Xx,
}

#[derive(Arg, Clone, Copy)]
enum Expiration {
    #[token("EX")]
    Seconds(u64),
    #[token("PX")]
    Millis(u64),
}

struct Declared;

#[commands(store = Db, wire = Resp)]
impl Declared {
    #[command(route = single(1))]
    fn get(db: &Db, key: Key<'_>) -> Option<&[u8]> {
        db.read(key)
    }

    #[command(route = single(1), write)]
    fn set(
        db: &mut Db,
        key: Key<'_>,
        value: &[u8],
        #[one_of] condition: Option<Condition>,
        #[one_of] expiration: Option<Expiration>,
    ) -> Option<Status> {
        let expires = match expiration {
            None => 0,
            Some(Expiration::Seconds(seconds)) => seconds * 1000,
            Some(Expiration::Millis(millis)) => millis,
        };
        db.write(key, value, expires, condition).then_some(Status::OK)
    }

    #[command(route = single(1), write)]
    fn incrby(db: &mut Db, key: Key<'_>, by: i64) -> Result<i64, Error> {
        db.add(key, by)
    }

    #[command(route = single(1), write)]
    fn decrby(db: &mut Db, key: Key<'_>, by: i64) -> Result<i64, Error> {
        db.add(key, by.wrapping_neg())
    }
}

server! { Small: store = Db, ports = [ Resp, () => [Declared] ] }

/// The same four verbs, as one writes them without a declaration.
fn by_hand(db: &mut Db, cx: &Cx<'_>, hasher: &KeyHasher, args: Args<'_>, out: &mut Out) {
    let reply = &mut Reply::<Resp>::new(out, cx);
    let Some(said) = args.get(0).filter(|verb| verb.len() <= 16) else {
        return Error::SYNTAX.encode(reply);
    };
    let mut verb = [0; 16];
    verb[..said.len()].copy_from_slice(said);
    verb.make_ascii_uppercase();
    let Some(name) = args.get(1) else { return Error::SYNTAX.encode(reply) };
    let key = test_key(name, hasher.hash(name));
    match (&verb[..said.len()], args.len()) {
        (b"GET", 2) => db.read(key).encode(reply),
        (b"SET", 3..) => match options(args) {
            Ok((condition, expires)) => {
                let value = args.get(2).unwrap_or_default();
                db.write(key, value, expires, condition).then_some(Status::OK).encode(reply);
            }
            Err(error) => error.encode(reply),
        },
        (b"INCRBY", 3) => match integer(args.get(2)) {
            Ok(by) => db.add(key, by).encode(reply),
            Err(error) => error.encode(reply),
        },
        (b"DECRBY", 3) => match integer(args.get(2)) {
            Ok(by) => db.add(key, by.wrapping_neg()).encode(reply),
            Err(error) => error.encode(reply),
        },
        _ => Error::SYNTAX.encode(reply),
    }
}

fn integer(text: Option<&[u8]>) -> Result<i64, Error> {
    let number = text.and_then(parse_integer).and_then(|number| i64::try_from(number).ok());
    number.ok_or(Error::NOT_AN_INTEGER)
}

fn options(args: Args<'_>) -> Result<(Option<Condition>, u64), Error> {
    let (mut condition, mut expires, mut at) = (None, None, 3);
    while let Some(word) = args.get(at) {
        at += 1;
        let said = if word.eq_ignore_ascii_case(b"NX") {
            Condition::Nx
        } else if word.eq_ignore_ascii_case(b"XX") {
            Condition::Xx
        } else {
            let factor = if word.eq_ignore_ascii_case(b"EX") {
                1000
            } else if word.eq_ignore_ascii_case(b"PX") {
                1
            } else {
                return Err(Error::SYNTAX);
            };
            if expires.is_some_and(|(other, _)| other != factor) || args.get(at).is_none() {
                return Err(Error::SYNTAX);
            }
            let number = args.get(at).and_then(parse_integer).and_then(|n| u64::try_from(n).ok());
            expires = Some((factor, number.ok_or(Error::NOT_AN_INTEGER)?));
            at += 1;
            continue;
        };
        if condition.replace(said).is_some_and(|other| other != said) {
            return Err(Error::SYNTAX);
        }
    }
    Ok((condition, expires.map_or(0, |(factor, number)| factor * number)))
}

/// A request's bytes and where its arguments lie in them.
fn request(words: &[&str]) -> (Vec<u8>, Vec<Span>) {
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    for word in words {
        spans.push(Span::new(bytes.len(), word.len()));
        bytes.extend_from_slice(word.as_bytes());
    }
    (bytes, spans)
}

fn main() {
    let args: Vec<String> = env::args().collect();
    let word = |at: usize| args.get(at).map_or("", String::as_str);
    let rounds: usize = word(1).parse().unwrap_or(20);
    let is_declared = word(2) != "by_hand";
    let requests: Vec<_> = (0..REQUESTS)
        .map(|number| {
            let key = format!("key:{number:012}");
            match word(3) {
                "set" => request(&["SET", &key, "value"]),
                "setex" => request(&["SET", &key, "value", "EX", "100", "XX"]),
                "incrby" => request(&["INCRBY", &key, "7"]),
                _ => request(&["GET", &key]),
            }
        })
        .collect();
    let mut server = Simulation::<Small>::new(&(), 1, 0);
    let (hasher, table) = (KeyHasher::seeded(1), &Small::ports()[0].table);
    let bytes = server.with_cx(0, 0, |db, cx| {
        let (mut out, mut bytes) = (Out::default(), 0);
        let mut run = |buffer: &[u8], spans: &[Span]| {
            let args = Args::new(buffer, spans, &[]);
            if is_declared {
                assert!(dispatch(table, db, cx, &hasher, args, &mut out));
            } else {
                by_hand(db, cx, &hasher, args, &mut out);
            }
            bytes += out.len();
            out.clear();
        };
        for number in 0..REQUESTS {
            let (buffer, spans) = request(&["SET", &format!("key:{number:012}"), "1"]);
            run(&buffer, &spans);
        }
        for _ in 0..rounds {
            requests.iter().for_each(|(buffer, spans)| run(buffer, spans));
        }
        bytes
    });
    println!("{bytes} bytes of replies");
}
