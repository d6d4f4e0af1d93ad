//! Arguments per key that the route does not step over.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = keys(1..), write, gather = sum)]
    fn mset(db: &mut Db, key: Key<'_>, value: &[u8]) -> u64 {
        0
    }
}

fn main() {}
