//! Bytes that several owners hold, and the output that replies are written to.
//!
//! A small reply is copied into the output's one buffer. A large value is attached instead: the
//! output holds a counted handle and the reactor sends the value from where it lies.

use std::ops::Deref;
use std::sync::Arc;

use crate::later::Later;
use crate::pool;

/// From this many bytes on a value is attached to an output rather than copied into it.
///
/// Smaller: gathering costs more than the copy it saves. Larger: a copy of this size shows.
pub const ATTACH_BYTES: usize = 64 * 1024;

/// Bytes that are never changed and freed with their last handle. Cloning counts, it doesn't copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared(Arc<Bytes>);

/// Bytes whose memory is kept for the next large value.
#[derive(Debug, PartialEq, Eq)]
struct Bytes(Vec<u8>);

impl Drop for Bytes {
    fn drop(&mut self) {
        pool::give(std::mem::take(&mut self.0));
    }
}

impl Shared {
    /// Takes over `bytes` without a copy.
    pub fn new(bytes: Vec<u8>) -> Self {
        Shared(Arc::new(Bytes(bytes)))
    }

    /// Copies `bytes`, into memory that was kept from an earlier value if there is some.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut copy = pool::take(bytes.len()).unwrap_or_else(|| Vec::with_capacity(bytes.len()));
        copy.extend_from_slice(bytes);
        Shared::new(copy)
    }

    /// The bytes themselves if this is the only handle, else a copy of them.
    pub fn into_vec(self) -> Vec<u8> {
        match Arc::try_unwrap(self.0) {
            Ok(mut bytes) => std::mem::take(&mut bytes.0),
            Err(shared) => shared.0.clone(),
        }
    }

    /// The bytes, to be changed in place, if this is the only handle.
    pub fn get_mut(&mut self) -> Option<&mut Vec<u8>> {
        Arc::get_mut(&mut self.0).map(|bytes| &mut bytes.0)
    }
}

impl Deref for Shared {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.0
    }
}

/// A value on its way in or out: borrowed bytes, or a handle that may be kept without a copy.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Bytes that live elsewhere; who keeps them copies them.
    Slice(&'a [u8]),
    /// Bytes in an allocation of their own; who keeps them clones the handle.
    Shared(&'a Shared),
}

impl<'a> Value<'a> {
    /// The bytes, wherever they are.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Value::Slice(bytes) => bytes,
            Value::Shared(shared) => shared,
        }
    }

    /// Their number.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a value of no bytes is nothing special")]
    pub fn len(self) -> usize {
        self.bytes().len()
    }
}

/// Where an [`Out`] stood at some moment: see [`Out::mark`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    bytes: usize,
    attached: usize,
}

/// The output of a connection, a batch or a part: bytes, with shared values between them.
#[derive(Debug, Default)]
pub struct Out {
    bytes: Vec<u8>,
    /// Each value is sent after the first `.0` of `bytes`.
    attached: Vec<(usize, Shared)>,
    attached_bytes: usize,
    errors: u32,
    /// The rest of the last reply, if that isn't there yet.
    later: Option<Box<Later>>,
}

impl Out {
    /// An empty output that writes into `buffer`, whose content is dropped.
    pub fn with_buffer(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Out { bytes: buffer, ..Out::default() }
    }

    /// Appends one byte.
    #[inline]
    pub fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a value: a copy, or from [`ATTACH_BYTES`] on a handle to it.
    #[inline]
    pub fn value(&mut self, value: Value<'_>) {
        match value {
            Value::Shared(shared) if shared.len() >= ATTACH_BYTES => {
                self.attached_bytes += shared.len();
                self.attached.push((self.bytes.len(), shared.clone()));
            }
            value => self.extend(value.bytes()),
        }
    }

    /// The buffer that small replies are written to. Only append to it.
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes in all, attached values included.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() + self.attached_bytes
    }

    /// Whether nothing is in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// This moment, to which [`Out::truncate`] goes back and from which [`Out::copy`] reads.
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), attached: self.attached.len() }
    }

    /// Drops what was appended since `mark`.
    pub fn truncate(&mut self, mark: Mark) {
        self.later = None;
        self.bytes.truncate(mark.bytes);
        for (_, value) in self.attached.drain(mark.attached..) {
            self.attached_bytes -= value.len();
        }
    }

    /// Appends what lies in `from` between two of its marks. Bytes are copied, values counted.
    #[inline]
    pub fn copy(&mut self, from: &Out, start: Mark, end: Mark) {
        if start.attached == end.attached {
            self.bytes.extend_from_slice(&from.bytes[start.bytes..end.bytes]);
            return;
        }
        let mut at = start.bytes;
        for (position, value) in &from.attached[start.attached..end.attached] {
            self.bytes.extend_from_slice(&from.bytes[at..*position]);
            self.value(Value::Shared(value));
            at = *position;
        }
        self.bytes.extend_from_slice(&from.bytes[at..end.bytes]);
    }

    /// What lies between two marks, if no value is attached there.
    #[inline]
    pub(crate) fn flat_between(&self, start: Mark, end: Mark) -> Option<&[u8]> {
        (start.attached == end.attached).then(|| &self.bytes[start.bytes..end.bytes])
    }

    /// Appends all of `from`.
    pub fn append(&mut self, from: &Out) {
        self.copy(from, Mark::default(), from.mark());
    }

    /// Empties it and keeps its buffers.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.attached.clear();
        self.attached_bytes = 0;
        self.errors = 0;
        self.later = None;
    }

    /// Says that an error reply was written. Wires call it from their error encoders.
    #[inline]
    pub fn count_error(&mut self) {
        self.errors = self.errors.wrapping_add(1);
    }

    /// How many error replies were written since the last [`Out::clear`].
    #[inline]
    pub fn errors(&self) -> u32 {
        self.errors
    }

    /// Says that the present reply comes later. It counts as an error until [`Out::take_later`],
    /// so that whoever looks for those finds it.
    pub(crate) fn come_later(&mut self, later: Later) {
        self.later = Some(Box::new(later));
        self.count_error();
    }

    /// Whether the last reply comes later.
    pub(crate) fn comes_later(&self) -> bool {
        self.later.is_some()
    }

    /// How the last reply comes, if it comes later.
    pub(crate) fn take_later(&mut self) -> Option<Later> {
        let later = self.later.take()?;
        self.errors = self.errors.wrapping_sub(1);
        Some(*later)
    }

    /// The pieces to send, in order: runs of copied bytes and attached values.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = 0;
        let runs = self.attached.iter().flat_map(move |(position, value)| {
            let run = &self.bytes[at..*position];
            at = *position;
            [run, &value[..]]
        });
        let last = self.attached.last().map_or(0, |(position, _)| *position);
        runs.chain([&self.bytes[last..]]).filter(|piece| !piece.is_empty())
    }

    /// The pieces after the first `sent` bytes.
    pub(crate) fn pieces_after(&self, mut sent: usize) -> impl Iterator<Item = &[u8]> {
        self.pieces().filter_map(move |piece| {
            let gone = sent.min(piece.len());
            sent -= gone;
            (gone < piece.len()).then(|| &piece[gone..])
        })
    }

    /// Whether it is one run of bytes with no value attached.
    #[inline]
    pub fn is_flat(&self) -> bool {
        self.attached.is_empty()
    }

    /// The run of bytes, values left out.
    #[inline]
    pub fn flat(&self) -> &[u8] {
        &self.bytes
    }

    /// What its buffer has room for, to be kept or given back.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Its buffer, to be used again.
    pub fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flatten(out: &Out) -> Vec<u8> {
        out.pieces().flatten().copied().collect()
    }

    #[test]
    fn what_went_is_not_sent_again() {
        let value = Shared::new((0..ATTACH_BYTES).map(|at| at as u8).collect());
        let mut out = Out::default();
        out.extend(b"head");
        out.value(Value::Shared(&value));
        out.extend(b"tail");
        let whole = flatten(&out);
        for sent in [0, 1, 4, 5, 4 + ATTACH_BYTES, 7 + ATTACH_BYTES, whole.len()] {
            let rest: Vec<u8> = out.pieces_after(sent).flatten().copied().collect();
            assert!(rest == whole[sent..], "after {sent} bytes");
        }
    }

    #[test]
    fn attached_values_keep_their_place() {
        let large = Shared::new(vec![b'x'; ATTACH_BYTES]);
        let mut out = Out::default();
        out.extend(b"a");
        out.value(Value::Shared(&large));
        out.extend(b"b");
        let middle = out.mark();
        out.value(Value::Slice(b"small"));
        out.value(Value::Shared(&large));
        let expected = [b"a", &large[..], b"bsmall", &large[..]].concat();
        assert_eq!(flatten(&out), expected);
        assert_eq!(out.len(), expected.len());

        let mut copy = Out::default();
        copy.extend(b">");
        copy.copy(&out, middle, out.mark());
        assert_eq!(flatten(&copy), [b">small", &large[..]].concat());

        out.truncate(middle);
        assert_eq!(flatten(&out), [b"a", &large[..], b"b"].concat());
        assert_eq!(out.len(), ATTACH_BYTES + 2);
    }
}
