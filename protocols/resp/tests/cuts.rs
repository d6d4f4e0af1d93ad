//! However a stream of requests is cut into pieces, it says the same; and garbage does no harm.

use proptest::collection::vec;
use proptest::prelude::*;

#[path = "../../../fuzz/src/requests.rs"]
mod requests;

use requests::{Said, WIDE, check, say};

/// Bytes of one argument. Some are large enough to be gathered in an allocation of their own.
fn argument() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => vec(any::<u8>(), 0..20),
        4 => vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(0), Just(b'$'), Just(b'1')], 0..12),
        2 => vec(any::<u8>(), 90..300),
        1 => (16_000_usize..40_000, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

/// A request, as a client that knows its arguments' lengths sends it.
fn frame() -> impl Strategy<Value = (Vec<u8>, Option<Vec<Vec<u8>>>)> {
    let few = vec(argument(), 1..6);
    let many = vec(vec(any::<u8>(), 0..4), 6..400);
    prop_oneof![4 => few, 1 => many].prop_map(|args| {
        let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
        for arg in &args {
            bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            bytes.extend_from_slice(arg);
            bytes.extend_from_slice(b"\r\n");
        }
        (bytes, Some(args))
    })
}

/// A request as a person types it, each word quoted or not.
fn line() -> impl Strategy<Value = (Vec<u8>, Option<Vec<Vec<u8>>>)> {
    let word = prop_oneof![
        "[a-z0-9$]{1,12}".prop_map(|word| (word.clone().into_bytes(), word.into_bytes())),
        vec(any::<u8>(), 0..12).prop_map(|word| {
            let hex: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            (format!("\"{hex}\"").into_bytes(), word)
        }),
        "[a-z \"]{0,12}".prop_map(|word| (format!("'{word}'").into_bytes(), word.into_bytes())),
    ];
    (vec(word, 1..8), prop_oneof![Just("\n"), Just("\r\n"), Just(" \r\n")]).prop_map(
        |(words, end)| {
            let (typed, meant): (Vec<_>, Vec<_>) = words.into_iter().unzip();
            ([typed.join(&b' '), end.into()].concat(), Some(meant))
        },
    )
}

/// Bytes that are no request and no error.
fn nothing() -> impl Strategy<Value = (Vec<u8>, Option<Vec<Vec<u8>>>)> {
    const FORMS: &[&str] = &["\r\n", "\n", " \r\n", "*0\r\n", "*-1\r\n", "*-123456\r\n"];
    prop::sample::select(FORMS).prop_map(|form| (form.into(), None))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_are_the_same_however_they_are_cut(
        sent in vec(prop_oneof![4 => frame(), 1 => line(), 1 => nothing()], 1..50),
        cuts in vec(prop_oneof![1_usize..4, 1_usize..100, 1_usize..30_000], 1..50),
        gather in any::<bool>(),
    ) {
        let stream = sent.iter().flat_map(|(bytes, _)| bytes).copied().collect::<Vec<_>>();
        let requests = sent.into_iter().filter_map(|(_, request)| request).collect();
        let meant = Said { requests, refusal: None };
        prop_assert_eq!(&say(&stream, WIDE, gather, |left| left), &meant);
        prop_assert_eq!(&say(&stream, WIDE, gather, |_| 1), &meant);
        let mut cuts = cuts.iter().cycle();
        prop_assert_eq!(&say(&stream, WIDE, gather, |_| *cuts.next().unwrap()), &meant);
    }

    #[test]
    fn garbage_does_no_harm(stream in vec(any::<u8>(), 0..2000)) {
        check(&stream);
    }

    #[test]
    fn garbage_that_looks_like_requests_does_no_harm(
        stream in "(\\*[0-9-]{0,3}\r\n|\\$[0-9-]{0,3}\r\n|[a-z\"' \\\\\0]{0,9}|\r|\n){0,40}",
    ) {
        check(stream.as_bytes());
    }
}

#[test]
fn a_request_of_a_million_arguments_arrives_in_small_pieces() {
    let count = 1024 * 1024;
    let stream = [format!("*{count}\r\n").into_bytes(), b"$1\r\nx\r\n".repeat(count)].concat();
    for piece in [13, 16 * 1024] {
        let said = say(&stream, WIDE, true, |_| piece);
        assert_eq!(said.refusal, None);
        assert_eq!(said.requests.iter().map(Vec::len).collect::<Vec<_>>(), [count]);
    }
}
