//! A handler of a transaction that is none.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = tx(1, 2), write)]
    fn rename(db: &mut Db, from: Key<'_>, to: Key<'_>) -> u64 {
        0
    }
}

fn main() {}
