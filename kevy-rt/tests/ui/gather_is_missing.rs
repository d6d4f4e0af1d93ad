//! Commands of several shards that do not say how they answer.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = keys(1..))]
    fn mget(db: &Db, key: Key<'_>) -> u64 {
        0
    }

    #[command(route = all)]
    fn size(db: &Db) -> u64 {
        0
    }
}

fn main() {}
