//! A blocking client of the Redis protocol, version 2.

use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long a reply may take before the connection is given up. Less, and a busy server is taken
/// for a lost one; more, and a run waits longer for its end after a loss.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Tcp(String),
    Unix(PathBuf),
}

#[derive(Debug)]
pub(crate) enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    /// A string, or null.
    Bulk(Option<Vec<u8>>),
    /// Replies, or null.
    Array(Option<Vec<Reply>>),
}

/// A socket of either kind.
trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

pub(crate) struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    output: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: &Address) -> io::Result<Self> {
        let stream: Box<dyn Stream> = match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
        };
        Ok(Connection { stream: BufReader::new(stream), output: Vec::new() })
    }

    /// Adds a request to what the next [`Self::send`] sends.
    pub(crate) fn push(&mut self, arguments: &[String]) {
        write!(self.output, "*{}\r\n", arguments.len()).expect("memory takes it");
        for argument in arguments {
            write!(self.output, "${}\r\n{argument}\r\n", argument.len()).expect("memory takes it");
        }
    }

    pub(crate) fn send(&mut self) -> io::Result<()> {
        let sent = self.stream.get_mut().write_all(&self.output);
        self.output.clear();
        sent
    }

    pub(crate) fn reply(&mut self) -> io::Result<Reply> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        let line = line.strip_suffix(b"\r\n").ok_or(ErrorKind::UnexpectedEof)?;
        let line = std::str::from_utf8(line).map_err(|_| malformed())?;
        let (first, rest) = line.split_at_checked(1).ok_or_else(malformed)?;
        let number = || rest.parse::<i64>().map_err(|_| malformed());
        match first {
            "+" => Ok(Reply::Simple(rest.into())),
            "-" => Ok(Reply::Error(rest.into())),
            ":" => Ok(Reply::Integer(number()?)),
            "$" => Ok(Reply::Bulk(match usize::try_from(number()?) {
                Ok(len) => Some(self.bytes(len)?),
                Err(_) => None,
            })),
            "*" => Ok(Reply::Array(match usize::try_from(number()?) {
                Ok(len) => Some((0..len).map(|_| self.reply()).collect::<Result<_, _>>()?),
                Err(_) => None,
            })),
            _ => Err(malformed()),
        }
    }

    fn bytes(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len + 2];
        self.stream.read_exact(&mut bytes)?;
        match bytes.ends_with(b"\r\n") {
            true => bytes.truncate(len),
            false => return Err(malformed()),
        }
        Ok(bytes)
    }
}

fn malformed() -> Error {
    Error::new(ErrorKind::InvalidData, "a malformed reply")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_all_kinds_are_read() {
        let bytes = b"+OK\r\n-ERR no\r\n:-3\r\n$-1\r\n*-1\r\n*2\r\n$2\r\n\r\n\r\n*0\r\n?\r\n";
        let stream: Box<dyn Stream> = Box::new(io::Cursor::new(bytes.to_vec()));
        let mut connection = Connection { stream: BufReader::new(stream), output: Vec::new() };
        let mut next = || connection.reply();
        assert!(matches!(next(), Ok(Reply::Simple(text)) if text == "OK"));
        assert!(matches!(next(), Ok(Reply::Error(text)) if text == "ERR no"));
        assert!(matches!(next(), Ok(Reply::Integer(-3))));
        assert!(matches!(next(), Ok(Reply::Bulk(None))));
        assert!(matches!(next(), Ok(Reply::Array(None))));
        let Ok(Reply::Array(Some(parts))) = next() else { panic!("an array") };
        assert!(matches!(&parts[0], Reply::Bulk(Some(bytes)) if bytes == b"\r\n"));
        assert!(matches!(&parts[1], Reply::Array(Some(none)) if none.is_empty()));
        assert!(next().is_err());
    }
}
