//! Transactions that take another `Tx` than they say.

#![allow(unused)]

mod support;

use kevy_rt::{Key, ReadTx, Tx, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = tx(1))]
    async fn get(tx: &Tx<Db>, key: Key<'_>) -> u64 {
        0
    }

    #[command(route = tx(1), write)]
    async fn set(tx: &ReadTx<Db>, key: Key<'_>) -> u64 {
        0
    }
}

fn main() {}
