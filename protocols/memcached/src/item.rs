//! What memcached keeps of a value beside its bytes: in the extra words of its record.
//!
//! ```text
//! word 0: its unique number, the one of `gets` and `cas`
//! word 1: | client flags 32 | what has become of it 32 |
//! ```
//!
//! A key that another protocol has written has none. Its client flags are zero, and its unique
//! number is a hash of its value.

use kevy_keyspace::{Content, Expiry, Extra, Object, Record};
use kevy_rt::Value;

/// Its value was asked for since it was stored.
pub(crate) const FETCHED: u32 = 1;
/// Somebody said that it is out of date.
pub(crate) const STALE: u32 = 1 << 1;
/// Somebody was told to make a new one.
pub(crate) const TOKEN_SENT: u32 = 1 << 2;
/// Its key came in base64.
pub(crate) const KEY_BINARY: u32 = 1 << 3;

/// The longest key.
pub const KEY_BYTES: usize = 250;

/// From this many seconds on an expiry is a time since the Unix epoch: thirty days.
const LONGEST_RELATIVE_S: i32 = 60 * 60 * 24 * 30;

/// What memcached itself needs for an item beside key, flags and value.
const HEADER_BYTES: usize = 48 + 8;

/// Bytes that memcached counts for an item, which it has a limit for.
pub(crate) fn size(key_len: usize, flags: u32, len: usize) -> usize {
    let flags = if flags == 0 { 0 } else { 4 };
    HEADER_BYTES + key_len + 1 + flags + len + 2
}

/// What is kept beside a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Its unique number. Zero if another protocol wrote it.
    pub(crate) cas: u64,
    pub(crate) flags: u32,
    pub(crate) state: u32,
}

impl Meta {
    #[inline]
    pub(crate) fn extra(self) -> Extra {
        [self.cas, u64::from(self.state) << 32 | u64::from(self.flags)]
    }

    #[inline]
    fn from_extra([cas, word]: Extra) -> Self {
        Meta { cas, flags: word as u32, state: (word >> 32) as u32 }
    }

    /// Whether all of `bits` hold.
    pub(crate) fn is(self, bits: u32) -> bool {
        self.state & bits == bits
    }

    /// With `bits` set.
    pub(crate) fn with(self, bits: u32) -> Self {
        Meta { state: self.state | bits, ..self }
    }

    /// Without `bits`.
    pub(crate) fn without(self, bits: u32) -> Self {
        Meta { state: self.state & !bits, ..self }
    }
}

/// A key's record as memcached sees it.
pub(crate) struct Item<'a, T> {
    pub(crate) record: Record<'a, T>,
    pub(crate) value: Value<'a>,
    pub(crate) meta: Meta,
}

impl<'a, T: Object> Item<'a, T> {
    /// `None` if its value isn't bytes: to memcached it isn't there.
    #[inline(always)]
    pub(crate) fn of(record: Record<'a, T>) -> Option<Self> {
        let Content::Bytes(value) = record.content() else { return None };
        let meta = record.extra().map_or(Meta::default(), Meta::from_extra);
        Some(Item { record, value, meta })
    }

    /// Remembers that the value was asked for.
    #[inline]
    pub(crate) fn fetch(&self) {
        if self.meta.state & FETCHED == 0 {
            self.record.set_extra(self.meta.with(FETCHED).extra());
        }
    }

    /// Seconds until it expires, -1 for never.
    pub(crate) fn left_s(&self, now_ms: u64) -> i64 {
        match self.record.expires_ms() {
            0 => -1,
            expires_ms => expires_ms.saturating_sub(now_ms).div_ceil(1000) as i64,
        }
    }

    /// Bytes that memcached would count for it.
    pub(crate) fn size(&self) -> usize {
        size(self.record.key().len(), self.meta.flags, self.value.len())
    }
}

/// When what is to live for `seconds` expires: zero is never, a negative number at once, more than
/// thirty days a time since the Unix epoch.
pub(crate) fn expiry(seconds: i32, now_ms: u64) -> Expiry {
    /// Any time that is over.
    const AT_ONCE: Expiry = Expiry::At(1);
    let ms = u64::try_from(seconds).map(|seconds| seconds * 1000);
    match ms {
        Err(_) => AT_ONCE,
        Ok(0) => Expiry::Never,
        Ok(ms) if seconds <= LONGEST_RELATIVE_S => Expiry::At(now_ms + ms),
        Ok(ms) if ms <= now_ms => AT_ONCE,
        Ok(ms) => Expiry::At(ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_survives() {
        let meta = Meta { cas: u64::MAX, flags: 0xdead_beef, state: STALE };
        assert_eq!(Meta::from_extra(meta.with(FETCHED).extra()), meta.with(FETCHED));
        assert_eq!(meta.without(STALE).state, 0);
        assert!(meta.is(STALE) && !meta.is(STALE | FETCHED));
    }

    #[test]
    fn expiries_are_relative_up_to_thirty_days() {
        let now_ms = 1_700_000_000_000;
        for (seconds, expiry_is) in [
            (0, Expiry::Never),
            (1, Expiry::At(now_ms + 1000)),
            (2_592_000, Expiry::At(now_ms + 2_592_000_000)),
            (2_592_001, Expiry::At(1)),
            (1_700_000_000, Expiry::At(1)),
            (1_700_000_001, Expiry::At(now_ms + 1000)),
            (-1, Expiry::At(1)),
            (i32::MIN, Expiry::At(1)),
        ] {
            assert_eq!(expiry(seconds, now_ms), expiry_is, "{seconds}");
        }
    }
}
