//! A request's arguments that outlive the buffer they came in: kept until the request may run, or on
//! their way to another shard.

use std::ops::Range;

use crate::args::{Args, Span};
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
        let mut kept = Kept::default();
        kept.take(args, 0..args.len());
        kept.hashes.extend_from_slice(args.hashes());
        kept
    }

    /// Adds arguments that belong to a key.
    pub(crate) fn take_key(&mut self, args: Args<'_>, positions: Range<usize>, hash: u64) {
        positions.for_each(|position| self.push(args, position));
        self.hashes.push(hash);
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

    /// Adds the arguments at these positions.
    pub(crate) fn take(&mut self, args: Args<'_>, positions: Range<usize>) {
        let spans = &args.spans()[positions.clone()];
        let small = spans.iter().filter(|span| span.large_index().is_none());
        let bytes = small.map(|span| span.len as usize).filter(|&len| len < GATHER_BYTES).sum();
        self.spans.reserve(spans.len());
        self.bytes.reserve(bytes);
        positions.for_each(|position| self.push(args, position));
    }

    #[inline]
    fn push(&mut self, args: Args<'_>, position: usize) {
        let Some(value) = args.value(position) else { return };
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
