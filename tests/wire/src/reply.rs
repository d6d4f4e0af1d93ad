//! Replies in RESP2 and RESP3, parsed strictly: what no Redis sends is an error here.

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    /// `+`
    Simple(Vec<u8>),
    /// `-`
    Error(Vec<u8>),
    /// `:`
    Integer(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` or `_`
    Nil,
    /// `*`
    Array(Vec<Reply>),
    /// `%`, keys and values in turn
    Map(Vec<Reply>),
    /// `~`
    Set(Vec<Reply>),
    /// `>`
    Push(Vec<Reply>),
    /// `,` as it was written
    Double(Vec<u8>),
    /// `(` as it was written
    BigNumber(Vec<u8>),
    /// `#`
    Boolean(bool),
    /// `=` with its three letters and colon
    Verbatim(Vec<u8>),
}

impl Reply {
    /// A bulk string, for comparing.
    #[must_use]
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bulk(bytes.as_ref().to_vec())
    }

    /// `+OK`, for comparing.
    #[must_use]
    pub fn ok() -> Self {
        Self::Simple(b"OK".to_vec())
    }

    /// The text of a string of any kind, an error included.
    ///
    /// # Panics
    ///
    /// If it is no string.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Simple(text) | Self::Error(text) | Self::Bulk(text) | Self::Double(text) => {
                String::from_utf8_lossy(text).into_owned()
            }
            Self::Verbatim(text) => String::from_utf8_lossy(&text[4..]).into_owned(),
            other => panic!("not a string: {other:?}"),
        }
    }

    /// The number of an integer reply.
    ///
    /// # Panics
    ///
    /// If it is none.
    #[must_use]
    pub fn integer(&self) -> i64 {
        match self {
            Self::Integer(number) => *number,
            other => panic!("not an integer: {other:?}"),
        }
    }

    /// The elements of an array, map or set.
    ///
    /// # Panics
    ///
    /// If it is none.
    #[must_use]
    pub fn elements(&self) -> &[Reply] {
        match self {
            Self::Array(all) | Self::Map(all) | Self::Set(all) | Self::Push(all) => all,
            other => panic!("not an aggregate: {other:?}"),
        }
    }

    /// Whether it is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }
}

/// Parses the reply at the start of `input`: the reply and its length in bytes, or `None` if more
/// bytes are needed.
///
/// # Errors
///
/// What is wrong with the bytes, if they are no reply.
pub fn parse(input: &[u8]) -> Result<Option<(Reply, usize)>, String> {
    let mut parser = Parser { input, at: 0 };
    match parser.reply() {
        Ok(reply) => Ok(Some((reply, parser.at))),
        Err(Stop::Short) => Ok(None),
        Err(Stop::Wrong(what)) => Err(what),
    }
}

enum Stop {
    Short,
    Wrong(String),
}

struct Parser<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn reply(&mut self) -> Result<Reply, Stop> {
        let line = self.line()?;
        let Some((kind, rest)) = line.split_first() else {
            return Err(Stop::Wrong("an empty line where a reply starts".into()));
        };
        Ok(match kind {
            b'+' => Reply::Simple(rest.to_vec()),
            b'-' => Reply::Error(rest.to_vec()),
            b':' => Reply::Integer(number(rest)?),
            b',' => Reply::Double(rest.to_vec()),
            b'(' => Reply::BigNumber(rest.to_vec()),
            b'_' if rest.is_empty() => Reply::Nil,
            b'#' if rest == b"t" || rest == b"f" => Reply::Boolean(rest == b"t"),
            b'$' => self.bulk(rest)?.map_or(Reply::Nil, Reply::Bulk),
            b'=' => Reply::Verbatim(self.bulk(rest)?.unwrap_or_default()),
            b'*' if rest == b"-1" => Reply::Nil,
            b'*' => Reply::Array(self.several(rest, 1)?),
            b'%' => Reply::Map(self.several(rest, 2)?),
            b'~' => Reply::Set(self.several(rest, 1)?),
            b'>' => Reply::Push(self.several(rest, 1)?),
            _ => return Err(Stop::Wrong(format!("no reply: {}", crate::printable(line)))),
        })
    }

    fn several(&mut self, count: &[u8], per_entry: usize) -> Result<Vec<Reply>, Stop> {
        let count =
            usize::try_from(number(count)?).map_err(|_| Stop::Wrong("a negative count".into()))?;
        (0..count * per_entry).map(|_| self.reply()).collect()
    }

    fn bulk(&mut self, length: &[u8]) -> Result<Option<Vec<u8>>, Stop> {
        if length == b"-1" {
            return Ok(None);
        }
        let length = usize::try_from(number(length)?)
            .map_err(|_| Stop::Wrong("a negative length".into()))?;
        let body = self.input.get(self.at..self.at + length + 2).ok_or(Stop::Short)?;
        let (bytes, end) = body.split_at(length);
        if end != b"\r\n" {
            return Err(Stop::Wrong("a bulk string without its end".into()));
        }
        self.at += length + 2;
        Ok(Some(bytes.to_vec()))
    }

    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.input[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or(Stop::Short)?;
        let line = rest[..end]
            .strip_suffix(b"\r")
            .ok_or_else(|| Stop::Wrong("a line without a carriage return".into()))?;
        self.at += end + 1;
        Ok(line)
    }
}

fn number(text: &[u8]) -> Result<i64, Stop> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Stop::Wrong(format!("no number: {}", crate::printable(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_reply_asks_for_more_and_a_whole_one_tells_its_length() {
        let whole = b"%1\r\n+a\r\n*3\r\n$2\r\n\r\n\r\n_\r\n:-5\r\n";
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole[..cut]), Ok(None), "{cut} bytes");
        }
        let list = Reply::Array(vec![Reply::bulk("\r\n"), Reply::Nil, Reply::Integer(-5)]);
        let map = Reply::Map(vec![Reply::Simple(b"a".to_vec()), list]);
        assert_eq!(parse(whole), Ok(Some((map, whole.len()))));
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for wrong in [&b"x\r\n"[..], b"+a\n", b":1x\r\n", b"$1\r\nabc\r\n", b"*-2\r\n", b"\r\n"] {
            assert!(parse(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }
}
