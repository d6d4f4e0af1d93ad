//! A looseness that only `all` has.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(1), loose)]
    fn get(db: &Db, key: Key<'_>) -> u64 {
        0
    }
}

fn main() {}
