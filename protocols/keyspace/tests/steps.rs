//! Runs what the fuzz target of the keyspace runs on random steps.

use proptest::prelude::*;

#[path = "../../../fuzz/src/keyspace.rs"]
mod keyspace;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_steps_agree_with_a_map(input in prop::collection::vec(any::<u8>(), 0..8000)) {
        keyspace::check(&input);
    }
}
