//! Commands on strings.

use kevy_resp::number::{DIGITS, digits};
use kevy_resp::{Error, Resp, Status};
use kevy_rt::{Args, Cx, Hop, Key, Keys, Reply, Shared, Tx, Value, commands};

use crate::expiry::{Change, Condition, GetexExpiration, SetExpiration, Unit, expires_ms};
use crate::extended::{Extended, Read};
use crate::store::value::{Form, integer};
use crate::store::{Db, Entry, Expiry};

const OVERFLOW: Error = Error::new("ERR increment or decrement would overflow");
const NOT_FINITE: Error = Error::new("ERR increment would produce NaN or Infinity");
const TOO_LONG: Error = Error::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

/// Commands on strings.
#[derive(Debug)]
pub struct Strings;

#[commands(store = Db, wire = Resp)]
impl Strings {
    /// Sets a key to a string, on conditions and with an expiry if so asked. Answers the old value
    /// if asked for.
    #[command(
        route = single(1),
        write,
        since = "1.0.0",
        group = "string",
        complexity = "O(1)",
        flags(write, denyoom),
        meta(key_flags = "RW,access,update,variable_flags")
    )]
    fn set(
        db: &mut Db,
        key: Key<'_>,
        value: Value<'_>,
        #[one_of] condition: Option<Condition>,
        #[token("GET")] get: bool,
        #[one_of] expiration: Option<SetExpiration<'_>>,
        reply: &mut Reply<'_, Resp>,
    ) {
        let expiry = match expiration.map_or(Ok(Expiry::Never), |when| when.expiry(db.now_ms())) {
            Ok(expiry) => expiry,
            Err(error) => return reply.put(error),
        };
        let mut entry = db.entry(key);
        let is_allowed = condition.is_none_or(|condition| condition.allows(entry.exists()));
        match get {
            true => reply.put(entry.read()),
            false => reply.put(is_allowed.then_some(Status::OK)),
        }
        if is_allowed {
            entry.put(value, Form::Whole.tag(), expiry);
        }
    }

    /// Answers the value of a key.
    #[command(
        route = single(1),
        since = "1.0.0",
        group = "string",
        complexity = "O(1)",
        flags(readonly, fast)
    )]
    fn get(db: &Db, key: Key<'_>) -> Option<Value<'_>> {
        db.get(key)
    }

    /// Answers the value of a key, and changes or drops its expiry if so asked.
    #[command(
        route = single(1),
        write,
        since = "6.2.0",
        group = "string",
        complexity = "O(1)",
        flags(write, fast),
        meta(key_flags = "RW,access,update")
    )]
    fn getex(
        db: &mut Db,
        key: Key<'_>,
        #[one_of] expiration: Option<GetexExpiration<'_>>,
        reply: &mut Reply<'_, Resp>,
    ) {
        let now_ms = db.now_ms();
        let mut entry = db.entry(key);
        let unchanged = Ok(Change::Expiry(Expiry::Keep));
        let change = match expiration.map_or(unchanged, |when| when.change(now_ms)) {
            Err(error) if entry.exists() => return reply.put(error),
            change => change.ok(),
        };
        reply.put(entry.read());
        if let Some(change) = change {
            change.apply(&mut entry);
        }
    }

    /// Answers the value of a key and removes the key.
    #[command(
        route = single(1),
        write,
        since = "6.2.0",
        group = "string",
        complexity = "O(1)",
        flags(write, fast),
        meta(key_flags = "RW,access,delete")
    )]
    fn getdel(db: &mut Db, key: Key<'_>, reply: &mut Reply<'_, Resp>) {
        let mut entry = db.entry(key);
        reply.put(entry.read());
        entry.remove();
    }

    /// Sets a key to a string and answers the value that it had.
    #[command(
        route = single(1),
        write,
        since = "1.0.0",
        group = "string",
        complexity = "O(1)",
        flags(write, denyoom, fast),
        meta(
            key_flags = "RW,access,update",
            deprecated_since = "6.2.0",
            replaced_by = "`SET` with the `!GET` argument"
        )
    )]
    fn getset(db: &mut Db, key: Key<'_>, value: Value<'_>, reply: &mut Reply<'_, Resp>) {
        let mut entry = db.entry(key);
        reply.put(entry.read());
        entry.put(value, Form::Whole.tag(), Expiry::Never);
    }

    /// Sets a key to a string unless it is there.
    #[command(
        route = single(1),
        write,
        since = "1.0.0",
        group = "string",
        complexity = "O(1)",
        flags(write, denyoom, fast),
        meta(key_flags = "OW,insert")
    )]
    fn setnx(db: &mut Db, key: Key<'_>, value: Value<'_>) -> bool {
        let mut entry = db.entry(key);
        let is_new = !entry.exists();
        if is_new {
            entry.put(value, Form::Whole.tag(), Expiry::Never);
        }
        is_new
    }

    /// Sets a key to a string that expires after some seconds.
    #[command(
        route = single(1),
        write,
        since = "2.0.0",
        group = "string",
        complexity = "O(1)",
        flags(write, denyoom),
        meta(key_flags = "OW,update")
    )]
    fn setex(
        db: &mut Db,
        key: Key<'_>,
        #[arg(kind = integer)] seconds: &[u8],
        value: Value<'_>,
    ) -> Result<Status, Error> {
        let expires_ms = expires_ms(seconds, Unit::Seconds, db.now_ms(), "setex")?;
        db.set(key, value, Form::Whole.tag(), Expiry::At(expires_ms));
        Ok(Status::OK)
    }

    /// Sets a key to a string that expires after some milliseconds.
    #[command(
        route = single(1),
        write,
        since = "2.6.0",
        group = "string",
        complexity = "O(1)",
        flags(write, denyoom),
        meta(key_flags = "OW,update")
    )]
    fn psetex(
        db: &mut Db,
        key: Key<'_>,
        #[arg(kind = integer)] milliseconds: &[u8],
        value: Value<'_>,
    ) -> Result<Status, Error> {
        let expires_ms = expires_ms(milliseconds, Unit::Millis, db.now_ms(), "psetex")?;
        db.set(key, value, Form::Whole.tag(), Expiry::At(expires_ms));
        Ok(Status::OK)
    }

    /// Answers the values of several keys, in their order.
    #[command(
        route = keys(1..),
        gather = in_order,
        since = "1.0.0",
        group = "string",
        complexity = "O(N) where N is the number of keys to retrieve.",
        flags(readonly, fast),
        meta(tips = "request_policy:multi_shard")
    )]
    fn mget(db: &Db, key: Key<'_>) -> Option<Value<'_>> {
        db.get(key)
    }

    /// Sets several keys, each to its own string.
    #[command(
        route = keys(1.. step 2),
        gather = all_ok,
        write,
        since = "1.0.1",
        group = "string",
        complexity = "O(N) where N is the number of keys to set.",
        flags(write, denyoom),
        meta(
            key_flags = "OW,update",
            tips = "request_policy:multi_shard,response_policy:all_succeeded"
        )
    )]
    fn mset(db: &mut Db, key: Key<'_>, value: Value<'_>) {
        db.set(key, value, Form::Whole.tag(), Expiry::Never);
    }

    /// Sets several keys, each to its own string, unless one of them is there.
    #[command(
        route = tx(1.. step 2),
        write,
        since = "1.0.1",
        group = "string",
        complexity = "O(N) where N is the number of keys to set.",
        flags(write, denyoom),
        meta(key_flags = "OW,insert", tips = "request_policy:multi_shard,response_policy:agg_min")
    )]
    async fn msetnx(tx: &Tx<Db>, pairs: Keys<'_, 2>) -> Result<bool, Error> {
        // There is a first key, unless the last one is without a value.
        if pairs.iter().next().is_none() {
            return Err(Error::arity("msetnx"));
        }
        let exist = tx.read_all(pairs.iter(), |db, key| db.find(key).is_some());
        if exist.await.contains(&true) {
            return Ok(false);
        }
        let set = |(key, value): (Key<'_>, Args<'_>)| {
            let value = shared(value.value(0).unwrap_or(Value::Slice(b"")));
            tx.on(&key, move |db, key| {
                db.set(key, Value::Shared(&value), Form::Whole.tag(), Expiry::Never);
            })
        };
        let sets: Vec<Hop<Db, ()>> = pairs.with().map(set).collect();
        for set in sets {
            set.await;
        }
        Ok(true)
    }

    /// Appends to the string of a key, which is empty if it isn't there. Answers its length.
    #[command(
        route = single(1),
        write,
        since = "2.0.0",
        group = "string",
        complexity = "O(1) amortized, as the room for a string doubles when it is used up.",
        flags(write, denyoom, fast),
        meta(key_flags = "RW,insert")
    )]
    fn append(db: &mut Db, cx: &Cx<'_>, key: Key<'_>, value: Value<'_>) -> Result<usize, Error> {
        append(&mut db.entry(key), value, longest(cx))
    }

    /// Answers the length of a key's string.
    #[command(
        route = single(1),
        since = "2.2.0",
        group = "string",
        complexity = "O(1)",
        flags(readonly, fast),
        meta(key_flags = "RO")
    )]
    fn strlen(db: &Db, key: Key<'_>) -> usize {
        db.get(key).map_or(0, Value::len)
    }

    /// Answers a part of a key's string, from one position to another, negative ones counted from
    /// the end.
    #[command(
        route = single(1),
        since = "2.4.0",
        group = "string",
        complexity = "O(N) where N is the length of the returned string.",
        flags(readonly)
    )]
    fn getrange(db: &Db, key: Key<'_>, start: i64, end: i64) -> &[u8] {
        db.get(key).map_or(b"", |value| range(value.bytes(), start, end))
    }

    /// Answers a part of a key's string: the old name of GETRANGE.
    #[command(
        route = single(1),
        since = "1.0.0",
        group = "string",
        complexity = "O(N) where N is the length of the returned string.",
        flags(readonly),
        meta(deprecated_since = "2.0.0", replaced_by = "`GETRANGE`")
    )]
    fn substr(db: &Db, key: Key<'_>, start: i64, end: i64) -> &[u8] {
        Strings::getrange(db, key, start, end)
    }

    /// Overwrites a part of a key's string, which gets zeros at its end if it is too short.
    /// Answers its length.
    #[command(
        route = single(1),
        write,
        since = "2.2.0",
        group = "string",
        complexity = "O(M) where M is the length of the value, and of the zeros before it.",
        flags(write, denyoom)
    )]
    fn setrange(
        db: &mut Db,
        cx: &Cx<'_>,
        key: Key<'_>,
        offset: i64,
        value: &[u8],
    ) -> Result<usize, Error> {
        let out_of_range = Error::new("ERR offset is out of range");
        let offset = usize::try_from(offset).map_err(|_| out_of_range)?;
        write_at(&mut db.entry(key), offset, value, longest(cx))
    }

    /// Adds one to the integer of a key, which is zero if it isn't there.
    #[command(
        route = single(1),
        write,
        since = "1.0.0",
        group = "string",
        complexity = "O(1)",
        flags(write, denyoom, fast),
        meta(key_flags = "RW,access,update")
    )]
    fn incr(db: &mut Db, key: Key<'_>) -> Result<i64, Error> {
        add(&mut db.entry(key), 1)
    }

    /// Takes one from the integer of a key, which is zero if it isn't there.
    #[command(
        route = single(1),
        write,
        since = "1.0.0",
        group = "string",
        complexity = "O(1)",
        flags(write, denyoom, fast),
        meta(key_flags = "RW,access,update")
    )]
    fn decr(db: &mut Db, key: Key<'_>) -> Result<i64, Error> {
        add(&mut db.entry(key), -1)
    }

    /// Adds to the integer of a key, which is zero if it isn't there.
    #[command(
        route = single(1),
        write,
        since = "1.0.0",
        group = "string",
        complexity = "O(1)",
        flags(write, denyoom, fast),
        meta(key_flags = "RW,access,update")
    )]
    fn incrby(db: &mut Db, key: Key<'_>, increment: i64) -> Result<i64, Error> {
        add(&mut db.entry(key), increment)
    }

    /// Takes from the integer of a key, which is zero if it isn't there.
    #[command(
        route = single(1),
        write,
        since = "1.0.0",
        group = "string",
        complexity = "O(1)",
        flags(write, denyoom, fast),
        meta(key_flags = "RW,access,update")
    )]
    fn decrby(db: &mut Db, key: Key<'_>, decrement: i64) -> Result<i64, Error> {
        let increment = decrement.checked_neg();
        add(&mut db.entry(key), increment.ok_or(Error::new("ERR decrement would overflow"))?)
    }

    /// Adds to the float of a key, which is zero if it isn't there.
    #[command(
        route = single(1),
        write,
        since = "2.6.0",
        group = "string",
        complexity = "O(1)",
        flags(write, denyoom, fast),
        meta(key_flags = "RW,access,update")
    )]
    fn incrbyfloat(
        db: &mut Db,
        key: Key<'_>,
        #[arg(kind = float)] increment: &[u8],
    ) -> Result<String, Error> {
        add_float(&mut db.entry(key), increment)
    }
}

/// A value to be sent to another shard.
pub(crate) fn shared(value: Value<'_>) -> Shared {
    match value {
        Value::Shared(shared) => shared.clone(),
        Value::Slice(bytes) => Shared::copy_of(bytes),
    }
}

/// The longest string that may be made.
fn longest(cx: &Cx<'_>) -> usize {
    cx.server().limits().parse.argument_bytes
}

fn append(entry: &mut Entry<'_>, tail: Value<'_>, longest: usize) -> Result<usize, Error> {
    let Some(record) = entry.record() else {
        entry.put(tail, Form::Whole.tag(), Expiry::Never);
        return Ok(tail.len());
    };
    let old = record.value().len();
    let len = old + tail.len();
    if len > longest {
        return Err(TOO_LONG);
    }
    entry.edit(len, Form::Edited.tag(), |bytes| bytes[old..].copy_from_slice(tail.bytes()));
    Ok(len)
}

fn write_at(
    entry: &mut Entry<'_>,
    offset: usize,
    bytes: &[u8],
    longest: usize,
) -> Result<usize, Error> {
    if bytes.is_empty() {
        return Ok(entry.record().map_or(0, |record| record.value().len()));
    }
    let end = offset.checked_add(bytes.len()).filter(|&end| end <= longest).ok_or(TOO_LONG)?;
    Ok(entry.edit(end, Form::Edited.tag(), |value| {
        value[offset..end].copy_from_slice(bytes);
        value.len()
    }))
}

/// The bytes from `start` to `end`, both included; negative ones count from the end.
fn range(bytes: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let len = bytes.len() as i64;
    let from_start = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (start, end) = (from_start(start), from_start(end).min(len - 1));
    if start > end { b"" } else { &bytes[start as usize..=end as usize] }
}

fn add(entry: &mut Entry<'_>, increment: i64) -> Result<i64, Error> {
    let old = match entry.record() {
        Some(record) => integer(record.value().bytes()).ok_or(Error::NOT_AN_INTEGER)?,
        None => 0,
    };
    let sum = old.checked_add(increment).ok_or(OVERFLOW)?;
    let mut text = [b'-'; DIGITS + 1];
    let start = decimal(sum, &mut text);
    entry.put(Value::Slice(&text[start..]), Form::Whole.tag(), Expiry::Keep);
    Ok(sum)
}

/// Writes `number` to the end of `text`, which is full of minus signs; answers where it starts.
fn decimal(number: i64, text: &mut [u8; DIGITS + 1]) -> usize {
    let mut unsigned = [0; DIGITS];
    let start = digits(number.unsigned_abs(), &mut unsigned);
    text[start + 1..].copy_from_slice(&unsigned[start..]);
    if number < 0 { start } else { start + 1 }
}

fn add_float(entry: &mut Entry<'_>, increment: &[u8]) -> Result<String, Error> {
    let read = |text: &[u8]| Extended::read(text).ok_or(Error::NOT_A_FLOAT);
    let old = match entry.record() {
        Some(record) => read(record.value().bytes())?,
        None => Read::Finite(Extended::ZERO),
    };
    let (Read::Finite(old), Read::Finite(increment)) = (old, read(increment)?) else {
        return Err(NOT_FINITE);
    };
    let text = old.add(increment).ok_or(NOT_FINITE)?.to_text();
    entry.put(Value::Slice(text.as_bytes()), Form::Text.tag(), Expiry::Keep);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Keyspace;
    use crate::store::value::encoding as encoding_of;
    use crate::testing::{hasher, key};

    fn with_db(test: impl FnOnce(&mut Db)) {
        test(&mut Keyspace::new(1, &hasher()).dbs[0]);
    }

    fn set(db: &mut Db, value: &str) {
        db.set(key("k"), Value::Slice(value.as_bytes()), Form::Whole.tag(), Expiry::At(u64::MAX));
    }

    fn encoding(db: &Db) -> &'static str {
        encoding_of(db.find(key("k")).unwrap())
    }

    #[test]
    fn sums_have_bounds() {
        with_db(|db| {
            for (value, increment, expected) in [
                ("10", 5, Ok(15)),
                ("-5", 5, Ok(0)),
                ("9223372036854775806", 1, Ok(i64::MAX)),
                ("9223372036854775807", 1, Err(OVERFLOW)),
                ("-9223372036854775808", -1, Err(OVERFLOW)),
                ("-9223372036854775807", -1, Ok(i64::MIN)),
                ("9223372036854775808", -1, Err(Error::NOT_AN_INTEGER)),
                (" 1", 1, Err(Error::NOT_AN_INTEGER)),
                ("", 1, Err(Error::NOT_AN_INTEGER)),
            ] {
                set(db, value);
                assert_eq!(add(&mut db.entry(key("k")), increment), expected, "{value}");
                let text = expected.map_or(value.to_owned(), |sum| sum.to_string());
                assert_eq!(db.get(key("k")).unwrap().bytes(), text.as_bytes());
                assert_eq!(db.entry(key("k")).expires_ms(), Some(u64::MAX), "the expiry stays");
            }
            assert_eq!(add(&mut db.entry(key("new")), 7), Ok(7));
        });
    }

    #[test]
    fn floats_keep_no_integer_encoding() {
        with_db(|db| {
            set(db, "3");
            assert_eq!(encoding(db), "int");
            assert_eq!(add_float(&mut db.entry(key("k")), b"1.5"), Ok("4.5".to_owned()));
            assert_eq!(add_float(&mut db.entry(key("k")), b"1.5"), Ok("6".to_owned()));
            assert_eq!(encoding(db), "embstr");
            assert_eq!(add_float(&mut db.entry(key("k")), b"inf"), Err(NOT_FINITE));
            assert_eq!(add_float(&mut db.entry(key("k")), b"x"), Err(Error::NOT_A_FLOAT));
            assert_eq!(add(&mut db.entry(key("k")), 1), Ok(7));
            assert_eq!(encoding(db), "int");
        });
    }

    #[test]
    fn appending_and_overwriting_have_a_bound() {
        with_db(|db| {
            let mut entry = db.entry(key("k"));
            assert_eq!(append(&mut entry, Value::Slice(b"12"), 5), Ok(2));
            assert_eq!(encoding_of(entry.record().unwrap()), "int");
            assert_eq!(append(&mut entry, Value::Slice(b"3"), 5), Ok(3));
            assert_eq!(encoding_of(entry.record().unwrap()), "raw");
            assert_eq!(append(&mut entry, Value::Slice(b"456"), 5), Err(TOO_LONG));
            assert_eq!(write_at(&mut entry, 4, b"x", 5), Ok(5));
            assert_eq!(entry.record().unwrap().value().bytes(), b"123\0x");
            assert_eq!(write_at(&mut entry, 5, b"x", 5), Err(TOO_LONG));
            assert_eq!(write_at(&mut entry, usize::MAX, b"x", 5), Err(TOO_LONG));
            assert_eq!(write_at(&mut entry, 9, b"", 5), Ok(5));
            let mut entry = db.entry(key("new"));
            assert_eq!(write_at(&mut entry, 3, b"", 5), Ok(0));
            assert!(!entry.exists());
            assert_eq!(write_at(&mut entry, 1, b"1", 5), Ok(2));
            assert_eq!(encoding_of(entry.record().unwrap()), "raw");
        });
    }

    #[test]
    fn ranges_are_those_of_redis() {
        let text = b"This is a string";
        for (start, end, expected) in [
            (0, 3, "This"),
            (-3, -1, "ing"),
            (0, -1, "This is a string"),
            (10, 100, "string"),
            (5, 3, ""),
            (-1, -3, ""),
            (-100, 3, "This"),
            (-100, -100, "T"),
            (16, 20, ""),
            (i64::MIN, i64::MAX, "This is a string"),
        ] {
            assert_eq!(range(text, start, end), expected.as_bytes(), "{start} {end}");
        }
        assert_eq!(range(b"", 0, -1), b"");
    }
}
