//! A command that says `write` and borrows its store shared.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(1), write)]
    fn set(db: &Db, key: Key<'_>) -> u64 {
        0
    }
}

fn main() {}
