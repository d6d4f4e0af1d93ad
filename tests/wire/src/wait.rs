//! Waiting for an event, until a deadline; and what has to be said though a test passes.

use std::io::Write;
use std::time::{Duration, Instant};

/// How long a test waits for what should happen at once. Only a fault reaches it, so it is long
/// enough for a loaded machine.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How often a condition that announces itself in no other way is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Looks at `condition` until it gives a value, for at most [`DEADLINE`].
///
/// # Panics
///
/// If the deadline passes; the message names `what`.
pub fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "did not happen within {DEADLINE:?}: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Prints a line even if the test passes: that something was left out must not go unseen.
pub fn notice(line: &str) {
    // Unlike the printing macros, the stream itself is not captured.
    let _ = writeln!(std::io::stderr(), "{line}");
}
