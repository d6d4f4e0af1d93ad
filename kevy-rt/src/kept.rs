//! A request's arguments that outlive the buffer they came in: kept until the request may run, or on
//! their way to another shard.

use crate::args::{Args, Span};
use crate::commands::KeyRange;
use crate::input::GATHER_BYTES;
use crate::shared::{Shared, Value};

/// Buffers up to this size are used again.
const SPARE_BYTES: usize = 4096;

/// The arguments of one request, with the hashes of its keys.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    large: Vec<Shared>,
    hashes: Vec<u64>,
}

impl Kept {
    /// All of a request.
    pub(crate) fn new(args: Args<'_>) -> Self {
        let mut kept = Kept::with_room(args);
        kept.range(args, 0, args.len());
        kept.hashes.extend_from_slice(args.hashes());
        kept
    }

    /// An empty one with room for a small request.
    fn with_room(args: Args<'_>) -> Self {
        let small = args.spans().iter().filter(|span| span.large_index().is_none());
        let bytes = small.map(|span| span.len as usize).filter(|&len| len < GATHER_BYTES).sum();
        Kept {
            bytes: Vec::with_capacity(bytes),
            spans: Vec::with_capacity(args.len()),
            large: Vec::new(),
            hashes: Vec::with_capacity(args.hashes().len()),
        }
    }

    /// Takes in a request narrowed to some of its keys: what precedes the keys, the arguments of
    /// those that `is_mine` says, and what follows the keys.
    pub(crate) fn narrow(
        &mut self,
        args: Args<'_>,
        range: KeyRange,
        is_mine: impl Fn(usize) -> bool,
    ) {
        let kept = self;
        kept.range(args, 0, range.first as usize);
        for (key, &hash) in args.hashes().iter().enumerate().filter(|(key, _)| is_mine(*key)) {
            let start = range.start_of(key);
            kept.range(args, start, start + range.step as usize);
            kept.hashes.push(hash);
        }
        kept.range(args, range.end(args.len()), args.len());
    }

    /// Empties it to be used again. `None` if its buffers are too large for that.
    pub(crate) fn emptied(mut self) -> Option<Self> {
        if self.bytes.capacity() > SPARE_BYTES || self.spans.capacity() > SPARE_BYTES {
            return None;
        }
        self.bytes.clear();
        self.spans.clear();
        self.large.clear();
        self.hashes.clear();
        Some(self)
    }

    /// Adds an argument that is a key.
    pub(crate) fn push_key(&mut self, key: &[u8], hash: u64) {
        self.spans.push(Span::new(self.bytes.len(), key.len()));
        self.bytes.extend_from_slice(key);
        self.hashes.push(hash);
    }

    /// The arguments from `start` to `end`.
    fn range(&mut self, args: Args<'_>, start: usize, end: usize) {
        for index in start..end {
            let Some(value) = args.value(index) else { return };
            let shared = match value {
                Value::Shared(shared) => Some(shared.clone()),
                // One copy here, and whoever stores it keeps what it gets.
                Value::Slice(bytes) if bytes.len() >= GATHER_BYTES => Some(Shared::copy_of(bytes)),
                Value::Slice(_) => None,
            };
            if let Some(shared) = shared {
                self.spans.push(Span::large(self.large.len(), shared.len()));
                self.large.push(shared);
            } else {
                self.spans.push(Span::new(self.bytes.len(), value.len()));
                self.bytes.extend_from_slice(value.bytes());
            }
        }
    }

    /// The arguments.
    pub(crate) fn args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.spans, &self.large).with_hashes(&self.hashes)
    }

    /// Bytes of the arguments.
    pub(crate) fn argument_bytes(&self) -> usize {
        self.bytes.len() + self.large.iter().map(|large| large.len()).sum::<usize>()
    }

    /// Bytes of memory that it holds.
    pub(crate) fn memory(&self) -> usize {
        let large: usize = self.large.iter().map(|large| large.len()).sum();
        self.bytes.capacity() + self.spans.capacity() * size_of::<Span>() + large
    }
}
