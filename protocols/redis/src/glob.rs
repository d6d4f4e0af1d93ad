//! Glob patterns as Redis matches them: `*`, `?`, `[a-z]`, `[^a]`, `\`.
//!
//! The details are those of its `stringmatchlen`, odd ones included: an unclosed class ends with
//! the pattern, a pattern's bytes are signed in ranges, `*` alone doesn't match an empty text.
//!
//! A text that doesn't match is given another chance only behind the last `*`: what an earlier one
//! could still take, the last one can take as well. So the time is bounded by the product of the
//! two lengths, whatever the pattern.

/// Whether the whole of `text` matches.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    find(pattern, text, |byte| byte)
}

/// Whether the whole of `text` matches, in capitals or not.
pub fn matches_ignoring_case(pattern: &[u8], text: &[u8]) -> bool {
    find(pattern, text, |byte| byte.to_ascii_lowercase())
}

fn find(pattern: &[u8], text: &[u8], fold: impl Fn(u8) -> u8 + Copy) -> bool {
    let (mut at, mut read) = (0, 0);
    // Behind the last `*`, and the first byte of the text that it has not taken yet.
    let mut again = None;
    while read < text.len() {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            again = Some((at, read));
            continue;
        }
        if let Some(end) = pattern.get(at..).and_then(|rest| step(rest, text[read], fold)) {
            at += end;
            read += 1;
            continue;
        }
        let Some((behind, taken)) = &mut again else { return false };
        *taken += 1;
        (at, read) = (*behind, *taken);
    }
    // Stars at the end match nothing, but only behind something.
    if !text.is_empty() {
        at += pattern[at..].iter().take_while(|&&byte| byte == b'*').count();
    }
    at == pattern.len()
}

/// How many bytes of the pattern match this one byte; `None` if it doesn't match.
#[inline]
fn step(pattern: &[u8], byte: u8, fold: impl Fn(u8) -> u8 + Copy) -> Option<usize> {
    match *pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', ..] => class(pattern, byte, fold),
        [b'\\', literal, ..] => (fold(literal) == fold(byte)).then_some(2),
        [literal, ..] => (fold(literal) == fold(byte)).then_some(1),
    }
}

/// A class of bytes: how long it is, if `byte` is in it.
fn class(pattern: &[u8], byte: u8, fold: impl Fn(u8) -> u8) -> Option<usize> {
    let is_negated = pattern.get(1) == Some(&b'^');
    let mut at = if is_negated { 2 } else { 1 };
    let mut is_in = false;
    let end = loop {
        at += match pattern[at..] {
            [] => break at,
            [b'\\', literal, ..] => {
                is_in |= literal == byte;
                2
            }
            [b']', ..] => break at + 1,
            [start, b'-', end, ..] => {
                let [start, end, byte] = [start, end, byte].map(|byte| fold(byte) as i8);
                is_in |= (start.min(end)..=start.max(end)).contains(&byte);
                3
            }
            [literal, ..] => {
                is_in |= fold(literal) == fold(byte);
                1
            }
        };
    };
    (is_in != is_negated).then_some(end)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    /// The definition: a star takes any number of bytes. Exponential time.
    fn by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], []) => by_definition(rest, b""),
            (_, []) => false,
            ([b'*', rest @ ..], [_, tail @ ..]) => {
                by_definition(rest, text) || by_definition(pattern, tail)
            }
            (_, [byte, tail @ ..]) => step(pattern, *byte, |byte| byte)
                .is_some_and(|end| by_definition(&pattern[end..], tail)),
        }
    }

    #[test]
    fn the_cases_of_the_manual() {
        for (pattern, text, is_match) in [
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hbllo", true),
            ("h\\*llo", "h*llo", true),
            ("h\\*llo", "hxllo", false),
            ("[\\]]", "]", true),
            ("[abc", "c", true),
            ("[", "[", false),
            ("[^", "x", true),
            ("[a-", "-", true),
            ("[]", "a", false),
            ("\\", "\\", true),
            ("a*", "a", true),
            ("a**", "a", true),
            ("*", "", false),
            ("", "", true),
            ("?", "", false),
            ("*a?", "baab", true),
            ("*a*b", "xaxbxxb", true),
            ("Hello", "hello", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), is_match, "{pattern} {text}");
        }
        assert!(matches_ignoring_case(b"HeLl[N-O]", b"hEllO"));
        assert!(!matches_ignoring_case(b"[^A]", b"a"));
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let (pattern, text) = ([b"a*".repeat(1000), b"b".to_vec()].concat(), vec![b'a'; 10_000]);
        let start = Instant::now();
        assert!(!matches(&pattern, &text));
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    proptest! {
        #[test]
        fn the_last_star_is_enough(
            pattern in r"[ab?*\[\]^\\\-]{0,12}",
            text in "[ab*\\-\\]]{1,10}",
        ) {
            let expected = by_definition(pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected);
        }

        #[test]
        fn any_bytes_do_no_harm(
            pattern in prop::collection::vec(any::<u8>(), 0..30),
            text in prop::collection::vec(any::<u8>(), 0..30),
        ) {
            let expected = text.is_empty() || by_definition(&pattern, &text);
            prop_assert!(text.is_empty() || matches(&pattern, &text) == expected);
            matches_ignoring_case(&pattern, &text);
        }
    }
}
