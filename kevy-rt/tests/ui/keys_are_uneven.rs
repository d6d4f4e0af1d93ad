//! Keys that the step does not meet.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = keys(1..=3 step 2), gather = sum)]
    fn count(db: &Db, key: Key<'_>, limit: u64) -> u64 {
        0
    }

    #[command(route = keys(3..=1), gather = sum)]
    fn size(db: &Db, key: Key<'_>) -> u64 {
        0
    }

    #[command(route = keys(1.. step 0), gather = sum)]
    fn length(db: &Db, key: Key<'_>) -> u64 {
        0
    }
}

fn main() {}
