//! A number of keys that no key follows.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = numkeys(1), gather = sum)]
    fn union(db: &Db, numkeys: u64, weight: u64) -> u64 {
        0
    }

    #[command(route = numkeys(4), gather = sum)]
    fn far(db: &Db, numkeys: u64, weight: u64) -> u64 {
        0
    }
}

fn main() {}
