//! Requests, parsed where they were received.
//!
//! A request is a list of strings with their lengths, or a line of words. What Redis reads, is read
//! as Redis reads it, down to the bytes that it doesn't look at: the byte after a head line's `\r`
//! and the two after a string are passed over unseen, and a line with a zero byte never ends.
//!
//! A request that the input ends in the middle of is saved with its arguments so far. The state
//! word 0 counts the arguments still to read, the one being read included; none of them says that
//! its first line has not ended, of which the bytes before `at` were searched. Word 1 says what of
//! the argument is missing:
//!
//! ```text
//! 0 | searched << 2   its head, from `at`, of which so many bytes were searched for its end
//! 1                   its body, from `at`, or only its end if the body was gathered elsewhere
//! 2                   the end of its body, at `at`
//! ```

use std::ops::RangeInclusive;

use kevy_rt::{Body, Burst, ParseLimits, Resume, Span, parse_integer};
use memchr::memchr2;

use crate::{Error, inline};

/// What the first line may say; Redis reads 64 bits and takes up to 31.
const COUNTS: RangeInclusive<i128> = i64::MIN as i128..=i32::MAX as i128;

const HEAD: u64 = 0;
const BODY: u64 = 1;
const END: u64 = 2;

/// Requests of one pipeline are alike: their arguments from the end on, this many, have heads as
/// those of the request before.
const HEADS: usize = 4;

/// No string is longer, whatever the limits say: `proto-max-bulk-len` of a Redis as it comes.
const LONGEST_BODY: usize = 512 * 1024 * 1024;

/// Parses as many requests as `burst` has room for.
#[inline]
pub(crate) fn parse(
    input: &[u8],
    resume: &mut Resume,
    limits: &ParseLimits,
    burst: &mut Burst,
) -> Result<(), Error> {
    let input = &input[..input.len().min(Span::MAX_BUFFER)];
    let (opening, heads) = (Opening::NONE, [Head::NONE; HEADS]);
    let mut parser = Parser { input, limits, resume, burst, opening, heads };
    let mut at = 0;
    if !parser.resume.is_fresh() {
        let Some(end) = parser.go_on()? else { return Ok(()) };
        at = end;
    }
    while at < input.len() && parser.burst.room() > 0 {
        let Some(end) = parser.request(at)? else { break };
        at = end;
    }
    Ok(())
}

/// Methods return where what they read ends; none if the input ends before, and the request that
/// started at `start` was saved.
struct Parser<'a> {
    input: &'a [u8],
    limits: &'a ParseLimits,
    resume: &'a mut Resume,
    burst: &'a mut Burst,
    /// The last opening.
    opening: Opening,
    /// The last heads, by how many arguments were left.
    heads: [Head; HEADS],
}

impl Parser<'_> {
    /// Goes on with the request that an earlier call saved.
    #[cold]
    fn go_on(&mut self) -> Result<Option<usize>, Error> {
        let [left, missing] = std::mem::take(&mut self.resume.state);
        let at = std::mem::take(&mut self.resume.at);
        let body = self.resume.body;
        self.resume.restore(self.burst);
        let left = left as usize;
        if left == 0 {
            return self.first_line(0, at);
        }
        let next = match (missing & 3, body) {
            (HEAD, _) => self.argument(0, at, left, (missing >> 2) as usize)?,
            (BODY, Some(body)) => self.body(0, body, left)?,
            _ => self.end(0, at, left)?,
        };
        let Some(next) = next else { return Ok(None) };
        self.arguments(0, next, left - 1)
    }

    /// Reads a request.
    #[inline(always)]
    fn request(&mut self, start: usize) -> Result<Option<usize>, Error> {
        let rest = &self.input[start..];
        if let Some(chunk) = rest.first_chunk()
            && let Some(opening) = self.opening(u64::from_le_bytes(*chunk))
            && rest.len() >= opening.next
        {
            self.burst.push(start + OPENING_BYTES, opening.verb);
            return self.arguments(start, start + opening.next, opening.left);
        }
        self.first_line(start, 0)
    }

    /// Reads the opening that `word` is, if it is one.
    #[inline(always)]
    fn opening(&mut self, word: u64) -> Option<Opening> {
        if word != self.opening.word {
            self.opening = Opening::read(word).filter(|opening| {
                opening.left < self.limits.args && opening.verb <= self.limits.argument_bytes
            })?;
        }
        Some(self.opening)
    }

    /// Reads `left` arguments and ends the request.
    #[inline(always)]
    fn arguments(
        &mut self,
        start: usize,
        mut at: usize,
        mut left: usize,
    ) -> Result<Option<usize>, Error> {
        while left > 0 {
            at = match self.short_argument(at, left) {
                Some(next) => next,
                None => match self.argument(start, at, left, 0)? {
                    Some(next) => next,
                    None => return Ok(None),
                },
            };
            left -= 1;
        }
        if at - start > self.limits.request_bytes {
            return Err(too_big_request());
        }
        self.burst.close(at);
        Ok(Some(at))
    }

    /// Reads an argument that is short and whole, as most are; otherwise does nothing.
    #[inline(always)]
    fn short_argument(&mut self, at: usize, left: usize) -> Option<usize> {
        let rest = &self.input[at..];
        let word = u64::from_le_bytes(*rest.first_chunk()?);
        let head = &mut self.heads[left % HEADS];
        if word & head.mask != head.word {
            *head = Head::read(word).filter(|head| head.len <= self.limits.argument_bytes)?;
        }
        if rest.len() < head.next {
            return None;
        }
        self.burst.push(at + head.bytes, head.len);
        Some(at + head.next)
    }

    /// Reads a request whose start isn't of the usual kind, and of which the first `searched` bytes
    /// are known not to end its first line.
    #[inline(never)]
    fn first_line(&mut self, start: usize, searched: usize) -> Result<Option<usize>, Error> {
        if self.input[start] != b'*' {
            return self.inline(start, searched);
        }
        let end = match self.head_end(start, searched, "mbulk count string")? {
            Line::End(end) => end,
            Line::Searched(searched) => return self.wait(start, start + searched, [0; 2], None),
        };
        let count = parse_integer(&self.input[start + 1..end]);
        let Some(count) = count.filter(|count| COUNTS.contains(count)) else {
            return Err(invalid_count());
        };
        // Less than none is none.
        let count = usize::try_from(count).unwrap_or_default();
        if count > self.limits.args {
            return Err(if self.limits.restricted {
                Error::new("ERR Protocol error: unauthenticated multibulk length")
            } else {
                invalid_count()
            });
        }
        self.arguments(start, end + 2, count)
    }

    /// Reads any argument, the first `searched` bytes of which are known not to end its head.
    #[inline(never)]
    fn argument(
        &mut self,
        start: usize,
        at: usize,
        left: usize,
        searched: usize,
    ) -> Result<Option<usize>, Error> {
        let end = match self.head_end(at, searched, "bulk count string")? {
            Line::End(end) => end,
            Line::Searched(searched) => {
                let state = [left as u64, HEAD | (searched as u64) << 2];
                return self.wait(start, at, state, None);
            }
        };
        if self.input[at] != b'$' {
            let mut text = b"ERR Protocol error: expected '$', got '".to_vec();
            text.extend_from_slice(&[self.input[at], b'\'']);
            return Err(Error::bytes(text));
        }
        let len = parse_integer(&self.input[at + 1..end]);
        let len = len.and_then(|len| usize::try_from(len).ok()).ok_or_else(invalid_len)?;
        if len > self.limits.argument_bytes.min(u32::MAX as usize) {
            return Err(if self.limits.restricted && len <= LONGEST_BODY {
                Error::new("ERR Protocol error: unauthenticated bulk length")
            } else {
                invalid_len()
            });
        }
        self.body(start, Body { start: end + 2, len, is_refused: false }, left)
    }

    /// Reads the body of an argument, and its end.
    fn body(&mut self, start: usize, body: Body, left: usize) -> Result<Option<usize>, Error> {
        if self.input.len() - body.start < body.len {
            return self.wait(start, body.start, [left as u64, BODY], Some(body));
        }
        self.burst.push(body.start, body.len);
        self.end(start, body.start + body.len, left)
    }

    /// Passes over the end of an argument.
    fn end(&mut self, start: usize, at: usize, left: usize) -> Result<Option<usize>, Error> {
        if self.input.len() - at < 2 {
            return self.wait(start, at, [left as u64, END], None);
        }
        Ok(Some(at + 2))
    }

    /// Reads a line of words.
    fn inline(&mut self, start: usize, searched: usize) -> Result<Option<usize>, Error> {
        let end = match self.find(b'\n', start, searched, "inline request")? {
            Line::End(end) => end,
            Line::Searched(searched) => return self.wait(start, start + searched, [0; 2], None),
        };
        let line = &self.input[start..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if inline::split(line, start, self.burst).is_err() {
            return Err(Error::new("ERR Protocol error: unbalanced quotes in request"));
        }
        self.burst.close(end + 1);
        Ok(Some(end + 1))
    }

    /// Finds the `\r` that ends the head line at `line`, behind which there is one more byte.
    fn head_end(&self, line: usize, searched: usize, what: &str) -> Result<Line, Error> {
        Ok(match self.find(b'\r', line, searched, what)? {
            Line::End(end) if end + 1 == self.input.len() => Line::Searched(end - line),
            found => found,
        })
    }

    /// Finds `wanted` in the line at `line`, of which the first `searched` bytes hold none.
    fn find(&self, wanted: u8, line: usize, searched: usize, what: &str) -> Result<Line, Error> {
        let bytes = &self.input[line..];
        let longest = self.limits.line_bytes;
        let within = &bytes[searched..bytes.len().min(longest + 1).max(searched)];
        let stop = memchr2(wanted, 0, within).map(|stop| searched + stop);
        count_work(stop.map_or(within.len(), |stop| stop + 1 - searched));
        match stop {
            Some(stop) if bytes[stop] == wanted => Ok(Line::End(line + stop)),
            _ if bytes.len() > longest => {
                Err(Error::text(format!("ERR Protocol error: too big {what}")))
            }
            // Behind a zero byte nothing is found, as with C's strchr.
            stop => Ok(Line::Searched(stop.unwrap_or(bytes.len()))),
        }
    }

    /// Saves the request until more of it arrives.
    fn wait(
        &mut self,
        start: usize,
        at: usize,
        state: [u64; 2],
        body: Option<Body>,
    ) -> Result<Option<usize>, Error> {
        if at - start > self.limits.request_bytes {
            return Err(too_big_request());
        }
        self.resume.save(self.burst, at, state, body);
        Ok(None)
    }
}

/// Where a line ends.
enum Line {
    /// At this byte of the input.
    End(usize),
    /// Not here; this many of its bytes need no second search.
    Searched(usize),
}

/// Bytes of an [`Opening`].
const OPENING_BYTES: usize = 8;

/// What nearly all requests start with: up to nine arguments, a verb of up to nine letters.
#[derive(Clone, Copy)]
struct Opening {
    word: u64,
    /// How long the verb is.
    verb: usize,
    /// Arguments behind the verb.
    left: usize,
    /// From the request's start to the argument behind the verb.
    next: usize,
}

impl Opening {
    /// Whatever its word is, no input is as long.
    const NONE: Opening = Opening { word: 0, verb: 0, left: 0, next: usize::MAX };

    #[inline(always)]
    fn read(word: u64) -> Option<Opening> {
        const MASK: u64 = u64::from_le_bytes(*b"\xFF\0\xFF\xFF\xFF\0\xFF\xFF");
        const PLAIN: u64 = u64::from_le_bytes(*b"*\0\r\n$\0\r\n");
        let digit = |index: u32| ((word >> (8 * index)) as u8).wrapping_sub(b'0');
        let (count, verb) = (digit(1), digit(5));
        if word & MASK != PLAIN || !(1..=9).contains(&count) || verb > 9 {
            return None;
        }
        let (left, verb) = (usize::from(count) - 1, usize::from(verb));
        Some(Opening { word, verb, left, next: OPENING_BYTES + verb + 2 })
    }
}

/// A head that was read, to be known again: where the next argument starts is then not computed
/// from what was just loaded, so the processor needn't wait for it.
#[derive(Clone, Copy)]
struct Head {
    mask: u64,
    word: u64,
    bytes: usize,
    len: usize,
    /// From the head to the next one.
    next: usize,
}

impl Head {
    /// No word is such a head.
    const NONE: Head = Head { mask: 0, word: 1, bytes: 0, len: 0, next: 0 };

    /// Reads the head that `word` starts with. None if it is a wrong one, or the length has more
    /// than five digits.
    #[inline(always)]
    fn read(word: u64) -> Option<Head> {
        let digits = word >> 8 ^ 0x30_3030_3030_3030;
        let others = ((digits + 0x06_0606_0606_0606) | digits) & 0xF0_F0F0_F0F0_F0F0;
        let count = others.trailing_zeros() / 8;
        let is_canonical = digits & 0xFF != 0 || count == 1;
        if !(1..=5).contains(&count)
            || !is_canonical
            || word & 0xFF != u64::from(b'$')
            || word >> (8 + 8 * count) & 0xFFFF != LINE_END
        {
            return None;
        }
        let mask = u64::MAX >> (40 - 8 * count);
        let len = decimal(digits << (64 - 8 * count)) as usize;
        let bytes = count as usize + 3;
        Some(Head { mask, word: word & mask, bytes, len, next: bytes + len + 2 })
    }
}

/// The number whose digits are the bytes of `digits`, the first in the lowest.
#[inline(always)]
fn decimal(digits: u64) -> u64 {
    let pairs = digits * 10 + (digits >> 8);
    let even = (pairs & 0xFF_0000_00FF).wrapping_mul(100 + (1_000_000 << 32));
    let odd = (pairs >> 16 & 0xFF_0000_00FF).wrapping_mul(1 + (10_000 << 32));
    even.wrapping_add(odd) >> 32
}

/// `\r\n` as it reads in a word.
const LINE_END: u64 = u16::from_le_bytes(*b"\r\n") as u64;

#[cold]
fn invalid_count() -> Error {
    Error::new("ERR Protocol error: invalid multibulk length")
}

#[cold]
fn invalid_len() -> Error {
    Error::new("ERR Protocol error: invalid bulk length")
}

#[cold]
fn too_big_request() -> Error {
    Error::new("ERR Protocol error: too big request")
}

/// Tells the tests how many bytes were searched, or looked at one by one.
#[cfg(not(test))]
fn count_work(_: usize) {}

#[cfg(test)]
use tests::count_work;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use kevy_rt::testing::{Feed, Request};

    use super::*;
    use crate::Resp;

    const LIMITS: ParseLimits = ParseLimits {
        args: 1 << 20,
        argument_bytes: 512 << 20,
        line_bytes: 64 << 10,
        request_bytes: 1 << 30,
        restricted: false,
    };

    const RESTRICTED: ParseLimits =
        ParseLimits { args: 10, argument_bytes: 16 << 10, restricted: true, ..LIMITS };

    thread_local! {
        static WORK: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn count_work(bytes: usize) {
        WORK.set(WORK.get() + bytes);
    }

    /// Feeds `stream` piece by piece, and says what was searched.
    fn feed(
        stream: &[u8],
        piece: usize,
        limits: ParseLimits,
    ) -> (Vec<Request>, Result<(), Error>, usize) {
        WORK.set(0);
        let mut feed = Feed::<Resp>::new(limits);
        let mut requests = Vec::new();
        let result =
            stream.chunks(piece).try_for_each(|piece| feed.receive(piece, true, &mut requests));
        (requests, result, WORK.get())
    }

    /// The requests of `stream`, each as its arguments with blanks between.
    fn requests(stream: &[u8]) -> Vec<String> {
        let (requests, result, _) = feed(stream, stream.len(), LIMITS);
        result.unwrap();
        let text = |request: Request| request.join(&b' ').escape_ascii().to_string();
        requests.into_iter().map(text).collect()
    }

    /// What is wrong with `stream`.
    fn refusal(stream: &[u8], limits: ParseLimits) -> String {
        let (_, result, _) = feed(stream, stream.len(), limits);
        result.err().map_or_else(|| "nothing".to_owned(), |error| error.to_string())
    }

    /// A request as a client sends it.
    fn bulk(args: &[&[u8]]) -> Vec<u8> {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        request
    }

    #[test]
    fn lengths_of_every_number_of_digits() {
        for len in [0, 1, 9, 10, 11, 99, 100, 999, 1000, 9999, 10_000, 99_999, 100_000, 1 << 20] {
            let value = vec![b'v'; len];
            let stream = [bulk(&[b"SET", b"k", &value]), bulk(&[b"GET", b"k"])].concat();
            let (requests, result, _) = feed(&stream, stream.len(), LIMITS);
            result.unwrap();
            assert_eq!(
                requests,
                [vec![b"SET".to_vec(), b"k".to_vec(), value], vec![b"GET".to_vec(), b"k".to_vec()]]
            );
        }
        let many = vec![&b"abc"[..]; 1234];
        assert_eq!(requests(&bulk(&many)), [many.join(&b' ').escape_ascii().to_string()]);
    }

    #[test]
    fn a_head_that_was_read_before_is_only_taken_for_itself() {
        let stream = [
            bulk(&[b"GET", b"0123456789"]),
            bulk(&[b"GET", b"01234567890"]),
            bulk(&[b"GET", b"012345678"]),
            bulk(&[b"STRLEN", b"0123456789"]),
            bulk(&[b"SET", b"0123456789", b"0123456789"]),
            bulk(&[b"PING"]),
        ];
        assert_eq!(
            requests(&stream.concat()),
            [
                "GET 0123456789",
                "GET 01234567890",
                "GET 012345678",
                "STRLEN 0123456789",
                "SET 0123456789 0123456789",
                "PING",
            ]
        );
    }

    #[test]
    fn a_pipeline_is_longer_than_a_burst() {
        let stream = bulk(&[b"PING"]).repeat(1000);
        assert_eq!(requests(&stream).len(), 1000);
    }

    #[test]
    fn no_arguments_are_no_request() {
        assert_eq!(requests(b"*0\r\n*-1\r\n\r\n\n*-9223372036854775808\r\nPING\r\n"), ["PING"]);
    }

    #[test]
    fn line_ends_are_not_looked_at() {
        assert_eq!(requests(b"*1\rX$4\rYPINGab*1\r\n$4\r\nPING\r\n"), ["PING", "PING"]);
    }

    #[test]
    fn lines_of_words() {
        for (line, request) in [
            (&b"PING\n"[..], "PING"),
            (b"  SET\tkey  value \r\n", "SET key value"),
            (b"a\x0bb\r\n", "a\\x0bb"),
            (b"a\rb\r\r\n", "a b"),
            (b"ping \"a\\x41\\n\\q\\x4\"\n", "ping aA\\nqx4"),
            (b"ping '\\n\\'\"'\n", "ping \\\\n\\'\\\""),
            (b"p\"in g\" \"\" x\n", "pin g  x"),
            (b"ping \"a\"\x0bb\n", "ping a b"),
        ] {
            assert_eq!(requests(line), [request], "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_line_with_a_zero_byte_never_ends() {
        for stream in [
            &b"PI\0NG\r\nPING\r\n"[..],
            b"*1\0\r\n$4\r\nPING\r\n",
            b"*1\r\n$4\0\r\nPING\r\n",
            b"*1\r\nPING",
            &[0; 100],
        ] {
            assert_eq!(requests(stream), [""; 0], "{}", stream.escape_ascii());
        }
    }

    #[test]
    fn malformed_frames() {
        let count = "ERR Protocol error: invalid multibulk length";
        let len = "ERR Protocol error: invalid bulk length";
        let quotes = "ERR Protocol error: unbalanced quotes in request";
        for (stream, text) in [
            (&b"*\r\n"[..], count),
            (b"*01\r\n", count),
            (b"*+1\r\n", count),
            (b"*-0\r\n", count),
            (b"* 1\r\n", count),
            (b"*x\r\n", count),
            (b"*2147483648\r\n", count),
            (b"*-9223372036854775809\r\n", count),
            (b"*1048577\r\n", count),
            (b"*1\r\n$\r\n", len),
            (b"*1\r\n$-1\r\n", len),
            (b"*1\r\n$04\r\nPING\r\n", len),
            (b"*1\r\n$1x\r\nPING\r\n", len),
            (b"*1\r\n$0x10\r\nPING\r\n", len),
            (b"*1\r\n$536870913\r\n", len),
            (b"*1\r\n$18446744073709551616\r\n", len),
            (b"*1\r\nPING\r\n", "ERR Protocol error: expected '$', got 'P'"),
            (b"*1\r\n:16\r\n01234567", "ERR Protocol error: expected '$', got ':'"),
            (b"*1\r\n\xFF\r\n", "ERR Protocol error: expected '$', got '\u{FFFD}'"),
            (b"ping \"a\"b\n", quotes),
            (b"ping 'a'b\n", quotes),
            (b"ping \"a\n", quotes),
            (b"ping 'a\\'\n", quotes),
            (b"ping \"a\\\n", quotes),
        ] {
            assert_eq!(refusal(stream, LIMITS), text, "{}", stream.escape_ascii());
        }
    }

    #[test]
    fn bounds_hold_to_the_byte() {
        let line = LIMITS.line_bytes;
        let long = |start: &[u8], len: usize| [start, &vec![b'1'; len - start.len()]].concat();
        for (start, text) in [
            ("", "ERR Protocol error: too big inline request"),
            ("*", "ERR Protocol error: too big mbulk count string"),
        ] {
            assert_eq!(refusal(&long(start.as_bytes(), line), LIMITS), "nothing");
            assert_eq!(refusal(&long(start.as_bytes(), line + 1), LIMITS), text);
        }
        let head = [b"*1\r\n".to_vec(), long(b"$", line)].concat();
        assert_eq!(refusal(&head, LIMITS), "nothing");
        let text = "ERR Protocol error: too big bulk count string";
        assert_eq!(refusal(&[head, b"1".to_vec()].concat(), LIMITS), text);

        let limits = ParseLimits { args: 2, argument_bytes: 12, ..LIMITS };
        assert_eq!(refusal(&bulk(&[b"GET", &[b'k'; 12]]), limits), "nothing");
        let text = "ERR Protocol error: invalid multibulk length";
        assert_eq!(refusal(&bulk(&[b"SET", b"k", b"v"]), limits), text);
        let text = "ERR Protocol error: invalid bulk length";
        assert_eq!(refusal(&bulk(&[b"GET", &[b'k'; 13]]), limits), text);

        let limits = ParseLimits { request_bytes: 20, ..LIMITS };
        assert_eq!(refusal(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", limits), "nothing");
        let text = "ERR Protocol error: too big request";
        assert_eq!(refusal(b"*2\r\n$3\r\nGET\r\n$2\r\nab\r\n", limits), text);
        assert_eq!(refusal(b"*3\r\n$3\r\nGET\r\n$2\r\nab\r\n$9\r\n", limits), text);
    }

    #[test]
    fn a_restricted_session_is_told_so() {
        let count = "ERR Protocol error: unauthenticated multibulk length";
        let len = "ERR Protocol error: unauthenticated bulk length";
        assert_eq!(refusal(b"*10\r\n$16384\r\n", RESTRICTED), "nothing");
        assert_eq!(refusal(b"*11\r\n", RESTRICTED), count);
        assert_eq!(refusal(b"*2147483647\r\n", RESTRICTED), count);
        assert_eq!(
            refusal(b"*2147483648\r\n", RESTRICTED),
            "ERR Protocol error: invalid multibulk length"
        );
        assert_eq!(refusal(b"*1\r\n$16385\r\n", RESTRICTED), len);
        assert_eq!(
            refusal(b"*1\r\n$536870913\r\n", RESTRICTED),
            "ERR Protocol error: invalid bulk length"
        );
    }

    #[test]
    fn nothing_is_searched_twice() {
        let line = [b"PING ", &[b'x'; 5000][..], b"\r\n"].concat();
        let many = bulk(&vec![&b"x"[..]; 20_000]);
        let mixed = [&line[..], &bulk(&[b"SET", b"k", &[b'v'; 40_000]]), b"\r\n"].concat();
        for stream in [line, many, mixed.repeat(3)] {
            for piece in [1, 2, 7, 100, 5000] {
                let (_, result, work) = feed(&stream, piece, LIMITS);
                result.unwrap();
                // A byte that ends a line may be met again by the next call.
                assert!(work <= 3 * stream.len(), "{work} of {} in {piece}", stream.len());
            }
        }
    }

    #[test]
    fn what_never_ends_is_not_searched_again() {
        for start in ["", "*", "*1\r\n$", "PI\0", "*\0"] {
            let stream = [start.as_bytes(), &[b'1'; 60_000][..]].concat();
            let (_, result, work) = feed(&stream, 1, LIMITS);
            result.unwrap();
            assert!(work <= 3 * stream.len(), "{work} of {}", stream.len());
        }
    }
}
