//! The client's side of the wire: requests written, replies read. Tests of command sets use it.

use std::borrow::Cow;

use kevy_rt::ClientSide;

use crate::{Error, Frame, Resp};

/// How deep lists may lie in one another. Replies that are read deeper would exhaust the stack.
const MAX_DEPTH: usize = 32;

impl ClientSide for Resp {
    type Answer = Frame;

    /// As a list of strings.
    fn request(arguments: &[&[u8]], out: &mut Vec<u8>) {
        out.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
        for argument in arguments {
            out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            out.extend_from_slice(argument);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn answer(input: &[u8]) -> Result<Option<(Frame, usize)>, String> {
        Frame::parse(input)
    }
}

impl Frame {
    /// Reads the reply at the start of `input`, in RESP2 or RESP3, and how many bytes it takes;
    /// `None` if it is not there whole.
    ///
    /// # Errors
    /// What is wrong with the bytes, if they are no reply.
    pub fn parse(input: &[u8]) -> Result<Option<(Frame, usize)>, String> {
        let mut reader = Reader { input, at: 0 };
        Ok(reader.frame(MAX_DEPTH)?.map(|frame| (frame, reader.at)))
    }
}

/// Methods answer `None` where the input ends too early.
struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn frame(&mut self, depth: usize) -> Result<Option<Frame>, String> {
        let Some(line) = self.line()? else { return Ok(None) };
        let Some((kind, rest)) = line.split_first() else {
            return Err("an empty line where a reply starts".into());
        };
        Ok(Some(match kind {
            b'+' => Frame::Status(text(rest)?),
            b'-' => Frame::Error(Error::bytes(rest.to_vec())),
            b':' => Frame::Integer(number(rest)?),
            b'_' if rest.is_empty() => Frame::Null,
            b'#' if matches!(rest, b"t" | b"f") => Frame::Bool(rest == b"t"),
            b',' => Frame::Double(text(rest)?.parse().map_err(|_| no("double", rest))?),
            b'(' => Frame::BigNumber(text(rest)?),
            b'$' if rest == b"-1" => Frame::Null,
            b'*' if rest == b"-1" => Frame::NilArray,
            b'$' => match self.string(rest)? {
                Some(bytes) => Frame::from(bytes),
                None => return Ok(None),
            },
            b'=' => match self.string(rest)? {
                Some(bytes) => verbatim(bytes)?,
                None => return Ok(None),
            },
            b'*' | b'~' | b'>' | b'%' => {
                let elements = if *kind == b'%' { 2 } else { 1 } * count(rest)?;
                let Some(all) = self.several(elements, depth)? else { return Ok(None) };
                match kind {
                    b'*' => Frame::Array(all),
                    b'~' => Frame::Set(all),
                    b'>' => Frame::Push(all),
                    _ => Frame::Map(in_pairs(all)),
                }
            }
            _ => return Err(no("reply", line)),
        }))
    }

    fn several(&mut self, count: usize, depth: usize) -> Result<Option<Vec<Frame>>, String> {
        let depth = depth.checked_sub(1).ok_or("lists lie too deep in one another")?;
        let mut all = Vec::new();
        for _ in 0..count {
            let Some(frame) = self.frame(depth)? else { return Ok(None) };
            all.push(frame);
        }
        Ok(Some(all))
    }

    fn string(&mut self, length: &[u8]) -> Result<Option<&'a [u8]>, String> {
        let length = count(length)?;
        let Some(body) = self.input.get(self.at..self.at + length + 2) else { return Ok(None) };
        let bytes = body.strip_suffix(b"\r\n").ok_or("a string without its end")?;
        self.at += body.len();
        Ok(Some(bytes))
    }

    fn line(&mut self) -> Result<Option<&'a [u8]>, String> {
        let rest = &self.input[self.at..];
        let Some(end) = memchr::memchr(b'\n', rest) else { return Ok(None) };
        let line = rest[..end].strip_suffix(b"\r").ok_or("a line without a carriage return")?;
        self.at += end + 1;
        Ok(Some(line))
    }
}

fn in_pairs(all: Vec<Frame>) -> Vec<(Frame, Frame)> {
    let mut all = all.into_iter();
    std::iter::from_fn(|| Some((all.next()?, all.next()?))).collect()
}

fn verbatim(bytes: &[u8]) -> Result<Frame, String> {
    match bytes.split_at_checked(4) {
        Some((format, body)) if format[3] == b':' => {
            Ok(Frame::Verbatim(text(&format[..3])?, text(body)?))
        }
        _ => Err(no("text with its format", bytes)),
    }
}

fn text(bytes: &[u8]) -> Result<Cow<'static, str>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| no("text", bytes))?;
    Ok(Cow::Owned(text.to_owned()))
}

fn number(bytes: &[u8]) -> Result<i64, String> {
    let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| no("integer", bytes))
}

/// A length or a number of elements. Nothing that this long is ever there whole.
fn count(bytes: &[u8]) -> Result<usize, String> {
    number(bytes)?
        .try_into()
        .ok()
        .filter(|count| *count < usize::MAX / 4)
        .ok_or_else(|| no("count", bytes))
}

fn no(what: &str, bytes: &[u8]) -> String {
    format!("no {what}: {}", bytes.escape_ascii())
}

/// An integer, for comparing.
impl PartialEq<i64> for Frame {
    fn eq(&self, number: &i64) -> bool {
        matches!(self, Frame::Integer(mine) if mine == number)
    }
}

/// The text of a status, a string or an error, for comparing.
impl PartialEq<&str> for Frame {
    fn eq(&self, text: &&str) -> bool {
        match self {
            Frame::Status(mine) | Frame::Verbatim(_, mine) => mine == text,
            Frame::Bulk(mine) => **mine == *text.as_bytes(),
            Frame::Error(mine) => mine.as_bytes() == text.as_bytes(),
            _ => false,
        }
    }
}

/// The elements of a list, for comparing.
impl<T, const N: usize> PartialEq<[T; N]> for Frame
where
    Frame: PartialEq<T>,
{
    fn eq(&self, all: &[T; N]) -> bool {
        match self {
            Frame::Array(mine) | Frame::Set(mine) | Frame::Push(mine) => mine[..] == all[..],
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use kevy_rt::{Out, Reply};

    use super::*;
    use crate::Dialect;

    fn written(frame: &Frame, resp3: bool) -> Vec<u8> {
        let mut out = Out::default();
        Reply::<Resp>::in_scope(&mut out, Dialect { db: 0, resp3 }).put(frame);
        out.flat().to_vec()
    }

    fn every_kind() -> Frame {
        Frame::Array(vec![
            Frame::Null,
            Frame::NilArray,
            Frame::status("OK"),
            Error::SYNTAX.into(),
            (-7).into(),
            Frame::Bool(true),
            Frame::Double(-0.5),
            Frame::BigNumber("123".into()),
            Frame::text("a\r\nb"),
            Frame::Verbatim("txt".into(), "abc".into()),
            Frame::map([("a", Frame::set([1]))]),
            Frame::Push(vec![Frame::text("")]),
        ])
    }

    #[test]
    fn what_the_wire_writes_is_read_and_a_cut_reply_asks_for_more() {
        for (frame, resp3) in [(every_kind(), true), (Frame::array(["a", "b"]), false)] {
            let bytes = written(&frame, resp3);
            for cut in 0..bytes.len() {
                assert_eq!(Frame::parse(&bytes[..cut]), Ok(None), "{cut} bytes");
            }
            // There is no null list in RESP3.
            let read = Frame::parse(&bytes).expect("it is a reply");
            let (read, len) = read.expect("it is whole");
            assert_eq!(written(&read, resp3), bytes);
            assert_eq!(len, bytes.len());
        }
        assert_eq!(Frame::parse(b"*-1\r\n$-1\r\n"), Ok(Some((Frame::NilArray, 5))));
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let deep = b"*1\r\n".repeat(100_000);
        for wrong in [
            &b"x\r\n"[..],
            b"+a\n",
            b":1x\r\n",
            b"$1\r\nabc\r\n",
            b"*-2\r\n",
            b"\r\n",
            b"#x\r\n",
            b"=2\r\nab\r\n",
            b"$9223372036854775807\r\n",
            b",x\r\n",
            &deep,
        ] {
            assert!(Frame::parse(wrong).is_err(), "{}", wrong.escape_ascii());
        }
        assert_eq!(Frame::parse(b"*1000000000\r\n"), Ok(None), "nothing is allocated ahead");
    }

    #[test]
    fn frames_are_compared_with_what_they_hold() {
        assert_eq!(Frame::from(7), 7);
        assert_eq!(Frame::status("OK"), "OK");
        assert_eq!(Frame::from(Error::SYNTAX), "ERR syntax error");
        assert_eq!(Frame::array([1, 2]), [1, 2]);
        assert_eq!(Frame::array([Frame::from(1), Frame::Null]), [Frame::from(1), Frame::Null]);
        assert_ne!(Frame::from("7"), 7);
        assert_ne!(Frame::array([1, 2]), [1]);
    }

    #[test]
    fn a_request_is_a_list_of_strings() {
        let mut out = Vec::new();
        Resp::request(&[b"GET", b"a\r\n"], &mut out);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$3\r\na\r\n\r\n");
    }
}
