//! What the system tells of a running server, and signals to it.

use std::process::Command;

/// How many files the process has open.
///
/// # Panics
///
/// If it does not run.
#[must_use]
pub fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs").count()
}

/// How many bytes of memory the process has in use (`VmRSS`).
///
/// # Panics
///
/// If it does not run.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a VmRSS line");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    kib << 10
}

/// Sends the signal of this name (`TERM`, `INT`) to the process.
///
/// # Panics
///
/// If it can't be sent.
pub fn send_signal(pid: u32, name: &str) {
    let status = Command::new("/bin/sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &pid.to_string()])
        .status()
        .expect("run a shell");
    assert!(status.success(), "send {name} to {pid}");
}
