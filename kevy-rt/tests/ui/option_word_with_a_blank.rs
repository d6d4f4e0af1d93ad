//! An option's word that is two.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = local)]
    fn ping(#[token("EX AT")] at: Option<u64>, #[token(EX)] ex: Option<u64>) -> u64 {
        0
    }
}

fn main() {}
