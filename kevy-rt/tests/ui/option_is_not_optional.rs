//! An option of a type that has no value for its absence.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(1))]
    fn get(db: &Db, key: Key<'_>, #[token("COUNT")] count: u64) -> u64 {
        0
    }
}

fn main() {}
