//! Keys that a transaction's route doesn't list, positions out of order, an unknown queue verb.

#![allow(unused)]

mod support;

use kevy_rt::{Key, Tx, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = tx(1), write)]
    async fn swap(tx: &Tx<Db>, one: Key<'_>, other: Key<'_>) -> u64 {
        0
    }

    #[command(route = tx(2, 1), write)]
    async fn exchange(tx: &Tx<Db>, one: Key<'_>, other: Key<'_>) -> u64 {
        0
    }

    #[command(route = tx(1, 5), write)]
    async fn far(tx: &Tx<Db>, one: Key<'_>) -> u64 {
        0
    }

    #[command(route = queue(begin))]
    fn begin() {}

    #[command(route = local, queued = sometimes)]
    fn odd() -> u64 {
        0
    }
}

fn main() {}
