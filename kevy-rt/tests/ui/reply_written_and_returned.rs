//! A command that writes its reply and returns another.

#![allow(unused)]

mod support;

use kevy_rt::{Reply, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = local)]
    fn ping(reply: &mut Reply<'_, Lines>) -> u64 {
        0
    }
}

fn main() {}
