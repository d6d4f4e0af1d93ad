//! OBJECT: how a key's value is kept.

use kevy_resp::{Error, Frame, Resp};
use kevy_rt::{Key, commands};

use crate::help::help;
use crate::store::Db;
use crate::store::value::{Record, encoding, integer};

const NO_FREQUENCY: Error = Error::new(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that \
     when switching between policies at runtime LRU and LFU data will take some time to adjust.",
);

/// The integers of which Redis keeps one each, for all keys that have them.
const SHARED_INTEGERS: std::ops::Range<i64> = 0..10_000;

/// What Redis counts for a value that it never frees.
const SHARED_REFCOUNT: i64 = i32::MAX as i64;

const HELP: &[&str] = &[
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
];

/// The set of OBJECT's subcommands.
#[derive(Debug)]
pub struct Objects;

#[commands(store = Db, wire = Resp)]
impl Objects {
    /// Answers what Redis would keep a key's value as.
    #[command(
        route = single(2),
        name = "object encoding",
        since = "2.2.3",
        group = "generic",
        complexity = "O(1)",
        flags(readonly),
        meta(key_flags = "RO", tips = "nondeterministic_output")
    )]
    fn encoding(db: &Db, key: Key<'_>) -> Option<&'static str> {
        db.find(key).map(encoding)
    }

    /// Answers how many keys share a value: no others, but that Redis shares small integers.
    #[command(
        route = single(2),
        name = "object refcount",
        since = "2.2.3",
        group = "generic",
        complexity = "O(1)",
        flags(readonly),
        meta(key_flags = "RO", tips = "nondeterministic_output")
    )]
    fn refcount(db: &Db, key: Key<'_>) -> Option<i64> {
        db.find(key).map(refcount)
    }

    /// Answers how often a key is used, under an eviction policy that counts it.
    #[command(
        route = single(2),
        name = "object freq",
        since = "4.0.0",
        group = "generic",
        complexity = "O(1)",
        flags(readonly),
        meta(key_flags = "RO", tips = "nondeterministic_output")
    )]
    fn freq(db: &Db, key: Key<'_>) -> Option<Error> {
        db.read(key).map(|_| NO_FREQUENCY)
    }

    /// Answers the subcommands of OBJECT.
    #[command(
        route = local,
        name = "object help",
        since = "6.2.0",
        group = "generic",
        complexity = "O(1)",
        flags(loading, stale)
    )]
    fn help() -> Frame {
        help("OBJECT", HELP)
    }
}

fn refcount(record: Record<'_>) -> i64 {
    let number = integer(record.value().bytes()).filter(|_| encoding(record) == "int");
    match number {
        Some(number) if SHARED_INTEGERS.contains(&number) => SHARED_REFCOUNT,
        _ => 1,
    }
}
