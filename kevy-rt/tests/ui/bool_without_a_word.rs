//! A word alone that is not said.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = local)]
    fn ping(later: bool) -> u64 {
        0
    }
}

fn main() {}
