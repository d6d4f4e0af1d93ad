//! What a protocol gives the runtime: bytes to requests, replies to bytes.

use std::mem::take;

use crate::args::{Args, Span};
use crate::cx::Cx;
use crate::shared::{Out, Shared};

/// Most requests of one connection that are parsed and run together.
///
/// Smaller: fewer cache misses overlap. Larger: nothing more is gained, and a turn gets longer.
pub const BURST_REQUESTS: usize = 32;

/// Up to so many arguments of an incomplete request are copied between two calls of a wire.
const FEW_SPANS: usize = 256;

/// Room for arguments that is kept from one burst to the next: what ordinary bursts need.
const KEPT_SPANS: usize = 64 * 1024;

/// A wire's word about a connection that travels with each of its requests, so that any owner can
/// answer it: a database's number, a dialect.
pub trait Scope: Copy + Default {
    /// As the word that travels.
    fn bits(self) -> u64;
    /// Back from it.
    fn from_bits(bits: u64) -> Self;
}

impl Scope for () {
    fn bits(self) -> u64 {
        0
    }
    fn from_bits(_: u64) -> Self {}
}

/// What the runtime finds wrong with a request. The wire says it in its protocol's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The arguments don't fit the command's grammar.
    Syntax,
    /// Too few arguments, or too many, for the command of this name.
    Arity(&'static str),
    /// More arguments than a command takes of which some may be missing.
    TooMany,
    /// An argument that has to be an integer, and of this range, isn't.
    NotAnInteger,
    /// An argument that has to be a float isn't.
    NotAFloat,
    /// An argument isn't what it has to be; the declaration says so in these words.
    Argument(&'static str),
    /// The session may not run this command.
    Denied,
    /// The handler panicked before it changed anything.
    Panicked,
    /// No more connections are taken.
    TooManyConnections,
    /// The store has no room for what the command may write, and can't make any.
    NoRoom,
    /// The server has more to do than it takes on.
    Overloaded,
    /// Requests are queued already.
    Nested,
    /// No requests are queued, which the command of this name is about.
    NotQueueing(&'static str),
    /// A request was refused when it was to be queued, so none of them ran.
    Spoiled,
    /// The command can't be queued.
    NotQueueable,
    /// Keys can't be watched while requests are queued.
    WatchWhileQueueing,
    /// The request doesn't fit into what a connection may queue.
    QueueFull,
    /// What was to run the queue is denied to the session.
    RunDenied,
    /// The store has no room for what the queued requests may write, so none of them ran.
    RunNoRoom,
    /// The handler made more rounds of hops than it may, before it changed anything.
    TooManyRounds,
}

/// What the runtime has to say of queued requests. The wire says it in its protocol's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What was asked for is done.
    Done,
    /// The request was queued.
    Queued,
    /// A watched key was changed, so nothing has run.
    Changed,
}

/// Bounds on what is parsed. Which of them hold depends on what the session may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseLimits {
    /// Arguments of one request, the verb included.
    pub args: usize,
    /// Bytes of one argument.
    pub argument_bytes: usize,
    /// Bytes of a line that ends with a newline.
    pub line_bytes: usize,
    /// Bytes of one request's arguments, those in allocations of their own left out.
    pub request_bytes: usize,
    /// Whether these are the bounds of a session that may do more once it has authenticated: some
    /// protocols say so when one of them is passed.
    pub restricted: bool,
}

/// The end of one parsed request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestEnd {
    /// Into [`Burst::spans`].
    pub(crate) spans: u32,
    /// Into the input.
    pub(crate) bytes: u32,
}

/// The requests of one connection that are parsed and run together.
#[derive(Debug, Default)]
pub struct Burst {
    pub(crate) spans: Vec<Span>,
    pub(crate) large: Vec<Shared>,
    pub(crate) ends: Vec<RequestEnd>,
    /// Whether its last request is the connection's last.
    pub(crate) is_last: bool,
}

impl Burst {
    /// How many more requests it takes.
    #[inline]
    pub fn room(&self) -> usize {
        BURST_REQUESTS - self.ends.len().min(BURST_REQUESTS)
    }

    /// Adds an argument that lies in the input.
    #[inline]
    pub fn push(&mut self, off: usize, len: usize) {
        self.spans.push(Span::new(off, len));
    }

    /// Adds an argument that is not in the input as it stands, because it was escaped there.
    pub fn push_owned(&mut self, bytes: Vec<u8>) {
        self.spans.push(Span::large(self.large.len(), bytes.len()));
        self.large.push(Shared::new(bytes));
    }

    /// Arguments of the request that is being parsed.
    #[inline]
    pub fn open_args(&self) -> usize {
        self.spans.len() - self.ends.last().map_or(0, |end| end.spans as usize)
    }

    /// Drops the arguments of the request that is being parsed, so that others may take their place.
    pub fn abandon(&mut self) {
        let start = self.ends.last().map_or(0, |end| end.spans as usize);
        if let Some(large) = self.spans[start..].iter().find_map(|span| span.large_index()) {
            self.large.truncate(large);
        }
        self.spans.truncate(start);
    }

    /// Ends a request at `byte_end` of the input. One without arguments only counts as consumed.
    #[inline]
    pub fn close(&mut self, byte_end: usize) {
        self.ends.push(RequestEnd { spans: self.spans.len() as u32, bytes: byte_end as u32 });
    }

    /// The same for a request that the connection ends with: what comes behind it is not read, and
    /// the connection is closed once the reply was sent. The wire parses no more.
    pub fn close_last(&mut self, byte_end: usize) {
        self.close(byte_end);
        self.is_last = true;
    }

    /// Bytes of the input that belong to whole requests.
    #[inline]
    pub fn consumed(&self) -> usize {
        self.ends.last().map_or(0, |end| end.bytes as usize)
    }

    pub(crate) fn clear(&mut self) {
        if self.spans.capacity() > KEPT_SPANS {
            self.spans = Vec::new();
        }
        self.spans.clear();
        self.large.clear();
        self.ends.clear();
        self.is_last = false;
    }

    /// Request `index`: its arguments within `input`.
    #[inline]
    pub(crate) fn args<'a>(&'a self, index: usize, input: &'a [u8]) -> Args<'a> {
        let start = if index == 0 { 0 } else { self.ends[index - 1].spans as usize };
        Args::new(input, &self.spans[start..self.ends[index].spans as usize], &self.large)
    }
}

/// How far an incomplete request was parsed, so that what arrives next is parsed on from there and
/// nothing is read twice. Positions count from the start of that request.
#[derive(Debug, Default)]
pub struct Resume {
    pub(crate) spans: Vec<Span>,
    pub(crate) large: Vec<Shared>,
    /// Where the wire goes on.
    pub at: usize,
    /// What the wire needs to remember, in its own terms; all zero for a fresh request.
    pub state: [u64; 2],
    /// The argument whose bytes are still arriving, if it is known how long it gets.
    pub body: Option<Body>,
}

/// An argument that has not arrived whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    /// Where it starts, counted from the start of the request.
    pub start: usize,
    /// How long the client says it gets.
    pub len: usize,
    /// Whether nobody wants its bytes: they are passed over, and the argument gets none.
    pub is_refused: bool,
}

impl Resume {
    /// Whether no request was left incomplete.
    #[inline]
    pub fn is_fresh(&self) -> bool {
        self.at == 0 && self.state == [0; 2] && self.spans.is_empty() && self.large.is_empty()
    }

    /// Puts the arguments read so far into `burst`, as the first ones of its next request, which
    /// has to start at the input's start. The wire calls it when it goes on.
    pub fn restore(&mut self, burst: &mut Burst) {
        debug_assert!(burst.ends.is_empty() && burst.spans.is_empty());
        // Few are copied, so that the burst keeps its buffer. Many change hands, so that a request
        // that arrives in many pieces isn't copied with each.
        if self.spans.len() > FEW_SPANS {
            burst.spans = take(&mut self.spans);
        } else {
            burst.spans.append(&mut self.spans);
        }
        burst.large = take(&mut self.large);
        self.body = None;
    }

    /// Takes the open request's arguments out of `burst`: the wire calls it when the input ends
    /// before the request does. `at` counts from the start of the input.
    pub fn save(&mut self, burst: &mut Burst, at: usize, state: [u64; 2], body: Option<Body>) {
        self.at = at;
        self.state = state;
        self.body = body;
        let Some(end) = burst.ends.last() else {
            if burst.spans.len() > FEW_SPANS {
                self.spans = take(&mut burst.spans);
            } else {
                self.spans.append(&mut burst.spans);
            }
            self.large = take(&mut burst.large);
            return;
        };
        let (start, first) = (end.bytes as usize, end.spans as usize);
        // The open request's large arguments are the last ones, in order.
        let large = burst.spans[first..].iter().find_map(|span| span.large_index());
        let large = large.unwrap_or(burst.large.len());
        self.large.extend(burst.large.drain(large..));
        self.spans.extend(burst.spans.drain(first..).map(|span| match span.large_index() {
            Some(index) => Span::large(index - large, span.len as usize),
            None => Span::new(span.off as usize - start, span.len as usize),
        }));
        self.at -= start;
        self.body = body.map(|body| Body { start: body.start - start, ..body });
    }

    /// Says that the awaited body was gathered elsewhere: it is the next argument, and the wire
    /// goes on behind it, where its first byte would have been.
    pub(crate) fn deliver(&mut self, body: Shared) {
        let Some(awaited) = self.body.take() else { return };
        self.spans.push(Span::large(self.large.len(), body.len()));
        self.large.push(body);
        self.at = awaited.start;
    }
}

/// A protocol: how requests read and how replies are written.
pub trait Wire: Sized + 'static {
    /// What travels with each request.
    type Scope: Scope;
    /// The protocol's error reply.
    type Refusal: From<Refusal> + Encode<Self>;

    /// Parses whole requests from the start of `input` into `burst`, as many as it has room for,
    /// in place. `resume` holds what an earlier call read of the first one; a request that
    /// `input` ends in the middle of is left there.
    ///
    /// Body contract: when the input ends within an argument of known length, `resume.body` says
    /// where it starts and how long it gets. If the runtime gathers it elsewhere, the next call
    /// finds the argument already in place and `resume.at` where the body would have started: the
    /// wire tells the two cases apart by the number of arguments restored. One that is refused is
    /// in place without its bytes.
    ///
    /// # Errors
    /// A malformed frame: the whole requests before it are run, the refusal is sent, and the
    /// connection is closed.
    fn parse(
        input: &[u8],
        resume: &mut Resume,
        limits: &ParseLimits,
        burst: &mut Burst,
    ) -> Result<(), Self::Refusal>;

    /// Answers a request that queues requests or was queued. A wire without commands of route
    /// `queue` need not say anything.
    fn outcome(outcome: Outcome, reply: &mut Reply<'_, Self>) {
        let _ = (outcome, reply);
    }

    /// Writes the head of a list of `len` elements.
    fn list(reply: &mut Reply<'_, Self>, len: usize);

    /// Writes what ends a list, for a protocol that says so.
    #[inline]
    fn list_end(reply: &mut Reply<'_, Self>) {
        let _ = reply;
    }

    /// Answers a request whose verb is not in the table; `container` is the verb when it is known
    /// and its subcommand is not.
    fn unknown(args: Args<'_>, container: Option<&'static str>, reply: &mut Reply<'_, Self>);
}

/// Where one reply is written.
#[derive(Debug)]
pub struct Reply<'o, W: Wire> {
    out: &'o mut Out,
    scope: W::Scope,
    may_come_later: bool,
}

impl<'o, W: Wire> Reply<'o, W> {
    /// A reply to a request of `cx`'s scope.
    #[inline]
    pub fn new(out: &'o mut Out, cx: &Cx<'_>) -> Self {
        let scope = W::Scope::from_bits(cx.scope());
        Reply { out, scope, may_come_later: cx.may_come_later() }
    }

    /// A reply in a given scope.
    #[inline]
    pub fn in_scope(out: &'o mut Out, scope: W::Scope) -> Self {
        Reply { out, scope, may_come_later: false }
    }

    /// Whether the reply may come after its handler has returned.
    pub(crate) fn may_come_later(&self) -> bool {
        self.may_come_later
    }

    /// The request's scope.
    #[inline]
    pub fn scope(&self) -> W::Scope {
        self.scope
    }

    /// The output. Only append to it.
    #[inline]
    pub fn out(&mut self) -> &mut Out {
        self.out
    }

    /// Writes `value` as this wire does.
    #[inline]
    pub fn put<T: Encode<W>>(&mut self, value: T) {
        value.encode(self);
    }
}

/// What a handler may answer over the wire `W`.
#[diagnostic::on_unimplemented(
    message = "the wire `{W}` has no reply for `{Self}`",
    label = "a handler can't return this over `{W}`",
    note = "write `impl Encode<{W}> for {Self}`, or take `reply: &mut Reply<'_, {W}>` and return nothing"
)]
pub trait Encode<W: Wire> {
    /// Writes it.
    fn encode(self, reply: &mut Reply<'_, W>);
}

impl Resume {
    /// Bytes of memory that it holds.
    pub(crate) fn memory(&self) -> usize {
        let large: usize = self.large.iter().map(|large| large.len()).sum();
        self.spans.capacity() * size_of::<Span>() + large
    }
}
