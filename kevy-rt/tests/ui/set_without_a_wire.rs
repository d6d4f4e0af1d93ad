//! A set that does not say what it is for.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wires = Lines)]
impl Set {
    #[command(route = local)]
    fn ping() -> u64 {
        0
    }
}

fn main() {}
