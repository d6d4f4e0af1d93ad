//! A transaction that isn't declared `write` changes something.

#![allow(unused)]

mod support;

use kevy_rt::{Key, ReadTx, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = tx(1))]
    async fn get(tx: &ReadTx<Db>, key: Key<'_>) -> u64 {
        tx.on(&key, |_: &mut Db, _| 0).await
    }
}

fn main() {}
