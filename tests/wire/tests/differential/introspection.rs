//! What the server tells of itself: COMMAND, CONFIG, INFO, and its errors for what it doesn't know.

use std::collections::BTreeMap;

use kevy_wire_tests::{Both, Client, Reply, Server, is_self_check, matrix};

use crate::script::run;

/// Every command of this server that the oracle has too.
const COMMANDS: [&str; 81] = [
    "ping",
    "echo",
    "quit",
    "reset",
    "hello",
    "auth",
    "select",
    "client",
    "command",
    "info",
    "config",
    "time",
    "dbsize",
    "flushall",
    "flushdb",
    "swapdb",
    "set",
    "get",
    "getex",
    "getdel",
    "getset",
    "setnx",
    "setex",
    "psetex",
    "mget",
    "mset",
    "append",
    "strlen",
    "getrange",
    "setrange",
    "incr",
    "decr",
    "incrby",
    "decrby",
    "incrbyfloat",
    "del",
    "unlink",
    "exists",
    "touch",
    "type",
    "expire",
    "pexpire",
    "expireat",
    "pexpireat",
    "ttl",
    "pttl",
    "expiretime",
    "pexpiretime",
    "persist",
    "randomkey",
    "keys",
    "scan",
    "shutdown",
    "multi",
    "exec",
    "discard",
    "watch",
    "unwatch",
    "msetnx",
    "rename",
    "renamenx",
    "copy",
    "move",
    "lcs",
    "client|id",
    "client|kill",
    "client|no-evict",
    "command|getkeys",
    "config|get",
    "config|set",
    "object",
    "object|idletime",
    "object|freq",
    "memory",
    "memory|usage",
    "memory|stats",
    "memory|doctor",
    "memory|purge",
    "memory|malloc-stats",
    "memory|help",
    "object|help",
];

#[test]
fn unknown_commands() {
    run(r#"
        FOO
        foo
        FOO a
        FOO a b c
        "foo bar" a
        "" a
        ""
        "foo\r\nbar" "a\r\nb"
        "foo'bar" "a'b"
        "foo\x00bar" "a\x00b"
        "\xff\xfe" "\xff"
        <x*200>
        <x*200> <y*200>
        <x*128> a
        FOO <y*127>
        FOO <y*128>
        FOO <y*129> b
        FOO <y*120> abcdefgh ijkl
        FOO <a*60> <b*60> <c*60>
        FOO 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33
        GETT k
        GE k
        SET
        GET
        CONFIG
        CONFIG FOO
        CONFIG foo bar
        CONFIG GET
        COMMAND FOO
        COMMAND FOO a b
        CLUSTER INFO
        CLUSTER NODES
        CLUSTER SLOTS
        CLUSTER SHARDS
        CLUSTER MYID
        CLUSTER KEYSLOT foo
        READONLY
        READWRITE
        EVALSHA ffffffffffffffffffffffffffffffffffffffff 0
        SHUTDOWN FOO
        SHUTDOWN SAVE NOSAVE
        SHUTDOWN ABORT
        SHUTDOWN ABORT NOW
        SHUTDOWN NOW NOSAVE FOO BAR
        PING
    "#);
}

#[test]
fn config() {
    run(r#"
        CONFIG GET nosuch
        CONFIG GET nosuch*
        CONFIG GET
        CONFIG GET timeout
        CONFIG GET TIMEOUT
        CONFIG GET databases
        CONFIG GET proto-max-bulk-len
        CONFIG GET client-query-buffer-limit
        CONFIG GET tcp-keepalive
        CONFIG GET tcp-backlog
        CONFIG GET requirepass
        CONFIG GET maxmemory
        CONFIG GET maxmemory-policy
        CONFIG GET appendonly
        CONFIG GET save
        CONFIG GET protected-mode
        CONFIG GET client-output-buffer-limit
        CONFIG GET maxclients
        CONFIG GET unixsocket
        CONFIG GET unixsocketperm
        CONFIG GET daemonize
        sorted CONFIG GET timeout databases
        sorted CONFIG GET timeout timeout
        sorted CONFIG GET timeou? data*s nosuch
        sorted CONFIG GET tcp-*
        CONFIG SET
        CONFIG SET timeout
        CONFIG SET timeout 100
        CONFIG GET timeout
        CONFIG SET timeout abc
        CONFIG SET timeout -1
        CONFIG SET timeout 99999999999
        CONFIG SET timeout ""
        CONFIG GET timeout
        CONFIG SET TimeOut 50
        CONFIG GET timeout
        CONFIG SET timeout 0
        CONFIG SET nosuch 1
        CONFIG SET "no\r\nsuch" 1
        CONFIG SET timeout 10 nosuch 1
        CONFIG GET timeout
        CONFIG SET timeout 10 timeout 20
        CONFIG SET timeout 10 tcp-keepalive
        CONFIG SET timeout 10 tcp-keepalive abc
        CONFIG SET timeout 10 tcp-keepalive 100
        sorted CONFIG GET timeout tcp-keepalive
        CONFIG SET timeout 0 tcp-keepalive 300
        CONFIG SET databases 4
        CONFIG SET databases abc
        CONFIG SET maxclients abc
        CONFIG SET maxclients 0
        CONFIG SET maxclients -1
        CONFIG SET maxclients 5000
        CONFIG GET maxclients
        CONFIG SET maxmemory 100mb
        CONFIG GET maxmemory
        CONFIG SET maxmemory 1gb
        CONFIG GET maxmemory
        CONFIG SET maxmemory 1g
        CONFIG GET maxmemory
        CONFIG SET maxmemory 1x
        CONFIG SET maxmemory abc
        CONFIG SET maxmemory -1
        CONFIG SET maxmemory 0
        CONFIG SET maxmemory-policy foo
        CONFIG SET maxmemory-policy allkeys-lru
        CONFIG GET maxmemory-policy
        CONFIG SET maxmemory-policy noeviction
        CONFIG SET protected-mode maybe
        CONFIG SET protected-mode no
        CONFIG GET protected-mode
        CONFIG SET protected-mode yes
        CONFIG SET proto-max-bulk-len 100
        CONFIG SET proto-max-bulk-len 2mb
        CONFIG GET proto-max-bulk-len
        CONFIG SET proto-max-bulk-len 512mb
        CONFIG SET client-output-buffer-limit "normal 0 0 0"
        CONFIG SET client-output-buffer-limit "normal 10mb 5mb 60"
        CONFIG GET client-output-buffer-limit
        CONFIG SET client-output-buffer-limit "normal 0 0"
        CONFIG SET client-output-buffer-limit "foo 0 0 0"
        CONFIG SET client-output-buffer-limit "normal abc 0 0"
        CONFIG SET client-output-buffer-limit "normal 0 0 0 pubsub 1mb 1mb 1"
        CONFIG GET client-output-buffer-limit
        CONFIG SET client-output-buffer-limit "normal 0 0 0 pubsub 32mb 8mb 60"
        CONFIG RESETSTAT
        CONFIG RESETSTAT a
        CONFIG REWRITE
    "#);
}

#[test]
fn command_subcommands() {
    run(r#"
        shape COMMAND COUNT
        COMMAND COUNT a
        COMMAND INFO nosuch
        COMMAND INFO nosuch1 nosuch2
        COMMAND DOCS nosuch
        COMMAND LIST FOO
        COMMAND LIST FILTERBY
        COMMAND LIST FILTERBY FOO bar
        COMMAND LIST FILTERBY PATTERN
        COMMAND LIST FILTERBY MODULE nosuch
        COMMAND LIST FILTERBY ACLCAT nosuch
        sorted COMMAND LIST FILTERBY PATTERN pexpire*
        sorted COMMAND LIST FILTERBY PATTERN MGE?
        sorted COMMAND LIST FILTERBY PATTERN nosuch*
        COMMAND GETKEYS
        COMMAND GETKEYS GET
        COMMAND GETKEYS GET k
        COMMAND GETKEYS GET k extra
        COMMAND GETKEYS SET k v EX 10
        COMMAND GETKEYS MGET a b c
        COMMAND GETKEYS MSET a 1 b 2
        COMMAND GETKEYS MSET a 1 b
        COMMAND GETKEYS DEL a b a
        COMMAND GETKEYS PING
        COMMAND GETKEYS ECHO a
        COMMAND GETKEYS FOO a
        COMMAND GETKEYS CLIENT ID
        COMMAND GETKEYS CONFIG GET a
        COMMAND GETKEYS DBSIZE
        COMMAND GETKEYS KEYS *
        COMMAND GETKEYS SCAN 0
        COMMAND GETKEYS RENAME a b
        COMMAND GETKEYS RENAME a
        COMMAND GETKEYS COPY a b DB 1 REPLACE
        COMMAND GETKEYS LCS a b LEN
        COMMAND GETKEYS MSETNX a 1 b 2
        COMMAND GETKEYS MOVE a 1
        COMMAND GETKEYS WATCH a b
        COMMAND GETKEYS EXEC
        COMMAND GETKEYS MULTI
        COMMAND GETKEYSANDFLAGS GET a
        COMMAND GETKEYSANDFLAGS RENAME a b
        COMMAND GETKEYSANDFLAGS RENAMENX a b
        COMMAND GETKEYSANDFLAGS COPY a b
        COMMAND GETKEYSANDFLAGS LCS a b
        COMMAND GETKEYSANDFLAGS MSETNX a 1 b 2
        COMMAND GETKEYSANDFLAGS MOVE a 1
        COMMAND GETKEYSANDFLAGS WATCH a b
    "#);
}

/// Where its keys are and what is done with them, but for remarks.
fn key_specs(specs: &Reply) -> String {
    let is_fact = |pair: &&[Reply]| pair[0].text() != "notes";
    let facts =
        |spec: &Reply| format!("{:?}\n", Vec::from_iter(spec.elements().chunks(2).filter(is_fact)));
    specs.elements().iter().map(facts).collect()
}

/// Name, arity, flags, first and last key, step: what clients route by.
fn facts(info: &Reply) -> BTreeMap<String, String> {
    let entry = info.elements().first().expect("one command");
    let parts = match entry {
        Reply::Array(parts) => parts,
        other => return BTreeMap::from([("none".into(), format!("{other:?}"))]),
    };
    let mut flags: Vec<String> = parts[2].elements().iter().map(Reply::text).collect();
    flags.sort();
    BTreeMap::from([
        ("name".into(), parts[0].text()),
        ("arity".into(), parts[1].integer().to_string()),
        ("flags".into(), flags.join(" ")),
        ("first key".into(), parts[3].integer().to_string()),
        ("last key".into(), parts[4].integer().to_string()),
        ("step".into(), parts[5].integer().to_string()),
        ("keys".into(), key_specs(&parts[8])),
    ])
}

#[test]
fn command_info_tells_what_clients_route_by() {
    // The table is the same in every setup.
    let setup = matrix()[0];
    let both = Both::start(setup, &[]);
    let (mut oracle, mut ours) = both.connect();
    let mut wrong = Vec::new();
    for command in COMMANDS {
        let expected = facts(&oracle.call(["COMMAND", "INFO", command]));
        let actual = facts(&ours.call(["COMMAND", "INFO", command]));
        if actual != expected {
            wrong.push(format!("{command}\n  oracle {expected:?}\n  ours   {actual:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let all = ours.call(["COMMAND"]);
    let names: Vec<String> =
        all.elements().iter().map(|entry| entry.elements()[0].text()).collect();
    let count = ours.call(["COMMAND", "COUNT"]).integer();
    assert_eq!(names.len() as i64, count);
    let list = ours.call(["COMMAND", "LIST"]);
    let listed: Vec<String> = list.elements().iter().map(Reply::text).collect();
    let without_subcommands = listed.iter().filter(|name| !name.contains('|'));
    assert_eq!(without_subcommands.count() as i64, count);
    for command in COMMANDS.iter().filter(|command| !command.contains('|')) {
        assert!(names.iter().any(|name| name == command), "COMMAND lacks {command}");
        assert!(listed.iter().any(|name| name == command), "COMMAND LIST lacks {command}");
    }
}

#[test]
fn command_docs_describe_every_command() {
    let server = Server::ours(matrix()[0]);
    let mut client = server.connect();
    for command in COMMANDS.iter().filter(|command| !command.contains('|')) {
        let reply = client.call(["COMMAND", "DOCS", command]);
        let [name, docs] = reply.elements() else { panic!("{command}: {reply:?}") };
        assert_eq!(name.text(), *command);
        let summary = docs.elements().chunks(2).find(|pair| pair[0].text() == "summary");
        let summary = summary.unwrap_or_else(|| panic!("{command}: no summary in {docs:?}"));
        assert!(!summary[1].text().is_empty(), "{command}: an empty summary");
    }
}

/// The sections of an INFO reply: title, then names and values.
fn sections(client: &mut Client, arguments: &[&str]) -> BTreeMap<String, BTreeMap<String, String>> {
    let text = client.call(["INFO"].iter().chain(arguments)).text();
    let mut out: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut title = String::new();
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(name) => title = name.to_owned(),
            None => {
                let (name, value) =
                    line.split_once(':').unwrap_or_else(|| panic!("no field: {line:?}"));
                out.entry(title.clone()).or_default().insert(name.into(), value.into());
            }
        }
    }
    out
}

/// Fields that tools look for, by section; `Some` where the value is known.
const FIELDS: [(&str, &str, Option<&str>); 46] = [
    ("Server", "redis_version", None),
    ("Server", "redis_mode", Some("standalone")),
    ("Server", "os", None),
    ("Server", "arch_bits", Some("64")),
    ("Server", "process_id", None),
    ("Server", "run_id", None),
    ("Server", "tcp_port", None),
    ("Server", "uptime_in_seconds", None),
    ("Server", "uptime_in_days", Some("0")),
    ("Clients", "connected_clients", Some("1")),
    ("Clients", "maxclients", None),
    ("Clients", "blocked_clients", Some("0")),
    ("Memory", "used_memory", None),
    ("Memory", "used_memory_human", None),
    ("Memory", "used_memory_rss", None),
    ("Memory", "used_memory_peak", None),
    ("Memory", "maxmemory", Some("0")),
    ("Memory", "maxmemory_policy", Some("noeviction")),
    ("Memory", "mem_fragmentation_ratio", None),
    ("Persistence", "loading", Some("0")),
    ("Persistence", "aof_enabled", Some("0")),
    ("Persistence", "rdb_bgsave_in_progress", Some("0")),
    ("Persistence", "rdb_last_bgsave_status", Some("ok")),
    ("Persistence", "aof_rewrite_in_progress", Some("0")),
    ("Stats", "total_connections_received", None),
    ("Stats", "total_commands_processed", None),
    ("Stats", "instantaneous_ops_per_sec", None),
    ("Stats", "total_net_input_bytes", None),
    ("Stats", "total_net_output_bytes", None),
    ("Stats", "rejected_connections", Some("0")),
    ("Stats", "expired_keys", None),
    ("Stats", "evicted_keys", Some("0")),
    ("Stats", "keyspace_hits", None),
    ("Stats", "keyspace_misses", None),
    ("Replication", "role", Some("master")),
    ("Replication", "connected_slaves", Some("0")),
    ("Replication", "master_replid", None),
    ("Replication", "master_repl_offset", Some("0")),
    ("CPU", "used_cpu_sys", None),
    ("CPU", "used_cpu_user", None),
    ("Cluster", "cluster_enabled", Some("0")),
    ("Keyspace", "db0", Some("keys=3,expires=1")),
    ("Keyspace", "db4", Some("keys=1,expires=0,avg_ttl=0")),
    ("Stats", "total_error_replies", None),
    ("Stats", "sync_full", Some("0")),
    ("Stats", "unexpected_error_replies", Some("0")),
];

#[test]
fn info_has_the_fields_that_tools_look_for() {
    for setup in matrix() {
        let both = Both::start(setup, &[]);
        let (mut oracle, mut ours) = both.connect();
        let mut lacking = Vec::new();
        for (who, client) in [("oracle", &mut oracle), ("ours", &mut ours)] {
            client.call(["MSET", "a", "1", "b", "2"]);
            client.call(["SET", "c", "3", "EX", "100"]);
            client.call(["SELECT", "4"]);
            client.call(["SET", "c", "3"]);
            // The connection that waited for the server's start may not be gone yet.
            kevy_wire_tests::wait_until("one client is connected", || {
                let clients = sections(client, &["clients"]);
                (clients["Clients"]["connected_clients"] == "1").then_some(())
            });
            let all = sections(client, &[]);
            for (section, name, value) in FIELDS {
                match (all.get(section).and_then(|fields| fields.get(name)), value) {
                    (None, _) => lacking.push(format!("{who} lacks {name} in {section}")),
                    (Some(actual), Some(value)) if !actual.starts_with(value) => {
                        lacking.push(format!("{who}: {name} is {actual}, not {value}"));
                    }
                    _ => {}
                }
            }
        }
        assert!(lacking.is_empty(), "{setup}: {lacking:#?}");
    }
}

#[test]
fn info_gives_the_sections_that_are_asked_for() {
    for setup in matrix() {
        let both = Both::start(setup, &[]);
        let (mut oracle, mut ours) = both.connect();
        for (who, client) in [("oracle", &mut oracle), ("ours", &mut ours)] {
            let titles = |client: &mut Client, arguments: &[&str]| -> Vec<String> {
                sections(client, arguments).into_keys().collect()
            };
            client.call(["SET", "a", "1"]);
            assert_eq!(titles(client, &["server"]), ["Server"], "{setup}, {who}");
            assert_eq!(titles(client, &["CLIENTS"]), ["Clients"], "{setup}, {who}");
            assert_eq!(titles(client, &["cpu", "stats"]), ["CPU", "Stats"], "{setup}, {who}");
            assert_eq!(titles(client, &["cpu", "cpu"]), ["CPU"], "{setup}, {who}");
            assert_eq!(titles(client, &["nosuch"]), [""; 0], "{setup}, {who}");
            assert_eq!(titles(client, &["nosuch", "cpu"]), ["CPU"], "{setup}, {who}");
            assert_eq!(titles(client, &["commandstats"]), ["Commandstats"], "{setup}, {who}");
            let default = titles(client, &[]);
            assert_eq!(titles(client, &["default"]), default, "{setup}, {who}");
            assert!(!default.contains(&"Commandstats".into()), "{setup}, {who}");
            for name in ["all", "everything"] {
                let all = titles(client, &[name]);
                assert!(all.contains(&"Commandstats".into()), "{setup}, {who}: {name}");
                assert!(default.iter().all(|title| all.contains(title)), "{setup}, {who}: {name}");
            }
        }
        // To the byte where it can be.
        for arguments in [["INFO", "nosuch"], ["INFO", "keyspace"]] {
            assert_eq!(ours.call(arguments), oracle.call(arguments), "{setup}");
        }
        for client in [&mut oracle, &mut ours] {
            client.call(["FLUSHALL"]);
        }
        let keyspace = ["INFO", "keyspace"];
        assert_eq!(ours.call(keyspace), oracle.call(keyspace), "{setup}: no keys");
        if !is_self_check() {
            assert!(sections(&mut ours, &["shards"]).contains_key("Shards"), "{setup}");
        }
    }
}

#[test]
fn commandstats_count_calls_and_refusals() {
    for setup in matrix() {
        let both = Both::start(setup, &[]);
        let (mut oracle, mut ours) = both.connect();
        let counts = |client: &mut Client| -> BTreeMap<String, String> {
            client.call(["CONFIG", "RESETSTAT"]);
            for i in 0..10 {
                client.call(["SET", &format!("k{i}"), "v"]);
            }
            client.call(["MGET", "k1", "k2", "k3"]);
            client.call(["GET"]);
            client.call(["GET", "k1"]);
            client.call(["INCR", "k1"]);
            client.call(["CLIENT", "GETNAME"]);
            client.call(["DBSIZE"]);
            client.call(["NOSUCH"]);
            let all = sections(client, &["commandstats"]).remove("Commandstats");
            let without_times = |line: String| {
                let kept = line.split(',').filter(|part| !part.starts_with("usec"));
                kept.collect::<Vec<_>>().join(",")
            };
            let all = all.unwrap_or_default().into_iter();
            all.map(|(name, line)| (name, without_times(line))).collect()
        };
        let (mut expected, mut actual) = (counts(&mut oracle), counts(&mut ours));
        for counts in [&mut expected, &mut actual] {
            // Whether the reset and the question count themselves is nobody's business.
            counts.remove("cmdstat_config|resetstat");
            counts.remove("cmdstat_info");
        }
        assert_eq!(actual, expected, "{setup}");
    }
}
