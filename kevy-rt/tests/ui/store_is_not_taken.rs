//! A command of a shard that does not take its store.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(1), write)]
    fn set(key: Key<'_>) -> u64 {
        0
    }
}

fn main() {}
