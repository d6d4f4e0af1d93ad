//! What travels between two shards: all that one has for the other in a turn, in one message.
//!
//! ```text
//! coordinator                                owner
//!   items ........... one per request, in the order of dispatch
//!   bytes, spans .... their arguments, back to back
//!   large ........... arguments with an allocation of their own, by handle
//!                        -- ring -->         runs the items in order,
//!                                            appends each reply to `replies`
//!   hands the replies on  <-- ring --        the same message goes home
//! ```
//!
//! So buffers are freed where they were made, and the steady state allocates nothing.

use crate::args::{Args, Span};
use crate::commands::Command;
use crate::conn::ConnId;
use crate::errands::Errand;
use crate::gather::PartOut;
use crate::input::GATHER_BYTES;
use crate::reactor::Incoming;
use crate::reaper;
use crate::shard::transact::Schedule;
use crate::shared::{Mark, Out, Shared, Value};
use crate::tx::entries::EntryId;
use crate::tx::hop::Hop;
use crate::tx::stamp::Stamp;
use crate::tx::watch::WatchId;

/// A range of one of a batch's lists.
type Range = (u32, u32);

/// What a request calls: its command, and what running it needs besides the arguments.
pub(crate) struct Call<S: 'static> {
    pub(crate) command: &'static Command<S>,
    /// The command's index among the process's.
    pub(crate) index: u32,
    /// The port whose wire answers.
    pub(crate) port: u16,
    pub(crate) scope: u64,
}

impl<S> Clone for Call<S> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Call<S> {}

/// A request as it travels: whose it is, what it calls, and where its arguments lie.
pub(crate) struct Ticket<S: 'static> {
    pub(crate) conn: ConnId,
    /// Its number in the connection's reply queue.
    pub(crate) number: u64,
    pub(crate) call: Call<S>,
    spans: Range,
    hashes: Range,
}

/// Anything that travels in a batch.
pub(crate) enum Item<S: 'static, Socket> {
    /// A whole request. The owner notes where its reply ends.
    Request(Ticket<S>, Mark),
    /// One shard's share of a request.
    Part {
        ticket: Ticket<S>,
        /// Which of the parts.
        part: u16,
        answer: Box<PartOut>,
    },
    /// A connection that was accepted elsewhere and is to live here.
    Adopt(Option<Incoming<Socket>>),
    /// A transaction asks for its place in the owner's order. Taken out by the owner.
    Schedule(Option<Schedule<S>>),
    /// A transaction's order, for the entry that it has there.
    Fix { entry: EntryId, order: Stamp },
    /// A further hop of a transaction, for the entry that it has there.
    Hop { entry: EntryId, hop: Hop<S> },
    /// A transaction is through with the owner.
    End { entry: EntryId },
    /// A piece of a reply to a request of a connection there.
    Piece { conn: ConnId, number: u64, stream: u32, bytes: usize, piece: Box<Out> },
    /// The next piece is wanted.
    NextPiece(u32),
    /// No further piece is wanted.
    StopStream(u32),
    /// A connection there is told something, or closed.
    Errand(ConnId, Errand),
    /// Keys are not watched any more.
    Unwatch(WatchId),
    /// A watched key was changed.
    Marked(WatchId),
    /// The owner's answer to a schedule: its stamp, or that its store has no room.
    Scheduled { tx: u32, visit: u16, entry: Option<EntryId>, stamp: Stamp, is_refused: bool },
    /// The owner's answer to a hop, with that to the schedule if it came with it.
    Ran { tx: u32, visit: u16, hop: Hop<S>, scheduled: Option<(Stamp, Option<EntryId>)> },
    /// The reply to a request that had to wait on its owner, and how many bytes of arguments it had.
    Late { conn: ConnId, number: u64, reply: Box<Out>, bytes: usize },
    /// A request, with so many bytes of arguments, that has to wait on its owner: its reply comes
    /// later.
    Waits { bytes: usize },
    /// It was taken in.
    Done,
}

/// One message between two shards.
pub(crate) struct Batch<S: 'static, Socket> {
    pub(crate) items: Vec<Item<S, Socket>>,
    bytes: Vec<u8>,
    spans: Vec<Span>,
    large: Vec<Shared>,
    hashes: Vec<u64>,
    /// The owner's replies, in the order of the items.
    pub(crate) replies: Out,
    /// Whether it is on its way home.
    pub(crate) is_answered: bool,
    /// Requests and parts in it, which its sender counts as open. Of one that is on its way home,
    /// those that its owner is through with.
    pub(crate) requests: usize,
    /// Bytes of arguments of requests that have to wait on their owner.
    pub(crate) waiting_bytes: usize,
    /// Errands in it, which its sender counts as under way.
    pub(crate) errands: usize,
}

impl<S, Socket> Default for Batch<S, Socket> {
    fn default() -> Self {
        Batch {
            items: Vec::new(),
            bytes: Vec::new(),
            spans: Vec::new(),
            large: Vec::new(),
            hashes: Vec::new(),
            replies: Out::default(),
            is_answered: false,
            requests: 0,
            waiting_bytes: 0,
            errands: 0,
        }
    }
}

/// A batch whose buffers grew past this is not kept for reuse.
const KEPT_BYTES: usize = 256 * 1024;

/// Arguments that lie within this many bytes of one another are copied in one piece, with what the
/// wire has between them.
const ONE_PIECE_BYTES: usize = 1024;

impl<S: 'static, Socket> Batch<S, Socket> {
    /// Bytes of arguments in it, which its sender counts.
    pub(crate) fn argument_bytes(&self) -> usize {
        self.bytes.len() + self.large.iter().map(|large| large.len()).sum::<usize>()
    }

    /// Bytes of memory of its buffers.
    #[inline]
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity()
            + self.replies.capacity()
            + self.items.capacity() * size_of::<Item<S, Socket>>()
            + self.spans.capacity() * size_of::<Span>()
            + self.hashes.capacity() * size_of::<u64>()
    }

    /// Whether it is worth keeping for reuse.
    pub(crate) fn is_small(&self) -> bool {
        self.bytes.capacity() + self.replies.capacity() <= KEPT_BYTES
    }

    /// Empties it and keeps its buffers.
    pub(crate) fn clear(&mut self) {
        self.items.clear();
        self.bytes.clear();
        self.spans.clear();
        self.large.clear();
        self.hashes.clear();
        self.replies.clear();
        self.is_answered = false;
        self.requests = 0;
        self.waiting_bytes = 0;
        self.errands = 0;
    }

    /// Frees it: what is large of it, where no turn waits.
    pub(crate) fn free(self) {
        reaper::free(self.bytes);
        reaper::free(self.replies.into_buffer());
    }

    /// The arguments of a request in it.
    #[inline]
    pub(crate) fn args(&self, ticket: &Ticket<S>) -> Args<'_> {
        let spans = &self.spans[ticket.spans.0 as usize..ticket.spans.1 as usize];
        let hashes = &self.hashes[ticket.hashes.0 as usize..ticket.hashes.1 as usize];
        Args::new(&self.bytes, spans, &self.large).with_hashes(hashes)
    }

    /// An item's keys, by hash and scope.
    #[inline]
    pub(crate) fn keys<'a>(&'a self, item: &'a Item<S, Socket>) -> Keys<'a> {
        let (hashes, scope) = match item {
            Item::Request(ticket, _) | Item::Part { ticket, .. } => {
                (ticket.hashes, ticket.call.scope)
            }
            Item::Schedule(Some(schedule)) => return Keys::of(schedule.keys()),
            _ => return Keys::of((&[], 0)),
        };
        Keys::of((&self.hashes[hashes.0 as usize..hashes.1 as usize], scope))
    }

    /// Starts a request's arguments.
    #[inline]
    pub(crate) fn writer(&mut self) -> ArgsWriter<'_, S, Socket> {
        let (spans, hashes) = (self.spans.len() as u32, self.hashes.len() as u32);
        ArgsWriter { batch: self, spans, hashes }
    }
}

/// Keys by hash and scope.
#[derive(Clone)]
pub(crate) struct Keys<'a> {
    hashes: std::slice::Iter<'a, u64>,
    scope: u64,
}

impl<'a> Keys<'a> {
    #[inline]
    pub(crate) fn of((hashes, scope): (&'a [u64], u64)) -> Self {
        Keys { hashes: hashes.iter(), scope }
    }
}

impl Iterator for Keys<'_> {
    type Item = (u64, u64);

    #[inline]
    fn next(&mut self) -> Option<(u64, u64)> {
        self.hashes.next().map(|&hash| (hash, self.scope))
    }
}

/// Writes the arguments of one request into a batch.
pub(crate) struct ArgsWriter<'b, S: 'static, Socket> {
    batch: &'b mut Batch<S, Socket>,
    spans: u32,
    hashes: u32,
}

impl<S: 'static, Socket> ArgsWriter<'_, S, Socket> {
    /// All arguments of a request, with its keys' hashes.
    #[inline]
    pub(crate) fn whole(&mut self, args: Args<'_>) {
        self.batch.hashes.extend_from_slice(args.hashes());
        if !self.in_one_piece(args) {
            self.range(args, 0, args.len());
        }
    }

    #[inline]
    fn in_one_piece(&mut self, args: Args<'_>) -> bool {
        let spans = args.spans();
        let (mut start, mut end) = (usize::MAX, 0);
        for span in spans {
            if span.large_index().is_some() {
                return false;
            }
            start = start.min(span.off as usize);
            end = end.max(span.off as usize + span.len as usize);
        }
        if spans.is_empty() || end - start > ONE_PIECE_BYTES {
            return false;
        }
        let at = self.batch.bytes.len();
        self.batch.bytes.extend_from_slice(&args.buffer()[start..end]);
        let moved = |span: &Span| Span::new(span.off as usize - start + at, span.len as usize);
        self.batch.spans.extend(spans.iter().map(moved));
        true
    }

    /// The arguments from `start` to `end`.
    fn range(&mut self, args: Args<'_>, start: usize, end: usize) {
        for index in start..end {
            let Some(value) = args.value(index) else { return };
            let shared = match value {
                Value::Shared(shared) => Some(shared.clone()),
                // One copy here, and the owner keeps what it gets.
                Value::Slice(bytes) if bytes.len() >= GATHER_BYTES => Some(Shared::copy_of(bytes)),
                Value::Slice(_) => None,
            };
            if let Some(shared) = shared {
                self.batch.spans.push(Span::large(self.batch.large.len(), shared.len()));
                self.batch.large.push(shared);
            } else {
                self.batch.spans.push(Span::new(self.batch.bytes.len(), value.len()));
                self.batch.bytes.extend_from_slice(value.bytes());
            }
        }
    }

    /// Ends the arguments: the ticket of the request that has them.
    #[inline]
    pub(crate) fn ticket(self, conn: ConnId, number: u64, call: Call<S>) -> Ticket<S> {
        self.batch.requests += 1;
        Ticket {
            conn,
            number,
            call,
            spans: (self.spans, self.batch.spans.len() as u32),
            hashes: (self.hashes, self.batch.hashes.len() as u32),
        }
    }
}
