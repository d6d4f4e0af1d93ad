//! Two commands of one name in a block.

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

    #[command(route = local, name = "Pong", aliases("PING"))]
    fn pong() -> u64 {
        0
    }
}

fn main() {}
