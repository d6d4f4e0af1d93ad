//! A verb that the command table does not tell apart.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = local)]
    fn a_rather_long_name() -> u64 {
        0
    }
}

fn main() {}
