//! How clients say when a key expires: SET's and GETEX's options, EXPIRE and its kin.

use kevy_resp::{Error, Resp};
use kevy_rt::{Arg, ArgInfo, ArgKind, Cursor, MANY};

use crate::store::value::integer;
use crate::store::{Entry, Expiry};

/// What a time that a client gives is counted in, and from when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Millis,
    /// Seconds since the Unix epoch.
    UnixSeconds,
    /// Milliseconds since the Unix epoch.
    UnixMillis,
}

impl Unit {
    fn is_absolute(self) -> bool {
        matches!(self, Unit::UnixSeconds | Unit::UnixMillis)
    }

    /// The time in milliseconds since the Unix epoch; `None` if there is no such time.
    fn to_unix_ms(self, time: i64, now_ms: u64) -> Option<i64> {
        let millis = match self {
            Unit::Seconds | Unit::UnixSeconds => time.checked_mul(1000)?,
            Unit::Millis | Unit::UnixMillis => time,
        };
        if self.is_absolute() { Some(millis) } else { millis.checked_add(now_ms as i64) }
    }
}

fn invalid_expire_time(command: &str) -> Error {
    Error::text(format!("ERR invalid expire time in '{command}' command"))
}

/// When a key expires that is set, read from `text`. It lies after the epoch.
///
/// # Errors
/// If that is no time. `command` is the one that was sent.
pub(crate) fn expires_ms(
    text: &[u8],
    unit: Unit,
    now_ms: u64,
    command: &str,
) -> Result<u64, Error> {
    let time = integer(text).ok_or(Error::NOT_AN_INTEGER)?;
    let unix_ms = unit.to_unix_ms(time, now_ms).filter(|&unix_ms| time > 0 && unix_ms > 0);
    unix_ms.map(|unix_ms| unix_ms as u64).ok_or_else(|| invalid_expire_time(command))
}

/// When SET lets a key expire. The times are read when the whole request has been.
#[derive(Arg, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetExpiration<'a> {
    #[token("EX")]
    #[arg(kind = integer)]
    Seconds(&'a [u8]),
    #[token("PX")]
    #[arg(kind = integer)]
    Milliseconds(&'a [u8]),
    #[token("EXAT")]
    #[arg(kind = unix_time)]
    UnixTimeSeconds(&'a [u8]),
    #[token("PXAT")]
    #[arg(kind = unix_time)]
    UnixTimeMilliseconds(&'a [u8]),
    Keepttl,
}

impl SetExpiration<'_> {
    /// What becomes of the key's expiry.
    ///
    /// # Errors
    /// If the time is none.
    #[inline]
    pub(crate) fn expiry(self, now_ms: u64) -> Result<Expiry, Error> {
        let (text, unit) = match self {
            SetExpiration::Seconds(text) => (text, Unit::Seconds),
            SetExpiration::Milliseconds(text) => (text, Unit::Millis),
            SetExpiration::UnixTimeSeconds(text) => (text, Unit::UnixSeconds),
            SetExpiration::UnixTimeMilliseconds(text) => (text, Unit::UnixMillis),
            SetExpiration::Keepttl => return Ok(Expiry::Keep),
        };
        expires_ms(text, unit, now_ms, "set").map(Expiry::At)
    }
}

/// Whether a key must not be there, or has to be, for SET to set it.
#[derive(Arg, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// If it is absent.
    Nx,
    /// If it is present.
    Xx,
}

impl Condition {
    /// Whether it lets a key be set that is there or not.
    #[inline]
    pub(crate) fn allows(self, exists: bool) -> bool {
        match self {
            Condition::Nx => !exists,
            Condition::Xx => exists,
        }
    }
}

/// When GETEX lets a key expire.
#[derive(Arg, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GetexExpiration<'a> {
    #[token("EX")]
    #[arg(kind = integer)]
    Seconds(&'a [u8]),
    #[token("PX")]
    #[arg(kind = integer)]
    Milliseconds(&'a [u8]),
    #[token("EXAT")]
    #[arg(kind = unix_time)]
    UnixTimeSeconds(&'a [u8]),
    #[token("PXAT")]
    #[arg(kind = unix_time)]
    UnixTimeMilliseconds(&'a [u8]),
    Persist,
}

/// What GETEX and EXPIRE do to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Its expiry becomes this.
    Expiry(Expiry),
    /// The time is over: it is removed.
    Remove,
}

impl Change {
    /// That a key is to expire at this time.
    fn at(unix_ms: i64, now_ms: u64) -> Self {
        match u64::try_from(unix_ms) {
            Ok(unix_ms) if unix_ms > now_ms => Change::Expiry(Expiry::At(unix_ms)),
            _ => Change::Remove,
        }
    }

    /// Makes it.
    pub(crate) fn apply(self, entry: &mut Entry<'_>) {
        match self {
            Change::Expiry(expiry) => entry.set_expiry(expiry),
            Change::Remove => drop(entry.remove()),
        }
    }
}

impl GetexExpiration<'_> {
    /// What it does to the key.
    ///
    /// # Errors
    /// If the time is none.
    pub(crate) fn change(self, now_ms: u64) -> Result<Change, Error> {
        let (text, unit) = match self {
            GetexExpiration::Seconds(text) => (text, Unit::Seconds),
            GetexExpiration::Milliseconds(text) => (text, Unit::Millis),
            GetexExpiration::UnixTimeSeconds(text) => (text, Unit::UnixSeconds),
            GetexExpiration::UnixTimeMilliseconds(text) => (text, Unit::UnixMillis),
            GetexExpiration::Persist => return Ok(Change::Expiry(Expiry::Never)),
        };
        Ok(Change::at(expires_ms(text, unit, now_ms, "getex")? as i64, now_ms))
    }
}

/// When EXPIRE and its kin change an expiry: all that is said has to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExpireOptions {
    if_none: bool,
    if_some: bool,
    if_later: bool,
    if_sooner: bool,
}

impl ExpireOptions {
    /// Whether `unix_ms` may take the place of the key's expiry. No expiry is later than any.
    fn allow(&self, unix_ms: i64, present: Option<u64>) -> bool {
        let present = present.map(|present| present as i64);
        !(self.if_none && present.is_some()
            || self.if_some && present.is_none()
            || self.if_later && present.is_none_or(|present| unix_ms <= present)
            || self.if_sooner && present.is_some_and(|present| unix_ms >= present))
    }
}

impl<'a> Arg<'a, Resp> for ExpireOptions {
    const MIN: usize = 0;
    const MAX: usize = MANY;
    const KIND: ArgKind = ArgKind::OneOf(&[
        ArgInfo::token("nx", "NX"),
        ArgInfo::token("xx", "XX"),
        ArgInfo::token("gt", "GT"),
        ArgInfo::token("lt", "LT"),
    ]);

    fn take(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        let mut options = ExpireOptions::default();
        while !cursor.is_done() {
            let word = cursor.bytes()?;
            match word.to_ascii_uppercase().as_slice() {
                b"NX" => options.if_none = true,
                b"XX" => options.if_some = true,
                b"GT" => options.if_later = true,
                b"LT" => options.if_sooner = true,
                _ => return Err(Error::bytes([b"ERR Unsupported option ", word].concat())),
            }
        }
        if options.if_none && (options.if_some || options.if_later || options.if_sooner) {
            let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
            return Err(Error::new(text));
        }
        if options.if_later && options.if_sooner {
            let text = "ERR GT and LT options at the same time are not compatible";
            return Err(Error::new(text));
        }
        Ok(options)
    }
}

/// EXPIRE and its kin: whether the key is there and its expiry was changed. A time that is over
/// removes the key.
///
/// # Errors
/// If `text` is no time. `command` is the one that was sent.
pub(crate) fn expire(
    entry: &mut Entry<'_>,
    text: &[u8],
    unit: Unit,
    options: ExpireOptions,
    command: &str,
) -> Result<bool, Error> {
    let time = integer(text).ok_or(Error::NOT_AN_INTEGER)?;
    let now_ms = entry.now_ms();
    let unix_ms = unit.to_unix_ms(time, now_ms).ok_or_else(|| invalid_expire_time(command))?;
    if !entry.exists() || !options.allow(unix_ms, entry.expires_ms()) {
        return Ok(false);
    }
    Change::at(unix_ms, now_ms).apply(entry);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::args;

    fn parse<'a, T: Arg<'a, Resp>>(text: &str) -> Result<T, String> {
        let words: Vec<&[u8]> = text.split_whitespace().map(str::as_bytes).collect();
        T::take(&mut Cursor::new(args(&words), 0)).map_err(|error| error.to_string())
    }

    #[test]
    fn set_and_getex_say_when() {
        let set = |text| parse::<SetExpiration<'_>>(text).unwrap().expiry(5);
        assert_eq!(set("ex 10"), Ok(Expiry::At(10_005)));
        assert_eq!(set("PXAT 7"), Ok(Expiry::At(7)));
        assert_eq!(set("KeepTTL"), Ok(Expiry::Keep));
        let getex = |text| parse::<GetexExpiration<'_>>(text).unwrap().change(1000);
        assert_eq!(getex("persist"), Ok(Change::Expiry(Expiry::Never)));
        assert_eq!(getex("PXAT 1000"), Ok(Change::Remove));
        assert_eq!(getex("PXAT 1001"), Ok(Change::Expiry(Expiry::At(1001))));
        for text in ["", "EX", "PERSIST", "what", "NX"] {
            assert_eq!(parse::<SetExpiration<'_>>(text).unwrap_err(), "ERR syntax error", "{text}");
        }
        assert_eq!(parse::<GetexExpiration<'_>>("KEEPTTL").unwrap_err(), "ERR syntax error");
    }

    #[test]
    fn times_that_are_none() {
        let invalid = Err(Error::new("ERR invalid expire time in 'set' command"));
        for (text, unit, expected) in [
            ("1", Unit::Seconds, Ok(1_700_000_001_000)),
            ("1", Unit::UnixSeconds, Ok(1000)),
            ("0", Unit::Seconds, invalid.clone()),
            ("-1", Unit::UnixMillis, invalid.clone()),
            ("9223372036854775807", Unit::Millis, invalid.clone()),
            ("9223372036854775807", Unit::UnixMillis, Ok(i64::MAX as u64)),
            ("9223372036854776", Unit::UnixSeconds, invalid),
            ("1.5", Unit::Seconds, Err(Error::NOT_AN_INTEGER)),
        ] {
            let result = expires_ms(text.as_bytes(), unit, 1_700_000_000_000, "set");
            assert_eq!(result, expected, "{text} {unit:?}");
        }
    }

    #[test]
    fn expire_has_conditions() {
        let allow = |text, present| parse::<ExpireOptions>(text).unwrap().allow(100, present);
        assert!(allow("", None) && allow("", Some(1)));
        assert!(allow("nx", None) && !allow("NX", Some(1)));
        assert!(!allow("XX", None) && allow("XX", Some(1)));
        assert!(!allow("GT", None) && allow("GT", Some(99)) && !allow("GT", Some(100)));
        assert!(allow("LT", None) && allow("LT", Some(101)) && !allow("LT", Some(100)));
        assert!(!allow("XX LT", None) && allow("XX GT", Some(99)));
        let refused = |text| parse::<ExpireOptions>(text).unwrap_err();
        assert_eq!(refused("NX what"), "ERR Unsupported option what");
        let not_both = "ERR NX and XX, GT or LT options at the same time are not compatible";
        assert_eq!(refused("XX NX"), not_both);
        assert_eq!(refused("GT LT"), "ERR GT and LT options at the same time are not compatible");
    }
}
