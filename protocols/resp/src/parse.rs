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

use kevy_rt::{Body, Burst, ParseLimits, Resume, Span, parse_integer};
use memchr::memchr2;

use crate::{Error, inline};

const HEAD: u64 = 0;
const BODY: u64 = 1;
const END: u64 = 2;

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
    let mut parser = Parser { input, limits, resume, burst, start: 0, at: 0 };
    if !parser.resume.is_fresh() && !parser.go_on()? {
        return Ok(());
    }
    while parser.at < input.len() && parser.burst.room() > 0 {
        parser.start = parser.at;
        if !parser.request()? {
            break;
        }
    }
    Ok(())
}

/// Methods that return a flag return false when the input ended and the request was saved.
struct Parser<'a> {
    input: &'a [u8],
    limits: &'a ParseLimits,
    resume: &'a mut Resume,
    burst: &'a mut Burst,
    /// Where the request starts that is being read.
    start: usize,
    /// How far it is read.
    at: usize,
}

impl Parser<'_> {
    /// Goes on with the request that an earlier call saved.
    #[cold]
    fn go_on(&mut self) -> Result<bool, Error> {
        let [left, missing] = std::mem::take(&mut self.resume.state);
        let at = std::mem::take(&mut self.resume.at);
        let body = self.resume.body;
        self.resume.restore(self.burst);
        let left = left as usize;
        if left == 0 {
            return self.first_line(at);
        }
        self.at = at;
        match (missing & 3, body) {
            (HEAD, _) => return self.arguments(left, (missing >> 2) as usize),
            (BODY, Some(body)) => {
                if !self.body(body.len, left)? {
                    return Ok(false);
                }
            }
            _ => {
                if !self.end(left)? {
                    return Ok(false);
                }
            }
        }
        self.arguments(left - 1, 0)
    }

    /// Reads a request from its start.
    #[inline(always)]
    fn request(&mut self) -> Result<bool, Error> {
        match self.chunk::<4>() {
            Some([b'*', digit @ b'1'..=b'9', b'\r', b'\n'])
                if usize::from(digit - b'0') <= self.limits.args =>
            {
                self.at += 4;
                self.arguments(usize::from(digit - b'0'), 0)
            }
            _ => self.first_line(0),
        }
    }

    /// Reads a request whose first line isn't of the usual kind, and of which so many bytes are
    /// known not to end that line.
    #[cold]
    fn first_line(&mut self, searched: usize) -> Result<bool, Error> {
        if self.input.get(self.start) != Some(&b'*') {
            return self.inline(searched);
        }
        let Some(end) = self.line_end(self.start, searched, "mbulk count string", 0)? else {
            return Ok(false);
        };
        let count = parse_integer(&self.input[self.start + 1..end]);
        let count = count.filter(|&count| count <= i128::from(i32::MAX));
        let count = count.filter(|&count| count >= i128::from(i64::MIN));
        let Some(count) = count else { return Err(invalid_count()) };
        self.at = end + 2;
        let count = usize::try_from(count).unwrap_or_default();
        if count > self.limits.args {
            return Err(if self.limits.restricted {
                Error::new("ERR Protocol error: unauthenticated multibulk length")
            } else {
                invalid_count()
            });
        }
        self.arguments(count, 0)
    }

    /// Reads `left` arguments and ends the request.
    #[inline(always)]
    fn arguments(&mut self, mut left: usize, mut searched: usize) -> Result<bool, Error> {
        while left > 0 {
            let len = match self.short_head() {
                Some(len) => len,
                None => match self.head(left, searched)? {
                    Some(len) => len,
                    None => return Ok(false),
                },
            };
            searched = 0;
            if !self.body(len, left)? {
                return Ok(false);
            }
            left -= 1;
        }
        if self.at - self.start > self.limits.request_bytes {
            return Err(too_big_request());
        }
        self.burst.close(self.at);
        Ok(true)
    }

    /// Reads the head of an argument if its length has one or two digits, and some bytes follow.
    #[inline(always)]
    fn short_head(&mut self) -> Option<usize> {
        let word = u64::from_le_bytes(self.chunk::<8>()?);
        let digit = |index: u32| (word >> (8 * index)) as u8;
        let (len, bytes) = if word & 0xFFFF_00FF == u64::from(u32::from_le_bytes(*b"$\0\r\n")) {
            (usize::from(digit(1).wrapping_sub(b'0')), 4)
        } else if word & 0xFF_FF00_00FF == u64::from_le_bytes(*b"$\0\0\r\n\0\0\0") {
            let (tens, ones) = (digit(1).wrapping_sub(b'1'), digit(2).wrapping_sub(b'0'));
            if tens >= 9 || ones >= 10 {
                return None;
            }
            (usize::from(tens) * 10 + 10 + usize::from(ones), 5)
        } else {
            return None;
        };
        if bytes == 4 && len > 9 || len > self.limits.argument_bytes {
            return None;
        }
        self.at += bytes;
        Some(len)
    }

    /// Reads the head of any argument; none if the input ends before it.
    #[cold]
    fn head(&mut self, left: usize, searched: usize) -> Result<Option<usize>, Error> {
        let line = self.at;
        let Some(end) = self.line_end(line, searched, "bulk count string", left)? else {
            return Ok(None);
        };
        if self.input[line] != b'$' {
            let mut text = b"ERR Protocol error: expected '$', got '".to_vec();
            text.extend_from_slice(&[self.input[line], b'\'']);
            return Err(Error::bytes(text));
        }
        let len = parse_integer(&self.input[line + 1..end]);
        let Some(len) = len.and_then(|len| usize::try_from(len).ok()) else {
            return Err(invalid_len());
        };
        if len > self.limits.argument_bytes.min(u32::MAX as usize) {
            return Err(if self.limits.restricted && len <= LONGEST_BODY {
                Error::new("ERR Protocol error: unauthenticated bulk length")
            } else {
                invalid_len()
            });
        }
        self.at = end + 2;
        Ok(Some(len))
    }

    /// Reads the argument of `len` bytes that starts here, and passes over its end.
    #[inline(always)]
    fn body(&mut self, len: usize, left: usize) -> Result<bool, Error> {
        let here = self.input.len() - self.at;
        if here >= len + 2 {
            self.burst.push(self.at, len);
            self.at += len + 2;
            return Ok(true);
        }
        if here < len {
            let body = Body { start: self.at, len };
            return self.wait(self.at, [left as u64, BODY], Some(body));
        }
        self.burst.push(self.at, len);
        self.wait(self.at + len, [left as u64, END], None)
    }

    /// Passes over the end of an argument's body.
    fn end(&mut self, left: usize) -> Result<bool, Error> {
        if self.input.len() - self.at < 2 {
            return self.wait(self.at, [left as u64, END], None);
        }
        self.at += 2;
        Ok(true)
    }

    /// Reads a line of words.
    fn inline(&mut self, searched: usize) -> Result<bool, Error> {
        let from = self.start + searched;
        let found = memchr2(b'\n', 0, &self.input[from..]).map(|found| from + found);
        let end = match found {
            Some(end) if self.input[end] == b'\n' => end,
            // As C's strchr does: nothing is found behind a zero byte.
            stopped => {
                self.bound_line(self.start, self.input.len(), "inline request")?;
                return self.wait(stopped.unwrap_or(self.input.len()), [0; 2], None);
            }
        };
        self.bound_line(self.start, end, "inline request")?;
        let line = &self.input[self.start..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if inline::split(line, self.start, self.burst).is_err() {
            return Err(Error::new("ERR Protocol error: unbalanced quotes in request"));
        }
        self.at = end + 1;
        self.burst.close(self.at);
        Ok(true)
    }

    /// Finds the `\r` that ends the head line at `line`, behind which there is one more byte.
    fn line_end(
        &mut self,
        line: usize,
        searched: usize,
        what: &'static str,
        left: usize,
    ) -> Result<Option<usize>, Error> {
        let from = line + searched;
        let found = memchr2(b'\r', 0, &self.input[from..]).map(|found| from + found);
        let stopped = found.unwrap_or(self.input.len());
        match found {
            Some(end) if self.input[end] == b'\r' => self.bound_line(line, end, what)?,
            // As C's strchr does: nothing is found behind a zero byte.
            _ => self.bound_line(line, self.input.len(), what)?,
        }
        if self.input.len() - stopped >= 2 && self.input[stopped] == b'\r' {
            return Ok(Some(stopped));
        }
        if left == 0 {
            self.wait(stopped, [0; 2], None)?;
        } else {
            let searched = (stopped - line) as u64;
            self.wait(line, [left as u64, HEAD | searched << 2], None)?;
        }
        Ok(None)
    }

    /// Refuses a line that is longer than a line may be.
    fn bound_line(&self, start: usize, end: usize, what: &'static str) -> Result<(), Error> {
        if end - start <= self.limits.line_bytes {
            return Ok(());
        }
        Err(Error::text(format!("ERR Protocol error: too big {what}")))
    }

    /// Saves the request until more of it arrives.
    #[cold]
    fn wait(&mut self, at: usize, state: [u64; 2], body: Option<Body>) -> Result<bool, Error> {
        if at - self.start > self.limits.request_bytes {
            return Err(too_big_request());
        }
        self.resume.save(self.burst, at, state, body);
        Ok(false)
    }

    /// The next `N` bytes, if there are as many.
    #[inline(always)]
    fn chunk<const N: usize>(&self) -> Option<[u8; N]> {
        self.input.get(self.at..)?.first_chunk().copied()
    }
}

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
