//! Seeded sequences of commands over a few keys in a few databases.
//!
//! Most commands make sense; some have wrong or clashing options. They go out alone or as pipelines,
//! so that several are in flight between shards. What depends on the clock is kept out of reach of
//! it: relative times are far from the absolute ones that conditions compare them with.
//! `KEVY_WIRE_SEED` repeats a run.

use std::collections::BTreeSet;

use kevy_wire_tests::{Both, Random, Reply, effort, matrix, printable, words};

use crate::compare::{View, describe};
use crate::script::Run;

/// Commands per setup and protocol.
const COMMANDS: usize = 10_000;

#[test]
fn random_commands_have_the_same_replies() {
    for (at, setup) in matrix().into_iter().enumerate() {
        for protocol in ["2", "3"] {
            let both = Both::start(setup, &[]);
            let seed = Random::seed_or(1000 + at as u64);
            sequence(&mut Run::new(&both, protocol), seed, &format!("{setup}, RESP{protocol}"));
        }
    }
}

fn sequence(run: &mut Run<'_>, seed: u64, setup: &str) {
    let mut random = Random::new(seed);
    let (mut at, mut is_queueing) = (0, false);
    while at < effort(COMMANDS) {
        let depth = if random.one_in(3) { 1 } else { 1 + random.below(60) };
        let lines: Vec<(View, String)> =
            (0..depth).map(|_| next_command(&mut random, &mut is_queueing)).collect();
        let commands: Vec<_> = lines.iter().map(|(_, line)| words(line)).collect();
        let outcomes = run.pipeline(&commands);
        for ((view, line), (oracle, ours)) in lines.iter().zip(&outcomes) {
            assert!(
                view.accepts(oracle, ours),
                "{setup}, seed {seed}, command {at} (of {depth} in flight): {line}\n  \
                 oracle {}\n  ours   {}",
                describe(oracle),
                describe(ours)
            );
            at += 1;
        }
        if !is_queueing && random.one_in(20) {
            assert_same_keys(run, setup, seed, at);
        }
    }
}

/// Compares all keys of the current database, by way of SCAN, and a random one of them.
fn assert_same_keys(run: &mut Run<'_>, setup: &str, seed: u64, at: usize) {
    let (oracle, ours) = run.outcomes(&words("KEYS *"));
    let place = format!("{setup}, seed {seed}, after command {at}");
    assert!(View::Sorted.accepts(&oracle, &ours), "{place}: KEYS");
    let keys: BTreeSet<Reply> = oracle.expect("a reply").reply.elements().iter().cloned().collect();

    let mut scanned = BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let page = run.outcomes(&words(&format!("SCAN {cursor} COUNT 3"))).1;
        let page = page.expect("a reply").reply;
        scanned.extend(page.elements()[1].elements().iter().cloned());
        cursor = page.elements()[0].text();
        // The oracle is asked too, with a cursor that means nothing to it, and ignored.
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(scanned, keys, "{place}: SCAN");

    let random_key = run.outcomes(&words("RANDOMKEY")).1.expect("a reply");
    let is_known = match &random_key.reply {
        Reply::Nil => keys.is_empty(),
        key => keys.contains(key),
    };
    assert!(is_known, "{place}: RANDOMKEY gives {}", printable(&random_key.raw));
}

/// A command and how closely its replies have to match; now and then some are queued to be run as
/// one. Of those the replies come together, so that each has to match exactly.
fn next_command(random: &mut Random, is_queueing: &mut bool) -> (View, String) {
    if !*is_queueing {
        return match random.below(100) {
            0..3 => {
                *is_queueing = true;
                (View::Exact, "MULTI".into())
            }
            3 => (View::Exact, format!("WATCH {}", keys(random))),
            4 => (View::Exact, random.pick(&["UNWATCH", "EXEC", "DISCARD", "WATCH"]).to_owned()),
            _ => command(random),
        };
    }
    match random.below(100) {
        0..10 => {
            *is_queueing = false;
            (View::Exact, random.pick(&["EXEC", "EXEC", "EXEC", "EXEC", "DISCARD"]).to_owned())
        }
        10 => (View::Exact, random.pick(&["MULTI", "WATCH k1", "UNWATCH"]).to_owned()),
        _ => loop {
            let (view, line) = command(random);
            if view == View::Exact && (!is_nonsense(&line) || random.one_in(8)) {
                return (view, line);
            }
        },
    }
}

/// Whether a command would let the queue it is in be dropped.
fn is_nonsense(line: &str) -> bool {
    line.starts_with("NOSUCH") || line == "MGET"
}

/// A command and how closely its replies have to match.
fn command(random: &mut Random) -> (View, String) {
    let line = match random.below(100) {
        0..14 => format!("SET {} {}{}", key(random), value(random), set_options(random)),
        14..26 => format!("GET {}", key(random)),
        26..29 => format!("GETEX {}{}", key(random), getex_options(random)),
        29..31 => format!("{} {}", random.pick(&["GETDEL", "TYPE", "STRLEN"]), key(random)),
        31..33 => {
            format!("{} {} {}", random.pick(&["GETSET", "SETNX"]), key(random), value(random))
        }
        33..35 => {
            let (verb, key) = (random.pick(&["SETEX", "PSETEX"]), key(random));
            format!("{verb} {key} {} {}", random.pick(FAR), value(random))
        }
        35..40 => format!("MGET {}", keys(random)),
        40..44 => format!("MSET {}", pairs(random)),
        44..47 => format!("APPEND {} {}", key(random), value(random)),
        47..50 => {
            let (start, end) = (random.between(-12, 12), random.between(-12, 12));
            format!("GETRANGE {} {start} {end}", key(random))
        }
        50..52 => {
            format!("SETRANGE {} {} {}", key(random), random.between(-1, 20), value(random))
        }
        52..58 => format!("{} {}", random.pick(&["INCR", "DECR"]), key(random)),
        58..62 => {
            let verb = random.pick(&["INCRBY", "DECRBY"]);
            format!("{verb} {} {}", key(random), amount(random))
        }
        62..64 => {
            let (whole, cents) = (random.between(-50, 50), random.below(100));
            format!("INCRBYFLOAT {} {whole}.{cents:02}", key(random))
        }
        64..67 => format!("{} {}", random.pick(&["DEL", "UNLINK"]), keys(random)),
        67..69 => moved(random),
        69..72 => format!("{} {}", random.pick(&["EXISTS", "TOUCH"]), keys(random)),
        72..76 => {
            let verb = random.pick(&["EXPIRE", "PEXPIRE"]);
            format!(
                "{verb} {} {}{}",
                key(random),
                random.pick(RELATIVE),
                random.pick(&["", "", " NX", " XX", " NX XX"])
            )
        }
        76..81 => {
            let verb = random.pick(&["EXPIREAT", "PEXPIREAT"]);
            let conditions = ["", " NX", " XX", " GT", " LT", " XX GT", " XX LT", " NX GT", " FOO"];
            format!("{verb} {} {}{}", key(random), absolute(random, verb), random.pick(&conditions))
        }
        81..83 => return (View::Near(2), near(random, &["TTL", "EXPIRETIME"])),
        83..85 => return (View::Near(5000), near(random, &["PTTL", "PEXPIRETIME"])),
        85..88 => format!("PERSIST {}", key(random)),
        88..90 => "DBSIZE".to_owned(),
        90..92 => return (View::Sorted, format!("KEYS {}", random.pick(PATTERNS))),
        92..95 => format!("SELECT {}", random.pick(&["0", "0", "1", "2", "16", "x"])),
        95 => format!("SWAPDB {} {}", random.below(3), random.below(4)),
        96 => random.pick(&["FLUSHDB", "FLUSHALL", "PING", "PING x", "CLIENT GETNAME"]).to_owned(),
        _ => nonsense(random),
    };
    (View::Exact, line)
}

/// A command over two keys, or two databases.
fn moved(random: &mut Random) -> String {
    let (one, other) = (key(random), key(random));
    match random.below(10) {
        0..3 => format!("RENAME {one} {other}"),
        3 => format!("RENAMENX {one} {other}"),
        4 => format!("MOVE {one} {}", random.below(4)),
        5 => format!("MSETNX {}", pairs(random)),
        6 => {
            let options = ["", " LEN", " IDX", " IDX WITHMATCHLEN", " IDX MINMATCHLEN 2"];
            format!("LCS {one} {other}{}", random.pick(&options))
        }
        _ => {
            let options = ["", " REPLACE", " REPLACE", " DB 1", " DB 2 REPLACE", " DB 16", " FOO"];
            format!("COPY {one} {other}{}", random.pick(&options))
        }
    }
}

/// Seconds or milliseconds that no run lives to see the end of.
const FAR: &[&str] = &["1000000", "5000000", "90000000"];
const RELATIVE: &[&str] =
    &["1000000", "2000000", "90000000", "0", "-1", "-100000", "9223372036854775807", "x"];
const PATTERNS: &[&str] = &["*", "k*", "k1?", "k[0-5]", "*{t}*", "nothing", "k[^1]*", "?1"];

fn key(random: &mut Random) -> String {
    match random.below(26) {
        24 => "{t}a".into(),
        25 => "{t}b".into(),
        number => format!("k{number}"),
    }
}

fn keys(random: &mut Random) -> String {
    (0..=random.below(8)).map(|_| key(random)).collect::<Vec<_>>().join(" ")
}

fn pairs(random: &mut Random) -> String {
    let count = 1 + random.below(6);
    let pair = |_| format!("{} {}", key(random), value(random));
    (0..count).map(pair).collect::<Vec<_>>().join(" ")
}

fn value(random: &mut Random) -> String {
    match random.below(8) {
        0..4 => random.between(-100, 100).to_string(),
        4 => format!("{}.{}", random.between(-9, 9), 1 + random.below(9)),
        5 => format!("<v*{}>", 1 + random.below(300)),
        6 => r#""a\r\n\x00b""#.into(),
        _ => random.pick(&["", "abc", "9223372036854775807", "-9223372036854775808"]).quoted(),
    }
}

fn amount(random: &mut Random) -> String {
    match random.below(12) {
        0 => "9223372036854775807".into(),
        1 => "-9223372036854775808".into(),
        2 => random.pick(&["x", "", "1.5", "9223372036854775808"]).quoted(),
        _ => random.between(-1000, 1000).to_string(),
    }
}

fn set_options(random: &mut Random) -> String {
    let mut options = String::new();
    while random.one_in(3) {
        options.push(' ');
        match random.below(9) {
            0 | 1 => options.push_str("NX"),
            2 => options.push_str("XX"),
            3 | 4 => options.push_str("GET"),
            5 => options.push_str("KEEPTTL"),
            6 => {
                options.push_str(random.pick(&["EX ", "PX "]));
                options.push_str(random.pick(RELATIVE));
            }
            7 => {
                let verb = random.pick(&["EXAT ", "PXAT "]);
                options.push_str(verb);
                options.push_str(&future(random, verb));
            }
            _ => options.push_str(random.pick(&["ex", "FOO", "PERSIST", "EXAT", "px 3000000"])),
        }
    }
    options
}

fn getex_options(random: &mut Random) -> String {
    match random.below(6) {
        0 => " PERSIST".into(),
        1 => format!(" {} {}", random.pick(&["EX", "PX"]), random.pick(RELATIVE)),
        2 => {
            let verb = random.pick(&["EXAT", "PXAT"]);
            format!(" {verb} {}", absolute(random, verb))
        }
        3 => random.pick(&[" EX", " FOO", " PERSIST EX 100", " KEEPTTL"]).to_owned(),
        _ => String::new(),
    }
}

/// A point in time, long past or of the next century, in the unit of the verb.
fn absolute(random: &mut Random, verb: &str) -> String {
    if random.one_in(8) { random.between(-2, 2).to_string() } else { future(random, verb) }
}

/// A point in time of the next century. SET takes a past one too, but the oracle goes on counting
/// such a key in DBSIZE until it comes across it, which is a matter of time.
fn future(random: &mut Random, verb: &str) -> String {
    let unit = if verb.starts_with('P') { 1000 } else { 1 };
    (random.between(4_200_000_000, 4_200_000_010) * unit).to_string()
}

fn near(random: &mut Random, verbs: &[&str]) -> String {
    format!("{} {}", random.pick(verbs), key(random))
}

fn nonsense(random: &mut Random) -> String {
    let (one, other) = (key(random), key(random));
    match random.below(8) {
        0 => format!("NOSUCH {one} {other}"),
        1 => format!("GET {one} {other}"),
        2 => "MGET".into(),
        3 => format!("MSET {one} 1 {other}"),
        4 => format!("SET {one}"),
        5 => format!("EXPIRE {one} soon"),
        6 => format!("INCRBY {one} much"),
        _ => format!("SCAN {one}"),
    }
}

/// Text as a quoted word of a line.
trait Quoted {
    fn quoted(&self) -> String;
}

impl Quoted for str {
    fn quoted(&self) -> String {
        format!("\"{self}\"")
    }
}
