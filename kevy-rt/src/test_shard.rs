//! Tests of command sets without sockets: a whole server on the test's own thread, and clients that
//! call it.
//!
//! ```text
//! TestShard    a server of so many shards, with a clock that the test turns
//! TestClient   one connection to it
//! ClientSide   what the wire adds: how a request is written, how a reply is read
//! ```
//!
//! It stands on [`sim`](crate::sim), so a request takes the way that it takes in a server: it is
//! parsed, routed, sent through the mesh, gathered or ordered, and answered in turn. Nothing runs
//! but what the test lets run, and the same seed gives the same run.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use crate::commands::{Commands, Store};
use crate::cx::Server;
use crate::limits::Limits;
use crate::sim::{Client, Simulation};
use crate::wire::Wire;

/// Most bytes of a request or reply that a failing test prints.
const SHOWN_BYTES: usize = 200;

/// A wire as its clients see it: what [`TestClient::call`] needs.
pub trait ClientSide: Wire {
    /// A reply as a client reads it.
    type Answer: fmt::Debug;

    /// Writes the request with these arguments, the verb first.
    fn request(arguments: &[&[u8]], out: &mut Vec<u8>);

    /// Reads the reply at the start of `input`, and how many bytes it takes; `None` if it is not
    /// there whole.
    ///
    /// # Errors
    /// What is wrong with the bytes, if they are no reply.
    fn answer(input: &[u8]) -> Result<Option<(Self::Answer, usize)>, String>;
}

/// A server without sockets and threads, for tests of its commands.
///
/// ```text
/// let server = TestShard::<Limiter>::new((), 5);
/// let mut client = server.connect::<Lines>();
/// assert_eq!(client.call(["take", "door", "3"]), "7");
/// ```
///
/// Its methods take `&self`, so that it and several clients can be used side by side.
pub struct TestShard<C: Commands> {
    simulation: Rc<RefCell<Simulation<C>>>,
}

impl<C: Commands> TestShard<C> {
    /// A server of so many shards, with the usual limits and the seed 0.
    ///
    /// # Panics
    /// Without a shard.
    pub fn new(settings: <C::Store as Store>::Settings, shards: usize) -> Self {
        TestShard::seeded(settings, shards, 0)
    }

    /// The same from another seed, which decides where keys live, in which pieces requests arrive,
    /// and in which order shards run.
    ///
    /// # Panics
    /// Without a shard.
    pub fn seeded(settings: <C::Store as Store>::Settings, shards: usize, seed: u64) -> Self {
        let simulation = Simulation::new(&settings, shards, seed);
        TestShard { simulation: Rc::new(RefCell::new(simulation)) }
    }

    /// Connects to the first port that speaks `W`.
    ///
    /// # Panics
    /// If the server has none.
    pub fn connect<W: Wire>(&self) -> TestClient<C, W> {
        let port = C::ports().iter().position(|port| port.speaks::<W>());
        let name = std::any::type_name::<W>();
        self.connect_to(port.unwrap_or_else(|| panic!("no port of this server speaks {name}")))
    }

    /// Connects to a port of the server's list, which speaks `W`.
    ///
    /// # Panics
    /// If there is none of this number, or it speaks something else.
    pub fn connect_to<W: Wire>(&self, port: usize) -> TestClient<C, W> {
        assert!(C::ports()[port].speaks::<W>(), "port {port} speaks another wire");
        TestClient {
            client: self.simulation.borrow_mut().connect(port),
            simulation: self.simulation.clone(),
            input: Vec::new(),
            wire: PhantomData,
        }
    }

    /// Lets time pass, and then runs what became due.
    pub fn advance(&self, time: Duration) {
        self.simulation.borrow_mut().advance(time);
        self.run();
    }

    /// The server's time, in milliseconds since the Unix epoch: what [`Cx::now_ms`](crate::Cx::now_ms)
    /// gives.
    pub fn now_ms(&self) -> u64 {
        self.simulation.borrow().now_ms()
    }

    /// Runs until nothing happens any more.
    pub fn run(&self) {
        self.simulation.borrow_mut().run();
    }

    /// Runs one turn of a shard that is drawn by the seed; answers whether it found anything to do.
    pub fn step(&self) -> bool {
        self.simulation.borrow_mut().step()
    }

    /// How many shards it has.
    pub fn shards(&self) -> usize {
        self.simulation.borrow().shards()
    }

    /// The shard that owns a key.
    pub fn owner(&self, key: impl AsRef<[u8]>) -> usize {
        self.simulation.borrow().owner(key.as_ref())
    }

    /// A key of each shard, in their order: for commands over keys of several shards.
    pub fn keys_apart(&self) -> Vec<String> {
        let owns = |shard| move |key: &String| self.owner(key) == shard;
        let key = |shard| (0..).map(|number| format!("key{number}")).find(owns(shard));
        (0..self.shards()).filter_map(key).collect()
    }

    /// Lets `see` look at a shard's store.
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn store<T>(&self, shard: usize, see: impl FnOnce(&mut C::Store) -> T) -> T {
        self.simulation.borrow_mut().with_shard(shard, |store, _| see(store))
    }

    /// Lets `see` look at what a shard's handlers see of the runtime: counters, connections.
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn server<T>(&self, shard: usize, see: impl FnOnce(&Server) -> T) -> T {
        self.simulation.borrow_mut().with_shard(shard, |_, server| see(server))
    }

    /// Changes the limits of all shards.
    pub fn set_limits(&self, limits: Limits) {
        (0..self.shards()).for_each(|shard| self.server(shard, |server| server.set_limits(limits)));
    }
}

impl<C: Commands> fmt::Debug for TestShard<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestShard").field("shards", &self.shards()).finish_non_exhaustive()
    }
}

/// One connection to a [`TestShard`].
pub struct TestClient<C: Commands, W> {
    simulation: Rc<RefCell<Simulation<C>>>,
    client: Client,
    /// What came back and was not taken.
    input: Vec<u8>,
    wire: PhantomData<W>,
}

impl<C: Commands, W: ClientSide> TestClient<C, W> {
    /// Sends a request, runs the server until nothing happens any more, and takes the reply.
    ///
    /// # Panics
    /// If no reply comes, if it can't be read, or if there is one to something before that was not
    /// taken.
    pub fn call<A: AsRef<[u8]>>(&mut self, arguments: impl IntoIterator<Item = A>) -> W::Answer {
        self.simulation.borrow_mut().run();
        if let Some(earlier) = self.receive() {
            panic!("take what came before with `receive` first: {earlier:?}");
        }
        let request = request::<W, A>(arguments);
        let reply = self.exchange(&request);
        let Some((answer, taken)) = read::<W>(&reply) else {
            let closed = if self.is_closed() { ": the connection is closed" } else { "" };
            panic!("no reply to {}{closed}", shown(&request));
        };
        self.input = reply[taken..].to_vec();
        answer
    }

    /// Sends a request, and runs nothing.
    pub fn send<A: AsRef<[u8]>>(&mut self, arguments: impl IntoIterator<Item = A>) {
        self.send_bytes(&request::<W, A>(arguments));
    }

    /// Takes the next reply, if it has come; runs nothing.
    ///
    /// # Panics
    /// If it can't be read.
    pub fn receive(&mut self) -> Option<W::Answer> {
        let mut input = self.receive_bytes();
        let (answer, taken) =
            read::<W>(&input).map(|(answer, taken)| (Some(answer), taken)).unwrap_or_default();
        input.drain(..taken);
        self.input = input;
        answer
    }
}

impl<C: Commands, W: Wire> TestClient<C, W> {
    /// Sends bytes, runs the server until nothing happens any more, and takes all that came back.
    pub fn exchange(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.send_bytes(bytes);
        self.simulation.borrow_mut().run();
        self.receive_bytes()
    }

    /// Sends bytes, and runs nothing.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.simulation.borrow_mut().send(self.client, bytes);
    }

    /// Takes the bytes that have come back; runs nothing.
    pub fn receive_bytes(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.input);
        bytes.append(&mut self.simulation.borrow_mut().receive(self.client));
        bytes
    }

    /// Whether the client takes what is sent to it; off, replies pile up in the server.
    pub fn set_taking(&mut self, taking: bool) {
        self.simulation.borrow_mut().set_taking(self.client, taking);
    }

    /// Sends nothing more; replies still come.
    pub fn end(&mut self) {
        self.simulation.borrow_mut().end(self.client);
    }

    /// Breaks the connection, whatever is on its way, and lets the server notice.
    pub fn disconnect(self) {
        let mut simulation = self.simulation.borrow_mut();
        simulation.disconnect(self.client);
        simulation.run();
    }

    /// Whether the server closed the connection.
    pub fn is_closed(&self) -> bool {
        self.simulation.borrow().is_closed(self.client)
    }
}

impl<C: Commands, W> fmt::Debug for TestClient<C, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient").field("client", &self.client).finish_non_exhaustive()
    }
}

fn request<W: ClientSide, A: AsRef<[u8]>>(arguments: impl IntoIterator<Item = A>) -> Vec<u8> {
    let arguments: Vec<A> = arguments.into_iter().collect();
    let arguments: Vec<&[u8]> = arguments.iter().map(AsRef::as_ref).collect();
    let mut out = Vec::new();
    W::request(&arguments, &mut out);
    out
}

fn read<W: ClientSide>(input: &[u8]) -> Option<(W::Answer, usize)> {
    W::answer(input).unwrap_or_else(|wrong| panic!("no reply, {wrong}: {}", shown(input)))
}

fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(SHOWN_BYTES)].escape_ascii().to_string()
}
