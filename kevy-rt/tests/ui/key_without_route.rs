//! A second key, which the route does not name.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(1), write)]
    fn rename(db: &mut Db, from: Key<'_>, to: Key<'_>) -> u64 {
        0
    }

    #[command(route = local)]
    fn echo(key: Key<'_>) -> u64 {
        0
    }
}

fn main() {}
