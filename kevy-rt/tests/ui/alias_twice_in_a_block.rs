//! An alias that is another command's name.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = local)]
    fn ping() -> u64 {
        0
    }

    #[command(route = local, aliases("Ping"))]
    fn alive() -> u64 {
        0
    }
}

fn main() {}
