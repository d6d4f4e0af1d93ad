//! What a directive's value may be, and its one text: what is read is turned into the text that
//! CONFIG GET answers.

use std::borrow::Cow;
use std::fmt::Write;

use kevy_rt::parse_integer;

use super::limits::OutputLimits;

/// The text of a value.
pub(super) type Text = Cow<'static, [u8]>;

/// What a directive's value may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// `yes` or `no`.
    YesNo,
    /// One of these words, in either case.
    OneOf(&'static [&'static str]),
    /// A number of this range.
    Number { min: i128, max: i128, form: Form },
    /// Any one word that passes the check.
    Text(fn(&[u8]) -> Result<(), &'static str>),
    /// Several words.
    Words(ReadWords),
}

/// Reads several words to the text of their value, given the text that it replaces.
pub(super) type ReadWords = fn(&[&[u8]], &[u8]) -> Result<Vec<u8>, String>;

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `10`.
    Decimal,
    /// Bytes: `10`, `10k`, `10kb`, `10mb`.
    Memory,
    /// The same, or `10%`.
    MemoryOrPercent,
    /// A file's mode: `700`.
    Octal,
}

impl Kind {
    /// Whether it is written as several words.
    pub(super) fn is_words(self) -> bool {
        matches!(self, Kind::Words(_))
    }

    /// Reads a value. `current` is the one it replaces.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(self, words: &[&[u8]], current: &[u8]) -> Result<Text, String> {
        if let Kind::Words(read) = self {
            return read(words, current).map(Cow::Owned);
        }
        let [word] = words else { return Err(WRONG_NUMBER.into()) };
        match self {
            Kind::YesNo => {
                one_of(word, &["yes", "no"]).ok_or("argument must be 'yes' or 'no'".into())
            }
            Kind::OneOf(choices) => one_of(word, choices).ok_or_else(|| {
                format!("argument(s) must be one of the following: {}", choices.join(", "))
            }),
            Kind::Number { min, max, form } => form.read(word, min, max),
            Kind::Text(check) => {
                check(word)?;
                Ok(Cow::Owned(word.to_vec()))
            }
            Kind::Words(_) => unreachable!("handled above"),
        }
    }
}

/// The reply when a directive gets more or fewer words than it takes.
pub(super) const WRONG_NUMBER: &str = "wrong number of arguments";

fn one_of(word: &[u8], choices: &'static [&'static str]) -> Option<Text> {
    let choice = choices.iter().find(|choice| word.eq_ignore_ascii_case(choice.as_bytes()))?;
    Some(Cow::Borrowed(choice.as_bytes()))
}

impl Form {
    fn read(self, word: &[u8], min: i128, max: i128) -> Result<Text, String> {
        let is_memory = matches!(self, Form::Memory | Form::MemoryOrPercent);
        if self == Form::MemoryOrPercent
            && let Some((b'%', number)) = word.split_last()
            && let Some(percent) = parse_integer(number).filter(|percent| *percent >= 0)
        {
            if percent > 100 {
                return Err("percentage argument must be less or equal to 100".into());
            }
            return Ok(Cow::Owned(word.to_vec()));
        }
        let number = match self {
            _ if is_memory => read_memory(word).map(i128::from),
            Form::Octal => read_octal(word),
            _ => parse_integer(word).filter(|number| i64::try_from(*number).is_ok()),
        };
        let number = number.ok_or_else(|| self.refusal().to_owned())?;
        if number < min || number > max {
            return Err(match self {
                Form::Octal => format!("argument must be between {min:o} and {max:o} inclusive"),
                _ => format!("argument must be between {min} and {max} inclusive"),
            });
        }
        let text = if self == Form::Octal { format!("{number:o}") } else { number.to_string() };
        Ok(Cow::Owned(text.into_bytes()))
    }

    fn refusal(self) -> &'static str {
        match self {
            Form::Decimal => "argument couldn't be parsed into an integer",
            Form::Memory => "argument must be a memory value",
            Form::MemoryOrPercent => "argument must be a memory or percent value",
            Form::Octal => "argument couldn't be parsed as an octal number",
        }
    }
}

fn read_octal(word: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(word).ok()?;
    u32::from_str_radix(text, 8).ok().map(i128::from)
}

/// Reads bytes: `k` is a thousand, `kb` 1024. What is too large for 64 bits is the largest that is
/// not, and no digits at all are zero.
pub(super) fn read_memory(word: &[u8]) -> Option<u64> {
    let digits = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = word.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(number.iter().fold(0, add).saturating_mul(factor))
}

/// Anything.
pub(super) fn any(_: &[u8]) -> Result<(), &'static str> {
    Ok(())
}

/// A number of shards, or `auto` for as many as this process has cores.
pub(super) fn shards(word: &[u8]) -> Result<(), &'static str> {
    match parse_integer(word) {
        Some(1..=1024) => Ok(()),
        None if word == b"auto" => Ok(()),
        _ => Err("argument must be 'auto' or between 1 and 1024 inclusive"),
    }
}

/// An address and port, or nothing for none.
pub(super) fn http(word: &[u8]) -> Result<(), &'static str> {
    let text = str::from_utf8(word).unwrap_or_default();
    match word.is_empty() || text.parse::<std::net::SocketAddr>().is_ok() {
        true => Ok(()),
        false => Err("argument must be an address and a port, 127.0.0.1:9121"),
    }
}

/// The name of a file, without a directory.
pub(super) fn file_name(word: &[u8]) -> Result<(), &'static str> {
    if word.contains(&b'/') { Err("dbfilename can't be a path, just a filename") } else { Ok(()) }
}

/// The name of the append-only file.
pub(super) fn append_file_name(word: &[u8]) -> Result<(), &'static str> {
    match word {
        b"" => Err("appendfilename can't be empty"),
        word if word.contains(&b'/') => Err("appendfilename can't be a path, just a filename"),
        _ => Ok(()),
    }
}

/// The name of the directory of append-only files.
pub(super) fn append_dir_name(word: &[u8]) -> Result<(), &'static str> {
    match word {
        b"" => Err("appenddirname can't be empty"),
        word if word.contains(&b'/') => Err("appenddirname can't be a path, just a dirname"),
        _ => Ok(()),
    }
}

/// The name of a host.
pub(super) fn host_name(word: &[u8]) -> Result<(), &'static str> {
    if word.len() >= 256 {
        return Err("Hostnames must be less than 256 characters");
    }
    let is_fine = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if word.iter().all(is_fine) {
        return Ok(());
    }
    Err("Hostnames may only contain alphanumeric characters, hyphens or dots")
}

/// Pairs of seconds and changes, or nothing.
pub(super) fn save_points(words: &[&[u8]], _: &[u8]) -> Result<Vec<u8>, String> {
    let words = if words == [b""] { &[] } else { words };
    let is_fine = words.chunks(2).all(|pair| match pair {
        [seconds, changes] => {
            parse_integer(seconds).is_some_and(|seconds| seconds >= 1)
                && parse_integer(changes).is_some_and(|changes| changes >= 0)
        }
        _ => false,
    });
    if is_fine { Ok(words.join(&b' ')) } else { Err("Invalid save parameters".into()) }
}

/// Groups of class, hard mark, soft mark and seconds. Classes that are left out stay.
pub(super) fn output_limits(words: &[&[u8]], current: &[u8]) -> Result<Vec<u8>, String> {
    let mut limits = OutputLimits::from_text(current);
    limits.change(words)?;
    Ok(limits.to_string().into_bytes())
}

/// Three numbers for the kernel's choice of whom to kill.
pub(super) fn oom_scores(words: &[&[u8]], _: &[u8]) -> Result<Vec<u8>, String> {
    if words.len() != 3 {
        return Err(WRONG_NUMBER.into());
    }
    let is_fine = |word: &&[u8]| parse_integer(word).is_some_and(|n| (-2000..=2000).contains(&n));
    if words.iter().all(is_fine) {
        return Ok(words.join(&b' '));
    }
    Err("Invalid oom-score-adj-values, elements must be between -2000 and 2000.".into())
}

/// The classes of keyspace events, in their one order; `A` stands for all that it covers.
pub(super) fn event_classes(words: &[&[u8]], _: &[u8]) -> Result<Vec<u8>, String> {
    const ALL: &[u8] = b"g$lshzxetd";
    const FURTHER: &[u8] = b"KEmn";
    let [word] = words else { return Err(WRONG_NUMBER.into()) };
    if !word.iter().all(|class| *class == b'A' || ALL.contains(class) || FURTHER.contains(class)) {
        return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into());
    }
    let said = |class: &u8| word.contains(class);
    let mut classes = Vec::new();
    if said(&b'A') || ALL.iter().all(said) {
        classes.push(b'A');
    } else {
        classes.extend(ALL.iter().copied().filter(said));
    }
    classes.extend(FURTHER.iter().copied().filter(said));
    Ok(classes)
}

/// Addresses to listen on. A dash before one says that its lack is no error.
pub(super) fn addresses(words: &[&[u8]], _: &[u8]) -> Result<Vec<u8>, String> {
    let words = if words == [b""] { &[] } else { words };
    if words.len() > 16 {
        return Err("Too many bind addresses specified.".into());
    }
    Ok(words.join(&b' '))
}

/// The host and the port of a master, or `no one`.
pub(super) fn master(words: &[&[u8]], _: &[u8]) -> Result<Vec<u8>, String> {
    let [host, port] = words else { return Err(WRONG_NUMBER.into()) };
    if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
        return Ok(Vec::new());
    }
    match parse_integer(port) {
        Some(0..=65535) => Ok(words.join(&b' ')),
        _ => Err("Invalid master port".into()),
    }
}

/// Percentiles from 0 to 100, or nothing.
pub(super) fn percentiles(words: &[&[u8]], _: &[u8]) -> Result<Vec<u8>, String> {
    let words = if words == [b""] { &[] } else { words };
    let mut text = String::new();
    for word in words {
        let Some(percentile) = kevy_rt::parse_float(word) else {
            return Err("Invalid latency-tracking-info-percentiles parameters".into());
        };
        if !(0.0..=100.0).contains(&percentile) {
            let range =
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";
            return Err(range.into());
        }
        let digits = format!("{percentile:.6}");
        let digits = digits.trim_end_matches('0').trim_end_matches('.');
        let blank = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{blank}{digits}");
    }
    Ok(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&[u8]> {
        text.split(' ').map(str::as_bytes).collect()
    }

    fn read(kind: Kind, text: &str) -> Result<String, String> {
        let value = kind.read(&[text.as_bytes()], b"")?;
        Ok(String::from_utf8_lossy(&value).into_owned())
    }

    #[test]
    fn memory_has_units_of_a_thousand_and_of_1024() {
        for (text, bytes) in [
            ("", 0),
            ("kb", 0),
            ("7", 7),
            ("7b", 7),
            ("1k", 1000),
            ("1Kb", 1024),
            ("2m", 2_000_000),
            ("2MB", 2 << 20),
            ("1g", 1_000_000_000),
            ("3gb", 3 << 30),
            ("18446744073709551616", u64::MAX),
        ] {
            assert_eq!(read_memory(text.as_bytes()), Some(bytes), "{text}");
        }
        for text in ["-1", "1x", "1 kb", "x", "1kbb"] {
            assert_eq!(read_memory(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn numbers_have_a_range_and_a_form() {
        let decimal = Kind::Number { min: 0, max: 100, form: Form::Decimal };
        assert_eq!(read(decimal, "100"), Ok("100".into()));
        assert_eq!(
            read(decimal, "101"),
            Err("argument must be between 0 and 100 inclusive".into())
        );
        for text in ["", "1x", "+1", "99999999999999999999"] {
            let refusal = "argument couldn't be parsed into an integer";
            assert_eq!(read(decimal, text), Err(refusal.into()), "{text}");
        }
        let mode = Kind::Number { min: 0, max: 0o777, form: Form::Octal };
        assert_eq!(read(mode, "0700"), Ok("700".into()));
        assert_eq!(read(mode, "1000"), Err("argument must be between 0 and 777 inclusive".into()));
        assert_eq!(read(mode, "8"), Err("argument couldn't be parsed as an octal number".into()));
        let share = Kind::Number { min: 0, max: 1 << 40, form: Form::MemoryOrPercent };
        assert_eq!(read(share, "10%"), Ok("10%".into()));
        assert_eq!(read(share, "1kb"), Ok("1024".into()));
        assert_eq!(
            read(share, "101%"),
            Err("percentage argument must be less or equal to 100".into())
        );
        assert_eq!(read(share, "-1"), Err("argument must be a memory or percent value".into()));
    }

    #[test]
    fn choices_take_either_case_and_have_one_text() {
        assert_eq!(read(Kind::YesNo, "YES"), Ok("yes".into()));
        assert_eq!(read(Kind::YesNo, "maybe"), Err("argument must be 'yes' or 'no'".into()));
        let choices = Kind::OneOf(&["everysec", "always", "no"]);
        assert_eq!(read(choices, "Always"), Ok("always".into()));
        assert_eq!(
            read(choices, "foo"),
            Err("argument(s) must be one of the following: everysec, always, no".into())
        );
    }

    #[test]
    fn save_points_come_in_pairs() {
        assert_eq!(save_points(&words("900 1 300 10"), b""), Ok(b"900 1 300 10".to_vec()));
        assert_eq!(save_points(&words(""), b"900 1"), Ok(Vec::new()));
        for text in ["900", "0 1", "1 -1", "900 a", "900 1 5"] {
            assert!(save_points(&words(text), b"").is_err(), "{text}");
        }
    }

    #[test]
    fn event_classes_have_one_order() {
        for (text, classes) in
            [("KEA", "AKE"), ("gxE", "gxE"), ("", ""), ("Eg$lshzxetdK", "AKE"), ("nmx", "xmn")]
        {
            let read = event_classes(&[text.as_bytes()], b"");
            assert_eq!(read, Ok(classes.as_bytes().to_vec()), "{text}");
        }
        assert!(event_classes(&[b"Q"], b"").is_err());
    }

    #[test]
    fn percentiles_lose_their_zeros() {
        assert_eq!(percentiles(&words("50 99.90 100"), b""), Ok(b"50 99.9 100".to_vec()));
        assert!(percentiles(&words("101"), b"").is_err());
        assert!(percentiles(&words("a"), b"").is_err());
    }
}
