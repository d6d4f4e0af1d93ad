//! The meta commands.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use kevy_keyspace::Expiry;
use kevy_rt::{Key, Out, Reply, Rest, Value, commands};

use crate::Text;
use crate::error::Error;
use crate::item::{FETCHED, Item, KEY_BINARY, Meta as ItemMeta, STALE, TOKEN_SENT, expiry};
use crate::number::{signed_32, unsigned, unsigned_32};
use crate::store::{Items, db};
use crate::storing::{self, Counted, Draft, Mode, Stored, Way};

/// The longest opaque word, its letter included.
const OPAQUE_BYTES: usize = 32;

/// The set of meta commands.
#[derive(Debug)]
pub struct Meta;

#[commands(store = impl Items, wire = Text)]
impl Meta {
    /// Answers what is wanted of a key: its value, flags, expiry, and more
    #[command(route = single(1), write, flags(denyoom, asks_room))]
    fn mg(db: &mut impl Items, key: Key<'_>, flags: Rest<'_>, reply: &mut Reply<'_, Text>) {
        match Flags::read(flags.iter()) {
            Ok(wanted) => get(db, key, &wanted, flags, reply),
            Err(error) => reply.put(error),
        }
    }

    /// Stores a value, in one of several modes
    #[command(route = single(1), write, flags(denyoom, asks_room))]
    fn ms(db: &mut impl Items, key: Key<'_>, words: Rest<'_>, reply: &mut Reply<'_, Text>) {
        if let Err(error) = set(db, key, words, reply) {
            reply.put(error);
        }
    }

    /// Removes a key, or says that its value is out of date
    #[command(route = single(1), write)]
    fn md(db: &mut impl Items, key: Key<'_>, flags: Rest<'_>, reply: &mut Reply<'_, Text>) {
        match Flags::read(flags.iter()).map_err(of_few_words) {
            Ok(wanted) => delete(db, key, &wanted, flags, reply),
            Err(error) => reply.put(error),
        }
    }

    /// Adds to a number, or takes away from it
    #[command(route = single(1), write, flags(denyoom, asks_room))]
    fn ma(db: &mut impl Items, key: Key<'_>, flags: Rest<'_>, reply: &mut Reply<'_, Text>) {
        let wanted = Flags::read(flags.iter()).map_err(of_few_words);
        if let Err(error) = wanted.and_then(|wanted| count(db, key, &wanted, flags, reply)) {
            reply.put(error);
        }
    }

    /// Is answered behind all that was asked before
    #[command(route = local)]
    fn mn() -> crate::classic::Line {
        crate::classic::Line::new("MN")
    }

    /// Tells what is known of a key, for people
    #[command(route = single(1))]
    fn me(store: &impl Items, key: Key<'_>, _flags: Rest<'_>, reply: &mut Reply<'_, Text>) {
        let cache = store.cache();
        cache.counters.cmd_meta.add(1);
        let db = db(store);
        let Some(item) = db.find(key).and_then(Item::of) else {
            return reply.out().extend(b"EN\r\n");
        };
        let left_s = match item.left_s(db.now_ms()) {
            -1 => -1,
            left_s => -left_s,
        };
        let out = reply.out();
        out.extend(b"ME ");
        put_key(out, item.record.key(), item.meta.is(KEY_BINARY));
        let idle_s = db.idle_ms(item.record) / 1000;
        let fetched = if item.meta.is(FETCHED) { "yes" } else { "no" };
        let text = format!(
            " exp={left_s} la={idle_s} cas={} fetch={fetched} cls=1 size={}\r\n",
            cache.cas(&item),
            item.size()
        );
        out.extend(text.as_bytes());
    }
}

/// Errors as those commands tell them that have few words for them.
fn of_few_words(error: Error) -> Error {
    if error == Error::OPAQUE { error } else { Error::FLAG }
}

/// What a request's flags say. Those that only ask for something to be told are read again when it
/// is.
#[derive(Default)]
struct Flags {
    is_binary: bool,
    is_quiet: bool,
    wants_value: bool,
    keeps_use: bool,
    invalidates: bool,
    vivifies: Option<i32>,
    recaches: Option<i32>,
    ttl: Option<i32>,
    client_flags: u32,
    /// Zero for none.
    cas: u64,
    mode: Option<u8>,
    initial: u64,
    delta: Option<u64>,
}

impl Flags {
    fn read<'a>(flags: impl Iterator<Item = &'a [u8]>) -> Result<Self, Error> {
        const TOKEN: Error = Error("CLIENT_ERROR bad token in command line format");
        let mut read = Flags::default();
        let (mut seen, mut wrong) = (0_u128, None);
        let mut is_opaque_long = false;
        for flag in flags {
            let Some((&letter, text)) = flag.split_first() else { continue };
            if letter >= 127 || seen & 1 << letter != 0 {
                return Err(Error("CLIENT_ERROR duplicate flag"));
            }
            seen |= 1 << letter;
            let mut note = |number: Option<i32>| {
                wrong = if number.is_none() { Some(TOKEN) } else { wrong };
                number
            };
            match letter {
                b'b' => read.is_binary = true,
                b'N' => read.vivifies = note(signed_32(text)),
                b'T' => read.ttl = note(signed_32(text)),
                b'R' => read.recaches = note(signed_32(text)),
                b'q' => read.is_quiet = true,
                b'v' => read.wants_value = true,
                b'u' => read.keeps_use = true,
                b'I' => read.invalidates = true,
                b'F' => match unsigned_32(text) {
                    Some(client_flags) => read.client_flags = client_flags,
                    None => wrong = wrong.or(Some(Error::FORMAT)),
                },
                b'C' => match unsigned(text) {
                    Some(cas) => read.cas = cas,
                    None => wrong = Some(TOKEN),
                },
                b'M' => match text {
                    [mode] => read.mode = Some(*mode),
                    _ => wrong = Some(Error("CLIENT_ERROR incorrect length for M token")),
                },
                b'J' => match unsigned(text) {
                    Some(initial) => read.initial = initial,
                    None => wrong = Some(Error("CLIENT_ERROR invalid numeric initial value")),
                },
                b'D' => match unsigned(text) {
                    Some(delta) => read.delta = Some(delta),
                    None => wrong = Some(Error("CLIENT_ERROR invalid numeric delta value")),
                },
                b'O' => is_opaque_long = flag.len() > OPAQUE_BYTES,
                b'P' | b'L' | b'k' | b's' | b't' | b'c' | b'f' | b'l' | b'h' => {}
                _ => return Err(Error("CLIENT_ERROR invalid flag")),
            }
        }
        match wrong {
            Some(error) => Err(error),
            None if is_opaque_long => Err(Error::OPAQUE),
            None => Ok(read),
        }
    }
}

/// Writes a key, in base64 if that is how it came.
fn put_key(out: &mut Out, key: &[u8], is_binary: bool) {
    if is_binary {
        out.extend(BASE64_STANDARD.encode(key).as_bytes());
    } else {
        out.extend(key);
    }
}

fn put_number(out: &mut Out, letter: u8, number: impl itoa::Integer) {
    out.extend(&[b' ', letter]);
    out.extend(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes what every reply gives back if it is asked to: the opaque word and the key.
fn put_given(out: &mut Out, flag: &[u8], key: &[u8], is_binary: bool) {
    match flag.first() {
        Some(b'O') => {
            out.push(b' ');
            out.extend(flag);
        }
        Some(b'k') => {
            out.extend(b" k");
            put_key(out, key, is_binary);
            if is_binary {
                out.extend(b" b");
            }
        }
        _ => {}
    }
}

/// Writes a reply that tells of no item.
fn put_none(out: &mut Out, code: &[u8; 2], key: Key<'_>, wanted: &Flags, flags: Rest<'_>) {
    out.extend(code);
    flags.iter().for_each(|flag| put_given(out, flag, key.bytes(), wanted.is_binary));
    out.extend(b"\r\n");
}

fn get<S: Items>(
    store: &mut S,
    key: Key<'_>,
    wanted: &Flags,
    flags: Rest<'_>,
    reply: &mut Reply<'_, Text>,
) {
    let out = reply.out();
    let (cache, keyspace) = store.parts();
    let mut entry = keyspace.dbs[0].entry(key);
    let now_ms = entry.now_ms();
    let is_there = entry.record().and_then(Item::of).is_some();
    let is_new = !is_there && !entry.exists() && wanted.vivifies.is_some() && cache.has_room;
    if is_new {
        let empty = Value::Slice(b"");
        storing::put(cache, &mut entry, empty, Expiry::Never, ItemMeta::default());
    } else if !is_there {
        let counters = &cache.counters;
        match wanted.ttl {
            Some(_) => counters.touch_misses.add(1),
            None => counters.get_misses.add(1),
        }
        if !wanted.is_quiet {
            put_none(out, b"EN", key, wanted, flags);
        }
        return;
    }
    match wanted.ttl {
        Some(_) => cache.counters.touch_hits.add(1),
        None => cache.counters.get_hits.add(1),
    }
    let mut wins = is_new;
    let Some(item) = entry.record().and_then(Item::of) else { return };
    let (len, meta) = (item.value.len(), item.meta);
    if wanted.wants_value {
        out.extend(b"VA ");
        out.extend(itoa::Buffer::new().format(len).as_bytes());
    } else {
        out.extend(b"HD");
    }
    for flag in flags.iter() {
        let Some(item) = entry.record().and_then(Item::of) else { return };
        match flag.first() {
            Some(b'T') => entry.set_expiry(expiry(wanted.ttl.unwrap_or_default(), now_ms)),
            Some(b'N') if is_new => {
                entry.set_expiry(expiry(wanted.vivifies.unwrap_or_default(), now_ms));
            }
            Some(b'R') => {
                let (left_s, limit) = (item.left_s(now_ms), wanted.recaches.unwrap_or_default());
                let is_due = match expiry(limit, now_ms) {
                    Expiry::At(at_ms) => {
                        left_s < at_ms.saturating_sub(now_ms).div_ceil(1000) as i64
                    }
                    _ => false,
                };
                wins |= !is_new && !meta.is(TOKEN_SENT) && left_s != -1 && is_due;
            }
            Some(b's') => put_number(out, b's', len),
            Some(b't') => put_number(out, b't', item.left_s(now_ms)),
            Some(b'c') => put_number(out, b'c', cache.cas(&item)),
            Some(b'f') => put_number(out, b'f', meta.flags),
            Some(b'l') if is_new => put_number(out, b'l', 0),
            Some(b'l') => put_number(out, b'l', entry.idle_ms() / 1000),
            Some(b'h') => put_number(out, b'h', u32::from(meta.is(FETCHED))),
            _ => put_given(out, flag, item.record.key(), meta.is(KEY_BINARY)),
        }
    }
    // Who already sent somebody to make a new value doesn't send another.
    if meta.is(TOKEN_SENT) {
        out.extend(b" Z");
    }
    if meta.is(STALE) {
        out.extend(b" X");
        wins |= !meta.is(TOKEN_SENT);
    }
    if wins {
        out.extend(b" W");
    }
    out.extend(b"\r\n");
    let Some(item) = entry.record().and_then(Item::of) else { return };
    if wanted.wants_value {
        out.value(item.value);
        out.extend(b"\r\n");
    }
    let meta = if wins { meta.with(TOKEN_SENT) } else { meta };
    let is_used = !wanted.keeps_use;
    let meta = if is_used { meta.with(FETCHED) } else { meta };
    storing::mark(cache, &mut entry, meta);
    if is_used {
        entry.read();
    }
}

fn set(
    store: &mut impl Items,
    key: Key<'_>,
    words: Rest<'_>,
    reply: &mut Reply<'_, Text>,
) -> Result<(), Error> {
    // The length, the flags, and the value.
    let flags = || words.iter().skip(1).take(words.len().saturating_sub(2));
    let wanted = Flags::read(flags())?;
    let mode = match wanted.mode {
        None | Some(b'S') => Mode::Set,
        Some(b'E') => Mode::Add,
        Some(b'A') => Mode::Append,
        Some(b'P') => Mode::Prepend,
        Some(b'R') => Mode::Replace,
        Some(_) => return Err(Error("CLIENT_ERROR invalid mode for ms M token")),
    };
    let mode = match mode {
        Mode::Set | Mode::Replace if wanted.cas != 0 => Mode::Cas,
        mode => mode,
    };
    let len = words.iter().next().and_then(signed_32).unwrap_or_default();
    let mut last = words.cursor();
    flags().for_each(|_| last.skip());
    last.skip();
    let value = last.value()?;
    let now_ms = db(store).now_ms();
    let draft = Draft {
        value,
        len: usize::try_from(len).unwrap_or_default(),
        flags: wanted.client_flags,
        expiry: expiry(wanted.ttl.unwrap_or_default(), now_ms),
        cas: wanted.cas,
        is_stale: wanted.invalidates && mode == Mode::Cas,
        is_binary: wanted.is_binary,
        drops_old: true,
    };
    let stored = storing::store(store, key, mode, &draft)?;
    let (code, cas) = match stored {
        Stored::As(_) if wanted.is_quiet => return Ok(()),
        Stored::As(cas) => (b"HD", cas),
        Stored::Not => (b"NS", 0),
        Stored::Exists => (b"EX", 0),
        Stored::NotFound => (b"NF", 0),
    };
    let out = reply.out();
    out.extend(code);
    for flag in flags() {
        match flag.first() {
            Some(b'c') => put_number(out, b'c', cas),
            _ => put_given(out, flag, key.bytes(), wanted.is_binary),
        }
    }
    out.extend(b"\r\n");
    Ok(())
}

fn delete(
    store: &mut impl Items,
    key: Key<'_>,
    wanted: &Flags,
    flags: Rest<'_>,
    reply: &mut Reply<'_, Text>,
) {
    let (cache, keyspace) = store.parts();
    let mut entry = keyspace.dbs[0].entry(key);
    let old = entry.record().and_then(Item::of);
    let old = old.map(|item| (cache.cas(&item), item.meta));
    let code = match old {
        Some((cas, _)) if wanted.cas != 0 && wanted.cas != cas => {
            cache.counters.delete_misses.add(1);
            b"EX"
        }
        Some((_, meta)) if wanted.invalidates => {
            if let Some(seconds) = wanted.ttl {
                let now_ms = entry.now_ms();
                entry.set_expiry(expiry(seconds, now_ms));
            }
            // Whoever asks next may make a new value.
            let meta = ItemMeta { cas: cache.unique(), ..meta };
            storing::mark(cache, &mut entry, meta.with(STALE).without(TOKEN_SENT));
            b"HD"
        }
        _ if entry.remove() => {
            cache.counters.delete_hits.add(1);
            b"HD"
        }
        _ => {
            cache.counters.delete_misses.add(1);
            b"NF"
        }
    };
    if !(wanted.is_quiet && code == b"HD") {
        put_none(reply.out(), code, key, wanted, flags);
    }
}

fn count<S: Items>(
    store: &mut S,
    key: Key<'_>,
    wanted: &Flags,
    flags: Rest<'_>,
    reply: &mut Reply<'_, Text>,
) -> Result<(), Error> {
    let way = match wanted.mode {
        None | Some(b'I' | b'+') => Way::Up,
        Some(b'D' | b'-') => Way::Down,
        Some(_) => return Err(Error("CLIENT_ERROR invalid mode for ma M token")),
    };
    let out = reply.out();
    let counted = storing::count(store, key, way, wanted.delta.unwrap_or(1), wanted.cas)?;
    let (cache, keyspace) = store.parts();
    let mut entry = keyspace.dbs[0].entry(key);
    let now_ms = entry.now_ms();
    let (number, is_new) = match (counted, wanted.vivifies) {
        (Counted::To(number), _) => (number, false),
        (Counted::NotFound, Some(_)) if !cache.has_room => return Err(Error::NO_ROOM_FOR_NEW),
        (Counted::NotFound, Some(_)) if !entry.exists() => {
            let mut digits = itoa::Buffer::new();
            let digits = Value::Slice(digits.format(wanted.initial).as_bytes());
            storing::put(cache, &mut entry, digits, Expiry::Never, ItemMeta::default());
            (wanted.initial, true)
        }
        (counted, _) => {
            let code = if matches!(counted, Counted::Exists) { b"EX" } else { b"NF" };
            put_none(out, code, key, wanted, flags);
            return Ok(());
        }
    };
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number).as_bytes();
    let start = out.mark();
    if wanted.wants_value {
        out.extend(b"VA ");
        out.extend(itoa::Buffer::new().format(digits.len()).as_bytes());
    } else {
        out.extend(b"HD");
    }
    for flag in flags.iter() {
        let Some(item) = entry.record().and_then(Item::of) else { break };
        match flag.first() {
            Some(b'c') => put_number(out, b'c', cache.cas(&item)),
            Some(b't') => put_number(out, b't', item.left_s(now_ms)),
            Some(b'T') => entry.set_expiry(expiry(wanted.ttl.unwrap_or_default(), now_ms)),
            Some(b'N') if is_new => {
                entry.set_expiry(expiry(wanted.vivifies.unwrap_or_default(), now_ms));
            }
            _ => put_given(out, flag, key.bytes(), wanted.is_binary),
        }
    }
    out.extend(b"\r\n");
    if wanted.wants_value {
        out.extend(digits);
        out.extend(b"\r\n");
    }
    if wanted.is_quiet && !is_new {
        out.truncate(start);
    }
    Ok(())
}
