//! SCAN over a whole server, from cursor 0 to cursor 0, while keys come, move, go and expire.
//!
//! ```text
//! case     a server of 1 to 5 shards, and some passes
//! pass     a filter; rounds until the cursor is 0
//! round    a change, and behind or amid it a call of SCAN
//! world    the server, its clients, and which keys there are
//! ```
//!
//! What a call returns is there; what is there from a pass's start to its end was returned; and a
//! pass during which nothing changes returns each key once. Any other text for a cursor is
//! answered, and what it is answered leads to an end.
//!
//! The environment's `PROPTEST_CASES` says how many cases are run of each property. A campaign of
//! many is for a release build:
//! `PROPTEST_CASES=50000 cargo test --release -p kevy-redis --test scan`.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::sync::OnceLock;
use std::time::Duration;

use kevy_redis::Redis;
use kevy_redis::config::Config;
use kevy_rt::KeyHasher;
use kevy_rt::sim::{Client, Simulation};
use proptest::prelude::*;

/// Cases of a run that doesn't say how many: some half a minute in a debug build.
const CASES: u32 = 2000;

/// How long a case that fails is made smaller. A large one would take many minutes.
const SHRINK_MS: u32 = 30_000;

/// Most keys of a usual case, of a large one, and of one whose keys share a table of the index. The
/// large ones take most of the time.
const FEW: usize = 300;
const MANY: usize = 20_000;
const CROWD: usize = 15_000;

/// Where a hash has the eight bits by which the index chooses a table. Keys that share them make one
/// table split as it otherwise does for hundreds of thousands of keys.
const TABLE_SHIFT: u32 = 44;
const TABLES: u64 = 256;

/// Calls in which a shard of empty tables is passed.
const CALLS_PER_SHARD: usize = 200;

/// Runs of a simulation in which a request is answered. Whether something happens in a turn is drawn,
/// so that one of a million runs ends before.
const RUNS: usize = 100;

fn config() -> ProptestConfig {
    let cases = env::var("PROPTEST_CASES").ok();
    let cases = cases.map_or(CASES, |cases| cases.parse().expect("PROPTEST_CASES is a number"));
    ProptestConfig { cases, max_shrink_time: SHRINK_MS, ..ProptestConfig::default() }
}

/// Names that a case may use.
#[derive(Clone, Copy, Debug)]
enum Names {
    /// So many, as any others.
    Spread(usize),
    /// So many that share their table in the index.
    Crowded(usize),
}

/// Names for [`Names::Crowded`], by seed: to find them takes a while.
static CROWDED: [OnceLock<Vec<String>>; 4] = [const { OnceLock::new() }; 4];

impl Names {
    /// The seed of the server that they are for: `seed`, or one that stands for it.
    fn seed(self, seed: u64) -> u64 {
        match self {
            Names::Spread(_) => seed,
            Names::Crowded(_) => seed % CROWDED.len() as u64,
        }
    }

    fn list(self, seed: u64) -> Vec<String> {
        match self {
            Names::Spread(count) => (0..count).map(name).collect(),
            Names::Crowded(count) => {
                CROWDED[seed as usize].get_or_init(|| crowded(seed))[..count].to_vec()
            }
        }
    }
}

/// Numbered, and of several lengths.
fn name(number: usize) -> String {
    let len = [0, 8, 40, 300][number % 4];
    format!("{:k<len$}:{number}", "")
}

/// Tables of four sizes follow one another, so that each seed has one of its own.
fn crowded(seed: u64) -> Vec<String> {
    let hasher = KeyHasher::seeded(seed);
    let table = |name: &String| hasher.hash(name.as_bytes()) >> TABLE_SHIFT & (TABLES - 1);
    (0..).map(name).filter(|name| table(name) == seed).take(CROWD).collect()
}

fn names() -> impl Strategy<Value = Names> {
    prop_oneof![
        200 => (0..FEW).prop_map(Names::Spread),
        1 => (FEW..MANY).prop_map(Names::Spread),
        4 => (FEW..CROWD).prop_map(Names::Crowded),
    ]
}

/// Some of the names in turn: where they start and how many, of all 2^16.
#[derive(Clone, Copy, Debug)]
struct Span(u16, u16);

impl Span {
    fn of(self, count: usize) -> impl Iterator<Item = usize> {
        let share = |of: u16| (count * usize::from(of)) >> 16;
        let (from, len) = (share(self.0), (share(self.1) + 1).min(count));
        (from..from + len).map(move |at| at % count)
    }
}

fn span() -> impl Strategy<Value = Span> {
    let len = prop_oneof![0..2000u16, any::<u16>()];
    (any::<u16>(), len).prop_map(|(from, len)| Span(from, len))
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    /// With values of that length.
    Set(Span, usize),
    /// The same, for so many milliseconds.
    SetFor(Span, usize, u64),
    Append(Span, usize),
    Delete(Span),
    Expire(Span, u64),
    Persist(Span),
    Clear,
    /// The same names in another database.
    Elsewhere(Span),
    /// So many milliseconds pass.
    Wait(u64),
}

fn change() -> impl Strategy<Value = Change> {
    let len = || prop::sample::select(vec![0, 3, 20, 60, 200, 1000]);
    let time_ms = || 1..400u64;
    prop_oneof![
        4 => Just(Change::Nothing),
        6 => (span(), len()).prop_map(|(span, len)| Change::Set(span, len)),
        1 => (span(), len(), time_ms()).prop_map(|(span, len, ms)| Change::SetFor(span, len, ms)),
        2 => (span(), len()).prop_map(|(span, len)| Change::Append(span, len)),
        6 => span().prop_map(Change::Delete),
        1 => (span(), time_ms()).prop_map(|(span, ms)| Change::Expire(span, ms)),
        1 => span().prop_map(Change::Persist),
        1 => span().prop_map(Change::Elsewhere),
        1 => time_ms().prop_map(Change::Wait),
        1 => prop_oneof![9 => Just(Change::Nothing), 1 => Just(Change::Clear)],
    ]
}

/// What a pass asks for.
#[derive(Clone, Copy, Debug)]
struct Filter {
    /// MATCH: the last digit of the name.
    digit: Option<u8>,
    /// TYPE.
    kind: Option<&'static str>,
}

impl Filter {
    fn wants(self, name: &str) -> bool {
        self.digit.is_none_or(|digit| name.as_bytes().last() == Some(&(b'0' + digit)))
            && self.kind.is_none_or(|kind| kind.eq_ignore_ascii_case("string"))
    }
}

fn filter() -> impl Strategy<Value = Filter> {
    let kind = prop::sample::select(vec!["string", "String", "hash", "none"]);
    (prop::option::weighted(0.2, 0..10u8), prop::option::weighted(0.2, kind))
        .prop_map(|(digit, kind)| Filter { digit, kind })
}

#[derive(Clone, Debug)]
struct Round {
    change: Change,
    /// Whether the call of SCAN runs at the same time.
    is_amid: bool,
    count: Option<usize>,
}

fn round() -> impl Strategy<Value = Round> {
    let count = prop_oneof![3 => 1..3usize, 2 => 1..30usize, 1 => 1..=1000usize];
    (change(), any::<bool>(), prop::option::weighted(0.9, count))
        .prop_map(|(change, is_amid, count)| Round { change, is_amid, count })
}

#[derive(Clone, Debug)]
struct Pass {
    filter: Filter,
    rounds: Vec<Round>,
}

fn pass() -> impl Strategy<Value = Pass> {
    (filter(), prop::collection::vec(round(), 0..40))
        .prop_map(|(filter, rounds)| Pass { filter, rounds })
}

/// What a call of SCAN answered.
struct Answer {
    cursor: String,
    keys: Vec<String>,
}

impl Answer {
    /// None for an error.
    fn read(reply: &str) -> Option<Answer> {
        if reply.starts_with('-') {
            assert_eq!(reply, "-ERR invalid cursor\r\n");
            return None;
        }
        let lines: Vec<_> = reply.split_terminator("\r\n").collect();
        let [array, _, cursor, length, keys @ ..] = &lines[..] else {
            panic!("no answer: {reply:?}")
        };
        assert_eq!((*array, *length), ("*2", &format!("*{}", keys.len() / 2)[..]));
        let keys = keys.chunks(2).map(|key| key[1].to_owned()).collect();
        Some(Answer { cursor: (*cursor).to_owned(), keys })
    }
}

fn request(words: &[&str]) -> String {
    let count = words.len();
    let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{count}\r\n{words}")
}

/// A server, and what has to be in it.
struct World {
    server: Simulation<Redis>,
    scanner: Client,
    changer: Client,
    /// It has selected another database.
    elsewhere: Client,
    names: Vec<String>,
    /// Each key that is there, and its last millisecond.
    there: BTreeMap<String, u64>,
    now_ms: u64,
}

impl World {
    fn new(seed: u64, shards: usize, names: Names) -> Self {
        let seed = names.seed(seed);
        let mut server = Simulation::<Redis>::new(&Config::default().into(), shards, seed);
        let [scanner, changer, elsewhere] = [(); 3].map(|()| server.connect(0));
        let names = names.list(seed);
        let there = BTreeMap::new();
        let mut world = World { server, scanner, changer, elsewhere, names, there, now_ms: 0 };
        world.make(elsewhere, &request(&["SELECT", "1"]));
        world
    }

    fn shards(&self) -> usize {
        self.server.shards()
    }

    /// Most calls of a pass: each one returns a key, or is through with a lot of empty places.
    fn most_calls(&self) -> usize {
        self.names.len() + CALLS_PER_SHARD * self.shards()
    }

    /// Notes a change that the changer makes. Answers what it sends, and the keys that go.
    fn note(&mut self, change: Change) -> (String, BTreeSet<String>) {
        let (mut sent, mut gone) = (String::new(), BTreeSet::new());
        let now_ms = self.now_ms;
        let named = |span: Span| span.of(self.names.len()).map(|at| &self.names[at]);
        match change {
            Change::Nothing => {}
            Change::Set(span, len) => {
                for name in named(span) {
                    sent += &request(&["SET", name, &"x".repeat(len)]);
                    self.there.insert(name.clone(), u64::MAX);
                }
            }
            Change::SetFor(span, len, time_ms) => {
                for name in named(span) {
                    sent += &request(&["SET", name, &"x".repeat(len), "PX", &time_ms.to_string()]);
                    self.there.insert(name.clone(), now_ms + time_ms);
                }
            }
            Change::Append(span, len) => {
                for name in named(span) {
                    sent += &request(&["APPEND", name, &"y".repeat(len)]);
                    self.there.entry(name.clone()).or_insert(u64::MAX);
                }
            }
            Change::Delete(span) => {
                for name in named(span) {
                    sent += &request(&["DEL", name]);
                    gone.extend(self.there.remove_entry(name).map(|(name, _)| name));
                }
            }
            Change::Expire(span, time_ms) => {
                for name in named(span) {
                    sent += &request(&["PEXPIRE", name, &time_ms.to_string()]);
                    self.there.entry(name.clone()).and_modify(|last| *last = now_ms + time_ms);
                }
            }
            Change::Persist(span) => {
                for name in named(span) {
                    sent += &request(&["PERSIST", name]);
                    self.there.entry(name.clone()).and_modify(|last| *last = u64::MAX);
                }
            }
            Change::Clear => {
                sent += &request(&["FLUSHDB"]);
                gone.extend(std::mem::take(&mut self.there).into_keys());
            }
            Change::Elsewhere(_) | Change::Wait(_) => {
                unreachable!("nothing is sent by the changer")
            }
        }
        (sent, gone)
    }

    /// Fills another database, which nobody asks for.
    fn fill_elsewhere(&mut self, span: Span) {
        let named = span.of(self.names.len()).map(|at| &self.names[at]);
        let sent: String = named.map(|name| request(&["SET", name, "elsewhere"])).collect();
        self.make(self.elsewhere, &sent);
    }

    /// Lets time pass. Answers the keys that go.
    fn wait(&mut self, time_ms: u64) -> BTreeSet<String> {
        self.server.advance(Duration::from_millis(time_ms));
        self.now_ms += time_ms;
        let now_ms = self.now_ms;
        let gone = self.there.extract_if(.., |_, last| *last < now_ms);
        gone.map(|(name, _)| name).collect()
    }

    /// Makes a round's change and its call of SCAN. Answers the keys that went, and the call's
    /// answer, all of whose keys were there.
    fn run(
        &mut self,
        round: &Round,
        cursor: &str,
        filter: Filter,
    ) -> (BTreeSet<String>, Option<Answer>) {
        let (sent, gone) = match round.change {
            Change::Wait(time_ms) => (String::new(), self.wait(time_ms)),
            Change::Elsewhere(span) => {
                self.fill_elsewhere(span);
                Default::default()
            }
            change => self.note(change),
        };
        let is_amid = round.is_amid && !sent.is_empty();
        let answer = if is_amid {
            self.send(self.changer, &sent);
            for _ in 0..self.server.random() % 30 {
                self.server.step();
            }
            let answer = self.scan(cursor, round.count, filter);
            self.finish(self.changer);
            answer
        } else {
            self.make(self.changer, &sent);
            self.scan(cursor, round.count, filter)
        };
        for key in answer.iter().flat_map(|answer| &answer.keys) {
            let was_there = self.there.contains_key(key) || is_amid && gone.contains(key);
            assert!(was_there, "{key} is not there");
            assert!(filter.wants(key), "{key} is not wanted");
        }
        (gone, answer)
    }

    fn send(&mut self, client: Client, requests: &str) {
        self.server.send(client, requests.as_bytes());
        self.server.send(client, b"PING\r\n");
    }

    /// Runs until all of [`World::send`] is answered. Answers the replies.
    fn receive(&mut self, client: Client) -> String {
        let mut replies = Vec::new();
        for _ in 0..RUNS {
            replies.extend(self.server.receive(client));
            if let Some(replies) = replies.strip_suffix(b"+PONG\r\n") {
                return str::from_utf8(replies).expect("replies here are text").to_owned();
            }
            self.server.run();
        }
        panic!("no answer behind {}", replies.escape_ascii());
    }

    /// Sends changes, if there are any, and waits for them.
    fn make(&mut self, client: Client, changes: &str) {
        if !changes.is_empty() {
            self.send(client, changes);
            self.finish(client);
        }
    }

    /// Waits for changes.
    fn finish(&mut self, client: Client) {
        let replies = self.receive(client);
        assert!(!replies.contains('-'), "a change is refused: {replies}");
    }

    fn scan(&mut self, cursor: &str, count: Option<usize>, filter: Filter) -> Option<Answer> {
        let count = count.map(|count| count.to_string());
        let pattern = filter.digit.map(|digit| format!("*{digit}"));
        let mut words = vec!["SCAN", cursor];
        words.extend(pattern.iter().flat_map(|pattern| ["MATCH", pattern]));
        words.extend(count.iter().flat_map(|count| ["COUNT", count]));
        words.extend(filter.kind.iter().flat_map(|kind| ["TYPE", kind]));
        self.send(self.scanner, &request(&words));
        Answer::read(&self.receive(self.scanner))
    }

    /// Makes a whole pass. Its rounds done, it goes on without changes.
    fn pass(&mut self, pass: &Pass) {
        let wants = |name: &&String| pass.filter.wants(name);
        let mut missed: BTreeSet<_> = self.there.keys().filter(wants).cloned().collect();
        let quiet = Round {
            change: Change::Nothing,
            is_amid: false,
            count: Some(10 + self.names.len() / 20),
        };
        let rounds = pass.rounds.iter().chain(std::iter::repeat(&quiet));
        let (mut cursor, mut seen, mut is_quiet) = ("0".to_owned(), BTreeSet::new(), true);
        for round in rounds.take(self.most_calls()) {
            is_quiet &= matches!(round.change, Change::Nothing | Change::Elsewhere(_));
            let (gone, answer) = self.run(round, &cursor, pass.filter);
            let answer = answer.expect("the cursor is the server's own");
            for key in gone.iter().chain(&answer.keys) {
                missed.remove(key);
            }
            for key in answer.keys {
                assert!(seen.insert(key) || !is_quiet, "a key is returned again");
            }
            cursor = answer.cursor;
            if cursor == "0" {
                assert!(missed.is_empty(), "{} are missed: {missed:?}", missed.len());
                return;
            }
        }
        panic!("the pass doesn't end");
    }

    /// Goes on from a cursor that nobody was given.
    fn pass_from(&mut self, forged: &str, pass: &Pass) {
        let quiet = Round { change: Change::Nothing, is_amid: false, count: Some(100) };
        let rounds = pass.rounds.iter().chain(std::iter::repeat(&quiet));
        let mut cursor = forged.to_owned();
        for round in rounds.take(self.most_calls()) {
            let Some(answer) = self.run(round, &cursor, pass.filter).1 else {
                assert_eq!(cursor, forged, "the server's own cursor is refused");
                return;
            };
            cursor = answer.cursor;
            if cursor == "0" {
                return;
            }
        }
        panic!("the pass doesn't end");
    }
}

/// What somebody may send for a cursor.
fn forged() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<u64>().prop_map(|number| number.to_string()),
        (any::<u64>(), 0..64u32).prop_map(|(number, shift)| (number >> shift).to_string()),
        (0..64u32, -9..9i64)
            .prop_map(|(shift, by)| (1u64 << shift).wrapping_add_signed(by).to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        (0..9u64).prop_map(|below| (u64::MAX - below).to_string()),
        "[-+ 0-9a-z]{0,24}",
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_pass_returns_what_is_there_all_the_time_and_nothing_else(
        seed in any::<u64>(),
        shards in 1..=5usize,
        names in names(),
        filled in (any::<u16>(), any::<u16>()),
        passes in prop::collection::vec(pass(), 1..4),
        last in filter(),
    ) {
        let mut world = World::new(seed, shards, names);
        let start = Round { change: Change::Set(Span(filled.0, filled.1), 5), is_amid: false, count: None };
        world.run(&start, "0", last);
        for pass in &passes {
            world.pass(pass);
        }
        world.pass(&Pass { filter: last, rounds: Vec::new() });
    }

    #[test]
    fn a_forged_cursor_does_no_harm(
        seed in any::<u64>(),
        shards in 1..=5usize,
        names in names(),
        filled in (any::<u16>(), any::<u16>()),
        passes in prop::collection::vec((forged(), pass()), 1..6),
    ) {
        let mut world = World::new(seed, shards, names);
        let all = Filter { digit: None, kind: None };
        let start = Round { change: Change::Set(Span(filled.0, filled.1), 5), is_amid: false, count: None };
        world.run(&start, "0", all);
        for (forged, pass) in &passes {
            world.pass_from(forged, pass);
        }
        world.pass(&Pass { filter: all, rounds: Vec::new() });
    }
}
