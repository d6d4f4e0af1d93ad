//! From a key's hash to where its record lies.
//!
//! ```text
//! position:  | root 8 | prefix 0..=20 | window 24 | ... |     the lower 52 bits of the hash
//! roots, 256 ─> directory: one entry per prefix, as long as it has to be
//!                   └─> buckets, 64 bytes each: window 24 and id 40, eight times
//! ```
//!
//! Extendible hashing (Fagin, Nievergelt, Pippenger and Strong, 1979): a segment that is too full is
//! split in two by one more bit of the position, so that no insertion moves more than a few thousand
//! slots. Within its segment a slot is put into the bucket that its window names, proportionally,
//! or if that is full into the next one that isn't.
//!
//! Hashes spread keys evenly, so segments of one size would all be split at the same time, and be
//! half empty afterwards. So there are four sizes, by root: some are always nearly full, some just
//! split.
//!
//! Position is an order, which neither growth nor splits change: a scan that goes on from a
//! position misses nothing.

use crate::heap::{ID_BITS, RecordId};

const ROOT_BITS: u32 = 8;
const PREFIX_BITS: u32 = 20;
const WINDOW_BITS: u32 = 64 - ID_BITS;
const POSITION_BITS: u32 = ROOT_BITS + PREFIX_BITS + WINDOW_BITS;

const BUCKET_SLOTS: usize = 8;

/// Buckets of a whole segment, for roots in turn: four sizes to a doubling. In bytes they are sizes
/// that allocators have blocks of, and so are their halves.
///
/// Smaller: more directory per key, which leaves the caches. Larger: a split takes longer.
const WHOLE_BUCKETS: [u16; 4] = [192, 224, 256, 320];

/// A segment of a root that was never split is so often quartered of a whole one, at first and later.
///
/// Smaller steps: what is given up is seldom of use to somebody else, and adds up. Larger: it is
/// mostly empty.
const QUARTERINGS: [u32; 4] = [3, 2, 1, 0];

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
        (self.0 >> (PREFIX_BITS + WINDOW_BITS)) as usize
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

/// What a slot holds: what a position has in the window, above its id. An unused one holds zero.
#[inline(always)]
fn slot(window: u64, id: RecordId) -> u64 {
    window << ID_BITS | id.0
}

#[inline(always)]
fn id_of(slot: u64) -> RecordId {
    RecordId(slot & ((1 << ID_BITS) - 1))
}

/// A cache line of slots, each in three parts, so that the tags of all are compared at once.
///
/// ```text
/// | tags 8 x 16: window's low bits | ids' low bits 8 x 32 | 8 x 16: window's high bits, id's |
/// ```
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
struct Bucket {
    /// Four to a word.
    tags: [u64; 2],
    /// Zero for an unused slot: no id has low bits of zero.
    low: [u32; BUCKET_SLOTS],
    high: [u16; BUCKET_SLOTS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

const TAG_BITS: u32 = 16;
const TAGS_PER_WORD: usize = 4;

/// One in each of four tags, and the highest bit of each.
const ONES: u64 = 0x0001_0001_0001_0001;
const TOPS: u64 = ONES << (TAG_BITS - 1);

impl Bucket {
    /// What a slot holds.
    #[inline(always)]
    fn get(&self, number: usize) -> u64 {
        let shift = (number % TAGS_PER_WORD) as u32 * TAG_BITS;
        let tag = self.tags[number / TAGS_PER_WORD] >> shift & 0xFFFF;
        let high = u64::from(self.high[number]);
        let window = (high >> 8) << TAG_BITS | tag;
        window << ID_BITS | (high & 0xFF) << 32 | u64::from(self.low[number])
    }

    fn set(&mut self, number: usize, slot: u64) {
        let (window, id) = (slot >> ID_BITS, slot & ((1 << ID_BITS) - 1));
        let shift = (number % TAGS_PER_WORD) as u32 * TAG_BITS;
        let word = &mut self.tags[number / TAGS_PER_WORD];
        *word = *word & !(0xFFFF << shift) | (window & 0xFFFF) << shift;
        self.low[number] = id as u32;
        self.high[number] = ((window >> TAG_BITS) << 8 | id >> 32) as u16;
    }

    #[inline(always)]
    fn is_used(&self, number: usize) -> bool {
        self.low[number] != 0
    }

    #[inline(always)]
    fn is_full(&self) -> bool {
        self.low.iter().fold(true, |is_full, &low| is_full & (low != 0))
    }

    /// The slots that are used.
    fn slots(&self) -> impl Iterator<Item = u64> {
        (0..BUCKET_SLOTS).filter(|&number| self.is_used(number)).map(|number| self.get(number))
    }

    /// A bit for each slot that may have that window, and perhaps for some more: those of the first
    /// word at the top of its tag, those of the second below. Without a branch, so that the
    /// processor goes on to what follows while the line is on its way.
    #[inline(always)]
    fn candidates(&self, window: u64) -> u64 {
        let wanted = (window & 0xFFFF) * ONES;
        let [first, second] = self.tags.map(|tags| {
            // A tag becomes zero, which alone borrows (Mycroft, 1987).
            let zeroed = tags ^ wanted;
            zeroed.wrapping_sub(ONES) & !zeroed & TOPS
        });
        first | second >> 1
    }
}

/// The slot of the lowest of [`Bucket::candidates`].
#[inline(always)]
fn lowest(candidates: u64) -> usize {
    let bit = candidates.trailing_zeros();
    let word = (bit & 1 ^ 1) as usize;
    (bit / TAG_BITS) as usize + word * TAGS_PER_WORD
}

/// A directory's entry: the segment that starts here, or nothing if it starts before.
#[derive(Debug, Default)]
struct Segment {
    buckets: Box<[Bucket]>,
    /// Used slots.
    len: u32,
    /// Bits of the directory that all its positions share; also in the entries that it covers
    /// beside its own.
    depth: u8,
}

/// The bucket that a window names, of `buckets`.
#[inline(always)]
fn home(window: u64, buckets: usize) -> usize {
    ((window * buckets as u64) >> WINDOW_BITS) as usize
}

#[inline(always)]
fn home_of(slot: u64, buckets: usize) -> usize {
    home(slot >> ID_BITS, buckets)
}

impl Segment {
    /// How many slots may be used.
    fn capacity(buckets: usize) -> usize {
        buckets * BUCKET_SLOTS * FULL.1 / FULL.0
    }

    /// The slot of a window whose id is meant, and the id.
    #[inline(always)]
    fn probe(&self, window: u64, meant: &impl Matches) -> Option<((usize, usize), RecordId)> {
        let count = self.buckets.len();
        if count == 0 {
            return None;
        }
        let mut at = home(window, count);
        for _ in 0..count {
            let bucket = &self.buckets[at];
            let mut candidates = bucket.candidates(window);
            while candidates != 0 {
                let number = lowest(candidates);
                let slot = bucket.get(number);
                let is_candidate = slot >> ID_BITS == window && bucket.is_used(number);
                if is_candidate && meant.is(id_of(slot)) {
                    return Some(((at, number), id_of(slot)));
                }
                candidates &= candidates - 1;
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
    fn place(&mut self, slot: u64) {
        let count = self.buckets.len();
        let mut at = home_of(slot, count);
        loop {
            let bucket = &mut self.buckets[at];
            if let Some(vacant) = bucket.low.iter().position(|&low| low == 0) {
                bucket.set(vacant, slot);
                break;
            }
            at = if at + 1 == count { 0 } else { at + 1 };
        }
        self.len += 1;
    }

    /// Empties a slot, and moves those back that passed over its bucket because it was full.
    fn vacate(&mut self, (mut at, number): (usize, usize)) {
        let count = self.buckets.len();
        let was_full = self.buckets[at].is_full();
        self.buckets[at].set(number, 0);
        self.len -= 1;
        if !was_full {
            return;
        }
        let mut number = number;
        let mut next = (at + 1) % count;
        while next != at {
            let is_full = self.buckets[next].is_full();
            // From the bucket where it belongs a slot passed over all up to its own.
            let steps = |from: usize, to: usize| (to + count - from) % count;
            let bucket = &self.buckets[next];
            let passed = |&other: &usize| {
                let home = home_of(bucket.get(other), count);
                bucket.is_used(other) && steps(home, next) >= steps(at, next)
            };
            if let Some(found) = (0..BUCKET_SLOTS).find(passed) {
                let slot = bucket.get(found);
                self.buckets[at].set(number, slot);
                self.buckets[next].set(found, 0);
                (at, number) = (next, found);
            }
            if !is_full {
                break;
            }
            next = (next + 1) % count;
        }
    }

    /// All slots, in no order.
    fn slots(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().flat_map(Bucket::slots)
    }

    /// Gives an empty one so many buckets, and slots.
    fn fill(&mut self, buckets: usize, slots: impl Iterator<Item = u64>) {
        self.buckets = vec![Bucket::default(); buckets].into();
        slots.for_each(|slot| self.place(slot));
    }

    /// Gives it so many buckets.
    fn resize(&mut self, buckets: usize) {
        let old = std::mem::replace(&mut self.buckets, vec![Bucket::default(); buckets].into());
        self.len = 0;
        for slot in old.iter().flat_map(Bucket::slots) {
            self.place(slot);
        }
    }

    /// Calls `visit` with the ids of a bucket's slots, those below `from` left out, wherever they
    /// were put.
    fn visit_home(&self, bucket: usize, from: u64, mut visit: impl FnMut(RecordId)) {
        let count = self.buckets.len();
        let mut at = bucket;
        for _ in 0..count {
            for slot in self.buckets[at].slots() {
                if home_of(slot, count) == bucket && slot >> ID_BITS >= from {
                    visit(id_of(slot));
                }
            }
            if !self.buckets[at].is_full() {
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
    depth: u8,
    /// Buckets of a whole segment. That of a root that was never split may have a quarter of them
    /// and so on.
    whole: u16,
}

impl Root {
    fn new(number: usize) -> Self {
        let whole = WHOLE_BUCKETS[number % WHOLE_BUCKETS.len()];
        Root { directory: vec![Segment::default()], depth: 0, whole }
    }

    /// The number of buckets behind this one on the way to the whole.
    fn more_buckets(&self, buckets: usize) -> usize {
        let whole = usize::from(self.whole);
        let sizes = QUARTERINGS.into_iter().map(|quarterings| whole >> (2 * quarterings));
        sizes.into_iter().find(|&size| size > buckets).unwrap_or(2 * buckets)
    }

    /// The fewest buckets on the way to the whole that hold `len` slots with room for some more.
    fn buckets_for(&self, len: usize) -> usize {
        let mut buckets = self.more_buckets(0);
        while Segment::capacity(buckets) <= len {
            buckets = self.more_buckets(buckets);
        }
        buckets
    }

    /// The entry of the segment that a position is in.
    #[inline(always)]
    fn entry(&self, position: Position) -> usize {
        let entry = position.prefix() >> (PREFIX_BITS - u32::from(self.depth));
        self.start(entry)
    }

    /// Where the segment that covers an entry starts.
    #[inline(always)]
    fn start(&self, entry: usize) -> usize {
        let shift = self.depth - self.directory[entry].depth;
        if shift == 0 { entry } else { entry >> shift << shift }
    }

    /// How many entries a segment covers.
    fn span(&self, entry: usize) -> usize {
        1 << (self.depth - self.directory[entry].depth)
    }

    /// Makes the directory twice as long.
    fn deepen(&mut self) {
        let old = std::mem::take(&mut self.directory);
        self.directory = Vec::with_capacity(2 * old.len());
        for segment in old {
            let beside = Segment { depth: segment.depth, ..Segment::default() };
            self.directory.extend([segment, beside]);
        }
        self.depth += 1;
    }

    /// Makes it half as long, if no segment needs all its bits.
    fn flatten(&mut self) {
        while self.depth > 0 && self.directory.iter().all(|segment| segment.depth < self.depth) {
            let mut number = 0;
            self.directory.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.directory.shrink_to_fit();
            self.depth -= 1;
        }
    }

    /// Divides a segment in two.
    fn split(&mut self, mut entry: usize, keys: &impl Rehash) {
        let depth = self.directory[entry].depth;
        if depth == self.depth {
            self.deepen();
            entry *= 2;
        }
        let second = entry + self.span(entry) / 2;
        let old = std::mem::take(&mut self.directory[entry]);
        let bit = 1 << (PREFIX_BITS - 1 - u32::from(depth));
        let ids: Vec<RecordId> = old.slots().map(id_of).collect();
        let (mut low, mut high) = (Vec::new(), Vec::new());
        ids.iter().take(AHEAD).for_each(|&id| keys.ask(id));
        for (at, &id) in ids.iter().enumerate() {
            if let Some(&next) = ids.get(at + AHEAD) {
                keys.ask(next);
            }
            let position = Position::of(keys.hash(id));
            let half = if position.prefix() & bit == 0 { &mut low } else { &mut high };
            half.push(slot(position.window(depth + 1), id));
        }
        let end = second + (second - entry);
        for covered in &mut self.directory[entry..end] {
            covered.depth = depth + 1;
        }
        let whole = usize::from(self.whole);
        for (at, slots) in [(entry, low), (second, high)] {
            let buckets = whole.max(self.buckets_for(slots.len()));
            self.directory[at].fill(buckets, slots.into_iter());
        }
    }

    /// Joins a segment with the other one of which it was split off, if both together are small.
    fn join(&mut self, entry: usize) {
        let depth = self.directory[entry].depth;
        if depth == 0 {
            return;
        }
        let span = self.span(entry);
        let (first, second) = (entry & !span, entry | span);
        if self.directory[first].depth != depth || self.directory[second].depth != depth {
            return;
        }
        let len = (self.directory[first].len + self.directory[second].len) as usize;
        let whole = usize::from(self.whole);
        if len > whole * BUCKET_SLOTS * JOINED.1 / JOINED.0 {
            return;
        }
        let (a, b) = (
            std::mem::take(&mut self.directory[first]),
            std::mem::take(&mut self.directory[second]),
        );
        for covered in &mut self.directory[first..second + span] {
            covered.depth = depth - 1;
        }
        // The bit that told the halves apart is in the window again.
        let widened = |slot: u64, bit: u64| {
            let window = (slot >> ID_BITS) >> 1 | bit << (WINDOW_BITS - 1);
            self::slot(window, id_of(slot))
        };
        let slots =
            a.slots().map(|slot| widened(slot, 0)).chain(b.slots().map(|slot| widened(slot, 1)));
        self.directory[first].fill(whole, slots);
        if depth == self.depth {
            self.flatten();
        }
    }
}

/// Where records lie, by their keys' hashes.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// None, or all of them.
    roots: Vec<Root>,
    len: usize,
    /// Bytes of buckets.
    bucket_bytes: usize,
}

impl Index {
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    fn segment(&self, position: Position) -> Option<&Segment> {
        let root = self.roots.get(position.root())?;
        Some(&root.directory[root.entry(position)])
    }

    /// The id of that hash that is meant.
    #[inline(always)]
    pub(crate) fn find(&self, hash: u64, meant: &impl Matches) -> Option<RecordId> {
        let position = Position::of(hash);
        let segment = self.segment(position)?;
        segment.probe(position.window(segment.depth), meant).map(|(_, id)| id)
    }

    /// Adds an id.
    pub(crate) fn insert(&mut self, hash: u64, id: RecordId, keys: &impl Rehash) {
        if self.roots.is_empty() {
            self.roots.extend((0..1 << ROOT_BITS).map(Root::new));
        }
        let position = Position::of(hash);
        let root = &mut self.roots[position.root()];
        let mut entry = root.entry(position);
        let segment = &mut root.directory[entry];
        if segment.len as usize >= Segment::capacity(segment.buckets.len()) {
            self.bucket_bytes -= size_of_val(&*segment.buckets);
            entry = Index::enlarge(root, position, keys, &mut self.bucket_bytes);
        }
        let segment = &mut root.directory[entry];
        segment.place(slot(position.window(segment.depth), id));
        self.len += 1;
    }

    /// Makes room in the segment of a position, whose buckets are not counted any more. Answers its
    /// entry.
    #[cold]
    fn enlarge(
        root: &mut Root,
        position: Position,
        keys: &impl Rehash,
        bucket_bytes: &mut usize,
    ) -> usize {
        loop {
            let entry = root.entry(position);
            let buckets = root.more_buckets(root.directory[entry].buckets.len());
            let segment = &mut root.directory[entry];
            let is_deepest = u32::from(segment.depth) == PREFIX_BITS;
            if buckets <= usize::from(root.whole) || is_deepest {
                segment.resize(buckets);
                *bucket_bytes += size_of_val(&*segment.buckets);
                return entry;
            }
            root.split(entry, keys);
            let (one, other) = (root.entry(position), root.sibling(position));
            *bucket_bytes += size_of_val(&*root.directory[other].buckets);
            let segment = &root.directory[one];
            if (segment.len as usize) < Segment::capacity(segment.buckets.len()) {
                *bucket_bytes += size_of_val(&*segment.buckets);
                return one;
            }
        }
    }

    /// Puts another id in the place of one.
    pub(crate) fn replace(&mut self, hash: u64, old: RecordId, new: RecordId) {
        let position = Position::of(hash);
        let root = &mut self.roots[position.root()];
        let entry = root.entry(position);
        let segment = &mut root.directory[entry];
        let window = position.window(segment.depth);
        let at = segment.probe(window, &|id| id == old);
        let ((bucket, number), _) = at.expect("an id that is there");
        segment.buckets[bucket].set(number, slot(window, new));
    }

    /// Removes an id.
    pub(crate) fn remove(&mut self, hash: u64, id: RecordId) {
        let position = Position::of(hash);
        let root = &mut self.roots[position.root()];
        let entry = root.entry(position);
        let segment = &mut root.directory[entry];
        let at = segment.probe(position.window(segment.depth), &|other| other == id);
        segment.vacate(at.expect("an id that is there").0);
        self.len -= 1;
        let slots = segment.buckets.len() * BUCKET_SLOTS;
        if (segment.len as usize) < slots * SPARSE.1 / SPARSE.0 {
            self.shrink(position);
        }
    }

    /// Gives up what the segment of a position doesn't need.
    #[cold]
    fn shrink(&mut self, position: Position) {
        let root = &mut self.roots[position.root()];
        let entry = root.entry(position);
        let segment = &mut root.directory[entry];
        let bytes = |segment: &Segment| size_of_val(&*segment.buckets);
        if segment.len == 0 && segment.depth == 0 {
            self.bucket_bytes -= bytes(segment);
            segment.buckets = Box::default();
            return;
        }
        let depth = segment.depth;
        if depth > 0 {
            let sibling = root.sibling(position);
            let before = bytes(&root.directory[entry]) + bytes(&root.directory[sibling]);
            root.join(entry);
            let joined = root.entry(position);
            if root.directory[joined].depth < depth {
                self.bucket_bytes = self.bucket_bytes - before + bytes(&root.directory[joined]);
                return;
            }
        }
        // With room for as many again, or it would have to grow at once.
        let buckets = root.buckets_for(2 * root.directory[entry].len as usize);
        let segment = &mut root.directory[entry];
        if buckets < segment.buckets.len() {
            self.bucket_bytes -= bytes(segment);
            segment.resize(buckets);
            self.bucket_bytes += bytes(segment);
        }
    }

    /// Asks for the bucket that a lookup of a hash reads first, if that pays.
    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: u64) {
        if self.len < SMALL {
            return;
        }
        let position = Position::of(hash);
        if let Some(segment) = self.segment(position)
            && let Some(bucket) =
                segment.buckets.get(home(position.window(segment.depth), segment.buckets.len()))
        {
            kevy_rt::prefetch(bucket);
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
        let root = self.roots.get(from.root())?;
        let entry = root.entry(from);
        let segment = &root.directory[entry];
        let count = segment.buckets.len();
        // What is below the window, or the window itself behind a shorter prefix.
        let below = PREFIX_BITS - u32::from(segment.depth);
        let start = from.0 >> (WINDOW_BITS + below) << (WINDOW_BITS + below);
        if count > 0 {
            let window = from.window(segment.depth);
            let bucket = home(window, count);
            segment.visit_home(bucket, window, visit);
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
        let segments = self.roots.iter().flat_map(|root| &root.directory);
        segments.flat_map(Segment::slots).map(id_of)
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        // The directories' entries are about as many as the fullest buckets allow.
        let entries = self.len / Segment::capacity(WHOLE_BUCKETS[0].into()) + self.roots.len();
        self.bucket_bytes + entries * size_of::<Segment>() + self.roots.len() * size_of::<Root>()
    }

    /// Drops some segments, when no record is needed any more. Answers how many.
    pub(crate) fn dismantle(&mut self, most: usize) -> usize {
        let mut dropped = 0;
        while dropped < most
            && let Some(root) = self.roots.last_mut()
        {
            let keep = root.directory.len().saturating_sub(most - dropped);
            dropped += root.directory.drain(keep..).count();
            if root.directory.is_empty() {
                self.roots.pop();
            }
        }
        dropped
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
        let Some(segment) = self.segment(position) else { return 0 };
        let count = segment.buckets.len();
        let start = home(position.window(segment.depth), count.max(1));
        (0..count).take_while(|step| segment.buckets[(start + step) % count].is_full()).count() + 1
    }
}

impl Root {
    /// The entry of the other half of what a position's segment was split from.
    fn sibling(&self, position: Position) -> usize {
        let entry = self.entry(position);
        self.start(entry ^ self.span(entry))
    }
}
