//! A word for a transaction's keys that is none.

#![allow(unused)]

mod support;

use kevy_rt::{Keys, Tx, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = tx(numkey(1)))]
    async fn union(tx: &Tx<Db>, numkeys: u64, keys: Keys<'_>) -> u64 {
        0
    }
}

fn main() {}
