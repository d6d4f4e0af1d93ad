//! An argument that may be missing, before one that may not.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(1))]
    fn get(db: &Db, key: Key<'_>, count: Option<u64>, last: u64) -> u64 {
        0
    }
}

fn main() {}
