//! A command that does not say where it runs.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command]
    fn ping() -> u64 {
        0
    }
}

fn main() {}
