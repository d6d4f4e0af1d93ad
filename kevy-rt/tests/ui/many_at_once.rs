//! All mistakes of a block are told at once.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(1), write)]
    fn set(db: &Db, key: Key<'_>, value: u64) -> u64 {
        value
    }

    #[command(route = nowhere)]
    fn ping() -> u64 {
        0
    }

    #[command(route = keys(1..), wake = 1)]
    async fn mget(db: &mut Db, key: Key<'_>, other: Key<'_>) -> u64 {
        0
    }
}

fn main() {}
