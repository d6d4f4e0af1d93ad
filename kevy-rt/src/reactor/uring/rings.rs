//! Where each shard's ring is, for the others to message it.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering};

const NONE: RawFd = -1;

/// The descriptors of all shards' rings. Each shard writes its own, all read them.
#[derive(Debug)]
pub(crate) struct Rings(Vec<AtomicI32>);

impl Rings {
    /// For so many shards, none of which has a ring yet.
    pub(crate) fn new(shards: usize) -> Self {
        Rings((0..shards).map(|_| AtomicI32::new(NONE)).collect())
    }

    /// A number and no more, so relaxed: a message to a descriptor that is closed by now, or is
    /// something else, fails, and the sender takes the other way. To another ring it says nothing.
    pub(super) fn get(&self, shard: usize) -> Option<RawFd> {
        let ring = self.0[shard].load(Ordering::Relaxed);
        (ring != NONE).then_some(ring)
    }

    pub(super) fn set(&self, shard: usize, ring: RawFd) {
        self.0[shard].store(ring, Ordering::Relaxed);
    }

    pub(super) fn clear(&self, shard: usize) {
        self.set(shard, NONE);
    }
}
