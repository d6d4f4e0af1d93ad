//! Runs what the fuzz targets run on their seeds, and on random mutations of them.

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/src/replies.rs"]
mod replies;
#[path = "../../../fuzz/src/requests.rs"]
mod requests;

use requests::next;

/// Mutations of each seed.
const MUTATIONS: usize = 60;

/// The seeds of a target, in the order of their names.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
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
                const TELLING: &[u8] = b"*$\r\n\0-019 \"'\\x";
                let byte = TELLING[next(random) as usize % TELLING.len()];
                bytes.insert(at, byte);
            }
            2 => drop(bytes.drain(at..end)),
            3 => bytes.extend_from_within(at..end),
            4 => bytes.truncate(at),
            _ => drop(bytes.splice(at..end, other.iter().copied())),
        }
    }
    bytes
}

fn replay(target: &str, check: fn(&[u8])) {
    let seeds = seeds(target);
    let mut random = 0x5EED;
    for (index, seed) in seeds.iter().enumerate() {
        check(seed);
        for _ in 0..MUTATIONS {
            let other = &seeds[next(&mut random) as usize % seeds.len()];
            let mutation = mutate(seed, other, &mut random);
            let report = Report { index, mutation: &mutation };
            check(&mutation);
            drop(report);
        }
    }
}

/// Says which bytes failed.
struct Report<'a> {
    index: usize,
    mutation: &'a [u8],
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}, mutated: {}", self.index, self.mutation.escape_ascii());
        }
    }
}

#[test]
fn requests_hold_what_the_fuzz_target_checks() {
    replay("requests", requests::check);
}

#[test]
fn replies_hold_what_the_fuzz_target_checks() {
    replay("replies", replies::check);
}
