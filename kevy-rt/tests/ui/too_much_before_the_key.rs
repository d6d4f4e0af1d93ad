//! More arguments before the key than the route says.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(2))]
    fn get(db: &Db, area: (u64, u64), key: Key<'_>) -> u64 {
        0
    }
}

fn main() {}
