//! Strict serializability under simulation: many clients, few keys, faults; each run's history is
//! judged.
//!
//! A run is drawn from its seed: the number of shards, how bytes arrive, how large the rings are,
//! which shard gets the next turn and which of them sleeps for a while, who breaks off, how time
//! goes by. A failing seed prints the command that replays it. `KEVY_SEEDS=10000 cargo test -p
//! kevy-rt --release --test serializable` is the long run.
//!
//! With `--cfg faults` each deliberate fault is switched on in turn, and has to be found within
//! [`FAULT_SEEDS`] seeds.

mod toy;

use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::time::Duration;

use kevy_checker::{Action, ClientOrder, History, Operation, Verdict, check};
use kevy_rt::sim::{Client, Simulation};
use toy::{BOARD, Server};

/// Requests of one run.
const REQUESTS: usize = 2000;

/// Seeds within which each fault is found.
#[cfg(faults)]
const FAULT_SEEDS: u64 = 300;

const REGISTERS: u64 = 6;
const LISTS: u64 = 3;

/// Keys of lists have numbers from here on, and generations of their own.
const FIRST_LIST: u32 = 1000;

/// A list is left alone when it is so long.
const LIST_LEN: usize = 40;

/// A line reply.
#[derive(Clone, Debug, PartialEq)]
enum Reply {
    Nothing,
    Text(String),
    Number(u64),
    Said(String),
    Error(String),
    List(Vec<Reply>),
}

impl Reply {
    fn value(&self) -> Option<u64> {
        match self {
            Reply::Text(text) => Some(text.parse().expect("registers hold numbers")),
            Reply::Nothing => None,
            other => panic!("no value: {other:?}"),
        }
    }

    fn items(&self) -> &[Reply] {
        match self {
            Reply::List(items) => items,
            other => panic!("no list: {other:?}"),
        }
    }

    fn list(&self) -> Vec<u64> {
        match self {
            Reply::Text(text) => {
                text.split_terminator(',').map(|word| word.parse().expect("a number")).collect()
            }
            Reply::Nothing => Vec::new(),
            other => panic!("no list of numbers: {other:?}"),
        }
    }
}

/// Takes a whole reply off the front of `bytes`.
fn parse(bytes: &[u8], at: &mut usize) -> Option<Reply> {
    let len = bytes[*at..].iter().position(|&byte| byte == b'\n')?;
    let line = std::str::from_utf8(&bytes[*at..*at + len]).expect("replies are text");
    *at += len + 1;
    let (kind, rest) = line.split_at(1);
    Some(match kind {
        "_" => Reply::Nothing,
        "$" => Reply::Text(rest.to_owned()),
        ":" => Reply::Number(rest.parse().expect("a number")),
        "+" => Reply::Said(rest.to_owned()),
        "-" => Reply::Error(rest.to_owned()),
        "*" => {
            let len: usize = rest.parse().expect("a length");
            let mut items = Vec::new();
            for _ in 0..len {
                items.push(parse(bytes, at)?);
            }
            Reply::List(items)
        }
        _ => panic!("no reply: {line}"),
    })
}

/// One request of the workload, with what its replies mean.
#[derive(Clone, Debug)]
enum Request {
    Swap(u32, u64),
    Set(u32, u64),
    Get(u32),
    Mget(Vec<u32>),
    Mset(Vec<(u32, u64)>),
    Exchange([u32; 2], [u64; 2]),
    Dump,
    Append(u32, u64),
    List(u32),
    /// Within a queue: all of these.
    Exec(Vec<Request>),
    /// Watches, reads, and runs the second part if nothing changed.
    Watch(Vec<u32>, Vec<(u32, u64)>),
    /// The second part, with what was read.
    WatchedExec(Vec<(u32, Option<u64>)>, Vec<(u32, u64)>),
    /// Tells the world that all before it is done.
    Post(u64),
    /// Sets two keys that end at one time.
    Lease(u64, u64),
    /// Reads both.
    Leased(u64),
}

impl Request {
    fn text(&self) -> String {
        let join =
            |keys: &[u32]| keys.iter().map(|key| format!(" {}", name(*key))).collect::<String>();
        match self {
            Request::Swap(key, value) => format!("swap {} {value}\n", name(*key)),
            Request::Set(key, value) => format!("set {} {value}\n", name(*key)),
            Request::Get(key) | Request::List(key) => format!("get {}\n", name(*key)),
            Request::Mget(keys) => format!("mget{}\n", join(keys)),
            Request::Mset(pairs) => {
                let pairs: String =
                    pairs.iter().map(|(key, value)| format!(" {} {value}", name(*key))).collect();
                format!("mset{pairs}\n")
            }
            Request::Exchange([a, b], [to_a, to_b]) => {
                format!("exchange {} {} {to_a} {to_b}\n", name(*a), name(*b))
            }
            Request::Dump => "dump r\n".into(),
            Request::Append(key, value) => format!("append {} {value},\n", name(*key)),
            Request::Exec(requests) => {
                let requests: String = requests.iter().map(Request::text).collect();
                format!("multi\n{requests}exec\n")
            }
            Request::Watch(keys, _) => format!("watch{0}\nmget{0}\n", join(keys)),
            Request::WatchedExec(_, writes) => {
                let sets: String = writes
                    .iter()
                    .map(|(key, value)| format!("set {} {value}\n", name(*key)))
                    .collect();
                format!("multi\n{sets}exec\n")
            }
            Request::Post(number) => format!("post {number}\n"),
            Request::Lease(pair, until_ms) => {
                format!("lease {until_ms} p{pair}a {pair} p{pair}b {pair}\n")
            }
            Request::Leased(pair) => format!("mget p{pair}a p{pair}b\n"),
        }
    }

    /// How many replies it has.
    fn replies(&self) -> usize {
        match self {
            Request::Exec(requests) => requests.len() + 2,
            Request::Watch(..) => 2,
            Request::WatchedExec(_, writes) => writes.len() + 2,
            _ => 1,
        }
    }

    /// What it did and saw. `None` if it was without effect.
    fn actions(&self, replies: &[Reply], actions: &mut Vec<Action>) {
        let reply = replies.last().expect("it has one");
        let read = |key: u32, reply: &Reply| Action::Read { key, value: reply.value() };
        let write = |key: u32, value: u64| Action::Write { key, value };
        match self {
            Request::Swap(key, value) => {
                actions.extend([read(*key, reply), write(*key, *value)]);
            }
            Request::Set(key, value) => actions.push(write(*key, *value)),
            Request::Get(key) => actions.push(read(*key, reply)),
            Request::List(key) => {
                actions.push(Action::ReadList { key: *key, values: reply.list() });
            }
            Request::Append(key, value) => {
                actions.push(Action::Append { key: *key, value: *value })
            }
            Request::Mget(keys) | Request::Watch(keys, _) => {
                let pairs = keys.iter().zip(reply.items());
                actions.extend(pairs.map(|(key, reply)| read(*key, reply)));
            }
            Request::Mset(pairs) => {
                actions.extend(pairs.iter().map(|(key, value)| write(*key, *value)));
            }
            Request::Exchange(keys, values) => {
                let pairs = keys.iter().zip(reply.items());
                actions.extend(pairs.map(|(key, reply)| read(*key, reply)));
                actions.extend(keys.iter().zip(values).map(|(key, value)| write(*key, *value)));
            }
            Request::Dump => {
                let mut found: BTreeMap<String, Reply> = BTreeMap::new();
                for item in reply.items() {
                    let Reply::Text(text) = item else { panic!("no text: {item:?}") };
                    let (name, value) = text.split_once('=').expect("key and value");
                    found.insert(name.to_owned(), Reply::Text(value.to_owned()));
                }
                for key in 0..REGISTERS as u32 {
                    actions.push(read(key, found.get(&name(key)).unwrap_or(&Reply::Nothing)));
                }
            }
            Request::Exec(requests) => {
                for (request, reply) in requests.iter().zip(reply.items()) {
                    request.actions(std::slice::from_ref(reply), actions);
                }
            }
            Request::WatchedExec(seen, writes) => {
                if *reply == Reply::Nothing {
                    return;
                }
                let seen =
                    seen.iter().map(|(key, value)| Action::Read { key: *key, value: *value });
                actions.extend(seen);
                actions.extend(writes.iter().map(|(key, value)| write(*key, *value)));
            }
            Request::Leased(_) => {
                let both = reply.items();
                assert_eq!(both[0], both[1], "two keys end at one time: {self:?}");
            }
            Request::Post(_) | Request::Lease(..) => {}
        }
    }

    /// What it may have done, if nobody knows.
    fn possible(&self, actions: &mut Vec<Action>) {
        match self {
            Request::Swap(key, value) | Request::Set(key, value) => {
                actions.push(Action::Write { key: *key, value: *value });
            }
            Request::Append(key, value) => {
                actions.push(Action::Append { key: *key, value: *value })
            }
            Request::Mset(pairs) => {
                let writes =
                    pairs.iter().map(|(key, value)| Action::Write { key: *key, value: *value });
                actions.extend(writes);
            }
            Request::Exchange(keys, values) => {
                let pairs = keys.iter().zip(values);
                actions
                    .extend(pairs.map(|(key, value)| Action::Write { key: *key, value: *value }));
            }
            Request::Exec(requests) => {
                requests.iter().for_each(|request| request.possible(actions))
            }
            Request::WatchedExec(seen, writes) => {
                actions.extend(
                    seen.iter().map(|(key, value)| Action::Read { key: *key, value: *value }),
                );
                let writes =
                    writes.iter().map(|(key, value)| Action::Write { key: *key, value: *value });
                actions.extend(writes);
            }
            _ => {}
        }
    }
}

fn name(key: u32) -> String {
    if key < FIRST_LIST { format!("r{key}") } else { format!("l{key}") }
}

/// A simulated client at work.
struct Worker {
    client: Client,
    number: u32,
    received: Vec<u8>,
    open: VecDeque<(Request, u64)>,
    /// When a post told that what was open then is done: by how many were before it.
    posted: VecDeque<(u64, u64)>,
    /// The second part of a watch, once the first is answered.
    next: Option<Request>,
}

struct Run {
    server: Simulation<Server>,
    workers: Vec<Worker>,
    operations: Vec<Operation>,
    clock: u64,
    next_value: u64,
    next_client: u32,
    lists: Vec<(u32, usize)>,
    pairs: u64,
    sent: usize,
    requests: usize,
    asleep: Option<(usize, u64)>,
}

impl Run {
    fn new(seed: u64, requests: usize) -> Self {
        let shards = 1 + (seed % 7) as usize;
        let mut server = Simulation::new(&(), shards, seed / 7);
        let workers = 3 + server.random() % 10;
        let mut run = Run {
            server,
            workers: Vec::new(),
            operations: Vec::new(),
            clock: 0,
            next_value: 1,
            next_client: 0,
            lists: (0..LISTS).map(|list| (FIRST_LIST + list as u32, 0)).collect(),
            pairs: 0,
            sent: 0,
            requests,
            asleep: None,
        };
        BOARD.with_borrow_mut(Vec::clear);
        for _ in 0..workers {
            let worker = run.connect();
            run.workers.push(worker);
        }
        run
    }

    fn connect(&mut self) -> Worker {
        self.next_client += 1;
        Worker {
            client: self.server.connect(0),
            number: self.next_client,
            received: Vec::new(),
            open: VecDeque::new(),
            posted: VecDeque::new(),
            next: None,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.server.random() % bound
    }

    fn value(&mut self) -> u64 {
        self.next_value += 1;
        self.next_value
    }

    fn register(&mut self) -> u32 {
        self.below(REGISTERS) as u32
    }

    fn registers(&mut self) -> Vec<u32> {
        let count = 2 + self.below(3);
        let mut keys: Vec<u32> = (0..count).map(|_| self.register()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn writes(&mut self) -> Vec<(u32, u64)> {
        self.registers().into_iter().map(|key| (key, self.value())).collect()
    }

    fn list(&mut self) -> usize {
        self.below(LISTS) as usize
    }

    fn simple(&mut self) -> Request {
        match self.below(12) {
            0..=2 => Request::Swap(self.register(), self.value()),
            3 => Request::Set(self.register(), self.value()),
            4 | 5 => Request::Get(self.register()),
            6 => Request::Mget(self.registers()),
            7 => Request::Mset(self.writes()),
            8 => {
                let keys = self.registers();
                match keys[..] {
                    [a, b, ..] => Request::Exchange([a, b], [self.value(), self.value()]),
                    _ => Request::Swap(keys[0], self.value()),
                }
            }
            9 => {
                let list = self.list();
                if self.lists[list].1 >= LIST_LEN {
                    self.lists[list] = (self.lists[list].0 + LISTS as u32, 0);
                }
                self.lists[list].1 += 1;
                Request::Append(self.lists[list].0, self.value())
            }
            10 => Request::List(self.lists[self.server.random() as usize % LISTS as usize].0),
            _ => Request::Swap(self.register(), self.value()),
        }
    }

    fn request(&mut self) -> Request {
        match self.below(40) {
            0..=3 => {
                let count = 1 + self.below(5);
                Request::Exec((0..count).map(|_| self.simple()).collect())
            }
            4..=6 => Request::Watch(self.registers(), self.writes()),
            7 => Request::Dump,
            8 => Request::Post(self.value()),
            9 => {
                self.pairs += 1;
                let ms = self.server.now_ms() + self.below(4);
                Request::Lease(self.pairs, ms)
            }
            10 | 11 if self.pairs > 0 => {
                let back = self.below(3);
                Request::Leased(self.pairs.saturating_sub(back).max(1))
            }
            _ => self.simple(),
        }
    }

    fn send(&mut self, worker: usize) {
        if let Some(request) = self.workers[worker].next.take() {
            return self.send_one(worker, request);
        }
        let depth = match self.below(3) {
            0 => 1,
            1 => 2,
            _ => 1 + self.below(8),
        };
        for _ in 0..depth {
            let request = self.request();
            let is_watch = matches!(request, Request::Watch(..));
            self.send_one(worker, request);
            if is_watch {
                return;
            }
        }
    }

    fn send_one(&mut self, worker: usize, request: Request) {
        self.sent += 1;
        self.clock += 1;
        let worker = &mut self.workers[worker];
        self.server.send(worker.client, request.text().as_bytes());
        worker.open.push_back((request, self.clock));
    }

    /// Takes what came back for a client.
    fn receive(&mut self, worker: usize) {
        if !self.server.has_output(self.workers[worker].client) {
            return;
        }
        self.clock += 1;
        let bytes = self.server.receive(self.workers[worker].client);
        let worker = &mut self.workers[worker];
        worker.received.extend(bytes);
        let mut at = 0;
        while let Some((request, sent)) = worker.open.front() {
            let mut end = at;
            let mut replies = Vec::new();
            while replies.len() < request.replies() {
                match parse(&worker.received, &mut end) {
                    Some(reply) => replies.push(reply),
                    None => break,
                }
            }
            if replies.len() < request.replies() {
                break;
            }
            at = end;
            let mut actions = Vec::new();
            request.actions(&replies, &mut actions);
            if let Request::Watch(keys, writes) = request {
                let seen = keys.iter().zip(replies[1].items());
                let seen = seen.map(|(key, reply)| (*key, reply.value())).collect();
                worker.next = Some(Request::WatchedExec(seen, writes.clone()));
            }
            let mut replied = self.clock;
            if let Some(posted) = worker.posted.front()
                && posted.0 >= *sent
            {
                replied = replied.min(posted.1);
            }
            if let Request::Post(_) = request {
                worker.posted.pop_front();
            }
            if !actions.is_empty() {
                let (client, sent, replied) = (worker.number, *sent, Some(replied));
                self.operations.push(Operation { client, sent, replied, actions });
            }
            worker.open.pop_front();
        }
        worker.received.drain(..at);
    }

    /// What was posted tells that what its client sent before is done.
    fn look_at_board(&mut self) {
        for posted in BOARD.with_borrow_mut(std::mem::take) {
            self.clock += 1;
            let is_it = |(request, _): &(Request, u64)| matches!(request, Request::Post(number) if *number == posted);
            for worker in &mut self.workers {
                if let Some((_, sent)) = worker.open.iter().find(|open| is_it(open)) {
                    worker.posted.push_back((*sent, self.clock));
                }
            }
        }
    }

    /// A client breaks off; another one comes in its stead.
    fn break_off(&mut self, worker: usize) {
        self.server.disconnect(self.workers[worker].client);
        let fresh = self.connect();
        let gone = std::mem::replace(&mut self.workers[worker], fresh);
        for (request, sent) in gone.open {
            let mut actions = Vec::new();
            request.possible(&mut actions);
            if !actions.is_empty() {
                let client = gone.number;
                self.operations.push(Operation { client, sent, replied: None, actions });
            }
        }
    }

    fn step(&mut self) {
        let shards = self.server.shards() as u64;
        let shard = self.below(shards) as usize;
        match self.asleep {
            Some((sleeper, until)) if sleeper == shard && self.clock < until => {}
            _ => {
                self.server.step_shard(shard);
            }
        }
        match self.below(400) {
            0 => self.asleep = Some((self.below(shards) as usize, self.clock + self.below(200))),
            1..=20 => self.server.advance(Duration::from_micros(300)),
            _ => {}
        }
        self.look_at_board();
        for worker in 0..self.workers.len() {
            self.receive(worker);
            if self.workers[worker].open.is_empty() && self.sent < self.requests {
                if self.below(300) == 0 {
                    self.break_off(worker);
                }
                if self.below(4) == 0 {
                    self.send(worker);
                }
            } else if self.below(20_000) == 0 {
                self.break_off(worker);
            }
        }
    }

    /// Runs to the end; answers the history, or who never got an answer.
    fn history(&mut self) -> Result<History, String> {
        let mut idle = 0;
        while self.sent < self.requests || self.workers.iter().any(|worker| !worker.open.is_empty())
        {
            let before = (self.sent, self.operations.len());
            self.step();
            idle = if before == (self.sent, self.operations.len()) { idle + 1 } else { 0 };
            if idle > 200_000 {
                return Err("requests are not answered".into());
            }
        }
        self.server.run();
        for shard in 0..self.server.shards() {
            if self.server.with_shard(shard, |_, server| server.open_entries()) != 0 {
                return Err("entries are left".into());
            }
        }
        let mut operations = std::mem::take(&mut self.operations);
        operations.sort_by_key(|operation| operation.sent);
        Ok(History { operations, client_order: ClientOrder::Key })
    }
}

/// What is wrong with the run of a seed.
fn judge(seed: u64, requests: usize) -> Result<BTreeMap<&'static str, u64>, String> {
    let mut run = Run::new(seed, requests);
    let history = run.history()?;
    match check(&history) {
        Verdict::Serializable => {}
        Verdict::Violation(anomaly) => return Err(anomaly.to_string()),
        Verdict::Undecided(why) => return Err(format!("undecided: {why}")),
    }
    let mut counts = BTreeMap::new();
    for shard in 0..run.server.shards() {
        run.server.with_shard(shard, |_, server| {
            for (name, count) in server.metrics().all() {
                *counts.entry(name).or_insert(0) += count;
            }
        });
    }
    Ok(counts)
}

fn seeds() -> std::ops::Range<u64> {
    let seeds = env::var("KEVY_SEEDS").unwrap_or_else(|_| "140".into());
    let number = |text: &str| text.parse::<u64>().expect("KEVY_SEEDS is COUNT or FROM..TO");
    match seeds.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => 0..number(&seeds),
    }
}

#[cfg(not(faults))]
#[test]
fn every_run_is_strictly_serializable() {
    let mut all: BTreeMap<&str, u64> = BTreeMap::new();
    let seeds = seeds();
    for seed in seeds.clone() {
        match judge(seed, REQUESTS) {
            Ok(counts) => {
                counts.into_iter().for_each(|(name, count)| *all.entry(name).or_insert(0) += count)
            }
            Err(why) => panic!(
                "seed {seed}, {} shards: {why}\nreplay: KEVY_SEEDS={seed}..{} cargo test -p kevy-rt --release --test serializable",
                1 + seed % 7,
                seed + 1
            ),
        }
    }
    // Every rule was taken.
    if seeds.end - seeds.start >= 100 {
        for rule in [
            "transactions",
            "hops",
            "one_round",
            "early_answers",
            "moved_entries",
            "deferred",
            "order_stalls",
        ] {
            assert!(all[rule] > 0, "{rule} never happened: {all:?}");
        }
    }
    println!("{} runs: {all:?}", seeds.end - seeds.start);
}

#[cfg(faults)]
#[test]
fn every_fault_is_found() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    let only = env::var("KEVY_FAULT").ok();
    for &fault in kevy_rt::Fault::ALL {
        if only.as_ref().is_some_and(|only| *only != format!("{fault:?}")) {
            continue;
        }
        kevy_rt::inject(Some(fault));
        let found = (0..FAULT_SEEDS).find_map(|seed| {
            let judged = std::panic::catch_unwind(|| judge(seed, REQUESTS));
            match judged {
                Ok(Ok(_)) => None,
                Ok(Err(why)) => Some((seed, why)),
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().cloned();
                    let text = text
                        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    Some((seed, text.unwrap_or_default()))
                }
            }
        });
        kevy_rt::inject(None);
        match found {
            Some((seed, why)) => {
                println!("{fault:?}: seed {seed}: {}", why.lines().next().unwrap_or_default());
            }
            None => missed.push(fault),
        }
    }
    assert!(missed.is_empty(), "not found within {FAULT_SEEDS} seeds: {missed:?}");
}
