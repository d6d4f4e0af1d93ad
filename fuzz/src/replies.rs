//! Any reply, written in both dialects: what a client reads is one reply, and in RESP3 the same.

use std::borrow::Cow;

use kevy_resp::{Dialect, Error, Frame, Resp};
use kevy_rt::{Out, Reply};

/// Lists deeper than this aren't made.
const DEEPEST: usize = 6;

/// Makes a reply of any bytes and checks how it is written.
pub(crate) fn check(bytes: &[u8]) {
    let frame = make(&mut bytes.iter().copied(), DEEPEST);
    read(&encode(&frame, false));
    assert_eq!(read(&encode(&frame, true)), as_read(frame));
}

/// The bytes of `frame`.
pub(crate) fn encode(frame: &Frame, resp3: bool) -> Vec<u8> {
    let mut out = Out::default();
    Reply::<Resp>::in_scope(&mut out, Dialect { db: 0, resp3 }).put(frame);
    out.flat().to_vec()
}

/// A reply that `bytes` decide about.
fn make(bytes: &mut impl Iterator<Item = u8>, depth: usize) -> Frame {
    let kind = bytes.next().unwrap_or_default() % 14;
    match kind {
        0 => Frame::Null,
        1 => Frame::NilArray,
        2 => Frame::Status(Cow::Owned(text(bytes).replace(['\r', '\n'], ""))),
        3 => Frame::Error(Error::text(text(bytes))),
        4 => Frame::Integer(word(bytes) as i64),
        5 => Frame::Bool(bytes.next().is_some_and(|byte| byte & 1 == 1)),
        6 => Frame::Double(f64::from_bits(word(bytes))),
        7 => Frame::BigNumber(Cow::Owned(word(bytes).to_string())),
        8 => Frame::Bulk(Cow::Owned(some(bytes))),
        9 => Frame::Verbatim("txt".into(), Cow::Owned(text(bytes))),
        _ if depth == 0 => Frame::Null,
        10 => Frame::Array(list(bytes, depth)),
        11 => Frame::Set(list(bytes, depth)),
        12 => Frame::Push(list(bytes, depth)),
        _ => {
            let keys = list(bytes, depth);
            Frame::Map(keys.into_iter().map(|key| (key, make(bytes, depth - 1))).collect())
        }
    }
}

fn list(bytes: &mut impl Iterator<Item = u8>, depth: usize) -> Vec<Frame> {
    let len = bytes.next().unwrap_or_default() % 12;
    (0..len).map(|_| make(bytes, depth - 1)).collect()
}

fn some(bytes: &mut impl Iterator<Item = u8>) -> Vec<u8> {
    let len = bytes.next().unwrap_or_default();
    bytes.take(len.into()).collect()
}

fn text(bytes: &mut impl Iterator<Item = u8>) -> String {
    String::from_utf8_lossy(&some(bytes)).into_owned()
}

fn word(bytes: &mut impl Iterator<Item = u8>) -> u64 {
    let len = bytes.next().unwrap_or_default() % 9;
    bytes.take(len.into()).fold(0, |word, byte| word << 8 | u64::from(byte))
}

/// What a client of RESP3 can know of `frame`.
fn as_read(frame: Frame) -> Frame {
    match frame {
        Frame::NilArray => Frame::Null,
        Frame::Error(error) => {
            let text = String::from_utf8_lossy(error.as_bytes()).replace(['\r', '\n'], " ");
            Frame::Error(Error::text(text))
        }
        // Not equal to itself otherwise.
        Frame::Double(number) if number.is_nan() => Frame::Double(0.0),
        Frame::Array(list) => Frame::Array(list.into_iter().map(as_read).collect()),
        Frame::Set(set) => Frame::Set(set.into_iter().map(as_read).collect()),
        Frame::Push(push) => Frame::Push(push.into_iter().map(as_read).collect()),
        Frame::Map(entries) => {
            let entries = entries.into_iter().map(|(key, value)| (as_read(key), as_read(value)));
            Frame::Map(entries.collect())
        }
        other => other,
    }
}

/// Reads `bytes` as exactly one reply.
///
/// # Panics
/// They aren't.
fn read(bytes: &[u8]) -> Frame {
    let mut rest = bytes;
    let frame = read_next(&mut rest);
    assert!(rest.is_empty(), "bytes behind a reply");
    frame
}

fn read_next(rest: &mut &[u8]) -> Frame {
    let end = rest.windows(2).position(|pair| pair == b"\r\n").expect("a line end");
    let line = std::str::from_utf8(&rest[1..end]).expect("a text");
    let tag = rest[0];
    *rest = &rest[end + 2..];
    match tag {
        b'_' if line.is_empty() => Frame::Null,
        b'$' | b'*' if line == "-1" => Frame::Null,
        b'+' => Frame::Status(Cow::Owned(line.to_owned())),
        b'-' => Frame::Error(Error::text(line.to_owned())),
        b':' => Frame::Integer(line.parse().expect("an integer")),
        b'#' => Frame::Bool(line == "t"),
        b',' if line == "nan" => Frame::Double(0.0),
        b',' => Frame::Double(line.parse().expect("a double")),
        b'(' => Frame::BigNumber(Cow::Owned(line.to_owned())),
        b'$' => Frame::Bulk(Cow::Owned(body(rest, line))),
        b'=' => {
            let text = String::from_utf8(body(rest, line)).expect("a text");
            Frame::Verbatim(
                "txt".into(),
                Cow::Owned(text.strip_prefix("txt:").expect("it").to_owned()),
            )
        }
        b'*' => Frame::Array(elements(rest, line)),
        b'~' => Frame::Set(elements(rest, line)),
        b'>' => Frame::Push(elements(rest, line)),
        b'%' => {
            let len: usize = line.parse().expect("a length");
            Frame::Map((0..len).map(|_| (read_next(rest), read_next(rest))).collect())
        }
        _ => panic!("a reply of kind {tag}"),
    }
}

fn body(rest: &mut &[u8], len: &str) -> Vec<u8> {
    let (body, behind) = rest.split_at(len.parse().expect("a length"));
    *rest = behind.strip_prefix(b"\r\n").expect("a line end");
    body.to_vec()
}

fn elements(rest: &mut &[u8], len: &str) -> Vec<Frame> {
    let len: usize = len.parse().expect("a length");
    (0..len).map(|_| read_next(rest)).collect()
}
