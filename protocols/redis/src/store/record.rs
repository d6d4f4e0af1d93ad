//! One key with its value and its expiry: 64 bytes, a cache line, with everything in it where key
//! and value are short.
//!
//! ```text
//!          8 bytes   8 bytes              48 bytes
//! Packed   expiry    lengths, form, hash  key, value right behind it
//! Split    expiry    lengths, form, hash  key (24) | handle of the value (24)
//! Loose    expiry    lengths, form, hash  handle of the key | handle of the value
//! ```

use kevy_rt::{Shared, Value};

/// Bytes of key and value together that lie in the record.
const PACKED_BYTES: usize = 48;

/// Bytes of a key that lie in the record when the value doesn't.
const SPLIT_KEY_BYTES: usize = 24;

/// From this many bytes on a value is kept as a counted handle: one that arrives as such is kept
/// without a copy, and replies may send it from where it lies.
///
/// Smaller: counts are paid for what a copy does as fast. Larger: large values are copied.
pub const SHARE_BYTES: usize = 16 * 1024;

/// The longest string that Redis keeps in one allocation with its header: `embstr` up to here.
const EMBEDDED_BYTES: usize = 44;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes.
    String,
}

impl Kind {
    /// As TYPE says it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
        }
    }
}

/// How a string came to be, which decides what OBJECT ENCODING calls it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Set whole: an integer if it reads as one.
    #[default]
    Whole,
    /// Set whole, and text even if it reads as an integer.
    Text,
    /// Changed in place.
    Edited,
}

/// One key with its value and its expiry.
#[derive(Debug)]
#[repr(align(64))]
pub struct Record {
    /// In milliseconds since the Unix epoch; zero for never.
    expires_ms: u64,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Packed { form: Form, key_len: u8, value_len: u8, hash: u32, bytes: [u8; PACKED_BYTES] },
    Split { form: Form, key_len: u8, hash: u32, key: [u8; SPLIT_KEY_BYTES], value: Payload },
    Loose { form: Form, hash: u32, key: Box<[u8]>, value: Payload },
    Vacant { next: u32 },
}

/// A value that doesn't lie in its record. Types other than strings get their place here.
#[derive(Debug)]
enum Payload {
    /// Fewer than [`SHARE_BYTES`] of them.
    Bytes(Vec<u8>),
    /// The others.
    Shared(Shared),
}

const _: () = assert!(size_of::<Record>() == 64);

impl Payload {
    fn new(value: Value<'_>) -> Self {
        match value {
            Value::Shared(shared) if shared.len() >= SHARE_BYTES => Payload::Shared(shared.clone()),
            value => Payload::from_vec(value.bytes().to_vec()),
        }
    }

    fn from_vec(bytes: Vec<u8>) -> Self {
        if bytes.len() < SHARE_BYTES {
            Payload::Bytes(bytes)
        } else {
            Payload::Shared(Shared::new(bytes))
        }
    }

    #[inline]
    fn value(&self) -> Value<'_> {
        match self {
            Payload::Bytes(bytes) => Value::Slice(bytes),
            Payload::Shared(shared) => Value::Shared(shared),
        }
    }

    /// Puts another value in its place, in its allocation if that is neither too small nor more
    /// than twice as large.
    fn set(&mut self, value: Value<'_>) {
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

    /// The bytes, to be changed, with zeros appended up to `len`. Who still reads them keeps them
    /// as they are.
    fn edit(&mut self, len: usize) -> &mut [u8] {
        let mut bytes = match self {
            Payload::Bytes(bytes) => std::mem::take(bytes),
            Payload::Shared(shared) => match shared.get_mut() {
                Some(bytes) => std::mem::take(bytes),
                None => padded(shared, len),
            },
        };
        if bytes.len() < len {
            bytes.resize(len, 0);
        }
        *self = Payload::from_vec(bytes);
        match self {
            Payload::Bytes(bytes) => bytes,
            Payload::Shared(shared) => shared.get_mut().expect("made just now, nobody else has it"),
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Payload::Bytes(bytes) => bytes.capacity(),
            Payload::Shared(shared) => shared.len(),
        }
    }
}

/// A copy of `bytes` with zeros appended up to `len`.
fn padded(bytes: &[u8], len: usize) -> Vec<u8> {
    let mut copy = Vec::with_capacity(bytes.len().max(len));
    copy.extend_from_slice(bytes);
    copy.resize(bytes.len().max(len), 0);
    copy
}

impl Record {
    /// A record without expiry; `hash` is the part of the key's hash that the index places it by.
    #[inline]
    pub fn new(hash: u32, key: &[u8], value: Value<'_>, form: Form) -> Self {
        Record { expires_ms: 0, body: Body::new(hash, key, value, form) }
    }

    /// A place for a record, linked to the next such place.
    pub(super) fn vacant(next: u32) -> Self {
        Record { expires_ms: 0, body: Body::Vacant { next } }
    }

    /// The link of a vacant place; `None` if there is a key here.
    #[inline]
    pub(super) fn next_vacant(&self) -> Option<u32> {
        match self.body {
            Body::Vacant { next } => Some(next),
            _ => None,
        }
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        match &self.body {
            Body::Packed { key_len, bytes, .. } => &bytes[..usize::from(*key_len)],
            Body::Split { key_len, key, .. } => &key[..usize::from(*key_len)],
            Body::Loose { key, .. } => key,
            Body::Vacant { .. } => unreachable!("the index leads to no vacant place"),
        }
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> Value<'_> {
        match &self.body {
            Body::Packed { key_len, value_len, bytes, .. } => {
                let start = usize::from(*key_len);
                Value::Slice(&bytes[start..start + usize::from(*value_len)])
            }
            Body::Split { value, .. } | Body::Loose { value, .. } => value.value(),
            Body::Vacant { .. } => unreachable!("the index leads to no vacant place"),
        }
    }

    /// The type of the value.
    pub fn kind(&self) -> Kind {
        Kind::String
    }

    /// What Redis would keep the value as.
    pub fn encoding(&self) -> &'static str {
        let bytes = self.value().bytes();
        match self.form() {
            Form::Whole if integer(bytes).is_some() => "int",
            Form::Whole | Form::Text if bytes.len() <= EMBEDDED_BYTES => "embstr",
            _ => "raw",
        }
    }

    fn form(&self) -> Form {
        match self.body {
            Body::Packed { form, .. } | Body::Split { form, .. } | Body::Loose { form, .. } => form,
            Body::Vacant { .. } => unreachable!("the index leads to no vacant place"),
        }
    }

    /// The part of the key's hash that the index places it by.
    #[inline]
    pub(super) fn hash(&self) -> u32 {
        match self.body {
            Body::Packed { hash, .. } | Body::Split { hash, .. } | Body::Loose { hash, .. } => hash,
            Body::Vacant { .. } => unreachable!("the index leads to no vacant place"),
        }
    }

    /// Puts another value in its place, where the old one lies if it fits there.
    #[inline]
    pub(super) fn set_value(&mut self, new: Value<'_>, new_form: Form) {
        let fits = self.key().len() + new.len() <= PACKED_BYTES;
        match &mut self.body {
            Body::Packed { form, key_len, value_len, bytes, .. } if fits => {
                let start = usize::from(*key_len);
                bytes[start..start + new.len()].copy_from_slice(new.bytes());
                (*form, *value_len) = (new_form, new.len() as u8);
            }
            Body::Split { form, value, .. } | Body::Loose { form, value, .. } if !fits => {
                *form = new_form;
                value.set(new);
            }
            _ => self.body = Body::new(self.hash(), self.key(), new, new_form),
        }
    }

    /// The value's bytes, to be changed, with zeros appended up to `len`.
    pub(super) fn edit(&mut self, len: usize) -> &mut [u8] {
        let fits = self.key().len() + len <= PACKED_BYTES;
        if matches!(self.body, Body::Packed { .. }) && !fits {
            let value = padded(self.value().bytes(), len);
            self.body =
                Body::outside(self.hash(), self.key(), Payload::from_vec(value), Form::Edited);
        }
        match &mut self.body {
            Body::Packed { form, key_len, value_len, bytes, .. } => {
                let (start, old) = (usize::from(*key_len), usize::from(*value_len));
                let len = len.max(old);
                bytes[start + old..start + len].fill(0);
                (*form, *value_len) = (Form::Edited, len as u8);
                &mut bytes[start..start + len]
            }
            Body::Split { form, value, .. } | Body::Loose { form, value, .. } => {
                *form = Form::Edited;
                value.edit(len)
            }
            Body::Vacant { .. } => unreachable!("the index leads to no vacant place"),
        }
    }

    /// When it expires, in milliseconds since the Unix epoch; zero for never.
    #[inline]
    pub fn expires_ms(&self) -> u64 {
        self.expires_ms
    }

    /// [`Records`](super::records::Records) keeps account of it, so only it sets it.
    #[inline]
    pub(super) fn set_expires_ms(&mut self, expires_ms: u64) {
        self.expires_ms = expires_ms;
    }

    /// Whether its time is over.
    #[inline]
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms != 0 && now_ms > self.expires_ms
    }

    /// Bytes that it takes beside its own 64.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        match &self.body {
            Body::Packed { .. } | Body::Vacant { .. } => 0,
            Body::Split { value, .. } => value.heap_bytes(),
            Body::Loose { key, value, .. } => key.len() + value.heap_bytes(),
        }
    }
}

impl Body {
    #[inline]
    fn new(hash: u32, key: &[u8], value: Value<'_>, form: Form) -> Self {
        let (key_len, len) = (key.len(), value.len());
        if key_len + len > PACKED_BYTES {
            return Body::outside(hash, key, Payload::new(value), form);
        }
        let mut bytes = [0; PACKED_BYTES];
        bytes[..key_len].copy_from_slice(key);
        bytes[key_len..key_len + len].copy_from_slice(value.bytes());
        Body::Packed { form, key_len: key_len as u8, value_len: len as u8, hash, bytes }
    }

    fn outside(hash: u32, key: &[u8], value: Payload, form: Form) -> Self {
        if key.len() > SPLIT_KEY_BYTES {
            return Body::Loose { form, hash, key: key.into(), value };
        }
        let mut bytes = [0; SPLIT_KEY_BYTES];
        bytes[..key.len()].copy_from_slice(key);
        Body::Split { form, key_len: key.len() as u8, hash, key: bytes, value }
    }
}

/// The number that `bytes` are the one canonical form of.
#[inline]
pub fn integer(bytes: &[u8]) -> Option<i64> {
    kevy_rt::parse_integer(bytes).and_then(|number| i64::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &[u8], value: &[u8]) -> Record {
        Record::new(7, key, Value::Slice(value), Form::Whole)
    }

    #[test]
    fn keys_and_values_of_every_length_are_kept() {
        for key_len in [0, 1, 16, 24, 25, 48, 49, 300] {
            for len in [0, 1, 16, 23, 24, 32, 48, 49, 1000, SHARE_BYTES - 1, SHARE_BYTES] {
                let (key, value) = (vec![b'k'; key_len], vec![b'v'; len]);
                let record = record(&key, &value);
                assert_eq!((record.key(), record.value().bytes()), (&key[..], &value[..]));
                assert_eq!(record.hash(), 7);
                assert_eq!(matches!(record.value(), Value::Shared(_)), len >= SHARE_BYTES);
            }
        }
    }

    #[test]
    fn values_of_every_length_replace_one_another() {
        let lens = [0, 16, 40, 100, 150, 5000, SHARE_BYTES, 100_000, 30, 0];
        for key_len in [3, 30, 60] {
            let key = vec![b'k'; key_len];
            for from in lens {
                for to in lens {
                    let mut record = record(&key, &vec![b'a'; from]);
                    record.set_value(Value::Slice(&vec![b'b'; to]), Form::Whole);
                    assert_eq!(record.value().bytes(), vec![b'b'; to]);
                    assert_eq!((record.key(), record.hash()), (&key[..], 7));
                }
            }
        }
    }

    #[test]
    fn an_edit_appends_zeros() {
        for key_len in [3, 30, 60] {
            let mut record = record(&vec![b'k'; key_len], b"ab");
            let mut expected = b"ab".to_vec();
            for len in [1, 2, 10, 44, 46, 100, 5000, SHARE_BYTES, SHARE_BYTES + 1, 50_000, 10] {
                expected.resize(expected.len().max(len), 0);
                assert_eq!(record.edit(len), expected);
                *record.edit(len).last_mut().unwrap() = b'x';
                *expected.last_mut().unwrap() = b'x';
                assert_eq!(record.value().bytes(), expected);
                assert_eq!(record.key().len(), key_len);
            }
        }
    }

    #[test]
    fn a_large_handle_is_kept_without_a_copy() {
        let large = Shared::new(vec![b'x'; SHARE_BYTES]);
        let record = Record::new(0, b"key", Value::Shared(&large), Form::Whole);
        assert_eq!(record.value().bytes().as_ptr(), large.as_ptr());
        assert_eq!(record.heap_bytes(), SHARE_BYTES);
    }

    #[test]
    fn an_edit_leaves_readers_their_bytes() {
        let mut record = record(b"key", &vec![b'x'; SHARE_BYTES]);
        let Value::Shared(reader) = record.value() else { panic!("a large value is shared") };
        let reader = reader.clone();
        record.edit(0)[0] = b'y';
        assert_eq!((reader[0], record.value().bytes()[0]), (b'x', b'y'));

        // Without a reader the bytes stay where they are.
        let place = record.value().bytes().as_ptr();
        record.edit(0)[0] = b'z';
        assert_eq!(record.value().bytes().as_ptr(), place);
    }

    #[test]
    fn encodings_are_those_of_redis() {
        let encoding =
            |value: &[u8], form| Record::new(0, b"k", Value::Slice(value), form).encoding();
        assert_eq!(encoding(b"12", Form::Whole), "int");
        assert_eq!(encoding(b"9223372036854775807", Form::Whole), "int");
        assert_eq!(encoding(b"9223372036854775808", Form::Whole), "embstr");
        assert_eq!(encoding(b"012", Form::Whole), "embstr");
        assert_eq!(encoding(&[b'x'; 44], Form::Whole), "embstr");
        assert_eq!(encoding(&[b'x'; 45], Form::Whole), "raw");
        assert_eq!(encoding(b"12", Form::Text), "embstr");
        assert_eq!(encoding(b"12", Form::Edited), "raw");
    }
}
