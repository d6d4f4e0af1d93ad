//! A route that names more than there is.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(2))]
    fn get(db: &Db, key: &[u8]) -> u64 {
        0
    }

    #[command(route = single(1), name = "OBJECT SIZE")]
    fn size(db: &Db, key: &[u8]) -> u64 {
        0
    }
}

fn main() {}
