//! OBJECT: how a key's value is kept.

use kevy_resp::{Error, Frame, Resp};
use kevy_rt::{Cx, Has, Key, commands};

use crate::config::Config;
use crate::help::help;
use crate::store::value::{Record, encoding, integer};
use crate::store::{Db, Store};

const NO_FREQUENCY: Error = Error::new(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that \
     when switching between policies at runtime LRU and LFU data will take some time to adjust.",
);

const NO_IDLE_TIME: Error = Error::new(
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when \
     switching between policies at runtime LRU and LFU data will take some time to adjust.",
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
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
];

/// The set of OBJECT's subcommands on a value.
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

    /// Answers the subcommands of OBJECT.
    #[command(
        route = local,
        name = "object help",
        since = "6.2.0",
        group = "generic",
        complexity = "O(1)",
        flags(loading, stale)
    )]
    fn help(cx: &Cx<'_>) -> Frame {
        help(cx, "OBJECT", HELP)
    }
}

/// The set of OBJECT's subcommands on a key's use.
#[derive(Debug)]
pub struct Uses;

#[commands(store = Store, wire = Resp)]
impl Uses {
    /// Answers how many seconds ago a key was last used, unless the eviction policy counts uses.
    #[command(
        route = single(2),
        name = "object idletime",
        since = "2.2.3",
        group = "generic",
        complexity = "O(1)",
        flags(readonly),
        meta(key_flags = "RO", tips = "nondeterministic_output")
    )]
    fn idletime(store: &Store, cx: &Cx<'_>, key: Key<'_>) -> Result<Option<u64>, Error> {
        let db: &Db = store.part(cx);
        let Some(record) = db.find(key) else { return Ok(None) };
        match counts_uses(&store.config) {
            false => Ok(Some(db.idle_ms(record) / 1000)),
            true => Err(NO_IDLE_TIME),
        }
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
    fn freq(store: &Store, cx: &Cx<'_>, key: Key<'_>) -> Result<Option<u64>, Error> {
        let db: &Db = store.part(cx);
        let Some(record) = db.find(key) else { return Ok(None) };
        match counts_uses(&store.config) {
            true => Ok(Some(db.frequency(record).into())),
            false => Err(NO_FREQUENCY),
        }
    }
}

/// Whether the records remember how often they are used, and not when.
fn counts_uses(config: &Config) -> bool {
    config.max_memory_policy().ends_with("-lfu")
}

fn refcount(record: Record<'_>) -> i64 {
    let number = integer(record.value().bytes()).filter(|_| encoding(record) == "int");
    match number {
        Some(number) if SHARED_INTEGERS.contains(&number) => SHARED_REFCOUNT,
        _ => 1,
    }
}
