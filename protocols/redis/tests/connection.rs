//! Runs what the fuzz target of a whole connection runs on its seeds, and on random mutations of
//! them.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

#[path = "../../../fuzz/src/connection.rs"]
mod connection;

fn seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/connection");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("the seeds are there")
        .map(|entry| entry.expect("an entry is read").path())
        .collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).expect("a seed is read")).collect()
}

#[test]
fn seeds_harm_nobody() {
    seeds().iter().for_each(|seed| connection::check(seed));
}

/// So many cases, unless `PROPTEST_CASES` says another number.
fn cases(count: u32) -> ProptestConfig {
    let said = std::env::var_os("PROPTEST_CASES").is_some();
    if said { ProptestConfig::default() } else { ProptestConfig::with_cases(count) }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn mutations_of_seeds_harm_nobody(
        seed in prop::sample::select(seeds()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..8),
    ) {
        let mut input = seed;
        for (at, byte, how) in changes {
            let at = at.index(input.len());
            match how {
                0 => input[at] = byte,
                1 => input.insert(at, byte),
                2 if input.len() > 2 => { input.remove(at); }
                _ => {
                    let tail = input[at..].to_vec();
                    input.extend(tail.into_iter().take(2000));
                }
            }
        }
        connection::check(&input);
    }
}
