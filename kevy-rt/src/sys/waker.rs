//! Waking a parked shard from a thread that has no ring of its own.

/// Wakes one shard.
#[derive(Debug)]
pub(crate) struct Waker;

impl Waker {
    /// Wakes it if it is parked, else its next park ends at once. From any thread.
    pub(crate) fn wake(&self) {}
}
