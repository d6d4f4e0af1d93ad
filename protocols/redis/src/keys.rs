//! Commands on keys of any type, and on whole databases.

use kevy_resp::{Error, Resp, Status};
use kevy_rt::{Arg, Carry, Cx, Key, commands};

use crate::expiry::{ExpireOptions, Unit, expire};
use crate::glob;
use crate::scan::{self, ScanOptions};
use crate::store::value::{Kind, Record, integer};
use crate::store::{Db, Expiry, Keyspace};

/// Commands on keys of any type.
#[derive(Debug)]
pub struct Keys;

#[commands(store = Db, wire = Resp)]
impl Keys {
    /// Removes keys. Answers how many of them were there.
    #[command(
        route = keys(1..),
        gather = sum,
        write,
        since = "1.0.0",
        group = "generic",
        complexity = "O(N) where N is the number of keys to remove.",
        flags(write),
        meta(key_flags = "RM,delete", tips = "request_policy:multi_shard,response_policy:agg_sum")
    )]
    fn del(db: &mut Db, key: Key<'_>) -> u64 {
        u64::from(db.remove(key))
    }

    /// Removes keys as DEL does.
    #[command(
        route = keys(1..),
        gather = sum,
        write,
        since = "4.0.0",
        group = "generic",
        complexity = "O(N) where N is the number of keys to remove.",
        flags(write, fast),
        meta(key_flags = "RM,delete", tips = "request_policy:multi_shard,response_policy:agg_sum")
    )]
    fn unlink(db: &mut Db, key: Key<'_>) -> u64 {
        u64::from(db.remove(key))
    }

    /// Answers how many of the keys are there. One that is named twice counts twice.
    #[command(
        route = keys(1..),
        gather = sum,
        since = "1.0.0",
        group = "generic",
        complexity = "O(N) where N is the number of keys to check.",
        flags(readonly, fast),
        meta(key_flags = "RO", tips = "request_policy:multi_shard,response_policy:agg_sum")
    )]
    fn exists(db: &Db, key: Key<'_>) -> u64 {
        u64::from(db.peek(key).is_some())
    }

    /// Marks keys as used just now. Answers how many of them are there.
    #[command(
        route = keys(1..),
        gather = sum,
        since = "3.2.1",
        group = "generic",
        complexity = "O(N) where N is the number of keys to touch.",
        flags(readonly, fast),
        meta(key_flags = "RO", tips = "request_policy:multi_shard,response_policy:agg_sum")
    )]
    fn touch(db: &Db, key: Key<'_>) -> u64 {
        u64::from(db.read(key).is_some())
    }

    /// Answers the type of a key's value.
    #[command(
        route = single(1),
        name = "type",
        since = "1.0.0",
        group = "generic",
        complexity = "O(1)",
        flags(readonly, fast),
        meta(key_flags = "RO")
    )]
    fn kind(db: &Db, key: Key<'_>) -> Status {
        db.peek(key).map_or(Status::NONE, |record| Status(Kind::of(record).name()))
    }

    /// Lets a key expire after some seconds.
    #[command(
        route = single(1),
        write,
        since = "1.0.0",
        group = "generic",
        complexity = "O(1)",
        flags(write, fast)
    )]
    fn expire(
        db: &mut Db,
        key: Key<'_>,
        #[arg(kind = integer)] seconds: &[u8],
        condition: ExpireOptions,
    ) -> Result<bool, Error> {
        expire(&mut db.entry(key), seconds, Unit::Seconds, condition, "expire")
    }

    /// Lets a key expire after some milliseconds.
    #[command(
        route = single(1),
        write,
        since = "2.6.0",
        group = "generic",
        complexity = "O(1)",
        flags(write, fast)
    )]
    fn pexpire(
        db: &mut Db,
        key: Key<'_>,
        #[arg(kind = integer)] milliseconds: &[u8],
        condition: ExpireOptions,
    ) -> Result<bool, Error> {
        expire(&mut db.entry(key), milliseconds, Unit::Millis, condition, "pexpire")
    }

    /// Lets a key expire at a Unix time in seconds.
    #[command(
        route = single(1),
        write,
        since = "1.2.0",
        group = "generic",
        complexity = "O(1)",
        flags(write, fast)
    )]
    fn expireat(
        db: &mut Db,
        key: Key<'_>,
        #[arg(kind = unix_time)] unix_time_seconds: &[u8],
        condition: ExpireOptions,
    ) -> Result<bool, Error> {
        expire(&mut db.entry(key), unix_time_seconds, Unit::UnixSeconds, condition, "expireat")
    }

    /// Lets a key expire at a Unix time in milliseconds.
    #[command(
        route = single(1),
        write,
        since = "2.6.0",
        group = "generic",
        complexity = "O(1)",
        flags(write, fast)
    )]
    fn pexpireat(
        db: &mut Db,
        key: Key<'_>,
        #[arg(kind = unix_time)] unix_time_milliseconds: &[u8],
        condition: ExpireOptions,
    ) -> Result<bool, Error> {
        expire(&mut db.entry(key), unix_time_milliseconds, Unit::UnixMillis, condition, "pexpireat")
    }

    /// Answers after how many seconds a key expires: -1 if it doesn't, -2 if it isn't there.
    #[command(
        route = single(1),
        since = "1.0.0",
        group = "generic",
        complexity = "O(1)",
        flags(readonly, fast),
        meta(tips = "nondeterministic_output")
    )]
    fn ttl(db: &Db, key: Key<'_>) -> i64 {
        time_of(db.peek(key), |expires_ms| seconds(expires_ms.saturating_sub(db.now_ms())))
    }

    /// Answers after how many milliseconds a key expires: -1 if it doesn't, -2 if it isn't there.
    #[command(
        route = single(1),
        since = "2.6.0",
        group = "generic",
        complexity = "O(1)",
        flags(readonly, fast),
        meta(tips = "nondeterministic_output")
    )]
    fn pttl(db: &Db, key: Key<'_>) -> i64 {
        time_of(db.peek(key), |expires_ms| expires_ms.saturating_sub(db.now_ms()))
    }

    /// Answers at which Unix time in seconds a key expires: -1 if it doesn't, -2 if it isn't there.
    #[command(
        route = single(1),
        since = "7.0.0",
        group = "generic",
        complexity = "O(1)",
        flags(readonly, fast)
    )]
    fn expiretime(db: &Db, key: Key<'_>) -> i64 {
        time_of(db.peek(key), seconds)
    }

    /// Answers at which Unix time in milliseconds a key expires: -1 if it doesn't, -2 if it isn't
    /// there.
    #[command(
        route = single(1),
        since = "7.0.0",
        group = "generic",
        complexity = "O(1)",
        flags(readonly, fast)
    )]
    fn pexpiretime(db: &Db, key: Key<'_>) -> i64 {
        time_of(db.peek(key), |expires_ms| expires_ms)
    }

    /// Drops the expiry of a key. Answers whether it had one.
    #[command(
        route = single(1),
        write,
        since = "2.2.0",
        group = "generic",
        complexity = "O(1)",
        flags(write, fast)
    )]
    fn persist(db: &mut Db, key: Key<'_>) -> bool {
        let mut entry = db.entry(key);
        let had_expiry = entry.expires_ms().is_some();
        entry.set_expiry(Expiry::Never);
        had_expiry
    }

    /// Answers a random key.
    #[command(
        route = all,
        gather = pick,
        since = "1.0.0",
        group = "generic",
        complexity = "O(1)",
        flags(readonly),
        meta(tips = "request_policy:all_shards,nondeterministic_output")
    )]
    fn randomkey(db: &Db, cx: &Cx<'_>) -> Candidate {
        let key = db.random_key().map(<[u8]>::to_vec);
        Candidate { key, keys: db.len(), random: cx.random() }
    }

    /// Answers all keys that match a pattern.
    #[command(
        route = all,
        gather = concat,
        since = "1.0.0",
        group = "generic",
        complexity = "O(N) where N is the number of keys in the database.",
        flags(readonly),
        meta(
            tips = "request_policy:all_shards,nondeterministic_output_order",
            categories = "dangerous"
        )
    )]
    fn keys(db: &Db, #[arg(kind = pattern)] pattern: &[u8]) -> Vec<&[u8]> {
        let matches = |key: &&[u8]| pattern == b"*" || glob::matches(pattern, key);
        db.iter().map(|record| record.key()).filter(matches).collect()
    }

    /// Answers some of the keys, and a cursor for the next call: 0 starts, and 0 ends.
    #[command(
        route = at(scan::shard),
        since = "2.8.0",
        group = "generic",
        complexity = "O(1) for each call, O(N) for all of them, where N is the number of keys.",
        flags(readonly),
        meta(tips = "nondeterministic_output,request_policy:special")
    )]
    fn scan<'a>(
        db: &'a Db,
        cx: &Cx<'_>,
        cursor: scan::Cursor,
        options: ScanOptions<'_>,
    ) -> (String, Vec<&'a [u8]>) {
        let (next, keys) = scan::scan(db, cursor, cx.server().place(), &options);
        (next.to_string(), keys)
    }

    /// Answers how many keys the database has.
    #[command(
        route = all,
        gather = sum,
        since = "1.0.0",
        group = "server",
        complexity = "O(1)",
        flags(readonly, fast),
        meta(tips = "request_policy:all_shards,response_policy:agg_sum", categories = "keyspace")
    )]
    fn dbsize(db: &Db) -> u64 {
        db.len() as u64
    }

    /// Removes all keys of the database.
    #[command(
        route = all,
        gather = all_ok,
        write,
        since = "1.0.0",
        group = "server",
        complexity = "O(N) where N is the number of keys in the database.",
        flags(write),
        meta(
            tips = "request_policy:all_shards,response_policy:all_succeeded",
            categories = "keyspace,dangerous"
        )
    )]
    fn flushdb(db: &mut Db, _async: Option<FlushMode>) {
        db.clear();
    }
}

/// What `time` makes of a record's expiry; -1 without an expiry, -2 without a record.
fn time_of(record: Option<Record<'_>>, time: impl FnOnce(u64) -> u64) -> i64 {
    match record.map(|record| record.expires_ms()) {
        None => -2,
        Some(0) => -1,
        Some(expires_ms) => time(expires_ms) as i64,
    }
}

/// Milliseconds to the nearest second.
fn seconds(millis: u64) -> u64 {
    (millis + 500) / 1000
}

/// A shard's random key.
#[derive(Debug)]
pub struct Candidate {
    /// None if all of the shard's keys have expired.
    key: Option<Vec<u8>>,
    /// How many keys the shard has.
    keys: usize,
    random: u64,
}

impl Carry for Candidate {}

/// The key of one shard, each as likely as it has keys.
fn pick(candidates: impl Iterator<Item = Candidate>) -> Option<Vec<u8>> {
    let (mut picked, mut keys) = (None, 0);
    for candidate in candidates.filter(|candidate| candidate.key.is_some()) {
        keys += candidate.keys as u128;
        // The upper half of the product is uniform over the keys up to here.
        let drawn = (u128::from(candidate.random) * keys) >> 64;
        if drawn < candidate.keys as u128 {
            picked = candidate.key;
        }
    }
    picked
}

/// How FLUSHALL and FLUSHDB are asked to free memory. Either way it is freed by and by.
#[derive(Arg, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushMode {
    /// Behind the reply.
    Async,
    /// Before it.
    Sync,
}

/// Commands on all databases.
#[derive(Debug)]
pub struct Databases;

#[commands(store = Keyspace, wire = Resp)]
impl Databases {
    /// Removes all keys of all databases.
    #[command(
        route = all,
        gather = all_ok,
        write,
        since = "1.0.0",
        group = "server",
        complexity = "O(N) where N is the number of keys in all databases.",
        flags(write),
        meta(
            tips = "request_policy:all_shards,response_policy:all_succeeded",
            categories = "keyspace,dangerous"
        )
    )]
    fn flushall(keyspace: &mut Keyspace, _async: Option<FlushMode>) {
        keyspace.clear();
    }

    /// Exchanges two databases: who uses one finds the other's keys.
    #[command(
        route = all,
        gather = all_ok,
        write,
        since = "4.0.0",
        group = "server",
        complexity = "O(1)",
        flags(write, fast),
        meta(categories = "keyspace,dangerous")
    )]
    fn swapdb(
        keyspace: &mut Keyspace,
        #[arg(kind = integer)] index1: &[u8],
        #[arg(kind = integer)] index2: &[u8],
    ) -> Result<Status, Error> {
        let first = database(index1, "ERR invalid first DB index")?;
        let second = database(index2, "ERR invalid second DB index")?;
        let count = keyspace.dbs.len();
        let index = |number: i32| usize::try_from(number).ok().filter(|&index| index < count);
        let out_of_range = Error::new("ERR DB index is out of range");
        let (Some(first), Some(second)) = (index(first), index(second)) else {
            return Err(out_of_range);
        };
        keyspace.swap(first, second);
        Ok(Status::OK)
    }
}

fn database(text: &[u8], refusal: &'static str) -> Result<i32, Error> {
    let number = integer(text).and_then(|number| i32::try_from(number).ok());
    number.ok_or(Error::new(refusal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_picked_as_often_as_it_has_keys() {
        let mut picked = [0; 4];
        let mut random = 1u64;
        let mut candidate = |shard: u8, keys, has_key: bool| {
            random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            Candidate { key: has_key.then(|| vec![shard]), keys, random }
        };
        for _ in 0..10_000 {
            let candidates = [
                candidate(0, 100, true),
                candidate(1, 0, false),
                candidate(2, 300, true),
                candidate(3, 1000, false),
            ];
            picked[usize::from(pick(candidates.into_iter()).unwrap()[0])] += 1;
        }
        assert!((2200..2800).contains(&picked[0]) && picked[2] == 10_000 - picked[0], "{picked:?}");
        assert_eq!(pick([candidate(0, 1, false)].into_iter()), None);
    }

    #[test]
    fn times_are_rounded_to_the_nearest_second() {
        assert_eq!((seconds(1499), seconds(1500)), (1, 2));
    }
}
