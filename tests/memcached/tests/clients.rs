//! A client that people use, at work.

use std::path::Path;
use std::process::{Command, Stdio};

use kevy_memcached_tests::Ours;
use kevy_wire_tests::{matrix, notice};

/// The Python that has pymemcache, if there is one.
fn python() -> Option<String> {
    let python = std::env::var("KEVY_PYTHON").unwrap_or_else(|_| "python3".into());
    let found = Command::new(&python)
        .args(["-c", "import pymemcache"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let is_required = std::env::var("KEVY_REQUIRE_CLIENTS").is_ok_and(|value| value == "1");
    assert!(found || !is_required, "{python} has no pymemcache, and KEVY_REQUIRE_CLIENTS is set");
    if !found {
        notice(&format!(
            "SKIPPED: {python} has no pymemcache (pip install pymemcache): not tested"
        ));
    }
    found.then_some(python)
}

#[test]
fn pymemcache_works() {
    let Some(python) = python() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/exercise.py");
    for setup in matrix() {
        let ours = Ours::start(setup);
        let address = ours.address();
        let output = Command::new(&python)
            .arg(&script)
            .args([address.ip().to_string(), address.port().to_string()])
            .output()
            .expect("python runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{setup}: {told}");
        assert_eq!(output.stdout, b"all of pymemcache's calls went well\n", "{setup}");
    }
}
