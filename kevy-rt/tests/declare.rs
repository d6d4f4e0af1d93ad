//! What `#[commands]` makes of a block: records with the right facts, for a wire of words.

use std::collections::HashMap;

use kevy_rt::{
    Arg, Args, Burst, Carry, CommandInfo, CommandSet, Cursor, Cx, Encode, Key, KeyRange, MANY, Out,
    ParseLimits, Refusal, Reply, Rest, Resume, Route, Run, Value, Wire, commands,
};

/// A wire whose replies are words with a blank behind each. It never parses: requests are made by
/// the tests.
struct Words;

impl Wire for Words {
    type Scope = ();
    type Refusal = Refused;

    fn parse(
        _: &[u8],
        _: &mut Resume,
        _: &ParseLimits,
        _: &mut Burst,
    ) -> Result<(), Self::Refusal> {
        Ok(())
    }

    fn list(reply: &mut Reply<'_, Self>, len: usize) {
        reply.out().extend(format!("{len}: ").as_bytes());
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
encode!(u64 i64 String);

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

fn shard_of(args: Args<'_>, shards: usize) -> usize {
    args.get(1).map_or(0, <[u8]>::len) % shards
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
    fn login(session: &mut Login, db: &Db, name: &[u8]) -> u64 {
        session.name = name.to_vec();
        db.map.len() as u64
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
        let arguments: Vec<_> = set.arguments.iter().map(|a| (a.name, a.kind, a.token)).collect();
        assert_eq!(
            arguments,
            [
                ("key", "Key<'_>", None),
                ("value", "Value<'_>", None),
                ("ex", "Option<u64>", Some("EX")),
                ("nx", "bool", Some("NX")),
                ("at", "Option<Point>", Some("AT")),
            ]
        );
    }
    assert_eq!(info("ECHO").arguments[0].kind, "&[u8]");
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
    assert_eq!(keys("GET_ALL"), KeyRange { first: 1, last: -1, step: 1 });
    assert_eq!(keys("SET_ALL"), KeyRange { first: 1, last: -1, step: 2 });
    assert_eq!(keys("SCALED"), KeyRange { first: 2, last: -2, step: 1 });
    assert_eq!(keys("PAIR"), KeyRange { first: 1, last: 4, step: 2 });
    assert!(matches!(info("SIZE").route, Route::All { loose: false }));
    assert!(matches!(info("NAMES").route, Route::All { loose: true }));
    assert!(matches!(info("OBJECT SIZE").route, Route::Single(2)));
    let Route::At(shard) = info("PICK").route else { panic!("a place") };
    let spans = [kevy_rt::Span::new(0, 4), kevy_rt::Span::new(4, 5)];
    assert_eq!(shard(Args::new(b"PICKhello", &spans, &[]), 3), 2);
}
