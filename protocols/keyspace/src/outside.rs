//! What doesn't lie in a record: long values, values of other types, long keys. A record names its
//! own by number.

use kevy_rt::{Shared, Value};

use crate::record::Extra;

/// From this many bytes on a value is kept as a counted handle: one that arrives as such is kept
/// without a copy, and replies may send it from where it lies.
///
/// Smaller: counts are paid for what a copy does as fast. Larger: large values are copied.
pub const SHARE_BYTES: usize = 16 * 1024;

/// Slots per chunk of a [`Slots`]: what is added at once.
const CHUNK_SLOTS: usize = 512;

/// A value of another type than bytes, as a protocol defines it.
pub trait Object {
    /// Bytes of memory that it takes beside itself.
    fn memory(&self) -> usize;
}

/// No value is of another type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoObject {}

impl Object for NoObject {
    fn memory(&self) -> usize {
        match *self {}
    }
}

/// A value that doesn't lie in its record.
#[derive(Clone, Debug)]
pub(crate) enum Payload<T> {
    /// Fewer than [`SHARE_BYTES`] of them.
    Bytes(Vec<u8>),
    /// The others.
    Shared(Shared),
    /// Of another type.
    Object(T),
}

impl<T: Object> Payload<T> {
    pub(crate) fn new(value: Value<'_>) -> Self {
        match value {
            Value::Shared(shared) if shared.len() >= SHARE_BYTES => Payload::Shared(shared.clone()),
            value if value.len() >= SHARE_BYTES => Payload::Shared(Shared::copy_of(value.bytes())),
            value => Payload::Bytes(value.bytes().to_vec()),
        }
    }

    pub(crate) fn from_vec(bytes: Vec<u8>) -> Self {
        if bytes.len() < SHARE_BYTES {
            Payload::Bytes(bytes)
        } else {
            Payload::Shared(Shared::new(bytes))
        }
    }

    /// Puts other bytes in its place, in its allocation if that is neither too small nor more than
    /// twice as large.
    pub(crate) fn set(&mut self, value: Value<'_>) {
        let len = value.len();
        let fits = |capacity| len < SHARE_BYTES && (len..=2 * len).contains(&capacity);
        match self {
            Payload::Bytes(bytes) if fits(bytes.capacity()) => {
                bytes.clear();
                bytes.extend_from_slice(value.bytes());
            }
            _ => *self = Payload::new(value),
        }
    }

    /// The bytes, to be changed, with zeros appended up to `len`; none at first of an object. Who
    /// still reads them keeps them as they are.
    pub(crate) fn edit(&mut self, len: usize) -> &mut [u8] {
        let mut bytes = match self {
            Payload::Bytes(bytes) => std::mem::take(bytes),
            Payload::Shared(shared) => match shared.get_mut() {
                Some(bytes) => std::mem::take(bytes),
                None => padded(shared, len),
            },
            Payload::Object(_) => Vec::new(),
        };
        if bytes.len() < len {
            bytes = lengthened(bytes, len);
        }
        *self = Payload::from_vec(bytes);
        match self {
            Payload::Bytes(bytes) => bytes,
            Payload::Shared(shared) => shared.get_mut().expect("made just now, nobody else has it"),
            Payload::Object(_) => unreachable!("bytes were put there just now"),
        }
    }

    fn memory(&self) -> usize {
        match self {
            Payload::Bytes(bytes) => allocated(bytes.capacity()),
            // The handle's counts lie with the vector that it counts.
            Payload::Shared(shared) => allocated(shared.len()) + SHARED_HEAD,
            Payload::Object(object) => object.memory(),
        }
    }
}

/// A value apart from any database, with what belongs to it: on its way to another key, which may be
/// on another shard. A long one is a handle, so that nothing of its length is copied.
#[derive(Clone, Debug)]
pub struct Detached<T> {
    pub(crate) payload: Payload<T>,
    pub(crate) tag: u8,
    /// Zero for never.
    pub(crate) expires_ms: u64,
    pub(crate) extra: Option<Extra>,
    /// What is remembered of its use; `None` for a copy, which wasn't used yet.
    pub(crate) access: Option<u32>,
}

/// Two counts and a vector.
const SHARED_HEAD: usize = 48;

/// A copy of `bytes` with zeros appended up to `len`.
pub(crate) fn padded(bytes: &[u8], len: usize) -> Vec<u8> {
    // Zeros that the system hands out are not touched before somebody writes there.
    let mut copy = vec![0; bytes.len().max(len)];
    copy[..bytes.len()].copy_from_slice(bytes);
    copy
}

/// Bytes with zeros appended up to `len`. Those that are lengthened again and again move seldom.
fn lengthened(mut bytes: Vec<u8>, len: usize) -> Vec<u8> {
    if len > 2 * bytes.capacity() {
        return padded(&bytes, len);
    }
    bytes.resize(len, 0);
    bytes
}

/// Bytes that an allocator takes for `bytes`: a size class, four to a doubling.
pub(crate) fn allocated(bytes: usize) -> usize {
    if bytes <= 64 {
        return bytes.next_multiple_of(8);
    }
    let step = 1 << (bytes.ilog2() - 2);
    bytes.next_multiple_of(step)
}

#[derive(Debug)]
enum Slot<V> {
    Full(V),
    /// And the next one.
    Vacant(u32),
}

/// No slot.
const NONE: u32 = u32::MAX;

/// Numbered places that never move.
#[derive(Debug)]
struct Slots<V> {
    chunks: Vec<Vec<Slot<V>>>,
    vacant: u32,
    len: usize,
}

impl<V> Default for Slots<V> {
    fn default() -> Self {
        Slots { chunks: Vec::new(), vacant: NONE, len: 0 }
    }
}

impl<V> Slots<V> {
    fn slot(&mut self, number: u32) -> &mut Slot<V> {
        &mut self.chunks[number as usize / CHUNK_SLOTS][number as usize % CHUNK_SLOTS]
    }

    fn insert(&mut self, value: V) -> u32 {
        self.len += 1;
        if self.vacant != NONE {
            let number = self.vacant;
            let slot = self.slot(number);
            let Slot::Vacant(next) = *slot else { unreachable!("the list is of vacant slots") };
            *slot = Slot::Full(value);
            self.vacant = next;
            return number;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_SLOTS) {
            self.chunks.push(Vec::with_capacity(CHUNK_SLOTS));
        }
        let last = self.chunks.len() - 1;
        self.chunks[last].push(Slot::Full(value));
        (last * CHUNK_SLOTS + self.chunks[last].len() - 1) as u32
    }

    fn remove(&mut self, number: u32) -> V {
        let next = self.vacant;
        let slot = std::mem::replace(self.slot(number), Slot::Vacant(next));
        let Slot::Full(value) = slot else { unreachable!("a record names a full slot") };
        self.vacant = number;
        self.len -= 1;
        if self.len == 0 {
            *self = Slots::default();
        }
        value
    }

    fn get(&self, number: u32) -> &V {
        match &self.chunks[number as usize / CHUNK_SLOTS][number as usize % CHUNK_SLOTS] {
            Slot::Full(value) => value,
            Slot::Vacant(_) => unreachable!("a record names a full slot"),
        }
    }

    fn memory(&self) -> usize {
        self.chunks.len() * CHUNK_SLOTS * size_of::<Slot<V>>()
    }
}

/// The payloads and long keys of a database, and the bytes that they take.
#[derive(Debug)]
pub(crate) struct Outside<T> {
    payloads: Slots<Payload<T>>,
    keys: Slots<Box<[u8]>>,
    bytes: usize,
}

impl<T> Default for Outside<T> {
    fn default() -> Self {
        Outside { payloads: Slots::default(), keys: Slots::default(), bytes: 0 }
    }
}

impl<T: Object> Outside<T> {
    pub(crate) fn add(&mut self, payload: Payload<T>) -> u32 {
        self.bytes += payload.memory();
        self.payloads.insert(payload)
    }

    pub(crate) fn get(&self, number: u32) -> &Payload<T> {
        self.payloads.get(number)
    }

    pub(crate) fn remove(&mut self, number: u32) -> Payload<T> {
        let payload = self.payloads.remove(number);
        self.bytes -= payload.memory();
        payload
    }

    /// Changes a payload.
    pub(crate) fn change<R>(
        &mut self,
        number: u32,
        change: impl FnOnce(&mut Payload<T>) -> R,
    ) -> R {
        let Slot::Full(payload) = self.payloads.slot(number) else {
            unreachable!("a record names a full slot")
        };
        let before = payload.memory();
        let result = change(payload);
        self.bytes = self.bytes - before + payload.memory();
        result
    }

    pub(crate) fn add_key(&mut self, key: &[u8]) -> u32 {
        self.bytes += allocated(key.len());
        self.keys.insert(key.into())
    }

    pub(crate) fn key(&self, number: u32) -> &[u8] {
        self.keys.get(number)
    }

    pub(crate) fn remove_key(&mut self, number: u32) {
        let key = self.keys.remove(number);
        self.bytes -= allocated(key.len());
    }

    /// Bytes of one payload, its slot included.
    pub(crate) fn memory_of(&self, number: u32) -> usize {
        self.payloads.get(number).memory() + size_of::<Slot<Payload<T>>>()
    }

    /// Bytes of all.
    pub(crate) fn memory(&self) -> usize {
        self.bytes + self.payloads.memory() + self.keys.memory()
    }

    /// Drops some chunks' worth, when no record is needed any more. Answers how many.
    pub(crate) fn dismantle(&mut self, most: usize) -> usize {
        let mut dropped = 0;
        while dropped < most && self.payloads.chunks.pop().is_some() {
            dropped += 1;
        }
        while dropped < most && self.keys.chunks.pop().is_some() {
            dropped += 1;
        }
        dropped
    }
}
