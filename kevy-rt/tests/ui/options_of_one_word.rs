//! Two options of one word.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = local)]
    fn ping(#[token("EX")] seconds: Option<u64>, #[token("ex")] millis: Option<u64>) -> u64 {
        0
    }
}

fn main() {}
