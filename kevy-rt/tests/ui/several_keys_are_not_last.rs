//! Several keys, and then one more.

#![allow(unused)]

mod support;

use kevy_rt::{Key, Keys, Tx, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = tx(numkeys(1), 4))]
    async fn union(tx: &Tx<Db>, numkeys: u64, keys: Keys<'_>, more: Key<'_>) -> u64 {
        0
    }
}

fn main() {}
