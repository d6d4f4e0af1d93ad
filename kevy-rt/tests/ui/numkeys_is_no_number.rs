//! A number of keys that is read as something else.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = numkeys(1), gather = sum)]
    fn union(db: &Db, numkeys: &[u8], key: Key<'_>) -> u64 {
        0
    }
}

fn main() {}
