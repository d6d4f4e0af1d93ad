//! What a handler may return over this wire.
//!
//! Bytes and text are bulk strings, integers and plain `bool`s integers, `Option` is a value or
//! null, `()` is OK, `Vec`, slices, arrays and tuples are lists. What differs between dialects, or
//! has no Rust type of its own, has a type here.

use std::borrow::Cow;

use kevy_rt::{Encode, Reply, Shared, Value};

use crate::{Resp, Writer, writer};

/// A short text without line breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub &'static str);

impl Status {
    /// It was done.
    pub const OK: Status = Status("OK");
    /// It will be run with its transaction.
    pub const QUEUED: Status = Status("QUEUED");
    /// The answer to a ping.
    pub const PONG: Status = Status("PONG");
    /// The connection is as if new.
    pub const RESET: Status = Status("RESET");
    /// What a key that is not there is.
    pub const NONE: Status = Status("none");
}

/// A short text without line breaks that was made at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedStatus(pub String);

/// No value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Null;

/// No list: null in RESP3, a list of its own kind in RESP2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NilArray;

/// True or false in RESP3, one or zero in RESP2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bool(pub bool);

/// A double in RESP3, its text in RESP2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Double(pub f64);

/// An integer of any size, in decimal; its text in RESP2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BigNumber(pub Cow<'static, str>);

/// A text with its format (`txt`, `mkd`) in RESP3, the text alone in RESP2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verbatim<T>(pub &'static str, pub T);

/// Keys with their values: a map in RESP3, a flat list in RESP2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map<K, V>(pub Vec<(K, V)>);

/// Elements without order: a set in RESP3, a list in RESP2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set<T>(pub Vec<T>);

/// What the client didn't ask for: a push in RESP3, a list in RESP2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push<T>(pub Vec<T>);

/// Implements `Encode<Resp>` by one call of the writer.
macro_rules! encode {
    ($($kind:ty: |$value:ident, $reply:ident| $body:expr;)*) => { $(
        impl Encode<Resp> for $kind {
            #[inline]
            fn encode(self, $reply: &mut Reply<'_, Resp>) {
                let $value = self;
                $body
            }
        }
    )* };
}

encode! {
    (): |_ok, reply| reply.out().extend(b"+OK\r\n");
    Status: |text, reply| reply.status(text.0);
    OwnedStatus: |text, reply| reply.status(&text.0);
    Null: |_null, reply| reply.null();
    NilArray: |_null, reply| reply.null_array();
    bool: |value, reply| reply.out().extend(if value { b":1\r\n" } else { b":0\r\n" });
    Bool: |value, reply| reply.boolean(value.0);
    i32: |number, reply| reply.integer(i64::from(number));
    i64: |number, reply| reply.integer(number);
    u16: |number, reply| writer::unsigned(reply, u64::from(number));
    u32: |number, reply| writer::unsigned(reply, u64::from(number));
    u64: |number, reply| writer::unsigned(reply, number);
    usize: |number, reply| writer::unsigned(reply, number as u64);
    Double: |number, reply| reply.double(number.0);
    BigNumber: |number, reply| reply.big_number(&number.0);
    &[u8]: |bytes, reply| reply.bulk(bytes);
    Vec<u8>: |bytes, reply| reply.bulk(&bytes);
    &Vec<u8>: |bytes, reply| reply.bulk(bytes);
    Box<[u8]>: |bytes, reply| reply.bulk(&bytes);
    Cow<'_, [u8]>: |bytes, reply| reply.bulk(&bytes);
    &str: |text, reply| reply.bulk(text.as_bytes());
    String: |text, reply| reply.bulk(text.as_bytes());
    &String: |text, reply| reply.bulk(text.as_bytes());
    Cow<'_, str>: |text, reply| reply.bulk(text.as_bytes());
    Value<'_>: |value, reply| reply.value(value);
    Shared: |shared, reply| reply.value(Value::Shared(&shared));
    &Shared: |shared, reply| reply.value(Value::Shared(shared));
}

impl<const N: usize> Encode<Resp> for &[u8; N] {
    #[inline]
    fn encode(self, reply: &mut Reply<'_, Resp>) {
        reply.bulk(self);
    }
}

impl<T: AsRef<[u8]>> Encode<Resp> for Verbatim<T> {
    fn encode(self, reply: &mut Reply<'_, Resp>) {
        reply.verbatim(self.0, self.1.as_ref());
    }
}

impl<T: Encode<Resp>> Encode<Resp> for Option<T> {
    #[inline]
    fn encode(self, reply: &mut Reply<'_, Resp>) {
        match self {
            Some(value) => value.encode(reply),
            None => reply.null(),
        }
    }
}

impl<T: Encode<Resp>, E: Encode<Resp>> Encode<Resp> for Result<T, E> {
    #[inline]
    fn encode(self, reply: &mut Reply<'_, Resp>) {
        match self {
            Ok(value) => value.encode(reply),
            Err(error) => error.encode(reply),
        }
    }
}

fn elements<T: Encode<Resp>>(elements: impl IntoIterator<Item = T>, reply: &mut Reply<'_, Resp>) {
    for element in elements {
        element.encode(reply);
    }
}

impl<T: Encode<Resp>> Encode<Resp> for Vec<T> {
    fn encode(self, reply: &mut Reply<'_, Resp>) {
        reply.array(self.len());
        elements(self, reply);
    }
}

impl<T: Encode<Resp> + Copy> Encode<Resp> for &[T] {
    fn encode(self, reply: &mut Reply<'_, Resp>) {
        reply.array(self.len());
        elements(self.iter().copied(), reply);
    }
}

impl<T: Encode<Resp>, const N: usize> Encode<Resp> for [T; N] {
    fn encode(self, reply: &mut Reply<'_, Resp>) {
        reply.array(N);
        elements(self, reply);
    }
}

impl<K: Encode<Resp>, V: Encode<Resp>> Encode<Resp> for Map<K, V> {
    fn encode(self, reply: &mut Reply<'_, Resp>) {
        reply.map(self.0.len());
        for (key, value) in self.0 {
            key.encode(reply);
            value.encode(reply);
        }
    }
}

impl<T: Encode<Resp>> Encode<Resp> for Set<T> {
    fn encode(self, reply: &mut Reply<'_, Resp>) {
        reply.set(self.0.len());
        elements(self.0, reply);
    }
}

impl<T: Encode<Resp>> Encode<Resp> for Push<T> {
    fn encode(self, reply: &mut Reply<'_, Resp>) {
        reply.push(self.0.len());
        elements(self.0, reply);
    }
}

macro_rules! tuple {
    ($len:literal: $($kind:ident $element:ident)*) => {
        impl<$($kind: Encode<Resp>),*> Encode<Resp> for ($($kind,)*) {
            #[inline]
            fn encode(self, reply: &mut Reply<'_, Resp>) {
                let ($($element,)*) = self;
                reply.array($len);
                $($element.encode(reply);)*
            }
        }
    };
}
tuple!(1: A a);
tuple!(2: A a B b);
tuple!(3: A a B b C c);
tuple!(4: A a B b C c D d);

#[cfg(test)]
mod tests {
    use kevy_rt::{ATTACH_BYTES, Out};

    use super::*;
    use crate::{Dialect, Error, Frame};

    fn written<T: Encode<Resp>>(value: T, resp3: bool) -> String {
        let mut out = Out::default();
        Reply::in_scope(&mut out, Dialect { db: 0, resp3 }).put(value);
        out.flat().escape_ascii().to_string().replace("\\r\\n", " ")
    }

    /// Checks both dialects.
    fn check<T: Encode<Resp> + Clone>(value: T, resp2: &str, resp3: &str) {
        assert_eq!(written(value.clone(), false), resp2);
        assert_eq!(written(value, true), resp3);
    }

    /// Checks a value that is the same in both dialects.
    fn check_same<T: Encode<Resp> + Clone>(value: T, both: &str) {
        check(value, both, both);
    }

    #[test]
    fn what_is_the_same_in_both_dialects() {
        check_same((), "+OK ");
        check_same(Status::PONG, "+PONG ");
        check_same(OwnedStatus("string".to_owned()), "+string ");
        check_same(true, ":1 ");
        check_same(false, ":0 ");
        check_same(0_i64, ":0 ");
        check_same(-7_i32, ":-7 ");
        check_same(i64::MIN, ":-9223372036854775808 ");
        check_same(i64::MAX, ":9223372036854775807 ");
        check_same(u64::MAX, ":18446744073709551615 ");
        check_same(99_usize, ":99 ");
        check_same(100_u32, ":100 ");
        check_same(1000_u32, ":1000 ");
        check_same(&b"a\0b"[..], "$3 a\\x00b ");
        check_same("", "$0  ");
        check_same(vec![b'x'; 12], "$12 xxxxxxxxxxxx ");
        check_same(Some("a"), "$1 a ");
        check_same(vec![1_i64, 2], "*2 :1 :2 ");
        check_same(&["a", "b"][..], "*2 $1 a $1 b ");
        check_same([Ok(1_i64), Err(Error::SYNTAX)], "*2 :1 -ERR syntax error ");
        check_same((1_i64, "a", [2_i64; 0]), "*3 :1 $1 a *0 ");
    }

    #[test]
    fn what_each_dialect_writes_in_its_way() {
        check(None::<i64>, "$-1 ", "_ ");
        check(Null, "$-1 ", "_ ");
        check(NilArray, "*-1 ", "_ ");
        check(Bool(true), ":1 ", "#t ");
        check(Bool(false), ":0 ", "#f ");
        check(Double(0.5), "$3 0.5 ", ",0.5 ");
        check(Double(f64::NEG_INFINITY), "$4 -inf ", ",-inf ");
        check(BigNumber("123".into()), "$3 123 ", "(123 ");
        check(Verbatim("txt", "abc"), "$3 abc ", "=7 txt:abc ");
        check(Map(vec![("a", 1_i64), ("b", 2)]), "*4 $1 a :1 $1 b :2 ", "%2 $1 a :1 $1 b :2 ");
        check(Set(vec!["a"]), "*1 $1 a ", "~1 $1 a ");
        check(Push(vec!["a"]), "*1 $1 a ", ">1 $1 a ");
        let frame = Frame::map([("a", Frame::set([1_i64])), ("b", Frame::from(None::<i64>))]);
        check(frame, "*4 $1 a *1 :1 $1 b $-1 ", "%2 $1 a ~1 :1 $1 b _ ");
    }

    #[test]
    fn a_large_value_is_attached() {
        let large = Shared::new(vec![b'x'; ATTACH_BYTES]);
        let mut out = Out::default();
        let mut reply = Reply::in_scope(&mut out, Dialect::default());
        reply.put(Some(Value::Shared(&large)));
        assert_eq!(out.flat(), format!("${ATTACH_BYTES}\r\n\r\n").as_bytes());
        assert_eq!(out.len(), out.flat().len() + ATTACH_BYTES);
    }
}
