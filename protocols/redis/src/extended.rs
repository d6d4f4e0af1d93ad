//! Floats of 80 bits, as C's `long double` has them on x86-64: INCRBYFLOAT's arithmetic.
//!
//! A float of 64 bits would show: 0.1 and 0.2 make 0.3 in Redis. So numbers are read, added and
//! written here with a mantissa of 64 bits, each step rounded once, to nearest, ties to even.

use std::cmp::Ordering;
use std::ops::Neg;

/// The longest text that is read as a number.
const MAX_TEXT_BYTES: usize = 5 * 1024 - 1;

/// Binary exponents that numbers may have, that of their first bit.
const MAX_EXPONENT: i32 = 16_383;
/// Two to this is half of the smallest number: what is not larger is zero.
const MIN_EXPONENT: i32 = -16_446;

/// Decimal exponents beyond which every number of [`MAX_TEXT_BYTES`] overflows, or is zero.
const EXPONENT_LIMIT: i64 = 20_000;

/// Decimals that are written at most.
const DECIMALS: usize = 17;
const TEN_TO_DECIMALS: u128 = 10u128.pow(DECIMALS as u32);

/// A number that is finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extended {
    is_negative: bool,
    /// Its first bit is set, unless the number is zero.
    mantissa: u64,
    /// Of the mantissa's last bit.
    exponent: i32,
}

/// What a text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// A number.
    Finite(Extended),
    /// Infinity of either sign.
    Infinite,
}

impl Extended {
    /// Nothing.
    pub(crate) const ZERO: Extended = Extended { is_negative: false, mantissa: 0, exponent: 0 };

    /// Reads what C's `strtold` reads, if it reads all of it: decimals, hexadecimals, infinity; no
    /// blanks in front. `None` if it is anything else, NaN, or too large, or too small to tell from
    /// zero.
    pub(crate) fn read(text: &[u8]) -> Option<Read> {
        if text.len() > MAX_TEXT_BYTES {
            return None;
        }
        let (is_negative, magnitude) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if magnitude.eq_ignore_ascii_case(b"inf") || magnitude.eq_ignore_ascii_case(b"infinity") {
            return Some(Read::Infinite);
        }
        let number = match magnitude {
            [b'0', b'x' | b'X', digits @ ..] => hexadecimal(digits),
            digits => decimal(digits),
        }?;
        Some(Read::Finite(if is_negative { -number } else { number }))
    }

    /// The sum; `None` if it is too large.
    pub(crate) fn add(self, other: Extended) -> Option<Extended> {
        let (large, small) = match self.exponent.cmp(&other.exponent) {
            _ if other.mantissa == 0 => return Some(self),
            _ if self.mantissa == 0 => return Some(other),
            Ordering::Less => (other, self),
            _ => (self, other),
        };
        // The larger one has 63 bits behind it; of the smaller one what is further down only says
        // that there is something.
        let a = u128::from(large.mantissa) << 63;
        let b = {
            let mantissa = u128::from(small.mantissa) << 63;
            let distance = large.exponent.abs_diff(small.exponent).min(127);
            let lost = mantissa & ((1 << distance) - 1) != 0;
            mantissa >> distance | u128::from(lost)
        };
        let (is_negative, sum) = match (large.is_negative == small.is_negative, a.cmp(&b)) {
            (true, _) => (large.is_negative, a + b),
            (false, Ordering::Equal) => return Some(Extended::ZERO),
            (false, Ordering::Greater) => (large.is_negative, a - b),
            (false, Ordering::Less) => (small.is_negative, b - a),
        };
        let sum = rounded(sum, large.exponent - 63, false)?;
        Some(if is_negative { -sum } else { sum })
    }

    /// The number with up to 17 decimals, without zeros at the end and without an exponent.
    pub(crate) fn to_text(self) -> String {
        let mut text = if self.exponent >= 0 {
            Natural::new(self.mantissa, self.exponent as u32).into_text()
        } else {
            // At most 64 and 57 bits.
            let scaled = u128::from(self.mantissa) * TEN_TO_DECIMALS;
            let scaled = shifted(scaled, self.exponent.unsigned_abs(), false);
            let (whole, part) = (scaled / TEN_TO_DECIMALS, scaled % TEN_TO_DECIMALS);
            let text = format!("{whole}.{part:0DECIMALS$}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        if self.is_negative && text != "0" {
            text.insert(0, '-');
        }
        text
    }
}

impl Neg for Extended {
    type Output = Extended;

    fn neg(self) -> Extended {
        Extended { is_negative: !self.is_negative, ..self }
    }
}

/// `bits * 2^exponent`, and a bit more if `is_more`, as the nearest number that there is.
fn rounded(bits: u128, exponent: i32, is_more: bool) -> Option<Extended> {
    if bits == 0 {
        return Some(Extended::ZERO);
    }
    let drop = 64 - bits.leading_zeros() as i32;
    let (mut mantissa, mut exponent) = match u32::try_from(drop) {
        Ok(drop) => (shifted(bits, drop, is_more), exponent + drop as i32),
        Err(_) => (bits << -drop, exponent + drop),
    };
    if mantissa >> 64 != 0 {
        mantissa >>= 1;
        exponent += 1;
    }
    (exponent + 63 <= MAX_EXPONENT).then_some(Extended {
        is_negative: false,
        mantissa: mantissa as u64,
        exponent,
    })
}

/// `bits / 2^drop`, and a bit more if `is_more`, to the nearest integer, ties to even.
fn shifted(bits: u128, drop: u32, is_more: bool) -> u128 {
    if drop == 0 {
        return bits;
    }
    if drop > 127 {
        // Less than a half, as no caller has all 128 bits set.
        return 0;
    }
    let (whole, part, half) = (bits >> drop, bits & ((1 << drop) - 1), 1 << (drop - 1));
    let is_up = match part.cmp(&half) {
        Ordering::Less => false,
        Ordering::Equal => is_more || whole & 1 == 1,
        Ordering::Greater => true,
    };
    whole + u128::from(is_up)
}

/// Digits with perhaps a point and an exponent, all of the text.
fn decimal(text: &[u8]) -> Option<Extended> {
    let (digits, exponent) = scan(text, 10, b'e')?;
    if digits.is_empty() {
        return Some(Extended::ZERO);
    }
    if exponent.abs() > EXPONENT_LIMIT {
        return None;
    }
    let mut number = Natural::default();
    digits.iter().for_each(|&digit| number.multiply_and_add(10, u64::from(digit)));
    if exponent >= 0 {
        (0..exponent).for_each(|_| number.multiply_and_add(10, 0));
        return number.to_extended(0, false);
    }
    // Ten is less than 2^3.33: enough bits stay for the mantissa and one more.
    let shift = 66 + (-exponent * 10 / 3) as u32 + 1;
    let mut number = number.shifted(shift);
    let is_more = (0..-exponent).fold(false, |is_more, _| number.divide(10) != 0 || is_more);
    number.to_extended(-(shift as i32), is_more)
}

/// Hexadecimal digits with perhaps a point and a binary exponent, all of the text.
fn hexadecimal(text: &[u8]) -> Option<Extended> {
    let (digits, exponent) = scan(text, 16, b'p')?;
    let mut number = Natural::default();
    digits.iter().for_each(|&digit| number.multiply_and_add(16, u64::from(digit)));
    if exponent.abs() > 4 * EXPONENT_LIMIT && !digits.is_empty() {
        return None;
    }
    number.to_extended(exponent as i32, false)
}

/// The digits' values without zeros in front, and the exponent, less the digits behind the point
/// (of base 10), or less four times their number (of base 16).
fn scan(text: &[u8], base: u32, mark: u8) -> Option<(Vec<u8>, i64)> {
    let value = |byte: u8| char::from(byte).to_digit(base).map(|value| value as u8);
    let whole_len = text.iter().take_while(|&&byte| value(byte).is_some()).count();
    let (whole, mut rest) = text.split_at(whole_len);
    let mut part: &[u8] = &[];
    if let [b'.', behind @ ..] = rest {
        let len = behind.iter().take_while(|&&byte| value(byte).is_some()).count();
        (part, rest) = behind.split_at(len);
    }
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let exponent = match rest {
        [] => 0,
        [letter, sign @ (b'+' | b'-'), digits @ ..] if letter.eq_ignore_ascii_case(&mark) => {
            let exponent = exponent(digits)?;
            if *sign == b'-' { -exponent } else { exponent }
        }
        [letter, digits @ ..] if letter.eq_ignore_ascii_case(&mark) => exponent(digits)?,
        _ => return None,
    };
    let digits = whole.iter().chain(part).filter_map(|&byte| value(byte));
    let digits = digits.skip_while(|&digit| digit == 0).collect();
    let per_digit = if base == 16 { 4 } else { 1 };
    Some((digits, exponent - part.len() as i64 * per_digit))
}

/// An exponent without its sign; one that is out of all bounds stays so.
fn exponent(digits: &[u8]) -> Option<i64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| {
        let add = |number: i64, digit: &u8| number * 10 + i64::from(digit - b'0');
        digits.iter().fold(0, |number, digit| add(number, digit).min(1 << 40))
    })
}

/// A natural number of any size: limbs of 64 bits, the lowest first, the highest not zero.
#[derive(Debug, Default)]
struct Natural(Vec<u64>);

impl Natural {
    /// `number * 2^shift`
    fn new(number: u64, shift: u32) -> Self {
        let limbs = if number == 0 { Vec::new() } else { vec![number] };
        Natural(limbs).shifted(shift)
    }

    fn multiply_and_add(&mut self, factor: u64, summand: u64) {
        let mut carry = summand;
        for limb in &mut self.0 {
            let product = u128::from(*limb) * u128::from(factor) + u128::from(carry);
            (*limb, carry) = (product as u64, (product >> 64) as u64);
        }
        if carry != 0 {
            self.0.push(carry);
        }
    }

    /// Answers the remainder.
    fn divide(&mut self, divisor: u64) -> u64 {
        let mut remainder = 0;
        for limb in self.0.iter_mut().rev() {
            let dividend = u128::from(remainder) << 64 | u128::from(*limb);
            *limb = (dividend / u128::from(divisor)) as u64;
            remainder = (dividend % u128::from(divisor)) as u64;
        }
        if self.0.last() == Some(&0) {
            self.0.pop();
        }
        remainder
    }

    fn shifted(mut self, shift: u32) -> Self {
        self.multiply_and_add(1 << (shift % 64), 0);
        if !self.0.is_empty() {
            self.0.splice(0..0, (0..shift / 64).map(|_| 0));
        }
        self
    }

    /// The nearest number to this times `2^exponent`, and a bit more if `is_more`.
    fn to_extended(&self, exponent: i32, is_more: bool) -> Option<Extended> {
        let Some(&top) = self.0.last() else { return Some(Extended::ZERO) };
        let limb = |index: usize| self.0.len().checked_sub(index).map_or(0, |at| self.0[at]);
        // Of three limbs at least the upper 129 bits count; all below are one bit more or less.
        let zeros = top.leading_zeros();
        let high = u128::from(top) << 64 | u128::from(limb(2));
        let high =
            if zeros == 0 { high } else { high << zeros | u128::from(limb(3) >> (64 - zeros)) };
        let rest_of_third = if zeros == 0 { limb(3) } else { limb(3) << zeros };
        let below = self.0.len().saturating_sub(3);
        let is_more =
            is_more || rest_of_third != 0 || self.0[..below].iter().any(|&limb| limb != 0);
        let exponent = exponent + 64 * (self.0.len() as i32 - 2) - zeros as i32;
        let number = rounded(high, exponent, is_more)?;
        let is_zero = (number.exponent + 63, number.mantissa) <= (MIN_EXPONENT, 1 << 63);
        (!is_zero).then_some(number)
    }

    fn into_text(mut self) -> String {
        const CHUNK: u64 = 10u64.pow(19);
        let mut chunks = Vec::new();
        while !self.0.is_empty() {
            chunks.push(self.divide(CHUNK));
        }
        let mut text = chunks.pop().unwrap_or_default().to_string();
        chunks.iter().rev().for_each(|chunk| text.push_str(&format!("{chunk:019}")));
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Extended {
        match Extended::read(text.as_bytes()) {
            Some(Read::Finite(number)) => number,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn sum(a: &str, b: &str) -> String {
        number(a).add(number(b)).expect("finite").to_text()
    }

    #[test]
    fn sums_are_those_of_redis() {
        for (a, b, expected) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3", "1.1", "4.1"),
            ("-1", "1", "0"),
            ("-0.5", "-0.25", "-0.75"),
            ("1e20", "1", "100000000000000000000"),
            ("1e-17", "0", "0.00000000000000001"),
            ("1e-18", "0", "0"),
            ("-1e-18", "0", "0"),
            ("9223372036854775807", "1", "9223372036854775808"),
            ("0x10", "0x.8p1", "17"),
            ("+.5", "5.", "5.5"),
            ("17179869184.25", "0.7", "17179869184.94999999925494194"),
            ("18446744073709551615", "1", "18446744073709551616"),
            ("18446744073709551616", "1", "18446744073709551616"),
            ("18446744073709551616", "3", "18446744073709551620"),
            ("36893488147419103232", "-1", "36893488147419103232"),
            ("1e30", "-1e13", "999999999999999989991652458496"),
        ] {
            assert_eq!(sum(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            "-",
            ".",
            "e5",
            "1e",
            "1e+",
            " 1",
            "1 ",
            "1a",
            "nan",
            "--1",
            "0x",
            "0xg",
            "1e5000",
            "1e-5000",
            "0x1p-16446",
            "1e99999999999999999999",
            "infinit",
            "1..2",
            "1e1.5",
        ] {
            assert_eq!(Extended::read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Extended::read(&[b'1'; MAX_TEXT_BYTES + 1]), None);
        for text in ["inf", "-INF", "Infinity"] {
            assert_eq!(Extended::read(text.as_bytes()), Some(Read::Infinite));
        }
        assert_eq!(number("0e99999999999"), Extended::ZERO);
    }

    #[test]
    fn sums_may_be_too_large() {
        let large = number("1.1e4932");
        assert_eq!(large.add(large), None);
        assert_eq!(large.add(-large), Some(Extended::ZERO));
    }

    proptest! {
        #[test]
        fn integers_are_exact(a in any::<i64>(), b in any::<i64>()) {
            let exact = i128::from(a) + i128::from(b);
            // Up to 64 bits nothing is rounded.
            prop_assert_eq!(sum(&a.to_string(), &b.to_string()), exact.to_string());
        }

        /// Numbers of 53 bits and their sums within 64 bits are exact in both.
        #[test]
        fn reading_agrees_with_f64(mantissa in 0u64..1 << 53, exponent in -60i32..60) {
            let float = mantissa as f64 * 2f64.powi(exponent);
            let number = number(&format!("{float:.60}"));
            prop_assert_eq!(number, rounded(mantissa.into(), exponent, false).unwrap());
        }

        #[test]
        fn a_sum_takes_either_order(a in "-?[0-9]{1,25}(\\.[0-9]{1,25})?", b in "-?[0-9]{1,25}") {
            prop_assert_eq!(number(&a).add(number(&b)), number(&b).add(number(&a)));
        }
    }
}
