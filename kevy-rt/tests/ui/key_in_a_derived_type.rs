//! A key within a type of arguments, which no route names.

#![allow(unused)]

mod support;

use kevy_rt::{Arg, Key, commands};
use support::{Db, Lines};

#[derive(Arg)]
struct Target<'a> {
    key: Key<'a>,
    database: u64,
}

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(1))]
    fn copy(db: &Db, key: Key<'_>, #[token("TO")] to: Option<Target<'_>>) -> u64 {
        0
    }
}

fn main() {}
