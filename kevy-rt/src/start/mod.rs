//! From a builder to running shards.
//!
//! All that can fail comes before the first connection is accepted: listeners are opened, an I/O
//! engine is chosen, every shard makes its reactor and its store on its own thread and says so.
//! Then all are let go. If anything fails, all of it is released again.

mod cores;
mod engine;
mod listen;
mod signals;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use self::engine::Engine;
use self::listen::{Opened, SocketFile, open_listeners};
use crate::commands::{Commands, Place, Store};
use crate::cx::Server;
use crate::hash::KeyHasher;
use crate::limits::Limits;
use crate::mesh::Mesh;
use crate::reactor::{Clock, Listener, Parts, Reactor};
use crate::runtime::{Builder, Error, Process, Runtime};
use crate::shard::{Mail, Shard, ShardParts};
use crate::sys::raise_descriptor_limit;

pub(crate) use signals::Signals;

/// Most shards of a server. More: rings between them, of which there is one for each pair, take
/// gigabytes.
const MOST_SHARDS: usize = 1024;

/// Most listeners of a server, whose numbers are short.
const MOST_LISTENERS: usize = 1024;

/// Descriptors besides those of connections: per shard, and for the rest of the program.
const DESCRIPTORS_PER_SHARD: usize = 8;
const OTHER_DESCRIPTORS: usize = 64;

/// What all shards are started with.
struct Plan<C: Commands> {
    settings: Arc<<C::Store as Store>::Settings>,
    process: Arc<Process>,
    /// For each shard the core to stay on, if it stays on one.
    cores: Vec<Option<usize>>,
    is_crowded: bool,
    limits: Limits,
    hasher: KeyHasher,
    clock: Clock,
    keepalive: Option<Duration>,
    listeners: Vec<Listener>,
    /// Removed when the last shard has ended.
    files: Arc<Vec<SocketFile>>,
    signals: bool,
}

/// Opens the listeners and starts the shards.
pub(crate) fn start<C: Commands>(builder: Builder<C>) -> Result<Runtime, Error> {
    let shards = builder.shards.unwrap_or_else(cores::usable_cores);
    check(&builder, shards)?;
    crate::reaper::start();
    let clock = Clock::start();
    let Opened { listening, listeners, files } =
        open_listeners(&builder.listen, builder.accept_queue)?;
    let (engine, reason) = Engine::choose(builder.reactor, shards)?;
    let wakers = (0..shards).map(|_| engine.waker()).collect::<Result<_, _>>();
    let wakers = wakers.map_err(|source| Error::Shard { shard: 0, source })?;
    let mut process =
        Process::new::<C>(clock.started_ms(), listening, wakers, shards, builder.offload);
    process.reactor_reason = reason;
    let plan = Plan::<C> {
        settings: Arc::new(builder.settings),
        process: Arc::new(process),
        cores: if builder.pin { cores::assign(shards) } else { vec![None; shards] },
        is_crowded: shards > cores::usable_cores(),
        limits: fit_descriptors(builder.limits, shards, listeners.len()),
        hasher: KeyHasher::random(),
        clock,
        keepalive: (builder.keepalive_s > 0)
            .then(|| Duration::from_secs(builder.keepalive_s.into())),
        listeners,
        files: Arc::new(files),
        signals: builder.signals,
    };
    engine.run(plan)
}

fn check<C: Commands>(builder: &Builder<C>, shards: usize) -> Result<(), Error> {
    let ports = C::ports().len();
    let invalid = |what: String| Err(Error::Invalid(what));
    if !(1..=MOST_SHARDS).contains(&shards) {
        return invalid(format!("a server has from 1 to {MOST_SHARDS} shards, not {shards}"));
    }
    if builder.listen.is_empty() {
        return invalid("a server has to listen somewhere".into());
    }
    if builder.listen.len() > MOST_LISTENERS {
        return invalid(format!("a server has at most {MOST_LISTENERS} listeners"));
    }
    match builder.listen.iter().find(|(port, _)| *port >= ports) {
        Some((port, at)) => invalid(format!("{at} is for port {port} of a server with {ports}")),
        None => Ok(()),
    }
}

/// Raises the limit of descriptors to what the limits call for; lowers these if that is refused.
fn fit_descriptors(mut limits: Limits, shards: usize, listeners: usize) -> Limits {
    let others = OTHER_DESCRIPTORS + shards * (DESCRIPTORS_PER_SHARD + listeners);
    let wanted = limits.connections.saturating_add(others);
    match raise_descriptor_limit(wanted as u64) {
        Ok(limit) if limit < wanted as u64 => {
            let connections = (limit as usize).saturating_sub(others).max(1);
            tracing::warn!(
                wanted = limits.connections,
                connections,
                "the limit of open files allows for fewer connections",
            );
            limits.connections = connections;
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "can't read or raise the limit of open files"),
    }
    limits
}

/// Starts a thread per shard, each with the reactor that `make` makes there.
fn run<C: Commands, R: Reactor>(
    plan: Plan<C>,
    make: impl Fn(Parts) -> io::Result<R> + Clone + Send + 'static,
) -> Result<Runtime, Error> {
    let process = plan.process.clone();
    let with_signals = plan.signals;
    let starting = Starting::spawn_all(plan, make)?;
    let signals = match with_signals.then(|| Signals::install(process.clone())).transpose() {
        Ok(signals) => signals,
        Err(error) => return Err(starting.abandon(Error::Signals(error))),
    };
    Ok(Runtime { process, shards: starting.release(), signals })
}

/// Threads that are ready to serve, or about to say that they are not.
struct Starting {
    threads: Vec<JoinHandle<Result<(), Error>>>,
    /// One per thread: a word lets it go, the end of the channel ends it.
    gates: Vec<mpsc::SyncSender<()>>,
}

impl Starting {
    fn spawn_all<C: Commands, R: Reactor>(
        plan: Plan<C>,
        make: impl Fn(Parts) -> io::Result<R> + Clone + Send + 'static,
    ) -> Result<Self, Error> {
        let shards = plan.cores.len();
        let mut starting = Starting { threads: Vec::new(), gates: Vec::new() };
        let (report, reports) = mpsc::channel();
        for (shard, mesh) in Mesh::connect(shards).into_iter().enumerate() {
            let spawned = plan.seed(shard, mesh).and_then(|seed| {
                let (gate, opened) = mpsc::sync_channel(1);
                let (report, make) = (report.clone(), make.clone());
                let thread = std::thread::Builder::new()
                    .name(format!("shard-{shard}"))
                    .spawn(move || seed.live(make, report, opened))?;
                Ok((thread, gate))
            });
            match spawned {
                Ok((thread, gate)) => {
                    starting.threads.push(thread);
                    starting.gates.push(gate);
                }
                Err(source) => return Err(starting.abandon(Error::Shard { shard, source })),
            }
        }
        drop((plan, report));
        // A thread that panicked reports nothing; it is found when all are joined.
        let failed = reports.iter().find_map(Result::err);
        match failed {
            Some(error) => Err(starting.abandon(error)),
            None => Ok(starting),
        }
    }

    fn release(self) -> Vec<JoinHandle<Result<(), Error>>> {
        for gate in &self.gates {
            // A thread that is not there any more has told why.
            let _ = gate.send(());
        }
        self.threads
    }

    /// Ends the threads, so that nothing is left of them.
    fn abandon(self, error: Error) -> Error {
        drop(self.gates);
        for thread in self.threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        error
    }
}

/// What a shard's thread is given.
struct Seed<C: Commands, R: Reactor> {
    place: Place,
    core: Option<usize>,
    is_crowded: bool,
    settings: Arc<<C::Store as Store>::Settings>,
    limits: Limits,
    hasher: KeyHasher,
    random: u64,
    mesh: Mesh<Mail<C, R>>,
    parts: Parts,
    files: Arc<Vec<SocketFile>>,
}

impl<C: Commands> Plan<C> {
    fn seed<R: Reactor>(&self, shard: usize, mesh: Mesh<Mail<C, R>>) -> io::Result<Seed<C, R>> {
        let listeners = self.listeners.iter().map(Listener::try_clone);
        Ok(Seed {
            place: Place { shard, shards: self.cores.len() },
            core: self.cores[shard],
            is_crowded: self.is_crowded,
            settings: self.settings.clone(),
            limits: self.limits,
            hasher: self.hasher.clone(),
            random: RandomState::new().hash_one(shard),
            mesh,
            parts: Parts {
                shard,
                listeners: listeners.collect::<io::Result<_>>()?,
                keepalive: self.keepalive,
                clock: self.clock,
                process: self.process.clone(),
            },
            files: self.files.clone(),
        })
    }
}

impl<C: Commands, R: Reactor> Seed<C, R> {
    /// A shard's life, on its own thread.
    fn live(
        self,
        make: impl Fn(Parts) -> io::Result<R>,
        report: mpsc::Sender<Result<(), Error>>,
        opened: mpsc::Receiver<()>,
    ) -> Result<(), Error> {
        let Place { shard, .. } = self.place;
        let (process, files) = (self.parts.process.clone(), self.files.clone());
        let made = self.make_shard(make);
        let (made, failed) = match made {
            Ok(made) => (Some(made), Ok(())),
            Err(error) => (None, Err(error)),
        };
        // Whoever starts us listens until every shard has reported.
        let _ = report.send(failed);
        drop(report);
        let (Some(shard_made), Ok(())) = (made, opened.recv()) else { return Ok(()) };
        let end = EndOfShard { process, is_orderly: false };
        let result = shard_made.run().map_err(|source| Error::Shard { shard, source });
        end.note(&result);
        drop(files);
        result
    }

    fn make_shard(self, make: impl Fn(Parts) -> io::Result<R>) -> Result<Shard<C, R>, Error> {
        let Place { shard, .. } = self.place;
        if let Some(core) = self.core
            && let Err(error) = crate::sys::pin_to_core(core)
        {
            tracing::warn!(%error, shard, core, "can't keep the shard on its core");
        }
        let process = self.parts.process.clone();
        let server = Server::new(self.place, process, self.limits, self.random, R::NAME);
        let reactor = make(self.parts).map_err(|source| Error::Shard { shard, source })?;
        let store = C::Store::open(&self.settings, self.place, &self.hasher);
        Ok(Shard::new(ShardParts {
            server,
            reactor,
            store: store.map_err(|source| Error::Open { shard, source })?,
            mesh: self.mesh,
            hasher: self.hasher,
            is_crowded: self.is_crowded,
        }))
    }
}

/// Stops the server when a shard ends that nobody stopped: without it the others, which wait for
/// its answers, would serve nobody and not end either.
struct EndOfShard {
    process: Arc<Process>,
    is_orderly: bool,
}

impl EndOfShard {
    fn note(mut self, result: &Result<(), Error>) {
        self.is_orderly = result.is_ok();
        if let Err(error) = result {
            tracing::error!(%error, "a shard broke, the server stops");
        }
    }
}

impl Drop for EndOfShard {
    fn drop(&mut self) {
        if !self.is_orderly {
            self.process.abandon();
        }
    }
}
