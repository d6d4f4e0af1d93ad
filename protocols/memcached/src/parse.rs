//! Requests, parsed where they were received: lines of words, and the data blocks behind some.
//!
//! A request's arguments are the words of its line; behind those of a line with a data block there
//! is the block. What has to be known to find the next request is checked here, and answered here if
//! it is wrong: such a request has an empty verb, and the reply as its argument. All else is up to
//! the commands.
//!
//! The block of an item that is too large is passed over without taking memory: the command sees
//! that it is shorter than its line says.
//!
//! Of a request that the input ends within, state word 0 says what is missing:
//!
//! ```text
//! 0   the end of its line: the bytes before `at` hold none
//! 1   its block from `at` on, or only its end if the block was gathered elsewhere
//! 2   the end of its block, at `at`
//! ```
//!
//! Word 1 says what becomes of a block without a good end: bit 0, no reply is wanted; bit 1, nobody
//! looks at it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use kevy_rt::{Args, Body, Burst, ParseLimits, Resume, Span};
use memchr::{memchr, memchr_iter};

use crate::error::Error;
use crate::item::{self, KEY_BYTES};
use crate::number::{signed_32, unsigned, unsigned_32};

const LINE: u64 = 0;
const BODY: u64 = 1;
const END: u64 = 2;

const QUIET: u64 = 1;
const REFUSED: u64 = 1 << 1;

/// Words of a meta command's line that memcached takes.
const META_WORDS: usize = 19;

/// Words of a line that need to be looked at; only keys may be more.
const WORDS: usize = META_WORDS + 2;

/// The longest value that a line may announce: with its end it is counted in 31 bits.
const LONGEST_VALUE: i32 = i32::MAX - 2;

/// Parses as many requests as `burst` has room for.
#[inline]
pub(crate) fn parse(
    input: &[u8],
    resume: &mut Resume,
    limits: &ParseLimits,
    burst: &mut Burst,
) -> Result<(), Error> {
    let input = &input[..input.len().min(Span::MAX_BUFFER)];
    let mut parser = Parser { input, limits, resume, burst };
    let mut at = 0;
    if !parser.resume.is_fresh() {
        let Some(end) = parser.go_on()? else { return Ok(()) };
        at = end;
    }
    while at < input.len() && parser.burst.room() > 0 {
        let Some(end) = parser.line(at, 0)? else { break };
        at = end;
    }
    Ok(())
}

/// The reply to a request that was found wrong here.
pub(crate) fn error_of(args: Args<'_>) -> Option<&[u8]> {
    match (args.get(0), args.get(1)) {
        (Some(b""), text) => text,
        _ => None,
    }
}

/// A word of the input.
#[derive(Clone, Copy, Default)]
struct Word {
    at: usize,
    len: usize,
}

/// The first words of a line.
struct Words {
    words: [Word; WORDS],
    /// How many the line has, at most [`WORDS`] of them known.
    count: usize,
}

impl Words {
    /// The words of `input` from `at` to `end`.
    fn of(input: &[u8], at: usize, end: usize) -> Self {
        let mut words = Words { words: [Word::default(); WORDS], count: 0 };
        each_word(input, at, end, |word| {
            if let Some(place) = words.words.get_mut(words.count) {
                *place = word;
            }
            words.count += 1;
        });
        words
    }

    fn known(&self) -> &[Word] {
        &self.words[..self.count.min(WORDS)]
    }
}

/// Where the word that starts at `at` ends: at a blank, or at the end of its line. Words are short:
/// eight bytes are looked at at once.
#[inline(always)]
fn word_end(input: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xFF;
    const TOPS: u64 = ONES << 7;
    let rest = loop {
        let rest = input.get(at..)?;
        let Some(chunk) = rest.first_chunk() else { break rest };
        let chunk = u64::from_le_bytes(*chunk);
        // A byte becomes zero, which is the first to borrow (Mycroft, 1987).
        let [blank, newline] = [b' ', b'\n'].map(|byte| {
            let zeroed = chunk ^ (u64::from(byte) * ONES);
            zeroed.wrapping_sub(ONES) & !zeroed & TOPS
        });
        let found = blank | newline;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += size_of_val(&chunk);
    };
    rest.iter().position(|&byte| byte == b' ' || byte == b'\n').map(|end| at + end)
}

/// Calls `see` with each word of `input` from `at` to `end`.
fn each_word(input: &[u8], at: usize, end: usize, mut see: impl FnMut(Word)) {
    let mut start = at;
    let mut word = |start: usize, end: usize| {
        if end > start {
            see(Word { at: start, len: end - start });
        }
    };
    for blank in memchr_iter(b' ', &input[at..end]) {
        word(start, at + blank);
        start = at + blank + 1;
    }
    word(start, end);
}

/// Methods return where the request that they read ends; none if the input ends before, and what
/// was read is saved.
struct Parser<'a> {
    input: &'a [u8],
    limits: &'a ParseLimits,
    resume: &'a mut Resume,
    burst: &'a mut Burst,
}

type Read = Result<Option<usize>, Error>;

impl Parser<'_> {
    /// Goes on with the request that an earlier call saved.
    #[cold]
    fn go_on(&mut self) -> Read {
        let [missing, how] = std::mem::take(&mut self.resume.state);
        let at = std::mem::take(&mut self.resume.at);
        let body = self.resume.body;
        self.resume.restore(self.burst);
        match (missing, body) {
            (LINE, _) => self.line(0, at),
            (BODY, Some(body)) => self.body(body, how),
            _ => self.end(at, how),
        }
    }

    /// Reads the request whose line starts at `start` and doesn't end in the first `searched` bytes
    /// of it.
    #[inline(always)]
    fn line(&mut self, start: usize, searched: usize) -> Read {
        // Of a line that was searched before, keys are read when its end is here.
        if searched > 0 && memchr(b'\n', &self.input[start + searched..]).is_none() {
            return self.wait_for_line(start);
        }
        match &self.input[start..] {
            [b'g', b'e', b't', b' ', ..] => {
                self.keys(&[Word { at: start, len: 3 }], start, start + 4)
            }
            [b'g', b'e', b't', b's', b' ', ..] => {
                self.keys(&[Word { at: start, len: 4 }], start, start + 5)
            }
            _ => self.other(start, searched),
        }
    }

    /// Takes a line, or the start of one, if it isn't too long.
    #[inline(always)]
    fn take_line(&self, line: &[u8]) -> Result<(), Error> {
        let is_too_long = line.len() > self.limits.line_bytes && line.len() > self.longest(line);
        if is_too_long { Err(Error::SILENT) } else { Ok(()) }
    }

    /// How long a line that starts like this one may be: any number of keys may be named.
    #[cold]
    fn longest(&self, line: &[u8]) -> usize {
        match line.starts_with(b"get ") || line.starts_with(b"gets ") {
            true => self.limits.request_bytes,
            false => self.limits.line_bytes,
        }
    }

    #[cold]
    fn wait_for_line(&mut self, start: usize) -> Read {
        self.take_line(&self.input[start..])?;
        self.resume.save(self.burst, self.input.len(), [LINE, 0], None);
        Ok(None)
    }

    /// Reads a request whose line starts at `start`, of some words and any number of keys, which lie
    /// from `at` on.
    #[inline(always)]
    fn keys(&mut self, words: &[Word], start: usize, mut at: usize) -> Read {
        let input = self.input;
        words.iter().for_each(|word| self.burst.push(word.at, word.len));
        let (mut count, mut longest) = (words.len(), 0);
        let newline = loop {
            let Some(end) = word_end(input, at) else {
                self.burst.abandon();
                return self.wait_for_line(start);
            };
            let is_last = input[end] == b'\n';
            let len = end - at - usize::from(is_last && end > at && input[end - 1] == b'\r');
            if len > 0 {
                self.burst.push(at, len);
                count += 1;
                longest = longest.max(len);
            }
            if is_last {
                break end;
            }
            at = end + 1;
        };
        self.take_line(&input[start..newline])?;
        if longest > KEY_BYTES {
            return self.answer(Error::FORMAT, newline + 1);
        }
        self.close(count, newline + 1)
    }

    /// Ends a request of `count` arguments.
    #[inline(always)]
    fn close(&mut self, count: usize, next: usize) -> Read {
        self.take(count)?;
        self.burst.close(next);
        Ok(Some(next))
    }

    /// Takes a request of `count` arguments, if it isn't too many.
    #[inline(always)]
    fn take(&self, count: usize) -> Result<(), Error> {
        if count > self.limits.args { Err(Error::SILENT) } else { Ok(()) }
    }

    /// Ends a request with the reply to it, if that says anything.
    #[cold]
    fn answer(&mut self, error: Error, next: usize) -> Read {
        self.burst.abandon();
        if error != Error::SILENT {
            self.burst.push(next, 0);
            self.burst.push_owned(error.0.into());
        }
        self.burst.close(next);
        Ok(Some(next))
    }

    fn text(&self, word: Word) -> &[u8] {
        &self.input[word.at..word.at + word.len]
    }

    /// Reads a request that isn't a plain `get`.
    #[inline(never)]
    fn other(&mut self, start: usize, searched: usize) -> Read {
        let Some(newline) = memchr(b'\n', &self.input[start + searched..]) else {
            return self.wait_for_line(start);
        };
        let newline = start + searched + newline;
        let line = &self.input[start..newline];
        self.take_line(line)?;
        let end = if line.last() == Some(&b'\r') { newline - 1 } else { newline };
        let next = newline + 1;
        let words = Words::of(self.input, start, end);
        let Some(&verb) = words.known().first() else {
            return self.answer(Error::UNKNOWN, next);
        };
        match self.text(verb) {
            b"get" | b"gets" | b"bget" | b"gat" | b"gats" => self.many(&words, start, next),
            b"set" | b"add" | b"replace" | b"append" | b"prepend" => self.storage(&words, 5, next),
            b"cas" => self.storage(&words, 6, next),
            b"ms" => self.meta_set(&words, next),
            b"mg" | b"md" | b"ma" | b"me" => self.meta(&words, next),
            b"mn" => {
                self.burst.push(verb.at, verb.len);
                self.close(1, next)
            }
            b"incr" | b"decr" | b"touch" => self.one_key(&words, 3..=4, next),
            b"delete" => self.one_key(&words, 2..=4, next),
            b"flush_all" | b"version" | b"verbosity" | b"quit" | b"stats" | b"shutdown" => {
                let is_lower = |word: &Word| !self.text(*word).iter().any(u8::is_ascii_uppercase);
                if words.known().get(1).is_some_and(|word| !is_lower(word)) {
                    return self.answer(Error::UNKNOWN, next);
                }
                self.push(&words);
                self.close(words.count, next)
            }
            _ => self.answer(Error::UNKNOWN, next),
        }
    }

    /// Adds the words of a line that hasn't too many.
    fn push(&mut self, words: &Words) {
        words.known().iter().for_each(|word| self.burst.push(word.at, word.len));
    }

    /// Reads a request for any number of keys, `get` with blanks in unusual places included.
    fn many(&mut self, words: &Words, start: usize, next: usize) -> Read {
        let before = if self.text(words.words[0]).starts_with(b"gat") { 2 } else { 1 };
        let exptime = words.words[1];
        if words.count < 2 {
            return self.answer(Error::UNKNOWN, next);
        }
        if before == 2 && signed_32(self.text(exptime)).is_none() {
            return self.answer(Error::EXPTIME, next);
        }
        if words.count == before {
            return self.answer(Error::END, next);
        }
        let last = words.words[before - 1];
        self.keys(&words.words[..before], start, last.at + last.len)
    }

    /// Whether a line ends with the word that asks for no reply.
    fn is_quiet(&self, words: &Words) -> bool {
        words.count <= WORDS
            && words.known().last().is_some_and(|&word| self.text(word) == b"noreply")
    }

    /// Reads a request for one key with no data block.
    fn one_key(
        &mut self,
        words: &Words,
        counts: std::ops::RangeInclusive<usize>,
        next: usize,
    ) -> Read {
        if !counts.contains(&words.count) {
            return self.answer(Error::UNKNOWN, next);
        }
        // What is wrong with a deletion is more important than its key.
        let is_hold = words.count > 2 && self.text(words.words[0]) == b"delete";
        if words.words[1].len > KEY_BYTES && !is_hold {
            return self.answer(Error::FORMAT.unless(self.is_quiet(words)), next);
        }
        self.push(words);
        self.close(words.count, next)
    }

    /// Reads a request with a data block: of `fewest` words, and perhaps one that asks for no reply,
    /// which is always there as an argument.
    fn storage(&mut self, words: &Words, fewest: usize, next: usize) -> Read {
        let [_, key, flags, exptime, len, cas, ..] = words.words;
        if words.count != fewest && words.count != fewest + 1 {
            return self.answer(Error::UNKNOWN, next);
        }
        let is_quiet = self.is_quiet(words);
        let flags = unsigned_32(self.text(flags)).filter(|_| key.len <= KEY_BYTES);
        let is_number = signed_32(self.text(exptime)).is_some()
            && (fewest == 5 || unsigned(self.text(cas)).is_some());
        let (Some(flags), true, Some(len)) = (flags, is_number, self.value_len(len)) else {
            return self.answer(Error::FORMAT.unless(is_quiet), next);
        };
        // With the word that asks for no reply, and the block.
        self.take(fewest + 2)?;
        words.words[..fewest].iter().for_each(|word| self.burst.push(word.at, word.len));
        let last = words.words[fewest - 1 + usize::from(is_quiet)];
        self.burst.push(last.at, if is_quiet { last.len } else { 0 });
        let is_refused = item::size(key.len, flags, len) > self.limits.argument_bytes;
        let how = if is_quiet { QUIET } else { 0 } | if is_refused { REFUSED } else { 0 };
        self.body(Body { start: next, len, is_refused }, how)
    }

    /// The length of a value that a line announces.
    fn value_len(&self, word: Word) -> Option<usize> {
        let len = signed_32(self.text(word)).filter(|&len| len <= LONGEST_VALUE)?;
        usize::try_from(len).ok()
    }

    /// Reads the data block of a request whose line was read.
    fn body(&mut self, body: Body, how: u64) -> Read {
        if self.input.len() - body.start < body.len {
            self.resume.save(self.burst, body.start, [BODY, how], Some(body));
            return Ok(None);
        }
        self.burst.push(body.start, if body.is_refused { 0 } else { body.len });
        self.end(body.start + body.len, how)
    }

    /// Reads what is behind a data block.
    fn end(&mut self, at: usize, how: u64) -> Read {
        let Some(end) = self.input.get(at..at + 2) else {
            self.resume.save(self.burst, at, [END, how], None);
            return Ok(None);
        };
        if end != b"\r\n" && how & REFUSED == 0 {
            return self.answer(Error::CHUNK.unless(how & QUIET != 0), at + 2);
        }
        self.burst.close(at + 2);
        Ok(Some(at + 2))
    }

    /// Reads a meta command without a data block. A key in base64 becomes what it stands for.
    fn meta(&mut self, words: &Words, next: usize) -> Read {
        let [verb, key, ..] = words.words;
        let kind = self.text(verb)[1];
        let fewest = if kind == b'e' { Error::FORMAT } else { Error::UNKNOWN };
        if words.count < 2 {
            return self.answer(fewest, next);
        }
        if key.len > KEY_BYTES {
            return self.answer(Error::FORMAT, next);
        }
        if kind != b'e' && words.count > META_WORDS {
            let error = if kind == b'g' { Error::MANY_FLAGS_OF_GET } else { Error::MANY_FLAGS };
            return self.answer(error, next);
        }
        let flags = match kind {
            b'e' => words.known().get(2..3).filter(|flag| self.text(flag[0]) == b"b"),
            _ => words.known().get(2..),
        };
        self.burst.push(verb.at, verb.len);
        if !self.push_key(key, flags.unwrap_or_default()) {
            let error = match kind {
                b'e' => Error::FORMAT,
                b'g' => Error::UNDECODED,
                _ => Error::FLAG,
            };
            return self.answer(error, next);
        }
        words.known()[2..].iter().for_each(|word| self.burst.push(word.at, word.len));
        self.close(words.count, next)
    }

    /// Reads a meta command with a data block.
    fn meta_set(&mut self, words: &Words, next: usize) -> Read {
        let [verb, key, len, ..] = words.words;
        if words.count < 2 {
            return self.answer(Error::UNKNOWN, next);
        }
        if words.count == 2 || key.len > KEY_BYTES {
            return self.answer(Error::FORMAT, next);
        }
        if words.count > META_WORDS {
            return self.answer(Error::MANY_FLAGS, next);
        }
        let Some(value_len) = self.value_len(len) else {
            return self.answer(Error::FORMAT, next);
        };
        let flags = &words.known()[3..];
        let client_flags = flags.iter().map(|&flag| self.text(flag));
        let client_flags = client_flags.filter(|flag| flag[0] == b'F').map(|flag| &flag[1..]);
        let client_flags = client_flags.filter_map(unsigned_32).next().unwrap_or_default();
        self.burst.push(verb.at, verb.len);
        if !self.push_key(key, flags) {
            // The block is there nevertheless, and nobody wants it. An argument that isn't there
            // leaves the command to say what is wrong.
            self.burst.abandon();
            self.burst.push(next, 0);
            self.burst.push_owned(Error::UNDECODED.0.into());
            let body = Body { start: next, len: value_len, is_refused: true };
            return self.body(body, REFUSED);
        }
        // With the block.
        self.take(words.count + 1)?;
        self.burst.push(len.at, len.len);
        flags.iter().for_each(|word| self.burst.push(word.at, word.len));
        let is_refused = item::size(key.len, client_flags, value_len) > self.limits.argument_bytes;
        let how = if is_refused { REFUSED } else { 0 };
        self.body(Body { start: next, len: value_len, is_refused }, how)
    }

    /// Adds a key, decoded if one of the flags says that it came in base64. False if it can't be.
    fn push_key(&mut self, key: Word, flags: &[Word]) -> bool {
        if !flags.iter().any(|flag| self.input[flag.at] == b'b') {
            self.burst.push(key.at, key.len);
            return true;
        }
        match BASE64_STANDARD.decode(self.text(key)) {
            Ok(decoded) if !decoded.is_empty() => {
                self.burst.push_owned(decoded);
                true
            }
            _ => false,
        }
    }
}
