//! Runs what the fuzz target of the keyspace runs on random steps.

use proptest::prelude::*;

#[path = "../../../fuzz/src/keyspace.rs"]
mod keyspace;

/// So many cases, unless `PROPTEST_CASES` says another number.
fn cases(count: u32) -> ProptestConfig {
    let said = std::env::var_os("PROPTEST_CASES").is_some();
    if said { ProptestConfig::default() } else { ProptestConfig::with_cases(count) }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn any_steps_agree_with_a_map(input in prop::collection::vec(any::<u8>(), 0..8000)) {
        keyspace::check(&input);
    }
}
