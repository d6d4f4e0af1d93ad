//! A key within another type, which no route names.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

type Name<'a> = (u64, Key<'a>);

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(1))]
    fn get(db: &Db, key: Key<'_>, more: Name<'_>) -> u64 {
        0
    }
}

fn main() {}
