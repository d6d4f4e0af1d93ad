//! The port that shows how the server is: `--http`. What it answers over sockets, what it tells of
//! what clients did, and what it does with those who don't speak HTTP.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use kevy_wire_tests::{
    DEADLINE, Launch, Reply, Server, Setup, fresh_address, is_self_check, matrix, notice,
};

/// Our server with the port, in each setup.
fn servers() -> impl Iterator<Item = (Setup, Server, SocketAddr)> {
    let setups = if is_self_check() { Vec::new() } else { matrix() };
    setups.into_iter().map(|setup| {
        let at = fresh_address();
        (setup, Launch::ours(setup).option("http", &at.to_string()).start(), at)
    })
}

fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("set a timeout");
    stream.set_nodelay(true).expect("set an option");
    stream
}

/// Reads one reply: its code, head and body.
fn read_reply(stream: &mut TcpStream) -> (u16, String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a reply's head");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    let field = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; field.expect("a length").parse().expect("a number")];
    stream.read_exact(&mut body).expect("a reply's body");
    let code = head.split(' ').nth(1).expect("a code").parse().expect("a number");
    (code, head, String::from_utf8(body).expect("text"))
}

/// Whether the server has closed the connection and sent nothing more.
fn is_at_end(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn request(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")
}

fn get(at: SocketAddr, path: &str) -> (u16, String, String) {
    let mut stream = connect(at);
    stream.write_all(request(path, "Connection: close\r\n").as_bytes()).expect("send");
    let reply = read_reply(&mut stream);
    assert!(is_at_end(&mut stream), "{path}");
    reply
}

/// The value of a sample, by its name and labels as they are written.
fn sample(metrics: &str, series: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a number"))
}

#[test]
fn metrics_tell_what_clients_did() {
    for (setup, server, at) in servers() {
        let mut client = server.connect();
        for number in 0..20 {
            let key = format!("key:{number}");
            client.call(["SET", &key, "value"]);
            client.call(["GET", &key]);
        }
        client.call(["GET", "nosuch"]);
        client.call(["CLIENT", "GETNAME"]);
        let (code, head, metrics) = get(at, "/metrics");
        assert_eq!(code, 200, "{setup}");
        assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
        for (series, value) in [
            ("redis_up", 1.0),
            ("redis_commands_total{cmd=\"get\"}", 21.0),
            ("redis_commands_total{cmd=\"client|getname\"}", 1.0),
            ("redis_db_keys{db=\"db0\"}", 20.0),
            ("redis_db_keys{db=\"db1\"}", 0.0),
            ("redis_keyspace_hits_total", 20.0),
            ("redis_keyspace_misses_total", 1.0),
            ("kevy_command_calls_total{port=\"Resp\",command=\"SET\"}", 20.0),
            ("kevy_shards", setup.shards as f64),
        ] {
            assert_eq!(sample(&metrics, series), Some(value), "{setup}: {series}");
        }
        for series in ["redis_memory_used_bytes", "process_resident_memory_bytes"] {
            assert!(sample(&metrics, series) > Some(1000.0), "{setup}: {series}");
        }
        let shards =
            (0..setup.shards).map(|shard| format!("kevy_requests_total{{shard=\"{shard}\"}}"));
        let requests: f64 = shards.filter_map(|series| sample(&metrics, &series)).sum();
        assert!(requests >= 43.0, "{setup}: {requests}");
        assert!(metrics.contains(&format!("reactor=\"{}\"", reactor(setup))), "{setup}");
        assert!(!metrics.contains("cmd=\"get|metrics\""), "{setup}");
    }
}

fn reactor(setup: Setup) -> &'static str {
    if setup.is_uring() { "io_uring" } else { "poll" }
}

#[test]
fn clients_of_the_other_port_are_not_told_of_it() {
    for (setup, server, at) in servers() {
        assert_eq!(get(at, "/healthz").2, "ok\n");
        let mut client = server.connect();
        let told = client.call(["INFO", "commandstats"]);
        assert!(!format!("{told:?}").contains("healthz"), "{setup}");
        let told = client.call(["COMMAND", "INFO", "get|healthz"]);
        assert_eq!(told, client.call(["COMMAND", "INFO", "x|y"]), "{setup}");
    }
}

#[test]
fn a_connection_serves_many_requests() {
    for (setup, _server, at) in servers() {
        let mut stream = connect(at);
        let burst = request("/healthz", "") + &request("/status.json", "") + &request("/x", "");
        let burst = burst.clone() + &burst + &request("/", "Connection: close\r\n") + &burst;
        // In pieces that end anywhere.
        for piece in burst.as_bytes().chunks(37) {
            if stream.write_all(piece).is_err() {
                break; // It is closed behind the last request that is answered.
            }
        }
        for code in [200, 200, 404, 200, 200, 404] {
            assert_eq!(read_reply(&mut stream).0, code, "{setup}");
        }
        let (code, head, body) = read_reply(&mut stream);
        assert!(code == 200 && head.contains("\r\nContent-Type: text/html"), "{setup}: {head}");
        assert!(body.starts_with("<!doctype html>") && body.ends_with("</html>\n"), "{setup}");
        assert!(is_at_end(&mut stream), "{setup}");
    }
}

#[test]
fn what_is_not_http_is_refused_and_nobody_else_notices() {
    for (setup, server, at) in servers() {
        let mut other = connect(at);
        for (bytes, code) in [
            (&b"*1\r\n$4\r\nPING\r\n\r\n"[..], 400),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505),
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n", 413),
            (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
            (&[b'a'; 8193], 414),
        ] {
            let mut stream = connect(at);
            stream.write_all(bytes).expect("send");
            assert_eq!(read_reply(&mut stream).0, code, "{setup}");
            assert!(is_at_end(&mut stream), "{setup}");
        }
        other.write_all(request("/readyz", "").as_bytes()).expect("send");
        assert_eq!(read_reply(&mut other).2, "ready\n", "{setup}");
        assert_eq!(server.connect().call(["ECHO", "a"]), Reply::bulk("a"));
    }
}

#[test]
fn curl_gets_it() {
    if !std::path::Path::new("/usr/bin/curl").exists() {
        return notice("curl is not installed: nothing is tried with it");
    }
    for (setup, _server, at) in servers() {
        let url = |path: &str| format!("http://{at}{path}");
        let curl = |arguments: &[&str]| {
            let output = Command::new("/usr/bin/curl").arg("-sS").args(arguments).output();
            let output = output.expect("run curl");
            assert!(output.status.success(), "{setup}: {output:?}");
            String::from_utf8(output.stdout).expect("text")
        };
        let both = curl(&["--fail", &url("/healthz"), &url("/readyz")]);
        assert_eq!(both, "ok\nready\n", "{setup}");
        assert!(curl(&["--head", &url("/metrics")]).starts_with("HTTP/1.1 200 OK\r\n"), "{setup}");
        assert!(curl(&["--http1.0", &url("/metrics")]).contains("\nredis_up 1\n"), "{setup}");
        let posted =
            curl(&["-o", "/dev/null", "-w", "%{http_code}", "-d", "x=1", &url("/metrics")]);
        assert_eq!(posted, "405", "{setup}");
    }
}

#[test]
fn an_address_that_is_none_is_told() {
    if is_self_check() {
        return;
    }
    let ended = Launch::ours(matrix()[0]).option("http", "nowhere").start_and_end();
    assert!(!ended.status.success() && ended.log.contains("http"), "{}", ended.log);
}
