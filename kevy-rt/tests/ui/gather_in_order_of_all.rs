//! An order of keys, of a command without keys.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = all, gather = in_order)]
    fn size(db: &Db) -> u64 {
        0
    }
}

fn main() {}
