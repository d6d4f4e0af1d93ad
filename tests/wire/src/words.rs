//! Commands as text: the words of a line, and bytes made readable.

use std::fmt::Write;

/// Splits a line into arguments as redis-cli does: at spaces, except in double quotes, inside of
/// which `\r`, `\n`, `\t`, `\"`, `\\` and `\xHH` stand for one byte. A word `<x*N>` outside of
/// quotes stands for `N` times the text `x`.
///
/// # Panics
///
/// If a quote stays open or an escape is not known: the line is a test's own text.
#[must_use]
pub fn words(line: &str) -> Vec<Vec<u8>> {
    let mut rest = line.trim();
    let mut out = Vec::new();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_word(quoted),
            None => {
                let end = rest.find(' ').unwrap_or(rest.len());
                (plain_word(&rest[..end]), &rest[end..])
            }
        };
        out.push(word);
        rest = after.trim_start();
    }
    out
}

fn plain_word(word: &str) -> Vec<u8> {
    let repeated = word
        .strip_prefix('<')
        .and_then(|word| word.strip_suffix('>'))
        .and_then(|word| word.rsplit_once('*'))
        .and_then(|(text, times)| Some(text.repeat(times.parse().ok()?)));
    repeated.unwrap_or_else(|| word.to_owned()).into_bytes()
}

fn quoted_word(text: &str) -> (Vec<u8>, &str) {
    let mut word = Vec::new();
    let mut chars = text.char_indices();
    while let Some((at, character)) = chars.next() {
        match character {
            '"' => return (word, &text[at + 1..]),
            '\\' => match chars.next().expect("a character after the backslash").1 {
                'r' => word.push(b'\r'),
                'n' => word.push(b'\n'),
                't' => word.push(b'\t'),
                'x' => {
                    word.push(u8::from_str_radix(&text[at + 2..at + 4], 16).expect("two digits"));
                    chars.next();
                    chars.next();
                }
                escaped @ ('"' | '\\') => word.push(escaped as u8),
                other => panic!("no escape: \\{other} in {text}"),
            },
            other => word.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    panic!("a quote stays open: {text}")
}

/// Bytes as readable text in quotes, cut where they become long.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    const SHOWN: usize = 400;
    let mut out = format!("\"{}\"", bytes[..bytes.len().min(SHOWN)].escape_ascii());
    if bytes.len() > SHOWN {
        write!(out, " and {} bytes more", bytes.len() - SHOWN).expect("a string takes all");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_spaces_outside_of_quotes() {
        let expected: [&[u8]; 4] = [b"SET", b"a b", b"\x00\r\n\"", b""];
        assert_eq!(words(r#"SET "a b"  "\x00\r\n\"" """#), expected);
        assert_eq!(words("<ab*3> <x>"), [&b"ababab"[..], b"<x>"]);
    }
}
