//! Something behind arguments that are as many as there are.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = local)]
    fn ping(counts: Vec<u64>, last: u64) -> u64 {
        0
    }
}

fn main() {}
