//! The one hash of a key: it picks the shard here, and bucket, tag and lock in a store.

use std::hash::{BuildHasher, Hasher};

/// Hashes keys with a seed that each process draws anew, so that nobody can choose keys that
/// collide.
#[derive(Clone, Debug)]
pub struct KeyHasher(ahash::RandomState);

impl KeyHasher {
    /// With a seed of its own.
    pub fn random() -> Self {
        KeyHasher(ahash::RandomState::new())
    }

    /// With a given seed, for a simulation that is to be repeated.
    pub fn seeded(seed: u64) -> Self {
        KeyHasher(ahash::RandomState::with_seeds(seed, !seed, seed.rotate_left(32), 0x6b65_7973))
    }

    /// The hash of `bytes`.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }
}

/// Which of `shards` shards has the keys of `hash`: its high half says, so that a store may use the
/// low half.
#[inline]
pub(crate) fn shard_of(hash: u64, shards: usize) -> usize {
    (((hash >> 32) * shards as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_gets_its_share() {
        let hasher = KeyHasher::seeded(7);
        for shards in [1, 2, 5, 64, 200] {
            let mut share = vec![0; shards];
            for key in 0..10_000u32 {
                share[shard_of(hasher.hash(&key.to_le_bytes()), shards)] += 1;
            }
            let fair = 10_000 / shards;
            assert!(share.iter().all(|&n| n > fair / 2 && n < fair * 2), "{share:?}");
        }
    }

    #[test]
    fn seeds_differ() {
        assert_ne!(KeyHasher::seeded(1).hash(b"key"), KeyHasher::seeded(2).hash(b"key"));
    }
}
