//! A command that makes an argument ready that is no key.

#![allow(unused)]

mod support;

use kevy_rt::{Key, commands};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(1), write, wake = 2)]
    fn push(db: &mut Db, key: Key<'_>, value: &[u8]) -> u64 {
        0
    }
}

fn main() {}
