//! A reply that the wire can not write.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(1))]
    fn get(db: &Db, key: Key<'_>) -> Option<u64> {
        None
    }
}

fn main() {}
