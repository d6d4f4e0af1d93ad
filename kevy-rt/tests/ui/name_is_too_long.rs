//! A verb that the command table does not tell apart.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = local)]
    fn a_name_that_is_longer_than_any_verb() -> u64 {
        0
    }
}

fn main() {}
