//! Where the programs under test are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The distribution's Redis, or what `ORACLE_BIN` names.
pub(crate) fn oracle() -> PathBuf {
    std::env::var_os("ORACLE_BIN").map_or_else(|| "/usr/bin/redis-server".into(), PathBuf::from)
}

/// Our server: what `REDIS_SERVER_BIN` names, or else this workspace's, next to the running test
/// in the build directory. That one is brought up to date first, once per test program; a test
/// against yesterday's binary says nothing.
pub(crate) fn ours() -> &'static Path {
    static OURS: OnceLock<PathBuf> = OnceLock::new();
    OURS.get_or_init(|| match std::env::var_os("REDIS_SERVER_BIN") {
        Some(path) => path.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test program");
    let profile_dir = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let profile = match profile_dir.file_name().and_then(OsStr::to_str) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let binary = profile_dir.join("redis-server");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--package", "redis-server", "--profile", profile])
        .arg("--target-dir")
        .arg(profile_dir.parent().expect("a build directory"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("run cargo");
    assert!(status.success(), "cargo could not build redis-server");
    assert!(binary.exists(), "no {}", binary.display());
    binary
}
