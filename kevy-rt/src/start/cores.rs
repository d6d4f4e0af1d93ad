//! Which cores this process may use, and which shard gets which.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

use crate::sys::allowed_cores;

/// How many cores this process may use at once, by its affinity mask and its control group's quota.
pub(super) fn usable_cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// A core for each shard, or none for any: where there are fewer cores than shards, and where a
/// quota gives us the time of fewer cores than the mask has, the system has to be free to choose.
///
/// With cores to spare, processes start at different ones, lest all servers of a machine meet on
/// its first.
pub(super) fn assign(shards: usize) -> Vec<Option<usize>> {
    static TAKEN: AtomicUsize = AtomicUsize::new(0);
    let cores = allowed_cores().unwrap_or_default();
    if cores.len() < shards || usable_cores() < cores.len() {
        return vec![None; shards];
    }
    let spare = cores.len() > shards;
    let taken = TAKEN.fetch_add(shards, Ordering::Relaxed);
    let first = if spare { std::process::id() as usize + taken } else { 0 };
    (0..shards).map(|shard| Some(cores[(first + shard) % cores.len()])).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn no_two_shards_share_a_core() {
        let cores = allowed_cores().unwrap();
        for shards in 1..=cores.len() {
            let mut assigned = assign(shards);
            assert_eq!(assigned.len(), shards);
            if assigned[0].is_none() {
                continue;
            }
            assigned.sort_unstable();
            assigned.dedup();
            assert_eq!(assigned.len(), shards);
            assert!(assigned.iter().flatten().all(|core| cores.contains(core)));
        }
    }

    #[test]
    fn without_a_core_for_each_none_is_pinned() {
        let shards = allowed_cores().unwrap().len() + 1;
        assert_eq!(assign(shards), vec![None; shards]);
    }
}
