//! The one hash of a key: it picks the shard here, and bucket, tag and lock in a store.

use std::fmt;
use std::hash::{BuildHasher, Hasher};

/// Hashes keys with a seed that each process draws anew, so that nobody can choose keys that
/// collide.
///
/// All 64 bits are well distributed. Clients may be shown an order by hashes, or parts of them: a
/// last step under secrets of its own keeps from them what the hash before it was.
#[derive(Clone)]
pub struct KeyHasher {
    state: ahash::RandomState,
    /// The secrets of the last step; the second is odd.
    secrets: [u64; 2],
}

impl KeyHasher {
    /// With a seed of its own, from the system's randomness.
    pub fn random() -> Self {
        let drawn = std::hash::RandomState::new();
        KeyHasher::from_words(std::array::from_fn(|index| drawn.hash_one(index)))
    }

    /// With a given seed, for a simulation that is to be repeated.
    pub fn seeded(seed: u64) -> Self {
        KeyHasher::from_words(std::array::from_fn(|index| {
            mixed(seed.wrapping_add(GOLDEN.wrapping_mul(index as u64 + 1)))
        }))
    }

    fn from_words([a, b, c, d, first, second]: [u64; 6]) -> Self {
        let state = ahash::RandomState::with_seeds(a, b, c, d);
        KeyHasher { state, secrets: [first, second | 1] }
    }

    /// The hash of `bytes`.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write(bytes);
        let [whitener, factor] = self.secrets;
        let product = u128::from(hasher.finish() ^ whitener) * u128::from(factor);
        (product >> 64) as u64 ^ product as u64
    }
}

impl fmt::Debug for KeyHasher {
    /// Without the seed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyHasher").finish_non_exhaustive()
    }
}

/// The golden ratio's fraction: its multiples are far from one another.
pub(crate) const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Splitmix64's mixer: makes words without a pattern of the multiples of [`GOLDEN`].
pub(crate) fn mixed(word: u64) -> u64 {
    let mixed = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
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
        assert_eq!(KeyHasher::seeded(1).hash(b"key"), KeyHasher::seeded(1).hash(b"key"));
    }

    #[test]
    fn every_bit_is_as_often_set_as_not() {
        const KEYS: u32 = 20_000;
        let hasher = KeyHasher::seeded(7);
        let mut set = [0_u32; 64];
        for key in 0..KEYS {
            let hash = hasher.hash(format!("key:{key:012}").as_bytes());
            set.iter_mut().enumerate().for_each(|(bit, set)| *set += (hash >> bit & 1) as u32);
        }
        // Six standard deviations, one of which is the root of a quarter of the keys.
        let half = KEYS / 2;
        assert!(set.iter().all(|&set| set.abs_diff(half) < 430), "{set:?}");
    }

    #[test]
    fn a_bit_of_a_key_changes_each_bit_of_its_hash_half_of_the_time() {
        const KEYS: u64 = 4000;
        let hasher = KeyHasher::seeded(7);
        for flipped in 0..64 {
            let mut changed = [0_u64; 64];
            for key in 0..KEYS {
                let key = mixed(key);
                let hash = |key: u64| hasher.hash(&key.to_le_bytes());
                let change = hash(key) ^ hash(key ^ 1 << flipped);
                changed.iter_mut().enumerate().for_each(|(bit, sum)| *sum += change >> bit & 1);
            }
            // Rough: within a tenth, six standard deviations.
            let even = |&changed: &u64| changed.abs_diff(KEYS / 2) < KEYS / 20;
            assert!(changed.iter().all(even), "bit {flipped}: {changed:?}");
        }
    }

    #[test]
    fn each_process_has_an_order_of_its_own() {
        let order = |hasher: KeyHasher| {
            let mut keys: Vec<u32> = (0..100).collect();
            keys.sort_by_key(|key| hasher.hash(&key.to_le_bytes()));
            keys
        };
        assert_ne!(order(KeyHasher::random()), order(KeyHasher::random()));
    }

    #[test]
    fn a_seed_is_not_printed() {
        assert_eq!(format!("{:?}", KeyHasher::seeded(7)), "KeyHasher { .. }");
    }
}
