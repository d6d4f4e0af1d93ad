//! What commands that write do to an item: the same for the classic and the meta commands.

use kevy_keyspace::{Entry, Expiry};
use kevy_rt::{Key, Shared, Value};

use crate::error::Error;
use crate::item::{Item, KEY_BINARY, Meta, STALE, TOKEN_SENT};
use crate::number::unsigned;
use crate::store::{Cache, Items};

/// From this many bytes on a value that was put together is kept where it lies.
const SHARE_BYTES: usize = kevy_keyspace::SHARE_BYTES;

/// The tag of all values of this protocol: bytes that were set whole.
pub(crate) const TAG: u8 = 0;

/// How a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Set,
    /// If there is none.
    Add,
    /// If there is one.
    Replace,
    /// Behind the one that is there.
    Append,
    /// Before it.
    Prepend,
    /// If the unique number is still the same.
    Cas,
}

/// A value that is to be stored.
pub(crate) struct Draft<'a> {
    pub(crate) value: Value<'a>,
    /// How long it was said to be: if it is shorter, it was too large to be taken.
    pub(crate) len: usize,
    pub(crate) flags: u32,
    pub(crate) expiry: Expiry,
    /// The unique number that the item must have; zero for any.
    pub(crate) cas: u64,
    /// Whether an older unique number is good, too: then the value is out of date from the start.
    pub(crate) is_stale: bool,
    /// Whether the key came in base64.
    pub(crate) is_binary: bool,
    /// Whether an item goes when there is no place for another value of it, whatever the mode.
    pub(crate) drops_old: bool,
}

/// What has become of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It has this unique number.
    As(u64),
    /// There is one, or none.
    Not,
    /// The unique number is another one.
    Exists,
    /// There is none, and there should be one with a certain unique number.
    NotFound,
}

/// Stores a value.
pub(crate) fn store<S: Items>(
    store: &mut S,
    key: Key<'_>,
    mode: Mode,
    draft: &Draft<'_>,
) -> Result<Stored, Error> {
    let (cache, keyspace) = store.parts();
    let mut entry = keyspace.dbs[0].entry(key);
    let fits =
        draft.value.len() == draft.len && cache.takes(key.bytes().len(), draft.flags, draft.len);
    if !fits || !cache.has_room {
        // Nobody shall read what was meant to be replaced.
        if mode == Mode::Set || draft.drops_old {
            entry.remove();
        }
        let counters = &cache.counters;
        let (counter, error) = match fits {
            false => (&counters.store_too_large, Error::TOO_LARGE),
            true => (&counters.store_no_memory, Error::NO_ROOM),
        };
        counter.add(1);
        return Err(error);
    }
    cache.counters.cmd_set.add(1);
    let stored = store_fitting(cache, &mut entry, key, mode, draft);
    if mode == Mode::Cas {
        let counters = &cache.counters;
        match stored {
            Stored::As(_) => counters.cas_hits.add(1),
            Stored::NotFound => counters.cas_misses.add(1),
            _ => counters.cas_badval.add(1),
        }
    }
    Ok(stored)
}

fn store_fitting<T: kevy_keyspace::Object>(
    cache: &mut Cache,
    entry: &mut Entry<'_, T>,
    key: Key<'_>,
    mode: Mode,
    draft: &Draft<'_>,
) -> Stored {
    let state = if draft.is_binary { KEY_BINARY } else { 0 };
    let meta = Meta { cas: 0, flags: draft.flags, state };
    let exists = entry.exists();
    let old = entry.record().and_then(Item::of);
    let old_cas = old.as_ref().map_or(0, |old| cache.cas(old));
    let is_same = draft.cas == old_cas;
    match (mode, old) {
        (Mode::Set, _) => {}
        (Mode::Add, _) if !exists => {}
        (Mode::Replace, _) if exists => {}
        (Mode::Add | Mode::Replace, _) => return Stored::Not,
        (Mode::Append | Mode::Prepend, None) => return Stored::Not,
        (Mode::Append | Mode::Prepend, Some(_)) if draft.cas != 0 && !is_same => {
            return Stored::Exists;
        }
        (Mode::Append | Mode::Prepend, Some(old)) => {
            let (first, second) = match mode {
                Mode::Append => (old.value, draft.value),
                _ => (draft.value, old.value),
            };
            let flags = old.meta.flags;
            if !cache.takes(key.bytes().len(), flags, first.len() + second.len()) {
                return Stored::Not;
            }
            let mut whole = Vec::with_capacity(first.len() + second.len());
            whole.extend_from_slice(first.bytes());
            whole.extend_from_slice(second.bytes());
            let meta = Meta { flags, ..Meta::default() };
            return put_vec(cache, entry, whole, Expiry::Keep, meta);
        }
        (Mode::Cas, None) => return Stored::NotFound,
        (Mode::Cas, Some(_)) if draft.cas != 0 && is_same => {}
        (Mode::Cas, Some(old)) if draft.cas != 0 && draft.is_stale && draft.cas < old_cas => {
            // It goes on as it was, with another value that is as little up to date.
            let meta = meta.with(STALE | old.meta.state & TOKEN_SENT);
            return put(cache, entry, draft.value, Expiry::Keep, meta);
        }
        (Mode::Cas, Some(_)) => return Stored::Exists,
    }
    put(cache, entry, draft.value, draft.expiry, meta)
}

/// Writes an item with a new unique number.
pub(crate) fn put<T: kevy_keyspace::Object>(
    cache: &mut Cache,
    entry: &mut Entry<'_, T>,
    value: Value<'_>,
    expiry: Expiry,
    meta: Meta,
) -> Stored {
    let cas = cache.unique();
    cache.counters.total_items.add(1);
    entry.put_with(value, TAG, expiry, Meta { cas, ..meta }.extra());
    Stored::As(cas)
}

/// Writes what is kept beside the value of an item that is there.
pub(crate) fn mark<T: kevy_keyspace::Object>(
    cache: &mut Cache,
    entry: &mut Entry<'_, T>,
    meta: Meta,
) {
    let Some(item) = entry.record().and_then(Item::of) else { return };
    if item.record.extra().is_some() {
        return item.record.set_extra(meta.extra());
    }
    if meta.cas == 0 && !meta.is(TOKEN_SENT) {
        return;
    }
    // Another protocol has written it, and has no place for what there is to be remembered.
    let meta = Meta { cas: if meta.cas == 0 { cache.unique() } else { meta.cas }, ..meta };
    let value = item.value.bytes().to_vec();
    entry.put_with(Value::Slice(&value), TAG, Expiry::Keep, meta.extra());
}

fn put_vec<T: kevy_keyspace::Object>(
    cache: &mut Cache,
    entry: &mut Entry<'_, T>,
    value: Vec<u8>,
    expiry: Expiry,
    meta: Meta,
) -> Stored {
    if value.len() < SHARE_BYTES {
        return put(cache, entry, Value::Slice(&value), expiry, meta);
    }
    let shared = Shared::new(value);
    put(cache, entry, Value::Shared(&shared), expiry, meta)
}

/// Which way a number goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

/// What has become of a number.
pub(crate) enum Counted {
    To(u64),
    NotFound,
    /// The unique number is another one.
    Exists,
}

/// Adds to a number, or takes away from it, but not below zero.
pub(crate) fn count<S: Items>(
    store: &mut S,
    key: Key<'_>,
    way: Way,
    delta: u64,
    cas: u64,
) -> Result<Counted, Error> {
    let (cache, keyspace) = store.parts();
    let mut entry = keyspace.dbs[0].entry(key);
    let counters = &cache.counters;
    let (hits, misses) = match way {
        Way::Up => (&counters.incr_hits, &counters.incr_misses),
        Way::Down => (&counters.decr_hits, &counters.decr_misses),
    };
    let Some(item) = entry.record().and_then(Item::of) else {
        misses.add(1);
        return Ok(Counted::NotFound);
    };
    // What is longer is no number, as memcached would not have it in one piece.
    const LONGEST_BYTES: usize = 512 * 1024;
    let len = item.value.len();
    if len == 0 || len > LONGEST_BYTES {
        return Err(Error::NOT_A_NUMBER);
    }
    if cas != 0 && cas != cache.cas(&item) {
        return Ok(Counted::Exists);
    }
    let number = unsigned(item.value.bytes()).ok_or(Error::NOT_A_NUMBER)?;
    let number = match way {
        Way::Up => number.wrapping_add(delta),
        Way::Down => number.saturating_sub(delta),
    };
    hits.add(1);
    let meta = item.meta;
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number).as_bytes();
    if digits.len() > len {
        // A new item: it is as good as new.
        let meta = Meta { flags: meta.flags, ..Meta::default() };
        put(cache, &mut entry, Value::Slice(digits), Expiry::Keep, meta);
    } else {
        let mut text = vec![b' '; len];
        text[..digits.len()].copy_from_slice(digits);
        let cas = cache.unique();
        entry.put_with(Value::Slice(&text), TAG, Expiry::Keep, Meta { cas, ..meta }.extra());
    }
    Ok(Counted::To(number))
}
