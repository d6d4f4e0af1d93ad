//! A wire of lines and a small command set, for the tests of the runtime.
//!
//! A request is a line of words; a reply is a line too: `+text`, `:number`, `$bytes`, `_` for
//! nothing, `-error`, `*count` before the lines of a list.

#![allow(dead_code, reason = "each test file uses what it needs")]

use std::cell::RefCell;
use std::collections::BTreeMap;

use kevy_rt::{
    Args, Burst, Changes, ClientSide, Close, CommandInfo, Cx, Encode, Key, KeyHasher, Keys, Open,
    OpenError, Out, Outcome, ParseLimits, Place, ReadTx, Refusal, Reply, ReplyMode, Resume,
    Session, SessionState, Store, Tx, Wire, commands, server,
};

/// Words on a line.
#[derive(Debug)]
pub(crate) struct Lines;

/// An error reply.
#[derive(Debug)]
pub(crate) struct Complaint(pub(crate) String);

impl From<Refusal> for Complaint {
    fn from(refusal: Refusal) -> Self {
        Complaint(format!("{refusal:?}"))
    }
}

impl Encode<Lines> for Complaint {
    fn encode(self, reply: &mut Reply<'_, Lines>) {
        reply.out().count_error();
        reply.out().extend(format!("-{}\n", self.0).as_bytes());
    }
}

impl Wire for Lines {
    type Scope = ();
    type Refusal = Complaint;

    fn parse(
        input: &[u8],
        resume: &mut Resume,
        limits: &ParseLimits,
        burst: &mut Burst,
    ) -> Result<(), Complaint> {
        let mut scanned = std::mem::take(&mut resume.at);
        *resume = Resume::default();
        let mut start = 0;
        while burst.room() > 0 && start < input.len() {
            let rest = &input[start + scanned..];
            let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
                if input.len() - start > limits.line_bytes {
                    return Err(Complaint("line".into()));
                }
                resume.save(burst, input.len(), [0; 2], None);
                return Ok(());
            };
            let end = start + scanned + end;
            scanned = 0;
            let mut at = start;
            for word in input[start..end].split(|&byte| byte == b' ') {
                if !word.is_empty() {
                    burst.push(at, word.len());
                }
                if burst.open_args() > limits.args {
                    return Err(Complaint("args".into()));
                }
                at += word.len() + 1;
            }
            burst.close(end + 1);
            start = end + 1;
        }
        Ok(())
    }

    fn outcome(outcome: Outcome, reply: &mut Reply<'_, Self>) {
        match outcome {
            Outcome::Done => reply.put(Said("OK")),
            Outcome::Queued => reply.put(Said("QUEUED")),
            Outcome::Changed => reply.out().extend(b"_\n"),
        }
    }

    fn list(reply: &mut Reply<'_, Self>, len: usize) {
        reply.out().extend(format!("*{len}\n").as_bytes());
    }

    fn unknown(args: Args<'_>, _: Option<&'static str>, reply: &mut Reply<'_, Self>) {
        let verb = String::from_utf8_lossy(args.get(0).unwrap_or_default()).into_owned();
        reply.put(Complaint(format!("unknown {verb}")));
    }
}

impl ClientSide for Lines {
    /// A list's elements in one text, a blank between them.
    type Answer = String;

    fn request(arguments: &[&[u8]], out: &mut Vec<u8>) {
        out.extend(arguments.join(&b' '));
        out.push(b'\n');
    }

    fn answer(input: &[u8]) -> Result<Option<(String, usize)>, String> {
        let mut lines = input.split_inclusive(|&byte| byte == b'\n');
        let (mut taken, mut missing, mut answer) = (0, 1, Vec::new());
        while missing > 0 {
            let Some(line) = lines.next().filter(|line| line.ends_with(b"\n")) else {
                return Ok(None);
            };
            taken += line.len();
            missing -= 1;
            let line = std::str::from_utf8(&line[..line.len() - 1]).map_err(|e| e.to_string())?;
            match line.strip_prefix('*') {
                Some(count) => missing += count.parse::<usize>().map_err(|e| e.to_string())?,
                None => answer.push(line),
            }
        }
        Ok(Some((answer.join(" "), taken)))
    }
}

/// A status reply.
#[derive(Debug)]
pub(crate) struct Said(pub(crate) &'static str);

impl Encode<Lines> for Said {
    fn encode(self, reply: &mut Reply<'_, Lines>) {
        reply.out().extend(format!("+{}\n", self.0).as_bytes());
    }
}

impl Encode<Lines> for u64 {
    fn encode(self, reply: &mut Reply<'_, Lines>) {
        reply.out().extend(format!(":{self}\n").as_bytes());
    }
}

impl Encode<Lines> for &[u8] {
    fn encode(self, reply: &mut Reply<'_, Lines>) {
        reply.out().push(b'$');
        reply.out().extend(self);
        reply.out().push(b'\n');
    }
}

impl Encode<Lines> for Vec<u8> {
    fn encode(self, reply: &mut Reply<'_, Lines>) {
        self.as_slice().encode(reply);
    }
}

impl<T: Encode<Lines>> Encode<Lines> for Option<T> {
    fn encode(self, reply: &mut Reply<'_, Lines>) {
        match self {
            Some(value) => value.encode(reply),
            None => reply.out().extend(b"_\n"),
        }
    }
}

impl<T: Encode<Lines>, E: Encode<Lines>> Encode<Lines> for Result<T, E> {
    fn encode(self, reply: &mut Reply<'_, Lines>) {
        match self {
            Ok(value) => value.encode(reply),
            Err(error) => error.encode(reply),
        }
    }
}

/// A shard's data.
#[derive(Debug, Default)]
pub(crate) struct Db {
    pub(crate) map: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) now_ms: u64,
    pub(crate) changes: Changes,
    /// When keys end, with their hashes.
    leases: BTreeMap<Vec<u8>, (u64, u64)>,
}

impl Db {
    fn put(&mut self, key: Key<'_>, value: &[u8]) {
        self.changes.changed(0, key);
        self.map.insert(key.bytes().to_vec(), value.to_vec());
    }

    fn number(&self, key: Key<'_>) -> u64 {
        let value = self.map.get(key.bytes()).map_or(&b""[..], |value| value);
        std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
    }
}

impl Store for Db {
    type Settings = ();

    fn open((): &(), _: Place, _: &KeyHasher) -> Result<Self, OpenError> {
        Ok(Db::default())
    }

    fn attach(&mut self, changes: &Changes) {
        self.changes = changes.clone();
    }

    fn tick(&mut self, cx: &Cx<'_>) -> Option<u64> {
        let is_over =
            |lease: &(u64, u64)| lease.0 <= self.now_ms && !cx.server().is_claimed(lease.1);
        let over: Vec<_> = self.leases.iter().filter(|(_, lease)| is_over(lease)).collect();
        let over: Vec<_> = over.into_iter().map(|(key, _)| key.clone()).collect();
        for key in over {
            self.leases.remove(&key);
            self.map.remove(&key);
        }
        (!self.leases.is_empty()).then_some(1)
    }

    fn begin(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// What is between braces at its start, or all of it.
    fn placement(key: &[u8]) -> &[u8] {
        let end = key.iter().position(|&byte| byte == b'}');
        end.filter(|_| key[0] == b'{').map_or(key, |end| &key[1..end])
    }
}

/// What a connection remembers.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    is_locked: bool,
    reply: ReplyMode,
    drops_queue: bool,
}

impl Session for Memory {
    fn state(&mut self) -> SessionState {
        let reply = self.reply;
        if reply != ReplyMode::Off {
            self.reply = ReplyMode::On;
        }
        let drops_queue = std::mem::take(&mut self.drops_queue);
        SessionState { scope: 0, restricted: self.is_locked, reply, drops_queue }
    }

    fn admit(&self, command: &CommandInfo) -> Result<(), Refusal> {
        if command.has_flag("open") { Ok(()) } else { Err(Refusal::Denied) }
    }
}

impl<S> Open<S> for Memory {
    fn open(_: &mut S, _: &Cx<'_>, _: &mut Out) -> Option<Self> {
        Some(Memory::default())
    }
}

thread_local! {
    /// What was posted by the shards of this thread.
    pub(crate) static BOARD: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Two replies.
#[derive(Debug)]
pub(crate) struct Pair(Option<Vec<u8>>, Option<Vec<u8>>);

impl Encode<Lines> for Pair {
    fn encode(self, reply: &mut Reply<'_, Lines>) {
        reply.out().extend(b"*2\n");
        self.0.encode(reply);
        self.1.encode(reply);
    }
}

/// The commands.
#[derive(Debug)]
pub(crate) struct Toy;

#[commands(store = Db, wire = Lines, session = Memory)]
impl Toy {
    /// Sets a key.
    #[command(route = single(1), write)]
    fn set(db: &mut Db, key: Key<'_>, value: &[u8]) -> Said {
        db.put(key, value);
        Said("OK")
    }

    /// Sets a key; answers what it was.
    #[command(route = single(1), write)]
    fn swap(db: &mut Db, key: Key<'_>, value: &[u8]) -> Option<Vec<u8>> {
        let old = db.map.get(key.bytes()).cloned();
        db.put(key, value);
        old
    }

    /// Appends to a key.
    #[command(route = single(1), write)]
    fn append(db: &mut Db, key: Key<'_>, value: &[u8]) -> u64 {
        let mut all = db.map.get(key.bytes()).cloned().unwrap_or_default();
        all.extend_from_slice(value);
        db.put(key, &all);
        all.len() as u64
    }

    /// Sets several keys.
    #[command(route = keys(1.. step 2), write, gather = first)]
    fn mset(db: &mut Db, key: Key<'_>, value: &[u8]) -> Said {
        db.put(key, value);
        Said("OK")
    }

    /// Takes from one key and adds to another, if there is enough.
    #[command(route = tx(1, 2), write)]
    async fn transfer(
        tx: &Tx<Db>,
        from: Key<'_>,
        to: Key<'_>,
        amount: u64,
    ) -> Result<u64, Complaint> {
        let there = tx.read(&from, |db, key| db.number(key)).await;
        if there < amount {
            return Err(Complaint("too little".into()));
        }
        let taken = tx.on(&from, move |db, key| {
            let left = db.number(key) - amount;
            db.put(key, left.to_string().as_bytes());
            left
        });
        let left = taken.await;
        let given = tx.on(&to, move |db, key| {
            let sum = db.number(key) + amount;
            db.put(key, sum.to_string().as_bytes());
        });
        given.await;
        Ok(left)
    }

    /// Sets two keys; answers what they were.
    #[command(route = tx(1, 2), write)]
    async fn exchange(tx: &Tx<Db>, a: Key<'_>, b: Key<'_>, to_a: &[u8], to_b: &[u8]) -> Pair {
        let read = |db: &Db, key: Key<'_>| db.map.get(key.bytes()).cloned();
        let (old_a, old_b) = (tx.read(&a, read), tx.read(&b, read));
        let (old_a, old_b) = (old_a.await, old_b.await);
        let (to_a, to_b) = (to_a.to_vec(), to_b.to_vec());
        let write_a = tx.on(&a, move |db, key| db.put(key, &to_a));
        write_a.await;
        tx.on(&b, move |db, key| db.put(key, &to_b)).await;
        Pair(old_a, old_b)
    }

    /// Sets keys that are there until a time.
    #[command(route = keys(2.. step 2), write, gather = first)]
    fn lease(db: &mut Db, until_ms: u64, key: Key<'_>, value: &[u8]) -> Said {
        db.put(key, value);
        db.leases.insert(key.bytes().to_vec(), (until_ms, key.hash()));
        Said("OK")
    }

    /// What all keys that start so hold, in one moment: key and value, joined by `=`.
    #[command(route = all, gather = concat)]
    fn dump(db: &Db, start: &[u8]) -> Vec<Vec<u8>> {
        let named = db.map.iter().filter(|(key, _)| key.starts_with(start));
        named.map(|(key, value)| [key, &b"="[..], value].concat()).collect()
    }

    /// Tells the world, outside of all keys.
    #[command(route = local, barrier)]
    fn post(text: u64) -> Said {
        BOARD.with_borrow_mut(|board| board.push(text));
        Said("OK")
    }

    /// The sum of several keys' numbers.
    #[command(route = tx(found(every_second)))]
    async fn total(tx: &ReadTx<Db>, words: Keys<'_, 2>) -> u64 {
        tx.read_all(words.iter(), |db, key| db.number(key)).await.into_iter().sum()
    }

    /// Panics on the shard that owns the key.
    #[command(route = tx(1))]
    async fn boom_there(tx: &ReadTx<Db>, key: Key<'_>) -> u64 {
        tx.read(&key, |_, _| -> u64 { panic!("as asked") }).await
    }

    /// Panics here, after a hop.
    #[command(route = tx(1))]
    async fn boom_here(tx: &ReadTx<Db>, key: Key<'_>) -> u64 {
        let number = tx.read(&key, |db, key| db.number(key)).await;
        assert!(number > u64::MAX - 1, "as asked");
        number
    }

    /// Awaits what never comes.
    #[command(route = tx(1))]
    async fn hang(tx: &ReadTx<Db>, key: Key<'_>) -> u64 {
        tx.read(&key, |db, key| db.number(key)).await;
        std::future::pending().await
    }

    /// Panics where it would write for the first time.
    #[command(route = tx(1), write)]
    async fn boom_early(tx: &Tx<Db>, key: Key<'_>) -> u64 {
        let number = tx.read(&key, |db, key| db.number(key)).await;
        assert!(number > u64::MAX - 1, "as asked");
        tx.on(&key, |db, key| db.put(key, b"1")).await;
        number
    }

    /// Looks at a key so many times, one by one, and writes then.
    #[command(route = tx(1), write)]
    async fn rounds(tx: &Tx<Db>, key: Key<'_>, rounds: u64) -> u64 {
        let mut sum = 0;
        for _ in 0..rounds {
            sum += tx.read(&key, |db, key| db.number(key)).await;
        }
        tx.on(&key, |db, key| db.put(key, b"1")).await;
        sum
    }

    /// Requests are queued from here on.
    #[command(route = queue(open))]
    fn multi() {}

    /// Runs what was queued.
    #[command(route = queue(run))]
    fn exec() {}

    /// Drops what was queued.
    #[command(route = queue(drop))]
    fn discard() {}

    /// Lets the next `exec` do nothing if a key changes.
    #[command(route = queue(watch(1..)))]
    fn watch(_key: Key<'_>) {}

    /// Drops all watched keys.
    #[command(route = queue(unwatch))]
    fn unwatch() {}

    /// Drops what was queued and watched.
    #[command(route = session, queued = at_once)]
    fn reset(session: &mut Memory) -> Said {
        session.drops_queue = true;
        Said("RESET")
    }

    /// Can't be queued.
    #[command(route = local, queued = never)]
    fn alone(text: &[u8]) -> &[u8] {
        text
    }

    /// Answers a key's value.
    #[command(route = single(1))]
    fn get(db: &Db, key: Key<'_>) -> Option<&[u8]> {
        db.map.get(key.bytes()).map(|value| value.as_slice())
    }

    /// Answers several keys' values.
    #[command(route = keys(1..), gather = in_order)]
    fn mget(db: &Db, key: Key<'_>) -> Option<&[u8]> {
        let is_over = db.leases.get(key.bytes()).is_some_and(|lease| lease.0 <= db.now_ms);
        db.map.get(key.bytes()).filter(|_| !is_over).map(|value| value.as_slice())
    }

    /// Removes keys; answers how many there were.
    #[command(route = keys(1..), write, gather = sum)]
    fn del(db: &mut Db, key: Key<'_>) -> u64 {
        db.changes.changed(0, key);
        u64::from(db.map.remove(key.bytes()).is_some())
    }

    /// How many keys there are.
    #[command(route = all, gather = sum)]
    fn count(db: &Db) -> u64 {
        db.map.len() as u64
    }

    /// How many connections there are, as the runtime counts them one by one.
    #[command(route = all, loose, gather = sum)]
    fn conns(db: &Db, cx: &Cx) -> u64 {
        let _ = db;
        let mut count = 0;
        cx.server().for_each_conn(|_| count += 1);
        count
    }

    /// Closes a connection, wherever it is; answers whether there was one.
    #[command(route = all, loose, gather = sum)]
    fn kill(db: &Db, cx: &Cx, id: u64) -> u64 {
        let _ = db;
        let mut found = 0;
        cx.server().for_each_conn(|conn| {
            if conn.facts.id == id {
                found += 1;
                cx.server().close(conn.facts.handle(), Close::AfterReplies);
            }
        });
        found
    }

    /// The connection's number, as a request for all shards sees it.
    #[command(route = all, loose, gather = sum)]
    fn caller(db: &Db, cx: &Cx) -> u64 {
        let _ = db;
        cx.conn().map_or(0, |conn| conn.id)
    }

    /// Answers its argument.
    #[command(route = local)]
    fn echo(text: &[u8]) -> &[u8] {
        text
    }

    /// Answers its argument once nothing earlier is open.
    #[command(route = local, barrier)]
    fn after(text: &[u8]) -> &[u8] {
        text
    }

    /// Answers so many bytes.
    #[command(route = local)]
    fn fill(bytes: u64) -> Vec<u8> {
        vec![b'x'; bytes as usize]
    }

    /// Panics.
    #[command(route = single(1))]
    fn boom(db: &Db, key: Key<'_>) -> Option<&[u8]> {
        let _ = (db, key);
        panic!("as asked")
    }

    /// Panics at a key `bad`, and answers whether there is one for each other.
    #[command(route = keys(1..), gather = in_order)]
    fn booms(db: &Db, key: Key<'_>) -> u64 {
        assert_ne!(key.bytes(), b"bad", "as asked");
        u64::from(db.map.contains_key(key.bytes()))
    }

    /// Panics on one shard.
    #[command(route = all, gather = sum)]
    fn boom_at(db: &Db, cx: &Cx, shard: u64) -> u64 {
        let _ = db;
        assert_ne!(cx.server().place().shard as u64, shard, "as asked");
        1
    }

    /// The connection's number.
    #[command(route = session)]
    fn id(session: &mut Memory, cx: &Cx) -> u64 {
        let _ = session;
        cx.conn().map_or(0, |conn| conn.id)
    }

    /// Lets only marked commands run.
    #[command(route = session, flags(open))]
    fn lock(session: &mut Memory) -> Said {
        session.is_locked = true;
        Said("OK")
    }

    /// Lets all commands run.
    #[command(route = session, flags(open))]
    fn unlock(session: &mut Memory) -> Said {
        session.is_locked = false;
        Said("OK")
    }

    /// What happens to replies.
    #[command(route = session)]
    fn reply(session: &mut Memory, mode: &[u8]) -> Result<Said, Complaint> {
        session.reply = match mode {
            b"on" => ReplyMode::OnAtOnce,
            b"off" => ReplyMode::Off,
            b"skip" => ReplyMode::SkipNext,
            _ => return Err(Complaint("mode".into())),
        };
        Ok(Said("OK"))
    }

    /// Says goodbye and closes.
    #[command(route = session)]
    fn quit(session: &mut Memory, cx: &Cx) -> Said {
        let _ = session;
        cx.close(Close::AfterReplies);
        Said("BYE")
    }
}

server! {
    /// The toy server.
    pub(crate) Server: store = Db, ports = [ Lines, Memory => [Toy] ]
}

/// The text of a reply.
pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("toy replies are text")
}

/// The keys of `total`: every second word, from the first one behind the verb.
fn every_second(args: Args<'_>, found: &mut Vec<usize>) {
    found.extend((1..args.len()).step_by(2));
}
