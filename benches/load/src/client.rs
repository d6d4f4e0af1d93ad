//! Drives one server: some connections, each with a batch of requests under way, from one thread.
//!
//! The loop is closed: a connection sends its next batch when every reply of the last one is there.
//! A latency is the time from a batch's send to the chunk that completed the reply. Replies are not
//! parsed: the client knows their lengths, looks at the first bytes of each, and skips to the next.

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::address::Address;
use crate::histogram::Histogram;
use crate::ring::{Completion, Pool, Ring, SendMode};
use crate::usage::{Meter, Usage};
use crate::workload::{Draw, Order, Workload};

use batch::Batch;

mod batch;

/// How long the client looks for replies before it sleeps. Its core is its own, and a sleeping
/// client would have the server pay for waking it.
pub(crate) const SPIN: Duration = Duration::from_micros(500);

/// A server that answers nothing for so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// From this length of a request or reply on, larger buffers save more than they cost.
const LARGE_BYTES: usize = 8 << 10;

/// How closely replies are compared with what they must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The first bytes, and so the kind of each reply, and the sum of the lengths.
    Heads,
    /// Every byte. This slows the client down.
    Bytes,
}

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// After so many requests, all of them measured.
    Requests(u64),
    /// After a warm-up and a measured time.
    Window {
        /// Time for caches and connections to settle.
        warmup: Duration,
        /// The measured time.
        measured: Duration,
    },
}

/// A run.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// The server's address.
    pub address: &'a Address,
    /// The server's process, to measure its use.
    pub pid: Option<u32>,
    /// What is asked.
    pub workload: &'a Workload,
    /// Which keys.
    pub order: Order,
    /// The number of connections.
    pub connections: usize,
    /// The number of requests in a batch.
    pub depth: usize,
    /// When to stop.
    pub length: Length,
    /// How to look at replies.
    pub check: Check,
}

/// What a run found, in its measured time.
#[derive(Clone, Default)]
pub struct Measured {
    /// Replies received.
    pub requests: u64,
    /// GETs that found no value. A run that has any measured the wrong thing.
    pub misses: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// What the server's process used, if it was named.
    pub usage: Option<Usage>,
    /// The latency of every request.
    pub latency: Histogram,
    /// The part of the time in which the client had nothing to do. Near zero, the client is the
    /// bottleneck and the throughput is its own.
    pub idle: f64,
}

impl Measured {
    /// Replies per second.
    pub fn throughput(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// The server's CPU time per request in nanoseconds.
    pub fn cpu_ns(&self) -> Option<f64> {
        self.usage.map(|usage| usage.cpu.as_nanos() as f64 / self.requests.max(1) as f64)
    }

    /// The server's instructions per request.
    pub fn instructions(&self) -> Option<f64> {
        let instructions = self.usage?.instructions?;
        Some(instructions as f64 / self.requests.max(1) as f64)
    }
}

/// Why a run has no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A system call failed.
    #[error("I/O: {0}")]
    Io(#[from] io::Error),
    /// The server ended a connection.
    #[error("the server closed a connection")]
    Closed,
    /// The server did not answer.
    #[error("the server answered nothing for {} s", PATIENCE.as_secs())]
    Silent,
    /// A reply of another kind, as an error.
    #[error("unexpected reply: {0}")]
    Unexpected(String),
    /// A reply of the right kind with other bytes.
    #[error("wrong reply: {found} for {expected}")]
    Wrong {
        /// What came.
        found: String,
        /// What should have come in its place.
        expected: String,
    },
}

/// Runs `plan`.
///
/// # Errors
///
/// As [`Failure`] says. Misses are no failure here.
pub fn run(plan: &Plan<'_>) -> Result<Measured, Failure> {
    let mut client = Client::new(plan)?;
    client.start()?;
    while client.under_way > 0 {
        client.turn()?;
    }
    Ok(client.result.unwrap_or(client.figures))
}

/// Writes every key of `workload`'s one class, in order and pipelined.
///
/// # Errors
///
/// As [`run`].
///
/// # Panics
///
/// If the workload has more than one class.
pub fn fill(address: &Address, workload: &Workload) -> Result<(), Failure> {
    /// Bytes under way per connection: enough that the server never waits.
    const BATCH_BYTES: usize = 256 << 10;
    let class = workload.only_class().expect("one class is filled at a time");
    let plan = Plan {
        address,
        pid: None,
        workload,
        order: Order::Sequential,
        connections: 4,
        depth: (BATCH_BYTES / class.request_bytes()).max(1),
        length: Length::Requests(class.keys()),
        check: Check::Heads,
    };
    run(&plan).map(drop)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measuring,
    /// The figures are taken; only replies to requests that are under way are awaited.
    Draining,
}

const TAG_SEND: u64 = 1;

fn tag(index: usize, kind: u64) -> u64 {
    (index as u64) << 1 | kind
}

struct Client<'a> {
    plan: &'a Plan<'a>,
    // Dropped before the connections, whose batches are lent to sends.
    ring: Ring,
    connections: Vec<Connection>,
    completions: Vec<Completion>,
    draw: Draw,
    /// Requests that may still be sent.
    budget: u64,
    /// Connections with a batch under way.
    under_way: usize,
    phase: Phase,
    phase_start: Instant,
    meter: Option<Meter>,
    usage_at_start: Option<Usage>,
    idle: Duration,
    figures: Measured,
    /// The figures at the end of the measured time.
    result: Option<Measured>,
}

struct Connection {
    socket: Socket,
    batch: Batch,
    sent_at: Instant,
}

impl<'a> Client<'a> {
    fn new(plan: &'a Plan<'a>) -> Result<Self, Failure> {
        let is_large = plan.workload.longest_bytes() >= LARGE_BYTES;
        let now = Instant::now();
        let connections = (0..plan.connections).map(|_| {
            Ok(Connection {
                socket: plan.address.connect()?,
                batch: Batch::default(),
                sent_at: now,
            })
        });
        Ok(Self {
            plan,
            ring: Ring::new(if is_large { Pool::LARGE } else { Pool::SMALL })?,
            connections: connections.collect::<io::Result<_>>()?,
            completions: Vec::new(),
            draw: Draw::new(plan.order),
            budget: match plan.length {
                Length::Requests(requests) => requests,
                Length::Window { .. } => u64::MAX,
            },
            under_way: 0,
            phase: Phase::WarmUp,
            phase_start: now,
            meter: None,
            usage_at_start: None,
            idle: Duration::ZERO,
            figures: Measured::default(),
            result: None,
        })
    }

    fn start(&mut self) -> Result<(), Failure> {
        // After the connections are made, so that the server's threads for them are counted.
        self.meter = self.plan.pid.map(Meter::new);
        if matches!(self.plan.length, Length::Requests(_)) {
            self.begin_measuring()?;
        }
        let now = Instant::now();
        for index in 0..self.connections.len() {
            let fd = self.connections[index].socket.as_raw_fd();
            self.ring.recv(fd, tag(index, 0))?;
            self.send(index, now)?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), Failure> {
        let waited = self.ring.turn(SPIN, Some(PATIENCE))?;
        let now = Instant::now();
        self.idle += waited;
        let mut completions = std::mem::take(&mut self.completions);
        self.ring.completions(&mut completions);
        if completions.is_empty() && waited >= PATIENCE {
            return Err(Failure::Silent);
        }
        for completion in completions.drain(..) {
            self.complete(&completion, now)?;
        }
        self.completions = completions;
        self.advance(now)
    }

    fn complete(&mut self, completion: &Completion, now: Instant) -> Result<(), Failure> {
        let index = (completion.tag >> 1) as usize;
        if completion.tag & TAG_SEND != 0 {
            // Only a send that failed completes.
            return Err(send_failure(completion.result));
        }
        let connection = &mut self.connections[index];
        let is_answered = match completion.result {
            0 => return Err(Failure::Closed),
            result if result == -libc::ENOBUFS => false,
            result if result < 0 => return Err(io::Error::from_raw_os_error(-result).into()),
            _ => {
                let chunk = self.ring.chunk(completion);
                let fed = connection.batch.feed(chunk, self.plan.workload, self.plan.check)?;
                self.figures.requests += fed.replies;
                self.figures.misses += fed.misses;
                self.figures.latency.record(now - connection.sent_at, fed.replies);
                connection.batch.is_answered()
            }
        };
        self.ring.give_back(completion);
        if !completion.is_armed() {
            self.ring.recv(connection.socket.as_raw_fd(), completion.tag)?;
        }
        if is_answered {
            self.under_way -= 1;
            self.send(index, now)?;
        }
        Ok(())
    }

    /// Sends the next batch of a connection that has none under way.
    fn send(&mut self, index: usize, now: Instant) -> Result<(), Failure> {
        let count = self.budget.min(self.plan.depth as u64);
        if count == 0 {
            return Ok(());
        }
        self.budget -= count;
        self.under_way += 1;
        let connection = &mut self.connections[index];
        connection.sent_at = now;
        let bytes = connection.batch.fill(count as usize, self.plan.workload, &mut self.draw);
        let (start, len) = (bytes.as_ptr(), bytes.len());
        let fd = connection.socket.as_raw_fd();
        // SAFETY: the batch is changed only when all its replies are there, and so when the server
        // has had all its bytes; the ring is dropped before it.
        unsafe { self.ring.send(fd, start, len, SendMode::Whole, tag(index, TAG_SEND))? };
        Ok(())
    }

    /// Moves on to the next phase when it is time.
    fn advance(&mut self, now: Instant) -> Result<(), Failure> {
        let in_phase = now - self.phase_start;
        match (self.phase, self.plan.length) {
            (Phase::WarmUp, Length::Window { warmup, .. }) if in_phase >= warmup => {
                self.begin_measuring()
            }
            (Phase::Measuring, Length::Window { measured, .. }) if in_phase >= measured => {
                self.end_measuring(in_phase)
            }
            (Phase::Measuring, Length::Requests(_)) if self.under_way == 0 => {
                self.end_measuring(in_phase)
            }
            _ => Ok(()),
        }
    }

    fn begin_measuring(&mut self) -> Result<(), Failure> {
        self.phase = Phase::Measuring;
        self.figures.requests = 0;
        self.figures.latency.clear();
        self.idle = Duration::ZERO;
        self.usage_at_start = self.meter.as_ref().map(Meter::read).transpose()?;
        self.phase_start = Instant::now();
        Ok(())
    }

    fn end_measuring(&mut self, elapsed: Duration) -> Result<(), Failure> {
        self.phase = Phase::Draining;
        self.budget = 0;
        let usage = self.meter.as_ref().map(Meter::read).transpose()?;
        self.result = Some(Measured {
            elapsed,
            usage: usage.zip(self.usage_at_start).map(|(now, then)| now.since(then)),
            idle: self.idle.as_secs_f64() / elapsed.as_secs_f64(),
            ..self.figures.clone()
        });
        Ok(())
    }
}

/// Why a send completed, which only a failed one does.
fn send_failure(result: i32) -> Failure {
    match result {
        result if result == -libc::EPIPE || result == -libc::ECONNRESET => Failure::Closed,
        result if result < 0 => io::Error::from_raw_os_error(-result).into(),
        _ => io::Error::other("a send came short").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::free_port;
    use crate::floor;
    use crate::workload::{KeySpace, Verb};

    fn floor_for(workload: &Workload) -> Address {
        let address = Address::loopback(free_port().unwrap());
        let listener = address.listen().unwrap();
        let class = workload.only_class().unwrap();
        let options = floor::Options {
            request_bytes: class.request_bytes(),
            reply_bytes: class.reply_bytes(),
            spin: Duration::ZERO,
        };
        std::thread::spawn(move || floor::serve(&[listener], options));
        address
    }

    fn plan<'a>(address: &'a Address, workload: &'a Workload) -> Plan<'a> {
        Plan {
            address,
            pid: Some(std::process::id()),
            workload,
            order: Order::Random { seed: 1 },
            connections: 5,
            depth: 7,
            length: Length::Requests(10_000),
            check: Check::Heads,
        }
    }

    #[test]
    fn counts_every_reply() {
        for (verb, value_bytes) in [(Verb::Ping, 0), (Verb::Get, 16), (Verb::Set, 100_000)] {
            let workload = Workload::of(verb, KeySpace::new(1000, value_bytes));
            let address = floor_for(&workload);
            let measured = run(&plan(&address, &workload)).unwrap();
            assert_eq!(measured.requests, 10_000);
            assert_eq!(measured.latency.total(), 10_000);
            assert_eq!(measured.misses, 0);
            assert!(measured.cpu_ns().is_some());
        }
    }

    #[test]
    fn a_window_ends() {
        let workload = Workload::of(Verb::Ping, KeySpace::new(1, 0));
        let address = floor_for(&workload);
        let window = Duration::from_millis(50);
        let length = Length::Window { warmup: window, measured: window };
        let measured = run(&Plan { length, ..plan(&address, &workload) }).unwrap();
        assert!(measured.requests > 0);
        assert!(measured.elapsed >= window);
    }

    #[test]
    fn a_reply_that_was_not_asked_for_is_a_failure() {
        let served = Workload::of(Verb::Ping, KeySpace::new(1, 0));
        let address = floor_for(&served);
        let asked = Workload::of(Verb::Get, KeySpace::new(10, 16));
        let failure = run(&plan(&address, &asked)).err().unwrap();
        assert!(matches!(failure, Failure::Unexpected(_)), "{failure}");
    }
}
