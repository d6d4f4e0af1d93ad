//! From a key's hash to where its record lies.
//!
//! ```text
//! position:  | root 8 | prefix 0..=20 | window 24 | ... |     the lower 52 bits of the hash
//! roots, 256 ─> directory: one entry per prefix, as long as it has to be
//!                   └─> array of buckets, 64 bytes each: window 24 and id 40, eight times
//! ```
//!
//! Extendible hashing (Fagin, Nievergelt, Pippenger and Strong, 1979): a segment that is too full is
//! split in two by one more bit of the position, so that no insertion moves more than some hundred
//! slots. Within its segment a slot is put into the bucket that its window names, proportionally,
//! or if that is full into the next one that isn't.
//!
//! Hashes spread keys evenly, so segments of one size would all be split at the same time, and be
//! half empty afterwards. So there are four sizes, by root: some are always nearly full, some just
//! split.
//!
//! Position is an order, which neither growth nor splits change: a scan that goes on from a
//! position misses nothing.

use std::ops::Range;

use crate::arrays::{Array, Arrays};
use crate::bucket::{Slot, WINDOW_BITS};
use crate::heap::RecordId;
use crate::space::BUCKET_SLOTS;

const ROOT_BITS: u32 = 8;
const PREFIX_BITS: u32 = 20;
const POSITION_BITS: u32 = ROOT_BITS + PREFIX_BITS + WINDOW_BITS;

/// Buckets of a whole segment, for roots in turn: four sizes to a doubling.
///
/// Smaller: more directory per key, which leaves the caches. Larger: a split takes longer.
const WHOLE_BUCKETS: [u16; 4] = [48, 56, 64, 80];

/// A segment of a root that was never split is so often quartered of a whole one, at first and later.
///
/// Smaller steps: what is given up is seldom of use to somebody else, and adds up. Larger: it is
/// mostly empty.
const QUARTERINGS: [u32; 3] = [2, 1, 0];

/// Of this many slots so many are used before a segment grows.
///
/// Less: more memory. More: longer searches, as full buckets overflow into their neighbours.
const FULL: (usize, usize) = (8, 7);

/// A segment of which less than this share of slots is used is made smaller: half of what is used
/// after it grew, so that nothing grows and shrinks in turn.
const SPARSE: (usize, usize) = (8, 2);

/// Two halves become one again if that uses less than this share of its slots.
const JOINED: (usize, usize) = (16, 9);

/// Records that are asked for ahead when their keys are hashed again.
const AHEAD: usize = 16;

/// An index of fewer keys is expected to be in the caches: asking for its lines ahead pays only for
/// more.
///
/// Smaller: lines are asked for that are there. Larger: lookups wait.
const SMALL: usize = 1 << 14;

/// Bytes of the index for one key, on average.
pub(crate) const SHARE_BYTES: usize = 13;

/// How keys of records are hashed again.
pub(crate) trait Rehash {
    /// Asks for a record's memory.
    fn ask(&self, id: RecordId);
    /// The hash of its key.
    fn hash(&self, id: RecordId) -> u64;
}

/// Which of several ids is meant.
pub(crate) trait Matches {
    /// Whether it is this one.
    fn is(&self, id: RecordId) -> bool;
}

impl<F: Fn(RecordId) -> bool> Matches for F {
    #[inline(always)]
    fn is(&self, id: RecordId) -> bool {
        self(id)
    }
}

/// A key's place in the order of all keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position(u64);

impl Position {
    /// That of a hash.
    #[inline(always)]
    pub(crate) fn of(hash: u64) -> Self {
        Position(hash & ((1 << POSITION_BITS) - 1))
    }

    /// The first one not below that of any number.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        (number < 1 << POSITION_BITS).then_some(Position(number))
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }

    #[inline(always)]
    fn root(self) -> usize {
        (self.0 >> (PREFIX_BITS + WINDOW_BITS)) as usize % (1 << ROOT_BITS)
    }

    /// The longest prefix.
    #[inline(always)]
    fn prefix(self) -> usize {
        (self.0 >> WINDOW_BITS) as usize % (1 << PREFIX_BITS)
    }

    /// What follows a prefix of `depth` bits.
    #[inline(always)]
    fn window(self, depth: u8) -> u64 {
        (self.0 >> (PREFIX_BITS - u32::from(depth))) % (1 << WINDOW_BITS)
    }
}

/// The bucket that a window names, of `buckets`.
#[inline(always)]
fn home(window: u64, buckets: usize) -> usize {
    ((window * buckets as u64) >> WINDOW_BITS) as usize
}

/// How many slots of so many buckets may be used.
fn capacity(buckets: usize) -> usize {
    buckets * BUCKET_SLOTS * FULL.1 / FULL.0
}

/// A directory's entry: a copy in each one that the segment covers, so that a lookup reads one.
#[derive(Clone, Copy, Debug, Default)]
struct Segment {
    array: Array,
    /// Bits of the directory that all its positions share.
    depth: u8,
}

const _: () = assert!(size_of::<Segment>() == 8);

/// Where a slot lies: which bucket of its array, and which of that.
#[derive(Clone, Copy, Debug)]
struct Found {
    bucket: usize,
    number: usize,
    id: RecordId,
}

impl Arrays {
    /// The slot of a window whose id is meant.
    #[inline(always)]
    fn probe(&self, array: Array, window: u64, meant: &impl Matches) -> Option<Found> {
        let count = array.count();
        let mut at = home(window, count);
        for _ in 0..count {
            let bucket = self.bucket(array, at);
            for number in bucket.candidates(window) {
                let slot = bucket.slot(number);
                let is_candidate = slot.window() == window && bucket.is_used(number);
                if is_candidate && meant.is(slot.id()) {
                    return Some(Found { bucket: at, number, id: slot.id() });
                }
            }
            if !bucket.is_full() {
                return None;
            }
            at = if at + 1 == count { 0 } else { at + 1 };
        }
        None
    }

    /// Puts a slot where it belongs. There is room.
    #[inline]
    fn place(&mut self, array: Array, slot: Slot) {
        let count = array.count();
        let mut at = home(slot.window(), count);
        loop {
            let bucket = self.bucket_mut(array, at);
            if let Some(vacant) = bucket.vacant() {
                return bucket.set(vacant, slot);
            }
            at = if at + 1 == count { 0 } else { at + 1 };
        }
    }

    /// Empties a slot, and moves those back that passed over its bucket because it was full.
    fn vacate(&mut self, array: Array, Found { bucket: mut at, mut number, .. }: Found) {
        let count = array.count();
        let was_full = self.bucket(array, at).is_full();
        self.bucket_mut(array, at).set(number, Slot::UNUSED);
        if !was_full {
            return;
        }
        let mut next = (at + 1) % count;
        while next != at {
            let bucket = self.bucket(array, next);
            let is_full = bucket.is_full();
            // From the bucket where it belongs a slot passed over all up to its own.
            let steps = |from: usize, to: usize| (to + count - from) % count;
            let passed = |&other: &usize| {
                let home = home(bucket.slot(other).window(), count);
                bucket.is_used(other) && steps(home, next) >= steps(at, next)
            };
            if let Some(found) = (0..BUCKET_SLOTS).find(passed) {
                let slot = bucket.slot(found);
                self.bucket_mut(array, at).set(number, slot);
                self.bucket_mut(array, next).set(found, Slot::UNUSED);
                (at, number) = (next, found);
            }
            if !is_full {
                break;
            }
            next = (next + 1) % count;
        }
    }

    /// Calls `visit` with the ids of the slots whose home is a bucket, those below `from` left out,
    /// wherever they were put.
    fn visit_home(&self, array: Array, home: usize, from: u64, mut visit: impl FnMut(RecordId)) {
        let count = array.count();
        let mut at = home;
        for _ in 0..count {
            let bucket = self.bucket(array, at);
            for slot in bucket.slots() {
                if self::home(slot.window(), count) == home && slot.window() >= from {
                    visit(slot.id());
                }
            }
            if !bucket.is_full() {
                break;
            }
            at = (at + 1) % count;
        }
    }
}

#[derive(Debug)]
struct Root {
    /// `2^depth` entries.
    directory: Vec<Segment>,
    /// How many slots each segment uses, by the first of its entries.
    lens: Vec<u32>,
    depth: u8,
    /// Buckets of a whole segment. That of a root that was never split may have a quarter of them
    /// and so on.
    whole: u16,
}

impl Root {
    fn new(number: usize) -> Self {
        let whole = WHOLE_BUCKETS[number % WHOLE_BUCKETS.len()];
        Root { directory: vec![Segment::default()], lens: vec![0], depth: 0, whole }
    }

    /// The number of buckets behind this one on the way to the whole.
    fn more_buckets(&self, buckets: u16) -> u16 {
        let sizes = QUARTERINGS.into_iter().map(|quarterings| self.whole >> (2 * quarterings));
        sizes.into_iter().find(|&size| size > buckets).unwrap_or(2 * buckets)
    }

    /// The fewest buckets on the way to the whole that hold `len` slots with room for some more.
    fn buckets_for(&self, len: usize) -> u16 {
        let mut buckets = self.more_buckets(0);
        while capacity(buckets.into()) <= len {
            buckets = self.more_buckets(buckets);
        }
        buckets
    }

    /// The entry of a position.
    #[inline(always)]
    fn entry(&self, position: Position) -> usize {
        position.prefix() >> (PREFIX_BITS - u32::from(self.depth))
    }

    /// The segment of a position.
    #[inline(always)]
    fn segment(&self, position: Position) -> Segment {
        self.directory[self.entry(position)]
    }

    /// The entries that the segment of one covers.
    #[inline]
    fn covered(&self, entry: usize) -> Range<usize> {
        let shift = self.depth - self.directory[entry].depth;
        let start = entry >> shift << shift;
        start..start + (1 << shift)
    }

    /// The first of the entries of a position's segment.
    #[inline]
    fn first(&self, position: Position) -> usize {
        self.covered(self.entry(position)).start
    }

    /// The first of the entries of the other half of what a segment, whose first entry this is, was
    /// split from.
    fn sibling(&self, first: usize) -> usize {
        let other = first ^ self.covered(first).len();
        self.covered(other).start
    }

    /// Writes a segment with `len` used slots to all entries from the first on that it covers.
    fn put(&mut self, first: usize, segment: Segment, len: u32) {
        let covered = 1 << (self.depth - segment.depth);
        self.directory[first..first + covered].fill(segment);
        self.lens[first] = len;
    }

    /// Makes the directory twice as long.
    fn deepen(&mut self) {
        self.directory = self.directory.iter().flat_map(|&segment| [segment; 2]).collect();
        self.lens = self.lens.iter().flat_map(|&len| [len, 0]).collect();
        self.depth += 1;
    }

    /// Makes it half as long, if no segment needs all its bits.
    fn flatten(&mut self) {
        while self.depth > 0 && self.directory.iter().all(|segment| segment.depth < self.depth) {
            self.directory = self.directory.iter().copied().step_by(2).collect();
            self.lens = self.lens.iter().copied().step_by(2).collect();
            self.depth -= 1;
        }
    }
}

/// Where records lie, by their keys' hashes.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// None, or all of them.
    roots: Vec<Root>,
    arrays: Arrays,
    len: usize,
    /// The slots' ids of a segment that is being changed.
    moving: Vec<Slot>,
}

impl Index {
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    fn segment(&self, position: Position) -> Option<Segment> {
        Some(self.roots.get(position.root())?.segment(position))
    }

    /// The id of that hash that is meant.
    #[inline(always)]
    pub(crate) fn find(&self, hash: u64, meant: &impl Matches) -> Option<RecordId> {
        let position = Position::of(hash);
        let Segment { array, depth } = self.segment(position)?;
        self.arrays.probe(array, position.window(depth), meant).map(|found| found.id)
    }

    /// Adds an id.
    pub(crate) fn insert(&mut self, hash: u64, id: RecordId, keys: &impl Rehash) {
        if self.roots.is_empty() {
            self.roots.extend((0..1 << ROOT_BITS).map(Root::new));
        }
        let position = Position::of(hash);
        let root = &self.roots[position.root()];
        let mut first = root.first(position);
        if root.lens[first] as usize >= capacity(root.directory[first].array.count()) {
            first = self.enlarge(position, keys);
        }
        let root = &mut self.roots[position.root()];
        let segment = root.directory[first];
        root.lens[first] += 1;
        self.arrays.place(segment.array, Slot::new(position.window(segment.depth), id));
        self.len += 1;
    }

    /// Makes room in the segment of a position. Answers its first entry.
    #[cold]
    fn enlarge(&mut self, position: Position, keys: &impl Rehash) -> usize {
        loop {
            let root = &self.roots[position.root()];
            let first = root.first(position);
            let Segment { array, depth } = root.directory[first];
            if (root.lens[first] as usize) < capacity(array.count()) {
                return first;
            }
            let buckets = root.more_buckets(array.count() as u16);
            let is_deepest = u32::from(depth) == PREFIX_BITS;
            if buckets <= root.whole || is_deepest {
                self.resize(position, buckets);
            } else {
                self.split(position, keys);
            }
        }
    }

    /// Takes the slots of a segment out, which has no array then.
    fn take(&mut self, segment: &mut Segment) {
        self.moving.extend(self.arrays.slots(segment.array));
        self.arrays.free(std::mem::take(&mut segment.array));
    }

    /// Gives the segment of a position so many buckets.
    fn resize(&mut self, position: Position, buckets: u16) {
        let root = &self.roots[position.root()];
        let first = root.first(position);
        let mut segment = root.directory[first];
        self.take(&mut segment);
        segment.array = self.arrays.allocate(buckets);
        let len = self.moving.len() as u32;
        self.moving.drain(..).for_each(|slot| self.arrays.place(segment.array, slot));
        self.roots[position.root()].put(first, segment, len);
    }

    /// Divides the segment of a position in two.
    fn split(&mut self, position: Position, keys: &impl Rehash) {
        let root = &mut self.roots[position.root()];
        if root.segment(position).depth == root.depth {
            root.deepen();
        }
        let (whole, first) = (root.whole, root.first(position));
        let second = first + root.covered(first).len() / 2;
        let mut segment = root.directory[first];
        let bit = 1 << (PREFIX_BITS - 1 - u32::from(segment.depth));
        self.take(&mut segment);
        let depth = segment.depth + 1;
        let halves = [(); 2].map(|()| Segment { array: self.arrays.allocate(whole), depth });
        let mut lens = [0; 2];
        self.moving.iter().take(AHEAD).for_each(|slot| keys.ask(slot.id()));
        for (at, slot) in self.moving.iter().enumerate() {
            if let Some(next) = self.moving.get(at + AHEAD) {
                keys.ask(next.id());
            }
            let position = Position::of(keys.hash(slot.id()));
            let half = usize::from(position.prefix() & bit != 0);
            lens[half] += 1;
            self.arrays.place(halves[half].array, Slot::new(position.window(depth), slot.id()));
        }
        self.moving.clear();
        let root = &mut self.roots[position.root()];
        root.put(first, halves[0], lens[0]);
        root.put(second, halves[1], lens[1]);
    }

    /// Puts another id in the place of one.
    pub(crate) fn replace(&mut self, hash: u64, old: RecordId, new: RecordId) {
        let position = Position::of(hash);
        let Segment { array, depth } = self.roots[position.root()].segment(position);
        let window = position.window(depth);
        let found = self.arrays.probe(array, window, &|id| id == old);
        let Found { bucket, number, .. } = found.expect("an id that is there");
        self.arrays.bucket_mut(array, bucket).set(number, Slot::new(window, new));
    }

    /// Removes an id.
    pub(crate) fn remove(&mut self, hash: u64, id: RecordId) {
        let position = Position::of(hash);
        let root = &mut self.roots[position.root()];
        let first = root.first(position);
        let Segment { array, depth } = root.directory[first];
        let found = self.arrays.probe(array, position.window(depth), &|other| other == id);
        self.arrays.vacate(array, found.expect("an id that is there"));
        root.lens[first] -= 1;
        self.len -= 1;
        let slots = array.count() * BUCKET_SLOTS;
        if (root.lens[first] as usize) < slots * SPARSE.1 / SPARSE.0 {
            self.shrink(position);
        }
    }

    /// Gives up what the segment of a position doesn't need.
    #[cold]
    fn shrink(&mut self, position: Position) {
        if self.join(position) {
            return;
        }
        let root = &mut self.roots[position.root()];
        let first = root.first(position);
        let (segment, len) = (&mut root.directory[first], root.lens[first] as usize);
        if len == 0 && segment.depth == 0 {
            return self.arrays.free(std::mem::take(&mut segment.array));
        }
        let count = segment.array.count();
        // With room for as many again, or it would have to grow at once.
        let buckets = root.buckets_for(2 * len);
        if usize::from(buckets) < count {
            self.resize(position, buckets);
        }
    }

    /// Joins the segment of a position with the other one of which it was split off, if both
    /// together are small.
    fn join(&mut self, position: Position) -> bool {
        let root = &self.roots[position.root()];
        let own = root.first(position);
        let depth = root.directory[own].depth;
        if depth == 0 {
            return false;
        }
        let other = root.sibling(own);
        let (first, second) = (own.min(other), own.max(other));
        let (mut low, mut high) = (root.directory[first], root.directory[second]);
        let (whole, len) = (root.whole, root.lens[first] + root.lens[second]);
        let fits = len as usize <= usize::from(whole) * BUCKET_SLOTS * JOINED.1 / JOINED.0;
        if low.depth != high.depth || !fits {
            return false;
        }
        // The bit that told the halves apart is in the window again.
        self.take(&mut low);
        let low_len = self.moving.len();
        self.take(&mut high);
        let array = self.arrays.allocate(whole);
        for (at, slot) in self.moving.drain(..).enumerate() {
            let bit = u64::from(at >= low_len);
            let window = slot.window() >> 1 | bit << (WINDOW_BITS - 1);
            self.arrays.place(array, Slot::new(window, slot.id()));
        }
        let root = &mut self.roots[position.root()];
        root.put(first, Segment { array, depth: depth - 1 }, len);
        if depth == root.depth {
            root.flatten();
        }
        true
    }

    /// Asks for the bucket that a lookup of a hash reads first, if that pays.
    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: u64) {
        if self.len < SMALL {
            return;
        }
        let position = Position::of(hash);
        if let Some(Segment { array, depth }) = self.segment(position)
            && array.count() > 0
        {
            let bucket = home(position.window(depth), array.count());
            kevy_rt::prefetch(self.arrays.bucket(array, bucket));
        }
    }

    /// The record that a lookup of a hash reads first, if asking for it pays.
    #[inline(always)]
    pub(crate) fn first_candidate(&self, hash: u64) -> Option<RecordId> {
        if self.len < SMALL {
            return None;
        }
        self.find(hash, &|_| true)
    }

    /// Calls `visit` with the ids at a few positions from `from` on. Answers from where to go on;
    /// none behind the last.
    pub(crate) fn scan(&self, from: Position, visit: impl FnMut(RecordId)) -> Option<Position> {
        let Segment { array, depth } = self.segment(from)?;
        let count = array.count();
        // What is below the window, or the window itself behind a shorter prefix.
        let below = PREFIX_BITS - u32::from(depth);
        let start = from.0 >> (WINDOW_BITS + below) << (WINDOW_BITS + below);
        if count > 0 {
            let window = from.window(depth);
            let bucket = home(window, count);
            self.arrays.visit_home(array, bucket, window, visit);
            if bucket + 1 < count {
                // The first one whose home is the next bucket.
                let window = ((bucket as u64 + 1) << WINDOW_BITS).div_ceil(count as u64);
                return Some(Position(start | window << below));
            }
        }
        Position::from_number(start + (1 << (WINDOW_BITS + below)))
    }

    /// All ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = RecordId> {
        let firsts = self.roots.iter().flat_map(|root| {
            let entries = root.directory.iter().enumerate();
            let is_first = |&(entry, _): &(usize, _)| root.covered(entry).start == entry;
            entries.filter(is_first).map(|(_, segment)| segment.array)
        });
        firsts.flat_map(|array| self.arrays.slots(array)).map(Slot::id)
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        // The directories' entries are about as many as the fullest buckets allow.
        let entries = self.len / capacity(WHOLE_BUCKETS[0].into()) + self.roots.len();
        let entry_bytes = size_of::<Segment>() + size_of::<u32>();
        let directories = entries * entry_bytes + self.roots.len() * size_of::<Root>();
        self.arrays.memory() + directories
    }

    /// Bytes that were taken from the system and hold nothing now.
    pub(crate) fn unused(&self) -> usize {
        self.arrays.unused()
    }

    /// Gives some memory back, when no record is needed any more: `most` pieces of it. Answers how
    /// many.
    pub(crate) fn dismantle(&mut self, most: usize) -> usize {
        self.roots.clear();
        self.arrays.dismantle(most)
    }

    /// The first hash of a bucket of the first root, when that is one segment of `count` of them.
    #[cfg(test)]
    pub(crate) fn first_hash_of(bucket: usize, count: usize) -> u64 {
        ((bucket as u64) << WINDOW_BITS).div_ceil(count as u64) << PREFIX_BITS
    }

    /// Buckets that a lookup of a hash that isn't there reads.
    #[cfg(test)]
    pub(crate) fn probe_len(&self, hash: u64) -> usize {
        let position = Position::of(hash);
        let Some(Segment { array, depth }) = self.segment(position) else { return 0 };
        let count = array.count();
        let start = home(position.window(depth), count.max(1));
        let is_full = |step: &usize| self.arrays.bucket(array, (start + step) % count).is_full();
        (0..count).take_while(is_full).count() + 1
    }
}
