//! Requests that people type: words of one line, quoted like in C or in a shell.

use kevy_rt::Burst;

/// A quote that is not closed, or that goes on after it was closed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unbalanced;

/// Adds the words of `line`, which starts at `offset` of the input, to the open request. A word
/// without quotes stays in place.
pub(crate) fn split(line: &[u8], offset: usize, burst: &mut Burst) -> Result<(), Unbalanced> {
    let mut at = 0;
    loop {
        at += line[at..].iter().take_while(|byte| is_blank(**byte)).count();
        if at == line.len() {
            return Ok(());
        }
        let rest = &line[at..];
        let plain =
            rest.iter().position(|byte| matches!(byte, b' ' | b'\r' | b'\t' | b'"' | b'\''));
        let plain = plain.unwrap_or(rest.len());
        if matches!(rest.get(plain), Some(b'"' | b'\'')) {
            let (word, len) = unquote(rest)?;
            burst.push_owned(word);
            at += len;
        } else {
            burst.push(offset + at, plain);
            at += plain;
        }
    }
}

/// What may stand before a word and has to stand after a closed quote.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Reads the word at the start of `text`, which has quotes: what it says, and its length there.
fn unquote(text: &[u8]) -> Result<(Vec<u8>, usize), Unbalanced> {
    let mut word = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let len = match byte {
            b' ' | b'\r' | b'\t' => break,
            b'"' => double_quoted(&text[at + 1..], &mut word)?,
            b'\'' => single_quoted(&text[at + 1..], &mut word)?,
            _ => {
                word.push(byte);
                at += 1;
                continue;
            }
        };
        // A closed quote ends the word.
        at += 1 + len;
        break;
    }
    Ok((word, at))
}

/// Reads up to the closing quote; returns how many bytes, the quote included.
fn double_quoted(text: &[u8], word: &mut Vec<u8>) -> Result<usize, Unbalanced> {
    let mut at = 0;
    loop {
        let (byte, len) = match text[at..] {
            [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(high) << 4 | hex(low), 4)
            }
            [b'\\', escaped, ..] => (unescape(escaped), 2),
            [b'"', ..] => return closed(text, at),
            [byte, ..] => (byte, 1),
            [] => return Err(Unbalanced),
        };
        word.push(byte);
        at += len;
    }
}

/// Reads up to the closing quote; returns how many bytes, the quote included.
fn single_quoted(text: &[u8], word: &mut Vec<u8>) -> Result<usize, Unbalanced> {
    let mut at = 0;
    loop {
        let (byte, len) = match text[at..] {
            [b'\\', b'\'', ..] => (b'\'', 2),
            [b'\'', ..] => return closed(text, at),
            [byte, ..] => (byte, 1),
            [] => return Err(Unbalanced),
        };
        word.push(byte);
        at += len;
    }
}

/// The quote at `at` closes: nothing or a blank follows.
fn closed(text: &[u8], at: usize) -> Result<usize, Unbalanced> {
    match text.get(at + 1) {
        Some(&byte) if !is_blank(byte) => Err(Unbalanced),
        _ => Ok(at + 1),
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}
