//! The keys as a whole: databases, patterns, SCAN, TYPE, random keys.

use std::collections::BTreeSet;

use kevy_wire_tests::{Both, Client, Reply, matrix};

use crate::script::{Run, run};

#[test]
fn databases() {
    run(r#"
        SELECT 0
        SELECT 15
        SELECT 16
        SELECT -1
        SELECT abc
        SELECT ""
        SELECT 99999999999999999999
        SELECT 4294967296
        SELECT
        SELECT 1 2
        SELECT 1
        SET k one
        DBSIZE
        SELECT 0
        GET k
        DBSIZE
        SET k zero
        SWAPDB 0 1
        GET k
        SELECT 1
        GET k
        SWAPDB 1 1
        GET k
        SWAPDB 0 16
        SWAPDB -1 0
        SWAPDB a 1
        SWAPDB 1 b
        SWAPDB a b
        SWAPDB 99999999999999999999 1
        SWAPDB 1
        SWAPDB 1 2 3
        SWAPDB 1 9
        DBSIZE
        SELECT 9
        GET k
        FLUSHDB
        DBSIZE
        SELECT 0
        DBSIZE
        FLUSHDB ASYNC
        DBSIZE
        SET k v
        FLUSHDB sync
        DBSIZE
        FLUSHDB FOO
        FLUSHDB ASYNC SYNC
        FLUSHALL FOO
        FLUSHALL ASYNC SYNC
        FLUSHALL a b c
        MSET a 1 b 2
        SELECT 3
        MSET a 1 b 2
        FLUSHALL
        DBSIZE
        SELECT 0
        DBSIZE
        FLUSHALL ASYNC
        FLUSHALL SYNC
        DBSIZE a
        RANDOMKEY
        RANDOMKEY a
        SET only v
        RANDOMKEY
        TYPE only
        TYPE none
        TYPE
        TYPE a b
    "#);
}

const KEYS: &str = r#"MSET a 1 b 1 abc 1 acc 1 "a*c" 1 "a?c" 1 "[x]" 1 "a\\c" 1 "" 1 "-" 1 "]" 1
    hello 1 hallo 1 hxllo 1 heeello 1 hllo 1 Hello 1 "\xff\xfe" 1 "a\nb" 1 user:1 1 user:2 1 user:10 1
    {tag}a 1 {tag}b 1 "^" 1 1 1 22 1"#;

const PATTERNS: [&str; 52] = [
    "*",
    "**",
    "a*",
    "*c",
    "a?c",
    "?",
    "??",
    "???",
    r"a\*c",
    r"a\?c",
    "h?llo",
    "h*llo",
    "h[ae]llo",
    "h[^e]llo",
    "h[a-b]llo",
    "h[b-a]llo",
    "h[!e]llo",
    "[",
    "[]",
    "[]]",
    "[^]",
    "[^]]",
    "[x]",
    r"\[x\]",
    r"\[x]",
    "[x",
    "a[",
    "a[b",
    "a[b-",
    "a[b-]c",
    "a[-b]c",
    r"a\\c",
    r"a[\\]c",
    r"\",
    r"a\",
    "",
    "user:*",
    "user:?",
    "user:[0-9]",
    "user:[0-9]*",
    "{tag}*",
    "*[ab]",
    "*a*b*",
    "H*",
    "a\nb",
    "a?b",
    "\u{ff}",
    "[^a]*",
    "[a-z]",
    "[z-a]",
    "[a-zA-Z0-9]*o",
    "[\\^]",
];

#[test]
fn patterns() {
    let keys = KEYS.replace('\n', " ");
    let mut script = format!("{keys}\nKEYS\nKEYS a b\nKEYS nothing*\n");
    for pattern in PATTERNS {
        let pattern = pattern.replace('\\', "\\\\").replace('\n', "\\n");
        script.push_str(&format!("sorted KEYS \"{pattern}\"\n"));
    }
    script.push_str("SELECT 5\nsorted KEYS *\n");
    run(&script);
}

/// Pages of an empty database, whose cursors lead through the shards.
#[test]
fn scan_arguments() {
    run(r#"
        shape SCAN 0
        shape SCAN 0 COUNT 10
        shape SCAN 0 MATCH *
        SCAN
        SCAN abc
        shape SCAN ""
        SCAN " 0"
        SCAN "0 "
        SCAN 0x0
        SCAN 1.5
        SCAN 18446744073709551616
        SCAN 99999999999999999999999
        SCAN 0 COUNT
        SCAN 0 COUNT 0
        SCAN 0 COUNT -1
        SCAN 0 COUNT abc
        SCAN 0 COUNT 9223372036854775808
        SCAN 0 MATCH
        SCAN 0 TYPE
        SCAN 0 FOO
        SCAN 0 FOO bar
        SCAN 0 COUNT 5 FOO
        SCAN 0 COUNT 5 FOO bar
        SCAN 0 COUNT 5 MATCH
        SCAN abc FOO bar
        shape SCAN 0 count 10 match * type string
        shape SCAN 0 TYPE nosuchtype
        shape SCAN 0 COUNT 10 COUNT 10
        shape SCAN 0 MATCH a MATCH b
    "#);
}

/// All keys that a whole SCAN gives, each of which it gives once at least.
fn scan(client: &mut Client, options: &[&str]) -> BTreeSet<Vec<u8>> {
    let mut cursor = "0".to_owned();
    let mut keys = BTreeSet::new();
    loop {
        let mut command = vec!["SCAN", &cursor];
        command.extend(options);
        let reply = client.call(&command);
        let [next, page] = reply.elements() else { panic!("not a page: {reply:?}") };
        for key in page.elements() {
            let Reply::Bulk(key) = key else { panic!("not a key: {key:?}") };
            keys.insert(key.clone());
        }
        cursor = next.text();
        if cursor == "0" {
            return keys;
        }
    }
}

#[test]
fn a_whole_scan_gives_every_key_that_matches() {
    for setup in matrix() {
        let both = Both::start(setup, &[]);
        let mut run = Run::new(&both, "2");
        let _ = run.outcomes(&kevy_wire_tests::words(&KEYS.replace('\n', " ")));
        let many = (0..3000).flat_map(|i| [format!("many:{i}"), "x".into()]);
        let many: Vec<_> = ["MSET".to_owned()].into_iter().chain(many).collect();
        let many: Vec<_> = many.into_iter().map(String::into_bytes).collect();
        let _ = run.outcomes(&many);
        let (mut oracle, mut ours) = both.connect();
        for pattern in PATTERNS {
            for count in ["1", "7", "100", "100000"] {
                if count == "1" && pattern != "*" {
                    continue;
                }
                let options = ["MATCH", pattern, "COUNT", count];
                let expected = scan(&mut oracle, &["MATCH", pattern, "COUNT", "100000"]);
                assert_eq!(scan(&mut ours, &options), expected, "{setup}, {options:?}");
            }
        }
        assert_eq!(scan(&mut ours, &[]), scan(&mut oracle, &[]), "{setup}");
        assert_eq!(scan(&mut ours, &["TYPE", "string"]).len(), scan(&mut oracle, &[]).len());
        for none in ["list", "hash", "STREAM"] {
            assert!(scan(&mut ours, &["TYPE", none]).is_empty(), "{setup}, {none}");
        }
    }
}

#[test]
fn a_scan_gives_every_key_that_stays_while_others_come_and_go() {
    for setup in matrix() {
        let both = Both::start(setup, &[]);
        let (_, mut ours) = both.connect();
        let stay: BTreeSet<Vec<u8>> = (0..500).map(|i| format!("stay:{i}").into_bytes()).collect();
        for key in &stay {
            ours.call([&b"SET"[..], key, b"x"]);
        }
        let mut cursor = "0".to_owned();
        let mut seen = BTreeSet::new();
        let mut round = 0;
        loop {
            let reply = ours.call(["SCAN", &cursor, "COUNT", "5"]);
            let [next, page] = reply.elements() else { panic!("not a page: {reply:?}") };
            for key in page.elements() {
                let Reply::Bulk(key) = key else { panic!("not a key: {key:?}") };
                seen.insert(key.clone());
            }
            for i in 0..50 {
                let (new, old) = (format!("pass:{round}:{i}"), format!("pass:{}:{i}", round - 3));
                ours.call(["SET", &new, "x"]);
                ours.call(["DEL", &old]);
            }
            round += 1;
            assert!(round < 10_000, "{setup}: the scan does not end");
            cursor = next.text();
            if cursor == "0" {
                break;
            }
        }
        let missed: Vec<_> = stay.difference(&seen).collect();
        assert!(missed.is_empty(), "{setup}: missed {missed:?}");
    }
}

#[test]
fn every_key_comes_up_as_a_random_key() {
    for setup in matrix() {
        let both = Both::start(setup, &[]);
        let (_, mut ours) = both.connect();
        let keys: BTreeSet<String> = (0..20).map(|i| format!("key:{i}")).collect();
        for key in &keys {
            ours.call(["SET", key, "x"]);
        }
        let mut seen = BTreeSet::new();
        for _ in 0..5000 {
            seen.insert(ours.call(["RANDOMKEY"]).text());
            if seen.len() == keys.len() {
                break;
            }
        }
        assert_eq!(seen, keys, "{setup}");
    }
}
