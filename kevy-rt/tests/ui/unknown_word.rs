//! A word that the attribute does not know.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = local, barier)]
    fn ping() -> u64 {
        0
    }

    #[command(route = local, blocking = true)]
    fn pong() -> u64 {
        0
    }
}

fn main() {}
