//! One shard's entries: which transactions, and which requests that wait for them, want which keys,
//! in the order in which they run.
//!
//! ```text
//! key 17   [stamp 40, shared, entry 3]  [stamp 52, exclusive, entry 1]
//! key 99   [stamp 52, exclusive, entry 1]
//! whole    [stamp 60, shared, entry 2]
//! ```
//!
//! An entry runs when it is fixed, its hop is here, and no entry that conflicts with it has a
//! smaller stamp. Nothing else is looked at.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use smallvec::SmallVec;

use super::fault::{self, Fault};
use super::stamp::Stamp;

/// The place of an entry in its shard's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryId(pub(crate) u32);

/// What is wanted of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// To read it: any number at once.
    Shared,
    /// To change it: one alone.
    Exclusive,
}

impl Access {
    /// What a command needs that may write, or not.
    pub(crate) fn of(write: bool) -> Self {
        if write && !fault::is_on(Fault::SharedWrites) { Access::Exclusive } else { Access::Shared }
    }

    fn conflicts(self, other: Access) -> bool {
        self == Access::Exclusive || other == Access::Exclusive
    }
}

/// Keys by hash with what is wanted of each: mostly few.
pub(crate) type Wanted = SmallVec<[(u64, Access); 4]>;

/// What an entry wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Intents {
    /// Keys by hash, each once.
    Keys(Wanted),
    /// The whole shard.
    Whole(Access),
}

impl Intents {
    /// The same access to some keys.
    pub(crate) fn keys(hashes: impl IntoIterator<Item = u64>, access: Access) -> Self {
        Intents::mixed(hashes.into_iter().map(|hash| (hash, access)).collect())
    }

    /// Keys with the access that each needs.
    pub(crate) fn mixed(mut keys: Wanted) -> Self {
        // The stronger one of a key comes first and stays.
        keys.sort_unstable_by(|a, b| (a.0, b.1).cmp(&(b.0, a.1)));
        keys.dedup_by_key(|key| key.0);
        Intents::Keys(keys)
    }

    fn strongest(&self) -> Access {
        match self {
            Intents::Whole(access) => *access,
            Intents::Keys(keys) => keys.iter().map(|key| key.1).max().unwrap_or(Access::Shared),
        }
    }
}

/// The entries of a key: mostly one.
type Lines = SmallVec<[Line; 2]>;

/// One entry in the list of a key.
#[derive(Clone, Copy, Debug)]
struct Line {
    stamp: Stamp,
    entry: EntryId,
    access: Access,
}

#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    is_fixed: bool,
    /// Hops that are here and did not run.
    hops: usize,
    /// Whether a hop of it ran, and others are to come.
    has_begun: bool,
    intents: Intents,
    strongest: Access,
}

/// Slots of the filter in front of the table.
const FILTER: usize = 64;

/// A shard's entries.
#[derive(Debug)]
pub(crate) struct Entries {
    places: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// How many there are, and how many of them want something exclusively.
    open: Cell<usize>,
    exclusive: usize,
    /// How many of them have begun.
    begun: usize,
    /// Of each wanted key, in the order of stamps.
    keys: HashMap<u64, Lines, BuildHasherDefault<Identity>>,
    /// How many intents fall into each slot, by hash.
    filter: [u32; FILTER],
    /// Those that want the whole shard, in the order of stamps.
    whole: Lines,
    /// Those that may have become ready.
    candidates: Vec<EntryId>,
}

impl Default for Entries {
    fn default() -> Self {
        Entries {
            places: Vec::new(),
            free: Vec::new(),
            open: Cell::new(0),
            exclusive: 0,
            begun: 0,
            keys: HashMap::default(),
            filter: [0; FILTER],
            whole: Lines::new(),
            candidates: Vec::new(),
        }
    }
}

impl Entries {
    /// How many there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.open.get()
    }

    fn entry(&self, id: EntryId) -> &Entry {
        self.places[id.0 as usize].as_ref().expect("an entry stays until its last hop ran")
    }

    fn entry_mut(&mut self, id: EntryId) -> &mut Entry {
        self.places[id.0 as usize].as_mut().expect("an entry stays until its last hop ran")
    }

    /// Whether the entry didn't run to its end: asked for where a fault lets it.
    pub(crate) fn is_there(&self, id: EntryId) -> bool {
        self.places[id.0 as usize].is_some()
    }

    /// The entry's stamp: its order, once it is fixed.
    pub(crate) fn stamp(&self, id: EntryId) -> Stamp {
        self.entry(id).stamp
    }

    /// Whether an entry wants the key, so that nobody else may remove it.
    pub(crate) fn is_claimed(&self, hash: u64) -> bool {
        let wants = self.filter[hash as usize % FILTER] != 0 && self.keys.contains_key(&hash);
        wants || !self.whole.is_empty()
    }

    /// Whether an entry that has begun wants the key, so that it has to stay as that has seen it.
    pub(crate) fn is_held(&self, hash: u64) -> bool {
        if self.begun == 0 {
            return false;
        }
        let has_begun = |line: &Line| self.entry(line.entry).has_begun;
        self.whole.iter().any(has_begun)
            || self.keys.get(&hash).is_some_and(|lines| lines.iter().any(has_begun))
    }

    /// Whether a request for these keys, which would get the largest stamp, has to wait.
    pub(crate) fn conflict(&self, hashes: &[u64], access: Access) -> bool {
        if fault::is_on(Fault::NoDeferral) {
            return false;
        }
        let conflicts = |line: &Line| access.conflicts(line.access);
        self.whole.iter().any(conflicts)
            || hashes.iter().any(|hash| {
                self.filter[*hash as usize % FILTER] != 0
                    && self.keys.get(hash).is_some_and(|lines| lines.iter().any(conflicts))
            })
    }

    /// The same for anything that an entry may want.
    pub(crate) fn conflict_with(&self, intents: &Intents) -> bool {
        match intents {
            Intents::Whole(Access::Exclusive) => self.len() > 0,
            Intents::Whole(Access::Shared) => self.exclusive > 0,
            Intents::Keys(keys) => {
                keys.iter().any(|(hash, access)| self.conflict(&[*hash], *access))
            }
        }
    }

    /// Adds an entry. It waits for its order unless it is `is_fixed`, and for its first hop.
    pub(crate) fn insert(&mut self, stamp: Stamp, intents: Intents, is_fixed: bool) -> EntryId {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() as u32 - 1
        });
        let id = EntryId(place);
        let strongest = intents.strongest();
        self.exclusive += usize::from(strongest == Access::Exclusive);
        self.open.set(self.open.get() + 1);
        if let Intents::Keys(keys) = &intents {
            keys.iter().for_each(|(hash, _)| self.filter[*hash as usize % FILTER] += 1);
        }
        self.enlist(id, stamp, &intents);
        self.places[place as usize] =
            Some(Entry { stamp, is_fixed, hops: 0, has_begun: false, intents, strongest });
        id
    }

    fn enlist(&mut self, id: EntryId, stamp: Stamp, intents: &Intents) {
        let add = |lines: &mut Lines, access| {
            let at = lines.partition_point(|line| line.stamp < stamp);
            lines.insert(at, Line { stamp, entry: id, access });
        };
        match intents {
            Intents::Whole(access) => add(&mut self.whole, *access),
            Intents::Keys(keys) => {
                for (hash, access) in keys {
                    add(self.keys.entry(*hash).or_default(), *access);
                }
            }
        }
    }

    /// Takes an entry off its lists and names those that may be ready without it.
    fn delist(&mut self, id: EntryId, intents: &Intents) {
        let Entries { keys, whole, candidates, places, .. } = self;
        match intents {
            Intents::Whole(_) => {
                whole.retain(|line| line.entry != id);
                let all = places.iter().enumerate().filter(|(_, place)| place.is_some());
                candidates.extend(all.map(|(place, _)| EntryId(place as u32)));
            }
            Intents::Keys(wanted) => {
                for (hash, _) in wanted {
                    let Some(lines) = keys.get_mut(hash) else { continue };
                    lines.retain(|line| line.entry != id);
                    let shared = lines.iter().take_while(|line| line.access == Access::Shared);
                    let first = shared.count().max(1).min(lines.len());
                    candidates.extend(lines[..first].iter().map(|line| line.entry));
                    if lines.is_empty() {
                        keys.remove(hash);
                    }
                }
                candidates.extend(whole.iter().map(|line| line.entry));
            }
        }
    }

    /// Gives an entry its order, which is no smaller than its stamp.
    pub(crate) fn fix(&mut self, id: EntryId, order: Stamp) {
        let entry = self.entry_mut(id);
        entry.is_fixed = true;
        let moves = entry.stamp != order && !fault::is_on(Fault::OwnStamp);
        if moves && !self.stays(id, order) {
            let entry = self.entry_mut(id);
            debug_assert!(entry.stamp < order || fault::is_on(Fault::SmallestStamp));
            entry.stamp = order;
            let intents = std::mem::replace(&mut entry.intents, Intents::Whole(Access::Shared));
            self.delist(id, &intents);
            self.enlist(id, order, &intents);
            self.entry_mut(id).intents = intents;
        }
        self.candidates.push(id);
    }

    /// Moves an entry to its order where it stands, if nobody comes between. Most entries are alone.
    fn stays(&mut self, id: EntryId, order: Stamp) -> bool {
        let Entries { places, keys, .. } = self;
        let Some(entry) = &mut places[id.0 as usize] else { return false };
        let Intents::Keys(wanted) = &entry.intents else { return false };
        let is_alone = |(hash, _): &(u64, Access)| keys.get(hash).is_some_and(|it| it.len() == 1);
        if !wanted.iter().all(is_alone) || !self.whole.is_empty() {
            return false;
        }
        entry.stamp = order;
        for (hash, _) in wanted {
            if let Some(lines) = keys.get_mut(hash) {
                lines[0].stamp = order;
            }
        }
        true
    }

    /// A hop has come for an entry.
    pub(crate) fn add_hop(&mut self, id: EntryId) {
        self.entry_mut(id).hops += 1;
        self.candidates.push(id);
    }

    /// An entry wants nothing any more: a fault.
    pub(crate) fn disclaim(&mut self, id: EntryId) {
        let stamp = self.stamp(id);
        self.remove(id);
        let again = self.insert(stamp, Intents::Keys(Wanted::new()), true);
        debug_assert!(again == id);
    }

    /// A hop of the entry runs.
    pub(crate) fn take_hop(&mut self, id: EntryId) {
        let entry = self.entry_mut(id);
        entry.hops -= 1;
        if entry.hops > 0 {
            self.candidates.push(id);
        }
    }

    /// A hop of the entry runs that is not its last one.
    pub(crate) fn begin(&mut self, id: EntryId) {
        let entry = self.entry_mut(id);
        let is_new = !std::mem::replace(&mut entry.has_begun, true);
        self.begun += usize::from(is_new);
    }

    /// Removes an entry, which may free others.
    pub(crate) fn remove(&mut self, id: EntryId) {
        let Some(entry) = self.places[id.0 as usize].take() else { return };
        self.free.push(id.0);
        self.open.set(self.open.get() - 1);
        self.exclusive -= usize::from(entry.strongest == Access::Exclusive);
        self.begun -= usize::from(entry.has_begun);
        if let Intents::Keys(keys) = &entry.intents {
            keys.iter().for_each(|(hash, _)| self.filter[*hash as usize % FILTER] -= 1);
        }
        self.delist(id, &entry.intents);
    }

    /// An entry whose next hop may run, if there is one among those that something changed for.
    pub(crate) fn next_ready(&mut self) -> Option<EntryId> {
        while let Some(id) = self.candidates.pop() {
            if self.is_ready(id) {
                return Some(id);
            }
        }
        None
    }

    /// Whether an entry is fixed, has a hop, and nothing that conflicts comes before it.
    pub(crate) fn is_ready(&self, id: EntryId) -> bool {
        let Some(entry) = &self.places[id.0 as usize] else { return false };
        let (stamp, strongest) = (entry.stamp, entry.strongest);
        let runs = entry.is_fixed || fault::is_on(Fault::RunAtSchedule);
        if !runs || entry.hops == 0 {
            return false;
        }
        match &entry.intents {
            Intents::Whole(_) => self
                .places
                .iter()
                .flatten()
                .all(|other| other.stamp >= stamp || !strongest.conflicts(other.strongest)),
            Intents::Keys(keys) => {
                let before = |lines: &[Line], access: Access| {
                    let earlier = lines.iter().take_while(|line| line.stamp < stamp);
                    { earlier }.any(|line| access.conflicts(line.access))
                };
                !before(&self.whole, strongest)
                    && keys.iter().all(|(hash, access)| {
                        self.keys.get(hash).is_none_or(|lines| !before(lines, *access))
                    })
            }
        }
    }
}

/// Keys' hashes need no further hashing.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exclusive(hashes: &[u64]) -> Intents {
        Intents::keys(hashes.iter().copied(), Access::Exclusive)
    }

    fn shared(hashes: &[u64]) -> Intents {
        Intents::keys(hashes.iter().copied(), Access::Shared)
    }

    fn add(entries: &mut Entries, stamp: u64, intents: Intents, is_fixed: bool) -> EntryId {
        let id = entries.insert(Stamp::new(stamp), intents, is_fixed);
        entries.add_hop(id);
        id
    }

    fn run_ready(entries: &mut Entries) -> Vec<EntryId> {
        let mut ran = Vec::new();
        while let Some(id) = entries.next_ready() {
            entries.take_hop(id);
            entries.remove(id);
            ran.push(id);
        }
        ran
    }

    #[test]
    fn what_conflicts_runs_in_the_order_of_stamps() {
        let mut entries = Entries::default();
        let first = add(&mut entries, 1, exclusive(&[1, 2]), false);
        let second = add(&mut entries, 2, exclusive(&[2]), true);
        let aside = add(&mut entries, 3, exclusive(&[3]), true);
        assert_eq!(run_ready(&mut entries), [aside]);
        assert!(entries.conflict(&[2], Access::Shared) && !entries.conflict(&[3], Access::Shared));
        entries.fix(first, Stamp::new(1));
        assert_eq!(run_ready(&mut entries), [first, second]);
        assert_eq!(entries.len(), 0);
    }

    #[test]
    fn an_entry_that_moves_back_frees_those_that_it_was_before() {
        let mut entries = Entries::default();
        let first = add(&mut entries, 1, exclusive(&[1]), false);
        let second = add(&mut entries, 2, exclusive(&[1]), true);
        entries.fix(first, Stamp::new(9));
        assert_eq!(run_ready(&mut entries), [second, first]);
    }

    #[test]
    fn readers_run_together_and_not_past_a_writer() {
        let mut entries = Entries::default();
        let readers = [1, 2].map(|stamp| add(&mut entries, stamp, shared(&[5]), false));
        let writer = add(&mut entries, 3, exclusive(&[5]), true);
        let late = add(&mut entries, 4, shared(&[5]), true);
        entries.fix(readers[1], Stamp::new(2));
        assert_eq!(run_ready(&mut entries), [readers[1]]);
        entries.fix(readers[0], Stamp::new(1));
        assert_eq!(run_ready(&mut entries), [readers[0], writer, late]);
    }

    #[test]
    fn the_whole_shard_waits_for_all_before_and_holds_all_behind() {
        let mut entries = Entries::default();
        let before = add(&mut entries, 1, exclusive(&[1]), false);
        let whole = add(&mut entries, 2, Intents::Whole(Access::Shared), true);
        let reader = add(&mut entries, 3, shared(&[7]), true);
        let writer = add(&mut entries, 4, exclusive(&[8]), true);
        assert_eq!(run_ready(&mut entries), [reader]);
        assert!(entries.conflict(&[99], Access::Exclusive));
        assert!(!entries.conflict(&[99], Access::Shared));
        entries.fix(before, Stamp::new(1));
        assert_eq!(run_ready(&mut entries), [before, whole, writer]);
    }

    #[test]
    fn keys_are_held_from_the_first_hop_of_several_on() {
        let mut entries = Entries::default();
        let some = add(&mut entries, 1, exclusive(&[1]), true);
        let whole = add(&mut entries, 2, Intents::Whole(Access::Shared), true);
        assert!(entries.is_claimed(1) && entries.is_claimed(9) && !entries.is_held(1));
        entries.take_hop(some);
        entries.begin(some);
        entries.begin(some);
        assert!(entries.is_held(1) && !entries.is_held(9));
        entries.remove(some);
        assert!(!entries.is_held(1));
        entries.begin(whole);
        assert!(entries.is_held(1) && entries.is_held(9));
        entries.remove(whole);
        assert!(!entries.is_held(9) && !entries.is_claimed(9));
    }

    #[test]
    fn a_key_wanted_twice_is_wanted_once_and_exclusively() {
        let keys = [(4, Access::Shared), (4, Access::Exclusive), (1, Access::Shared)];
        let keys = Wanted::from_slice(&keys);
        let expected = Wanted::from_slice(&[(1, Access::Shared), (4, Access::Exclusive)]);
        assert_eq!(Intents::mixed(keys), Intents::Keys(expected));
    }
}
