//! Runs the program to its end.

use std::process::Command;

#[test]
fn it_starts_talks_and_stops() {
    let output = Command::new(env!("CARGO_BIN_EXE_embedded")).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"new words: :4\nhighest count: :2\nstopped\n");
}
