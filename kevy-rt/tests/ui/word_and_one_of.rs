//! An option with a word of its own that is one of several too.

#![allow(unused)]

mod support;

use kevy_rt::{Arg, commands};
use support::{Db, Lines};

#[derive(Arg)]
enum Side {
    Left,
    Right,
}

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = local)]
    fn ping(#[token("SIDE")] #[one_of] side: Option<Side>) -> u64 {
        0
    }
}

fn main() {}
