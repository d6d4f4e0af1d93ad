//! A reply whose shape is known only at run time.

use std::borrow::Cow;

use kevy_rt::{Encode, Reply};

use crate::{Error, Resp, Writer};

/// Any reply, as a tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// No value.
    Null,
    /// No list.
    NilArray,
    /// A short text without line breaks.
    Status(Cow<'static, str>),
    /// An error.
    Error(Error),
    /// An integer.
    Integer(i64),
    /// True or false; in RESP2 one or zero.
    Bool(bool),
    /// A double; in RESP2 its text.
    Double(f64),
    /// An integer of any size, in decimal; in RESP2 its text.
    BigNumber(Cow<'static, str>),
    /// A string of any bytes.
    Bulk(Cow<'static, [u8]>),
    /// A text with its format, three letters.
    Verbatim(Cow<'static, str>, Cow<'static, str>),
    /// A list.
    Array(Vec<Frame>),
    /// Keys with their values; in RESP2 a flat list.
    Map(Vec<(Frame, Frame)>),
    /// Elements without order; in RESP2 a list.
    Set(Vec<Frame>),
    /// What the client didn't ask for; in RESP2 a list.
    Push(Vec<Frame>),
}

impl Frame {
    /// A string that is known at compile time.
    pub const fn text(text: &'static str) -> Self {
        Frame::Bulk(Cow::Borrowed(text.as_bytes()))
    }

    /// A short text without line breaks that is known at compile time.
    pub const fn status(text: &'static str) -> Self {
        Frame::Status(Cow::Borrowed(text))
    }

    /// A list.
    pub fn array(elements: impl IntoIterator<Item = impl Into<Frame>>) -> Self {
        Frame::Array(elements.into_iter().map(Into::into).collect())
    }

    /// A map.
    pub fn map<K: Into<Frame>, V: Into<Frame>>(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (key.into(), value.into()));
        Frame::Map(entries.collect())
    }

    /// A set.
    pub fn set(elements: impl IntoIterator<Item = impl Into<Frame>>) -> Self {
        Frame::Set(elements.into_iter().map(Into::into).collect())
    }
}

impl From<&'static str> for Frame {
    fn from(text: &'static str) -> Self {
        Frame::text(text)
    }
}

impl From<String> for Frame {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<Vec<u8>> for Frame {
    fn from(bytes: Vec<u8>) -> Self {
        Frame::Bulk(Cow::Owned(bytes))
    }
}

impl From<&[u8]> for Frame {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl From<i64> for Frame {
    fn from(number: i64) -> Self {
        Frame::Integer(number)
    }
}

impl From<Vec<Frame>> for Frame {
    fn from(elements: Vec<Frame>) -> Self {
        Frame::Array(elements)
    }
}

impl From<Error> for Frame {
    fn from(error: Error) -> Self {
        Frame::Error(error)
    }
}

impl<T: Into<Frame>> From<Option<T>> for Frame {
    fn from(value: Option<T>) -> Self {
        value.map_or(Frame::Null, Into::into)
    }
}

impl Encode<Resp> for Frame {
    fn encode(self, reply: &mut Reply<'_, Resp>) {
        (&self).encode(reply);
    }
}

impl Encode<Resp> for &Frame {
    fn encode(self, reply: &mut Reply<'_, Resp>) {
        match self {
            Frame::Null => reply.null(),
            Frame::NilArray => reply.null_array(),
            Frame::Status(text) => reply.status(text),
            Frame::Error(error) => reply.put(error),
            Frame::Integer(number) => reply.integer(*number),
            Frame::Bool(value) => reply.boolean(*value),
            Frame::Double(number) => reply.double(*number),
            Frame::BigNumber(decimal) => reply.big_number(decimal),
            Frame::Bulk(bytes) => reply.bulk(bytes),
            Frame::Verbatim(format, text) => reply.verbatim(format, text.as_bytes()),
            Frame::Array(list) => {
                reply.array(list.len());
                elements(list, reply);
            }
            Frame::Map(entries) => {
                reply.map(entries.len());
                for (key, value) in entries {
                    key.encode(reply);
                    value.encode(reply);
                }
            }
            Frame::Set(set) => {
                reply.set(set.len());
                elements(set, reply);
            }
            Frame::Push(push) => {
                reply.push(push.len());
                elements(push, reply);
            }
        }
    }
}

fn elements(frames: &[Frame], reply: &mut Reply<'_, Resp>) {
    for frame in frames {
        frame.encode(reply);
    }
}
