//! A command of one shard that says how several answer.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(1), gather = sum)]
    fn get(db: &Db, key: Key<'_>) -> u64 {
        0
    }
}

fn main() {}
