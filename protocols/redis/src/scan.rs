//! SCAN's cursors and options.
//!
//! A cursor tells the shard, and the place in that shard's table: `place * shards + shard`. When a
//! shard is through, the pass goes on with the next one; behind the last, the cursor is 0.

use kevy_resp::{Error, Resp};
use kevy_rt::{Arg, ArgKind, Args, Place};

use crate::glob;
use crate::store::Db;
use crate::store::value::{Kind, Record, integer};

/// How many keys a call looks for unless it says so.
const DEFAULT_COUNT: usize = 10;

/// Empty places that a call passes over for each key that it looks for.
const PLACES_PER_KEY: usize = 10;

/// Places that a call may look at, however few keys it asks for: some microseconds. A small database,
/// most of whose places are empty, is through with one call.
const LEAST_PLACES: usize = 1024;

/// Most places that a call looks at, whatever it asks for: a few milliseconds. The cursor goes on
/// from there.
const MOST_PLACES: usize = 8 * 1024;

/// Where a pass stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor(u64);

/// The shard that the cursor of a request names. Which one refuses a malformed cursor doesn't
/// matter.
pub(crate) fn shard(args: Args<'_>, shards: usize) -> usize {
    let cursor = args.get(1).and_then(Cursor::read).unwrap_or(Cursor(0));
    (cursor.0 % shards as u64) as usize
}

impl Cursor {
    /// Reads what C's `strtoul` reads, if it reads all of it: no text is zero, and a minus wraps
    /// around. No blanks in front.
    fn read(text: &[u8]) -> Option<Cursor> {
        let (is_negative, digits) = match text {
            [] => return Some(Cursor(0)),
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] => (false, digits),
            digits => (false, digits),
        };
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let number: u64 = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
        Some(Cursor(if is_negative { number.wrapping_neg() } else { number }))
    }
}

impl<'a> Arg<'a, Resp> for Cursor {
    const KIND: ArgKind = ArgKind::Integer;

    fn take(cursor: &mut kevy_rt::Cursor<'a>) -> Result<Self, Error> {
        Cursor::read(cursor.bytes()?).ok_or(Error::new("ERR invalid cursor"))
    }
}

/// SCAN's options.
#[derive(Arg, Clone, Copy, Debug)]
pub(crate) struct ScanOptions<'a> {
    #[token("MATCH")]
    #[arg(kind = pattern)]
    pattern: Option<&'a [u8]>,
    #[token("COUNT")]
    count: Option<Count>,
    #[token("TYPE")]
    #[arg(name = "type")]
    kind: Option<&'a [u8]>,
}

impl ScanOptions<'_> {
    fn want(&self, record: Record<'_>) -> bool {
        let fits = |pattern| pattern == b"*" || glob::matches(pattern, record.key());
        let name = || Kind::of(record).name().as_bytes();
        self.pattern.is_none_or(fits)
            && self.kind.is_none_or(|kind| kind.eq_ignore_ascii_case(name()))
    }

    fn count(&self) -> usize {
        self.count.map_or(DEFAULT_COUNT, |count| count.0)
    }
}

/// How many keys a call is to look for: one or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count(usize);

impl<'a> Arg<'a, Resp> for Count {
    const KIND: ArgKind = ArgKind::Integer;

    fn take(cursor: &mut kevy_rt::Cursor<'a>) -> Result<Self, Error> {
        let count = integer(cursor.bytes()?).ok_or(Error::NOT_AN_INTEGER)?;
        let count = usize::try_from(count).ok().filter(|&count| count > 0);
        count.map(Count).ok_or(Error::SYNTAX)
    }
}

/// Some keys of this shard's database, and the cursor that goes on behind them.
pub(crate) fn scan<'a>(
    db: &'a Db,
    cursor: Cursor,
    place: Place,
    options: &ScanOptions<'_>,
) -> (u64, Vec<&'a [u8]>) {
    let (shard, shards) = (place.shard as u64, place.shards as u64);
    let (mut at, mut seen, mut keys) = (cursor.0 / shards, 0, Vec::new());
    for _ in 0..options.count().saturating_mul(PLACES_PER_KEY).clamp(LEAST_PLACES, MOST_PLACES) {
        at = db.scan(at, |record| {
            seen += 1;
            if options.want(record) {
                keys.push(record.key());
            }
        });
        if at == 0 || seen >= options.count() {
            break;
        }
    }
    let is_through = at == 0;
    let next = if is_through { (shard + 1) % shards } else { at * shards + shard };
    (next, keys)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kevy_rt::Value;

    use super::*;
    use crate::store::{Expiry, Keyspace};
    use crate::testing::{args, hasher, key};

    #[test]
    fn cursors_are_what_strtoul_reads() {
        for (text, number) in [
            ("0", Some(0)),
            ("", Some(0)),
            ("17", Some(17)),
            ("+017", Some(17)),
            ("-1", Some(u64::MAX)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-", None),
            (" 1", None),
            ("1 ", None),
            ("1x", None),
        ] {
            assert_eq!(Cursor::read(text.as_bytes()), number.map(Cursor), "{text}");
        }
    }

    #[test]
    fn options_are_refused_in_the_words_of_redis() {
        let take = |words: &[&[u8]]| {
            let mut cursor = kevy_rt::Cursor::new(args(words), 0);
            let taken: Result<ScanOptions<'_>, Error> = Arg::<Resp>::take(&mut cursor);
            assert!(taken.is_err() || cursor.is_done());
            taken.map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(take(&[b"count", b"5", b"MATCH", b"a*", b"type", b"string"]), Ok(()));
        let syntax = Err("ERR syntax error".to_owned());
        assert_eq!(take(&[b"COUNT"]), syntax);
        assert_eq!(take(&[b"COUNT", b"0"]), syntax);
        let not_an_integer = Err("ERR value is not an integer or out of range".to_owned());
        assert_eq!(take(&[b"COUNT", b"x"]), not_an_integer);
    }

    #[test]
    fn a_pass_goes_through_all_shards() {
        let shards = 3;
        let mut keyspaces: Vec<_> = (0..shards).map(|_| Keyspace::new(1, &hasher())).collect();
        for number in 0..500usize {
            let name = format!("key:{number}");
            let db = &mut keyspaces[number % shards].dbs[0];
            db.set(key(&name), Value::Slice(b""), 0, Expiry::Never);
        }
        let options =
            ScanOptions { count: Some(Count(7)), pattern: Some(b"*[0-4]"), kind: Some(b"STRING") };
        let (mut cursor, mut seen, mut calls) = (0u64, BTreeSet::new(), 0);
        loop {
            let text = cursor.to_string();
            let shard = shard(args(&[b"SCAN", text.as_bytes()]), shards);
            let place = Place { shard, shards };
            let (next, keys) = scan(&keyspaces[shard].dbs[0], Cursor(cursor), place, &options);
            assert!(keys.len() < 20);
            seen.extend(keys.into_iter().map(<[u8]>::to_vec));
            (cursor, calls) = (next, calls + 1);
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen.len(), 250);
        assert!(calls > 50);
    }

    #[test]
    fn a_call_looks_at_a_bounded_number_of_places() {
        let mut keyspace = Keyspace::new(1, &hasher());
        for number in 0..200_000u32 {
            keyspace.dbs[0].set(key(number.to_le_bytes()), Value::Slice(b""), 0, Expiry::Never);
        }
        let options = ScanOptions { count: Some(Count(usize::MAX)), pattern: None, kind: None };
        let place = Place { shard: 0, shards: 1 };
        let (next, keys) = scan(&keyspace.dbs[0], Cursor(0), place, &options);
        assert!(next != 0 && keys.len() < 100_000);
    }
}
