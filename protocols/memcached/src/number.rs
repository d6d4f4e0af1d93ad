//! Numbers as memcached reads them: with C's `strtol` and `strtoull`, blanks and signs included.

/// What C's `isspace` says of a byte.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Sign and magnitude at the start of `text`, up to its end or a blank. `None` for anything else,
/// and for a magnitude of more than 64 bits.
fn number(text: &[u8]) -> Option<(bool, u64)> {
    let start = text.iter().position(|&byte| !is_blank(byte)).unwrap_or(text.len());
    let (is_negative, at) = match text.get(start) {
        Some(b'-') => (true, start + 1),
        Some(b'+') => (false, start + 1),
        _ => (false, start),
    };
    let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let behind = text.get(at + digits);
    if digits == 0 {
        // Without a number the end of it is the start of the text, and a blank is a good end.
        return text.first().is_some_and(|&byte| is_blank(byte)).then_some((false, 0));
    }
    if behind.is_some_and(|&byte| !is_blank(byte)) {
        return None;
    }
    let mut magnitude: u64 = 0;
    for &digit in &text[at..at + digits] {
        magnitude = magnitude.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    Some((is_negative, magnitude))
}

/// An unsigned number of 64 bits.
pub(crate) fn unsigned(text: &[u8]) -> Option<u64> {
    let (is_negative, magnitude) = number(text)?;
    if !is_negative {
        return Some(magnitude);
    }
    // A negative number wraps around, and is taken if it isn't seen to be one then.
    let wrapped = magnitude.wrapping_neg();
    (wrapped as i64 >= 0).then_some(wrapped)
}

/// An unsigned number, the lowest 32 bits of it.
pub(crate) fn unsigned_32(text: &[u8]) -> Option<u32> {
    unsigned(text).map(|number| number as u32)
}

/// A signed number of 64 bits, the lowest 32 of it.
pub(crate) fn signed_32(text: &[u8]) -> Option<i32> {
    let (is_negative, magnitude) = number(text)?;
    let number = if is_negative { -i128::from(magnitude) } else { i128::from(magnitude) };
    i64::try_from(number).ok().map(|number| number as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsigned_numbers_are_those_of_strtoull() {
        for (text, number) in [
            ("0", Some(0)),
            ("+7", Some(7)),
            (" 12", Some(12)),
            ("12 x", Some(12)),
            ("12\tx", Some(12)),
            ("12x", None),
            ("x", None),
            ("", None),
            ("-", None),
            ("-1", None),
            ("-0", Some(0)),
            ("-18446744073709551615", Some(1)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("\t", Some(0)),
        ] {
            assert_eq!(unsigned(text.as_bytes()), number, "{text:?}");
        }
        assert_eq!(unsigned_32(b"4294967297"), Some(1));
    }

    #[test]
    fn signed_numbers_are_those_of_strtol() {
        for (text, number) in [
            ("-1", Some(-1)),
            ("2147483647", Some(i32::MAX)),
            ("4294967299", Some(3)),
            ("9223372036854775807", Some(-1)),
            ("9223372036854775808", None),
            ("-9223372036854775808", Some(0)),
            ("1.5", None),
        ] {
            assert_eq!(signed_32(text.as_bytes()), number, "{text:?}");
        }
    }
}
