//! A value of a type that does not travel.

#![allow(unused)]

mod support;

use kevy_rt::commands;
use support::{Db, Lines};

struct Set;

struct Part;

fn count(parts: impl Iterator<Item = Part>) -> u64 {
    parts.count() as u64
}

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = all, gather = count)]
    fn last(db: &Db) -> Part {
        Part
    }
}

fn main() {}
