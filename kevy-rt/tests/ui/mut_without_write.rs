//! A command that takes `&mut` and does not say `write`.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(1))]
    fn get(db: &mut Db, key: Key<'_>) -> u64 {
        0
    }
}

fn main() {}
