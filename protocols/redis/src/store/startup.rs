//! What the process held before there were keys.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::info::resident_bytes;

/// Bytes that the process held when the last of its shards began its first turn: the program, its
/// threads, rings and buffers.
#[derive(Debug, Default)]
pub(super) struct Startup(AtomicU64);

impl Startup {
    /// A shard begins its first turn.
    pub(super) fn shard_begins(&self) {
        self.0.fetch_max(resident_bytes(), Ordering::Relaxed);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
