//! Drives servers: one for a while, or several in turn.
fn main() {}
