//! The classic commands.

use kevy_rt::{ATTACH_BYTES, Arg, Cursor, Encode, Key, Reply, Value, commands};

use crate::Text;
use crate::error::Error;
use crate::item::{Item, expiry};
use crate::number::{signed_32, unsigned, unsigned_32};
use crate::store::{Items, read};
use crate::storing::{Counted, Draft, Mode, Stored, Way, count, store};

/// The set of classic commands on keys.
#[derive(Debug)]
pub struct Classic;

#[commands(store = impl Items, wire = Text)]
impl Classic {
    /// Answers the values of some keys
    #[command(route = keys(1..), gather = in_order, aliases("bget"))]
    fn get(store: &impl Items, key: Key<'_>) -> Option<Found<'_>> {
        let item = read(store, key);
        let counters = &store.cache().counters;
        let Some(item) = item else {
            counters.get_misses.add(1);
            return None;
        };
        counters.get_hits.add(1);
        item.fetch();
        Some(Found::new(&item, None))
    }

    /// Answers the values of some keys with their unique numbers
    #[command(route = keys(1..), gather = in_order)]
    fn gets(store: &impl Items, key: Key<'_>) -> Option<Found<'_>> {
        let item = read(store, key);
        let cache = store.cache();
        let Some(item) = item else {
            cache.counters.get_misses.add(1);
            return None;
        };
        cache.counters.get_hits.add(1);
        item.fetch();
        Some(Found::new(&item, Some(cache.cas(&item))))
    }

    /// Answers the values of some keys and changes when they expire
    #[command(route = keys(2..), write, gather = in_order)]
    fn gat(store: &mut impl Items, exptime: Exptime, key: Key<'_>, reply: &mut Reply<'_, Text>) {
        touched(store, key, exptime, |_, item| reply.put(Found::new(item, None)));
    }

    /// Answers the values of some keys with their unique numbers and changes when they expire
    #[command(route = keys(2..), write, gather = in_order)]
    fn gats(store: &mut impl Items, exptime: Exptime, key: Key<'_>, reply: &mut Reply<'_, Text>) {
        touched(store, key, exptime, |cas, item| reply.put(Found::new(item, Some(cas))));
    }

    /// Sets the value of a key
    #[command(route = single(1), write, flags(denyoom, asks_room))]
    fn set(
        db: &mut impl Items,
        key: Key<'_>,
        flags: Flags,
        exptime: Exptime,
        len: Len,
        quiet: Quiet,
        value: Value<'_>,
    ) -> Result<Line, Error> {
        put(db, key, Mode::Set, (flags, exptime, len, value), 0, quiet)
    }

    /// Sets the value of a key that isn't there
    #[command(route = single(1), write, flags(denyoom, asks_room))]
    fn add(
        db: &mut impl Items,
        key: Key<'_>,
        flags: Flags,
        exptime: Exptime,
        len: Len,
        quiet: Quiet,
        value: Value<'_>,
    ) -> Result<Line, Error> {
        put(db, key, Mode::Add, (flags, exptime, len, value), 0, quiet)
    }

    /// Sets the value of a key that is there
    #[command(route = single(1), write, flags(denyoom, asks_room))]
    fn replace(
        db: &mut impl Items,
        key: Key<'_>,
        flags: Flags,
        exptime: Exptime,
        len: Len,
        quiet: Quiet,
        value: Value<'_>,
    ) -> Result<Line, Error> {
        put(db, key, Mode::Replace, (flags, exptime, len, value), 0, quiet)
    }

    /// Adds to the end of a value
    #[command(route = single(1), write, flags(denyoom, asks_room))]
    fn append(
        db: &mut impl Items,
        key: Key<'_>,
        flags: Flags,
        exptime: Exptime,
        len: Len,
        quiet: Quiet,
        value: Value<'_>,
    ) -> Result<Line, Error> {
        put(db, key, Mode::Append, (flags, exptime, len, value), 0, quiet)
    }

    /// Adds to the start of a value
    #[command(route = single(1), write, flags(denyoom, asks_room))]
    fn prepend(
        db: &mut impl Items,
        key: Key<'_>,
        flags: Flags,
        exptime: Exptime,
        len: Len,
        quiet: Quiet,
        value: Value<'_>,
    ) -> Result<Line, Error> {
        put(db, key, Mode::Prepend, (flags, exptime, len, value), 0, quiet)
    }

    /// Sets the value of a key that nobody has changed since its unique number was told
    #[command(route = single(1), write, flags(denyoom, asks_room))]
    fn cas(
        db: &mut impl Items,
        key: Key<'_>,
        flags: Flags,
        exptime: Exptime,
        len: Len,
        unique: Unique,
        quiet: Quiet,
        value: Value<'_>,
    ) -> Result<Line, Error> {
        put(db, key, Mode::Cas, (flags, exptime, len, value), unique.0, quiet)
    }

    /// Adds to a number
    #[command(route = single(1), write)]
    fn incr(
        db: &mut impl Items,
        key: Key<'_>,
        delta: Delta,
        quiet: Quiet,
    ) -> Result<Number, Error> {
        counted(db, key, Way::Up, delta, quiet)
    }

    /// Takes away from a number, but not below zero
    #[command(route = single(1), write)]
    fn decr(
        db: &mut impl Items,
        key: Key<'_>,
        delta: Delta,
        quiet: Quiet,
    ) -> Result<Number, Error> {
        counted(db, key, Way::Down, delta, quiet)
    }

    /// Removes a key
    #[command(route = single(1), write)]
    fn delete(
        db: &mut impl Items,
        key: Key<'_>,
        hold: Option<&[u8]>,
        quiet: Option<&[u8]>,
    ) -> Result<Line, Error> {
        const USAGE: Error =
            Error("CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]");
        let quiet = match (hold, quiet) {
            (None | Some(b"0"), None) => Quiet(false),
            (Some(b"noreply"), None) | (Some(b"0"), Some(b"noreply")) => Quiet(true),
            (_, last) => return Err(USAGE.unless(last == Some(b"noreply"))),
        };
        if key.bytes().len() > crate::KEY_BYTES {
            return Err(Error::FORMAT.unless(quiet.0));
        }
        let (cache, keyspace) = db.parts();
        let is_gone = keyspace.dbs[0].remove(key);
        let counters = &cache.counters;
        let (counter, line) = match is_gone {
            true => (&counters.delete_hits, "DELETED"),
            false => (&counters.delete_misses, "NOT_FOUND"),
        };
        counter.add(1);
        Ok(quiet.line(line))
    }

    /// Changes when a key expires
    #[command(route = single(1), write)]
    fn touch(db: &mut impl Items, key: Key<'_>, exptime: Exptime, quiet: Quiet) -> Line {
        let is_there = touched(db, key, exptime, |_, _| ());
        quiet.line(if is_there { "TOUCHED" } else { "NOT_FOUND" })
    }
}

/// Changes when an item expires, and shows it with its unique number. False if it isn't there.
fn touched<S: Items>(
    store: &mut S,
    key: Key<'_>,
    exptime: Exptime,
    show: impl FnOnce(u64, &Item<'_, S::Object>),
) -> bool {
    let (cache, keyspace) = store.parts();
    let mut entry = keyspace.dbs[0].entry(key);
    if entry.read().is_none() {
        cache.counters.touch_misses.add(1);
        return false;
    }
    cache.counters.touch_hits.add(1);
    entry.set_expiry(expiry(exptime.0, entry.now_ms()));
    let Some(item) = entry.record().and_then(Item::of) else { return false };
    item.fetch();
    show(cache.cas(&item), &item);
    true
}

fn put(
    db: &mut impl Items,
    key: Key<'_>,
    mode: Mode,
    (flags, exptime, len, value): (Flags, Exptime, Len, Value<'_>),
    cas: u64,
    quiet: Quiet,
) -> Result<Line, Error> {
    let expiry = expiry(exptime.0, crate::store::db(db).now_ms());
    let draft = Draft {
        value,
        len: len.0,
        flags: flags.0,
        expiry,
        cas,
        is_stale: false,
        is_binary: false,
        drops_old: false,
    };
    let stored = store(db, key, mode, &draft).map_err(|error| error.unless(quiet.0))?;
    Ok(quiet.line(match stored {
        Stored::As(_) => "STORED",
        Stored::Not => "NOT_STORED",
        Stored::Exists => "EXISTS",
        Stored::NotFound => "NOT_FOUND",
    }))
}

fn counted(
    db: &mut impl Items,
    key: Key<'_>,
    way: Way,
    delta: Delta,
    quiet: Quiet,
) -> Result<Number, Error> {
    let counted = count(db, key, way, delta.0, 0).map_err(|error| error.unless(quiet.0))?;
    Ok(match counted {
        _ if quiet.0 => Number::Unsaid,
        Counted::To(number) => Number::Is(number),
        Counted::NotFound | Counted::Exists => Number::NotFound,
    })
}

/// An item on its way to the client.
struct Found<'a> {
    key: &'a [u8],
    value: Value<'a>,
    flags: u32,
    cas: Option<u64>,
}

impl<'a> Found<'a> {
    #[inline]
    fn new<T: kevy_keyspace::Object>(item: &Item<'a, T>, cas: Option<u64>) -> Self {
        Found { key: item.record.key(), value: item.value, flags: item.meta.flags, cas }
    }
}

impl Encode<Text> for Option<Found<'_>> {
    #[inline]
    fn encode(self, reply: &mut Reply<'_, Text>) {
        if let Some(found) = self {
            reply.put(found);
        }
    }
}

impl Encode<Text> for Found<'_> {
    #[inline]
    fn encode(self, reply: &mut Reply<'_, Text>) {
        let Found { key, value, flags, cas } = self;
        let out = reply.out();
        let head = out.buffer();
        head.reserve(HEAD_BYTES + key.len() + value.len().min(ATTACH_BYTES));
        head.extend_from_slice(b"VALUE ");
        head.extend_from_slice(key);
        push_number(head, flags.into());
        push_number(head, value.len() as u64);
        if let Some(cas) = cas {
            push_number(head, cas);
        }
        head.extend_from_slice(b"\r\n");
        out.value(value);
        out.extend(b"\r\n");
    }
}

/// What a value's reply has beside key and value, at most.
const HEAD_BYTES: usize = 64;

/// Adds a blank and a number. Most have one or two digits, which are written where they stay: read back
/// from another buffer at once, they would hold the processor up.
#[inline(always)]
fn push_number(head: &mut Vec<u8>, number: u64) {
    if number < 10 {
        head.extend_from_slice(&[b' ', b'0' + number as u8]);
    } else if number < 100 {
        head.extend_from_slice(&[b' ', b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]);
    } else {
        head.push(b' ');
        head.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
}

/// No reply.
impl Encode<Text> for () {
    fn encode(self, _: &mut Reply<'_, Text>) {}
}

/// A reply of one line; none at all if it is empty.
pub(crate) struct Line(&'static str);

impl Line {
    pub(crate) const fn new(line: &'static str) -> Self {
        Line(line)
    }
}

impl Encode<Text> for Line {
    fn encode(self, reply: &mut Reply<'_, Text>) {
        if !self.0.is_empty() {
            reply.out().extend(self.0.as_bytes());
            reply.out().extend(b"\r\n");
        }
    }
}

enum Number {
    Is(u64),
    NotFound,
    Unsaid,
}

impl Encode<Text> for Number {
    fn encode(self, reply: &mut Reply<'_, Text>) {
        match self {
            Number::Is(number) => {
                reply.out().extend(itoa::Buffer::new().format(number).as_bytes());
                reply.out().extend(b"\r\n");
            }
            Number::NotFound => Line("NOT_FOUND").encode(reply),
            Number::Unsaid => {}
        }
    }
}

impl<T: Encode<Text>> Encode<Text> for Result<T, Error> {
    fn encode(self, reply: &mut Reply<'_, Text>) {
        match self {
            Ok(answer) => answer.encode(reply),
            Err(error) => error.encode(reply),
        }
    }
}

/// Whether the last word of a line asks for no reply.
#[derive(Clone, Copy)]
pub(crate) struct Quiet(pub(crate) bool);

impl Quiet {
    /// A line, or none.
    pub(crate) fn line(self, line: &'static str) -> Line {
        Line(if self.0 { "" } else { line })
    }
}

impl<'a> Arg<'a, Text> for Quiet {
    const MIN: usize = 0;

    fn take(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        Ok(Quiet(!cursor.is_done() && cursor.bytes()? == b"noreply"))
    }
}

/// Reads a number. Who asked for no reply isn't told what is wrong with it.
pub(crate) fn number<T>(
    cursor: &mut Cursor<'_>,
    read: fn(&[u8]) -> Option<T>,
    error: Error,
) -> Result<T, Error> {
    let word = cursor.bytes()?;
    read(word).ok_or_else(|| {
        let last = cursor.clone().rest().iter().last().unwrap_or(word);
        error.unless(last == b"noreply")
    })
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($ty:ty): $read:expr, $error:expr;)+) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name(pub(crate) $ty);

        impl<'a> Arg<'a, Text> for $name {
            fn take(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
                number(cursor, $read, $error).map($name)
            }
        }
    )+ };
}

numbers! {
    /// What a client keeps with a value.
    Flags(u32): unsigned_32, Error::FORMAT;
    /// Seconds, or a time: see [`expiry`].
    Exptime(i32): signed_32, Error::EXPTIME;
    /// How long a value was said to be.
    Len(usize): |word| signed_32(word).and_then(|len| usize::try_from(len).ok()), Error::FORMAT;
    /// A unique number.
    Unique(u64): unsigned, Error::FORMAT;
    /// What is added to a number.
    Delta(u64): unsigned, Error("CLIENT_ERROR invalid numeric delta argument");
}
