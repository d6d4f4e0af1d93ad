//! A route that names an argument that is no key.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(1))]
    fn get(db: &Db, count: u64) -> u64 {
        count
    }
}

fn main() {}
