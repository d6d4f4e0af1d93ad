//! An argument behind the one that takes all that is left.

#![allow(unused)]

mod support;

use kevy_rt::{Key, Rest, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(1))]
    fn get(db: &Db, key: Key<'_>, fields: Rest<'_>, last: u64) -> u64 {
        0
    }
}

fn main() {}
