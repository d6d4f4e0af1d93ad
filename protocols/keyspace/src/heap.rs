//! Where records lie: places of a few sizes in chunks, addressed by number.
//!
//! ```text
//! class of 40 bytes    chunk 3: [record][record][ hole ][record] ...   chunk 7: [record][record]
//!                                                 '-> next hole                          ^ used
//! ```
//!
//! All places below `used` hold a record or are holes. A hole is taken for the next record of its
//! class; where too many are left, the last record moves to the first hole, so that chunks at the
//! end become free. Records may be moved since the index alone knows where they are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::space::{CHUNK_BYTES, GRANULE, HEADER_BYTES, Place, Space};

/// Granules per chunk, as a power of two.
const CHUNK_SHIFT: u32 = (CHUNK_BYTES / GRANULE).trailing_zeros();

/// The longest record. What is longer is kept outside.
///
/// Smaller: values of middle size cost an allocation of their own. Larger: fewer of them to a
/// chunk, and more classes with a half-empty chunk.
pub(crate) const LONGEST: usize = 1024;

/// Up to this many bytes classes are a granule apart, above it four: an eighth at most is wasted.
const FINE_BYTES: usize = 256;
const COARSE_STEP: usize = 32;
const FINE_CLASSES: usize = FINE_BYTES / GRANULE + 1;
const CLASSES: usize = FINE_CLASSES + (LONGEST - FINE_BYTES) / COARSE_STEP;

/// The shortest place: a hole needs two words.
const SHORTEST: usize = 16;

/// Says in the lowest bit of a place's first word that it is a hole. Records keep theirs zero.
const HOLE: u64 = 1;

/// No hole.
const NONE: u64 = 0;

/// Where a record lies, in granules: 40 bits, of which the lower 32 are not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RecordId(pub(crate) u64);

/// Every how many chunks one is used for nothing, so that no id has zeros in its lower 32 bits.
const UNUSED_CHUNKS: usize = 1 << (32 - CHUNK_SHIFT);

/// Bits of a [`RecordId`].
pub(crate) const ID_BITS: u32 = 40;

impl RecordId {
    fn new(chunk: usize, at: usize) -> Self {
        RecordId((chunk as u64) << CHUNK_SHIFT | (at / GRANULE) as u64)
    }

    #[inline(always)]
    fn chunk(self) -> usize {
        (self.0 >> CHUNK_SHIFT) as usize
    }

    #[inline(always)]
    fn at(self) -> usize {
        (self.0 as usize % (1 << CHUNK_SHIFT)) * GRANULE
    }

    /// The number of the 4 KiB block that it starts in.
    #[inline]
    pub(crate) fn block(self) -> usize {
        (self.0 as usize * GRANULE) / BLOCK_BYTES
    }
}

/// A block is what is searched at once for expired records.
const BLOCK_BYTES: usize = 4096;

/// The records of one size.
#[derive(Debug, Default)]
struct Class {
    /// Their chunks, in the order in which they are filled.
    chunks: Vec<u32>,
    /// Places that were ever taken and not given up again.
    used: usize,
    holes: usize,
    first_hole: u64,
}

/// The records of a database.
#[derive(Debug)]
pub(crate) struct Heap {
    space: Space,
    /// The class of each chunk that was ever used.
    class_of: Vec<u8>,
    /// Chunks without a class; the first ones are used first.
    vacant: BinaryHeap<Reverse<u32>>,
    classes: Box<[Class]>,
    /// Chunks that have a class.
    taken: usize,
    /// Places of all classes, holes included.
    places: usize,
    /// Bytes of places that hold a record.
    live: usize,
    /// Holes of all classes.
    holes: usize,
    /// Bytes of a record that are asked for ahead.
    ahead: usize,
}

/// A record of a short key and a short value ends before this: so far it is asked for ahead.
///
/// Smaller: the end of most records comes late. Larger: lines are asked for that nobody reads.
const SHORT_BYTES: usize = 40;

/// The class of what has none.
const NO_CLASS: u8 = u8::MAX;

impl Default for Heap {
    fn default() -> Self {
        let classes = (0..CLASSES).map(|_| Class::default()).collect();
        Heap {
            space: Space::default(),
            class_of: vec![NO_CLASS],
            vacant: BinaryHeap::new(),
            classes,
            taken: 0,
            places: 0,
            live: 0,
            holes: 0,
            ahead: SHORT_BYTES,
        }
    }
}

/// The class of records of `bytes`, at most [`LONGEST`].
#[inline]
fn class_of(bytes: usize) -> usize {
    match bytes {
        0..SHORTEST => SHORTEST / GRANULE,
        SHORTEST..=FINE_BYTES => bytes.div_ceil(GRANULE),
        _ => FINE_CLASSES - 1 + (bytes - FINE_BYTES).div_ceil(COARSE_STEP),
    }
}

/// Bytes of the places of a class.
#[inline]
fn size_of_class(class: usize) -> usize {
    if class < FINE_CLASSES {
        class * GRANULE
    } else {
        FINE_BYTES + (class + 1 - FINE_CLASSES) * COARSE_STEP
    }
}

/// A record that moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    pub(crate) from: RecordId,
    pub(crate) to: RecordId,
}

impl Heap {
    /// There are records with so many bytes before the key: short ones are that much longer.
    #[inline(always)]
    pub(crate) fn expect(&mut self, extra: usize) {
        self.ahead = self.ahead.max(SHORT_BYTES + extra);
    }

    /// Asks for a record's first lines.
    #[inline(always)]
    pub(crate) fn prefetch(&self, id: RecordId) {
        self.space.prefetch(id.0, self.ahead);
    }

    /// Where a record lies.
    #[inline(always)]
    pub(crate) fn place_of(&self, id: RecordId) -> Place<'_> {
        self.space.place(id.0)
    }

    /// A record's header.
    #[inline(always)]
    pub(crate) fn header(&self, id: RecordId) -> u64 {
        self.place_of(id).header()
    }

    /// Writes a record's header, whose lowest bit is zero.
    #[inline(always)]
    pub(crate) fn set_header(&mut self, id: RecordId, header: u64) {
        debug_assert!(header & HOLE == 0);
        self.space.set_header(id.0, header);
    }

    /// Some of a record's bytes, from `at`, which is behind its header.
    #[inline(always)]
    pub(crate) fn bytes(&self, id: RecordId, at: usize, len: usize) -> &[u8] {
        debug_assert!(at >= HEADER_BYTES && at + len <= self.room(id));
        self.place_of(id).bytes(at, len)
    }

    /// The same, to be changed.
    #[inline(always)]
    pub(crate) fn bytes_mut(&mut self, id: RecordId, at: usize, len: usize) -> &mut [u8] {
        debug_assert!(at >= HEADER_BYTES && at + len <= self.room(id));
        self.space.bytes_mut(id.0, at, len)
    }

    /// Bytes of the record's place.
    #[inline]
    pub(crate) fn room(&self, id: RecordId) -> usize {
        size_of_class(usize::from(self.class(id)))
    }

    #[inline]
    fn class(&self, id: RecordId) -> u8 {
        self.class_of[id.chunk()]
    }

    /// Whether a record of `bytes` may stay in a place of `room`: it fits, and leaves less than
    /// half of it unused.
    #[inline]
    pub(crate) fn suits(bytes: usize, room: usize) -> bool {
        bytes <= room && (room < 2 * bytes || room == SHORTEST)
    }

    /// A place for a record of `bytes`, at most [`LONGEST`]. Its header is the caller's to write.
    #[inline]
    pub(crate) fn allocate(&mut self, bytes: usize) -> RecordId {
        debug_assert!(bytes <= LONGEST);
        let number = class_of(bytes);
        self.live += size_of_class(number);
        let class = &mut self.classes[number];
        if class.first_hole == NONE {
            return self.extend(number);
        }
        let id = RecordId(class.first_hole);
        self.unlink(number, id);
        id
    }

    fn extend(&mut self, number: usize) -> RecordId {
        let size = size_of_class(number);
        let per_chunk = CHUNK_BYTES / size;
        let class = &mut self.classes[number];
        if class.used == class.chunks.len() * per_chunk {
            let chunk = match self.vacant.pop() {
                Some(Reverse(chunk)) => chunk,
                None => {
                    if self.class_of.len().is_multiple_of(UNUSED_CHUNKS) {
                        self.class_of.push(NO_CLASS);
                    }
                    self.class_of.push(NO_CLASS);
                    self.class_of.len() as u32 - 1
                }
            };
            self.space.reach(chunk as usize);
            self.class_of[chunk as usize] = number as u8;
            self.taken += 1;
            self.classes[number].chunks.push(chunk);
        }
        self.classes[number].used += 1;
        self.places += 1;
        self.place(number, self.classes[number].used - 1)
    }

    /// The id of a class's place.
    fn place(&self, number: usize, index: usize) -> RecordId {
        let size = size_of_class(number);
        let per_chunk = CHUNK_BYTES / size;
        let chunk = self.classes[number].chunks[index / per_chunk];
        RecordId::new(chunk as usize, index % per_chunk * size)
    }

    /// Takes a hole off its class's list.
    fn unlink(&mut self, number: usize, id: RecordId) {
        let (next, previous) = self.links(id);
        match previous {
            NONE => self.classes[number].first_hole = next,
            previous => {
                let (_, before) = self.links(RecordId(previous));
                self.link(RecordId(previous), next, before);
            }
        }
        if next != NONE {
            let (after, _) = self.links(RecordId(next));
            self.link(RecordId(next), after, previous);
        }
        self.classes[number].holes -= 1;
        self.holes -= 1;
    }

    /// The holes after and before a hole.
    fn links(&self, id: RecordId) -> (u64, u64) {
        (self.header(id) >> 1, self.space.place(id.0 + 1).header())
    }

    fn link(&mut self, id: RecordId, next: u64, previous: u64) {
        self.space.set_header(id.0, next << 1 | HOLE);
        self.space.set_header(id.0 + 1, previous);
    }

    /// Gives a record's place back.
    #[inline]
    pub(crate) fn free(&mut self, id: RecordId) {
        let number = usize::from(self.class(id));
        self.live -= size_of_class(number);
        let first = self.classes[number].first_hole;
        self.link(id, first, NONE);
        if first != NONE {
            let (next, _) = self.links(RecordId(first));
            self.link(RecordId(first), next, id.0);
        }
        let class = &mut self.classes[number];
        class.first_hole = id.0;
        class.holes += 1;
        self.holes += 1;
    }

    /// A class with so many holes that its records should move together.
    pub(crate) fn class_to_compact(&self) -> Option<usize> {
        // Most ticks have nothing to move: they don't look through the classes.
        if self.holes <= CHUNK_BYTES / LONGEST / 2 {
            return None;
        }
        self.classes.iter().enumerate().position(|(number, class)| {
            let per_chunk = CHUNK_BYTES / size_of_class(number).max(SHORTEST);
            class.holes > class.used / 8 + per_chunk / 2
        })
    }

    /// Makes the class one place shorter. The record that lay there, if one did, has been copied:
    /// whoever knows where it was has to be told.
    pub(crate) fn compact(&mut self, number: usize) -> Option<Move> {
        let last = self.place(number, self.classes[number].used - 1);
        let moved = if self.header(last) & HOLE != 0 {
            self.unlink(number, last);
            None
        } else {
            let hole = RecordId(self.classes[number].first_hole);
            self.unlink(number, hole);
            let size = size_of_class(number);
            let header = self.header(last);
            let rest = &mut [0; LONGEST][..size - 8];
            rest.copy_from_slice(self.bytes(last, 8, size - 8));
            self.bytes_mut(hole, 8, size - 8).copy_from_slice(rest);
            self.set_header(hole, header);
            Some(Move { from: last, to: hole })
        };
        let per_chunk = CHUNK_BYTES / size_of_class(number);
        let class = &mut self.classes[number];
        class.used -= 1;
        self.places -= 1;
        if class.used <= (class.chunks.len() - 1) * per_chunk {
            let chunk = class.chunks.pop().expect("the last place was in one");
            self.class_of[chunk as usize] = NO_CLASS;
            self.taken -= 1;
            self.space.release(chunk as usize);
            self.vacant.push(Reverse(chunk));
        }
        moved
    }

    /// Places that were taken, holes included.
    pub(crate) fn places(&self) -> usize {
        self.places
    }

    /// The record at the `index`th place of all, unless there is a hole.
    pub(crate) fn nth(&self, mut index: usize) -> Option<RecordId> {
        for (number, class) in self.classes.iter().enumerate() {
            if index < class.used {
                let id = self.place(number, index);
                return (self.header(id) & HOLE == 0).then_some(id);
            }
            index -= class.used;
        }
        None
    }

    /// The records that start in a block.
    pub(crate) fn in_block(&self, block: usize) -> impl Iterator<Item = RecordId> {
        let blocks = CHUNK_BYTES / BLOCK_BYTES;
        let (chunk, start) = (block / blocks, block % blocks * BLOCK_BYTES);
        let class = self.class_of.get(chunk).copied().filter(|&class| class != NO_CLASS);
        class.into_iter().flat_map(move |class| {
            let number = usize::from(class);
            let size = size_of_class(number);
            let class = &self.classes[number];
            // Only a class's last chunk has places that were never taken, which are zeros.
            let end = CHUNK_BYTES / size * size;
            (start.next_multiple_of(size)..(start + BLOCK_BYTES).min(end))
                .step_by(size)
                .map(move |at| RecordId::new(chunk, at))
                .filter(move |id| self.is_taken(class, *id, size))
        })
    }

    fn is_taken(&self, class: &Class, id: RecordId, size: usize) -> bool {
        let per_chunk = CHUNK_BYTES / size;
        let full = class.used / per_chunk;
        let is_last = class.chunks.get(full).is_some_and(|&last| last as usize == id.chunk());
        let is_below = !is_last || id.at() / size < class.used % per_chunk;
        is_below && self.header(id) & HOLE == 0
    }

    /// Frees chunks until none is left, `most` at a time, when no record is needed any more.
    /// Answers how many it freed.
    pub(crate) fn dismantle(&mut self, most: usize) -> usize {
        let keep = self.class_of.len().saturating_sub(most);
        for chunk in (keep.max(1)..self.class_of.len()).rev() {
            if self.class_of[chunk] != NO_CLASS {
                self.taken -= 1;
                self.space.release(chunk);
            }
        }
        let freed = self.class_of.drain(keep..).count();
        self.space.truncate(keep);
        freed
    }

    /// Bytes that records take, and keeping account of them. Holes and the unused ends of chunks are
    /// not among them: they are there for the next records, and few.
    pub(crate) fn memory(&self) -> usize {
        self.live + self.space.memory() + self.class_of.capacity()
    }

    /// Bytes that were taken from the system.
    pub(crate) fn taken(&self) -> usize {
        self.taken * CHUNK_BYTES
    }
}
