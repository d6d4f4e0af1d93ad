//! A command that does not write and says what it makes ready.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(1), wake = 1)]
    fn get(db: &Db, key: Key<'_>) -> u64 {
        0
    }
}

fn main() {}
