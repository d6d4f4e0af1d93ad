//! A whole server on one thread, from a seed: shards, mesh and stages as they are, over connections
//! in memory and a clock that the test turns.
//!
//! ```text
//! Simulation ── step: draws a shard, runs one turn of it
//!   shards      the real ones, with the real rings between them
//!   network     per client two queues; how much arrives when is drawn
//!   pool        what handlers offload is done between turns, in an order that is drawn
//!   time        stands still until `advance`
//! ```
//!
//! A failing seed replays exactly. A test that wants one interleaving and no other writes it down:
//! [`Simulation::scripted`], [`Simulation::step_shard`], [`Simulation::hold`].

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::commands::{Commands, Place, Store};
use crate::cx::{Caller, Cx, Server};
use crate::hash::{KeyHasher, shard_of};
use crate::limits::Limits;
use crate::mesh::Mesh;
use crate::offload::PoolSize;
use crate::reactor::Reactor;
use crate::reactor::sim::{Network, Pipe, SimReactor};
use crate::runtime::{Listen, Listening, Process};
use crate::shard::{Shard, ShardParts};

/// Most bytes of one receive: small, so that requests arrive in pieces, or large, so that turns get
/// more than they take.
const CHUNKS: [usize; 3] = [4096, 256 * 1024, 24];

/// Items that a ring holds: as in a server, or so few that it is full most of the time.
const RINGS: [usize; 2] = [256, 2];

/// Offloaded requests that may wait.
const OFFLOAD_QUEUE: usize = 8;

/// A simulated client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client(usize);

/// A simulated server.
pub struct Simulation<C: Commands> {
    shards: Vec<Shard<C, SimReactor>>,
    network: Rc<RefCell<Network>>,
    process: Arc<Process>,
    hasher: KeyHasher,
}

impl<C: Commands> Simulation<C> {
    /// A server of so many shards. The same seed gives the same run.
    ///
    /// # Panics
    /// Without a shard, or when a store doesn't open.
    pub fn new(settings: &<C::Store as Store>::Settings, shards: usize, seed: u64) -> Self {
        Simulation::with_limits(settings, shards, seed, Limits::default())
    }

    /// The same with other limits.
    ///
    /// # Panics
    /// Without a shard, or when a store doesn't open.
    pub fn with_limits(
        settings: &<C::Store as Store>::Settings,
        shards: usize,
        seed: u64,
        limits: Limits,
    ) -> Self {
        assert!(shards > 0, "a server has a shard");
        let start_ms = 1_700_000_000_000;
        let network = Rc::new(RefCell::new(Network {
            pipes: Vec::new(),
            waiting: VecDeque::new(),
            now_ns: start_ms * 1_000_000,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            chunk: CHUNKS[(seed >> 1) as usize % CHUNKS.len()],
            is_prompt: false,
            held: Vec::new(),
        }));
        let listening =
            |port| Listening { port, at: Listen::Unix { path: "sim".into(), mode: None } };
        let process = Arc::new(Process::new::<C>(
            start_ms,
            (0..C::ports().len()).map(listening).collect(),
            Vec::new(),
            shards,
            PoolSize { threads: 0, queue: OFFLOAD_QUEUE },
        ));
        let hasher = KeyHasher::seeded(seed);
        let shard = |(shard, mesh)| {
            let place = Place { shard, shards };
            let server =
                Server::new(place, process.clone(), limits, seed ^ shard as u64, SimReactor::NAME);
            server.wall_clock.set(Some(Duration::from_millis(start_ms)));
            Shard::new(ShardParts {
                store: C::Store::open(settings, place, &hasher)
                    .unwrap_or_else(|error| panic!("a simulated store opens: {error}")),
                server,
                reactor: SimReactor::new(network.clone(), shard),
                mesh,
                hasher: hasher.clone(),
                is_crowded: seed & 1 == 1,
            })
        };
        let ring = RINGS[(seed >> 3) as usize % RINGS.len()];
        let shards = Mesh::connect_with(shards, ring).into_iter().enumerate().map(shard).collect();
        Simulation { shards, network, process, hasher }
    }

    /// A server in which nothing is drawn: what was sent arrives whole with the next turn, and every
    /// turn publishes. The test says which shard gets the next turn, and which mail it gets.
    ///
    /// # Panics
    /// Without a shard.
    pub fn scripted(
        settings: &<C::Store as Store>::Settings,
        shards: usize,
        limits: Limits,
    ) -> Self {
        let simulation = Simulation::with_limits(settings, shards, 0, limits);
        simulation.network.borrow_mut().is_prompt = true;
        simulation
    }

    /// Holds back what `from` sends to `to`, or lets it through from now on.
    pub fn hold(&mut self, from: usize, to: usize, is_held: bool) {
        let held = &mut self.network.borrow_mut().held;
        held.retain(|pair| *pair != (from, to));
        held.extend(is_held.then_some((from, to)));
    }

    /// The shard that owns a key.
    pub fn owner(&self, key: &[u8]) -> usize {
        shard_of(self.hasher.hash(C::Store::placement(key)), self.shards.len())
    }

    /// The shard that a client's connection lives on, once it was taken in.
    pub fn home(&self, client: Client) -> Option<usize> {
        self.shards.iter().position(|shard| shard.reactor().serves(client.0))
    }

    /// Connects to a port.
    pub fn connect(&mut self, port: usize) -> Client {
        let mut network = self.network.borrow_mut();
        let client = network.pipes.len();
        network.pipes.push(Pipe { is_taking: true, ..Pipe::default() });
        network.waiting.push_back((client as u64, port as u16));
        Client(client)
    }

    /// Sends bytes; they arrive in pieces, as turns go by.
    pub fn send(&mut self, client: Client, bytes: &[u8]) {
        self.network.borrow_mut().pipes[client.0].to_server.extend(bytes);
    }

    /// Takes what has come back so far.
    pub fn receive(&mut self, client: Client) -> Vec<u8> {
        std::mem::take(&mut self.network.borrow_mut().pipes[client.0].to_client)
    }

    /// Sends, runs until nothing happens any more, and takes what came back.
    pub fn call(&mut self, client: Client, bytes: &[u8]) -> Vec<u8> {
        self.send(client, bytes);
        self.run();
        self.receive(client)
    }

    /// Whether the client takes what is sent to it. Off, the server's sends don't come through.
    pub fn set_taking(&mut self, client: Client, taking: bool) {
        self.network.borrow_mut().pipes[client.0].is_taking = taking;
    }

    /// The client sends no more, and still reads.
    pub fn end(&mut self, client: Client) {
        self.network.borrow_mut().pipes[client.0].is_ended = true;
    }

    /// The client is gone, whatever was on its way.
    pub fn disconnect(&mut self, client: Client) {
        self.network.borrow_mut().pipes[client.0].is_broken = true;
    }

    /// Whether the server closed the connection.
    pub fn is_closed(&self, client: Client) -> bool {
        self.network.borrow().pipes[client.0].is_closed
    }

    /// Bytes that the server has not taken yet.
    pub fn unread(&self, client: Client) -> usize {
        self.network.borrow().pipes[client.0].to_server.len()
    }

    /// Lets time pass.
    pub fn advance(&mut self, time: Duration) {
        self.network.borrow_mut().now_ns += time.as_nanos() as u64;
        let wall = Duration::from_nanos(self.network.borrow().now_ns);
        for shard in &self.shards {
            shard.server().wall_clock.set(Some(wall));
        }
    }

    /// The time, in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.network.borrow().now_ns / 1_000_000
    }

    /// A word from the simulation's seed.
    pub fn random(&mut self) -> u64 {
        self.network.borrow_mut().random()
    }

    /// Whether something has come back that was not taken.
    pub fn has_output(&self, client: Client) -> bool {
        !self.network.borrow().pipes[client.0].to_client.is_empty()
    }

    /// Runs one turn of this shard. Answers whether it found anything to do.
    pub fn step_shard(&mut self, shard: usize) -> bool {
        self.turn(shard)
    }

    /// Runs one turn of a shard that is drawn. Answers whether it found anything to do.
    pub fn step(&mut self) -> bool {
        let shard = self.random() as usize % self.shards.len();
        let has_run = self.process.pool.has_waiting() && self.random() & 3 == 0 && self.run_task();
        self.turn(shard) || has_run
    }

    /// Does one task that a handler offloaded, which one is drawn.
    fn run_task(&mut self) -> bool {
        let word = self.random();
        self.process.pool.run_one(word)
    }

    fn turn(&mut self, shard: usize) -> bool {
        match self.shards[shard].turn() {
            Ok(worked) => worked,
            Err(error) => unreachable!("a simulated reactor doesn't break: {error}"),
        }
    }

    /// Runs turns of all shards, in an order that is drawn, until nothing happens any more.
    pub fn run(&mut self) {
        // Whether bytes arrive in a turn is drawn too, so quiet means quiet for a while.
        let mut quiet = 0;
        while quiet < 24 * self.shards.len() {
            quiet = if self.step() { 0 } else { quiet + 1 };
        }
        // Seldom something was missed, and what a shard does then gives others work.
        let mut is_quiet = false;
        while !is_quiet {
            is_quiet = !(self.process.pool.has_waiting() && self.run_task());
            for shard in 0..self.shards.len() {
                let mut turns = 0;
                while turns < 24 {
                    let worked = self.turn(shard);
                    is_quiet &= !worked;
                    turns = if worked { 0 } else { turns + 1 };
                }
            }
        }
    }

    /// Lets `see` look at a shard's store and at what its handlers see of the runtime.
    pub fn with_shard<T>(
        &mut self,
        shard: usize,
        see: impl FnOnce(&mut C::Store, &Server) -> T,
    ) -> T {
        self.shards[shard].with_parts(see)
    }

    /// Calls `run` with a request's surroundings on a shard, as a handler would get them.
    pub fn with_cx<T>(
        &mut self,
        shard: usize,
        scope: u64,
        run: impl FnOnce(&mut C::Store, &Cx<'_>) -> T,
    ) -> T {
        let now_ms = self.network.borrow().now_ns / 1_000_000;
        self.with_shard(shard, |store, server| {
            run(store, &Cx { now_ms, scope, server, caller: Caller::Nobody })
        })
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Sockets that the server holds open.
    pub fn open_sockets(&self) -> usize {
        self.shards.iter().map(|shard| shard.reactor().open_sockets()).sum()
    }

    /// What the shards share, with the way to stop.
    pub fn process(&self) -> &Process {
        &self.process
    }
}
