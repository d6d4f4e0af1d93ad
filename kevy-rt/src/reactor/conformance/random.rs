//! Calls in an order that is drawn, over a few sockets that come and go: whatever happens, each
//! side of a connection gets a beginning of what the other sent, and in the end all of it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::Subject;
use super::bench::{Bench, pattern, set_small_buffer};
use crate::reactor::{Reactor, Transport};
use crate::shared::{ATTACH_BYTES, Out, Shared, Value};

const SEEDS: u64 = 8;
const SOCKETS: usize = 12;
const STEPS: usize = 1500;

/// Small words that follow from a seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        // Xorshift: its period is long enough, and any seed but zero will do.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

/// A connection, and how far its two streams are. Both carry [`stream`] of it.
struct Link {
    conn: usize,
    transport: Transport,
    far: UnixStream,
    /// Bytes that the far side wrote, that the reactor was given to send, that the far side read.
    written: usize,
    given: usize,
    read: usize,
    sends: usize,
}

/// What a connection carries from `at` on, in either direction.
fn stream(conn: usize, at: usize, len: usize) -> Vec<u8> {
    pattern(at + len, conn).split_off(at)
}

impl Link {
    fn new<S: Subject>(bench: &mut Bench<S>) -> Self {
        let (near, far) = UnixStream::pair().unwrap();
        set_small_buffer(&near);
        far.set_nonblocking(true).unwrap();
        let (conn, transport) = bench.open(near);
        Link { conn, transport, far, written: 0, given: 0, read: 0, sends: 0 }
    }

    /// The far side writes what it can of `len` bytes.
    fn write(&mut self, len: usize) {
        if let Ok(written) = self.far.write(&stream(self.conn, self.written, len)) {
            self.written += written;
        }
    }

    /// The far side reads up to `len` bytes.
    fn read(&mut self, len: usize) {
        let mut bytes = vec![0; len];
        if let Ok(read) = self.far.read(&mut bytes) {
            assert!(bytes[..read] == stream(self.conn, self.read, read));
            self.read += read;
        }
    }

    /// The reactor sends `len` bytes, if it isn't sending; now and then in pieces.
    fn send<S: Subject>(&mut self, bench: &mut Bench<S>, len: usize) {
        if bench.records[self.conn].sends < self.sends {
            return;
        }
        let mut out = Out::default();
        out.extend(&stream(self.conn, self.given, len));
        self.given += len;
        if len.is_multiple_of(5) {
            let value = Shared::new(stream(self.conn, self.given, ATTACH_BYTES));
            out.value(Value::Shared(&value));
            self.given += ATTACH_BYTES;
        }
        self.sends += 1;
        bench.reactor.send(self.transport, out);
    }

    fn check<S: Subject>(&self, bench: &Bench<S>) {
        let record = &bench.records[self.conn];
        assert!(record.received == stream(self.conn, 0, record.received.len()));
        assert_eq!(record.ends + record.breaks, 0);
    }

    fn is_through<S: Subject>(&self, bench: &Bench<S>) -> bool {
        let record = &bench.records[self.conn];
        let is_sent = record.sends == self.sends && self.read == self.given;
        is_sent && record.received.len() == self.written
    }
}

pub(super) fn any_order_of_calls_keeps_streams_whole<S: Subject>() {
    for seed in 1..=SEEDS {
        run::<S>(Draw(seed));
    }
}

fn run<S: Subject>(mut draw: Draw) {
    let mut bench = Bench::<S>::new();
    let mut links: Vec<_> = (0..SOCKETS).map(|_| Link::new(&mut bench)).collect();
    for _ in 0..STEPS {
        let at = draw.below(SOCKETS);
        let link = &mut links[at];
        match draw.below(20) {
            0..5 => link.write(1 + draw.below(20_000)),
            5..8 => link.read(1 + draw.below(100_000)),
            8..11 => link.send(&mut bench, draw.below(30_000)),
            11..14 => bench.reactor.set_reading(link.transport, draw.below(2) == 0),
            14 => {
                link.check(&bench);
                bench.reactor.close(link.transport);
                let records = bench.records[link.conn].received.len();
                let conn = link.conn;
                *link = Link::new(&mut bench);
                bench.reactor.turn(None).unwrap();
                while bench.take_event() {}
                assert_eq!(bench.records[conn].received.len(), records, "it was closed");
            }
            15..17 => bench.reactor.turn(None).unwrap(),
            _ => {
                // Not always all events.
                for _ in 0..draw.below(8) {
                    bench.take_event();
                }
            }
        }
    }
    for link in &links {
        bench.reactor.set_reading(link.transport, true);
    }
    bench.run_until("all bytes", |bench| {
        links.iter_mut().for_each(|link| link.read(1 << 20));
        links.iter().all(|link| link.is_through(bench))
    });
    links.iter().for_each(|link| link.check(&bench));
}
