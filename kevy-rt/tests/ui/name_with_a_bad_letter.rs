//! Names that no request can say.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = local, name = "PING!")]
    fn ping() -> u64 {
        0
    }

    #[command(route = local, name = "PING ME TWICE")]
    fn twice() -> u64 {
        0
    }
}

fn main() {}
