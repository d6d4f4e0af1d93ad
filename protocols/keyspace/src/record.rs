//! What a record looks like.
//!
//! ```text
//!         0      1           5     13           22             32       64
//! header: | hole | what it is | tag | key length | value length | access |
//!
//! | header 8 | extra 16 | expiry 8 | key, or its number outside 4 | value, or its number 4 |
//!              if it has them
//! ```
//!
//! The extra words are a protocol's own, beside the value: nobody pays for them whose protocol asks
//! for none. They may be written while the rest of the record is lent.

use kevy_rt::Value;

use crate::heap::{Heap, LONGEST, RecordId};
use crate::outside::{Detached, Object, Outside, Payload};
use crate::space::Place;

/// Its value is outside.
const VALUE_OUTSIDE: u64 = 1 << 1;
/// Its key is.
const KEY_OUTSIDE: u64 = 1 << 2;
/// It expires. Also the bytes of an expiry, so that where the key starts is an addition.
const EXPIRES: u64 = 1 << 3;
/// It has extra words. Also their bytes.
const HAS_EXTRA: u64 = 1 << 4;
const TAG_SHIFT: u32 = 5;
const TAG_BITS: u32 = 8;
const KEY_SHIFT: u32 = TAG_SHIFT + TAG_BITS;
const KEY_BITS: u32 = 9;
const VALUE_SHIFT: u32 = KEY_SHIFT + KEY_BITS;
const VALUE_BITS: u32 = 10;
const ACCESS_SHIFT: u32 = VALUE_SHIFT + VALUE_BITS;
const _: () = assert!(ACCESS_SHIFT == 32);

/// Words that a protocol keeps beside a value, of which the keyspace knows nothing. They go with the
/// value when its key is renamed or copied, and are gone when it is written without any.
pub type Extra = [u64; 2];

/// Bytes of an expiry.
const EXPIRY_BYTES: usize = 8;
const _: () = assert!(EXPIRY_BYTES as u64 == EXPIRES);
/// Bytes of the extra words.
const EXTRA_BYTES: usize = size_of::<Extra>();
const _: () = assert!(EXTRA_BYTES as u64 == HAS_EXTRA);
const HEADER_BYTES: usize = crate::space::HEADER_BYTES;

/// Bytes of the number of what is outside.
const NUMBER_BYTES: usize = 4;

/// The longest key in a record; with it there is room for the rest.
const LONGEST_KEY: usize = (1 << KEY_BITS) - 1;

/// A record's header, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header(pub(crate) u64);

impl Header {
    #[inline(always)]
    pub(crate) fn expires(self) -> bool {
        self.0 & EXPIRES != 0
    }

    #[inline(always)]
    pub(crate) fn value_is_outside(self) -> bool {
        self.0 & VALUE_OUTSIDE != 0
    }

    #[inline(always)]
    fn key_is_outside(self) -> bool {
        self.0 & KEY_OUTSIDE != 0
    }

    #[inline(always)]
    pub(crate) fn tag(self) -> u8 {
        (self.0 >> TAG_SHIFT) as u8
    }

    /// Whether it has extra words.
    #[inline(always)]
    pub(crate) fn has_extra(self) -> bool {
        self.0 & HAS_EXTRA != 0
    }

    #[inline(always)]
    fn key_len(self) -> usize {
        (self.0 >> KEY_SHIFT) as usize % (1 << KEY_BITS)
    }

    #[inline(always)]
    fn value_len(self) -> usize {
        (self.0 >> VALUE_SHIFT) as usize % (1 << VALUE_BITS)
    }

    #[inline(always)]
    pub(crate) fn access(self) -> u32 {
        (self.0 >> ACCESS_SHIFT) as u32
    }

    #[inline(always)]
    fn expiry_at(self) -> usize {
        HEADER_BYTES + (self.0 & HAS_EXTRA) as usize
    }

    #[inline(always)]
    fn key_at(self) -> usize {
        HEADER_BYTES + (self.0 & (HAS_EXTRA | EXPIRES)) as usize
    }

    /// Bytes of the record, were its value `value_len` bytes long.
    #[inline(always)]
    pub(crate) fn len_with(self, value_len: usize) -> usize {
        self.value_at() + value_len
    }

    #[inline(always)]
    fn value_at(self) -> usize {
        self.key_at() + self.key_len()
    }
}

/// A value as a reader gets it.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a, T> {
    /// Bytes.
    Bytes(Value<'a>),
    /// Of another type.
    Object(&'a T),
}

/// A key with its value and its expiry.
#[derive(Debug)]
pub struct Record<'a, T> {
    heap: &'a Heap,
    outside: &'a Outside<T>,
    place: Place<'a>,
    id: RecordId,
    header: Header,
}

impl<T> Clone for Record<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Record<'_, T> {}

impl<'a, T: Object> Record<'a, T> {
    #[inline(always)]
    pub(crate) fn new(heap: &'a Heap, outside: &'a Outside<T>, id: RecordId) -> Self {
        let place = heap.place_of(id);
        Record { heap, outside, place, id, header: Header(place.header()) }
    }

    #[inline(always)]
    pub(crate) fn id(self) -> RecordId {
        self.id
    }

    #[inline(always)]
    pub(crate) fn header(self) -> Header {
        self.header
    }

    /// The key.
    #[inline(always)]
    pub fn key(self) -> &'a [u8] {
        let bytes = self.place.bytes(self.header.key_at(), self.header.key_len());
        if self.header.key_is_outside() { self.outside.key(number(bytes)) } else { bytes }
    }

    #[inline(always)]
    fn value_bytes(self) -> &'a [u8] {
        self.place.bytes(self.header.value_at(), self.header.value_len())
    }

    /// The value.
    #[inline(always)]
    pub fn content(self) -> Content<'a, T> {
        let bytes = self.value_bytes();
        if !self.header.value_is_outside() {
            return Content::Bytes(Value::Slice(bytes));
        }
        match self.outside.get(number(bytes)) {
            Payload::Bytes(bytes) => Content::Bytes(Value::Slice(bytes)),
            Payload::Shared(shared) => Content::Bytes(Value::Shared(shared)),
            Payload::Object(object) => Content::Object(object),
        }
    }

    /// The value's bytes; none of another type's.
    #[inline(always)]
    pub fn value(self) -> Value<'a> {
        match self.content() {
            Content::Bytes(value) => value,
            Content::Object(_) => Value::Slice(b""),
        }
    }

    /// A copy of the value, to be put elsewhere. A long one is shared with it.
    pub fn detached(self) -> Detached<T>
    where
        T: Clone,
    {
        let payload = match self.content() {
            Content::Bytes(value) => Payload::new(value),
            Content::Object(object) => Payload::Object(object.clone()),
        };
        let (tag, expires_ms, extra) = (self.tag(), self.expires_ms(), self.extra());
        Detached { payload, tag, expires_ms, extra, access: None }
    }

    /// What the protocol said of the value.
    #[inline(always)]
    pub fn tag(self) -> u8 {
        self.header.tag()
    }

    /// When it expires, in milliseconds since the Unix epoch; zero for never.
    #[inline(always)]
    pub fn expires_ms(self) -> u64 {
        if !self.header.expires() {
            return 0;
        }
        let bytes = self.place.bytes(self.header.expiry_at(), EXPIRY_BYTES);
        u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
    }

    /// The extra words, if it was written with some.
    #[inline(always)]
    pub fn extra(self) -> Option<Extra> {
        self.header.has_extra().then(|| self.place.extra())
    }

    /// Writes the extra words of a record that has some; on another does nothing. It is no change of
    /// the key: whoever watches it isn't told.
    #[inline(always)]
    pub fn set_extra(self, extra: Extra) {
        if self.header.has_extra() {
            self.place.set_extra(extra);
        }
    }

    /// Whether its time is over.
    #[inline(always)]
    pub fn is_expired(self, now_ms: u64) -> bool {
        self.header.expires() && now_ms > self.expires_ms()
    }

    #[inline(always)]
    pub(crate) fn set_access(self, access: u32) {
        self.place.set_access(access);
    }

    /// What eviction remembers of its use.
    #[inline(always)]
    pub(crate) fn access(self) -> u32 {
        self.header.access()
    }

    /// Bytes of memory that it takes, its share of the index included.
    pub fn memory(self) -> usize {
        let inside = self.heap.room(self.id) + crate::index::SHARE_BYTES;
        let key = if self.header.key_is_outside() { self.key().len() } else { 0 };
        let value = match self.header.value_is_outside() {
            true => self.outside.memory_of(number(self.value_bytes())),
            false => 0,
        };
        inside + key + value
    }
}

#[inline]
fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}

/// What is written as a record.
pub(crate) struct Draft<'a> {
    key: &'a [u8],
    key_outside: Option<u32>,
    value: &'a [u8],
    value_outside: Option<u32>,
    meta: Meta,
}

/// What is kept of a value beside it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub(crate) tag: u8,
    /// Zero for never.
    pub(crate) expires_ms: u64,
    pub(crate) extra: Option<Extra>,
}

/// Whether a value of `len` bytes lies in the record of a key of `key_len` bytes.
#[inline(always)]
pub(crate) fn fits_inside(key_len: usize, len: usize, has_extra: bool) -> bool {
    let key_len = if key_len > LONGEST_KEY { NUMBER_BYTES } else { key_len };
    let extra = if has_extra { EXTRA_BYTES } else { 0 };
    HEADER_BYTES + extra + EXPIRY_BYTES + key_len + len <= LONGEST
}

/// Whether a key of so many bytes lies in its record.
#[inline(always)]
pub(crate) fn key_fits_inside(len: usize) -> bool {
    len <= LONGEST_KEY
}

impl<'a> Draft<'a> {
    /// With a key and a value that [`fits_inside`].
    #[inline(always)]
    pub(crate) fn new(key: &'a [u8], value: &'a [u8], meta: Meta) -> Self {
        Draft { key, key_outside: None, value, value_outside: None, meta }
    }

    /// With a value that is outside.
    pub(crate) fn outside(key: &'a [u8], value: u32, meta: Meta) -> Self {
        Draft { value_outside: Some(value), ..Draft::new(key, b"", meta) }
    }

    /// With a key that is outside.
    pub(crate) fn with_key_outside(self, key: u32) -> Self {
        Draft { key: b"", key_outside: Some(key), ..self }
    }

    #[inline(always)]
    fn key_len(&self) -> usize {
        if self.key_outside.is_some() { NUMBER_BYTES } else { self.key.len() }
    }

    #[inline(always)]
    fn value_len(&self) -> usize {
        if self.value_outside.is_some() { NUMBER_BYTES } else { self.value.len() }
    }

    /// Bytes of the record.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        let expiry = if self.meta.expires_ms == 0 { 0 } else { EXPIRY_BYTES };
        let extra = if self.meta.extra.is_none() { 0 } else { EXTRA_BYTES };
        HEADER_BYTES + extra + expiry + self.key_len() + self.value_len()
    }

    /// Writes it to a place that has room for it.
    #[inline(always)]
    pub(crate) fn write(&self, heap: &mut Heap, id: RecordId, access: u32) {
        let mut flags = 0;
        let mut at = HEADER_BYTES;
        let Meta { tag, expires_ms, extra } = self.meta;
        if let Some(extra) = extra {
            flags |= HAS_EXTRA;
            heap.expect(EXTRA_BYTES);
            heap.place_of(id).set_extra(extra);
            at += EXTRA_BYTES;
        }
        if expires_ms != 0 {
            flags |= EXPIRES;
            heap.bytes_mut(id, at, EXPIRY_BYTES).copy_from_slice(&expires_ms.to_le_bytes());
            at += EXPIRY_BYTES;
        }
        let key_len = self.key_len();
        match self.key_outside {
            None => heap.bytes_mut(id, at, key_len).copy_from_slice(self.key),
            Some(number) => {
                flags |= KEY_OUTSIDE;
                heap.bytes_mut(id, at, key_len).copy_from_slice(&number.to_le_bytes());
            }
        }
        at += key_len;
        let value_len = self.value_len();
        match self.value_outside {
            None => heap.bytes_mut(id, at, value_len).copy_from_slice(self.value),
            Some(number) => {
                flags |= VALUE_OUTSIDE;
                heap.bytes_mut(id, at, value_len).copy_from_slice(&number.to_le_bytes());
            }
        }
        let header = flags
            | u64::from(tag) << TAG_SHIFT
            | (key_len as u64) << KEY_SHIFT
            | (value_len as u64) << VALUE_SHIFT
            | u64::from(access) << ACCESS_SHIFT;
        heap.set_header(id, header);
    }
}

/// The numbers of what a record keeps outside: its key's and its value's.
pub(crate) fn outside_numbers(heap: &Heap, id: RecordId) -> (Option<u32>, Option<u32>) {
    let header = Header(heap.header(id));
    let key =
        header.key_is_outside().then(|| number(heap.bytes(id, header.key_at(), header.key_len())));
    let value = header
        .value_is_outside()
        .then(|| number(heap.bytes(id, header.value_at(), header.value_len())));
    (key, value)
}

/// Overwrites the value of a record whose key, expiry and room stay, with one that fits and lies in
/// the record like the old one.
#[inline(always)]
pub(crate) fn overwrite(heap: &mut Heap, id: RecordId, value: &[u8], tag: u8, access: u32) {
    let header = Header(heap.header(id));
    debug_assert!(!header.value_is_outside());
    heap.bytes_mut(id, header.value_at(), value.len()).copy_from_slice(value);
    let kept = header.0 & ((1 << TAG_SHIFT) - 1) | (header.key_len() as u64) << KEY_SHIFT;
    let header = kept
        | u64::from(tag) << TAG_SHIFT
        | (value.len() as u64) << VALUE_SHIFT
        | u64::from(access) << ACCESS_SHIFT;
    heap.set_header(id, header);
}

/// The value of a record that lies in it, to be changed.
pub(crate) fn value_mut(heap: &mut Heap, id: RecordId) -> &mut [u8] {
    let header = Header(heap.header(id));
    debug_assert!(!header.value_is_outside());
    heap.bytes_mut(id, header.value_at(), header.value_len())
}

/// Writes the expiry of a record that has one.
pub(crate) fn set_expiry(heap: &mut Heap, id: RecordId, expires_ms: u64) {
    let header = Header(heap.header(id));
    debug_assert!(header.expires());
    let expiry = heap.bytes_mut(id, header.expiry_at(), EXPIRY_BYTES);
    expiry.copy_from_slice(&expires_ms.to_le_bytes());
}

/// Writes a record's tag.
pub(crate) fn set_tag(heap: &mut Heap, id: RecordId, tag: u8) {
    let header = heap.header(id) & !(((1 << TAG_BITS) - 1) << TAG_SHIFT);
    heap.set_header(id, header | u64::from(tag) << TAG_SHIFT);
}
