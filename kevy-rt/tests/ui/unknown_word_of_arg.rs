//! What is said of an argument in words that are none.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = local)]
    fn ping(#[arg(eror = "ERR no")] count: u64) -> u64 {
        0
    }

    #[command(route = local)]
    fn pong(#[arg(kind = patern)] text: &[u8], #[arg] more: &[u8]) -> u64 {
        0
    }
}

fn main() {}
