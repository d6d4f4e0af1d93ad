//! A value that would travel and belongs to its store.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = all, gather = max)]
    fn last(db: &Db) -> Option<&[u8]> {
        None
    }
}

fn main() {}
