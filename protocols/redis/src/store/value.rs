//! What a value is to Redis: its type, and what OBJECT ENCODING calls it.

use kevy_keyspace::NoObject;

/// A value that isn't a string. There is none yet.
pub type Object = NoObject;

/// A key with its value and its expiry.
pub type Record<'a> = kevy_keyspace::Record<'a, Object>;

/// The longest string that Redis keeps in one allocation with its header: `embstr` up to here.
const EMBEDDED_BYTES: usize = 44;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes.
    String,
}

impl Kind {
    /// That of a record's value.
    pub fn of(_record: Record<'_>) -> Self {
        Kind::String
    }

    /// As TYPE says it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
        }
    }
}

/// How a string came to be, which decides what OBJECT ENCODING calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// Set whole: an integer if it reads as one.
    Whole,
    /// Set whole, and text even if it reads as an integer.
    Text,
    /// Changed in place.
    Edited,
}

impl Form {
    /// What the record of such a string remembers.
    pub const fn tag(self) -> u8 {
        self as u8
    }
}

/// What Redis would keep a record's value as.
pub fn encoding(record: Record<'_>) -> &'static str {
    let bytes = record.value().bytes();
    let is_whole = record.tag() == Form::Whole.tag();
    if is_whole && integer(bytes).is_some() {
        "int"
    } else if record.tag() != Form::Edited.tag() && bytes.len() <= EMBEDDED_BYTES {
        "embstr"
    } else {
        "raw"
    }
}

/// The number that `bytes` are the one canonical form of.
#[inline]
pub fn integer(bytes: &[u8]) -> Option<i64> {
    kevy_rt::parse_integer(bytes).and_then(|number| i64::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use kevy_keyspace::Expiry;
    use kevy_rt::{KeyHasher, Value};

    use super::*;
    use crate::store::Keyspace;
    use crate::testing::key;

    #[test]
    fn encodings_are_those_of_redis() {
        let mut keyspace = Keyspace::new(1, &KeyHasher::seeded(1));
        let db = &mut keyspace.dbs[0];
        let mut encoding_of = |value: &[u8], form: Form| {
            db.set(key("k"), Value::Slice(value), form.tag(), Expiry::Never);
            encoding(db.find(key("k")).expect("it was set"))
        };
        assert_eq!(encoding_of(b"12", Form::Whole), "int");
        assert_eq!(encoding_of(b"9223372036854775807", Form::Whole), "int");
        assert_eq!(encoding_of(b"9223372036854775808", Form::Whole), "embstr");
        assert_eq!(encoding_of(b"012", Form::Whole), "embstr");
        assert_eq!(encoding_of(&[b'x'; 44], Form::Whole), "embstr");
        assert_eq!(encoding_of(&[b'x'; 45], Form::Whole), "raw");
        assert_eq!(encoding_of(b"12", Form::Text), "embstr");
        assert_eq!(encoding_of(b"12", Form::Edited), "raw");
    }
}
