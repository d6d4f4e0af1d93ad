//! Options where the keys take all arguments.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = keys(1..), gather = sum)]
    fn exists(db: &Db, key: Key<'_>, #[token("FAST")] fast: bool) -> u64 {
        0
    }
}

fn main() {}
