//! Numbers as Redis writes them.

use std::io::Write;

/// "00" to "99".
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// Room for the digits of any `u64`.
pub const DIGITS: usize = 20;

/// Writes `number` to the end of `buffer` and returns where it starts.
#[inline]
pub fn digits(mut number: u64, buffer: &mut [u8; DIGITS]) -> usize {
    let mut at = DIGITS;
    for pair in buffer.as_chunks_mut().0.iter_mut().rev() {
        *pair = PAIRS[(number % 100) as usize];
        number /= 100;
        at -= 2;
        if number == 0 {
            break;
        }
    }
    at + usize::from(buffer[at] == b'0')
}

/// Appends `number` in decimal.
#[inline]
pub fn push_unsigned(out: &mut Vec<u8>, number: u64) {
    let mut buffer = [0; DIGITS];
    let at = digits(number, &mut buffer);
    out.extend_from_slice(&buffer[at..]);
}

/// A double as C's `%.17g` writes it: what Redis 7.0 answers for scores.
pub fn push_double(out: &mut Vec<u8>, number: f64) {
    if number.is_nan() {
        return out.extend_from_slice(b"nan");
    }
    if number.is_infinite() {
        return out.extend_from_slice(if number > 0.0 { b"inf" } else { b"-inf" });
    }
    if number.is_sign_negative() {
        out.push(b'-');
    }
    let magnitude = number.abs();
    if magnitude < 1e17 && magnitude.fract() == 0.0 {
        return push_unsigned(out, magnitude as u64);
    }
    // Seventeen significant digits: `d.dddddddddddddddde-xxx`.
    let mut text = [0; 32];
    let mut rest = &mut text[..];
    let written = write!(rest, "{magnitude:.16e}").map_or(0, |()| 32 - rest.len());
    let text = &text[..written];
    let Some(e) = text.iter().position(|&byte| byte == b'e') else { return };
    let exponent = std::str::from_utf8(&text[e + 1..]).ok().and_then(|text| text.parse().ok());
    let exponent: i32 = exponent.unwrap_or_default();
    let mut digits = [0; 17];
    digits[0] = text[0];
    digits[1..].copy_from_slice(&text[2..18]);
    let significant = digits.iter().rposition(|&digit| digit != b'0').map_or(1, |last| last + 1);
    let digits = &digits[..significant];
    match exponent {
        -4..0 => {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + (-exponent - 1) as usize, b'0');
            out.extend_from_slice(digits);
        }
        0..17 => {
            let whole = (exponent + 1) as usize;
            out.extend_from_slice(&digits[..significant.min(whole)]);
            if significant > whole {
                out.push(b'.');
                out.extend_from_slice(&digits[whole..]);
            } else {
                out.resize(out.len() + whole - significant, b'0');
            }
        }
        _ => {
            out.push(digits[0]);
            if significant > 1 {
                out.push(b'.');
                out.extend_from_slice(&digits[1..]);
            }
            out.push(b'e');
            out.push(if exponent < 0 { b'-' } else { b'+' });
            let exponent = u64::from(exponent.unsigned_abs());
            if exponent < 10 {
                out.push(b'0');
            }
            push_unsigned(out, exponent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(number: f64) -> String {
        let mut out = Vec::new();
        push_double(&mut out, number);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn integers_of_every_length() {
        let mut out = Vec::new();
        let mut power: u64 = 1;
        for _ in 0..20 {
            for number in [power - 1, power, power + 1, power.wrapping_mul(9)] {
                out.clear();
                push_unsigned(&mut out, number);
                assert_eq!(out, number.to_string().as_bytes());
            }
            power = power.saturating_mul(10);
        }
        push_unsigned(&mut out, u64::MAX);
        assert!(out.ends_with(b"18446744073709551615"));
    }

    #[test]
    fn doubles_are_written_as_c_does() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (0.1, "0.10000000000000001"),
            (-1.5, "-1.5"),
            (1.1, "1.1000000000000001"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (1.5e300, "1.5000000000000001e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (123456789012345.68, "123456789012345.69"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(double(number), text);
        }
    }
}
