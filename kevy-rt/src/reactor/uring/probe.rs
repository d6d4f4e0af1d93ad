//! Finding out at start how io_uring works here: not by the kernel's version but by using it.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::shared::Out;
use crate::sys::uring::{Completion, Pool, Ring, Setup, TaskWork, Whose};

/// How long a working io_uring may take for what is tried here, many times over.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes per write and socket: with several of them buffers are shared between sockets and receives,
/// and crossed.
const WRITE_BYTES: usize = 40_000;
const WRITES: usize = 6;

/// The best setup that works.
///
/// # Errors
/// That of the last setup tried: none works.
pub(crate) fn find_setup() -> io::Result<Setup> {
    let kinds = [TaskWork::Deferred, TaskWork::Cooperative, TaskWork::Interrupting];
    let pools = [Pool::INCREMENTAL, Pool::WHOLE];
    let setups = kinds
        .into_iter()
        .flat_map(|task_work| pools.into_iter().map(move |pool| Setup::new(task_work, pool)));
    let mut failure = None;
    for setup in setups {
        match try_out(setup) {
            Ok(()) => return Ok(setup),
            Err(error) => {
                tracing::debug!(%error, ?setup, "this io_uring setup does not work");
                failure = Some(error);
            }
        }
    }
    Err(failure.expect("there are setups to try"))
}

/// Sends and receives over two socket pairs, in turn.
fn try_out(setup: Setup) -> io::Result<()> {
    let mut ring = Ring::new(setup)?;
    let mut pairs = [Pair::new(0)?, Pair::new(1)?];
    for pair in &pairs {
        ring.receive(pair.near.as_fd(), pair.whose);
    }
    let deadline = Instant::now() + PATIENCE;
    for _ in 0..WRITES {
        for pair in &mut pairs {
            pair.write(&mut ring);
        }
        while !pairs.iter().all(Pair::is_even) {
            ring.enter(Some(deadline.saturating_duration_since(Instant::now())))?;
            while let Some(completion) = ring.next() {
                take_in(&mut ring, &mut pairs, completion)?;
            }
            if Instant::now() >= deadline {
                return Err(wrong("an operation did not complete"));
            }
        }
    }
    Ok(())
}

/// A connection to ourselves, and how much went through it.
struct Pair {
    whose: Whose,
    near: UnixStream,
    far: UnixStream,
    written: usize,
    received: usize,
    is_sending: bool,
}

impl Pair {
    fn new(index: u32) -> io::Result<Self> {
        let (near, far) = UnixStream::pair()?;
        let whose = Whose { index, generation: 0 };
        Ok(Pair { whose, near, far, written: 0, received: 0, is_sending: false })
    }

    fn write(&mut self, ring: &mut Ring) {
        let bytes = (0..WRITE_BYTES).map(|at| self.byte(self.written + at)).collect();
        let mut out = Out::default();
        *out.buffer() = bytes;
        ring.send(self.far.as_fd(), self.whose, out);
        self.is_sending = true;
        self.written += WRITE_BYTES;
    }

    fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        let expected = (0..bytes.len()).map(|at| self.byte(self.received + at));
        if !expected.eq(bytes.iter().copied()) {
            return Err(wrong("received bytes are not those that were sent"));
        }
        self.received += bytes.len();
        Ok(())
    }

    /// What is at `at` of this pair's stream; its period fits no buffer.
    fn byte(&self, at: usize) -> u8 {
        (at % 251) as u8 ^ self.whose.index as u8
    }

    fn is_even(&self) -> bool {
        self.written == self.received && !self.is_sending
    }
}

fn take_in(ring: &mut Ring, pairs: &mut [Pair; 2], completion: Completion) -> io::Result<()> {
    match completion {
        Completion::Received { whose, result, is_armed } => {
            let pair = &mut pairs[whose.index as usize];
            let chunk = result?.ok_or_else(|| wrong("a stream ended"))?;
            pair.read(ring.bytes(&chunk))?;
            ring.give_back(chunk);
            if !is_armed {
                ring.receive(pair.near.as_fd(), whose);
            }
            Ok(())
        }
        Completion::Sent { whose, result } => {
            pairs[whose.index as usize].is_sending = false;
            result.map(drop)
        }
        _ => Err(wrong("an operation completed that nobody asked for")),
    }
}

fn wrong(what: &'static str) -> io::Error {
    io::Error::other(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_is_tried_out_works() {
        let setup = find_setup().expect("io_uring is to be had here");
        assert!(try_out(setup).is_ok());
    }
}
