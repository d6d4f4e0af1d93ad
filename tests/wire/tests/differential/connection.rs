//! The connection itself: greetings, passwords, CLIENT, and the end of it.

use kevy_wire_tests::{Both, Client, Failure, Reply, Server, is_self_check, matrix};

use crate::compare::View;
use crate::script::{Run, run, run_with};

#[test]
fn greetings() {
    run(r#"
        PING
        PING hello
        PING ""
        PING a b
        ping
        ECHO hello
        ECHO ""
        ECHO "\x00\r\n"
        ECHO
        ECHO a b
        ECHO <x*100000>
        shape TIME
        TIME a
        QUIT
        PING
        QUIT a b
        PING
        shape HELLO
        shape HELLO 2
        PING
        GET none
        shape HELLO 3
        GET none
        MGET none none
        HELLO 4
        HELLO 1
        HELLO 0
        HELLO -1
        HELLO abc
        HELLO ""
        HELLO 99999999999999999999
        HELLO 2147483648
        HELLO 3 FOO
        HELLO 3 SETNAME
        HELLO 3 SETNAME "a b"
        HELLO 2 SETNAME "a\n"
        CLIENT GETNAME
        shape HELLO 2 SETNAME me
        CLIENT GETNAME
        HELLO 3 AUTH
        HELLO 3 AUTH default
        HELLO 3 AUTH nobody wrong
        HELLO 3 AUTH default wrong SETNAME
        HELLO 2 SETNAME other FOO
        HELLO 2 SETNAME other AUTH nobody wrong
        CLIENT GETNAME
        shape HELLO 3 AUTH default anything
        shape HELLO 3 setname you auth default anything
        CLIENT GETNAME
        shape HELLO 3 SETNAME ""
        CLIENT GETNAME
        HELLO 2 3
        shape HELLO
        GET none
        SELECT 3
        SET k v
        CLIENT SETNAME me
        RESET
        GET none
        GET k
        CLIENT GETNAME
        RESET a
        RESET
        AUTH
        AUTH a
        AUTH a b
        AUTH default anything
        AUTH a b c
        AUTH ""
    "#);
}

#[test]
fn a_password() {
    run_with(
        &[("requirepass", "secret")],
        r#"
        PING
        GET k
        GET
        SET k v
        FOO
        FOO bar
        ECHO a
        CLIENT ID
        CLIENT FOO
        COMMAND
        INFO
        SELECT 1
        CONFIG GET port
        CLUSTER INFO
        HELLO
        HELLO 2
        HELLO 3
        HELLO 4
        HELLO abc
        HELLO 3 SETNAME me
        HELLO 3 AUTH
        HELLO 3 AUTH default
        HELLO 3 AUTH default wrong
        HELLO 3 AUTH nobody secret
        HELLO 2 AUTH default wrong SETNAME me
        HELLO 2 SETNAME me AUTH default wrong
        AUTH
        AUTH wrong
        AUTH default wrong
        AUTH nobody secret
        AUTH default secret extra
        AUTH ""
        AUTH SECRET
        AUTH Default secret
        PING
        RESET
        GET k
        QUIT
        GET k
        AUTH secret
        GET k
        SET k v
        AUTH wrong
        GET k
        RESET
        GET k
        AUTH default secret
        GET k
        reconnect
        GET k
        shape HELLO 3 AUTH default secret
        GET k
        reconnect
        shape HELLO 2 AUTH default secret SETNAME me
        CLIENT GETNAME
        CONFIG GET requirepass
        CONFIG SET requirepass other
        GET k
        reconnect
        GET k
        AUTH secret
        AUTH other
        GET k
        CONFIG SET requirepass ""
        reconnect
        GET k
        AUTH other
        CONFIG SET requirepass secret
        GET k
        reconnect
        GET k
        AUTH secret
        FLUSHALL
    "#,
    );
}

#[test]
fn client_subcommands() {
    run(r#"
        CLIENT
        CLIENT FOO
        CLIENT FOO bar
        CLIENT "foo\r\nbar"
        CLIENT <x*200>
        shape CLIENT ID
        CLIENT ID a
        CLIENT GETNAME
        CLIENT GETNAME a
        CLIENT SETNAME
        CLIENT SETNAME me
        CLIENT GETNAME
        CLIENT SETNAME ""
        CLIENT GETNAME
        CLIENT SETNAME "a b"
        CLIENT SETNAME "a\nb"
        CLIENT SETNAME "\x7f"
        CLIENT SETNAME "\xc3\xa9"
        CLIENT SETNAME ~!
        CLIENT GETNAME
        CLIENT SETNAME a b
        client setname Lower
        Client GetName
        shape CLIENT LIST
        shape CLIENT INFO
        CLIENT INFO a
        CLIENT LIST FOO
        CLIENT LIST TYPE
        CLIENT LIST TYPE foo
        shape CLIENT LIST TYPE normal
        CLIENT LIST TYPE pubsub
        CLIENT LIST TYPE replica
        CLIENT LIST TYPE slave
        CLIENT LIST TYPE master
        CLIENT LIST TYPE normal normal
        CLIENT LIST ID
        CLIENT LIST ID abc
        CLIENT LIST ID 0
        CLIENT LIST ID -1
        CLIENT LIST ID 999999999
        CLIENT LIST ID 999999999 abc
        CLIENT NO-EVICT
        CLIENT NO-EVICT on
        CLIENT NO-EVICT OFF
        CLIENT NO-EVICT maybe
        CLIENT NO-EVICT on off
        CLIENT KILL
        CLIENT KILL 127.0.0.1:1
        CLIENT KILL nonsense
        CLIENT KILL ID
        CLIENT KILL ID abc
        CLIENT KILL ID 0
        CLIENT KILL ID -1
        CLIENT KILL ID 999999999
        CLIENT KILL ID 999999999 FOO bar
        CLIENT KILL FOO bar
        CLIENT KILL FOO bar baz
        CLIENT KILL TYPE foo
        CLIENT KILL TYPE pubsub
        CLIENT KILL TYPE replica
        CLIENT KILL TYPE master
        CLIENT KILL USER nobody
        CLIENT KILL USER default
        CLIENT KILL USER default SKIPME yes
        CLIENT KILL SKIPME
        CLIENT KILL SKIPME maybe
        CLIENT KILL SKIPME yes
        CLIENT KILL ADDR 127.0.0.1:1
        CLIENT KILL LADDR 127.0.0.1:1
        CLIENT KILL ADDR 127.0.0.1:1 LADDR 127.0.0.1:1 TYPE normal ID 999999999
        CLIENT KILL TYPE normal
        CLIENT KILL TYPE normal SKIPME no
        PING
        CLIENT KILL USER default SKIPME no
        PING
        CLIENT REPLY
        CLIENT REPLY FOO
        CLIENT REPLY ON
        CLIENT REPLY ON a
        ! CLIENT REPLY SKIP
        ! PING skipped
        PING answered
        ! CLIENT REPLY OFF
        ! PING
        ! SET k v
        ! FOO
        ! CLIENT REPLY FOO
        CLIENT REPLY ON
        GET k
        ! CLIENT REPLY SKIP
        ! FOO
        PING answered
        ! CLIENT REPLY OFF
        ! CLIENT REPLY SKIP
        ! PING
        CLIENT REPLY ON
        PING answered
        ! CLIENT REPLY SKIP
        ! CLIENT REPLY SKIP
        ! PING
        PING answered
        ! CLIENT REPLY SKIP
        ! SELECT 1
        PING answered
        SELECT 0
        ! CLIENT REPLY OFF
        RESET
        PING answered
    "#);
}

#[test]
fn hello_tells_the_same_fields() {
    for setup in matrix() {
        let both = Both::start(setup, &[]);
        let (mut oracle, mut ours) = both.connect();
        for protocol in ["2", "3"] {
            let expected = oracle.call(["HELLO", protocol]);
            let actual = ours.call(["HELLO", protocol]);
            let (expected, actual) = (expected.elements(), actual.elements());
            assert_eq!(actual.len(), expected.len(), "{setup}");
            for (expected, actual) in expected.chunks(2).zip(actual.chunks(2)) {
                assert_eq!(actual[0], expected[0], "{setup}");
                let name = expected[0].text();
                if !["version", "id", "modules"].contains(&name.as_str()) {
                    assert_eq!(actual[1], expected[1], "{setup}: {name}");
                }
            }
        }
    }
}

/// The fields of a line of CLIENT LIST.
fn fields(line: &str) -> Vec<(&str, &str)> {
    line.trim_end()
        .split(' ')
        .map(|field| field.split_once('=').unwrap_or_else(|| panic!("no field: {field}")))
        .collect()
}

fn field<'a>(line: &'a str, name: &str) -> &'a str {
    fields(line)
        .into_iter()
        .find_map(|(known, value)| (known == name).then_some(value))
        .unwrap_or_else(|| panic!("no field {name} in {line}"))
}

#[test]
fn client_info_tells_the_same_of_a_connection() {
    for setup in matrix() {
        let both = Both::start(setup, &[]);
        let (mut oracle, mut ours) = both.connect();
        for client in [&mut oracle, &mut ours] {
            client.call(["HELLO", "3", "SETNAME", "me"]);
            client.call(["SELECT", "7"]);
        }
        let (expected, actual) =
            (oracle.call(["CLIENT", "INFO"]).text(), ours.call(["CLIENT", "INFO"]).text());
        assert_eq!(actual.ends_with('\n'), expected.ends_with('\n'), "{setup}");
        let names: Vec<_> = fields(&actual).into_iter().map(|(name, _)| name).collect();
        for (name, value) in fields(&expected) {
            assert!(names.contains(&name), "{setup}: no field {name} in {actual}");
            let same = ["name", "flags", "db", "sub", "psub", "ssub", "multi", "cmd", "user"];
            if same.contains(&name) || name == "resp" || name == "redir" {
                assert_eq!(field(&actual, name), value, "{setup}: {name}");
            }
        }
        assert_eq!(field(&actual, "laddr"), both.ours.socket_address().to_string(), "{setup}");
        let id = ours.call(["CLIENT", "ID"]).integer().to_string();
        assert_eq!(field(&actual, "id"), id, "{setup}");
        let listed = ours.call(["CLIENT", "LIST", "ID", &id]).text();
        assert_eq!(field(&listed, "id"), id, "{setup}");
    }
}

#[test]
fn client_list_has_every_connection_once() {
    for setup in matrix() {
        let server = Server::ours(setup);
        let mut clients: Vec<Client> = (0..20).map(|_| server.connect()).collect();
        let mut ids: Vec<i64> =
            clients.iter_mut().map(|client| client.call(["CLIENT", "ID"]).integer()).collect();
        let list = clients[3].call(["CLIENT", "LIST"]).text();
        let mut listed: Vec<i64> =
            list.lines().map(|line| field(line, "id").parse().expect("a number")).collect();
        listed.retain(|id| ids.contains(id));
        listed.sort_unstable();
        ids.sort_unstable();
        assert_eq!(listed, ids, "{setup}");
        ids.dedup();
        assert_eq!(ids.len(), 20, "{setup}: an id was given twice");
    }
}

/// Kills a connection by `filter`, which is told its id and address, and expects that it closes.
fn assert_kills(setup_name: &str, server: &Server, filter: impl Fn(i64, &str) -> Vec<String>) {
    let (mut killer, mut victim) = (server.connect(), server.connect());
    let id = victim.call(["CLIENT", "ID"]).integer();
    let address = field(&victim.call(["CLIENT", "INFO"]).text(), "addr").to_owned();
    let filter = filter(id, &address);
    let reply = killer.call(["CLIENT".to_owned(), "KILL".into()].iter().chain(&filter));
    let expected = if filter.len() == 1 { Reply::ok() } else { Reply::Integer(1) };
    assert_eq!(reply, expected, "{setup_name}: {filter:?}");
    assert_eq!(victim.receive(), Err(Failure::Closed), "{setup_name}: {filter:?}");
    assert_eq!(killer.call(["PING"]), Reply::Simple(b"PONG".to_vec()), "{setup_name}");
}

#[test]
fn client_kill_closes_the_one_it_names() {
    for setup in matrix() {
        let server = Server::ours(setup);
        let name = setup.to_string();
        // Several times, so that killer and victim are on one shard and on two.
        for _ in 0..5 {
            assert_kills(&name, &server, |id, _| vec!["ID".into(), id.to_string()]);
            assert_kills(&name, &server, |_, address| vec!["ADDR".into(), address.into()]);
            assert_kills(&name, &server, |_, address| vec![address.into()]);
        }
        let mut own = server.connect();
        let id = own.call(["CLIENT", "ID"]).integer().to_string();
        assert_eq!(own.call(["CLIENT", "KILL", "ID", &id]), Reply::Integer(0), "{setup}");
        let kill_itself = ["CLIENT", "KILL", "ID", &id, "SKIPME", "no"];
        assert_eq!(own.call(kill_itself), Reply::Integer(1), "{setup}");
        assert_eq!(own.receive(), Err(Failure::Closed), "{setup}");

        let (mut killer, mut one, mut two) = (server.connect(), server.connect(), server.connect());
        one.call(["PING"]);
        two.call(["PING"]);
        let killed = killer.call(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        assert!(killed.integer() >= 2, "{setup}");
        assert_eq!(one.receive(), Err(Failure::Closed), "{setup}");
        assert_eq!(two.receive(), Err(Failure::Closed), "{setup}");
        assert_eq!(killer.call(["PING"]), Reply::Simple(b"PONG".to_vec()), "{setup}");
    }
}

/// CLIENT SETINFO and NO-TOUCH came after the oracle; the texts are those of the version that
/// our server announces.
#[test]
fn what_newer_clients_send_first() {
    if is_self_check() {
        return;
    }
    for setup in matrix() {
        let server = Server::ours(setup);
        let mut client = server.connect();
        let mut error = |command: &[&str], text: &str| {
            let reply = client.call(command);
            assert_eq!(reply, Reply::Error(text.as_bytes().to_vec()), "{setup}: {command:?}");
        };
        error(&["CLIENT", "SETINFO", "FOO", "x"], "ERR Unrecognized option 'FOO'");
        error(
            &["CLIENT", "SETINFO", "LIB-NAME", "a b"],
            "ERR lib-name cannot contain spaces, newlines or special characters.",
        );
        error(
            &["CLIENT", "SETINFO", "LIB-NAME"],
            "ERR wrong number of arguments for 'client|setinfo' command",
        );
        error(&["CLIENT", "NO-TOUCH", "maybe"], "ERR syntax error");
        for command in [
            &["CLIENT", "SETINFO", "LIB-NAME", "some-lib"][..],
            &["CLIENT", "SETINFO", "lib-ver", "1.2.3"],
            &["CLIENT", "NO-TOUCH", "on"],
            &["CLIENT", "NO-TOUCH", "OFF"],
        ] {
            assert_eq!(client.call(command), Reply::ok(), "{setup}: {command:?}");
        }
        let info = client.call(["CLIENT", "INFO"]).text();
        assert_eq!(field(&info, "lib-name"), "some-lib", "{setup}");
        assert_eq!(field(&info, "lib-ver"), "1.2.3", "{setup}");
    }
}

#[test]
fn what_follows_a_quit_in_a_pipeline_is_not_run() {
    for setup in matrix() {
        let both = Both::start(setup, &[]);
        let mut run = Run::new(&both, "2");
        let commands = ["SET k v", "QUIT", "SET k w", "PING"].map(kevy_wire_tests::words);
        for (at, (oracle, ours)) in run.pipeline(&commands).iter().enumerate() {
            assert!(View::Exact.accepts(oracle, ours), "{setup}, {at}: {oracle:?}, {ours:?}");
        }
        run.reconnect();
        let (oracle, ours) = run.outcomes(&kevy_wire_tests::words("GET k"));
        assert_eq!(oracle, ours, "{setup}");
    }
}
