//! Mistakes in the declaration of commands don't compile, and are told as advice: a file each.
//!
//! What has to be printed stands beside each file and holds for the compiler version of the
//! workspace; `TRYBUILD=overwrite` writes it anew.

#[test]
fn mistakes_are_told() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
