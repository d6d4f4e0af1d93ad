//! The words of a configuration line: separated by blanks, quoted as in C or in a shell.

/// The words; `None` if a quote isn't closed, or goes on after it was closed.
pub(super) fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() {
        let (word, after) = next(rest)?;
        words.push(word);
        rest = after.trim_ascii_start();
    }
    Some(words)
}

/// The first word, and what follows it.
fn next(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    let mut rest = text;
    loop {
        match rest {
            [] => return Some((word, rest)),
            [blank, ..] if blank.is_ascii_whitespace() => return Some((word, rest)),
            [quote @ (b'"' | b'\''), quoted @ ..] => {
                rest = unquote(*quote, quoted, &mut word)?;
                let is_over = rest.first().is_none_or(u8::is_ascii_whitespace);
                return is_over.then_some((word, rest));
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// Reads up to the closing quote; answers what follows it.
fn unquote<'a>(quote: u8, text: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    let mut rest = text;
    loop {
        let (byte, after) = match rest {
            [b'\\', b'x', high, low, after @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex(*high) << 4 | hex(*low), after)
            }
            [b'\\', escaped, after @ ..] if quote == b'"' => (unescape(*escaped), after),
            [b'\\', b'\'', after @ ..] => (b'\'', after),
            [byte, after @ ..] if *byte == quote => return Some(after),
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        word.push(byte);
        rest = after;
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

fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).unwrap_or_default() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_blanks_and_escapes() {
        let words = |line: &str| {
            let words = split(line.as_bytes())?;
            Some(words.iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>())
        };
        let fine = |line, expected: &[&str]| {
            let expected = expected.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(words(line), Some(expected), "{line}");
        };
        fine("", &[]);
        fine("  \t ", &[]);
        fine(" port\t6379 ", &["port", "6379"]);
        fine(r#"save """#, &["save", ""]);
        fine(r#"a "b c" 'd e'"#, &["a", "b c", "d e"]);
        fine(r#"a "\x41\n\"\q""#, &["a", r#"A\n\"q"#]);
        fine(r"a '\x41\'s'", &["a", r"\\x41\'s"]);
        fine(r#"pre"fixed""#, &["prefixed"]);
        for line in [r#"""#, "'", r#"a "b"#, r#""a"b"#, "'a'b"] {
            assert_eq!(words(line), None, "{line}");
        }
    }
}
