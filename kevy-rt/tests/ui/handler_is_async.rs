//! An async function.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = local)]
    async fn ping() -> u64 {
        0
    }
}

fn main() {}
