//! A transaction's hops run on a store whose type they name.

#![allow(unused)]

mod support;

use kevy_rt::{Key, Tx, commands};
use support::Lines;

trait Anything {}

struct Set;

#[commands(store = impl Anything, wire = Lines)]
impl Set {
    #[command(route = tx(1, 2), write)]
    async fn rename(tx: &Tx<impl Anything>, from: Key<'_>, to: Key<'_>) -> u64 {
        0
    }
}

fn main() {}
