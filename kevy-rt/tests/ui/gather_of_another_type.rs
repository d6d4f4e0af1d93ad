//! A merge function for values of another type.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect()
}

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = keys(1..), gather = join)]
    fn mget(db: &Db, key: Key<'_>) -> u64 {
        0
    }
}

fn main() {}
