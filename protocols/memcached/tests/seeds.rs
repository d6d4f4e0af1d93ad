//! Runs what the fuzz target runs on its seeds, on random mutations of them, and on streams of
//! requests that are cut anywhere.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

#[path = "../../../fuzz/src/memcached.rs"]
mod memcached;

use memcached::{WIDE, check, next, say};

/// Mutations of each seed.
const MUTATIONS: usize = 60;

fn seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/memcached");
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Changes some bytes, takes some out, repeats some, or joins two seeds.
fn mutate(seed: &[u8], other: &[u8], random: &mut u64) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..1 + next(random) % 4 {
        let at = next(random) as usize % (bytes.len() + 1);
        let end = (at + next(random) as usize % 9).min(bytes.len());
        match next(random) % 6 {
            0 => bytes[at..end].iter_mut().for_each(|byte| *byte = next(random) as u8),
            1 => {
                const TELLING: &[u8] = b" \r\n\0-019bqkOFTC";
                bytes.insert(at, TELLING[next(random) as usize % TELLING.len()]);
            }
            2 => drop(bytes.drain(at..end)),
            3 => bytes.extend_from_within(at..end),
            4 => bytes.truncate(at),
            _ => drop(bytes.splice(at..end, other.iter().copied())),
        }
    }
    bytes
}

#[test]
fn seeds_and_mutations_of_them() {
    let seeds = seeds();
    let mut random = 0x5EED;
    for seed in &seeds {
        check(seed);
        for _ in 0..MUTATIONS {
            let other = &seeds[next(&mut random) as usize % seeds.len()];
            check(&mutate(seed, other, &mut random));
        }
    }
}

/// A request, and its arguments.
fn request() -> impl Strategy<Value = (Vec<u8>, Vec<Vec<u8>>)> {
    let key = || "[a-z0-9:]{1,40}";
    let value = prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..60),
        2 => prop::collection::vec(prop::sample::select(&b"\r\n gets"[..]), 0..20),
        1 => (16_000_usize..40_000, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ];
    let words = |text: String| {
        text.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<Vec<u8>>>()
    };
    prop_oneof![
        4 => prop::collection::vec(key(), 1..200).prop_map(move |keys| {
            let line = format!("get {}", keys.join(" "));
            (format!("{line}\r\n").into_bytes(), words(line))
        }),
        4 => (key(), any::<u32>(), value, any::<bool>()).prop_map(move |(key, flags, value, q)| {
            let line = format!("set {key} {flags} 0 {}", value.len());
            let quiet = if q { " noreply" } else { "" };
            let bytes = [format!("{line}{quiet}\r\n").as_bytes(), &value, b"\r\n"].concat();
            let mut arguments = words(line);
            arguments.extend([quiet.trim().into(), value]);
            (bytes, arguments)
        }),
        2 => (key(), 0..9_u8).prop_map(move |(key, delta)| {
            let line = format!("incr {key} {delta}");
            (format!("{line}\n").into_bytes(), words(line))
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_stream_says_the_same_wherever_it_is_cut(
        stream in prop::collection::vec(request(), 1..40),
        cuts in prop::collection::vec(1..5000_usize, 1..50),
        gather in any::<bool>(),
    ) {
        let (bytes, arguments): (Vec<_>, Vec<_>) = stream.into_iter().unzip();
        let mut cuts = cuts.into_iter().cycle();
        let said = say(&bytes.concat(), WIDE, gather, |_| cuts.next().unwrap_or(1));
        prop_assert_eq!(said, (arguments, None));
    }

    #[test]
    fn garbage_does_no_harm(stream in prop::collection::vec(any::<u8>(), 0..2000)) {
        check(&stream);
    }
}
