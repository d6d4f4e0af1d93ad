//! Starts transactions: finds out which shards own a request's keys, and what it wants of them.

use std::rc::Rc;

use crate::Args;
use crate::commands::{Commands, KeyRange, KeySpec, LastKey, QueueVerb, Route, Run};
use crate::conn::{Conn, ConnId, Holds, Stall};
use crate::cx::Caller;
use crate::gather::Plan as PartPlan;
use crate::kept::Kept;
use crate::shard::batch::Call;
use crate::shard::plan::{Known, Plan, Where};
use crate::shard::run::{Engine, answer};
use crate::shared::Out;
use crate::tx::entries::{Access, Intents, Wanted};
use crate::tx::fault::{self, Fault};
use crate::tx::queue::{self, Queue, Step, Watching};
use crate::tx::task::{Hub, Task, TxStart};
use crate::tx::watch::WatchId;
use crate::wire::{Outcome, Refusal};

/// What a task is started with.
pub(super) struct StartTask<S: 'static> {
    pub(super) hub: Rc<Hub<S>>,
    pub(super) task: Task,
    pub(super) intents: Vec<(u16, Intents)>,
    pub(super) watching: Option<Watching>,
    pub(super) begins: Option<WatchId>,
    pub(super) queue: Option<Queue>,
    /// Which later requests of its connection wait for it.
    pub(super) holds: Holds,
}

/// What a request calls, and the task that it becomes.
type Prepared<S> = (Call<S>, StartTask<S>);

impl<C: Commands, Socket: Send + 'static> Engine<C, Socket> {
    /// Starts what needs its connection in the table: a handler over several shards, a queue, a
    /// watch.
    pub(in crate::shard) fn start_transaction(&mut self, id: ConnId) {
        let lent = self.server.conns.borrow_mut().lend(id);
        let Some(mut conn) = lent else { return };
        let prepared = self.prepare(&mut conn);
        self.server.conns.borrow_mut().give_back(conn);
        if let Some((call, start)) = prepared {
            self.start_task(id, call, start);
            self.advance();
        }
    }

    pub(super) fn prepare(&mut self, conn: &mut Conn) -> Option<Prepared<C::Store>> {
        conn.stall = Stall::No;
        let kept = conn.kept.take()?;
        let port = self.port(conn);
        let mut plan = std::mem::take(&mut self.plan);
        plan.clear();
        plan.add(&port.table, kept.args(), &self.placement());
        let request = plan.requests.first()?;
        let Known::Command(command, index) = request.known else { return None };
        let call = self.call(conn, command, index);
        let args = kept.args().with_hashes(plan.hashes(request));
        let owners = plan.owners(request);
        let start = match command.run {
            Run::Tx(_) if !has_whole_keys(command.info.route, args) => {
                let mut reply = Out::default();
                (port.refuse)(Refusal::Arity(command.info.name), call.scope, &mut reply);
                self.count_rejected(call.index);
                answer(conn, &mut reply);
                None
            }
            Run::Tx(start) if self.admits(call, Caller::Within(&conn.facts), args) => {
                let keys: Vec<(u64, u16)> =
                    args.hashes().iter().copied().zip(owners.iter().copied()).collect();
                let access = Access::of(command.info.write);
                let hub = Hub::new(keys.clone(), call.scope);
                let args = Rc::new(Kept::new(args));
                Some(StartTask {
                    task: start(TxStart { hub: hub.clone(), call, args }),
                    hub,
                    intents: by_owner(keys.into_iter().map(|(hash, owner)| (owner, hash, access))),
                    watching: None,
                    begins: None,
                    queue: None,
                    holds: Holds::Order,
                })
            }
            Run::Tx(_) => {
                let mut reply = Out::default();
                self.refuse_room(call, &mut reply);
                answer(conn, &mut reply);
                None
            }
            Run::Queue(QueueVerb::Watch) => Some(self.prepare_watch(conn, call, args, owners)),
            Run::Queue(QueueVerb::Run) => self.prepare_queue(conn, call),
            _ => None,
        };
        self.plan = plan;
        start.map(|start| (call, start))
    }

    pub(super) fn prepare_watch(
        &mut self,
        conn: &mut Conn,
        call: Call<C::Store>,
        args: Args<'_>,
        owners: &[u16],
    ) -> StartTask<C::Store> {
        let mut keys: Vec<&[u8]> = Vec::with_capacity(owners.len());
        let see = |position| keys.push(args.get(position).unwrap_or_default());
        call.command.info.route.each_key(args, see);
        let mut by_shard: Vec<(u16, Kept)> = Vec::new();
        for ((key, &hash), &owner) in keys.iter().zip(args.hashes()).zip(owners) {
            let at = by_shard.iter().position(|(other, _)| *other == owner).unwrap_or_else(|| {
                by_shard.push((owner, Kept::default()));
                by_shard.len() - 1
            });
            by_shard[at].1.push_key(key, hash);
        }
        let port = self.port(conn);
        let watching = conn.watching.get_or_insert_with(|| {
            self.transactions.next_watch += 1;
            let (shard, number) = (self.server.place.shard as u16, self.transactions.next_watch);
            let id = WatchId { shard, conn: conn.id, number };
            Box::new(Watching { id, keys: Vec::new(), bytes: 0, is_marked: false })
        });
        let id = watching.id;
        for (owner, keys) in &by_shard {
            let keys = Kept::new(keys.args());
            watching.bytes += size_of::<(u16, u64, Kept)>() + keys.memory();
            watching.keys.push((*owner, call.scope, keys));
        }
        let keys = args.hashes().iter().zip(owners);
        let keys = keys.map(|(&hash, &owner)| (owner, hash, Access::Shared));
        let hub = Hub::new(Vec::new(), call.scope);
        StartTask {
            task: Box::pin(queue::watch(hub.clone(), port, id, by_shard)),
            hub,
            intents: by_owner(keys),
            watching: None,
            begins: Some(id),
            queue: None,
            holds: Holds::Queue,
        }
    }

    /// Finds out where each request of a connection's queue runs, and what all of them want.
    pub(super) fn prepare_queue(
        &mut self,
        conn: &mut Conn,
        call: Call<C::Store>,
    ) -> Option<StartTask<C::Store>> {
        let mut queue = *conn.queued.take()?;
        conn.attend();
        let port = self.port(conn);
        if !self.admits_queue(conn, &queue) {
            self.unwatch(conn);
            let mut reply = Out::default();
            (port.refuse)(Refusal::RunNoRoom, call.scope, &mut reply);
            self.count_rejected(call.index);
            answer(conn, &mut reply);
            return None;
        }
        let watching = conn.watching.take();
        let shards = self.server.place.shards as u16;
        let mut wants: Vec<(u16, u64, Access)> = Vec::new();
        let mut keys: Vec<(u64, u16)> = Vec::new();
        let (mut whole, mut writes, mut changes_session) = (false, false, false);
        let mut steps = Vec::with_capacity(queue.requests.len());
        for (number, (index, kept)) in queue.requests.iter_mut().enumerate() {
            let mut plan = Plan::default();
            plan.add(&port.table, kept.args(), &self.placement());
            let Some(request) = plan.requests.first() else { continue };
            let command = port.table.numbered(*index);
            let requested = self.call(conn, command, *index);
            let info = &command.info;
            let args = kept.args().with_hashes(plan.hashes(request));
            let access = Access::of(info.write);
            writes |= info.write;
            for (&hash, &owner) in plan.hashes(request).iter().zip(plan.owners(request)) {
                wants.push((owner, hash, access));
                keys.push((hash, owner));
            }
            let mut refusal = Out::default();
            let passes = match &command.run {
                Run::Gather { check, .. } => check(
                    &self.cx(Caller::Within(&conn.facts), requested.scope),
                    args,
                    &mut refusal,
                ),
                _ => true,
            };
            let owner_here = self.server.place.shard as u16;
            let owner = match request.place {
                Where::Here => owner_here,
                Where::There(owner) => owner,
                Where::Several => owner_here,
            };
            steps.push(match (&command.run, info.route) {
                _ if !passes => {
                    self.count_run(requested.index, true);
                    Step::Done(refusal)
                }
                (Run::Tx(_), route) if !has_whole_keys(route, args) => {
                    (port.refuse)(Refusal::Arity(info.name), requested.scope, &mut refusal);
                    self.count_run(requested.index, true);
                    Step::Done(refusal)
                }
                (Run::Tx(_), _) => Step::Task(requested, Kept::new(args)),
                // What was watched is dropped by then.
                (Run::Queue(_), _) => {
                    (port.outcome)(Outcome::Done, requested.scope, &mut refusal);
                    self.count_run(requested.index, false);
                    Step::Done(refusal)
                }
                (_, Route::Local) => Step::Here(number),
                (_, Route::Session) => {
                    changes_session = true;
                    Step::Here(number)
                }
                (_, Route::All { .. }) if shards > 1 => {
                    whole = true;
                    let parts = (0..shards).map(|shard| (shard, Kept::new(args))).collect();
                    Step::Parts(requested, PartPlan::default(), parts)
                }
                (_, Route::All { .. } | Route::At(_)) => {
                    whole = true;
                    Step::Owner(owner, requested, Kept::new(args))
                }
                (_, Route::Keys(range)) if request.place == Where::Several => {
                    let (plan, parts) =
                        parts_of(args, range, plan.owners(request), &mut self.spare);
                    Step::Parts(requested, plan, parts)
                }
                _ => Step::Owner(owner, requested, Kept::new(args)),
            });
        }
        let mut checks = Vec::new();
        if let Some(watching) = &watching {
            for (owner, scope, keys) in &watching.keys {
                let kept = Kept::new(keys.args());
                let wrong = u64::from(fault::is_on(Fault::EarlyMark));
                let hashes = keys.args().hashes().iter();
                wants.extend(hashes.map(|&hash| (*owner, hash ^ wrong, Access::Shared)));
                checks.push((watching.id, *owner, *scope, kept));
            }
        }
        let intents = if whole {
            (0..shards).map(|owner| (owner, Intents::Whole(Access::of(writes)))).collect()
        } else {
            by_owner(wants.into_iter())
        };
        let hub = Hub::new(keys, call.scope);
        Some(StartTask {
            task: Box::pin(queue::run(hub.clone(), port, checks, steps)),
            hub,
            intents,
            watching: watching.map(|watching| *watching),
            begins: None,
            queue: Some(queue),
            holds: if changes_session { Holds::All } else { Holds::Order },
        })
    }
}

/// Whether the arguments of keys at regular distances come out even. Of keys that a client counts
/// the handler's parser judges.
fn has_whole_keys(route: Route, args: Args<'_>) -> bool {
    route.keys().all(|spec| match spec {
        KeySpec::Range(range @ KeyRange { last: LastKey::At(_), .. }) => {
            range.count(args).is_some()
        }
        _ => true,
    })
}

/// What is wanted of each owner.
pub(super) fn by_owner(wants: impl Iterator<Item = (u16, u64, Access)>) -> Vec<(u16, Intents)> {
    let mut owners: Vec<(u16, Wanted)> = Vec::new();
    for (owner, hash, access) in wants {
        let at = owners.iter().position(|(other, _)| *other == owner).unwrap_or_else(|| {
            owners.push((owner, Wanted::new()));
            owners.len() - 1
        });
        owners[at].1.push((hash, access));
    }
    owners.into_iter().map(|(owner, keys)| (owner, Intents::mixed(keys))).collect()
}

/// A request's parts by owner, in buffers from `spare` as far as there are some; and which of the
/// parts each key went to.
pub(in crate::shard) fn parts_of(
    args: Args<'_>,
    range: KeyRange,
    owners: &[u16],
    spare: &mut Vec<Kept>,
) -> (PartPlan, Vec<(u16, Kept)>) {
    let (mut parts, mut plan) = (Vec::<(u16, Kept)>::new(), PartPlan::default());
    let after = range.end(args)..args.len();
    for (key, (&owner, &hash)) in owners.iter().zip(args.hashes()).enumerate() {
        let part = parts.iter().position(|(other, _)| *other == owner).unwrap_or_else(|| {
            let mut kept = spare.pop().unwrap_or_default();
            kept.take(args, 0..range.first as usize);
            parts.push((owner, kept));
            parts.len() - 1
        });
        let start = range.start_of(key);
        parts[part].1.take_key(args, start..start + range.step as usize, hash);
        plan.part_of.push(part as u16);
    }
    parts.iter_mut().for_each(|(_, kept)| kept.take(args, after.clone()));
    (plan, parts)
}
