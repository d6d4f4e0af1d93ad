//! The committed reference is what the declarations say.

use std::fs;
use std::path::Path;

#[test]
fn the_reference_is_fresh() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    let written = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reference");
    kevy_redis::reference().write(&written, "redis").expect("it can be written");
    for name in ["redis.md", "redis.json"] {
        let fresh = fs::read_to_string(written.join(name)).expect("it was written");
        let known = fs::read_to_string(committed.join(name)).unwrap_or_default();
        assert!(
            fresh == known,
            "docs/reference/{name} is stale: `cargo run -p redis-server -- --reference docs/reference`"
        );
    }
}

#[test]
fn every_command_says_what_it_does() {
    let text = kevy_redis::reference().markdown("redis");
    let entries = text.split("\n### ").skip(1);
    let silent: Vec<&str> = entries
        .filter(|entry| {
            entry.split("```").nth(2).is_none_or(|said| said.trim().lines().count() < 2)
        })
        .collect();
    assert!(silent.is_empty(), "without a doc comment: {silent:#?}");
    assert!(!text.contains("### POST"), "hidden commands are left out");
}
