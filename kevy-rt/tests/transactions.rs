//! Transactions over several shards, under simulation: what they do, what fails, what is refused.

mod toy;

use std::time::Duration;

use kevy_rt::Limits;
use kevy_rt::sim::Simulation;
use toy::{Server, text};

const SHARDS: [usize; 4] = [1, 2, 3, 5];

fn each(mut test: impl FnMut(Simulation<Server>)) {
    for shards in SHARDS {
        for seed in 0..8 {
            test(Simulation::new(&(), shards, seed));
        }
    }
}

#[test]
fn a_handler_moves_a_value_from_shard_to_shard() {
    each(|mut server| {
        let client = server.connect(0);
        let reply = server.call(client, b"set a 10\ntransfer a b 3\ntransfer a c 3\nmget a b c\n");
        assert_eq!(text(reply), "+OK\n:7\n:4\n*3\n$4\n$3\n$3\n");
        let reply =
            server.call(client, b"transfer a b 5\ntransfer a a 2\ntransfer a b x\nmget a b\n");
        assert_eq!(text(reply), "-too little\n:2\n-NotAnInteger\n*2\n$4\n$3\n");
        assert_eq!(text(server.call(client, b"total a x b x c x nosuch x\n")), ":10\n");
    });
}

#[test]
fn each_request_sees_those_before_it() {
    each(|mut server| {
        let client = server.connect(0);
        let mut sent = String::new();
        let mut expected = String::new();
        for round in 0..40 {
            sent += &format!(
                "set a{round} 1\nmset a{round} 2 b{round} 3 c{round} 4\nget b{round}\nget a{round}\n"
            );
            sent += &format!(
                "mget c{round} a{round}\ntransfer c{round} a{round} 4\nget a{round}\nget c{round}\n"
            );
            expected += "+OK\n+OK\n$3\n$2\n*2\n$4\n$2\n:0\n$6\n$0\n";
        }
        assert_eq!(text(server.call(client, sent.as_bytes())), expected);
        assert_eq!(text(server.call(client, b"count\n")), ":120\n");
    });
}

#[test]
fn queued_requests_run_as_one() {
    each(|mut server| {
        let client = server.connect(0);
        let sent =
            b"multi\nset a 1\nset b 2\nmget a b\ntransfer b a 1\nid\ncount\nget a\nnosuch\nexec\n";
        let reply = text(server.call(client, sent));
        assert!(reply.starts_with("+OK\n+QUEUED\n"), "{reply}");
        assert!(reply.ends_with("-unknown nosuch\n-Spoiled\n"), "{reply}");
        assert_eq!(text(server.call(client, b"count\nexec\n")), ":0\n-NotQueueing(\"EXEC\")\n");
        let sent = b"multi\nset a 1\nset b 2\nmget a b\ntransfer b a 1\ncount\necho x\nget a\ntransfer a b x\nexec\nget b\n";
        let reply = text(server.call(client, sent));
        let expected = "*8\n+OK\n+OK\n*2\n$1\n$2\n:1\n:2\n$x\n$2\n-NotAnInteger\n$1\n";
        assert_eq!(
            reply.split_once("*8").map(|(_, reply)| format!("*8{reply}")),
            Some(expected.into()),
            "{reply}"
        );
        assert_eq!(
            text(server.call(client, b"multi\nexec\nmulti\nmulti\nalone x\nexec\n")),
            "+OK\n*0\n+OK\n-Nested\n-NotQueueable\n-Spoiled\n"
        );
        assert_eq!(
            text(server.call(client, b"multi\nset a 9\ndiscard\ndiscard\nget a\n")),
            "+OK\n+QUEUED\n+OK\n-NotQueueing(\"DISCARD\")\n$2\n"
        );
        assert_eq!(
            text(server.call(client, b"multi\nset a 9\nreset\nget a\n")),
            "+OK\n+QUEUED\n+RESET\n$2\n"
        );
    });
}

#[test]
fn a_change_of_a_watched_key_undoes_a_queue() {
    each(|mut server| {
        let (client, other) = (server.connect(0), server.connect(0));
        let run = b"multi\nset a mine\nset b mine\nexec\n";
        assert_eq!(text(server.call(client, b"watch a b c\n")), "+OK\n");
        assert_eq!(text(server.call(other, b"set d 1\n")), "+OK\n");
        assert_eq!(text(server.call(client, run)), "+OK\n+QUEUED\n+QUEUED\n*2\n+OK\n+OK\n");
        // Its own writes count as well, and an `exec` ends the watch.
        assert_eq!(text(server.call(client, b"watch a\nset a x\n")), "+OK\n+OK\n");
        assert_eq!(text(server.call(client, run)), "+OK\n+QUEUED\n+QUEUED\n_\n");
        assert_eq!(text(server.call(client, run)), "+OK\n+QUEUED\n+QUEUED\n*2\n+OK\n+OK\n");
        for end in ["unwatch", "discard", "reset"] {
            assert_eq!(text(server.call(client, b"watch a b\n")), "+OK\n");
            assert_eq!(text(server.call(other, b"mset a other b other\n")), "+OK\n");
            if end == "discard" {
                server.call(client, b"multi\n");
            }
            server.call(client, format!("{end}\n").as_bytes());
            assert_eq!(text(server.call(client, run)), "+OK\n+QUEUED\n+QUEUED\n*2\n+OK\n+OK\n");
        }
        assert_eq!(text(server.call(client, b"watch b\n")), "+OK\n");
        assert_eq!(text(server.call(other, b"transfer x b 0\n")), ":0\n");
        assert_eq!(text(server.call(client, run)), "+OK\n+QUEUED\n+QUEUED\n_\n");
        assert_eq!(
            text(server.call(client, b"multi\nwatch a\nexec\n")),
            "+OK\n-WatchWhileQueueing\n*0\n"
        );
        server.call(client, b"watch a\n");
        server.end(client);
        server.run();
        for shard in 0..server.shards() {
            assert!(!server.with_shard(shard, |_, server| server.changes().matter()));
        }
    });
}

#[test]
fn a_queued_request_knows_its_connection() {
    each(|mut server| {
        let client = server.connect(0);
        let reply = text(server.call(client, b"id\nmulti\ncaller\nid\nset a 1\nexec\n"));
        let lines: Vec<_> = reply.lines().collect();
        assert_eq!(lines[6..8], [lines[0]; 2], "{reply}");
    });
}

#[test]
fn a_refused_run_ends_its_queue() {
    each(|mut server| {
        let client = server.connect(0);
        let sent = b"multi\nset a 1\nunwatch\nexec\nmulti\nset a 2\nexec now\nget a\n";
        let expected = "+OK\n+QUEUED\n+QUEUED\n*2\n+OK\n+OK\n+OK\n+QUEUED\n-Arity(\"EXEC\")\n$1\n";
        assert_eq!(text(server.call(client, sent)), expected);
    });
}

#[test]
fn a_watch_ends_though_it_hardly_began() {
    each(|mut server| {
        let (client, other) = (server.connect(0), server.connect(0));
        for end in ["unwatch", "multi\ndiscard", "reset", "multi\nset a 9\nexec", ""] {
            server.send(other, b"mset a 1 b 2 c 3\nmset d 1 e 2 a 3\n");
            server.send(client, format!("watch a b c d e\n{end}\n").as_bytes());
            if end.is_empty() {
                for _ in 0..server.random() % 12 {
                    server.step();
                }
                server.disconnect(client);
            }
            server.run();
            for shard in 0..server.shards() {
                assert!(!server.with_shard(shard, |_, server| server.changes().matter()), "{end}");
            }
        }
    });
}

#[test]
fn who_leaves_changes_nothing() {
    each(|mut server| {
        let (client, other) = (server.connect(0), server.connect(0));
        server.call(other, b"mset a 5 b 0\n");
        server.send(client, b"transfer a b 5\nmulti\nmset a 1 c 1\nexec\n");
        for _ in 0..server.random() % 60 {
            server.step();
        }
        server.disconnect(client);
        server.run();
        let sum = text(server.call(other, b"total a x b x\nmget a b c\n"));
        let possible = [":5\n*3\n$5\n$0\n_\n", ":5\n*3\n$0\n$5\n_\n", ":6\n*3\n$1\n$5\n$1\n"];
        assert!(possible.contains(&sum.as_str()), "{sum}");
        for shard in 0..server.shards() {
            assert_eq!(server.with_shard(shard, |_, server| server.open_entries()), 0);
        }
    });
}

#[test]
fn a_panic_harms_one_request() {
    each(|mut server| {
        let client = server.connect(0);
        let sent =
            b"set a 1\nboom_there a\nboom_here a\nhang a\nmulti\nboom_here a\nget a\nexec\nget a\n";
        let reply = text(server.call(client, sent));
        assert!(
            reply.starts_with("+OK\n-Panicked\n-Panicked\n-Panicked\n+OK\n+QUEUED\n"),
            "{reply}"
        );
        assert!(reply.ends_with("*2\n-Panicked\n$1\n$1\n"), "{reply}");
        for shard in 0..server.shards() {
            assert_eq!(server.with_shard(shard, |_, server| server.open_entries()), 0);
        }
    });
}

#[test]
fn strict_pipelines_wait_for_each_reply() {
    for shards in SHARDS {
        let limits = Limits { strict_pipelines: true, ..Limits::default() };
        let mut server = Simulation::<Server>::with_limits(&(), shards, 3, limits);
        let client = server.connect(0);
        let sent: String = (0..50).map(|key| format!("set k{key} {key}\nget k{key}\n")).collect();
        let expected: String = (0..50).map(|key| format!("+OK\n${key}\n")).collect();
        assert_eq!(text(server.call(client, sent.as_bytes())), expected);
    }
}

#[test]
fn a_panic_before_the_first_write_harms_one_request() {
    each(|mut server| {
        let client = server.connect(0);
        let sent = b"set a 1\nboom_early a\nget a\n";
        assert_eq!(text(server.call(client, sent)), "+OK\n-Panicked\n$1\n");
        // Within a queue, too: the others of it run.
        let sent = b"multi\nset a 2\nboom_early a\nboom_there a\nset b 3\nmget a b\nexec\n";
        let reply = text(server.call(client, sent));
        let expected = "*5\n+OK\n-Panicked\n-Panicked\n+OK\n*2\n$2\n$3\n";
        assert!(reply.ends_with(expected), "{reply}");
        for shard in 0..server.shards() {
            assert_eq!(server.with_shard(shard, |_, server| server.open_entries()), 0);
        }
    });
}

#[test]
fn rounds_of_hops_are_bounded() {
    each(|mut server| {
        let client = server.connect(0);
        let most = kevy_rt::MAX_ROUNDS;
        let sent = format!("rounds a {}\nget a\n", most - 1);
        assert_eq!(text(server.call(client, sent.as_bytes())), ":0\n$1\n");
        // The last one would be the one that writes.
        let sent = format!("del a\nrounds a {most}\nrounds b 1000000\nget a\n");
        let expected = ":1\n-TooManyRounds\n-TooManyRounds\n_\n";
        assert_eq!(text(server.call(client, sent.as_bytes())), expected);
        let sent = "multi\nset b 1\nrounds b 64\nrounds b 60\nexec\n";
        let reply = text(server.call(client, sent.as_bytes()));
        assert!(reply.ends_with("*3\n+OK\n-TooManyRounds\n:60\n"), "{reply}");
    });
}

#[test]
fn what_a_connection_queues_is_bounded() {
    for shards in SHARDS {
        let mut limits = Limits::default();
        limits.parse.request_bytes = 100_000;
        let mut server = Simulation::<Server>::with_limits(&(), shards, 3, limits);
        let client = server.connect(0);
        let sent = format!("multi\n{}exec\n", format!("set a {}\n", "x".repeat(9_000)).repeat(12));
        let reply = text(server.call(client, sent.as_bytes()));
        assert!(reply.starts_with("+OK\n+QUEUED\n+QUEUED\n+QUEUED\n"), "{reply}");
        assert!(reply.ends_with("-QueueFull\n-QueueFull\n-Spoiled\n"), "{reply}");
    }
}

#[test]
fn what_is_queued_and_watched_counts_as_memory_of_its_connection() {
    each(|mut server| {
        let (client, other) = (server.connect(0), server.connect(0));
        let memory = |server: &mut Simulation<Server>| {
            let mut seen = Vec::new();
            for shard in 0..server.shards() {
                server.with_shard(shard, |_, server| {
                    server.for_each_conn(|conn| {
                        seen.push((
                            conn.facts.id,
                            conn.memory,
                            conn.queued_bytes,
                            conn.is_watch_marked,
                        ));
                    });
                });
            }
            seen.sort_unstable();
            seen[0]
        };
        server.call(client, b"watch a b\n");
        let (_, before, none, is_marked) = memory(&mut server);
        assert_eq!((none, is_marked), (0, false));
        server.call(client, format!("multi\nset a {}\n", "x".repeat(9_000)).as_bytes());
        let (_, after, queued, _) = memory(&mut server);
        assert!(queued >= 9_000 && after >= before + 9_000, "{before} {after} {queued}");
        server.call(other, b"set a 1\n");
        assert!(memory(&mut server).3, "its owner tells of the change");
        server.call(client, b"discard\n");
        assert_eq!(memory(&mut server), (memory(&mut server).0, memory(&mut server).1, 0, false));
    });
}

#[test]
fn replies_may_be_turned_on_and_off_within_a_queue() {
    each(|mut server| {
        let client = server.connect(0);
        for (sent, expected) in [
            ("multi;reply off;echo a;exec;echo b", "+OK +QUEUED +QUEUED *2"),
            ("multi;set k 1;reply on;echo a;get k;exec;echo b", "+OK $a $1 $b"),
            ("multi;reply skip;echo a;exec;echo b;echo c", "+OK +QUEUED +QUEUED *2 $a $c"),
            ("multi;echo a;reply skip;id;reply on;exec;echo b", ""),
            ("reply skip;reply on;echo a", "+OK $a"),
            ("reply skip;reply skip;echo a;echo b", "$b"),
            ("reply skip;id;echo b", "$b"),
            ("reply skip;multi;echo a;exec", "+QUEUED *1 $a"),
        ] {
            let reply = text(server.call(client, (sent.replace(';', "\n") + "\n").as_bytes()));
            if !expected.is_empty() {
                assert_eq!(reply.trim().replace('\n', " "), expected, "{sent}");
            }
        }
    });
}

#[test]
fn what_ends_by_a_transaction_is_removed_in_time() {
    each(|mut server| {
        let client = server.connect(0);
        let until_ms = server.now_ms() + 5;
        let lease = format!("lease {until_ms} a 1 b 1 c 1 d 1\ncount\n");
        assert_eq!(text(server.call(client, lease.as_bytes())), "+OK\n:4\n");
        server.advance(Duration::from_millis(10));
        server.run();
        for shard in 0..server.shards() {
            assert!(server.with_shard(shard, |db, _| db.map.is_empty()));
        }
    });
}
