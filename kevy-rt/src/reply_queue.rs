//! Replies leave in the order of their requests, whichever shard is done first.
//!
//! A connection with nothing open writes replies straight to its output and has an empty queue. A
//! request that another shard answers takes a slot; whatever finishes behind it is held in slots
//! of its own until all before it are done.

use std::collections::VecDeque;

use crate::commands::MergeFn;
use crate::gather::{PartOut, Plan};
use crate::shared::{Mark, Out};
use crate::stream::{Source, Stream, There};
use crate::tx::fault::{self, Fault};

/// Replies up to this size are held inside their slot: most of them are, and a slot stays within a
/// cache line.
const INLINE_BYTES: usize = 46;

/// A request whose parts are with several shards.
pub(crate) struct Gather {
    pub(crate) merge: MergeFn,
    pub(crate) plan: Plan,
    pub(crate) parts: Vec<PartOut>,
    /// Parts that are still out.
    pub(crate) open: usize,
    /// The command's index among the process's.
    pub(crate) index: u32,
    pub(crate) scope: u64,
    /// Whether nobody wants the reply.
    pub(crate) muted: bool,
}

enum Slot {
    /// An owner's reply is to come.
    Waiting,
    /// Nobody wants the reply that is to come.
    Muted,
    /// Parts are to come.
    Gathering(Box<Gather>),
    /// Pieces are to come, and leave while they do.
    Stream(Box<Stream>),
    /// The reply, small.
    Small(u8, [u8; INLINE_BYTES]),
    /// The reply, not small.
    Large(Box<Out>),
}

/// The open requests of one connection.
#[derive(Default)]
pub(crate) struct ReplyQueue {
    slots: VecDeque<Slot>,
    /// The number of the first slot's request.
    head: u64,
    held_bytes: usize,
}

impl ReplyQueue {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The number of the first request that is open.
    pub(crate) fn first(&self) -> u64 {
        self.head
    }

    /// The number that the next request to take a slot gets.
    pub(crate) fn next(&self) -> u64 {
        self.head + self.slots.len() as u64
    }

    /// Bytes of replies that are done and wait for earlier ones.
    #[inline]
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    fn push(&mut self, slot: Slot) -> u64 {
        self.slots.push_back(slot);
        self.next() - 1
    }

    /// Takes a slot for a request that another shard answers, and answers its number.
    #[inline]
    pub(crate) fn wait(&mut self, muted: bool) -> u64 {
        self.push(if muted { Slot::Muted } else { Slot::Waiting })
    }

    /// Takes a slot for a request whose parts are with several shards.
    pub(crate) fn gather(&mut self, gather: Box<Gather>) -> u64 {
        self.push(Slot::Gathering(gather))
    }

    /// Takes a slot for a reply that is done while earlier ones are not. Empties `reply`.
    pub(crate) fn hold(&mut self, reply: &mut Out) {
        let slot = self.held(reply, Mark::default(), reply.mark());
        self.push(slot);
        reply.clear();
    }

    fn held(&mut self, from: &Out, start: Mark, end: Mark) -> Slot {
        let mut reply = Out::default();
        if let Some(bytes) = from.flat_between(start, end)
            && bytes.len() <= INLINE_BYTES
        {
            let mut inline = [0; INLINE_BYTES];
            inline[..bytes.len()].copy_from_slice(bytes);
            self.held_bytes += bytes.len();
            return Slot::Small(bytes.len() as u8, inline);
        }
        reply.copy(from, start, end);
        self.held_bytes += reply.len();
        Slot::Large(Box::new(reply))
    }

    /// Takes in an owner's reply, `from` between two marks, to request `number`. What can leave
    /// goes to `out`.
    #[inline]
    pub(crate) fn finish(&mut self, number: u64, from: &Out, marks: (Mark, Mark), out: &mut Out) {
        let index = (number - self.head) as usize;
        let muted = match &self.slots[index] {
            Slot::Muted => true,
            Slot::Stream(stream) => stream.is_muted,
            _ => false,
        };
        if index == 0 {
            if !muted {
                out.copy(from, marks.0, marks.1);
            }
            self.slots.pop_front();
            self.head += 1;
            self.release(out);
        } else if fault::is_on(Fault::SwapReplies) {
            out.copy(from, marks.0, marks.1);
            self.slots[index] = Slot::Small(0, [0; INLINE_BYTES]);
        } else {
            let end = if muted { marks.0 } else { marks.1 };
            self.slots[index] = self.held(from, marks.0, end);
        }
    }

    /// The gather of request `number`, if its parts are still to come.
    pub(crate) fn gathering(&mut self, number: u64) -> Option<&mut Gather> {
        match self.slots.get_mut(number.checked_sub(self.head)? as usize) {
            Some(Slot::Gathering(gather)) => Some(gather),
            _ => None,
        }
    }

    /// Takes the gather of request `number` out; [`ReplyQueue::finish`] ends it.
    pub(crate) fn take_gather(&mut self, number: u64) -> Option<Box<Gather>> {
        let slot = self.slots.get_mut(number.checked_sub(self.head)? as usize)?;
        match std::mem::replace(slot, Slot::Waiting) {
            Slot::Gathering(gather) => Some(gather),
            other => {
                *slot = other;
                None
            }
        }
    }

    /// Request `number` is answered in pieces by this shard.
    pub(crate) fn stream(&mut self, number: u64, source: Source, scope: u64) {
        let slot = &mut self.slots[(number - self.head) as usize];
        let is_muted = matches!(slot, Slot::Muted);
        *slot = Slot::Stream(Box::new(Stream { source, scope, is_muted, has_begun: false }));
    }

    /// A piece of the reply to request `number` has come from another shard.
    pub(crate) fn put_piece(&mut self, number: u64, from: There, piece: Box<Out>) {
        let There { owner, stream, bytes } = from;
        self.held_bytes += piece.len();
        match &mut self.slots[(number - self.head) as usize] {
            Slot::Stream(open) => {
                if let Source::There { piece: place, is_asked, .. } = &mut open.source {
                    (*place, *is_asked) = (Some(piece), false);
                }
            }
            _ => {
                let from = There { owner, stream, bytes };
                let source = Source::There { from, piece: Some(piece), is_asked: false };
                self.stream(number, source, 0);
            }
        }
    }

    /// Whether the first request is answered in pieces.
    #[inline]
    pub(crate) fn streams(&self) -> bool {
        matches!(self.slots.front(), Some(Slot::Stream(_)))
    }

    /// Whether the output ends within a reply.
    pub(crate) fn is_within_stream(&self) -> bool {
        matches!(self.slots.front(), Some(Slot::Stream(stream)) if stream.has_begun)
    }

    /// The first request's, if it is answered in pieces.
    pub(crate) fn first_stream(&mut self) -> Option<&mut Stream> {
        match self.slots.front_mut() {
            Some(Slot::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    /// Takes the piece that is here of the first request's reply.
    pub(crate) fn take_piece(&mut self) -> Option<Box<Out>> {
        let Source::There { piece, .. } = &mut self.first_stream()?.source else { return None };
        let piece = piece.take()?;
        self.held_bytes -= piece.len();
        Some(piece)
    }

    /// The first request's last piece has left. What can leave goes to `out`.
    pub(crate) fn end_stream(&mut self, out: &mut Out) {
        self.slots.pop_front();
        self.head += 1;
        self.release(out);
    }

    /// Those whose next piece nobody has asked another shard for.
    pub(crate) fn unasked_streams(&self) -> impl Iterator<Item = There> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Stream(stream) => match &stream.source {
                Source::There { from, is_asked: false, .. } => Some(*from),
                _ => None,
            },
            _ => None,
        })
    }

    fn release(&mut self, out: &mut Out) {
        loop {
            match self.slots.front() {
                Some(Slot::Small(len, bytes)) => {
                    out.extend(&bytes[..*len as usize]);
                    self.held_bytes -= *len as usize;
                }
                Some(Slot::Large(reply)) => {
                    out.append(reply);
                    self.held_bytes -= reply.len();
                }
                _ => break,
            }
            self.slots.pop_front();
            self.head += 1;
        }
        // An idle connection holds no memory for the pipelines that it once had.
        if self.slots.is_empty() && self.slots.capacity() > 64 {
            self.slots = VecDeque::new();
        }
    }
}
