//! Writes replies piece by piece, for handlers that don't build them as values.

use kevy_rt::{Reply, Value};

use crate::number::{DIGITS, digits, push_double};
use crate::{Dialect, Resp};

/// The pieces of which replies are made. A head announces how many elements the caller writes
/// after it.
pub trait Writer {
    /// The head of a list of `len` elements.
    fn array(&mut self, len: usize);
    /// The head of a map of `len` keys, each followed by its value.
    fn map(&mut self, len: usize);
    /// The head of a set of `len` elements.
    fn set(&mut self, len: usize);
    /// The head of something that the client didn't ask for, of `len` elements.
    fn push(&mut self, len: usize);
    /// A string of any bytes.
    fn bulk(&mut self, bytes: &[u8]);
    /// A string of any bytes, attached rather than copied if it is large.
    fn value(&mut self, value: Value<'_>);
    /// An integer.
    fn integer(&mut self, number: i64);
    /// No value.
    fn null(&mut self);
    /// No list.
    fn null_array(&mut self);
    /// A double.
    fn double(&mut self, number: f64);
    /// A short text without line breaks, such as OK.
    fn status(&mut self, text: &str);
    /// An error, its code included.
    fn error(&mut self, text: &str);
    /// An error that quotes what a client sent, its code included.
    fn error_bytes(&mut self, text: &[u8]);
    /// A text with its format, three letters.
    fn verbatim(&mut self, format: &str, text: &[u8]);
    /// True or false; in RESP2 one or zero.
    fn boolean(&mut self, value: bool);
    /// An integer of any size, in decimal.
    fn big_number(&mut self, decimal: &str);
}

/// Appends `tag`, `number` and a line end.
#[inline(always)]
fn head(out: &mut Vec<u8>, tag: u8, number: u64) {
    // Small types: the compiler then divides by a short multiplication.
    let digit = |unit: u16| b'0' + (number as u16 / unit % 10) as u8;
    match number {
        0..10 => out.extend_from_slice(&[tag, digit(1), b'\r', b'\n']),
        10..100 => out.extend_from_slice(&[tag, digit(10), digit(1), b'\r', b'\n']),
        100..1000 => {
            out.extend_from_slice(&[tag, digit(100), digit(10), digit(1), b'\r', b'\n']);
        }
        _ => long_head(out, tag, number),
    }
}

fn long_head(out: &mut Vec<u8>, tag: u8, number: u64) {
    let mut buffer = [0; DIGITS];
    let at = digits(number, &mut buffer);
    out.reserve(DIGITS + 3);
    out.push(tag);
    out.extend_from_slice(&buffer[at..]);
    out.extend_from_slice(b"\r\n");
}

/// Appends an unsigned integer reply.
#[inline]
pub(crate) fn unsigned(reply: &mut Reply<'_, Resp>, number: u64) {
    head(reply.out().buffer(), b':', number);
}

#[inline]
fn is_resp3(reply: &Reply<'_, Resp>) -> bool {
    let Dialect { resp3, .. } = reply.scope();
    resp3
}

impl Writer for Reply<'_, Resp> {
    #[inline]
    fn array(&mut self, len: usize) {
        head(self.out().buffer(), b'*', len as u64);
    }

    #[inline]
    fn map(&mut self, len: usize) {
        let (tag, len) = if is_resp3(self) { (b'%', len) } else { (b'*', len * 2) };
        head(self.out().buffer(), tag, len as u64);
    }

    #[inline]
    fn set(&mut self, len: usize) {
        let tag = if is_resp3(self) { b'~' } else { b'*' };
        head(self.out().buffer(), tag, len as u64);
    }

    #[inline]
    fn push(&mut self, len: usize) {
        let tag = if is_resp3(self) { b'>' } else { b'*' };
        head(self.out().buffer(), tag, len as u64);
    }

    #[inline]
    fn bulk(&mut self, bytes: &[u8]) {
        let out = self.out().buffer();
        head(out, b'$', bytes.len() as u64);
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn value(&mut self, value: Value<'_>) {
        let out = self.out();
        head(out.buffer(), b'$', value.len() as u64);
        out.value(value);
        out.extend(b"\r\n");
    }

    #[inline]
    fn integer(&mut self, number: i64) {
        let out = self.out().buffer();
        if number >= 0 {
            return head(out, b':', number as u64);
        }
        out.push(b':');
        head(out, b'-', number.unsigned_abs());
    }

    #[inline]
    fn null(&mut self) {
        let text: &[u8] = if is_resp3(self) { b"_\r\n" } else { b"$-1\r\n" };
        self.out().extend(text);
    }

    #[inline]
    fn null_array(&mut self) {
        let text: &[u8] = if is_resp3(self) { b"_\r\n" } else { b"*-1\r\n" };
        self.out().extend(text);
    }

    fn double(&mut self, number: f64) {
        let resp3 = is_resp3(self);
        let out = self.out().buffer();
        if resp3 {
            out.push(b',');
            push_double(out, number);
        } else {
            // The text's length is known when it is written: its head is written behind it and then
            // turned to the front.
            let start = out.len();
            push_double(out, number);
            let len = out.len() - start;
            head(out, b'$', len as u64);
            out[start..].rotate_left(len);
        }
        out.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn status(&mut self, text: &str) {
        let out = self.out().buffer();
        out.push(b'+');
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    #[cold]
    fn error(&mut self, text: &str) {
        self.error_bytes(text.as_bytes());
    }

    #[cold]
    fn error_bytes(&mut self, text: &[u8]) {
        self.out().count_error();
        let out = self.out().buffer();
        out.push(b'-');
        out.extend(
            text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }),
        );
        out.extend_from_slice(b"\r\n");
    }

    fn verbatim(&mut self, format: &str, text: &[u8]) {
        if !is_resp3(self) {
            return self.bulk(text);
        }
        debug_assert_eq!(format.len(), 3);
        let out = self.out().buffer();
        head(out, b'=', text.len() as u64 + 4);
        out.extend_from_slice(format.as_bytes());
        out.push(b':');
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn boolean(&mut self, value: bool) {
        let text = match (is_resp3(self), value) {
            (true, true) => b"#t\r\n",
            (true, false) => b"#f\r\n",
            (false, true) => b":1\r\n",
            (false, false) => b":0\r\n",
        };
        self.out().extend(text);
    }

    fn big_number(&mut self, decimal: &str) {
        if !is_resp3(self) {
            return self.bulk(decimal.as_bytes());
        }
        let out = self.out().buffer();
        out.push(b'(');
        out.extend_from_slice(decimal.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}
