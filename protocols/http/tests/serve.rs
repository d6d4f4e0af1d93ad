//! A whole server that has the status port: what it answers, in which order, and how long its
//! connections last.

use std::collections::HashMap;

use kevy_http::{Code, Http, Media, Request, Response, Status};
use kevy_rt::sim::{Client, Simulation};
use kevy_rt::{Cx, Key, KeyHasher, Kind, OpenError, Place, Scrape, Store, commands, server};

/// A store with something to tell.
struct Pages(HashMap<Vec<u8>, u64>);

impl Store for Pages {
    type Settings = ();

    fn open((): &(), _: Place, _: &KeyHasher) -> Result<Self, OpenError> {
        Ok(Pages(HashMap::new()))
    }

    fn observe(&self, cx: &Cx<'_>, scrape: &mut Scrape) {
        scrape.gauge("pages_known", "Pages that were asked for.", self.0.len());
        let shard = cx.server().place().shard;
        let family = scrape.family(Kind::Gauge, "pages_known_here", "The same.", &["shard"]);
        family.sample([shard.into()], self.0.len());
    }
}

kevy_rt::metrics! {
    struct Counts: "visits" {
        /// Visits of all pages.
        all: Counter,
        /// Visits by page.
        of: Counter by "page",
    }
}

/// A set of its own over the same wire.
struct Visits;

#[commands(store = Pages, wire = Http)]
impl Visits {
    /// Counts a visit. A name is only one word, so the page is the path itself.
    #[command(route = single(1), write, name = "VISIT")]
    fn visit(pages: &mut Pages, cx: &Cx<'_>, page: Key<'_>, request: Request<'_>) -> Response {
        *pages.0.entry(page.bytes().into()).or_default() += 1;
        let counts = cx.own::<Counts>();
        counts.all.add(1);
        counts.of.of(&String::from_utf8_lossy(page.bytes())).add(1);
        request.answer(Code::Ok, Media::Text, page.bytes())
    }

    /// Breaks.
    #[command(route = local, name = "GET broken")]
    fn broken(_: Request<'_>) -> Response {
        panic!("as it is told to")
    }
}

server! { Server: store = Pages, ports = [ Http, () => [Status, Visits] ] }

fn server(shards: usize, seed: u64) -> (Simulation<Server>, Client) {
    let mut server = Simulation::new(&(), shards, seed);
    let client = server.connect(0);
    (server, client)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Takes one reply off the front: its code, its head, its body.
fn take(replies: &mut &str, with_body: bool) -> (u16, String, String) {
    let (head, rest) = replies.split_once("\r\n\r\n").expect("a head ends");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a code");
    let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let len: usize = len.expect("a length").parse().expect("a number");
    let (body, rest) = rest.split_at(if with_body { len } else { 0 });
    *replies = rest;
    (code, head.to_owned(), body.to_owned())
}

fn call(server: &mut Simulation<Server>, client: Client, request: &str) -> (u16, String, String) {
    let replies = String::from_utf8(server.call(client, request.as_bytes())).expect("text");
    let mut rest = &replies[..];
    let reply = take(&mut rest, !request.starts_with("HEAD"));
    assert_eq!(rest, "", "one reply");
    reply
}

#[test]
fn replies_come_in_order_whatever_their_route() {
    for shards in [1, 2, 5] {
        for seed in 0..20 {
            let (mut server, client) = server(shards, seed);
            let paths = ["/healthz", "/metrics", "/readyz", "/nowhere", "/status.json", "/healthz"];
            let visit = "VISIT /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
            let burst = paths.map(get).concat() + &visit + &get("/readyz");
            let replies = server.call(client, burst.as_bytes());
            let replies = String::from_utf8(replies).expect("text");
            let mut rest = &replies[..];
            let starts = [
                "ok\n",
                "# HELP kevy_",
                "ready\n",
                "Not Found\n",
                "{\"now_ms\"",
                "ok\n",
                "x",
                "ready",
            ];
            for start in starts {
                let (_, _, body) = take(&mut rest, true);
                assert!(body.starts_with(start), "{body} with {shards} shards, seed {seed}");
            }
            assert_eq!(rest, "");
            assert!(!server.is_closed(client));
        }
    }
}

#[test]
fn nothing_is_read_behind_the_last_request() {
    for shards in [1, 2, 5] {
        for seed in 0..20 {
            for path in ["/healthz", "/metrics", "/nowhere"] {
                let (mut server, client) = server(shards, seed);
                let last = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                let visit = "VISIT /x HTTP/1.1\r\nHost: a\r\n\r\n";
                let burst = get("/readyz") + &last + visit + &get("/readyz");
                let replies = server.call(client, burst.as_bytes());
                let replies = String::from_utf8(replies).expect("text");
                let mut rest = &replies[..];
                let (_, head, _) = take(&mut rest, true);
                assert!(!head.contains("Connection:"), "{head}");
                let (_, head, _) = take(&mut rest, true);
                assert!(head.contains("\r\nConnection: close"), "{head}");
                assert_eq!(rest, "");
                assert!(server.is_closed(client), "{path} with {shards} shards, seed {seed}");
                let visited: usize = (0..shards)
                    .map(|shard| server.with_shard(shard, |pages, _| pages.0.len()))
                    .sum();
                assert_eq!(visited, 0);
                assert_eq!(server.open_sockets(), 0);
            }
        }
    }
}

#[test]
fn head_is_get_without_the_body() {
    let (mut server, client) = server(2, 0);
    for path in ["/healthz", "/", "/nowhere"] {
        let (code, head, body) = call(&mut server, client, &get(path));
        let asked = get(path).replacen("GET", "HEAD", 1);
        assert_eq!(call(&mut server, client, &asked), (code, head, String::new()));
        assert!(!body.is_empty());
    }
}

#[test]
fn what_is_wrong_is_told() {
    let (mut server, client) = server(2, 0);
    assert_eq!(call(&mut server, client, &get("/nowhere")).0, 404);
    let (code, head, _) = call(&mut server, client, "POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(code == 405 && head.contains("\r\nAllow: GET, HEAD"), "{head}");
    assert_eq!(call(&mut server, client, &get("/broken")).0, 500);
    assert!(!server.is_closed(client));
    let (code, head, _) = call(&mut server, client, &get(&format!("/{}", "a".repeat(9000))));
    assert!(code == 414 && head.contains("\r\nConnection: close"), "{head}");
    assert!(server.is_closed(client));
}

#[test]
fn old_clients_are_told_that_the_connection_stays() {
    let (mut server, client) = server(1, 0);
    let request = "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let (_, head, _) = call(&mut server, client, request);
    assert!(head.contains("\r\nConnection: keep-alive"), "{head}");
    let (_, head, _) = call(&mut server, client, "GET /healthz HTTP/1.0\r\n\r\n");
    assert!(head.contains("\r\nConnection: close"), "{head}");
    assert!(server.is_closed(client));
}

/// A name, its labels, and the number of a sample.
type Line = (String, Vec<(String, String)>, f64);

/// Reads the text format as strictly as it is described.
fn parse(text: &str) -> Vec<Line> {
    let is_name = |name: &str| {
        let mut letters = name.chars();
        letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == ':')
            && letters.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    };
    let (mut helps, mut types) = (Vec::new(), Vec::new());
    let mut lines: Vec<Line> = Vec::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let name = rest.split(' ').next().expect("a name").to_owned();
            assert!(is_name(&name) && !helps.contains(&name), "{line}");
            helps.push(name);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(helps.last().is_some_and(|help| help == name), "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            types.push((name.to_owned(), kind));
        } else {
            let (name, labels, value) = parse_sample(line);
            assert!(is_name(&name), "{line}");
            let (family, kind) = types.last().expect("a type comes first");
            let suffix = name.strip_prefix(&family[..]).expect("a sample is of the last family");
            match *kind {
                "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                "counter" => assert!(suffix.is_empty() && name.ends_with("_total"), "{line}"),
                _ => assert!(suffix.is_empty(), "{line}"),
            }
            let is_same = |other: &Line| (&other.0, &other.1) == (&name, &labels);
            assert!(!lines.iter().any(is_same), "twice: {line}");
            lines.push((name, labels, value));
        }
    }
    lines
}

fn parse_sample(line: &str) -> Line {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let value = match value {
        "+Inf" => f64::INFINITY,
        value => value.parse().expect("a number"),
    };
    let Some((name, labels)) = series.split_once('{') else {
        return (series.to_owned(), Vec::new(), value);
    };
    let labels = labels.strip_suffix('}').expect("labels end");
    let label = |label: &str| {
        let (name, value) = label.split_once("=\"").expect("a label has a value");
        (name.to_owned(), value.strip_suffix('"').expect("quoted").to_owned())
    };
    // No label here has a comma or a quote in it.
    (name.to_owned(), labels.split(',').map(label).collect(), value)
}

/// The sum of all samples of a name that have this label, or of all.
fn sum(lines: &[Line], name: &str, label: Option<(&str, &str)>) -> f64 {
    let has = |line: &&Line| {
        label.is_none_or(|(name, value)| line.1.iter().any(|l| (&*l.0, &*l.1) == (name, value)))
    };
    lines.iter().filter(|line| line.0 == name).filter(has).map(|line| line.2).sum()
}

#[test]
fn metrics_are_told_as_prometheus_reads_them() {
    for shards in [1, 2, 5] {
        let (mut server, client) = server(shards, 3);
        for page in ["/a", "/b", "/c", "/a"] {
            let visit = format!("VISIT {page} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(call(&mut server, client, &visit).0, 200);
        }
        let (code, head, body) = call(&mut server, client, &get("/metrics"));
        assert_eq!(code, 200);
        assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
        let lines = parse(&body);
        assert_eq!(sum(&lines, "visits_all_total", None), 4.0);
        assert_eq!(sum(&lines, "visits_of_total", Some(("page", "a"))), 2.0);
        assert_eq!(sum(&lines, "pages_known", None), 3.0);
        assert_eq!(sum(&lines, "pages_known_here", None), 3.0);
        assert_eq!(sum(&lines, "kevy_requests_total", None), 5.0, "with this one");
        assert_eq!(sum(&lines, "kevy_connections", None), 1.0);
        assert_eq!(sum(&lines, "kevy_shards", None), shards as f64);
        let calls = sum(&lines, "kevy_command_calls_total", Some(("command", "VISIT")));
        assert_eq!(calls, 4.0);
        let here = lines.iter().filter(|line| line.0 == "kevy_turns_total").count();
        assert_eq!(here, shards);
        let pairs = lines.iter().filter(|line| line.0 == "kevy_items_total").count();
        assert_eq!(pairs, shards * (shards - 1));
        assert_eq!(sum(&lines, "kevy_latency_seconds_count", None), 1.0, "time stood still");
        if shards > 1 {
            let items = sum(&lines, "kevy_items_total", None);
            assert!(items > 0.0, "VISIT and this request went to other shards");
        }
    }
}

#[test]
fn a_server_that_stops_is_not_ready() {
    // More requests than a turn takes, so that it stops between two of them; how many of them arrive
    // at once is drawn, with these seeds from many.
    let mut both = 0;
    for seed in [2, 3, 8, 9, 14, 15] {
        let (mut server, client) = server(1, seed);
        server.send(client, get("/readyz").repeat(6000).as_bytes());
        while !server.has_output(client) {
            server.step();
        }
        server.process().stop();
        let replies = String::from_utf8(server.call(client, b"")).expect("text");
        let mut rest = &replies[..];
        let mut codes = Vec::new();
        while !rest.is_empty() {
            codes.push(take(&mut rest, true).0);
        }
        assert!(codes.is_sorted() && codes[0] == 200, "{codes:?}");
        both += usize::from(codes.last() == Some(&503));
    }
    assert!(both > 0);
}
