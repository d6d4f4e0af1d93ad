//! Two variants of one word.

#![allow(unused)]

use kevy_rt::Arg;

#[derive(Arg)]
enum Unit {
    #[token("S")]
    Seconds,
    #[token("M")]
    Minutes,
    #[token("m")]
    Millis,
}

fn main() {}
