//! The number of the keys behind the keys.

#![allow(unused)]

mod support;

use kevy_rt::{Key, Keys, Tx, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = numkeys(2), gather = sum)]
    fn union(db: &Db, key: Key<'_>, numkeys: u64) -> u64 {
        0
    }

    #[command(route = tx(numkeys(2)))]
    async fn store(tx: &Tx<Db>, keys: Keys<'_>, numkeys: u64) -> u64 {
        0
    }
}

fn main() {}
