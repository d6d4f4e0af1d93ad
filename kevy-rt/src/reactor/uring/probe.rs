//! Finding out at start how io_uring works here: not by the kernel's version but by using it.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::shared::Out;
use crate::sys::uring::{Completion, Pool, Ring, Setup, TaskWork, Whose};

/// How long a working io_uring may take for what is tried here, many times over.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is sent in a trial.
#[derive(Clone, Copy)]
struct Trial {
    sockets: u32,
    rounds: usize,
    /// Per socket and round.
    bytes: usize,
}

/// Buffers are shared between sockets and receives, and crossed.
const LARGE: Trial = Trial { sockets: 2, rounds: 6, bytes: 40_000 };

/// More completions than their queue holds: they still come in the order in which buffers are filled.
const CROWDED: Trial = Trial { sockets: 24, rounds: 6, bytes: 400 };

/// The best setup that works for the rings of so many shards on so many cores.
///
/// # Errors
/// That of the last setup tried: none works.
pub(crate) fn find_setup(shards: usize, cores: usize) -> io::Result<Setup> {
    let kinds = [TaskWork::Deferred, TaskWork::Cooperative, TaskWork::Interrupting];
    let pools = [Pool::INCREMENTAL, Pool::WHOLE];
    let setups = kinds
        .into_iter()
        .flat_map(|task_work| pools.into_iter().map(move |pool| Setup::new(task_work, pool)));
    let mut failure = None;
    for setup in setups {
        let tried = try_out(setup, LARGE).and_then(|()| try_out(setup.crowded(), CROWDED));
        let setup = setup.shared_by(shards.div_ceil(cores));
        match tried.and_then(|()| hold(setup, shards)) {
            Ok(()) => return Ok(setup),
            Err(error) => {
                tracing::debug!(%error, ?setup, "this io_uring setup does not work");
                failure = Some(error);
            }
        }
    }
    Err(failure.expect("there are setups to try"))
}

/// Makes as many rings as there will be: what one takes of locked memory or descriptors there may be
/// too little of for all.
fn hold(setup: Setup, rings: usize) -> io::Result<()> {
    let mut held = Vec::with_capacity(rings);
    for made in 0..rings {
        held.push(Ring::new(setup).map_err(|error| {
            let what = format!(
                "{error}, when {made} of {rings} rings were made; each takes locked memory, whose \
                 limit `ulimit -l` tells"
            );
            io::Error::new(error.kind(), what)
        })?);
    }
    Ok(())
}

/// Sends and receives over socket pairs, in turn.
fn try_out(setup: Setup, trial: Trial) -> io::Result<()> {
    let mut ring = Ring::new(setup)?;
    let mut pairs = (0..trial.sockets).map(Pair::new).collect::<io::Result<Vec<_>>>()?;
    for pair in &pairs {
        ring.receive(pair.near.as_fd(), pair.whose);
    }
    let deadline = Instant::now() + PATIENCE;
    for _ in 0..trial.rounds {
        for pair in &mut pairs {
            pair.write(&mut ring, trial.bytes);
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

    fn write(&mut self, ring: &mut Ring, bytes: usize) {
        self.written += bytes;
        let bytes = (self.written - bytes..self.written).map(|at| self.byte(at)).collect();
        let mut out = Out::default();
        *out.buffer() = bytes;
        ring.send(self.far.as_fd(), self.whose, out);
        self.is_sending = true;
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

fn take_in(ring: &mut Ring, pairs: &mut [Pair], completion: Completion) -> io::Result<()> {
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
