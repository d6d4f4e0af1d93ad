//! One of several words, of a type that has none.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = local)]
    fn ping(#[one_of] count: Option<u64>) -> u64 {
        0
    }
}

fn main() {}
