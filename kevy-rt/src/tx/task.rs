//! A handler over several shards: an async function on the shard of its connection, whose hops run
//! on the shards that own its keys.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::hop::{Job, Project, Work};
use crate::args::{Args, Key};
use crate::commands::{CommandInfo, Has};
use crate::gather::{PartOut, Plan};
use crate::kept::Kept;
use crate::shard::Call;
use crate::shared::Out;
use crate::wire::{Reply, Scope, Wire};

/// A handler at work. It ends with its reply.
pub type Task = Pin<Box<dyn Future<Output = Out>>>;

/// What a task asks of its shard.
pub(crate) enum Ask<S: 'static> {
    /// A hop: its number, its owner, what it does.
    Hop(u32, u16, Work<S>),
    /// A request that is run here, without a key: its number, and the request's among those of the
    /// queue.
    Here(u32, usize),
    /// The parts of a request's reply, to be merged to one: its number, and what is merged.
    Merge(u32, Call<S>, Plan, Vec<PartOut>),
}

/// What a task and its shard share.
pub(crate) struct Hub<S: 'static> {
    asks: RefCell<Vec<Ask<S>>>,
    /// By number: what came home.
    answers: RefCell<Vec<Option<Work<S>>>>,
    /// The hashes of its keys, each with its owner.
    keys: Vec<(u64, u16)>,
    /// The scope that its next requests run in.
    pub(crate) scope: Cell<u64>,
    /// Whether nobody wants the replies of a queue's next requests.
    pub(crate) is_muted: Cell<bool>,
    /// Whether it has sent what may change something.
    pub(crate) has_written: Cell<bool>,
    /// How often its task was polled: what is sent within one poll is one round of hops.
    pub(crate) polls: Cell<u32>,
}

impl<S: 'static> Hub<S> {
    pub(crate) fn new(keys: Vec<(u64, u16)>, scope: u64) -> Rc<Self> {
        let (asks, answers) = (RefCell::default(), RefCell::default());
        Rc::new(Hub {
            asks,
            answers,
            keys,
            scope: Cell::new(scope),
            is_muted: Cell::new(false),
            has_written: Cell::new(false),
            polls: Cell::new(0),
        })
    }

    /// What was asked for since this was called last; it is done by whoever takes it.
    pub(crate) fn take_asks(&self) -> Vec<Ask<S>> {
        let asks = std::mem::take(&mut *self.asks.borrow_mut());
        let writes = |ask: &Ask<S>| matches!(ask, Ask::Hop(.., work) if work.writes());
        self.has_written.set(self.has_written.get() || asks.iter().any(writes));
        asks
    }

    /// Drops what was asked for in vain.
    pub(crate) fn drop_asks(&self) {
        self.asks.borrow_mut().clear();
    }

    /// A hop came home.
    pub(crate) fn answer(&self, number: u32, work: Work<S>) {
        self.answers.borrow_mut()[number as usize] = Some(work);
    }

    fn number(&self) -> u32 {
        let mut answers = self.answers.borrow_mut();
        answers.push(None);
        answers.len() as u32 - 1
    }

    fn take(&self, number: u32) -> Option<Work<S>> {
        self.answers.borrow_mut()[number as usize].take()
    }

    /// Sends a hop.
    pub(crate) fn send(&self, owner: u16, work: Work<S>) -> u32 {
        let number = self.number();
        self.asks.borrow_mut().push(Ask::Hop(number, owner, work));
        number
    }

    /// Asks for a request of the queue to be run here.
    pub(crate) fn here(&self, request: usize) -> u32 {
        let number = self.number();
        self.asks.borrow_mut().push(Ask::Here(number, request));
        number
    }

    /// Asks for one reply of all parts.
    pub(crate) fn merge(&self, call: Call<S>, plan: Plan, parts: Vec<PartOut>) -> u32 {
        let number = self.number();
        self.asks.borrow_mut().push(Ask::Merge(number, call, plan, parts));
        number
    }

    /// What a hop, or a request that ran here, came home with.
    pub(crate) fn home(&self, number: u32) -> Home<'_, S> {
        Home { hub: self, number }
    }
}

/// A hop of the runtime's own on its way.
pub(crate) struct Home<'a, S: 'static> {
    hub: &'a Hub<S>,
    number: u32,
}

impl<S: 'static> Future for Home<'_, S> {
    type Output = Work<S>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Work<S>> {
        self.hub.take(self.number).map_or(Poll::Pending, Poll::Ready)
    }
}

/// What a handler over several shards is started with. Generated code uses it.
pub struct TxStart<S: 'static> {
    pub(crate) hub: Rc<Hub<S>>,
    pub(crate) call: Call<S>,
    pub(crate) args: Rc<Kept>,
}

impl<S: 'static> TxStart<S> {
    /// The request.
    pub fn args(&self) -> Args<'_> {
        self.args.args()
    }

    /// Where the reply is written.
    pub fn reply<'o, W: Wire>(&self, out: &'o mut Out) -> Reply<'o, W> {
        Reply::in_scope(out, W::Scope::from_bits(self.call.scope))
    }

    /// What the handler sends its hops through.
    pub fn tx<P: 'static>(&self) -> Tx<P>
    where
        S: Has<P>,
    {
        let rounds = Rc::new(Cell::new((0, 0)));
        let command = &self.call.command.info;
        Tx(ReadTx { sink: self.hub.clone(), scope: self.call.scope, command, rounds })
    }
}

impl<S> fmt::Debug for TxStart<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TxStart").field("command", &self.call.command.info.name).finish()
    }
}

/// The shard's side of a transaction, as seen through one part of its store.
trait Sink<P> {
    fn owner(&self, key: &Key<'_>) -> u16;
    fn polls(&self) -> u32;
    fn send_job(&self, owner: u16, scope: u64, writes: Writes, job: Box<dyn Job>) -> u32;
    fn take_job(&self, number: u32) -> Option<Box<dyn Job>>;
}

/// The command that a hop is of, and whether it may change something.
#[derive(Clone, Copy)]
struct Writes {
    command: &'static CommandInfo,
    may_write: bool,
}

/// Rounds of hops that one handler makes at most, a round being what it sends between two awaits.
/// Its keys are held all the time, so there has to be an end. One that passes the bound before it
/// sent a hop that may write is refused; behind that it is a broken promise like a panic there.
///
/// Smaller: handlers that follow what they read are refused. Larger: others wait longer for one that
/// doesn't end.
pub const MAX_ROUNDS: u32 = 64;

/// What unwinds a handler that made too many rounds.
pub(crate) struct TooManyRounds;

/// What unwinds a handler one of whose hops panicked, without having changed anything.
pub(crate) struct HopPanicked;

impl<S: Has<P>, P: 'static> Sink<P> for Hub<S> {
    fn owner(&self, key: &Key<'_>) -> u16 {
        let found = self.keys.iter().find(|(hash, _)| *hash == key.hash());
        found.expect("a hop runs on a key of its command's route").1
    }

    fn polls(&self) -> u32 {
        self.polls.get()
    }

    fn send_job(&self, owner: u16, scope: u64, writes: Writes, job: Box<dyn Job>) -> u32 {
        let project: Project<S> = |store, cx| Has::<P>::part_mut(store, cx);
        let Writes { command, may_write } = writes;
        self.send(owner, Work::Closure { scope, command, may_write, project, job })
    }

    fn take_job(&self, number: u32) -> Option<Box<dyn Job>> {
        match self.take(number)? {
            Work::Closure { job, .. } => Some(job),
            _ => resume_unwind(Box::new(HopPanicked)),
        }
    }
}

/// A transaction over the shards that own a request's keys, for a command of route `tx(..)` that is
/// declared `write`.
///
/// From the first hop to the last nobody else changes these keys, and who reads them sees all of it
/// or nothing. So whatever can fail comes in hops before the first one that changes something: in
/// [`ReadTx::read`]. What changes something goes through [`Tx::on`]. A panic, or more than
/// [`MAX_ROUNDS`] rounds of hops, is an error reply before the first of these, and the end of the
/// process behind it.
///
/// A closure runs on the part `P` of another shard's store: it owns what it needs, and is given its
/// key there.
pub struct Tx<P: 'static>(ReadTx<P>);

/// The same for a command that isn't declared `write`: it shares its keys with others that read them,
/// and can't change them.
pub struct ReadTx<P: 'static> {
    sink: Rc<dyn Sink<P>>,
    scope: u64,
    command: &'static CommandInfo,
    /// The task's polls when it last sent something, and its rounds so far.
    rounds: Rc<Cell<(u32, u32)>>,
}

impl<P> Deref for Tx<P> {
    type Target = ReadTx<P>;

    fn deref(&self) -> &ReadTx<P> {
        &self.0
    }
}

impl<P: 'static> ReadTx<P> {
    /// The wire's word about the connection.
    pub fn scope(&self) -> u64 {
        self.scope
    }

    fn send_job(&self, owner: u16, may_write: bool, job: Box<dyn Job>) -> u32 {
        let command = self.command;
        let (polls, (last, rounds)) = (self.sink.polls(), self.rounds.get());
        let rounds = if polls == last { rounds } else { rounds + 1 };
        if rounds > MAX_ROUNDS {
            resume_unwind(Box::new(TooManyRounds));
        }
        self.rounds.set((polls, rounds));
        self.sink.send_job(owner, self.scope, Writes { command, may_write }, job)
    }

    /// Looks at `key` on the shard that owns it, once all of the transaction's keys are its own. The
    /// hop leaves by this call, and runs even if nobody awaits it; two calls and then two awaits
    /// run at once.
    ///
    /// # Panics
    /// If `key` is none of the request's.
    pub fn read<R, F>(&self, key: &Key<'_>, hop: F) -> Hop<P, R>
    where
        R: Send + 'static,
        F: FnOnce(&P, Key<'_>) -> R + Send + 'static,
    {
        self.one(key, false, move |part: &mut P, key: Key<'_>| hop(part, key))
    }

    fn one<R, F>(&self, key: &Key<'_>, may_write: bool, hop: F) -> Hop<P, R>
    where
        R: Send + 'static,
        F: FnOnce(&mut P, Key<'_>) -> R + Send + 'static,
    {
        let job = One {
            hop: Some(hop),
            key: key.bytes().into(),
            hash: key.hash(),
            result: None,
            part: PhantomData,
        };
        let number = self.send_job(self.sink.owner(key), may_write, Box::new(job));
        Hop { sink: self.sink.clone(), number, result: PhantomData }
    }

    /// Looks at each of some keys, in one hop per owner. The results are in the keys' order.
    ///
    /// # Panics
    /// If a key is none of the request's.
    pub async fn read_all<'k, R, F>(
        &self,
        keys: impl IntoIterator<Item = Key<'k>>,
        mut hop: F,
    ) -> Vec<R>
    where
        R: Send + 'static,
        F: FnMut(&P, Key<'_>) -> R + Clone + Send + 'static,
    {
        self.many(keys, false, move |part: &mut P, key: Key<'_>| hop(part, key)).await
    }

    async fn many<'k, R, F>(
        &self,
        keys: impl IntoIterator<Item = Key<'k>>,
        may_write: bool,
        hop: F,
    ) -> Vec<R>
    where
        R: Send + 'static,
        F: FnMut(&mut P, Key<'_>) -> R + Clone + Send + 'static,
    {
        let mut owners: Vec<(u16, Many<P, F, R>)> = Vec::new();
        let mut count = 0;
        for key in keys {
            let owner = self.sink.owner(&key);
            let at = owners.iter().position(|(other, _)| *other == owner).unwrap_or_else(|| {
                owners.push((owner, Many::new(hop.clone())));
                owners.len() - 1
            });
            owners[at].1.keys.push((count, key.bytes().into(), key.hash()));
            count += 1;
        }
        let sent: Vec<u32> = owners
            .into_iter()
            .map(|(owner, job)| self.send_job(owner, may_write, Box::new(job)))
            .collect();
        let mut results: Vec<Option<R>> = (0..count).map(|_| None).collect();
        for number in sent {
            let home: Hop<P, Vec<(usize, R)>> =
                Hop { sink: self.sink.clone(), number, result: PhantomData };
            for (index, result) in home.await {
                results[index] = Some(result);
            }
        }
        results.into_iter().flatten().collect()
    }
}

impl<P: 'static> Tx<P> {
    /// Runs `hop`, which may change something, on the shard that owns `key`, as [`ReadTx::read`] does.
    ///
    /// # Panics
    /// If `key` is none of the request's.
    pub fn on<R, F>(&self, key: &Key<'_>, hop: F) -> Hop<P, R>
    where
        R: Send + 'static,
        F: FnOnce(&mut P, Key<'_>) -> R + Send + 'static,
    {
        self.0.one(key, true, hop)
    }

    /// The same as [`Tx::on`] in the connection's scope changed to `scope`: in another database,
    /// for instance.
    ///
    /// # Panics
    /// If `key` is none of the request's.
    pub fn on_in<R, F>(&self, scope: u64, key: &Key<'_>, hop: F) -> Hop<P, R>
    where
        R: Send + 'static,
        F: FnOnce(&mut P, Key<'_>) -> R + Send + 'static,
    {
        let (sink, rounds) = (self.sink.clone(), self.rounds.clone());
        ReadTx { sink, scope, command: self.command, rounds }.one(key, true, hop)
    }

    /// Runs `hop`, which may change something, for each of some keys, as [`ReadTx::read_all`] does.
    ///
    /// # Panics
    /// If a key is none of the request's.
    pub async fn on_all<'k, R, F>(&self, keys: impl IntoIterator<Item = Key<'k>>, hop: F) -> Vec<R>
    where
        R: Send + 'static,
        F: FnMut(&mut P, Key<'_>) -> R + Clone + Send + 'static,
    {
        self.0.many(keys, true, hop).await
    }
}

impl<P> fmt::Debug for Tx<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("command", &self.command.name).finish_non_exhaustive()
    }
}

impl<P> fmt::Debug for ReadTx<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadTx").field("command", &self.command.name).finish_non_exhaustive()
    }
}

/// A hop on its way, to be awaited for its result.
#[must_use = "the hop is on its way; await its result"]
pub struct Hop<P: 'static, R> {
    sink: Rc<dyn Sink<P>>,
    number: u32,
    result: PhantomData<fn() -> R>,
}

impl<P, R> fmt::Debug for Hop<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hop").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<P: 'static, R: 'static> Future for Hop<P, R> {
    type Output = R;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<R> {
        let Some(mut job) = self.sink.take_job(self.number) else { return Poll::Pending };
        let result = job.result().downcast_mut::<Option<R>>().and_then(Option::take);
        Poll::Ready(result.expect("a hop that came home has run"))
    }
}

/// A closure for one key.
struct One<P, F, R> {
    hop: Option<F>,
    key: Box<[u8]>,
    hash: u64,
    result: Option<R>,
    part: PhantomData<fn(P)>,
}

impl<P, F, R> Job for One<P, F, R>
where
    P: 'static,
    R: Send + 'static,
    F: FnOnce(&mut P, Key<'_>) -> R + Send,
{
    fn run(&mut self, part: &mut dyn Any) {
        if let (Some(part), Some(hop)) = (part.downcast_mut::<P>(), self.hop.take()) {
            self.result = Some(hop(part, Key::new(&self.key, self.hash)));
        }
    }

    fn result(&mut self) -> &mut dyn Any {
        &mut self.result
    }
}

/// A closure for several keys of one owner.
struct Many<P, F, R> {
    hop: F,
    keys: Vec<(usize, Box<[u8]>, u64)>,
    results: Option<Vec<(usize, R)>>,
    part: PhantomData<fn(P)>,
}

impl<P, F, R> Many<P, F, R> {
    fn new(hop: F) -> Self {
        Many { hop, keys: Vec::new(), results: None, part: PhantomData }
    }
}

impl<P, F, R> Job for Many<P, F, R>
where
    P: 'static,
    R: Send + 'static,
    F: FnMut(&mut P, Key<'_>) -> R + Send,
{
    fn run(&mut self, part: &mut dyn Any) {
        let Some(part) = part.downcast_mut::<P>() else { return };
        let Many { hop, keys, .. } = self;
        let results =
            keys.iter().map(|(index, key, hash)| (*index, hop(part, Key::new(key, *hash))));
        self.results = Some(results.collect());
    }

    fn result(&mut self) -> &mut dyn Any {
        &mut self.results
    }
}
