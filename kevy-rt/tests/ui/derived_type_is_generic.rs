//! Arguments of a type that is not named, or of two requests.

#![allow(unused)]

use kevy_rt::Arg;

#[derive(Arg)]
struct Limit<T> {
    count: T,
}

#[derive(Arg)]
struct Pair<'a, 'b> {
    one: &'a [u8],
    other: &'b [u8],
}

#[derive(Arg)]
union Either {
    one: u64,
    other: i64,
}

fn main() {}
