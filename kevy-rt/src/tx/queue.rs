//! Requests that a connection queues to run as one, and the keys that it watches until then.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::hop::Work;
use super::task::{Home, Hub, Task, TxStart};
use super::watch::WatchId;
use crate::commands::{Port, Run};
use crate::gather::{PartOut, Plan};
use crate::kept::Kept;
use crate::shard::{Call, refusal_of, survive_panic};
use crate::shared::Out;
use crate::wire::Outcome;

/// What a connection has queued.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Each request's command, as its number in the port's table, and arguments.
    pub(crate) requests: Vec<(u32, Kept)>,
    /// A request was refused: nothing of it will run.
    pub(crate) is_spoiled: bool,
    /// Bytes of memory that it holds.
    pub(crate) bytes: usize,
}

impl Queue {
    pub(crate) fn push(&mut self, command: u32, args: Kept) {
        self.bytes += size_of::<(u32, Kept)>() + args.memory();
        self.requests.push((command, args));
    }
}

/// The keys that a connection watches.
#[derive(Debug)]
pub(crate) struct Watching {
    pub(crate) id: WatchId,
    /// By owner: the scope that they were named in, and the keys.
    pub(crate) keys: Vec<(u16, u64, Kept)>,
    /// Bytes of memory that these take.
    pub(crate) bytes: usize,
    /// Whether an owner has told that one of them was changed.
    pub(crate) is_marked: bool,
}

impl Watching {
    /// The owners, each once.
    pub(crate) fn owners(&self) -> Vec<u16> {
        let mut owners: Vec<u16> = self.keys.iter().map(|(owner, ..)| *owner).collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }
}

/// One request of the queue, once it is known where it runs.
pub(crate) enum Step<S: 'static> {
    /// On the one owner of its keys.
    Owner(u16, Call<S>, Kept),
    /// On several, each with its share.
    Parts(Call<S>, Plan, Vec<(u16, Kept)>),
    /// On the connection's shard, where the engine runs it.
    Here(usize),
    /// As a handler over several shards.
    Task(Call<S>, Kept),
    /// Its reply is known.
    Done(Out),
}

/// Watches keys, and answers when all are.
pub(crate) async fn watch<S: 'static>(
    hub: Rc<Hub<S>>,
    port: &'static Port<S>,
    id: WatchId,
    keys: Vec<(u16, Kept)>,
) -> Out {
    let scope = hub.scope.get();
    let send = |(owner, keys)| hub.send(owner, Work::Watch { watch: id, scope, keys });
    let sent: Vec<u32> = keys.into_iter().map(send).collect();
    for number in sent {
        hub.home(number).await;
    }
    let mut out = Out::default();
    (port.outcome)(Outcome::Done, scope, &mut out);
    out
}

/// Runs a queue: nothing if a watched key was changed.
///
/// Requests to owners leave together up to one that needs what came before it: one hop per owner
/// for all of them.
pub(crate) async fn run<S: 'static>(
    hub: Rc<Hub<S>>,
    port: &'static Port<S>,
    watching: Vec<(WatchId, u16, u64, Kept)>,
    steps: Vec<Step<S>>,
) -> Out {
    let mut out = Out::default();
    let checks: Vec<u32> = watching
        .into_iter()
        .map(|(watch, owner, scope, keys)| {
            hub.send(owner, Work::Check { watch, scope, keys, is_marked: false })
        })
        .collect();
    let mut is_changed = false;
    for number in checks {
        if let Work::Check { is_marked, .. } = hub.home(number).await {
            is_changed |= is_marked;
        }
    }
    // Replies may be turned on and off within: the list's opening is the first of them.
    let is_opening_muted = hub.is_muted.get();
    if is_changed {
        if !is_opening_muted {
            (port.outcome)(Outcome::Changed, hub.scope.get(), &mut out);
        }
        return out;
    }
    let mut replies: Vec<Out> = Vec::with_capacity(steps.len());
    let mut muted: Vec<bool> = Vec::with_capacity(steps.len());
    let mut sent: Vec<(usize, Sent<S>)> = Vec::new();
    for (index, step) in steps.into_iter().enumerate() {
        replies.push(Out::default());
        match step {
            Step::Done(reply) => replies[index] = reply,
            Step::Owner(owner, call, args) => {
                let call = Call { scope: hub.scope.get(), ..call };
                let work = Work::Whole { call, args, reply: Out::default(), is_admitted: true };
                sent.push((index, Sent::One(hub.send(owner, work))));
            }
            Step::Parts(call, plan, parts) => {
                let call = Call { scope: hub.scope.get(), ..call };
                let send = |(part, (owner, args)): (usize, (u16, Kept))| {
                    let answer = PartOut::default();
                    hub.send(owner, Work::Part { call, args, part: part as u16, answer })
                };
                let numbers = parts.into_iter().enumerate().map(send).collect();
                sent.push((index, Sent::Several(call, plan, numbers)));
            }
            Step::Here(request) => {
                receive(&hub, port, &mut sent, &mut replies).await;
                if let Work::Whole { reply, .. } = hub.home(hub.here(request)).await {
                    replies[index] = reply;
                }
            }
            Step::Task(call, args) => {
                receive(&hub, port, &mut sent, &mut replies).await;
                let Run::Tx(start) = call.command.run else { continue };
                let call = Call { scope: hub.scope.get(), ..call };
                let args = Rc::new(args);
                hub.has_written.set(false);
                let task = start(TxStart { hub: hub.clone(), call, args });
                match (Guarded { task, hub: &hub }).await {
                    Ok(reply) => replies[index] = reply,
                    Err(panic) => {
                        survive_panic(&call.command.info, hub.has_written.get());
                        (port.refuse)(refusal_of(&*panic), call.scope, &mut replies[index]);
                    }
                }
            }
        }
        muted.push(hub.is_muted.get());
    }
    receive(&hub, port, &mut sent, &mut replies).await;
    if !is_opening_muted {
        (port.list)(replies.len(), hub.scope.get(), &mut out);
    }
    for (reply, _) in replies.iter().zip(muted).filter(|(_, is_muted)| !is_muted) {
        out.append(reply);
    }
    if !hub.is_muted.get() {
        (port.list_end)(hub.scope.get(), &mut out);
    }
    out
}

/// A handler whose panic harms its own request, not the queue that it is in.
struct Guarded<'a, S: 'static> {
    task: Task,
    hub: &'a Hub<S>,
}

impl<S: 'static> Future for Guarded<'_, S> {
    type Output = Result<Out, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.task.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => {
                self.hub.drop_asks();
                Poll::Ready(Err(panic))
            }
        }
    }
}

/// A request that is with its owners.
enum Sent<S: 'static> {
    One(u32),
    Several(Call<S>, Plan, Vec<u32>),
}

/// Awaits the replies of what is under way.
async fn receive<S: 'static>(
    hub: &Hub<S>,
    port: &'static Port<S>,
    sent: &mut Vec<(usize, Sent<S>)>,
    replies: &mut [Out],
) {
    for (index, sent) in sent.drain(..) {
        let home: Home<'_, S> = match sent {
            Sent::One(number) => hub.home(number),
            Sent::Several(call, plan, numbers) => {
                let mut parts = Vec::with_capacity(numbers.len());
                for number in numbers {
                    let Work::Part { answer, .. } = hub.home(number).await else { continue };
                    parts.push(answer);
                }
                hub.home(hub.merge(call, plan, parts))
            }
        };
        match home.await {
            Work::Whole { reply, .. } => replies[index] = reply,
            _ => {
                (port.refuse)(crate::wire::Refusal::Panicked, hub.scope.get(), &mut replies[index])
            }
        }
    }
}
