//! Clients that people use, at work: redis-cli, redis-benchmark, and redis-py.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use kevy_wire_tests::{Address, Launch, Random, Server, effort, matrix, notice};

const CLI: &str = "/usr/bin/redis-cli";
const BENCHMARK: &str = "/usr/bin/redis-benchmark";

/// Lines of the word list.
const WORDS: usize = 100_000;

/// The options that lead redis-cli and redis-benchmark to the server.
fn way_to(server: &Server) -> Vec<String> {
    match server.address() {
        Address::Tcp(address) => {
            vec!["-h".into(), address.ip().to_string(), "-p".into(), address.port().to_string()]
        }
        Address::Unix(path) => vec!["-s".into(), path.display().to_string()],
    }
}

/// Both ways in to a server of each setup.
fn for_each_way_in(test: impl Fn(&Server, &str)) {
    for setup in matrix() {
        test(&Launch::ours(setup).start(), &format!("{setup}, TCP"));
        test(&Launch::ours(setup).on_unix_socket().start(), &format!("{setup}, a Unix socket"));
    }
}

/// Runs a program with this input and expects that it exits with success.
fn run(program: &str, arguments: &[String], input: &[u8], place: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("run {program}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that ended early is told by its status.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().expect("wait for it")
    });
    assert!(output.status.success(), "{place}: {program} {arguments:?}: {}", told(&output));
    output
}

fn told(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    format!("{}\n{}", output.status, String::from_utf8_lossy(&both))
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What redis-cli prints for these commands on its input.
fn cli(server: &Server, options: &[&str], commands: &str, place: &str) -> String {
    let mut arguments = way_to(server);
    arguments.extend(options.iter().map(|&option| option.to_owned()));
    stdout(&run(CLI, &arguments, commands.as_bytes(), place))
}

#[test]
fn redis_cli_runs_commands() {
    for_each_way_in(|server, place| {
        let printed = cli(
            server,
            &[],
            "PING\nSET greeting \"hello there\"\nGET greeting\nMSET a 1 b 2 c 3\nMGET a b c none\n\
             INCR a\nINCR greeting\nDBSIZE\nFOO\nSELECT 1\nGET a\n",
            place,
        );
        let expected = "PONG\nOK\nhello there\nOK\n1\n2\n3\n\n2\n\
            ERR value is not an integer or out of range\n\n4\n\
            ERR unknown command 'FOO', with args beginning with: \n\nOK\n\n";
        assert_eq!(printed, expected, "{place}");

        let as_json = cli(server, &["-3", "--json", "MGET", "a", "none"], "", place);
        assert_eq!(as_json, "[\"2\",null]\n", "{place}");
        assert_eq!(cli(server, &["-n", "2", "SET", "k", "v"], "", place), "OK\n", "{place}");
        assert_eq!(cli(server, &["-n", "2", "--scan"], "", place), "k\n", "{place}");
        let stored = cli(server, &["-x", "SET", "piped"], "from standard input", place);
        assert_eq!(stored, "OK\n", "{place}");
        assert_eq!(cli(server, &["GET", "piped"], "", place), "from standard input\n", "{place}");
        let info = cli(server, &["INFO", "server"], "", place);
        assert!(info.contains("redis_version:"), "{place}: {info}");
    });
}

/// Different words of different lengths, in no order.
fn word_list() -> Vec<String> {
    let mut random = Random::new(42);
    (0..WORDS)
        .map(|number| {
            let letters: String =
                (0..random.below(12)).map(|_| char::from(b'a' + random.below(26) as u8)).collect();
            format!("{letters}{number}")
        })
        .collect()
}

#[test]
fn a_word_list_loads_through_a_pipe_and_reads_back_whole() {
    let words = word_list();
    let mut load = Vec::new();
    for (number, word) in words.iter().enumerate() {
        load.extend(kevy_wire_tests::encode(["SET", word, &number.to_string()]));
    }
    let inline: String = words[..1000].iter().fold(String::new(), |mut all, word| {
        write!(all, "APPEND {word} !\r\n").expect("a string takes all");
        all
    });
    for_each_way_in(|server, place| {
        let printed = cli(server, &["--pipe"], std::str::from_utf8(&load).expect("text"), place);
        assert!(printed.contains(&format!("errors: 0, replies: {WORDS}")), "{place}: {printed}");
        assert_eq!(cli(server, &["DBSIZE"], "", place), format!("{WORDS}\n"), "{place}");

        let printed = cli(server, &["--pipe"], &inline, place);
        assert!(printed.contains("errors: 0, replies: 1000"), "{place}: {printed}");

        let mut client = server.connect();
        for (part, words) in words.chunks(10_000).enumerate() {
            let values = client.call([&["MGET".to_owned()], words].concat());
            for (at, value) in values.elements().iter().enumerate() {
                let number = part * 10_000 + at;
                let tail = if number < 1000 { "!" } else { "" };
                assert_eq!(value.text(), format!("{number}{tail}"), "{place}");
            }
        }

        let mut scanned: Vec<String> =
            cli(server, &["--scan"], "", place).lines().map(str::to_owned).collect();
        scanned.sort();
        scanned.dedup();
        let mut expected = words.clone();
        expected.sort();
        assert!(scanned == expected, "{place}: a scan has {} words of {WORDS}", scanned.len());
    });
}

#[test]
fn redis_benchmark_runs() {
    for_each_way_in(|server, place| {
        for options in [
            &["-t", "ping,set,get,incr,mset", "-q", "-P", "16", "-r", "1000"][..],
            &["-t", "ping_inline,ping_mbulk,set,get", "-q", "-c", "20", "-d", "10000"],
        ] {
            let mut arguments = way_to(server);
            arguments.extend(options.iter().map(|&option| option.to_owned()));
            let count = if options.contains(&"-P") { 20_000 } else { 2_000 };
            arguments.extend(["-n".to_owned(), effort(count).to_string()]);
            let output = run(BENCHMARK, &arguments, b"", place);
            let all = told(&output);
            for bad in ["rror", "WARN", "arning", "efused", "closed"] {
                assert!(!all.contains(bad), "{place}: {all}");
            }
            let finished = all.matches("requests per second").count();
            let tests = if options.contains(&"-P") { 6 } else { 4 };
            assert!(finished >= tests - 1, "{place}: {all}");
        }
    });
}

/// The Python that has redis-py, if there is one.
fn python() -> Option<String> {
    let python = std::env::var("KEVY_PYTHON").unwrap_or_else(|_| "python3".into());
    let found = Command::new(&python)
        .args(["-c", "import redis"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let is_required = std::env::var("KEVY_REQUIRE_CLIENTS").is_ok_and(|value| value == "1");
    assert!(found || !is_required, "{python} has no redis-py, and KEVY_REQUIRE_CLIENTS is set");
    if !found {
        notice(&format!("SKIPPED: {python} has no redis-py (pip install redis): not tested"));
    }
    found.then_some(python)
}

#[test]
fn redis_py_works() {
    let Some(python) = python() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/exercise.py");
    let script = script.display().to_string();
    for_each_way_in(|server, place| {
        let url = match server.address() {
            Address::Tcp(address) => format!("redis://{address}"),
            Address::Unix(path) => format!("unix://{}", path.display()),
        };
        let output = run(&python, &[script.clone(), url], b"", place);
        assert_eq!(stdout(&output), "all of redis-py's calls went well\n", "{place}");
    });
}
