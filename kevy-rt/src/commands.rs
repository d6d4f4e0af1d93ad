//! What a server is made of: commands, the sets that declare them, the store they work on, and the
//! ports that serve them.
//!
//! A [`Command`] is a constant record of function pointers that `#[commands]` writes. It knows the
//! store and not the wire, so an owner runs a request of any port through the same functions.

use std::any::{Any, TypeId};

use crate::args::{Args, Key, parse_integer};
use crate::cx::Cx;
use crate::gather::{PartOut, Plan};
use crate::hash::KeyHasher;
use crate::metrics::Scrape;
use crate::shared::Out;
use crate::table::Table;
use crate::tx::hop::Project;
use crate::tx::task::{Task, TxStart};
use crate::tx::watch::Changes;
use crate::wire::{Burst, Encode, Outcome, ParseLimits, Refusal, Reply, Resume, Scope, Wire};

/// Where a command runs. Positions count from the verb, which is 0.
#[derive(Clone, Copy, Debug)]
pub enum Route {
    /// On the connection's shard, without a key.
    Local,
    /// On the connection's shard; it may change the session.
    Session,
    /// On the shard that owns the key at this position.
    Single(u16),
    /// On the shards that own several keys.
    Keys(KeyRange),
    /// On every shard; `loose` if each may run it at its own time.
    All {
        /// Whether no common moment is needed.
        loose: bool,
    },
    /// On the shards that own some keys, as a transaction that its handler writes.
    Tx(&'static [KeySpec]),
    /// On the one shard that a function computes from the arguments and the number of shards.
    At(fn(Args<'_>, usize) -> usize),
}

/// Some of a command's keys: where they are in its requests.
#[derive(Clone, Copy, Debug)]
pub enum KeySpec {
    /// The one at this position.
    At(u16),
    /// Those at regular distances.
    Range(KeyRange),
    /// Those whose positions a function finds, in rising order.
    Found(fn(Args<'_>, &mut Vec<usize>)),
}

/// Keys at regular distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// Position of the first key.
    pub first: u16,
    /// Where the last one is.
    pub last: LastKey,
    /// Arguments from one key to the next.
    pub step: u16,
}

/// Where keys at regular distances end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastKey {
    /// Position of the last argument that belongs to a key; from the end if negative, -1 being the
    /// last argument.
    At(i16),
    /// The argument at this position says how many keys there are.
    Counted(u16),
}

impl KeyRange {
    /// The keys that follow the argument at `count_at`, which says how many they are.
    pub const fn counted(count_at: u16) -> Self {
        KeyRange { first: count_at + 1, last: LastKey::Counted(count_at), step: 1 }
    }

    /// Keys from `first` to `last`, which is the last argument if it is -1.
    pub const fn spread(first: u16, last: i16, step: u16) -> Self {
        KeyRange { first, last: LastKey::At(last), step }
    }

    /// Where the keys' arguments end. If they are counted and there are fewer than the client says,
    /// or what it says is no number, there are none.
    #[inline(always)]
    pub fn end(&self, args: Args<'_>) -> usize {
        let len = args.len();
        match self.last {
            LastKey::At(last) if last < 0 => len.saturating_add_signed(isize::from(last) + 1),
            LastKey::At(last) => (last as usize + 1).min(len),
            LastKey::Counted(at) => self.counted_end(args, at.into()),
        }
    }

    fn counted_end(&self, args: Args<'_>, at: usize) -> usize {
        let count = args.get(at).and_then(parse_integer);
        let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        let end = count.saturating_mul(self.step.into()).saturating_add(self.first.into());
        if end <= args.len() { end } else { self.first.into() }
    }

    /// How many keys there are, each with its `step` arguments. `None` if they don't come out
    /// even, or there is none.
    #[inline(always)]
    pub fn count(&self, args: Args<'_>) -> Option<usize> {
        let arguments = self.end(args).checked_sub(self.first as usize)?;
        let step = self.step as usize;
        (arguments > 0 && arguments.is_multiple_of(step)).then_some(arguments / step)
    }

    /// Where the arguments of key `index` start.
    #[inline]
    pub fn start_of(&self, index: usize) -> usize {
        self.first as usize + index * self.step as usize
    }

    #[inline(always)]
    pub(crate) fn each(&self, args: Args<'_>, mut see: impl FnMut(usize)) {
        let (mut at, end) = (usize::from(self.first), self.end(args));
        while at < end {
            see(at);
            at += usize::from(self.step);
        }
    }
}

impl KeySpec {
    /// Calls `see` with the position of each key of a request, in rising order.
    #[inline]
    pub fn each(&self, args: Args<'_>, mut see: impl FnMut(usize)) {
        match self {
            KeySpec::At(position) => {
                let position = usize::from(*position);
                if position < args.len() {
                    see(position);
                }
            }
            KeySpec::Range(range) => range.each(args, see),
            KeySpec::Found(find) => {
                let mut positions = Vec::new();
                find(args, &mut positions);
                positions.into_iter().filter(|&position| position < args.len()).for_each(see);
            }
        }
    }
}

impl Route {
    /// Where its keys are.
    pub fn keys(&self) -> impl Iterator<Item = KeySpec> + use<> {
        let (one, more): (Option<KeySpec>, &'static [KeySpec]) = match *self {
            Route::Single(position) => (Some(KeySpec::At(position)), &[]),
            Route::Keys(range) => (Some(KeySpec::Range(range)), &[]),
            Route::Tx(keys) => (None, keys),
            Route::Local | Route::Session | Route::All { .. } | Route::At(_) => (None, &[]),
        };
        one.into_iter().chain(more.iter().copied())
    }

    /// Calls `see` with the position of each key of a request, in rising order. Whatever asks for
    /// a request's keys, asks here: routing, queued and watched requests, what clients are told.
    ///
    /// Keys that don't come out even are among them; such a request is refused before it runs.
    #[inline]
    pub fn each_key(&self, args: Args<'_>, mut see: impl FnMut(usize)) {
        match self {
            Route::Single(position) => KeySpec::At(*position).each(args, see),
            Route::Keys(range) => range.each(args, see),
            Route::Tx(keys) => keys.iter().for_each(|spec| spec.each(args, &mut see)),
            Route::Local | Route::Session | Route::All { .. } | Route::At(_) => {}
        }
    }
}

/// What a verb does with requests that are queued to run as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueVerb {
    /// From here on requests are queued.
    Open,
    /// Runs what was queued, as one transaction.
    Run,
    /// Drops what was queued.
    Drop,
    /// Lets the next run do nothing if one of some keys changes before it.
    Watch,
    /// Drops the keys that are watched.
    Unwatch,
}

/// What becomes of a request while requests are queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Queueing {
    /// It is queued.
    #[default]
    Queued,
    /// It runs at once.
    AtOnce,
    /// It is refused.
    Never,
}

/// Runs a whole request and writes its reply.
pub type RunFn<S> = fn(&mut S, &Cx<'_>, Args<'_>, &mut Out);
/// Runs a request that may change its session, which is the first argument.
pub type SessionFn<S> = fn(&mut dyn Any, &mut S, &Cx<'_>, Args<'_>, &mut Out);
/// Whether a request may be scattered; writes the refusal when not.
pub type CheckFn = fn(&Cx<'_>, Args<'_>, &mut Out) -> bool;
/// Runs a part: a request narrowed to the keys that this shard owns.
pub type PartFn<S> = fn(&mut S, &Cx<'_>, Args<'_>, &mut PartOut);
/// Makes one reply of all parts.
pub type MergeFn = fn(&Cx<'_>, &Plan, &mut [PartOut], &mut Out);

/// How a command's handler is called.
pub enum Run<S: 'static> {
    /// At one place: routes `local`, `single` and `at`.
    One(RunFn<S>),
    /// Route `session`.
    Session(SessionFn<S>),
    /// Route `tx`.
    Tx(fn(TxStart<S>) -> Task),
    /// Route `queue`.
    Queue(QueueVerb),
    /// Routes `keys` and `all`.
    Gather {
        /// Called before any part leaves.
        check: CheckFn,
        /// Everything is here: straight into the output.
        whole: RunFn<S>,
        /// Some of it is here.
        part: PartFn<S>,
        /// The parts' way to one reply.
        merge: MergeFn,
    },
}

/// What is known of a command apart from its functions.
#[derive(Debug)]
pub struct CommandInfo {
    /// The verb; for a subcommand two words, `CLIENT LIST`. In capitals.
    pub name: &'static str,
    /// The set that declares it.
    pub set: &'static str,
    /// Its doc comment.
    pub doc: &'static str,
    /// Fewest arguments, verb (both words of a subcommand) included.
    pub min: usize,
    /// Most arguments, or [`MANY`](crate::MANY).
    pub max: usize,
    /// Where it runs.
    pub route: Route,
    /// Whether it may change the store.
    pub write: bool,
    /// The argument whose key it may make ready for those who wait.
    pub wake: Option<u16>,
    /// Whether it runs only when nothing earlier of its connection is open.
    pub barrier: bool,
    /// What becomes of it while requests are queued.
    pub queueing: Queueing,
    /// The set's own words about it, which the runtime doesn't read.
    pub flags: &'static [&'static str],
    /// The set's own facts about it, name and text.
    pub meta: &'static [(&'static str, &'static str)],
    /// Its arguments as declared, for the documentation.
    pub arguments: &'static [ArgInfo],
}

impl CommandInfo {
    /// The first word of its name.
    pub fn verb(&self) -> &'static str {
        self.name.split(' ').next().unwrap_or(self.name)
    }

    /// The second word of its name, if it is a subcommand.
    pub fn subcommand(&self) -> Option<&'static str> {
        self.name.split_once(' ').map(|(_, sub)| sub)
    }

    /// The text of one of the set's own facts.
    pub fn fact(&self, name: &str) -> Option<&'static str> {
        self.meta.iter().find(|(fact, _)| *fact == name).map(|(_, text)| *text)
    }

    /// Whether one of the set's own words is said.
    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    /// Whether a request of `len` arguments has enough, and not more than a command that takes no
    /// others. Where some may be missing, too many are for the handler's parser to refuse: they
    /// don't fit the grammar.
    #[inline]
    pub fn takes(&self, len: usize) -> bool {
        self.min <= len && (len == self.min || self.max != self.min)
    }
}

/// An argument as its handler declares it, for the documentation.
#[derive(Clone, Copy, Debug)]
pub struct ArgInfo {
    /// Its name, with blanks as `-`.
    pub name: &'static str,
    /// What it is.
    pub kind: ArgKind,
    /// The word that precedes it.
    pub token: Option<&'static str>,
    /// Whether it may be missing.
    pub is_optional: bool,
    /// Whether there may be several.
    pub is_multiple: bool,
    /// Whether the token precedes each of several.
    pub repeats_token: bool,
}

/// What an argument is.
#[derive(Clone, Copy, Debug)]
pub enum ArgKind {
    /// A key.
    Key,
    /// Any bytes.
    Text,
    /// A pattern of texts.
    Pattern,
    /// An integer.
    Integer,
    /// A number with decimals.
    Float,
    /// A time since the Unix epoch.
    UnixTime,
    /// Nothing but its token.
    Token,
    /// One of these.
    OneOf(&'static [ArgInfo]),
    /// These, one behind the other.
    Block(&'static [ArgInfo]),
    /// Any of these in any order, where they stand.
    Options(&'static [ArgInfo]),
}

impl ArgInfo {
    /// A word that stands for itself.
    pub const fn token(name: &'static str, token: &'static str) -> Self {
        ArgInfo { token: Some(token), ..ArgInfo::needed(name, ArgKind::Token) }
    }

    /// An argument that has to be there, once.
    pub const fn needed(name: &'static str, kind: ArgKind) -> Self {
        ArgInfo {
            name,
            kind,
            token: None,
            is_optional: false,
            is_multiple: false,
            repeats_token: false,
        }
    }

    /// The same, but it may be missing.
    pub const fn or_none(self) -> Self {
        ArgInfo { is_optional: true, ..self }
    }
}

/// One command: what is known of it, and how it runs.
pub struct Command<S: 'static> {
    /// What is known of it.
    pub info: CommandInfo,
    /// How it runs.
    pub run: Run<S>,
}

/// The commands of an `impl` block, for a server with the store `S` and the session `X`.
/// `#[commands]` implements it.
#[diagnostic::on_unimplemented(
    message = "the set `{Self}` can't be served over this store and session",
    note = "the store has to implement `Has<..>` for the set's store, and the session for the set's session"
)]
pub trait CommandSet<S: 'static, X: 'static> {
    /// Its records.
    const COMMANDS: &'static [Command<S>];
    /// Where the server's store holds the set's.
    const PART: Part<S>;

    /// All records that it stands for: its own, and of one that is several sets under one name
    /// those of each.
    const SETS: &'static [&'static [Command<S>]] = &[Self::COMMANDS];

    /// The same of parts.
    const PARTS: &'static [Part<S>] = &[Self::PART];
}

/// Where a store holds a part of itself, for whoever knows the part's type only.
pub struct Part<S: 'static> {
    pub(crate) of: fn() -> TypeId,
    pub(crate) project: Project<S>,
}

impl<S> Clone for Part<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Part<S> {}

impl<S: 'static> Part<S> {
    /// The part `P`.
    pub const fn new<P: 'static>() -> Self
    where
        S: Has<P>,
    {
        Part { of: TypeId::of::<P>, project: |store, cx| Has::<P>::part_mut(store, cx) }
    }
}

/// A server's store holds the store of each of its sets, and its session theirs: finds it.
/// [`parts!`](crate::parts!) implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` holds no `{P}`, which a command set of this server works on",
    note = "implement `Has<{P}>` for `{Self}`: two methods that return the field"
)]
pub trait Has<P>: 'static {
    /// The part, shared; `cx` says which numbered database.
    fn part(&self, cx: &Cx<'_>) -> &P;
    /// The part, to be changed.
    fn part_mut(&mut self, cx: &Cx<'_>) -> &mut P;
}

impl<T: 'static> Has<T> for T {
    #[inline(always)]
    fn part(&self, _: &Cx<'_>) -> &T {
        self
    }
    #[inline(always)]
    fn part_mut(&mut self, _: &Cx<'_>) -> &mut T {
        self
    }
}

/// Which of how many shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// This one, from 0.
    pub shard: usize,
    /// All of them.
    pub shards: usize,
}

/// Why a store couldn't be opened: any error, by `?`.
pub type OpenError = Box<dyn std::error::Error + Send + Sync>;

/// One shard's data. Only its shard's thread touches it, so it needs no locks.
pub trait Store: Sized + 'static {
    /// What all shards' stores are opened with.
    type Settings: Send + Sync + 'static;

    /// Makes the store on the shard's own thread, before anybody can connect. `hasher` makes the
    /// hashes that come with keys, for a store that has to hash keys again; all shards have the
    /// same.
    ///
    /// # Errors
    /// Whatever keeps it from serving: a file that can't be read, memory that isn't to be had. No
    /// shard serves then, those that are open are dropped, and [`Builder::start`](crate::Builder::start)
    /// answers with [`Error::Open`](crate::Error::Open).
    fn open(settings: &Self::Settings, place: Place, hasher: &KeyHasher)
    -> Result<Self, OpenError>;

    /// Called once per turn that runs requests, before them: `now_ms` is the time that all of them
    /// see, in milliseconds since the Unix epoch.
    fn begin(&mut self, now_ms: u64) {
        let _ = now_ms;
    }

    /// Work of its own between requests, some tens of microseconds of it at most. Answers after
    /// how many milliseconds it wants to be called again; `None` if nothing is to be done.
    fn tick(&mut self, cx: &Cx<'_>) -> Option<u64> {
        let _ = cx;
        None
    }

    /// Called before the handler of a command that may write runs here, with its arguments: of a
    /// request of several shards, on each of them with its part, before any of them runs; of a
    /// handler over several shards, on its connection's. The store makes room for it, or answers
    /// false. Then the handler isn't called and the whole request is refused with
    /// [`Refusal::NoRoom`]. A `loose` request is asked for on each shard at its own time.
    #[inline]
    fn admit(&mut self, cx: &Cx<'_>, command: &CommandInfo, args: Args<'_>) -> bool {
        let _ = (cx, command, args);
        true
    }

    /// Called before a request is queued to run with others as one, whatever it is: also for those
    /// that write nothing it may answer false, as it has no room for what is queued. What may write
    /// is asked for once more before the queue runs.
    #[inline]
    fn admit_queued(&mut self, cx: &Cx<'_>, command: &CommandInfo, args: Args<'_>) -> bool {
        !command.write || self.admit(cx, command, args)
    }

    /// Where it has to tell of each key that it changes, so that connections may watch keys. A
    /// store that doesn't keep it has no watched keys that change.
    fn attach(&mut self, changes: &Changes) {
        let _ = changes;
    }

    /// The space that a request's keys are in: what [`Changes`] are told with. By default each
    /// scope has its own.
    fn space(scope: u64) -> u64 {
        scope
    }

    /// Tells what it counts, whenever somebody looks at the server's metrics: this shard's share of
    /// it, since samples of the same name and labels add up over the shards. What is the same on all
    /// of them the first shard tells.
    fn observe(&self, cx: &Cx<'_>, scrape: &mut Scrape) {
        let _ = (cx, scrape);
    }

    /// Brings a key up to date: if its time is over it is removed now, which is a change.
    fn settle(&mut self, cx: &Cx<'_>, key: Key<'_>) {
        let _ = (cx, key);
    }

    /// Asks the processor for the memory that a lookup of `hash` reads first. The store decides
    /// whether that pays.
    #[inline]
    fn prefetch(&self, hash: u64, scope: u64) {
        let _ = (hash, scope);
    }

    /// The second stage: what [`Store::prefetch`] asked for is here by now, and says what is next.
    #[inline]
    fn prefetch_record(&self, hash: u64, scope: u64) {
        let _ = (hash, scope);
    }

    /// The bytes of a key that pick its shard.
    #[inline]
    fn placement(key: &[u8]) -> &[u8] {
        key
    }
}

/// What happens to replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    /// They are sent.
    #[default]
    On,
    /// They are dropped.
    Off,
    /// The next request's reply is dropped.
    SkipNext,
    /// They are sent from the present request's on, even if that one's was to be dropped.
    OnAtOnce,
}

/// What the runtime reads of a session. It is read again after each request of route `session`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionState {
    /// The word that travels with each request.
    pub scope: u64,
    /// Whether [`Session::admit`] has to be asked before each request, and the tighter limits of
    /// an unauthenticated client hold.
    pub restricted: bool,
    /// What happens to replies.
    pub reply: ReplyMode,
    /// Whether queued requests and watched keys are dropped now.
    pub drops_queue: bool,
}

/// What a protocol remembers of a connection.
pub trait Session: Any {
    /// What the runtime has to know. It asks once after each request of route `session`, so
    /// [`ReplyMode::SkipNext`] and [`SessionState::drops_queue`] are to be told only once.
    fn state(&mut self) -> SessionState {
        SessionState::default()
    }

    /// Whether a restricted session may run `command`.
    ///
    /// # Errors
    /// The refusal that is its reply.
    fn admit(&self, command: &CommandInfo) -> Result<(), Refusal> {
        let _ = command;
        Ok(())
    }
}

impl Session for () {}

/// A session's beginning and end, over the store `S`.
///
/// A session that is made of several opens and closes each of them, in its own two functions.
pub trait Open<S>: Session + Sized {
    /// Somebody connects; `cx.conn()` says who, and to what. `None` turns the connection away:
    /// what was written to `greeting` is sent, and then it is closed.
    fn open(store: &mut S, cx: &Cx<'_>, greeting: &mut Out) -> Option<Self>;

    /// The connection is gone, whoever ended it; `cx.conn()` still says which it was. Called once
    /// for each session that was opened. Requests that other shards or transactions had of it by
    /// then still run.
    fn close(self, store: &mut S, cx: &Cx<'_>) {
        let _ = (store, cx);
    }
}

impl<S> Open<S> for () {
    fn open(_: &mut S, _: &Cx<'_>, _: &mut Out) -> Option<Self> {
        Some(())
    }
}

/// One wire with its commands, erased to functions, so that a server may have several over one
/// store.
pub struct Port<S: 'static> {
    /// The wire's name, for listeners and logs.
    pub name: &'static str,
    /// Its commands.
    pub table: Table<S>,
    /// Its sets' parts of the store.
    pub(crate) parts: &'static [&'static [Part<S>]],
    pub(crate) wire: TypeId,
    pub(crate) parse: fn(&[u8], &mut Resume, &ParseLimits, &mut Burst, &mut Out, u64) -> bool,
    pub(crate) refuse: fn(Refusal, u64, &mut Out),
    pub(crate) outcome: fn(Outcome, u64, &mut Out),
    pub(crate) list: fn(usize, u64, &mut Out),
    pub(crate) list_end: fn(u64, &mut Out),
    pub(crate) unknown: fn(Args<'_>, Option<&'static str>, u64, &mut Out),
    pub(crate) open: fn(&mut S, &Cx<'_>, &mut Out) -> Option<Box<dyn Session>>,
    pub(crate) close: fn(Box<dyn Session>, &mut S, &Cx<'_>),
}

impl<S: 'static> Port<S> {
    /// A port that speaks `W`, with sessions of type `X`. `server!` calls it.
    pub const fn new<W: Wire, X: Open<S>>(
        name: &'static str,
        table: Table<S>,
        parts: &'static [&'static [Part<S>]],
    ) -> Self {
        Port {
            name,
            table,
            parts,
            wire: TypeId::of::<W>(),
            parse: parse::<W>,
            refuse: refuse::<W>,
            outcome: |outcome, scope, out| {
                W::outcome(outcome, &mut Reply::in_scope(out, W::Scope::from_bits(scope)));
            },
            list: |len, scope, out| {
                W::list(&mut Reply::in_scope(out, W::Scope::from_bits(scope)), len);
            },
            list_end: |scope, out| {
                W::list_end(&mut Reply::in_scope(out, W::Scope::from_bits(scope)));
            },
            unknown: unknown::<W>,
            open: |store, cx, greeting| {
                X::open(store, cx, greeting).map(|session| Box::new(session) as Box<dyn Session>)
            },
            close: |session, store, cx| {
                // One that was turned away has no session of its port's.
                if let Ok(session) = (session as Box<dyn Any>).downcast::<X>() {
                    session.close(store, cx);
                }
            },
        }
    }

    /// Whether this is its wire.
    pub(crate) fn speaks<W: Wire>(&self) -> bool {
        self.wire == TypeId::of::<W>()
    }
}

/// Parses a burst. False if the frame is malformed: the wire's refusal is in `out`.
fn parse<W: Wire>(
    input: &[u8],
    resume: &mut Resume,
    limits: &ParseLimits,
    burst: &mut Burst,
    out: &mut Out,
    scope: u64,
) -> bool {
    match W::parse(input, resume, limits, burst) {
        Ok(()) => true,
        Err(refusal) => {
            refusal.encode(&mut Reply::in_scope(out, W::Scope::from_bits(scope)));
            false
        }
    }
}

fn refuse<W: Wire>(refusal: Refusal, scope: u64, out: &mut Out) {
    let refusal = W::Refusal::from(refusal);
    refusal.encode(&mut Reply::in_scope(out, W::Scope::from_bits(scope)));
}

fn unknown<W: Wire>(args: Args<'_>, verb: Option<&'static str>, scope: u64, out: &mut Out) {
    W::unknown(args, verb, &mut Reply::in_scope(out, W::Scope::from_bits(scope)));
}

/// A whole server: its store and its ports. [`server!`](crate::server!) implements it.
pub trait Commands: Sized + 'static {
    /// One shard's data.
    type Store: Store;

    /// Its wires with their commands.
    fn ports() -> &'static [Port<Self::Store>];
}

/// Joins sets, wires and a store to a server:
///
/// ```text
/// server! { pub Server: store = Mixed, ports = [
///     Lines, Session => [Counting, RateLimiter];     // two sets, one wire
///     Frames, () => [Ours],                           // another wire, the same store
/// ] }
/// ```
///
/// `Server` then implements [`Commands`]. A name declared twice on one port doesn't compile.
#[macro_export]
macro_rules! server {
    (
        $(#[$attr:meta])* $vis:vis $server:ident: store = $store:ty, ports = [
            $( $wire:ty, $session:ty => [ $($set:ty),+ $(,)? ] );+ $(;)? $(,)?
        ] $(,)?
    ) => {
        $(#[$attr])*
        #[derive(Debug)]
        $vis struct $server;

        impl $crate::Commands for $server {
            type Store = $store;

            fn ports() -> &'static [$crate::Port<$store>] {
                static PORTS: &[$crate::Port<$store>] = &[ $({
                    const SETS: &[&[&[$crate::Command<$store>]]] =
                        &[ $(<$set as $crate::CommandSet<$store, $session>>::SETS),+ ];
                    const N: usize = $crate::table::count(SETS);
                    const SLOTS: usize = (2 * N).next_power_of_two();
                    const BUCKETS: usize = N.next_power_of_two();
                    static SORTED: [Option<&'static $crate::Command<$store>>; N] =
                        $crate::table::sort(SETS);
                    static PLACED: ([$crate::table::Entry<$store>; SLOTS], [u16; BUCKETS]) =
                        $crate::table::place::<$store, N, SLOTS, BUCKETS>(&SORTED);
                    static TABLE: (&[$crate::table::Entry<$store>], &[u16]) =
                        (&PLACED.0, &PLACED.1);
                    const PARTS: &[&[$crate::Part<$store>]] =
                        &[ $(<$set as $crate::CommandSet<$store, $session>>::PARTS),+ ];
                    $crate::Port::new::<$wire, $session>(
                        stringify!($wire),
                        $crate::table::Table::new(&TABLE, &SORTED),
                        PARTS,
                    )
                }),+ ];
                PORTS
            }
        }
    };
}
