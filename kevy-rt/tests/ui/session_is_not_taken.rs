//! A command of the session that does not take it.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines, Login};

struct Set;

#[commands(store = Db, wire = Lines, session = Login)]
impl Set {
    #[command(route = session)]
    fn login(name: &[u8]) -> u64 {
        0
    }

    #[command(route = session)]
    fn logout(session: &Login) -> u64 {
        0
    }
}

fn main() {}
