//! A command that changes a session of which the set does not say the type.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines, Login};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = session)]
    fn login(session: &mut Login, name: &[u8]) -> u64 {
        0
    }
}

fn main() {}
