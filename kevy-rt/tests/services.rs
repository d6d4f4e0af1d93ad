//! What a server of one's own needs beside commands: stores that don't open, beginnings and ends of
//! connections, work beside the shards, timers, messages, replies in pieces, settings, overload, the
//! end of a server that owes something.

mod toy;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use kevy_rt::sim::{Client, Simulation};
use kevy_rt::{
    Builder, Close, ConnHandle, Cx, Error, Key, KeyHasher, Limits, Listen, Message, Offload, Open,
    OpenError, Out, Peer, Place, ReactorChoice, Reply, Runtime, Session, Setting, Step, Store,
    Streamed, TimerId, View, commands, server,
};
use toy::{Complaint, Lines, Said, text};

/// How many shards a server of these tests has.
const SHARDS: [usize; 3] = [1, 2, 5];

fn reactors() -> Vec<ReactorChoice> {
    let without = std::env::var("KEVY_WITHOUT_URING").is_ok_and(|value| value == "1");
    let uring = (cfg!(target_os = "linux") && !without).then_some(ReactorChoice::Uring);
    uring.into_iter().chain([ReactorChoice::Poll]).collect()
}

/// Runs `test` for each reactor and number of shards, with what makes a server of them.
fn each_server(test: impl Fn(usize, &dyn Fn(Settings) -> Builder<Server>)) {
    for reactor in reactors() {
        for shards in SHARDS {
            test(shards, &|settings| {
                let at = Listen::Tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
                let builder = Builder::new(settings).signals(false).reactor(reactor);
                builder.shards(shards).listen(0, at)
            });
        }
    }
}

fn connect(server: &Runtime) -> TcpStream {
    let Listen::Tcp(at) = server.process().listeners()[0].at else { panic!("it is TCP") };
    TcpStream::connect((Ipv4Addr::LOCALHOST, at.port())).expect("it listens")
}

fn call(client: &mut TcpStream, request: &str) -> String {
    client.write_all(request.as_bytes()).expect("it reads");
    line(client)
}

fn line(client: &mut TcpStream) -> String {
    let mut reply = Vec::new();
    while reply.last() != Some(&b'\n') {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("it answers");
        reply.extend(byte);
    }
    String::from_utf8(reply).expect("it is text").trim().to_owned()
}

fn stop(server: Runtime) {
    server.process().stop();
    server.join().expect("it ends well");
}

/// What the tests see of all shards.
#[derive(Clone, Debug)]
struct Settings {
    /// The shard whose store doesn't open.
    broken: Option<usize>,
    /// Stores that are open.
    open: Arc<AtomicUsize>,
    /// Connections whose beginning was told, and whose end.
    began: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
    /// What holds offloaded work up: each takes one word from it.
    gate: Option<Arc<Mutex<mpsc::Receiver<()>>>>,
    /// What was offloaded, in the order in which it was done.
    log: Arc<Mutex<Vec<u64>>>,
    /// Held by each reply in pieces that is under way.
    streams: Arc<()>,
    /// Changed while the server runs.
    motto: Setting<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            broken: None,
            open: Arc::default(),
            began: Arc::default(),
            ended: Arc::default(),
            gate: None,
            log: Arc::default(),
            streams: Arc::default(),
            motto: Setting::new("slow".to_owned()),
        }
    }
}

/// A store that knows who is connected.
#[derive(Debug)]
struct Db {
    settings: Settings,
    guests: Vec<u64>,
    members: RefCell<Vec<ConnHandle>>,
    words: BTreeMap<Vec<u8>, Vec<u8>>,
    timer: Cell<Option<TimerId>>,
    /// Steps of replies in pieces.
    steps: Cell<u64>,
    motto: View<String>,
}

impl Drop for Db {
    fn drop(&mut self) {
        self.settings.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Store for Db {
    type Settings = Settings;

    fn begin(&mut self, _: u64) {
        self.motto.refresh();
    }

    fn open(settings: &Settings, place: Place, _: &KeyHasher) -> Result<Self, OpenError> {
        if settings.broken == Some(place.shard) {
            return Err("its file is torn".into());
        }
        settings.open.fetch_add(1, Ordering::SeqCst);
        Ok(Db {
            settings: settings.clone(),
            guests: Vec::new(),
            members: RefCell::default(),
            words: BTreeMap::new(),
            timer: Cell::default(),
            steps: Cell::default(),
            motto: settings.motto.view(),
        })
    }
}

impl Db {
    /// The list of the numbers below `n`, some at a time.
    fn numbers(&self, n: u64) -> Streamed<Db, Lines> {
        let (token, mut next) = (self.settings.streams.clone(), None);
        Streamed::new(move |db: &Db, _, reply: &mut Reply<'_, Lines>| {
            let _ = &token;
            db.steps.set(db.steps.get() + 1);
            let Some(start) = next else {
                reply.out().extend(format!("*{n}\n").as_bytes());
                next = Some(0);
                return Step::More;
            };
            let end = n.min(start + 20);
            (start..end).for_each(|number| reply.put(number));
            assert!(n != 2000 || end < 1300, "as asked");
            next = Some(end);
            if end < n { Step::More } else { Step::Done }
        })
    }
}

/// One part of a session, and another.
#[derive(Debug)]
struct Guest(u64);

#[derive(Debug)]
struct Counted;

impl Guest {
    fn open(db: &mut Db, cx: &Cx<'_>) -> Self {
        let id = cx.conn().expect("somebody connects").id;
        db.guests.push(id);
        Guest(id)
    }

    fn close(self, db: &mut Db, cx: &Cx<'_>) {
        assert_eq!(cx.conn().map(|conn| conn.id), Some(self.0));
        db.guests.retain(|guest| *guest != self.0);
    }
}

/// The session of the port: both.
#[derive(Debug)]
struct Both {
    guest: Guest,
    counted: Counted,
}

impl Session for Both {}

impl Open<Db> for Both {
    fn open(db: &mut Db, cx: &Cx<'_>, greeting: &mut Out) -> Option<Self> {
        greeting.extend(b"+hello\n");
        db.settings.began.fetch_add(1, Ordering::SeqCst);
        Some(Both { guest: Guest::open(db, cx), counted: Counted })
    }

    fn close(self, db: &mut Db, cx: &Cx<'_>) {
        let Both { guest, counted: Counted } = self;
        guest.close(db, cx);
        db.settings.ended.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Debug)]
struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    /// How many connections there are, as the hooks count them.
    #[command(route = all, loose, gather = sum)]
    fn guests(db: &Db) -> u64 {
        db.guests.len() as u64
    }

    /// Where the connection comes from, and to what.
    #[command(route = local)]
    fn addresses(cx: &Cx) -> Option<Vec<u8>> {
        let conn = cx.conn()?;
        Some(format!("{} {}", conn.peer, conn.local).into_bytes())
    }

    /// Answers its argument.
    #[command(route = local)]
    fn echo(text: &[u8]) -> &[u8] {
        text
    }

    /// Sets a key.
    #[command(route = single(1), write)]
    fn set(db: &mut Db, key: Key<'_>, value: &[u8]) -> Said {
        db.words.insert(key.bytes().to_vec(), value.to_vec());
        Said("OK")
    }

    /// From here on the connection is told what others say.
    #[command(route = local)]
    fn join(db: &Db, cx: &Cx) -> Said {
        db.members.borrow_mut().extend(cx.caller());
        Said("OK")
    }

    /// Tells all who joined; answers how many.
    #[command(route = all, loose, gather = sum)]
    fn say(db: &Db, cx: &Cx, word: &[u8]) -> u64 {
        let members = db.members.borrow();
        let told = members.iter().filter(|member| cx.server().push(**member, &news(word)));
        told.count() as u64
    }

    /// Tells the connection its own word, from the key's shard.
    #[command(route = single(1))]
    fn answer_from(db: &Db, cx: &Cx, key: Key<'_>, word: &[u8]) -> Said {
        let _ = (db, key);
        let Some(caller) = cx.caller() else { return Said("NOBODY") };
        cx.server().push(caller, &news(word));
        Said("OK")
    }

    /// Says goodbye and closes.
    #[command(route = local)]
    fn bye(cx: &Cx) -> Said {
        cx.close(Close::AfterReplies);
        Said("BYE")
    }

    /// Closes without a word.
    #[command(route = local)]
    fn drop(cx: &Cx) -> Said {
        cx.close(Close::Now);
        Said("NEVER")
    }

    /// Says goodbye and closes, from the key's shard.
    #[command(route = single(1))]
    fn bye_from(db: &Db, cx: &Cx, key: Key<'_>) -> Said {
        let _ = (db, key);
        cx.close(Close::AfterReplies);
        Said("BYE")
    }

    /// Doubles a number, beside the shards.
    #[command(route = local)]
    fn double(db: &Db, n: u64) -> Offload<u64> {
        let Settings { gate, log, .. } = db.settings.clone();
        Offload::new(move || {
            if let Some(gate) = gate {
                gate.lock().unwrap().recv().expect("the test opens it");
            }
            assert_ne!(n, 13, "as asked");
            log.lock().unwrap().push(n);
            2 * n
        })
    }

    /// A key's value backwards, by work beside the key's shard.
    #[command(route = single(1))]
    fn reversed(db: &Db, key: Key<'_>) -> Offload<Option<Vec<u8>>> {
        let value = db.words.get(key.bytes()).cloned();
        Offload::new(move || value.map(|value| value.into_iter().rev().collect()))
    }

    /// Tells the connection a word, so much later.
    #[command(route = local)]
    fn remind(db: &Db, cx: &Cx, ms: u64, word: &[u8]) -> Result<Said, Complaint> {
        let (caller, message) = (cx.caller(), news(word));
        let timer = cx.after(Duration::from_millis(ms), move |db: &mut Db, cx| {
            db.timer.set(None);
            if let Some(caller) = caller {
                cx.server().push(caller, &message);
            }
        })?;
        db.timer.set(Some(timer));
        Ok(Said("OK"))
    }

    /// Tells the connection the time, again and again, so many times.
    #[command(route = local)]
    fn tick(db: &Db, cx: &Cx, ms: u64, mut times: u64) -> Result<Said, Complaint> {
        let caller = cx.caller();
        let timer = cx.every(Duration::from_millis(ms), move |db: &mut Db, cx| {
            times -= 1;
            let word = format!("{}:{times}", cx.now_ms() % 100_000);
            if let Some(caller) = caller {
                cx.server().push(caller, &news(word.as_bytes()));
            }
            if times == 0 {
                assert!(cx.cancel(db.timer.take().expect("it runs")));
            }
        })?;
        db.timer.set(Some(timer));
        Ok(Said("OK"))
    }

    /// Ends this shard's last timer; answers whether it was still to run.
    #[command(route = local)]
    fn forget(db: &Db, cx: &Cx) -> u64 {
        u64::from(db.timer.take().is_some_and(|timer| cx.cancel(timer)))
    }

    /// The numbers below `n`.
    #[command(route = local)]
    fn count(db: &Db, n: u64) -> Streamed<Db, Lines> {
        db.numbers(n)
    }

    /// The same, made by the key's shard.
    #[command(route = single(1))]
    fn count_from(db: &Db, key: Key<'_>, n: u64) -> Streamed<Db, Lines> {
        let _ = key;
        db.numbers(n)
    }

    /// A key's value.
    #[command(route = single(1))]
    fn get(db: &Db, key: Key<'_>) -> Option<&[u8]> {
        db.words.get(key.bytes()).map(|word| word.as_slice())
    }

    /// What the settings say.
    #[command(route = local)]
    fn motto(db: &Db) -> Vec<u8> {
        db.motto.clone().into_bytes()
    }

    /// Requests are queued from here on.
    #[command(route = queue(open))]
    fn multi() {}

    /// Runs what was queued.
    #[command(route = queue(run))]
    fn exec() {}
}

/// A word that comes by itself.
fn news(word: &[u8]) -> Message {
    let line = [b"!", word, b"\n"].concat();
    Message::new(move |reply: &mut Reply<'_, Lines>| reply.out().extend(&line))
}

server! { Server: store = Db, ports = [ Lines, Both => [Set] ] }

#[test]
fn a_store_that_does_not_open_ends_all_shards() {
    each_server(|shards, builder| {
        for broken in [0, shards - 1] {
            let settings = Settings { broken: Some(broken), ..Settings::default() };
            let error = builder(settings.clone()).start().expect_err("a store doesn't open");
            assert!(matches!(error, Error::Open { shard, .. } if shard == broken), "{error}");
            let said = format!("shard {broken} can't open its store: its file is torn");
            assert_eq!(error.to_string(), said);
            assert_eq!(settings.open.load(Ordering::SeqCst), 0);
        }
    });
}

#[test]
fn each_beginning_of_a_connection_has_its_end() {
    each_server(|_, builder| {
        let settings = Settings::default();
        let server = builder(settings.clone()).start().expect("it starts");
        let mut clients: Vec<_> = (0..7).map(|_| connect(&server)).collect();
        for client in &mut clients {
            assert_eq!(line(client), "+hello");
        }
        assert_eq!(call(&mut clients[0], "guests\n"), ":7");
        drop(clients.pop());
        while call(&mut clients[0], "guests\n") != ":6" {}
        // Those that are there when the server stops are told as well.
        stop(server);
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        assert_eq!((count(&settings.began), count(&settings.ended)), (7, 7));
    });
}

#[test]
fn both_addresses_of_a_connection_are_known() {
    each_server(|_, builder| {
        let server = builder(Settings::default()).start().expect("it starts");
        let mut client = connect(&server);
        assert_eq!(line(&mut client), "+hello");
        let (mine, its) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        // The listener's own address stands for all of this machine's.
        let known = format!("{} {}", Peer::Tcp(mine), Peer::Tcp(its));
        assert_eq!(call(&mut client, "addresses\n"), format!("${known}"));
        stop(server);
    });
}

/// Runs `test` for several seeds and each number of shards.
fn each_simulation(limits: Limits, mut test: impl FnMut(Simulation<Server>)) {
    for shards in SHARDS {
        for seed in 0..6 {
            test(Simulation::with_limits(&Settings::default(), shards, seed, limits));
        }
    }
}

/// Connects, and takes the greeting.
fn join(server: &mut Simulation<Server>, count: usize) -> Vec<Client> {
    let clients: Vec<_> = (0..count).map(|_| server.connect(0)).collect();
    server.run();
    for client in &clients {
        assert_eq!(text(server.receive(*client)), "+hello\n");
    }
    clients
}

#[test]
fn messages_arrive_in_order_and_never_within_a_reply() {
    each_simulation(Limits::default(), |mut server| {
        let clients = join(&mut server, 7);
        for client in &clients {
            assert_eq!(text(server.call(*client, b"join\n")), "+OK\n");
        }
        let sent: String = (0..50).map(|n| format!("say {n}\n")).collect();
        let replies = text(server.call(clients[0], sent.as_bytes()));
        let news: String = (0..50).map(|n| format!("!{n}\n")).collect();
        let own = replies.replace(":7\n", "");
        assert_eq!(own, news);
        for client in &clients[1..] {
            assert_eq!(text(server.receive(*client)), news);
        }
        // One that is gone is told nothing, and whoever has its place neither.
        server.disconnect(clients[3]);
        let next = join(&mut server, 1)[0];
        assert!(text(server.call(clients[0], b"say on\n")).contains(":7\n"));
        assert_eq!(text(server.receive(next)), "");
        assert_eq!(text(server.receive(clients[4])), "!on\n");
        let dropped = |server: &mut Simulation<Server>, shard| {
            server.with_shard(shard, |_, server| server.metrics().messages_dropped.get())
        };
        assert_eq!((0..server.shards()).map(|shard| dropped(&mut server, shard)).sum::<u64>(), 1);
    });
}

#[test]
fn any_shard_may_tell_the_connection_something_and_close_it() {
    each_simulation(Limits::default(), |mut server| {
        for key in 0..10 {
            let client = join(&mut server, 1)[0];
            let replies = text(server.call(client, format!("answer_from {key} word\n").as_bytes()));
            let mut lines: Vec<_> = replies.lines().collect();
            lines.sort_unstable();
            assert_eq!(lines, ["!word", "+OK"]);
            let sent = format!("echo a\nbye_from {key}\n");
            assert_eq!(text(server.call(client, sent.as_bytes())), "$a\n+BYE\n");
            assert!(server.is_closed(client));
        }
    });
}

#[test]
fn a_handler_closes_its_connection() {
    each_simulation(Limits::default(), |mut server| {
        let clients = join(&mut server, 2);
        let sent = b"echo a\ndouble 1\nbye\necho b\nbye\n";
        assert_eq!(text(server.call(clients[0], sent)), "$a\n:2\n+BYE\n");
        assert!(server.is_closed(clients[0]));
        assert_eq!(text(server.call(clients[1], b"drop\necho b\n")), "");
        assert!(server.is_closed(clients[1]));
    });
}

#[test]
fn who_does_not_take_its_messages_is_closed() {
    let limits = Limits { output_hard_bytes: 10_000, ..Limits::default() };
    each_simulation(limits, |mut server| {
        let clients = join(&mut server, 2);
        server.call(clients[0], b"join\n");
        server.set_taking(clients[0], false);
        let sent = format!("say {}\n", "x".repeat(100)).repeat(150);
        assert_eq!(text(server.call(clients[1], sent.as_bytes())), ":1\n".repeat(150));
        assert!(server.is_closed(clients[0]));
    });
}

#[test]
fn offloaded_replies_keep_their_place() {
    each_simulation(Limits::default(), |mut server| {
        let client = join(&mut server, 1)[0];
        for key in 0..10 {
            server.call(client, format!("set key{key} ab{key}\n").as_bytes());
        }
        for key in 0..10 {
            let sent =
                format!("double 1\necho a\nreversed key{key}\ndouble 2\nreversed none\necho b\n");
            let expected = format!(":2\n$a\n${key}ba\n:4\n_\n$b\n");
            assert_eq!(text(server.call(client, sent.as_bytes())), expected);
        }
        assert_eq!(text(server.call(client, b"double 13\ndouble 1\n")), "-Panicked\n:2\n");
        // Queued requests are one moment, so they wait for nothing.
        let sent = b"multi\ndouble 4\nreversed key1\nexec\n";
        let expected = "+OK\n+QUEUED\n+QUEUED\n*2\n:8\n$1ba\n";
        assert_eq!(text(server.call(client, sent)), expected);
    });
}

#[test]
fn more_offloaded_work_than_may_wait_is_refused() {
    let mut refused = 0;
    each_simulation(Limits::default(), |mut server| {
        let client = join(&mut server, 1)[0];
        let sent: String = (0..200).map(|n| format!("double {n}\nreversed key{n}\n")).collect();
        let replies = text(server.call(client, sent.as_bytes()));
        assert_eq!(replies.lines().count(), 400);
        let is_fine = |(n, line): (usize, &str)| match n {
            26 => line == "-Panicked" || line == "-Overloaded",
            n if n % 2 == 0 => line == format!(":{n}") || line == "-Overloaded",
            _ => line == "_" || line == "-Overloaded",
        };
        assert!(replies.lines().enumerate().all(is_fine), "{replies}");
        refused += replies.matches("-Overloaded").count();
        assert_eq!(text(server.call(client, b"double 1\n")), ":2\n");
    });
    assert!(refused > 0, "some seeds bring many requests at once");
}

#[test]
fn offloaded_work_is_done_although_its_connection_is_gone() {
    each_simulation(Limits::default(), |mut server| {
        let clients = join(&mut server, 2);
        let log = server.with_shard(0, |db, _| db.settings.log.clone());
        server.send(clients[0], b"double 5\n");
        // Until it is with the pool.
        while server.with_shard(0, |_, server| server.process().offloaded()) == 0 {
            assert!(log.lock().unwrap().is_empty());
            server.step();
        }
        server.disconnect(clients[0]);
        server.run();
        assert_eq!(*log.lock().unwrap(), [5]);
        assert!(server.is_closed(clients[0]));
        assert_eq!(text(server.call(clients[1], b"double 1\n")), ":2\n");
    });
}

#[test]
fn a_seed_offloads_in_one_order() {
    let run = |seed| {
        let mut server = Simulation::<Server>::new(&Settings::default(), 2, seed);
        let clients = join(&mut server, 4);
        let log = server.with_shard(0, |db, _| db.settings.log.clone());
        for (client, n) in clients.iter().zip(1..) {
            server.send(*client, format!("double {n}\ndouble {n}0\n").as_bytes());
        }
        server.run();
        log.lock().unwrap().clone()
    };
    let logs: Vec<_> = (0..20).map(run).collect();
    assert_eq!(logs, (0..20).map(run).collect::<Vec<_>>());
    assert!(logs.iter().any(|log| *log != logs[0]));
}

#[test]
fn timers_run_when_they_are_due() {
    each_simulation(Limits::default(), |mut server| {
        let client = join(&mut server, 1)[0];
        let sent = b"remind 20 late\nremind 10 early\nremind 20 last\n";
        assert_eq!(text(server.call(client, sent)), "+OK\n".repeat(3));
        server.advance(Duration::from_millis(9));
        server.run();
        assert_eq!(text(server.receive(client)), "");
        server.advance(Duration::from_millis(1));
        server.run();
        assert_eq!(text(server.receive(client)), "!early\n");
        server.advance(Duration::from_millis(100));
        server.run();
        assert_eq!(text(server.receive(client)), "!late\n!last\n");
        assert_eq!(text(server.call(client, b"remind 5 never\nforget\nforget\n")), "+OK\n:1\n:0\n");
        server.advance(Duration::from_millis(100));
        server.run();
        assert_eq!(text(server.receive(client)), "");
    });
}

#[test]
fn timers_repeat_until_they_are_cancelled() {
    each_simulation(Limits::default(), |mut server| {
        let client = join(&mut server, 1)[0];
        let start = server.now_ms();
        assert_eq!(text(server.call(client, b"tick 10 3\n")), "+OK\n");
        let mut told = String::new();
        // Late by several periods, it runs once for them.
        for step in [10, 5, 20, 100, 100] {
            server.advance(Duration::from_millis(step));
            server.run();
            told += &text(server.receive(client));
        }
        let at = |after| (start + after) % 100_000;
        let expected = format!("!{}:2\n!{}:1\n!{}:0\n", at(10), at(35), at(135));
        assert_eq!(told, expected);
    });
}

#[test]
fn timers_are_bounded() {
    let limits = Limits { timers: 3, ..Limits::default() };
    each_simulation(limits, |mut server| {
        let client = join(&mut server, 1)[0];
        let sent = "remind 10 x\n".repeat(4);
        let replies = text(server.call(client, sent.as_bytes()));
        assert_eq!(replies, "+OK\n+OK\n+OK\n-Overloaded\n");
        server.advance(Duration::from_millis(10));
        server.run();
        assert_eq!(text(server.receive(client)), "!x\n".repeat(3));
        assert_eq!(text(server.call(client, b"remind 10 x\n")), "+OK\n");
    });
}

#[test]
fn a_shard_goes_on_while_work_is_done_beside_it() {
    each_server(|_, builder| {
        let (open, gate) = mpsc::channel();
        let gate = Some(Arc::new(Mutex::new(gate)));
        let settings = Settings { gate, ..Settings::default() };
        let server = builder(settings).offload_threads(1).offload_queue(2).start().unwrap();
        let mut clients: Vec<_> = (0..11).map(|_| connect(&server)).collect();
        clients.iter_mut().for_each(|client| assert_eq!(line(client), "+hello"));
        // One is being done, or all three wait until then.
        let [first, second, third, others @ ..] = &mut clients[..] else { panic!("there are 11") };
        first.write_all(b"double 1\necho behind\n").unwrap();
        while server.process().offloaded() > 0 || server.process().offloading() == 0 {}
        second.write_all(b"double 2\n").unwrap();
        third.write_all(b"double 3\n").unwrap();
        while server.process().offloaded() < 2 {}
        for client in others {
            assert_eq!(call(client, "echo on\n"), "$on");
            assert_eq!(call(client, "double 9\n"), "-Overloaded");
        }
        (0..3).for_each(|_| open.send(()).unwrap());
        assert_eq!((line(first), line(first)), (":2".into(), "$behind".into()));
        assert_eq!((line(second), line(third)), (":4".into(), ":6".into()));
        stop(server);
    });
}

#[test]
fn a_parked_shard_wakes_for_its_timers_and_for_messages() {
    each_server(|_, builder| {
        let server = builder(Settings::default()).start().unwrap();
        let mut clients: Vec<_> = (0..7).map(|_| connect(&server)).collect();
        for client in &mut clients {
            assert_eq!(line(client), "+hello");
            assert_eq!(call(client, "join\n"), "+OK");
            assert_eq!(call(client, "remind 30 later\n"), "+OK");
        }
        for client in &mut clients {
            assert_eq!(line(client), "!later");
        }
        clients[0].write_all(b"say hello\n").unwrap();
        for client in &mut clients[1..] {
            assert_eq!(line(client), "!hello");
        }
        stop(server);
    });
}

/// What `count` answers.
fn numbers(n: u64) -> String {
    let lines: String = (0..n).map(|number| format!(":{number}\n")).collect();
    format!("*{n}\n{lines}")
}

#[test]
fn replies_in_pieces_keep_their_place() {
    each_simulation(Limits::default(), |mut server| {
        let client = join(&mut server, 1)[0];
        for key in 0..10 {
            let sent = format!(
                "echo a\ncount_from {key} 900\ncount 30\necho b\ndouble 1\ncount_from {key} 0\n\
                 count 1\nget none\n"
            );
            let expected = format!(
                "$a\n{}{}$b\n:2\n{}{}_\n",
                numbers(900),
                numbers(30),
                numbers(0),
                numbers(1)
            );
            assert_eq!(text(server.call(client, sent.as_bytes())), expected);
        }
        let sent = b"multi\ncount 5\nexec\n";
        assert_eq!(text(server.call(client, sent)), "+OK\n+QUEUED\n*1\n-NotQueueable\n");
    });
}

/// Steps that all shards took.
fn steps(server: &mut Simulation<Server>) -> u64 {
    (0..server.shards()).map(|shard| server.with_shard(shard, |db, _| db.steps.get())).sum()
}

#[test]
fn a_reply_is_made_no_faster_than_it_is_taken() {
    let limits = Limits { output_soft_bytes: 10_000, ..Limits::default() };
    each_simulation(limits, |mut server| {
        let clients = join(&mut server, 3);
        for client in &clients[..2] {
            server.call(*client, b"join\n");
            server.set_taking(*client, false);
        }
        server.send(clients[0], b"count_from key 100000\n");
        server.send(clients[1], b"count 100000\n");
        server.run();
        // Each holds at most what is being sent, what is next, and a piece of another shard.
        let most = 2 * (2 * 10_000 + 2 * 64 * 1024) / 60;
        assert!(steps(&mut server) < most, "{}", steps(&mut server));
        assert_eq!(text(server.call(clients[2], b"echo on\nsay hear\n")), "$on\n:2\n");
        for client in &clients[..2] {
            server.set_taking(*client, true);
        }
        server.run();
        // What came in between stands behind the reply.
        let expected = numbers(100_000) + "!hear\n";
        for client in &clients[..2] {
            let received = text(server.receive(*client));
            assert!(received == expected, "{} of {}", received.len(), expected.len());
        }
    });
}

#[test]
fn a_reply_in_pieces_ends_with_its_connection() {
    each_simulation(Limits::default(), |mut server| {
        let clients = join(&mut server, 3);
        let token = server.with_shard(0, |db, _| db.settings.streams.clone());
        let idle = Arc::strong_count(&token);
        for (client, key) in clients.iter().zip(0..) {
            server.set_taking(*client, false);
            let sent = format!("count_from {key} 10000000\ncount_from b 10000000\ncount 9999999\n");
            server.send(*client, sent.as_bytes());
        }
        for client in &clients {
            for _ in 0..server.random() % 100 {
                server.step();
            }
            server.disconnect(*client);
        }
        server.run();
        assert_eq!(Arc::strong_count(&token), idle);
        // One that breaks takes its connection along.
        let client = join(&mut server, 1)[0];
        let sent = format!("count_from {} 2000\necho on\n", server.random());
        let replies = text(server.call(client, sent.as_bytes()));
        assert!(server.is_closed(client));
        assert!(numbers(2000).starts_with(&replies));
        assert_eq!(Arc::strong_count(&token), idle);
        let client = join(&mut server, 1)[0];
        assert_eq!(text(server.call(client, b"count 3\n")), numbers(3));
    });
}

#[test]
fn an_overloaded_server_refuses_what_has_keys() {
    let limits = Limits { overload_requests: 3, ..Limits::default() };
    for shards in [2, 5] {
        let mut server = Simulation::<Server>::scripted(&Settings::default(), shards, limits);
        let client = join(&mut server, 1)[0];
        let home = server.home(client).expect("it is connected");
        let key = (0..).find(|key| server.owner(format!("{key}").as_bytes()) != home);
        let get = format!("get {}\n", key.expect("another shard has keys"));
        server.send(client, get.repeat(4).as_bytes());
        server.step_shard(home);
        let sent = format!("{get}guests\necho on\n{get}multi\n{get}exec\n");
        server.send(client, sent.as_bytes());
        server.step_shard(home);
        server.run();
        let refused = "-Overloaded\n";
        let expected = format!("_\n_\n_\n_\n{refused}:1\n$on\n{refused}+OK\n{refused}-Spoiled\n");
        assert_eq!(text(server.receive(client)), expected);
        assert_eq!(text(server.call(client, get.as_bytes())), "_\n");
    }
}

#[test]
fn who_holds_much_memory_overloads_the_server() {
    let limits =
        Limits { overload_bytes: 2 << 20, output_soft_bytes: 16 << 20, ..Limits::default() };
    for shards in SHARDS {
        let mut server = Simulation::<Server>::with_limits(&Settings::default(), shards, 1, limits);
        let clients = join(&mut server, 2);
        server.set_taking(clients[0], false);
        let sent = format!("echo {}\n", "x".repeat(60_000)).repeat(80);
        server.send(clients[0], sent.as_bytes());
        server.run();
        assert_eq!(text(server.call(clients[1], b"get a\necho on\n")), "-Overloaded\n$on\n");
        server.set_taking(clients[0], true);
        server.run();
        assert_eq!(text(server.call(clients[1], b"get a\n")), "_\n");
    }
}

#[test]
fn settings_change_while_the_server_runs() {
    each_server(|_, builder| {
        let settings = Settings::default();
        let server = builder(settings.clone()).start().unwrap();
        let mut clients: Vec<_> = (0..7).map(|_| connect(&server)).collect();
        for client in &mut clients {
            assert_eq!(line(client), "+hello");
            assert_eq!(call(client, "motto\n"), "$slow");
        }
        settings.motto.update(|old| format!("not_{old}"));
        for client in &mut clients {
            // A turn's requests see one value, so does a millisecond.
            while call(client, "motto\n") != "$not_slow" {}
        }
        stop(server);
    });
}

#[test]
fn what_is_owed_at_the_end_is_cut_off_and_counted() {
    each_server(|_, builder| {
        let (open, gate) = mpsc::channel::<()>();
        let settings = Settings { gate: Some(Arc::new(Mutex::new(gate))), ..Settings::default() };
        let server = builder(settings).drain_timeout(Duration::from_millis(50));
        let server = server.offload_threads(1).start().unwrap();
        let mut clients: Vec<_> = (0..7).map(|_| connect(&server)).collect();
        clients.iter_mut().for_each(|client| assert_eq!(line(client), "+hello"));
        clients[0].write_all(b"double 1\n").unwrap();
        while server.process().offloading() == 0 {}
        server.process().stop();
        // Nobody opens the gate in time. Those who are owed nothing are closed at once.
        let error = server.join().expect_err("something was owed");
        let is_right = matches!(error, Error::Undrained { connections: 1, offloaded: 1, .. });
        assert!(is_right, "{error}");
        assert_eq!(clients[0].read(&mut [0]).unwrap(), 0);
        drop(open);
    });
}

#[test]
fn replies_in_pieces_arrive_over_sockets() {
    each_server(|_, builder| {
        let server = builder(Settings::default()).start().unwrap();
        let mut client = connect(&server);
        assert_eq!(line(&mut client), "+hello");
        let mut sent = String::new();
        let mut expected = String::new();
        for key in 0..3 {
            sent += &format!("count_from {key} 50000\ncount 1000\n");
            expected += &(numbers(50_000) + &numbers(1000));
        }
        client.write_all(sent.as_bytes()).unwrap();
        let mut received = vec![0; expected.len()];
        client.read_exact(&mut received).unwrap();
        assert!(received == expected.as_bytes());
        stop(server);
    });
}
