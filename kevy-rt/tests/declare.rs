//! What `#[commands]` makes of a block: records with the right facts, and functions that answer
//! alike on any number of shards.

use std::collections::HashMap;
use std::num::NonZero;

use kevy_rt::sim::Simulation;
use kevy_rt::{
    Arg, ArgInfo, ArgKind, Args, Burst, Carry, CommandInfo, CommandSet, Cursor, Cx, Encode, Has,
    Key, KeyHasher, KeyRange, Keys, MANY, Open, OpenError, Out, ParseLimits, Place, ReadTx,
    Refusal, Reply, Rest, Resume, Route, Session, Store, Tx, Value, Wire, commands, server,
};

/// A request is a line of words with one blank between them, and so is a reply.
struct Words;

impl Wire for Words {
    type Scope = ();
    type Refusal = Refused;

    fn parse(
        input: &[u8],
        resume: &mut Resume,
        _: &ParseLimits,
        burst: &mut Burst,
    ) -> Result<(), Self::Refusal> {
        *resume = Resume::default();
        let mut start = 0;
        while let Some(len) = input[start..].iter().position(|&byte| byte == b'\n') {
            if burst.room() == 0 {
                return Ok(());
            }
            let mut at = start;
            for word in input[start..start + len].split(|&byte| byte == b' ') {
                burst.push(at, word.len());
                at += word.len() + 1;
            }
            start += len + 1;
            burst.close(start);
        }
        if start < input.len() {
            resume.save(burst, input.len(), [0; 2], None);
        }
        Ok(())
    }

    fn list(reply: &mut Reply<'_, Self>, len: usize) {
        reply.out().extend(format!("{len}: ").as_bytes());
    }

    fn list_end(reply: &mut Reply<'_, Self>) {
        reply.out().extend(b"; ");
    }

    fn unknown(_: Args<'_>, _: Option<&'static str>, reply: &mut Reply<'_, Self>) {
        reply.out().extend(b"unknown ");
    }
}

#[derive(Debug, PartialEq)]
struct Refused(String);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Refused(format!("{refusal:?}"))
    }
}

impl Encode<Words> for Refused {
    fn encode(self, reply: &mut Reply<'_, Words>) {
        reply.out().count_error();
        reply.out().extend(format!("!{} ", self.0).as_bytes());
    }
}

macro_rules! encode {
    ($($ty:ty)*) => { $(
        impl Encode<Words> for $ty {
            fn encode(self, reply: &mut Reply<'_, Words>) {
                reply.out().extend(format!("{self} ").as_bytes());
            }
        }
    )* };
}
encode!(u64 String);

impl Encode<Words> for () {
    fn encode(self, reply: &mut Reply<'_, Words>) {
        reply.out().extend(b"ok ");
    }
}

impl Encode<Words> for &[u8] {
    fn encode(self, reply: &mut Reply<'_, Words>) {
        reply.out().extend(self);
        reply.out().push(b' ');
    }
}

impl<T: Encode<Words>> Encode<Words> for Option<T> {
    fn encode(self, reply: &mut Reply<'_, Words>) {
        match self {
            Some(value) => value.encode(reply),
            None => reply.out().extend(b"none "),
        }
    }
}

impl<T: Encode<Words>, E: Encode<Words>> Encode<Words> for Result<T, E> {
    fn encode(self, reply: &mut Reply<'_, Words>) {
        match self {
            Ok(value) => value.encode(reply),
            Err(error) => error.encode(reply),
        }
    }
}

#[derive(Default)]
struct Db {
    map: HashMap<Vec<u8>, Vec<u8>>,
}

#[derive(Default)]
struct Login {
    name: Vec<u8>,
}

/// What the set is served over: a store that holds the set's, and a session that does.
#[derive(Default)]
struct Whole {
    db: Db,
    /// Keys that it has room for before a write; without a limit if it isn't said.
    room: Option<usize>,
    /// The commands that it was asked to admit.
    asked: Vec<&'static str>,
}

impl Store for Whole {
    type Settings = ();

    fn open((): &(), _: Place, _: &KeyHasher) -> Result<Self, OpenError> {
        Ok(Whole::default())
    }

    /// Makes room for one key.
    fn admit(&mut self, _: &Cx<'_>, command: &CommandInfo, _: Args<'_>) -> bool {
        self.asked.push(command.name);
        let Some(room) = self.room else { return true };
        while room > 0 && self.db.map.len() >= room {
            let victim = self.db.map.keys().next().cloned().unwrap_or_default();
            self.db.map.remove(&victim);
        }
        room > 0
    }
}

impl Has<Db> for Whole {
    fn part(&self, _: &Cx<'_>) -> &Db {
        &self.db
    }
    fn part_mut(&mut self, _: &Cx<'_>) -> &mut Db {
        &mut self.db
    }
}

struct Visit {
    login: Login,
}

impl Session for Visit {}

impl Open<Whole> for Visit {
    fn open(_: &mut Whole, _: &Cx<'_>, _: &mut Out) -> Option<Self> {
        Some(Visit { login: Login::default() })
    }
}

impl Has<Login> for Visit {
    fn part(&self, _: &Cx<'_>) -> &Login {
        &self.login
    }
    fn part_mut(&mut self, _: &Cx<'_>) -> &mut Login {
        &mut self.login
    }
}

server! { Server: store = Whole, ports = [ Words, Visit => [Set, Anywhere] ] }

/// What a set asks of a store that it doesn't know.
trait Counted {
    fn count(&self) -> u64;
    fn remove(&mut self, key: &[u8]) -> bool;
}

impl Counted for Whole {
    fn count(&self) -> u64 {
        self.db.map.len() as u64
    }
    fn remove(&mut self, key: &[u8]) -> bool {
        self.db.map.remove(key).is_some()
    }
}

struct Anywhere;

#[commands(store = impl Counted, wire = Words)]
impl Anywhere {
    #[command(route = all, gather = sum)]
    fn counted(store: &impl Counted) -> u64 {
        store.count()
    }

    #[command(route = single(1), write)]
    fn evict(store: &mut impl Counted, key: Key<'_>) -> u64 {
        u64::from(store.remove(key.bytes()))
    }
}

/// An argument of two, by a server's own type.
struct Point(i64, i64);

impl<'a, W: Wire> Arg<'a, W> for Point {
    const MIN: usize = 2;
    const MAX: usize = 2;

    fn take(cursor: &mut Cursor<'a>) -> Result<Self, W::Refusal> {
        let (x, y) = <(i64, i64) as Arg<'a, W>>::take(cursor)?;
        Ok(Point(x, y))
    }
}

#[derive(Debug)]
struct Longest(Vec<u8>);

impl Carry for Longest {}

fn longest(parts: impl Iterator<Item = Longest>) -> String {
    let longest = parts.max_by_key(|part| part.0.len());
    longest.map_or(String::new(), |part| String::from_utf8_lossy(&part.0).into_owned())
}

/// The first refusal, without a look at what follows it.
fn stops_early(parts: impl Iterator<Item = Result<u64, Refused>>) -> Result<u64, Refused> {
    parts.sum()
}

fn shard_of(args: Args<'_>, shards: usize) -> usize {
    args.get(1).map_or(0, <[u8]>::len) % shards
}

/// One of several, each by its word.
#[allow(dead_code, reason = "`Debug` shows it")]
#[derive(Arg, Debug)]
enum When<'a> {
    /// With a value.
    #[token("EX")]
    Seconds(u64),
    /// What is said of its value.
    #[token("AT")]
    #[arg(name = "unix-time", kind = unix_time, error = "no time")]
    UnixMillis(Digits<'a>),
    /// By its name.
    Never,
    /// With several values.
    Between { from: u64, to: u64 },
}

/// A user's type that borrows.
#[allow(dead_code, reason = "`Debug` shows it")]
#[derive(Debug)]
struct Digits<'a>(&'a [u8]);

impl<'a, W: Wire> Arg<'a, W> for Digits<'a> {
    fn take(cursor: &mut Cursor<'a>) -> Result<Self, W::Refusal> {
        let digits = cursor.bytes()?;
        let is_number = digits.iter().all(u8::is_ascii_digit);
        is_number.then_some(Digits(digits)).ok_or(Refusal::NotAnInteger.into())
    }
}

#[derive(Arg, Debug)]
enum Side {
    Left,
    Right,
}

/// One behind the other, and options behind them.
#[allow(dead_code, reason = "`Debug` shows it")]
#[derive(Arg, Debug)]
struct Limit {
    offset: u64,
    #[arg(error = "no count")]
    count: u64,
}

/// Options that several commands share.
#[derive(Arg, Debug)]
struct Shared<'a> {
    #[token("TAG")]
    #[arg(kind = pattern)]
    tags: Vec<&'a [u8]>,
    #[one_of]
    side: Option<Side>,
}

/// The arguments behind FROM.
fn behind_from(args: Args<'_>, positions: &mut Vec<usize>) {
    let from = args.iter().position(|word| word.eq_ignore_ascii_case(b"FROM"));
    positions.extend(from.map_or(args.len(), |from| from + 1)..args.len());
}

struct Set;

#[commands(store = Db, wire = Words, session = Login)]
impl Set {
    /// Answers
    /// what it was sent.
    #[command(route = local)]
    fn echo(text: &[u8]) -> &[u8] {
        text
    }

    #[command(route = local, name = "debug keys", flags(admin, "no-script"))]
    fn debug(db: &Db) -> u64 {
        db.map.len() as u64
    }

    #[command(route = session, barrier)]
    fn login(session: &mut Login, name: &[u8]) -> String {
        let before = std::mem::replace(&mut session.name, name.to_vec());
        String::from_utf8_lossy(&before).into_owned()
    }

    #[command(route = session)]
    fn whoami(session: &mut Login, db: &Db, reply: &mut Reply<'_, Words>) {
        let _ = db;
        reply.put(&session.name[..]);
    }

    #[command(route = session, write, name = "SESSION SAVE")]
    fn save(session: &mut Login, db: &mut Db, cx: &Cx<'_>) {
        let _ = cx;
        db.map.insert(session.name.clone(), Vec::new());
    }

    /// Value of a key.
    #[command(route = single(1), since = "1.0", group = "text", meta(event = "get"), flags(fast))]
    fn get(db: &Db, key: Key<'_>) -> Option<&[u8]> {
        db.map.get(key.bytes()).map(Vec::as_slice)
    }

    #[command(route = single(1), write, wake = 1, aliases("PUT"), complexity = "O(1)")]
    fn set(
        db: &mut Db,
        cx: &Cx<'_>,
        key: Key<'_>,
        value: Value<'_>,
        #[token("EX")] ex: Option<u64>,
        #[token("NX")] nx: bool,
        #[token("AT")] at: Option<Point>,
    ) -> Result<(), Refused> {
        let _ = cx;
        if nx && db.map.contains_key(key.bytes()) {
            return Err(Refused("exists".into()));
        }
        let mut value = value.bytes().to_vec();
        if let Some(ex) = ex {
            value.extend_from_slice(format!("/{ex}").as_bytes());
        }
        if let Some(Point(x, y)) = at {
            value.extend_from_slice(format!("@{x},{y}").as_bytes());
        }
        db.map.insert(key.bytes().to_vec(), value);
        Ok(())
    }

    #[command(route = single(2), name = "OBJECT SIZE")]
    fn object_size(db: &Db, key: Key, reply: &mut Reply<'_, Words>) {
        reply.put(db.map.get(key.bytes()).map(|value| value.len() as u64));
    }

    #[command(route = single(1))]
    fn slice(db: &Db, key: Key<'_>, from: Option<usize>, len: Option<usize>) -> Option<&[u8]> {
        let value = db.map.get(key.bytes())?.get(from.unwrap_or(0)..)?;
        Some(&value[..len.unwrap_or(value.len()).min(value.len())])
    }

    #[command(route = single(1), write)]
    fn append(db: &mut Db, key: Key<'_>, more: Rest<'_, 1>) -> u64 {
        let value = db.map.entry(key.bytes().to_vec()).or_default();
        more.iter().for_each(|more| value.extend_from_slice(more));
        value.len() as u64
    }

    #[command(route = keys(1..), gather = in_order)]
    fn get_all(db: &Db, key: Key<'_>) -> Option<&[u8]> {
        Set::get(db, key)
    }

    #[command(route = keys(1.. step 2), write, wake = 1, gather = all_ok)]
    fn set_all(db: &mut Db, key: Key<'_>, value: u64) -> Result<(), Refused> {
        db.map.insert(key.bytes().to_vec(), value.to_string().into_bytes());
        Ok(())
    }

    #[command(route = keys(1..), write, gather = sum)]
    fn remove(db: &mut Db, key: Key<'_>) -> u64 {
        u64::from(db.map.remove(key.bytes()).is_some())
    }

    #[command(route = keys(1..), write, gather = in_order)]
    fn take_all(db: &mut Db, key: Key<'_>) -> Option<String> {
        Some(String::from_utf8_lossy(&db.map.remove(key.bytes())?).into_owned())
    }

    #[command(route = keys(1..), write, gather = concat)]
    fn take_some(db: &mut Db, key: Key<'_>) -> impl Iterator<Item = u64> {
        db.map.remove(key.bytes()).map(|value| value.len() as u64).into_iter()
    }

    #[command(route = keys(2..=-2), gather = max)]
    fn scaled(db: &Db, factor: u64, key: Key<'_>, offset: u64) -> u64 {
        db.map.get(key.bytes()).map_or(0, |value| value.len() as u64) * factor + offset
    }

    #[command(route = keys(1..=4) step 2, gather = first)]
    fn pair(db: &Db, key: Key<'_>, end: &[u8]) -> bool_word::Word {
        bool_word::Word(db.map.get(key.bytes()).is_some_and(|value| value.ends_with(end)))
    }

    #[command(route = keys(1..), gather = concat)]
    fn letters(db: &Db, key: Key<'_>) -> impl Iterator<Item = u64> {
        db.map.get(key.bytes()).into_iter().flatten().map(|&byte| u64::from(byte - b'a'))
    }

    /// Every second key is refused, and the others are written nevertheless.
    #[command(route = keys(1..), write, gather = stops_early)]
    fn touch(db: &mut Db, key: Key<'_>) -> Result<u64, Refused> {
        db.map.insert(key.bytes().to_vec(), b"touched".to_vec());
        if key.bytes().len() % 2 == 0 { Err(Refused("even".into())) } else { Ok(1) }
    }

    #[command(route = all, gather = sum)]
    fn size(db: &Db) -> u64 {
        db.map.len() as u64
    }

    #[command(route = all, write, gather = first)]
    fn clear(db: &mut Db, #[token("ASYNC")] later: bool) {
        let _ = later;
        db.map.clear();
    }

    #[command(route = all, loose, gather = concat)]
    fn names(db: &Db) -> Vec<&[u8]> {
        let mut names: Vec<&[u8]> = db.map.keys().map(Vec::as_slice).collect();
        names.sort();
        names
    }

    #[command(route = all, gather = self::longest)]
    fn longest(db: &Db, limit: u64) -> Longest {
        let names = db.map.keys().filter(|name| name.len() as u64 <= limit);
        Longest(names.max_by_key(|name| name.len()).cloned().unwrap_or_default())
    }

    #[command(route = at(shard_of))]
    fn pick(db: &Db, text: &[u8]) -> Option<&[u8]> {
        db.map.get(text).map(Vec::as_slice)
    }

    /// Options in the middle, and what is repeated at the end.
    #[command(route = local)]
    fn middle(
        side: Side,
        #[one_of] when: Option<When<'_>>,
        #[token("LIMIT")] limit: Option<Limit>,
        #[token("BY")]
        #[arg(error = "no factor")]
        by: u64,
        #[token("NX")] nx: bool,
        #[arg(name = "pairs")] rest: Vec<(u64, Side)>,
    ) -> String {
        format!("{side:?} {when:?} {limit:?} {by} {nx} {rest:?}")
    }

    #[command(route = local)]
    fn shared(text: &[u8], options: Shared<'_>) -> String {
        let tags: Vec<_> = options.tags.iter().map(|tag| String::from_utf8_lossy(tag)).collect();
        format!("{} {tags:?} {:?}", text.len(), options.side)
    }

    /// It has to be said which.
    #[command(route = local)]
    fn one(#[one_of] side: Side, #[one_of] all: Vec<When<'_>>, last: Option<u64>) -> String {
        format!("{side:?} {} {last:?}", all.len())
    }

    /// Keys that are counted.
    #[command(route = numkeys(2), gather = in_order)]
    fn counted_keys(
        db: &Db,
        factor: u64,
        #[arg(error = "no number of keys")] numkeys: NonZero<u64>,
        key: Key<'_>,
        #[token("PLUS")] plus: Option<u64>,
    ) -> u64 {
        let len = db.map.get(key.bytes()).map_or(0, |value| value.len() as u64);
        len * factor + plus.unwrap_or(0) + numkeys.get() * 1000
    }

    #[command(route = numkeys(1), write, gather = sum)]
    fn remove_counted(
        db: &mut Db,
        _numkeys: u64,
        #[arg(error = "fewer keys than said")] key: Key<'_>,
    ) -> u64 {
        Set::remove(db, key)
    }

    /// A key, and keys that are counted.
    #[command(route = tx(1, numkeys(2)), write)]
    async fn join(
        tx: &Tx<Db>,
        destination: Key<'_>,
        numkeys: u64,
        sources: Keys<'_>,
        #[token("SEP")] separator: Option<&[u8]>,
    ) -> u64 {
        assert_eq!(sources.len() as u64, numkeys);
        let read = |db: &mut Db, key: Key<'_>| db.map.get(key.bytes()).cloned().unwrap_or_default();
        let parts = tx.on_all(sources.iter(), read).await;
        let joined = parts.join(separator.unwrap_or(b"-"));
        let len = joined.len() as u64;
        tx.on(&destination, move |db, key| db.map.insert(key.bytes().to_vec(), joined)).await;
        len
    }

    /// Keys behind a word.
    #[command(route = tx(found(behind_from)))]
    async fn total(
        tx: &ReadTx<Db>,
        #[token("X")] factor: Option<u64>,
        #[token("FROM")] keys: Keys<'_>,
    ) -> u64 {
        let read = |db: &Db, key: Key<'_>| db.map.get(key.bytes()).map_or(0, Vec::len);
        let total: usize = tx.read_all(keys.iter(), read).await.into_iter().sum();
        total as u64 * factor.unwrap_or(1)
    }

    #[cfg(any())]
    #[command(route = local)]
    fn absent() -> Missing {}
}

mod bool_word {
    //! A reply of a module of its own.

    pub(super) struct Word(pub(super) bool);

    impl kevy_rt::Encode<super::Words> for Word {
        fn encode(self, reply: &mut kevy_rt::Reply<'_, super::Words>) {
            reply.out().extend(if self.0 { b"yes " } else { b"no " });
        }
    }
}

fn info(name: &str) -> &'static CommandInfo {
    let commands = <Set as CommandSet<Db, Login>>::COMMANDS;
    let command = commands.iter().find(|command| command.info.name == name);
    &command.unwrap_or_else(|| panic!("no record of {name}")).info
}

/// What is told of arguments: optional ones in brackets, several with dots, and with a star where
/// the word is said again.
fn told(arguments: &[ArgInfo]) -> String {
    let told = arguments.iter().map(|arg| {
        let token = arg.token.map_or(String::new(), |token| format!("{token} "));
        let kind = match arg.kind {
            ArgKind::Token => String::new(),
            ArgKind::OneOf(parts) => {
                let parts: Vec<_> = parts.iter().map(|part| told(&[*part])).collect();
                format!(":({})", parts.join("|"))
            }
            ArgKind::Block(parts) => format!(":{{{}}}", told(parts)),
            ArgKind::Options(parts) => format!(":<{}>", told(parts)),
            kind => format!(":{kind:?}"),
        };
        let text = format!("{token}{}{kind}", arg.name);
        let text = if arg.is_optional { format!("[{text}]") } else { text };
        let dots = if arg.is_multiple { "..." } else { "" };
        format!("{text}{dots}{}", if arg.repeats_token { "*" } else { "" })
    });
    told.collect::<Vec<_>>().join(" ")
}

#[test]
fn records_say_what_was_declared() {
    let get = info("GET");
    assert_eq!((get.set, get.doc), ("Set", "Value of a key."));
    assert!(matches!(get.route, Route::Single(1)));
    assert!(!get.write && get.wake.is_none() && !get.barrier);
    assert!(get.has_flag("fast"));
    assert_eq!(
        (get.fact("since"), get.fact("group"), get.fact("event")),
        (Some("1.0"), Some("text"), Some("get"))
    );
    assert_eq!(info("ECHO").doc, "Answers what it was sent.");
    assert_eq!(info("DEBUG KEYS").flags, ["admin", "no-script"]);
    assert!(info("LOGIN").barrier);
    for name in ["SET", "PUT"] {
        let set = info(name);
        assert!(set.write);
        assert_eq!((set.wake, set.fact("complexity")), (Some(1), Some("O(1)")));
        assert_eq!(told(set.arguments), "key:Key value:Text [EX ex:Integer] [NX nx] [AT at:Text]");
    }
    assert_eq!(told(info("ECHO").arguments), "text:Text");
    assert_eq!(
        told(info("MIDDLE").arguments),
        "side:(LEFT left|RIGHT right) \
         [when:(EX seconds:Integer|AT unix-time:UnixTime|NEVER never|\
         BETWEEN between:{from:Integer to:Integer})] \
         [LIMIT limit:{offset:Integer count:Integer}] BY by:Integer [NX nx] pairs:Text..."
    );
    assert_eq!(
        told(info("SHARED").arguments),
        "text:Text [options:<[TAG tags:Pattern]...* [side:(LEFT left|RIGHT right)]>]"
    );
    assert_eq!(told(info("SLICE").arguments), "key:Key [from:Integer] [len:Integer]");
    assert_eq!(told(info("TOTAL").arguments), "[X factor:Integer] FROM keys:Key...");
    assert!(<Set as CommandSet<Db, Login>>::COMMANDS.iter().all(|c| c.info.name != "ABSENT"));
}

#[test]
fn arity_follows_the_signature() {
    for (name, min, max) in [
        ("ECHO", 2, 2),
        ("DEBUG KEYS", 2, 2),
        ("GET", 2, 2),
        ("SET", 3, MANY),
        ("OBJECT SIZE", 3, 3),
        ("SLICE", 2, 4),
        ("APPEND", 3, MANY),
        ("GET_ALL", 2, MANY),
        ("SET_ALL", 3, MANY),
        ("SCALED", 4, MANY),
        ("PAIR", 3, 5),
        ("SIZE", 1, 1),
        ("CLEAR", 1, MANY),
        ("LONGEST", 2, 2),
        ("MIDDLE", 6, MANY),
        ("SHARED", 2, MANY),
        ("ONE", 2, MANY),
        ("COUNTED_KEYS", 4, MANY),
        ("REMOVE_COUNTED", 3, MANY),
        ("JOIN", 4, MANY),
        ("TOTAL", 3, MANY),
    ] {
        assert_eq!((info(name).min, info(name).max), (min, max), "{name}");
    }
}

#[test]
fn routes_are_those_of_the_attribute() {
    let keys = |name| match info(name).route {
        Route::Keys(range) => range,
        other => panic!("{other:?}"),
    };
    assert_eq!(keys("GET_ALL"), KeyRange::spread(1, -1, 1));
    assert_eq!(keys("SET_ALL"), KeyRange::spread(1, -1, 2));
    assert_eq!(keys("SCALED"), KeyRange::spread(2, -2, 1));
    assert_eq!(keys("PAIR"), KeyRange::spread(1, 4, 2));
    assert_eq!(keys("COUNTED_KEYS"), KeyRange::counted(2));
    assert!(matches!(info("SIZE").route, Route::All { loose: false }));
    assert!(matches!(info("NAMES").route, Route::All { loose: true }));
    assert!(matches!(info("OBJECT SIZE").route, Route::Single(2)));
    let Route::At(shard) = info("PICK").route else { panic!("a place") };
    let spans = [kevy_rt::Span::new(0, 4), kevy_rt::Span::new(4, 5)];
    assert_eq!(shard(Args::new(b"PICKhello", &spans, &[]), 3), 2);
}

/// Requests and their replies, on one connection, one after the other.
const SCRIPT: &[(&str, &str)] = &[
    // Routes without a key, and the session.
    ("echo hello", "hello "),
    ("echo", "!Arity(\"ECHO\") "),
    ("login ann", " "),
    ("login bob", "ann "),
    ("whoami", "bob "),
    ("nothing", "unknown "),
    // One key; options in any order, in any case, each with its value.
    ("get a", "none "),
    ("set a 1", "ok "),
    ("get a", "1 "),
    ("SET a 2 nx", "!exists "),
    ("PUT b 2 Ex 7 NX nx", "ok "),
    ("get b", "2/7 "),
    ("set b 3 at 1 -1 ex 5", "ok "),
    ("get b", "3/5@1,-1 "),
    ("set b 3 ex", "!Syntax "),
    ("set b 3 ex x", "!NotAnInteger "),
    ("set b 3 ex 1 ex 2", "ok "),
    ("get b", "3/2 "),
    ("set b 3 at 1 -1 ex 5", "ok "),
    ("set b 3 at 1", "!Syntax "),
    ("set b 3 later", "!Syntax "),
    ("get b", "3/5@1,-1 "),
    ("get a b", "!Arity(\"GET\") "),
    ("object size b", "8 "),
    ("object size", "!Arity(\"OBJECT SIZE\") "),
    ("slice b", "3/5@1,-1 "),
    ("slice b 4", "1,-1 "),
    ("slice b 4 2", "1, "),
    ("slice b x", "!NotAnInteger "),
    ("append c ab c", "3 "),
    ("append c", "!Arity(\"APPEND\") "),
    ("get c", "abc "),
    // Several keys: replies in their order, values folded, everything checked first.
    ("get_all c x a c b", "5: abc none 1 abc 3/5@1,-1 ; "),
    ("get_all c", "1: abc ; "),
    ("set_all d 4 e 55 f 666", "ok "),
    ("set_all g 1 h 2 i", "!Arity(\"SET_ALL\") "),
    ("set_all g 1 h 2 i x", "!NotAnInteger "),
    ("get_all g h i d e f", "6: none none none 4 55 666 ; "),
    ("scaled 10 d e f 1", "31 "),
    ("scaled x d e f 1", "!NotAnInteger "),
    ("scaled 10 d e f x", "!NotAnInteger "),
    ("scaled 10 d", "!Arity(\"SCALED\") "),
    ("pair d 4 f 4", "yes "),
    ("pair f 4 d 4", "no "),
    ("pair f 6", "yes "),
    ("pair f", "!Arity(\"PAIR\") "),
    ("letters c", "3: 0 1 2 ; "),
    ("touch k1 k22 k3 k44 k5", "!even "),
    ("remove k1 k22 k3 k44 k5 k1", "5 "),
    ("remove", "!Arity(\"REMOVE\") "),
    // Every shard.
    ("size", "6 "),
    ("longest 0", " "),
    ("longest x", "!NotAnInteger "),
    ("set long 1", "ok "),
    ("longest 9", "long "),
    ("clear ASYNC async", "ok "),
    ("clear now", "!Syntax "),
    ("size", "0 "),
    ("names", "0: ; "),
    ("set a 1", "ok "),
    ("names", "1: a ; "),
    // A set that doesn't know the store.
    ("counted", "1 "),
    ("evict a", "1 "),
    ("evict a", "0 "),
    ("counted", "0 "),
    ("set a 1", "ok "),
    // Options in the middle: any order and case, the last one counts, one excludes the other.
    ("middle left by 2 1 right", "Left None None 2 false [(1, Right)] "),
    (
        "middle RIGHT limit 1 2 NX ex 5 by 3 EX 6 1 left 2 right",
        "Right Some(Seconds(6)) Some(Limit { offset: 1, count: 2 }) 3 true [(1, Left), (2, Right)] ",
    ),
    (
        "middle left between 1 2 by 1 1 left",
        "Left Some(Between { from: 1, to: 2 }) None 1 false [(1, Left)] ",
    ),
    ("middle left never by 1 1 left", "Left Some(Never) None 1 false [(1, Left)] "),
    (
        "middle left at 11 by 1 1 left",
        "Left Some(UnixMillis(Digits([49, 49]))) None 1 false [(1, Left)] ",
    ),
    ("middle left ex 5 never by 1 1 left", "!Syntax "),
    ("middle left at x by 1 1 left", "!Argument(\"no time\") "),
    ("middle left by x 1 left", "!Argument(\"no factor\") "),
    ("middle left by 1 limit 1 x 1 left", "!Argument(\"no count\") "),
    ("middle left by 1 limit x 1 1 left", "!NotAnInteger "),
    ("middle left nx ex 5 1 left", "!Syntax "),
    ("middle up by 1 1 left", "!Syntax "),
    ("middle left by 1 1 up", "!Syntax "),
    ("middle left by 1 1 left 2", "!Syntax "),
    ("middle left by 1 1 left at", "!NotAnInteger "),
    ("middle left by 1 at", "!Arity(\"MIDDLE\") "),
    ("middle left 1 left by 1", "!Syntax "),
    ("shared text", "4 [] None "),
    ("shared text tag a LEFT tag b tag a left", "4 [\"a\", \"b\", \"a\"] Some(Left) "),
    ("shared text left right", "!Syntax "),
    ("shared text tag", "!Syntax "),
    ("one left", "Left 0 None "),
    ("one never left ex 1 never 7", "Left 3 Some(7) "),
    ("one 7", "!Syntax "),
    ("one left 7 8", "!TooMany "),
    ("slice b 1 2 3", "!TooMany "),
    // Keys that are counted.
    ("set_all d 4 e 55 f 666", "ok "),
    ("counted_keys 10 3 d e f", "3: 3010 3020 3030 ; "),
    ("counted_keys 10 2 d e plus 1", "2: 2011 2021 ; "),
    ("counted_keys 10 2 d e f", "!Syntax "),
    ("counted_keys 10 4 d e f", "!Syntax "),
    ("counted_keys 10 0 d", "!Argument(\"no number of keys\") "),
    ("counted_keys 10 x d", "!Argument(\"no number of keys\") "),
    ("counted_keys 10 -1 d", "!Argument(\"no number of keys\") "),
    ("counted_keys 10 18446744073709551615 d", "!Syntax "),
    ("counted_keys x 1 d", "!NotAnInteger "),
    ("counted_keys 10 1 d plus x", "!NotAnInteger "),
    ("counted_keys 10 1", "!Arity(\"COUNTED_KEYS\") "),
    ("join j 3 d e f", "8 "),
    ("get j", "4-55-666 "),
    ("join d 2 d d sep +", "3 "),
    ("get d", "4+4 "),
    ("join j 4 d e f", "!Syntax "),
    ("join j 0 d", "!Syntax "),
    ("join j x d", "!NotAnInteger "),
    ("join j 1 d e", "!Syntax "),
    ("total from d e f", "8 "),
    ("total X 2 FROM d e", "10 "),
    ("total X 2 FROM", "!Syntax "),
    ("total X 2", "!Syntax "),
    ("remove_counted 4 d e f j", "4 "),
    ("remove_counted 2 d", "!Argument(\"fewer keys than said\") "),
    ("remove_counted 0 d", "!Argument(\"fewer keys than said\") "),
    ("remove_counted x d", "!NotAnInteger "),
    ("size", "1 "),
    // One shard that a function computes.
    ("pick", "!Arity(\"PICK\") "),
];

#[test]
fn any_number_of_shards_answers_alike() {
    for shards in [1, 2, 5] {
        for seed in 0..4 {
            let mut server = Simulation::<Server>::new(&(), shards, seed);
            let client = server.connect(0);
            for (request, reply) in SCRIPT {
                let answered = server.call(client, format!("{request}\n").as_bytes());
                let answered = String::from_utf8_lossy(&answered).into_owned();
                assert_eq!(answered, *reply, "{request}, {shards} shards, seed {seed}");
            }
        }
    }
}

#[test]
fn elements_of_several_keys_are_one_list() {
    for shards in [1, 2, 5] {
        let mut server = Simulation::<Server>::new(&(), shards, 1);
        let client = server.connect(0);
        server.call(client, b"append x abc\nappend y d\nappend z ef\n");
        let answered = server.call(client, b"letters x none y z\n");
        let mut words: Vec<&[u8]> = answered.split(|&byte| byte == b' ').collect();
        assert_eq!(words[0], b"6:");
        words[1..].sort();
        assert_eq!(words[1..], [b"", b"0" as &[u8], b"1", b"2", b"3", b"4", b"5", b";"]);
    }
}

/// Letters that any number of shards up to five has some of each.
const KEYS: &str = "a b c d e f g h i j k l m n o p q r s t u v w x y z";

/// A server of so many shards with a value at each of the keys, and a client.
fn filled(shards: usize) -> (Simulation<Server>, kevy_rt::sim::Client) {
    let mut server = Simulation::<Server>::new(&(), shards, 3);
    let client = server.connect(0);
    for key in KEYS.split(' ') {
        assert_eq!(server.call(client, format!("append {key} {key}\n").as_bytes()), b"1 ");
    }
    for shard in 0..shards {
        assert!(server.with_shard(shard, |store, _| store.db.map.len()) > 0);
    }
    (server, client)
}

/// Requests that may write, each of all keys where it takes several, and the command of each.
fn writes() -> [(String, &'static str); 9] {
    let numbered: String = KEYS.split(' ').map(|key| format!(" {key} 1")).collect();
    [
        ("set a 1".into(), "SET"),
        ("append z 1".into(), "APPEND"),
        (format!("set_all{numbered}"), "SET_ALL"),
        (format!("remove {KEYS}"), "REMOVE"),
        (format!("touch {KEYS}"), "TOUCH"),
        (format!("take_all {KEYS}"), "TAKE_ALL"),
        (format!("take_some {KEYS}"), "TAKE_SOME"),
        ("clear".into(), "CLEAR"),
        ("session save".into(), "SESSION SAVE"),
    ]
}

/// A command's calls, rejections and failures on all shards, and all error replies.
fn counts(server: &mut Simulation<Server>, name: &str) -> [u64; 4] {
    let mut counts = [0; 4];
    for shard in 0..server.shards() {
        server.with_shard(shard, |_, server| {
            let command = server.commands().find(|(info, _)| info.name == name);
            let (_, stats) = command.expect("it is declared");
            let errors = &server.metrics().error_replies;
            let counters = [&stats.calls, &stats.rejected, &stats.failed, errors];
            counts.iter_mut().zip(counters).for_each(|(count, counter)| *count += counter.get());
        });
    }
    counts
}

#[test]
fn a_store_without_room_refuses_what_may_write() {
    for shards in [1, 2, 5] {
        let (mut server, client) = filled(shards);
        for shard in 0..shards {
            server.with_shard(shard, |store, _| store.room = Some(0));
        }
        for (request, name) in writes() {
            let [calls, rejected, failed, errors] = counts(&mut server, name);
            let answered = server.call(client, format!("{request}\n").as_bytes());
            assert_eq!(
                String::from_utf8_lossy(&answered),
                "!NoRoom ",
                "{request}, {shards} shards"
            );
            let expected = [calls, rejected + 1, failed, errors + 1];
            assert_eq!(counts(&mut server, name), expected, "{request}, {shards} shards");
        }
        for shard in 0..shards {
            server.with_shard(shard, |store, _| store.asked.clear());
        }
        assert_eq!(server.call(client, b"size\nget a\nget_all a b\n"), b"26 a 2: a b ; ");
        for shard in 0..shards {
            server.with_shard(shard, |store, _| assert!(store.asked.is_empty()));
        }
        // In a pipeline a refusal takes the place of its request's reply.
        let pipeline = b"echo 1\nset b 1\nset_all a 1 b 2 c 3\nget b\nclear\necho 2\n";
        assert_eq!(server.call(client, pipeline), b"1 !NoRoom !NoRoom b !NoRoom 2 ");
    }
}

#[test]
fn one_shard_without_room_refuses_the_whole_request() {
    for shards in [2, 5] {
        for full in 0..shards {
            let of_several = |name| matches!(info(name).route, Route::Keys(_) | Route::All { .. });
            for (request, name) in writes().into_iter().filter(|(_, name)| of_several(name)) {
                let (mut server, client) = filled(shards);
                for shard in 0..shards {
                    server.with_shard(shard, |store, _| store.asked.clear());
                }
                server.with_shard(full, |store, _| store.room = Some(0));
                let maps = |server: &mut Simulation<Server>| -> Vec<_> {
                    (0..shards)
                        .map(|at| server.with_shard(at, |store, _| store.db.map.clone()))
                        .collect()
                };
                let before = maps(&mut server);
                let answered = server.call(client, format!("{request}\necho on\n").as_bytes());
                assert_eq!(
                    String::from_utf8_lossy(&answered),
                    "!NoRoom on ",
                    "{request}, {full} of {shards} shards"
                );
                assert_eq!(counts(&mut server, name), [0, 1, 0, 1]);
                assert_eq!(maps(&mut server), before, "no shard has run a part of it");
                for shard in 0..shards {
                    let asked = server.with_shard(shard, |store, _| store.asked.clone());
                    assert!(asked.iter().all(|asked| *asked == name) && asked.len() <= 1);
                    assert!(shard != full || asked == [name], "the full one was asked");
                }
            }
        }
    }
}

#[test]
fn a_store_makes_room_before_a_write() {
    for shards in [1, 2, 5] {
        let (mut server, client) = filled(shards);
        for shard in 0..shards {
            server.with_shard(shard, |store, _| store.room = Some(2));
        }
        for key in KEYS.split(' ') {
            let request = format!("set {key} new\nget {key}\n");
            assert_eq!(server.call(client, request.as_bytes()), b"ok new ");
        }
        for shard in 0..shards {
            assert!(server.with_shard(shard, |store, _| store.db.map.len()) <= 2);
        }
    }
}
