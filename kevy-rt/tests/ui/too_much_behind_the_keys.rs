//! More arguments behind the keys than the route leaves there.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = keys(1..=-2), gather = sum)]
    fn count(db: &Db, key: Key<'_>, from: u64, to: u64) -> u64 {
        0
    }
}

fn main() {}
