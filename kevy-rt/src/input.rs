//! The bytes of a connection that no whole request was parsed from yet.
//!
//! Requests are parsed where the reactor received them. Only the tail of an incomplete one is kept
//! here, with how far it was parsed; a large argument is gathered in an allocation of its own,
//! which later becomes the value.

use crate::pool;
use crate::reaper;
use crate::shared::Shared;
use crate::sys::{append_streaming, prefer_huge_pages};
use crate::wire::{Body, Resume};

/// From this many bytes on an argument that arrives in pieces gets an allocation of its own.
///
/// Smaller: an allocation costs more than the second copy that it saves. Larger: the copy shows.
pub(crate) const GATHER_BYTES: usize = 16 * 1024;

/// From this length on an argument is copied past the caches.
///
/// Smaller: a value that is read at once, or overwritten again and again, comes from memory instead
/// of a cache. Larger: values wait for old content of the memory that they overwrite.
const STREAM_BYTES: usize = 64 * 1024;

/// No allocation for a gathered argument is more than this many times what has arrived of it, so
/// that a client pays for memory with bytes.
const ROOM_PER_BYTE: usize = 16;

/// An argument on its way into its own allocation, or into none if it is refused.
#[derive(Debug)]
struct Gathering {
    bytes: Vec<u8>,
    len: usize,
    /// Bytes that are still to come.
    missing: usize,
    is_refused: bool,
}

impl Gathering {
    fn new(body: Body) -> Self {
        let Body { len, is_refused, .. } = body;
        Gathering { bytes: Vec::new(), len, missing: len, is_refused }
    }

    /// Takes what it lacks off the front of `bytes`.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let part = &bytes[..bytes.len().min(self.missing)];
        self.missing -= part.len();
        if self.is_refused {
            return part.len();
        }
        let needed = self.bytes.len() + part.len();
        if needed > self.bytes.capacity() {
            self.make_room(needed);
        }
        if self.len >= STREAM_BYTES {
            append_streaming(&mut self.bytes, part);
        } else {
            self.bytes.extend_from_slice(part);
        }
        part.len()
    }

    /// Memory that is kept anyway may be taken for all of it; fresh memory only for what arrived.
    fn make_room(&mut self, needed: usize) {
        let room = needed.saturating_mul(ROOM_PER_BYTE).min(self.len);
        match pool::take(self.len) {
            Some(mut kept) => {
                kept.extend_from_slice(&self.bytes);
                self.bytes = kept;
            }
            None => {
                self.bytes.reserve_exact(room - self.bytes.len());
                prefer_huge_pages(&mut self.bytes);
            }
        }
    }
}

impl Drop for Gathering {
    /// One that never got whole may be large, too.
    fn drop(&mut self) {
        pool::give(std::mem::take(&mut self.bytes));
    }
}

/// Bytes of an [`Input`] that are being parsed.
pub(crate) struct KeptBytes {
    buf: Vec<u8>,
    start: usize,
}

impl KeptBytes {
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buf[self.start..]
    }
}

/// What a connection keeps between two receives.
#[derive(Debug, Default)]
pub(crate) struct Input {
    buf: Vec<u8>,
    start: usize,
    pub(crate) resume: Resume,
    gathering: Option<Gathering>,
}

impl Input {
    /// The bytes that are kept.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buf[self.start..]
    }

    /// How many.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.buf.len() - self.start + self.gathering.as_ref().map_or(0, |g| g.bytes.len())
    }

    /// Whether received bytes may be parsed where they are.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.buf.len() == self.start && self.gathering.is_none()
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        self.buf.capacity()
            + self.gathering.as_ref().map_or(0, |g| g.bytes.capacity())
            + self.resume.memory()
    }

    /// Passes received bytes to an argument that is being gathered; answers how many it took.
    #[inline]
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> usize {
        let Some(gathering) = &mut self.gathering else { return 0 };
        let taken = gathering.take(bytes);
        if gathering.missing == 0
            && let Some(mut done) = self.gathering.take()
        {
            self.resume.deliver(Shared::new(std::mem::take(&mut done.bytes)));
        }
        taken
    }

    /// Keeps bytes for later.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// Whether a large argument is on its way: nothing can be parsed before it is whole.
    pub(crate) fn is_gathering(&self) -> bool {
        self.gathering.is_some()
    }

    /// Keeps what a receive left over. With `may_gather`, what of it belongs to a large argument
    /// goes straight to where the rest will go too.
    pub(crate) fn keep_tail(&mut self, tail: &[u8], may_gather: bool) {
        debug_assert!(self.is_empty());
        match self.resume.body {
            Some(body) if may_gather && body.len >= GATHER_BYTES => {
                let mut gathering = Gathering::new(body);
                gathering.take(&tail[body.start..]);
                self.gathering = Some(gathering);
                self.keep(&tail[..body.start]);
            }
            _ => self.keep(tail),
        }
    }

    /// Lends the kept bytes out, to be parsed; [`Input::give_back`] ends that.
    pub(crate) fn take(&mut self) -> KeptBytes {
        KeptBytes { buf: std::mem::take(&mut self.buf), start: std::mem::take(&mut self.start) }
    }

    /// Takes lent bytes back.
    pub(crate) fn give_back(&mut self, kept: KeptBytes) {
        self.buf = kept.buf;
        self.start = kept.start;
    }

    /// Drops the first `count` of the kept bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.buf.len() {
            self.start = 0;
            // An idle connection holds no buffer.
            reaper::free(std::mem::take(&mut self.buf));
        } else if self.start >= self.buf.len() / 2 {
            // Each byte moves at most once per halving: linear in all.
            self.buf.copy_within(self.start.., 0);
            self.buf.truncate(self.buf.len() - self.start);
            self.start = 0;
        }
    }

    /// Drops the kept bytes if they are among the last `count` that were kept, which the caller
    /// still has; answers how many there were.
    pub(crate) fn take_back(&mut self, count: usize) -> usize {
        let kept = self.bytes().len();
        if kept > count {
            return 0;
        }
        self.consume(kept);
        kept
    }

    /// If the incomplete request that starts the kept bytes lacks part of a large argument, takes
    /// what is here of it into an allocation of its own, where the rest will go too.
    pub(crate) fn gather(&mut self) {
        let Some(body) = self.resume.body else { return };
        if body.len < GATHER_BYTES || self.gathering.is_some() {
            return;
        }
        let mut gathering = Gathering::new(body);
        let here = self.start + body.start;
        let taken = gathering.take(&self.buf[here..]);
        debug_assert!(here + taken == self.buf.len() && taken < body.len);
        self.buf.truncate(here);
        self.gathering = Some(gathering);
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        reaper::free(std::mem::take(&mut self.buf));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_argument_costs_memory_only_as_it_arrives() {
        let mut input = Input::default();
        input.keep(b"header");
        input.resume.body = Some(Body { start: 6, len: 512 << 20, is_refused: false });
        input.gather();
        assert!(input.memory() < 1024);
        assert_eq!(input.feed(&[0; 1000]), 1000);
        assert!(input.memory() < 64 * 1024);
        assert_eq!(input.bytes(), b"header");
    }

    #[test]
    fn a_gathered_argument_is_delivered_whole() {
        let mut input = Input::default();
        input.keep(b"hd12");
        input.resume.body = Some(Body { start: 2, len: GATHER_BYTES, is_refused: false });
        input.gather();
        let rest = vec![b'3'; GATHER_BYTES];
        assert_eq!(input.feed(&rest), GATHER_BYTES - 2);
        assert_eq!(input.bytes(), b"hd");
        assert_eq!(input.resume.at, 2);
        assert_eq!(input.feed(b"x"), 0);
    }

    #[test]
    fn a_refused_argument_takes_no_memory() {
        let mut input = Input::default();
        input.keep(b"hd12");
        input.resume.body = Some(Body { start: 2, len: 1 << 30, is_refused: true });
        input.gather();
        let piece = vec![b'3'; 1 << 20];
        for _ in 0..1023 {
            assert_eq!(input.feed(&piece), piece.len());
        }
        assert!(input.is_gathering() && input.memory() < 1024);
        assert_eq!(input.feed(&piece), piece.len() - 2);
        assert!(!input.is_gathering());
        assert_eq!((input.bytes(), input.resume.at), (&b"hd"[..], 2));
    }
}
