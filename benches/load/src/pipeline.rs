//! One connection with requests of any kind, many under way, whose replies are read.
//!
//! [`client`](crate::client) is faster and measures, but knows every reply's length in advance. What
//! scenarios fill servers with, ask them about and take from them goes through here.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::address::Address;
use crate::client::{Failure, PATIENCE, SPIN};

/// Bytes of requests that are sent at once. Two such batches are under way, so that the server
/// finds the next one when it has answered one.
const BATCH_BYTES: usize = 128 << 10;

/// How long a thread that waits for the server sleeps between two looks, once it sleeps at all.
const NAP: Duration = Duration::from_micros(50);

/// A reply, in RESP2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A status, as `OK`.
    Status(&'a [u8]),
    /// An error's text.
    Error(&'a [u8]),
    /// An integer.
    Integer(i64),
    /// A string, or none.
    Bulk(Option<&'a [u8]>),
    /// An array.
    Array(Vec<Reply<'a>>),
}

impl Reply<'_> {
    /// Nothing, if this is the status `OK`.
    ///
    /// # Errors
    ///
    /// [`Failure::Unexpected`] if it is anything else.
    pub fn ok(&self) -> Result<(), Failure> {
        match self {
            Reply::Status(b"OK") => Ok(()),
            other => Err(other.unexpected()),
        }
    }

    /// The integer.
    ///
    /// # Errors
    ///
    /// [`Failure::Unexpected`] if it is none.
    pub fn integer(&self) -> Result<i64, Failure> {
        match self {
            Reply::Integer(number) => Ok(*number),
            other => Err(other.unexpected()),
        }
    }

    /// The failure that this reply is where another was expected.
    pub fn unexpected(&self) -> Failure {
        const SHOWN_BYTES: usize = 80;
        let show = |kind: &str, bytes: &[u8]| {
            format!("{kind}{}", bytes[..bytes.len().min(SHOWN_BYTES)].escape_ascii())
        };
        Failure::Unexpected(match self {
            Reply::Status(text) => show("+", text),
            Reply::Error(text) => show("-", text),
            Reply::Integer(number) => format!(":{number}"),
            Reply::Bulk(None) => "no string".to_owned(),
            Reply::Bulk(Some(bytes)) => show("the string ", bytes),
            Reply::Array(parts) => format!("an array of {}", parts.len()),
        })
    }
}

/// The reply at the start of `bytes` and its length, or nothing if more has to come.
fn parse(bytes: &[u8]) -> Result<Option<(Reply<'_>, usize)>, Failure> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\r') else { return Ok(None) };
    if bytes.len() < end + 2 {
        return Ok(None);
    }
    let (line, after) = (&bytes[1..end], end + 2);
    let malformed = || Failure::Unexpected(bytes[..after].escape_ascii().to_string());
    let number = || -> Result<i64, Failure> {
        std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or_else(malformed)
    };
    Ok(Some(match bytes[0] {
        b'+' => (Reply::Status(line), after),
        b'-' => (Reply::Error(line), after),
        b':' => (Reply::Integer(number()?), after),
        b'$' => match usize::try_from(number()?) {
            Err(_) => (Reply::Bulk(None), after),
            Ok(len) if bytes.len() < after + len + 2 => return Ok(None),
            Ok(len) => (Reply::Bulk(Some(&bytes[after..after + len])), after + len + 2),
        },
        b'*' => {
            let mut parts = Vec::new();
            let mut at = after;
            for _ in 0..number()? {
                let Some((part, len)) = parse(&bytes[at..])? else { return Ok(None) };
                parts.push(part);
                at += len;
            }
            (Reply::Array(parts), at)
        }
        _ => return Err(malformed()),
    }))
}

/// Appends the request that `words` make.
pub fn write_request(words: &[&[u8]], out: &mut Vec<u8>) {
    out.push(b'*');
    write_length(words.len(), out);
    for word in words {
        out.push(b'$');
        write_length(word.len(), out);
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn write_length(len: usize, out: &mut Vec<u8>) {
    match len {
        // Nearly all of them.
        0..10 => out.push(b'0' + len as u8),
        _ => out.extend_from_slice(len.to_string().as_bytes()),
    }
    out.extend_from_slice(b"\r\n");
}

/// The connection.
pub struct Pipeline {
    /// Never blocks: a client that slept would have the server pay for waking it.
    socket: Socket,
    received: Vec<u8>,
    /// Bytes of `received` before here belong to replies that were taken.
    taken: usize,
}

impl Pipeline {
    /// Connects.
    ///
    /// # Errors
    ///
    /// A failed connection.
    pub fn new(address: &Address) -> Result<Self, Failure> {
        let socket = address.connect()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, received: Vec::new(), taken: 0 })
    }

    /// Sends `bytes` of requests. Their replies, and those to earlier requests, must fit the
    /// server's output buffers, as nothing is read meanwhile.
    ///
    /// # Errors
    ///
    /// A failed connection, or a server that takes nothing for long.
    pub fn send(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let len = patiently(|| self.socket.write(bytes))?;
            bytes = &bytes[len..];
        }
        Ok(())
    }

    /// Waits for the next reply.
    ///
    /// # Errors
    ///
    /// A failed connection, a server that is silent for long, or bytes that are no RESP2.
    pub fn receive(&mut self) -> Result<Reply<'_>, Failure> {
        const CHUNK_BYTES: usize = 64 << 10;
        while parse(&self.received[self.taken..])?.is_none() {
            self.received.drain(..self.taken);
            self.taken = 0;
            let had = self.received.len();
            self.received.resize(had + CHUNK_BYTES, 0);
            let len = patiently(|| self.socket.read(&mut self.received[had..]))?;
            self.received.truncate(had + len);
        }
        let (reply, len) = parse(&self.received[self.taken..])?.expect("it was whole");
        self.taken += len;
        Ok(reply)
    }

    /// Sends the request that `words` make and waits for its reply.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::send`] and [`Pipeline::receive`].
    pub fn ask(&mut self, words: &[&[u8]]) -> Result<Reply<'_>, Failure> {
        let mut request = Vec::new();
        write_request(words, &mut request);
        self.send(&request)?;
        self.receive()
    }

    /// Sends a request for each of `numbers`, which `write` appends, and has `read` look at each
    /// reply. Replies must be short.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::send`] and [`Pipeline::receive`], or what `read` finds.
    pub fn stream(
        &mut self,
        numbers: Range<u64>,
        mut write: impl FnMut(u64, &mut Vec<u8>),
        mut read: impl FnMut(u64, &Reply<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut batch = Vec::new();
        let (mut asked, mut answered) = (numbers.start, numbers.start);
        while asked < numbers.end {
            let before = asked;
            batch.clear();
            while asked < numbers.end && batch.len() < BATCH_BYTES {
                write(asked, &mut batch);
                asked += 1;
            }
            self.send(&batch)?;
            let awaited = if asked == numbers.end { asked } else { before };
            while answered < awaited {
                read(answered, &self.receive()?)?;
                answered += 1;
            }
        }
        Ok(())
    }
}

/// Calls `attempt` until it would not block.
fn patiently(mut attempt: impl FnMut() -> io::Result<usize>) -> Result<usize, Failure> {
    let mut start = None;
    loop {
        match attempt() {
            Ok(0) => return Err(Failure::Closed),
            Ok(len) => return Ok(len),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match start.get_or_insert_with(Instant::now).elapsed() {
                    waited if waited > PATIENCE => return Err(Failure::Silent),
                    waited if waited > SPIN => std::thread::sleep(NAP),
                    _ => {}
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::free_port;
    use std::net::TcpListener;

    #[test]
    fn replies_are_whole_or_awaited() {
        let bytes = b"*3\r\n$2\r\n10\r\n*2\r\n$1\r\na\r\n$-1\r\n:-7\r\n";
        for len in 0..bytes.len() {
            assert_eq!(parse(&bytes[..len]).unwrap(), None, "{len}");
        }
        let inner = Reply::Array(vec![Reply::Bulk(Some(b"a")), Reply::Bulk(None)]);
        let whole = Reply::Array(vec![Reply::Bulk(Some(b"10")), inner, Reply::Integer(-7)]);
        assert_eq!(parse(&[bytes, &b"+OK"[..]].concat()).unwrap(), Some((whole, bytes.len())));
        assert_eq!(parse(b"-ERR no\r\n").unwrap(), Some((Reply::Error(b"ERR no"), 9)));
        assert!(parse(b"?\r\n").is_err());
        assert!(parse(b":x\r\n").is_err());
    }

    #[test]
    fn other_replies_are_failures() {
        assert!(Reply::Status(b"OK").ok().is_ok());
        let failure = Reply::Error(b"OOM").ok().err().unwrap();
        assert!(matches!(failure, Failure::Unexpected(text) if text == "-OOM"));
        assert_eq!(Reply::Integer(3).integer().unwrap(), 3);
        assert!(Reply::Bulk(None).integer().is_err());
    }

    #[test]
    fn requests_are_resp() {
        let mut out = Vec::new();
        write_request(&[b"SET", b"k", &[b'x'; 12]], &mut out);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nxxxxxxxxxxxx\r\n");
    }

    #[test]
    fn every_reply_of_a_stream_is_read_in_order() {
        let address = Address::loopback(free_port().unwrap());
        let Address::Tcp(at) = address else { unreachable!("loopback is TCP") };
        let listener = TcpListener::bind(at).unwrap();
        // Answers each line of eight bytes with its number.
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut line = [0; 8];
            while socket.read_exact(&mut line).is_ok() {
                let number: u64 = std::str::from_utf8(&line).unwrap().parse().unwrap();
                socket.write_all(format!(":{number}\r\n").as_bytes()).unwrap();
            }
        });
        let mut pipeline = Pipeline::new(&address).unwrap();
        let mut seen = Vec::new();
        let write =
            |number, out: &mut Vec<u8>| out.extend_from_slice(format!("{number:08}").as_bytes());
        pipeline
            .stream(10..40_000, write, |number, reply| {
                seen.push((number, reply.integer()?));
                Ok(())
            })
            .unwrap();
        assert_eq!(seen.len(), 39_990);
        assert!(seen.iter().all(|(number, reply)| *number as i64 == *reply));
        assert!(seen.is_sorted());
    }
}
