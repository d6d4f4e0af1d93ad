//! A write that runs wherever its connection is.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = local, write)]
    fn clear(db: &mut Db) -> u64 {
        0
    }
}

fn main() {}
