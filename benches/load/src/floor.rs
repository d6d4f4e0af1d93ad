//! A server that parses nothing: the CPU that a request costs on this socket path at the least.
//!
//! It is told how long a request is, counts bytes, and answers each whole request with a constant
//! reply. One thread, one ring, one send per connection per turn, all submissions in one enter. Any
//! server that reads its requests from the same sockets does this work and more.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::ring::{Completion, Pool, Ring, SendMode};

/// Replies of one send at most. Longer sends gain nothing; shorter ones cost an enter each.
const SEND_BYTES: usize = 64 << 10;

/// What the floor is told instead of parsing.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The length of every request.
    pub request_bytes: usize,
    /// The length of every reply.
    pub reply_bytes: usize,
    /// How long to look for completions before sleeping.
    pub spin: Duration,
}

/// Serves `listeners` for as long as the process lives.
///
/// # Errors
///
/// A failure of the ring or of an accept. A connection's failure only ends the connection.
pub fn serve(listeners: &[OwnedFd], options: Options) -> io::Result<()> {
    let mut floor = Floor::new(options)?;
    for listener in listeners {
        floor
            .ring
            .accept(listener.as_raw_fd(), tag(Kind::Accept, listener.as_raw_fd() as usize))?;
    }
    loop {
        floor.turn()?;
    }
}

/// The constant reply of `bytes` bytes, in RESP where a reply of that length exists.
pub fn reply(bytes: usize) -> Vec<u8> {
    match bytes {
        5 => b"+OK\r\n".to_vec(),
        7 => b"+PONG\r\n".to_vec(),
        _ => bulk_string(bytes).unwrap_or_else(|| vec![b'+'; bytes]),
    }
}

/// The bulk string that is `bytes` long with its header, if there is one.
fn bulk_string(bytes: usize) -> Option<Vec<u8>> {
    let framing = |body: usize| 1 + body.to_string().len() + 2 + 2;
    let least = bytes.checked_sub(framing(bytes))?;
    let body = (least..bytes).find(|body| body + framing(*body) == bytes)?;
    Some(format!("${body}\r\n{}\r\n", "x".repeat(body)).into_bytes())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Accept,
    Recv,
    Send,
}

const KIND_BITS: u32 = 2;

/// A submission's name: what it is, and its connection's index or its listener's descriptor.
fn tag(kind: Kind, index: usize) -> u64 {
    (index as u64) << KIND_BITS | kind as u64
}

fn of_tag(tag: u64) -> (Kind, usize) {
    let kind = match tag & ((1 << KIND_BITS) - 1) {
        0 => Kind::Accept,
        1 => Kind::Recv,
        _ => Kind::Send,
    };
    (kind, (tag >> KIND_BITS) as usize)
}

struct Floor {
    options: Options,
    ring: Ring,
    /// Whole replies, one after the other.
    replies: Vec<u8>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Connections that ended in this turn. Their indices are free in the next one, when no
    /// completion of this turn can name them any more.
    ended: Vec<usize>,
    /// Connections that owe replies and have no send under way.
    due: Vec<usize>,
    completions: Vec<Completion>,
}

struct Connection {
    socket: OwnedFd,
    /// Bytes of the request that is not whole yet.
    received: usize,
    /// Bytes of replies not handed to a send yet.
    owed: usize,
    /// Where in a reply the next send starts.
    phase: usize,
    /// The length of the last send.
    sent: usize,
    /// The last send came short: the next one waits for room.
    is_blocked: bool,
    /// A confirmed send is under way.
    is_sending: bool,
    is_due: bool,
    is_closed: bool,
}

impl Floor {
    fn new(options: Options) -> io::Result<Self> {
        let count = (SEND_BYTES / options.reply_bytes).max(1);
        let pool = if options.request_bytes < SEND_BYTES { Pool::SMALL } else { Pool::LARGE };
        Ok(Self {
            options,
            ring: Ring::new(pool)?,
            replies: reply(options.reply_bytes).repeat(count),
            connections: Vec::new(),
            free: Vec::new(),
            ended: Vec::new(),
            due: Vec::new(),
            completions: Vec::new(),
        })
    }

    fn turn(&mut self) -> io::Result<()> {
        self.ring.turn(self.options.spin, None)?;
        let mut completions = std::mem::take(&mut self.completions);
        self.ring.completions(&mut completions);
        for completion in completions.drain(..) {
            match of_tag(completion.tag) {
                (Kind::Accept, listener) => self.accepted(listener as RawFd, &completion)?,
                (Kind::Recv, index) => self.received(index, &completion)?,
                (Kind::Send, index) => self.sent(index, &completion),
            }
        }
        self.completions = completions;
        self.send()?;
        self.free.append(&mut self.ended);
        Ok(())
    }

    fn accepted(&mut self, listener: RawFd, completion: &Completion) -> io::Result<()> {
        if !completion.is_armed() {
            self.ring.accept(listener, completion.tag)?;
        }
        if completion.result < 0 {
            return Err(io::Error::from_raw_os_error(-completion.result));
        }
        // SAFETY: the kernel made this descriptor for the accept; nothing else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(completion.result) };
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.ring.recv(socket.as_raw_fd(), tag(Kind::Recv, index))?;
        self.connections[index] = Some(Connection {
            socket,
            received: 0,
            owed: 0,
            phase: 0,
            sent: 0,
            is_blocked: false,
            is_sending: false,
            is_due: false,
            is_closed: false,
        });
        Ok(())
    }

    fn received(&mut self, index: usize, completion: &Completion) -> io::Result<()> {
        self.ring.give_back(completion);
        let Some(connection) = &mut self.connections[index] else { return Ok(()) };
        match completion.result {
            len if len > 0 => {
                let bytes = connection.received + len as usize;
                connection.received = bytes % self.options.request_bytes;
                connection.owed += bytes / self.options.request_bytes * self.options.reply_bytes;
                self.due(index);
            }
            result if result == -libc::ENOBUFS => {}
            _ => {
                self.end(index);
                return Ok(());
            }
        }
        if !completion.is_armed()
            && let Some(connection) = &self.connections[index]
        {
            self.ring.recv(connection.socket.as_raw_fd(), completion.tag)?;
        }
        Ok(())
    }

    /// A send was confirmed, or came short.
    fn sent(&mut self, index: usize, completion: &Completion) {
        let Some(connection) = &mut self.connections[index] else { return };
        connection.is_sending = false;
        let taken = match completion.result {
            result if result == -libc::EAGAIN => 0,
            result if result < 0 => return self.end(index),
            result => result as usize,
        };
        let unsent = connection.sent - taken;
        let reply_bytes = self.options.reply_bytes;
        connection.owed += unsent;
        connection.phase = (connection.phase + reply_bytes - unsent % reply_bytes) % reply_bytes;
        connection.is_blocked = unsent > 0;
        if connection.is_closed {
            self.end(index);
        } else {
            self.due(index);
        }
    }

    fn due(&mut self, index: usize) {
        if let Some(connection) = &mut self.connections[index]
            && connection.owed > 0
            && !connection.is_due
            && !connection.is_sending
        {
            connection.is_due = true;
            self.due.push(index);
        }
    }

    /// Queues a send for every connection that is due.
    fn send(&mut self) -> io::Result<()> {
        for index in self.due.drain(..) {
            let Some(connection) = &mut self.connections[index] else { continue };
            connection.is_due = false;
            let bytes = &self.replies[connection.phase..];
            let len = connection.owed.min(bytes.len());
            connection.owed -= len;
            connection.phase = (connection.phase + len) % self.options.reply_bytes;
            connection.sent = len;
            connection.is_sending = connection.is_blocked || connection.owed > 0;
            let mode = if connection.is_sending { SendMode::Confirmed } else { SendMode::Now };
            let fd = connection.socket.as_raw_fd();
            // SAFETY: `replies` is never changed and lives as long as the ring's thread serves.
            unsafe { self.ring.send(fd, bytes.as_ptr(), len, mode, tag(Kind::Send, index))? };
        }
        Ok(())
    }

    fn end(&mut self, index: usize) {
        let Some(connection) = &mut self.connections[index] else { return };
        connection.is_closed = true;
        if !connection.is_sending {
            self.connections[index] = None;
            self.ended.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{Address, free_port, read_until};
    use std::io::Write;

    #[test]
    fn replies_have_their_length() {
        assert_eq!(reply(23), b"$16\r\nxxxxxxxxxxxxxxxx\r\n");
        for bytes in [1, 5, 7, 14, 15, 16, 23, 106, 107, 65_546, 1_048_588] {
            assert_eq!(reply(bytes).len(), bytes);
        }
    }

    #[test]
    fn tags_round_trip() {
        for kind in [Kind::Accept, Kind::Recv, Kind::Send] {
            assert!(of_tag(tag(kind, 513)) == (kind, 513));
        }
    }

    #[test]
    fn answers_once_per_whole_request_even_to_a_slow_reader() {
        const REQUESTS: usize = 200_000;
        let address = Address::loopback(free_port().unwrap());
        let listener = address.listen().unwrap();
        let options = Options { request_bytes: 10, reply_bytes: 23, spin: Duration::ZERO };
        std::thread::spawn(move || serve(&[listener], options));
        let mut socket = address.connect().unwrap();
        let mut reader = socket.try_clone().unwrap();
        let writer = std::thread::spawn(move || {
            for _ in 0..REQUESTS / 10 {
                socket.write_all(&[b'r'; 99]).unwrap();
                socket.write_all(b"r").unwrap();
            }
            socket
        });
        std::thread::sleep(Duration::from_millis(200));
        let bytes = read_until(&mut reader, |bytes| bytes.len() >= REQUESTS * 23).unwrap();
        assert!(bytes == reply(23).repeat(REQUESTS));
        drop(writer.join().unwrap());
    }
}
