//! A blocking connection that keeps the bytes of what it reads.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::{Address, DEADLINE, Reply, parse};

/// A connection to a server.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    /// What was read and not yet taken.
    input: Vec<u8>,
    deadline: Duration,
}

/// A reply and the bytes it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The reply.
    pub reply: Reply,
    /// Its bytes.
    pub raw: Vec<u8>,
}

/// Why there is no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server closed the connection, in order or by a reset.
    Closed,
    /// Nothing came within the deadline.
    Silent,
    /// The bytes are no reply.
    Garbled(String),
}

/// What came of waiting for a reply.
pub type Outcome = Result<Received, Failure>;

/// The request with these arguments, as an array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(arguments: impl IntoIterator<Item = A>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut count = 0;
    for argument in arguments {
        let argument = argument.as_ref();
        body.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        body.extend_from_slice(argument);
        body.extend_from_slice(b"\r\n");
        count += 1;
    }
    let mut out = format!("*{count}\r\n").into_bytes();
    out.append(&mut body);
    out
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    ///
    /// What the system says, where nobody listens for instance.
    pub fn try_connect(address: &Address) -> io::Result<Self> {
        let stream = match address {
            Address::Tcp(socket) => {
                let stream = TcpStream::connect_timeout(socket, DEADLINE)?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
        };
        Ok(Self { stream, input: Vec::new(), deadline: DEADLINE })
    }

    /// Connects.
    ///
    /// # Panics
    ///
    /// If that fails.
    #[must_use]
    pub fn connect(address: &Address) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("connect to {address:?}: {error}"))
    }

    /// Waits at most this long for each reply from now on, instead of [`DEADLINE`].
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// A second handle on the connection, to write from another thread.
    ///
    /// # Panics
    ///
    /// If the system refuses it.
    #[must_use]
    pub fn writer(&self) -> Writer {
        Writer(self.stream.try_clone().expect("duplicate a socket"))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// What the system says, once the server has closed the connection.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request and does not wait for the reply.
    ///
    /// # Panics
    ///
    /// If the connection is closed.
    pub fn send<A: AsRef<[u8]>>(&mut self, arguments: impl IntoIterator<Item = A>) {
        self.send_raw(&encode(arguments)).expect("send a request");
    }

    /// Says that nothing more will be sent.
    ///
    /// # Panics
    ///
    /// If the connection is closed.
    pub fn finish_sending(&mut self) {
        match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
        .expect("shut down the sending half");
    }

    /// Waits for the next reply.
    ///
    /// # Errors
    ///
    /// If none comes.
    pub fn receive(&mut self) -> Outcome {
        let deadline = Instant::now() + self.deadline;
        loop {
            if let Some((reply, len)) = parse(&self.input).map_err(Failure::Garbled)? {
                let rest = self.input.split_off(len);
                let raw = std::mem::replace(&mut self.input, rest);
                return Ok(Received { reply, raw });
            }
            self.read_more(deadline)?;
        }
    }

    /// Waits for the next `count` replies. Unlike as many calls of [`receive`](Self::receive)
    /// this takes time in proportion to their bytes.
    ///
    /// # Errors
    ///
    /// If not all of them come.
    pub fn receive_all(&mut self, count: usize) -> Result<Vec<Received>, Failure> {
        let deadline = Instant::now() + self.deadline;
        let mut all = Vec::with_capacity(count);
        let mut taken = 0;
        while all.len() < count {
            match parse(&self.input[taken..]).map_err(Failure::Garbled)? {
                Some((reply, len)) => {
                    let raw = self.input[taken..taken + len].to_vec();
                    all.push(Received { reply, raw });
                    taken += len;
                }
                None => {
                    self.input.drain(..taken);
                    taken = 0;
                    self.read_more(deadline)?;
                }
            }
        }
        self.input.drain(..taken);
        Ok(all)
    }

    /// Waits for the next reply.
    ///
    /// # Panics
    ///
    /// If none comes.
    pub fn reply(&mut self) -> Reply {
        match self.receive() {
            Ok(received) => received.reply,
            Err(failure) => panic!("no reply: {failure:?}"),
        }
    }

    /// Sends a request and waits for its reply.
    ///
    /// # Panics
    ///
    /// If none comes.
    pub fn call<A: AsRef<[u8]>>(&mut self, arguments: impl IntoIterator<Item = A>) -> Reply {
        self.send(arguments);
        self.reply()
    }

    /// Reads until `is_enough` says so or the server closes: the bytes, and whether it closed.
    ///
    /// # Errors
    ///
    /// [`Failure::Silent`] if neither happens.
    pub fn read_until(
        &mut self,
        is_enough: impl Fn(&[u8]) -> bool,
    ) -> Result<(Vec<u8>, bool), Failure> {
        let deadline = Instant::now() + self.deadline;
        loop {
            if is_enough(&self.input) {
                return Ok((std::mem::take(&mut self.input), false));
            }
            match self.read_more(deadline) {
                Ok(()) => {}
                Err(Failure::Closed) => return Ok((std::mem::take(&mut self.input), true)),
                Err(other) => return Err(other),
            }
        }
    }

    /// Reads and drops what comes, until the server closes: how many bytes that was.
    ///
    /// # Panics
    ///
    /// If the server stays silent instead.
    pub fn drain_until_closed(&mut self) -> usize {
        let mut total = self.input.len();
        loop {
            self.input.clear();
            match self.read_more(Instant::now() + self.deadline) {
                Ok(()) => total += self.input.len(),
                Err(Failure::Closed) => return total,
                Err(other) => panic!("the server did not close: {other:?}"),
            }
        }
    }

    fn read_more(&mut self, deadline: Instant) -> Result<(), Failure> {
        let mut chunk = [0; 1 << 16];
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Silent);
        }
        self.stream.set_read_timeout(left).expect("set a timeout");
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(Failure::Closed),
            Ok(len) => {
                self.input.extend_from_slice(&chunk[..len]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(Failure::Silent)
            }
            Err(_) => Err(Failure::Closed),
        }
    }
}

/// The sending half of a [`Client`].
#[derive(Debug)]
pub struct Writer(Stream);

impl Writer {
    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// What the system says, once the connection is closed.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Sends what the socket takes, until it has taken nothing for `patience`: how many bytes that
    /// was. For a client that never reads, whose server must stop reading at some point.
    ///
    /// # Panics
    ///
    /// If the system refuses the timeout.
    pub fn send_until_stuck(&mut self, bytes: &[u8], patience: Duration) -> usize {
        match &self.0 {
            Stream::Tcp(stream) => stream.set_write_timeout(Some(patience)),
            Stream::Unix(stream) => stream.set_write_timeout(Some(patience)),
        }
        .expect("set a timeout");
        let mut sent = 0;
        while sent < bytes.len() {
            match self.0.write(&bytes[sent..]) {
                Ok(len) => sent += len,
                Err(_) => break,
            }
        }
        sent
    }
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(Some(timeout)),
            Self::Unix(stream) => stream.set_read_timeout(Some(timeout)),
        }
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
        })
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
