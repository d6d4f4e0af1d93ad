//! Several keys at one moment: RENAME and its kin, LCS, MSETNX; requests that are queued to run as
//! one, and watched keys.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use kevy_wire_tests::{
    Both, Outcome, Reply, Server, encode, is_self_check, matrix, wait_until, words,
};

use crate::compare::{Report, View, describe};
use crate::script::{Run, run, run_with};

#[test]
fn rename() {
    run(r#"
        RENAME
        RENAME a
        RENAME a b c
        RENAMENX
        RENAMENX a b c
        RENAME none other
        RENAME none none
        RENAMENX none other
        RENAMENX none none
        SET a 1
        RENAME a a
        RENAMENX a a
        RENAME a b
        EXISTS a
        GET b
        OBJECT ENCODING b
        SET c other EX 100
        RENAMENX b c
        GET b
        GET c
        RENAME b c
        GET c
        TTL c
        SET d text PX 5000000
        RENAME d e
        ~2000 PTTL e
        RENAMENX e f
        ~2000 PTTL f
        APPEND f x
        OBJECT ENCODING f
        RENAME f g
        OBJECT ENCODING g
        SET h <v*100>
        RENAME h i
        RENAME i i
        GET i
        RENAME none i
        GET i
        SET {t}a 1
        RENAME {t}a {t}b
        RENAMENX {t}b {t}c
        GET {t}c
        RENAME "" a
        SET "" empty
        RENAME "" "a\x00b"
        GET "a\x00b"
        SET <k*600> v
        RENAME <k*600> short
        RENAME short <l*600>
        GET <l*600>
        SET past v PXAT 1
        RENAME past x
        EXISTS x
        SELECT 1
        RENAME c x
        SELECT 0
        sorted KEYS *
        DBSIZE
    "#);
}

#[test]
fn copy() {
    run(r#"
        COPY
        COPY a
        COPY a b c
        COPY none b
        COPY none none
        SET a 1
        COPY a a
        COPY a a REPLACE
        COPY a a DB 0
        COPY a a DB 1
        COPY a a DB 1
        COPY a a DB 1 REPLACE
        COPY a a DB 15
        COPY a a DB 16
        COPY a a DB -1
        COPY a a DB x
        COPY a a DB 2147483648
        COPY a a DB 99999999999999999999
        COPY a a DB
        COPY a a DB 99 FOO
        COPY a a FOO DB 99
        COPY a a DB 99 DB x
        COPY none b DB 99
        COPY none b FOO
        COPY none none DB 1
        COPY a b
        COPY a b
        GET b
        OBJECT ENCODING b
        SET c 3 EX 100
        COPY c b
        GET b
        COPY c b replace
        GET b
        ~1 TTL b
        ~1 TTL c
        COPY a b REPLACE
        TTL b
        COPY a d DB 2 REPLACE DB 3 REPLACE
        COPY a d REPLACE REPLACE
        COPY a d DB 3
        SELECT 3
        GET d
        COPY d d DB 0
        COPY d e DB 0
        SELECT 0
        GET e
        APPEND e x
        COPY e f
        OBJECT ENCODING f
        APPEND e y
        GET e
        GET f
        SETRANGE f 0 Z
        GET e
        COPY {t}a {t}b
        SET {t}a v
        COPY {t}a {t}b
        GET {t}b
        SET past v PXAT 1
        COPY past x
        EXISTS x
        sorted KEYS *
    "#);
}

#[test]
fn move_between_databases() {
    run(r#"
        MOVE
        MOVE a
        MOVE a 1 2
        MOVE none 1
        MOVE none 0
        MOVE none 16
        MOVE none -1
        MOVE none x
        MOVE none 2147483648
        MOVE none -2147483649
        MOVE none ""
        SET a 1 EX 100
        MOVE a 0
        MOVE a 1
        EXISTS a
        SET a 2
        MOVE a 1
        GET a
        SELECT 1
        GET a
        ~1 TTL a
        MOVE a 2
        DBSIZE
        SELECT 2
        ~1 TTL a
        MOVE a 0
        SELECT 0
        GET a
        SET l <v*100000>
        MOVE l 9
        SELECT 9
        GET l
        MOVE l 9
        SET past v PXAT 1
        MOVE past 3
    "#);
}

#[test]
fn msetnx() {
    run(r#"
        MSETNX
        MSETNX a
        MSETNX a 1 b
        MSETNX a 1 b 2 c 3 d 4
        MSETNX e 5 f 6 a 7
        MGET a b c d e f
        MSETNX a 1
        MSETNX g 1 g 2 h 3 g 4
        MGET g h
        OBJECT ENCODING g
        SET x v EX 100
        DEL x
        MSETNX x 1 y <v*100000>
        TTL x
        GET y
        MSETNX {t}a 1 {t}b 2
        MSETNX {t}c 1 {t}b 2
        MGET {t}a {t}b {t}c
        SET past v PXAT 1
        MSETNX past 1 past2 2
        MGET past past2
        MSETNX "" "" " " " "
        DBSIZE
    "#);
}

#[test]
fn lcs() {
    run(r#"
        LCS
        LCS a
        LCS a b
        LCS a b LEN
        LCS a b IDX
        LCS a b LEN IDX
        LCS a b IDX LEN
        LCS a b FOO
        LCS a b LEN FOO
        LCS a b IDX LEN FOO
        LCS a b MINMATCHLEN
        LCS a b MINMATCHLEN x
        LCS a b MINMATCHLEN -1
        LCS a b IDX MINMATCHLEN 9223372036854775808
        MSET a ohmytext b mynewtext
        LCS a b
        LCS a b LEN
        LCS a b IDX
        LCS a b idx withmatchlen
        LCS a b IDX MINMATCHLEN 4
        LCS a b IDX MINMATCHLEN 5
        LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN
        LCS a b IDX MINMATCHLEN -4
        LCS a b IDX MINMATCHLEN 0
        LCS a b IDX MINMATCHLEN 4 MINMATCHLEN 1
        LCS a b LEN WITHMATCHLEN MINMATCHLEN 3
        LCS a b WITHMATCHLEN
        LCS a b MINMATCHLEN 100
        LCS a a
        LCS a a IDX
        LCS a none
        LCS none a IDX WITHMATCHLEN
        MSET c rnasdfajsfkjawkejfsdf d fasdlkjfaskdlfjrrewn
        LCS c d
        LCS c d IDX WITHMATCHLEN
        LCS d c IDX WITHMATCHLEN
        MSET e aaaa f aa g <ab*300> h <ba*200> i "" j 12345 k 1245
        LCS e f IDX
        LCS f e IDX
        LCS g h LEN
        LCS g h
        LCS g h IDX MINMATCHLEN 2 WITHMATCHLEN
        LCS i a IDX
        LCS i i
        LCS j k
        LCS j k IDX WITHMATCHLEN
        MSET {t}a abc {t}b xbz
        LCS {t}a {t}b IDX
        SET l <x*40000>
        SET m <y*40000>
        LCS l m
        LCS l m FOO
        EXPIRE a 100
        LCS a b
    "#);
}

#[test]
fn values_of_a_megabyte_change_hands() {
    let mut script = String::new();
    for number in 0..6 {
        writeln!(script, "SET large{number} <v{number}*500000> EX 1000").expect("a string");
        writeln!(script, "RENAME large{number} other{number}").expect("a string");
        writeln!(script, "COPY other{number} copy{number}").expect("a string");
        writeln!(script, "APPEND copy{number} x\nSTRLEN other{number}").expect("a string");
        writeln!(script, "MULTI\nRENAME copy{number} {number}\nGET {number}").expect("a string");
        writeln!(script, "COPY other{number} in{number} DB 1\nSET new{number} <n*1000000>")
            .expect("a string");
        writeln!(script, "GET other{number}\nMOVE other{number} 2\nEXEC").expect("a string");
        writeln!(script, "~2 TTL {number}\nGET new{number}\nDBSIZE").expect("a string");
    }
    run(&script);
}

#[test]
fn queued_requests() {
    run(r#"
        EXEC
        DISCARD
        UNWATCH
        EXEC a
        MULTI a
        DISCARD a
        UNWATCH a
        WATCH
        MULTI
        EXEC
        MULTI
        DISCARD
        MULTI
        SET a 1
        SET b 2
        INCR a
        MGET a b c
        GET none
        DEL b none
        DBSIZE
        MSET x 1 y 2 z 3
        MSETNX x 1 w 1
        RENAME x xx
        RENAME none x
        COPY y yy
        LCS xx yy
        EXISTS x y z xx
        ECHO hello
        PING
        PING hello
        SELECT 5
        GET a
        SET a five
        SWAPDB 5 6
        GET a
        SELECT 6
        GET a
        SELECT 99
        SELECT 0
        EXEC
        GET a
        MULTI
        SELECT 6
        EXEC
        GET a
        SELECT 0
        MULTI
        SET s text
        INCR s
        INCRBY s x
        EXPIRE s soon
        SET s other XX GET
        LCS s s LEN IDX
        MSET s 1 t
        EXEC
        MGET s t
        MULTI
        GET s
        EXEC
        SET s 1
        MULTI
        INCR s
        DISCARD
        GET s
        EXEC
        MULTI
        FLUSHALL
        DBSIZE
        MSET a 1 b 2 c 3
        DBSIZE
        FLUSHDB ASYNC
        RANDOMKEY
        KEYS *
        EXEC
        MULTI
        CLIENT GETNAME
        CLIENT SETNAME me
        CLIENT GETNAME
        CONFIG SET timeout 100
        CONFIG GET timeout
        CONFIG SET timeout 0
        CONFIG SET nosuch 1
        EXEC
        MULTI
        OBJECT ENCODING a
        OBJECT HELP
        COMMAND GETKEYS RENAME a b
        MEMORY PURGE
        EXEC
    "#);
}

#[test]
fn what_spoils_a_queue() {
    run(r#"
        MULTI
        NOSUCH
        SET a 1
        EXEC
        GET a
        MULTI
        SET a 1
        GET
        EXEC
        GET a
        MULTI
        SET a 1 b
        CLIENT NOSUCH
        EXEC
        MULTI
        MSETNX a 1 b
        MSET a 1 b
        EXEC
        MULTI
        CONFIG
        EXEC
        MULTI
        SHUTDOWN NOSAVE
        EXEC
        MULTI
        MULTI
        SET a 1
        MULTI
        EXEC
        MULTI
        WATCH a
        WATCH
        EXEC
        MULTI
        WATCH a
        SET a 2
        EXEC
        MULTI
        EXEC a
        SET a 3
        EXEC
        MULTI
        DISCARD a
        DISCARD
        MULTI
        UNWATCH a
        EXEC
        MULTI
        NOSUCH
        DISCARD
        MULTI
        SET a 4
        EXEC
        MULTI
        NOSUCH
        reconnect
        EXEC
        GET a
        MULTI
        UNWATCH
        UNWATCH
        EXEC
    "#);
}

#[test]
fn what_ends_a_queue_from_within() {
    run(r#"
        MULTI
        SET a 1
        QUIT
        GET a
        MULTI
        SET a 2
        RESET
        EXEC
        GET a
        shape HELLO 3
        MULTI
        RESET
        GET none
        WATCH a
        RESET
        other SET a 3
        MULTI
        GET a
        EXEC
        MULTI
        NOSUCH
        RESET
        MULTI
        EXEC
        MULTI
        shape HELLO 3
        GET none
        EXEC a
        DISCARD
        MULTI
        HELLO 4
        GET none
        EXEC
        shape HELLO 2
        MULTI
        HELLO 9
        GET none
        EXEC
        MULTI
        AUTH x
        AUTH default x
        EXEC
    "#);
}

#[test]
fn a_dialect_may_change_within() {
    run(r#"
        MULTI
        HELLO 3
        GET none
        shape EXEC
        GET none
        MULTI
        GET none
        HELLO 2
        GET none
        shape EXEC
        GET none
    "#);
}

#[test]
fn replies_may_be_off() {
    run(r#"
        ! CLIENT REPLY OFF
        ! MULTI
        ! SET a 1
        ! GET a
        ! EXEC
        CLIENT REPLY ON
        GET a
        ! CLIENT REPLY SKIP
        ! MULTI
        GET a
        EXEC
        MULTI
        GET a
        ! CLIENT REPLY SKIP
        PING
        DISCARD
        GET a
        MULTI
        CLIENT REPLY ON
        GET a
        CLIENT REPLY FOO
        EXEC
        PING
    "#);
}

/// What replies are left where they are turned on and off within a queue is no whole reply, so bytes
/// are compared.
#[test]
fn replies_may_be_turned_on_and_off_within() {
    for setup in matrix() {
        let both = Both::start(setup, &[]);
        let bytes = |server: &Server, lines: &str| {
            let mut stream = TcpStream::connect(server.socket_address()).expect("it listens");
            let sent: Vec<u8> = lines.split("; ").flat_map(|line| encode(words(line))).collect();
            stream.write_all(&sent).expect("send");
            stream.shutdown(Shutdown::Write).expect("nothing more comes");
            let mut received = Vec::new();
            stream.read_to_end(&mut received).expect("all replies");
            String::from_utf8_lossy(&received).into_owned()
        };
        for lines in [
            "MULTI; CLIENT REPLY OFF; PING; GET a; EXEC; PING; CLIENT REPLY ON; PING",
            "MULTI; CLIENT REPLY OFF; PING; CLIENT REPLY ON; PING; EXEC; PING",
            "MULTI; CLIENT REPLY SKIP; PING; GET a; EXEC; PING; ECHO x",
            "MULTI; PING; CLIENT REPLY SKIP; EXEC; PING; ECHO x",
            "MULTI; CLIENT REPLY SKIP; CLIENT REPLY ON; PING; EXEC; PING; ECHO x",
            "MULTI; CLIENT REPLY SKIP; SELECT 0; PING; EXEC; PING; ECHO x",
            "MULTI; PING; CLIENT REPLY ON; PING; SET a 1; EXEC; PING",
            "CLIENT REPLY OFF; MULTI; PING; CLIENT REPLY ON; PING; EXEC; ECHO y",
            "CLIENT REPLY OFF; MULTI; NOSUCH; EXEC; CLIENT REPLY ON",
            "CLIENT REPLY OFF; WATCH a; SET a 1; MULTI; CLIENT REPLY ON; EXEC; PING; CLIENT REPLY ON",
            "CLIENT REPLY SKIP; CLIENT REPLY ON; PING; PING",
            "CLIENT REPLY SKIP; CLIENT REPLY OFF; PING; CLIENT REPLY ON; PING",
            "CLIENT REPLY SKIP; CLIENT REPLY SKIP; PING; ECHO x",
            "CLIENT REPLY OFF; CLIENT REPLY SKIP; PING; ECHO x; CLIENT REPLY ON; ECHO y",
            "CLIENT REPLY SKIP; MULTI; PING; EXEC",
            "CLIENT REPLY SKIP; CLIENT REPLY; PING; PING",
            "CLIENT REPLY SKIP; CLIENT REPLY NOPE; PING; PING",
            "CLIENT REPLY SKIP; NOSUCH; PING",
            "CLIENT REPLY SKIP; RESET; PING; PING",
            "CLIENT REPLY SKIP; SELECT 0; PING",
            "CLIENT REPLY SKIP; HELLO 3; PING",
            "CLIENT REPLY OFF; RESET; PING",
            "CLIENT REPLY OFF; MULTI; RESET; PING",
        ] {
            let (oracle, ours) = (bytes(&both.oracle, lines), bytes(&both.ours, lines));
            assert_eq!(ours, oracle, "{setup}: {lines}");
        }
    }
}

#[test]
fn watched_keys() {
    run(r#"
        # nothing happens
        WATCH a b c
        MULTI
        SET a 1
        EXEC
        # its own write
        WATCH a
        SET a 2
        MULTI
        GET a
        EXEC
        # EXEC has ended the watch
        MULTI
        GET a
        EXEC
        # another's write
        WATCH a
        other SET a 3
        MULTI
        SET a 4
        EXEC
        GET a
        # one of several, watched in several steps, twice
        WATCH x y
        WATCH z a x
        other INCR z
        MULTI
        PING
        EXEC
        # a write between MULTI and EXEC
        WATCH a
        MULTI
        PING
        other SET a 5
        EXEC
        # what a queue that doesn't run would have changed is no change
        WATCH a
        MULTI
        SET a 6
        DISCARD
        MULTI
        PING
        EXEC
        # DISCARD and UNWATCH and RESET end a watch
        WATCH a
        other SET a 7
        MULTI
        DISCARD
        MULTI
        PING
        EXEC
        WATCH a
        other SET a 8
        UNWATCH
        MULTI
        PING
        EXEC
        WATCH a
        other SET a 9
        MULTI
        UNWATCH
        EXEC
        # an EXEC that is refused ends a watch
        WATCH a
        other SET a 10
        MULTI
        NOSUCH
        EXEC
        MULTI
        PING
        EXEC
        # a changed key and a refused request
        WATCH a
        MULTI
        NOSUCH
        other SET a 11
        EXEC
        # an error doesn't start a watch
        WATCH
        other SET a 12
        MULTI
        PING
        EXEC
        # two watch one key
        WATCH a
        other WATCH a
        other SET a 13
        other MULTI
        other EXEC
        MULTI
        EXEC
        # the queue's own write before the other's watch
        other WATCH a
        MULTI
        INCR a
        EXEC
        other MULTI
        other PING
        other EXEC
    "#);
}

/// What is a change of a watched key and what isn't: each command between WATCH and EXEC, on a key
/// that is there, one that expires and one that isn't there.
#[test]
fn what_changes_a_watched_key() {
    let commands = [
        "GET k",
        "SET k v",
        "SET k same",
        "SET k v NX",
        "SET k v XX",
        "SET k v GET",
        "SET k v KEEPTTL",
        "SET k v EX 0",
        "SET k v EXAT 1",
        "SETNX k v",
        "SETEX k 100 v",
        "SETEX k 0 v",
        "GETSET k v",
        "GETDEL k",
        "GETEX k",
        "GETEX k PERSIST",
        "GETEX k EX 100",
        "GETEX k EXAT 1",
        "GETEX k EX x",
        "MGET k j",
        "MSET j 1 k same",
        "MSETNX j 1 k 2",
        "APPEND k \"\"",
        "APPEND k x",
        "SETRANGE k 0 \"\"",
        "SETRANGE k 0 s",
        "SETRANGE k 100 x",
        "SETRANGE k -1 x",
        "INCR k",
        "INCRBY k 0",
        "INCRBYFLOAT k 0",
        "INCRBYFLOAT k x",
        "DEL k",
        "UNLINK j k",
        "TOUCH k",
        "EXISTS k",
        "EXPIRE k 100",
        "EXPIRE k 100 NX",
        "EXPIRE k 100 XX",
        "EXPIRE k -1",
        "PEXPIREAT k 4102444800000",
        "PERSIST k",
        "RENAME k k",
        "RENAME k j",
        "RENAME there k",
        "RENAME none k",
        "RENAMENX there k",
        "RENAMENX k there",
        "COPY k j",
        "COPY there k",
        "COPY there k REPLACE",
        "COPY there k DB 1",
        "MOVE k 1",
        "MOVE k 0",
        "FLUSHDB",
        "FLUSHALL ASYNC",
        "FLUSHALL NOW",
        "SWAPDB 0 1",
        "SWAPDB 1 2",
        "SWAPDB 0 0",
        "SWAPDB 0 99",
        "OBJECT ENCODING k",
        "DBSIZE",
        "LCS k there",
    ];
    let mut script = String::new();
    for command in commands {
        for setting in ["PING", "SET k same", "SET k same EX 1000", "SET k 10"] {
            for placed in ["PING", "COPY there k DB 1"] {
                writeln!(script, "FLUSHALL\nSET there 1\n{setting}\n{placed}\nWATCH k")
                    .expect("a string");
                writeln!(script, "other {command}\nMULTI\nPING\nEXEC").expect("a string");
            }
        }
    }
    run(&script);
}

#[test]
fn a_watch_is_of_a_database() {
    run(r#"
        SET a 0
        SELECT 1
        SET a 1
        WATCH a
        SELECT 0
        other SET a x
        MULTI
        PING
        EXEC
        SELECT 1
        WATCH a
        SELECT 0
        WATCH a
        other SELECT 1
        other SET a y
        MULTI
        PING
        EXEC
        other SELECT 0
        WATCH a
        other FLUSHDB
        MULTI
        PING
        EXEC
        WATCH a
        other FLUSHALL
        MULTI
        PING
        EXEC
        # keys that the exchange doesn't concern
        WATCH none
        other SWAPDB 0 1
        MULTI
        PING
        EXEC
        # there before, there after, there both times
        other SET only0 v
        WATCH only0
        other SWAPDB 1 0
        MULTI
        PING
        EXEC
        WATCH only0
        other SWAPDB 1 0
        MULTI
        PING
        EXEC
        WATCH only0
        other SWAPDB 1 2
        MULTI
        PING
        EXEC
        # it is the database's number that counts afterwards
        WATCH later
        other SWAPDB 0 3
        other SET later v
        MULTI
        PING
        EXEC
        WATCH more
        other SWAPDB 0 3
        other SELECT 3
        other SET more v
        MULTI
        PING
        EXEC
    "#);
}

/// Sends a line to both until neither gives anything but `expected`.
fn wait_for(run: &mut Run<'_>, line: &str, expected: &Reply) {
    let is_it = |outcome: &Outcome| outcome.as_ref().is_ok_and(|it| it.reply == *expected);
    wait_until(line, || {
        let (oracle, ours) = run.other_outcomes(&words(line));
        (is_it(&oracle) && is_it(&ours)).then_some(())
    });
}

/// Runs lines against both, and compares.
fn same(run: &mut Run<'_>, setup: &str, report: &mut Report, lines: &[&str]) {
    for line in lines {
        let (oracle, ours) = run.outcomes(&words(line));
        if !View::Exact.accepts(&oracle, &ours) {
            let (oracle, ours) = (describe(&oracle), describe(&ours));
            report.add(setup, format!("{line}\n  oracle {oracle}\n  ours   {ours}"));
        }
    }
}

#[test]
fn a_watched_key_expires() {
    let mut report = Report::default();
    for setup in matrix() {
        let both = Both::start(setup, &[]);
        let name = setup.to_string();
        let mut run = Run::new(&both, "3");
        for key in ["a", "b", "c"] {
            // Since the watch began. Others who ask for the key or not make no difference.
            for asked in [format!("GET {key}"), "DBSIZE".into()] {
                let set = format!("SET {key} v PX 150");
                same(&mut run, &name, &mut report, &[&set, &format!("WATCH {key}")]);
                let gone = if asked == "DBSIZE" { Reply::Integer(0) } else { Reply::Nil };
                wait_for(&mut run, &asked, &gone);
                same(&mut run, &name, &mut report, &["MULTI", "PING", "EXEC"]);
            }
            // Before it began: then that it is removed is no change.
            same(&mut run, &name, &mut report, &[&format!("SET {key} v PX 2")]);
            wait_for(&mut run, &format!("PTTL {key}"), &Reply::Integer(-2));
            let lines = [&format!("WATCH {key}"), "MULTI", "PING", "EXEC", "DBSIZE"];
            same(&mut run, &name, &mut report, &lines);
            // A past time to expire at removes it at once.
            let lines = [
                &format!("SET {key} v"),
                &format!("WATCH {key}"),
                &format!("EXPIRE {key} -1"),
                "MULTI",
                "EXEC",
            ];
            same(&mut run, &name, &mut report, &lines);
        }
    }
    report.finish();
}

#[test]
fn queues_deep_in_a_pipeline() {
    let mut report = Report::default();
    for setup in matrix() {
        let both = Both::start(setup, &[]);
        for protocol in ["2", "3"] {
            let mut run = Run::new(&both, protocol);
            let mut lines = Vec::new();
            for number in 0..40 {
                lines.extend((0..8).map(|key| format!("INCR k{key}")));
                lines.push(format!("MSET a{number} 1 b{number} 2 c{number} 3"));
                lines.push(format!("WATCH a{number} b{}", number + 1));
                if number % 3 == 0 {
                    lines.push(format!("SET b{} early", number + 1));
                }
                lines.push("MULTI".into());
                lines.extend((0..8).map(|key| format!("INCR k{key}")));
                lines.push(format!("RENAME a{number} d{number}"));
                lines.push(format!("MGET a{number} b{number} c{number} d{number} k0"));
                lines.push("EXEC".into());
                lines.push(format!("MGET a{number} d{number} k7"));
                lines.push(format!("RENAME b{number} a{number}"));
                lines.push(format!("GET a{number}"));
                lines.push("DBSIZE".into());
            }
            assert!(lines.len() > 1000);
            let commands: Vec<_> = lines.iter().map(|line| words(line)).collect();
            for (line, (oracle, ours)) in lines.iter().zip(run.pipeline(&commands)) {
                if !View::Exact.accepts(&oracle, &ours) {
                    let (oracle, ours) = (describe(&oracle), describe(&ours));
                    let what = format!("{line}\n  oracle {oracle}\n  ours   {ours}");
                    report.add(&format!("{setup}, RESP{protocol}"), what);
                }
            }
        }
    }
    report.finish();
}

/// Without room nothing is queued, whatever it is, and what was queued doesn't run if it may use
/// memory.
#[test]
fn what_has_no_room_is_not_queued() {
    run_with(
        &[("maxmemory", "1")],
        r#"
        MULTI
        GET a
        PING
        DEL a
        ECHO hi
        CLIENT ID
        SELECT 0
        FLUSHALL
        DBSIZE
        WATCH a
        MULTI
        NOSUCH
        SET
        EXEC
        MULTI
        DISCARD
        MULTI
        PING
        RESET
        EXEC
        CONFIG SET maxmemory 0
        MULTI
        SET b 1
        GET a
        CONFIG SET maxmemory 1
        PING
        EXEC
        EXEC
        PING
        CONFIG SET maxmemory 1
        MULTI
        NOSUCH
        SET a 1
        EXEC
        CONFIG SET maxmemory 0
        DEL b
        MULTI
        SET a 1
        EXEC
        MULTI
        COPY a b
        DISCARD
        MULTI
        MSETNX a 1 b 2
        EXEC
        COPY a b
        MSETNX a 1
        RENAME a b
        LCS a b
        MULTI
        EXEC
        CONFIG SET maxmemory 0
        SET a 1
        CONFIG SET maxmemory 1
        RENAME a b
        RENAMENX b c
        MOVE c 1
        COPY c d
        CONFIG SET maxmemory 0
    "#,
    );
}

/// The limit comes between the queue and its run.
#[test]
fn what_has_no_room_any_more_doesnt_run() {
    for setup in matrix() {
        let both = Both::start(setup, &[]);
        let (oracle, ours) = both.connect();
        let (other_oracle, other_ours) = both.connect();
        let seen = |mut client: kevy_wire_tests::Client, mut other: kevy_wire_tests::Client| {
            let mut seen = Vec::new();
            for (queued, meanwhile) in [
                ("SET b 1; GET a", "CONFIG SET maxmemory 1"),
                ("DEL none; GET a", "CONFIG SET maxmemory 1"),
                ("NOSUCH; SET b 1", "CONFIG SET maxmemory 1"),
                ("SET b 1; NOSUCH", "CONFIG SET maxmemory 1"),
                ("SET b 1; GET a", "SET a 2; CONFIG SET maxmemory 1"),
                ("GET a", "SET a 3; CONFIG SET maxmemory 1"),
            ] {
                other.call(words("CONFIG SET maxmemory 0"));
                let lines = ["WATCH a", "MULTI"].into_iter().chain(queued.split("; "));
                lines.for_each(|line| seen.push(client.call(words(line))));
                meanwhile.split("; ").for_each(|line| seen.push(other.call(words(line))));
                for line in ["EXEC", "EXEC", "GET b"] {
                    seen.push(client.call(words(line)));
                }
            }
            seen
        };
        assert_eq!(seen(ours, other_ours), seen(oracle, other_oracle), "{setup}");
    }
}

#[test]
fn who_may_not_queue() {
    run_with(
        &[("requirepass", "secret")],
        r#"
        EXEC
        EXEC x
        MULTI x
        MULTI
        DISCARD
        WATCH a
        UNWATCH
        RENAME a b
        MSETNX a 1
        AUTH secret
        MULTI
        SET a 1
        AUTH wrong
        AUTH secret
        EXEC
        MULTI
        SET a 2
        RESET
        DISCARD
        GET a
        AUTH secret
        GET a
        MULTI
        RESET
        SET a 3
        MULTI
    "#,
    );
}

/// Clients add by reading and writing, and start again if somebody came between: no addition is lost.
/// Meanwhile two keys are written together, in three ways, and read together.
#[test]
fn nothing_comes_between() {
    const ADDERS: usize = 4;
    const EACH: usize = 40;
    for setup in matrix() {
        let server = Server::ours(setup);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| write_pairs(&server, &is_over));
            scope.spawn(|| read_pairs(&server, &is_over, setup));
            let adders: Vec<_> = (0..ADDERS).map(|_| scope.spawn(|| add(&server, EACH))).collect();
            adders.into_iter().for_each(|adder| adder.join().expect("an adder's end"));
            is_over.store(true, Ordering::Relaxed);
        });
        let mut client = server.connect();
        let expected = (ADDERS * EACH).to_string();
        assert_eq!(client.call(["GET", "sum"]).text(), expected, "{setup}");
    }
}

fn add(server: &Server, times: usize) {
    let mut client = server.connect();
    for _ in 0..times {
        loop {
            client.call(["WATCH", "sum"]);
            let sum = match client.call(["GET", "sum"]) {
                Reply::Nil => 0,
                sum => sum.text().parse::<usize>().expect("a number"),
            };
            client.call(["MULTI"]);
            client.call(["SET", "sum", &(sum + 1).to_string()]);
            if client.call(["EXEC"]) != Reply::Nil {
                break;
            }
        }
    }
}

fn write_pairs(server: &Server, is_over: &AtomicBool) {
    let mut client = server.connect();
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        number += 1;
        match number % 3 {
            0 => drop(client.call(words(&format!("MSET one {number} other {number}")))),
            1 => {
                let lines = ["MULTI", "SET one", "SET other", "EXEC"];
                let value = |line: &str| match line.starts_with("SET") {
                    true => format!("{line} {number}"),
                    false => line.to_owned(),
                };
                let lines = lines.map(|line| kevy_wire_tests::encode(words(&value(line))));
                client.send_raw(&lines.concat()).expect("send a queue");
                lines.iter().for_each(|_| drop(client.reply()));
            }
            _ => {
                client.call(words("DEL one other"));
                client.call(words(&format!("MSETNX one {number} other {number}")));
            }
        }
    }
}

fn read_pairs(server: &Server, is_over: &AtomicBool, setup: kevy_wire_tests::Setup) {
    let mut client = server.connect();
    while !is_over.load(Ordering::Relaxed) {
        let pair = client.call(["MGET", "one", "other"]);
        assert_eq!(pair.elements()[0], pair.elements()[1], "{setup}");
    }
}

/// A field of CLIENT LIST's line for a client of this name.
fn field(line: &str, name: &str) -> String {
    let found = line.split_ascii_whitespace().find_map(|field| {
        field.split_once('=').filter(|(known, _)| *known == name).map(|(_, value)| value.into())
    });
    found.unwrap_or_else(|| panic!("no field {name} in {line}"))
}

#[test]
fn client_list_tells_of_queues() {
    for setup in matrix() {
        let both = Both::start(setup, &[]);
        let (oracle, ours) = both.connect();
        let (other_oracle, other_ours) = both.connect();
        let seen = |mut client: kevy_wire_tests::Client, mut other: kevy_wire_tests::Client| {
            let id = client.call(["CLIENT", "ID"]).integer().to_string();
            let mut seen = Vec::new();
            let list =
                ["MULTI", "PING", "SET a 1", "NOSUCH", "EXEC", "WATCH a", "MULTI", "DISCARD"];
            for line in list {
                client.call(words(line));
                let line = other.call(["CLIENT", "LIST", "ID", &id]).text();
                seen.push((field(&line, "flags"), field(&line, "multi")));
            }
            // The owner of a watched key tells of its change; nobody waits for that.
            for (lines, flags) in [("WATCH c d", "d"), ("WATCH c; MULTI; SET a 2", "xd")] {
                lines.split("; ").for_each(|line| drop(client.call(words(line))));
                other.call(["SET", "c", "1"]);
                let line = wait_until("the change is known", || {
                    let line = other.call(["CLIENT", "LIST", "ID", &id]).text();
                    (field(&line, "flags") == flags).then_some(line)
                });
                seen.push(((field(&line, "multi-mem") == "0").to_string(), String::new()));
                client.call(["DISCARD"]);
                client.call(["UNWATCH"]);
                let line = other.call(["CLIENT", "LIST", "ID", &id]).text();
                seen.push((field(&line, "flags"), field(&line, "multi-mem")));
            }
            seen
        };
        assert_eq!(seen(ours, other_ours), seen(oracle, other_oracle), "{setup}");
    }
}

#[test]
fn strict_pipelines_have_the_same_replies() {
    if is_self_check() {
        return;
    }
    for setup in matrix() {
        let server = Server::ours(setup);
        let mut client = server.connect();
        let order = ["CONFIG", "GET", "pipeline-order"];
        assert_eq!(client.call(order).elements()[1].text(), "loose", "{setup}");
        let wrong = client.call(["CONFIG", "SET", "pipeline-order", "any"]);
        assert!(matches!(wrong, Reply::Error(_)), "{setup}: {wrong:?}");
        for order in ["strict", "loose"] {
            assert_eq!(client.call(["CONFIG", "SET", "pipeline-order", order]), Reply::ok());
            let lines: Vec<String> = (0..300)
                .map(|number| match number % 4 {
                    0 => format!("SET k{} {number}", number % 7),
                    1 => format!("GET k{}", (number - 1) % 7),
                    2 => "MGET k0 k1 k2 k3".into(),
                    _ => format!("RENAME k{} k{}", (number - 3) % 7, (number - 3) % 7),
                })
                .collect();
            let bytes: Vec<u8> =
                lines.iter().flat_map(|line| kevy_wire_tests::encode(words(line))).collect();
            client.send_raw(&bytes).expect("send");
            let replies = client.receive_all(lines.len()).expect("as many replies");
            for (at, reply) in replies.iter().enumerate().skip(1).step_by(4) {
                assert_eq!(reply.reply.text(), (at - 1).to_string(), "{setup}, {order}");
            }
        }
    }
}
