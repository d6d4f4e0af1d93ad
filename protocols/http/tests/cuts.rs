//! However a stream of requests is cut into pieces, it says the same; garbage does no harm; and what
//! each kind of request becomes.

use proptest::collection::vec;
use proptest::prelude::*;

#[path = "../../../fuzz/src/http.rs"]
mod http;

use http::{check, say};
use kevy_http::{BODY_BYTES, Code, HEAD_BYTES};

/// What a stream says, a request in a word: `GET name framing query`.
fn told(stream: &str) -> (Vec<String>, Option<Code>) {
    let said = say(stream.as_bytes(), |left| left);
    let words = |request: &Vec<Vec<u8>>| {
        let words = request.iter().map(|word| String::from_utf8_lossy(word).into_owned());
        words.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    };
    (said.requests.iter().map(words).collect(), said.refusal)
}

fn is_fine(stream: &str, requests: &[&str]) {
    check(stream.as_bytes());
    assert_eq!(told(stream), (requests.iter().map(ToString::to_string).collect(), None));
}

fn is_refused(stream: &str, code: Code) {
    check(stream.as_bytes());
    assert_eq!(told(stream), (Vec::new(), Some(code)), "{stream}");
}

#[test]
fn paths_become_names() {
    is_fine("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &["GET index.html"]);
    is_fine("GET /metrics?a=b?c HTTP/1.1\r\nHost: a\r\n\r\n", &["GET metrics  a=b?c"]);
    is_fine("HEAD /a/b HTTP/1.1\r\nHost: a\r\n\r\n", &["GET a/b h"]);
    is_fine("GET http://b:1/metrics?x HTTP/1.1\r\nHost: a\r\n\r\n", &["GET metrics  x"]);
    is_fine("GET http://b?x HTTP/1.1\r\nHost: a\r\n\r\n", &["GET index.html  x"]);
    is_fine("GET /x://y HTTP/1.1\r\nHost: a\r\n\r\n", &["GET x://y"]);
    is_fine("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &["OPTIONS *"]);
}

#[test]
fn a_connection_lasts_as_long_as_both_sides_want() {
    let two = |first: &str| format!("{first}\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n");
    is_fine(&two("GET /a HTTP/1.1\r\nHost: a"), &["GET a", "GET b"]);
    is_fine(&two("GET /a HTTP/1.1\r\nHost: a\r\nConnection: x, Close"), &["GET a c"]);
    is_fine(&two("GET /a HTTP/1.0"), &["GET a c"]);
    is_fine(&two("GET /a HTTP/1.0\r\nConnection: keep-alive"), &["GET a k", "GET b"]);
    is_fine(&two("GET /a HTTP/1.0\r\nConnection: keep-alive, close"), &["GET a c"]);
}

#[test]
fn bodies_are_passed_over_up_to_a_bound() {
    let with = |len: usize, body: &str| {
        format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{body}")
    };
    let next = "GET /b HTTP/1.1\r\nHost: a\r\n\r\n";
    is_fine(&(with(5, "GET /") + next), &["POST a", "GET b"]);
    is_fine(&(with(0, "") + next), &["POST a", "GET b"]);
    is_fine(&(with(BODY_BYTES, &"x".repeat(BODY_BYTES)) + next), &["POST a", "GET b"]);
    is_fine(&with(5, "hell"), &[]);
    is_refused(&with(BODY_BYTES + 1, ""), Code::ContentTooLarge);
    for fields in
        ["Content-Length: 1\r\nContent-Length: 2", "Content-Length: -1", "Content-Length:"]
    {
        is_refused(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"), Code::BadRequest);
    }
    let twice = "Content-Length: 1\r\nContent-Length: 1";
    is_fine(&format!("GET / HTTP/1.1\r\nHost: a\r\n{twice}\r\n\r\nx"), &["GET index.html"]);
}

#[test]
fn what_is_not_spoken_is_refused() {
    for (fields, code) in [
        ("Transfer-Encoding: chunked", Code::NotImplemented),
        ("Expect: 100-continue", Code::ExpectationFailed),
        ("Host: b", Code::BadRequest),
        ("no colon", Code::BadRequest),
    ] {
        is_refused(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"), code);
    }
    is_refused("GET / HTTP/1.1\r\n\r\n", Code::BadRequest);
    is_refused("GET / HTTP/3.0\r\n\r\n", Code::VersionNotSupported);
    is_refused("get / HTTP/1.1\r\nHost: a\r\n\r\n", Code::NotImplemented);
    is_refused("*1\r\n$4\r\nPING\r\n\r\n", Code::BadRequest);
}

#[test]
fn heads_are_bounded() {
    let head = |len: usize| {
        let start = "GET / HTTP/1.1\r\nHost: a\r\nA: ";
        format!("{start}{}\r\n\r\n", "a".repeat(len - start.len() - 4))
    };
    is_fine(&head(HEAD_BYTES), &["GET index.html"]);
    is_refused(&head(HEAD_BYTES + 1), Code::HeaderFieldsTooLarge);
    is_refused(&format!("GET /{}", "a".repeat(HEAD_BYTES)), Code::UriTooLong);
    let fields = |count| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count));
    is_fine(&fields(63), &["GET index.html"]);
    is_refused(&fields(64), Code::HeaderFieldsTooLarge);
}

#[test]
fn the_seeds_of_the_fuzzer_do_no_harm() {
    let seeds = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/http"));
    let mut count = 0;
    for seed in seeds.expect("the seeds are there") {
        check(&std::fs::read(seed.expect("an entry").path()).expect("a file"));
        count += 1;
    }
    assert!(count > 20);
}

/// Parts of requests, most of them right.
fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "(GET|HEAD|POST) /[a-z]{0,8}(\\?[a-z=]{0,9})? HTTP/1\\.[01]\r\nHost: a\r\n",
        4 => Just("\r\n".to_owned()),
        2 => "(Connection|Content-Length|X): (close|keep-alive|[0-9]{1,3}|[ -~]{0,20})\r\n",
        1 => Just("Connection: keep-alive\r\n\r\n".to_owned()),
        1 => "[ -~\r\n]{0,12}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_does_not_depend_on_the_cuts(parts in vec(part(), 0..40)) {
        check(parts.concat().as_bytes());
    }

    #[test]
    fn garbage_does_no_harm(stream in vec(any::<u8>(), 0..2000)) {
        check(&stream);
    }
}
