//! The context behind the arguments, and an argument that is to be changed.

#![allow(unused)]

mod support;

use kevy_rt::{Cx, Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(1))]
    fn get(db: &Db, key: Key<'_>, cx: &Cx<'_>) -> u64 {
        0
    }

    #[command(route = local)]
    fn ping(text: &mut [u8]) -> u64 {
        0
    }
}

fn main() {}
