//! For tests of wires and stores: feeds a wire with bytes in pieces, as a connection does; makes and
//! watches keys without a request; runs a request without a connection.

use std::marker::PhantomData;
use std::mem::take;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use crate::args::{Args, Key};
use crate::commands::{Run, Store};
use crate::conn::ConnId;
use crate::cx::Cx;
use crate::hash::KeyHasher;
use crate::input::Input;
use crate::shared::Out;
use crate::table::{Found, Table};
use crate::tx::watch::{Changes, WatchId};
use crate::wire::{Burst, ParseLimits, Resume, Wire};

/// A key with its hash, as a store gets it from a handler.
#[inline]
pub fn key(bytes: &[u8], hash: u64) -> Key<'_> {
    Key::new(bytes, hash)
}

/// A watched key, as a store's tests look for what the store tells of it. Dropped, it is watched no
/// more.
#[derive(Debug)]
pub struct Watched {
    changes: Changes,
    id: WatchId,
}

impl Watched {
    /// Watches a key from now on.
    pub fn new(changes: &Changes, space: u64, key: Key<'_>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let conn = ConnId { slot: 0, generation: 0 };
        let id = WatchId { shard: 0, conn, number: NEXT.fetch_add(1, Ordering::Relaxed) };
        changes.watch(id, space, key);
        Watched { changes: changes.clone(), id }
    }

    /// Whether a change of it was told.
    pub fn is_changed(&self) -> bool {
        self.changes.is_marked(self.id)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.changes.unwatch(self.id);
    }
}

/// A request's arguments.
pub type Request = Vec<Vec<u8>>;

/// The input side of a connection, without a connection.
#[derive(Debug)]
pub struct Feed<W> {
    limits: ParseLimits,
    input: Input,
    burst: Burst,
    wire: PhantomData<W>,
}

impl<W: Wire> Feed<W> {
    /// A fresh one with these bounds.
    pub fn new(limits: ParseLimits) -> Self {
        Feed { limits, input: Input::default(), burst: Burst::default(), wire: PhantomData }
    }

    /// Takes in what a receive brought and adds the requests that are whole with it. With `gather`,
    /// the rest of a large argument goes to an allocation of its own.
    ///
    /// # Errors
    /// The refusal of a malformed frame; the requests before it were added.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        gather: bool,
        requests: &mut Vec<Request>,
    ) -> Result<(), W::Refusal> {
        let bytes = &bytes[self.input.feed(bytes)..];
        if bytes.is_empty() {
            return Ok(());
        }
        let in_place = self.input.is_empty();
        if !in_place {
            self.input.keep(bytes);
        }
        let mut resume = take(&mut self.input.resume);
        let input = if in_place { bytes } else { self.input.bytes() };
        let used = parse::<W>(input, &mut resume, &self.limits, &mut self.burst, requests);
        self.input.resume = resume;
        let used = used?;
        if in_place {
            self.input.keep(&bytes[used..]);
        } else {
            self.input.consume(used);
        }
        if gather {
            self.input.gather();
        }
        Ok(())
    }
}

/// Parses bursts from the start of `input`; answers how much of it whole requests took.
fn parse<W: Wire>(
    input: &[u8],
    resume: &mut Resume,
    limits: &ParseLimits,
    burst: &mut Burst,
    requests: &mut Vec<Request>,
) -> Result<usize, W::Refusal> {
    let mut used = 0;
    loop {
        let rest = &input[used..];
        burst.clear();
        let parsed = W::parse(rest, resume, limits, burst);
        for index in 0..burst.ends.len() {
            let args = burst.args(index, rest);
            if !args.is_empty() {
                requests.push(args.iter().map(<[u8]>::to_vec).collect());
            }
        }
        used += burst.consumed();
        parsed?;
        if burst.room() > 0 {
            return Ok(used);
        }
    }
}

/// Empties a burst and keeps its buffers, as a shard does between two.
pub fn clear(burst: &mut Burst) {
    burst.clear();
}

/// Runs a request as a shard does that owns its keys: looks its verb up, counts its arguments, hashes
/// its keys, calls it. False if it is no request for one place.
#[inline]
pub fn dispatch<S: Store>(
    table: &Table<S>,
    store: &mut S,
    cx: &Cx<'_>,
    hasher: &KeyHasher,
    args: Args<'_>,
    out: &mut Out,
) -> bool {
    let Found::Command(command, _) = table.find(args) else { return false };
    if !command.info.takes(args.len()) {
        return false;
    }
    let mut hashes = SmallVec::<[u64; 4]>::new();
    command.info.route.each_key(args, |at| hashes.push(hasher.hash(args.get(at).unwrap_or(b""))));
    match command.run {
        Run::One(run) | Run::Gather { whole: run, .. } => {
            run(store, cx, args.with_hashes(&hashes), out);
            true
        }
        _ => false,
    }
}
