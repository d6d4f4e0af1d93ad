//! Keys that a function finds, without a transaction.

#![allow(unused)]

mod support;

use kevy_rt::{Args, Key, commands};
use support::{Db, Lines};

fn all(_: Args<'_>, _: &mut Vec<usize>) {}

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = found(all), gather = sum)]
    fn read(db: &Db, key: Key<'_>) -> u64 {
        0
    }
}

fn main() {}
