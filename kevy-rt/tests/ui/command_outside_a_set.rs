//! A command that is in no set.

#![allow(unused)]

mod support;

struct Set;

impl Set {
    #[kevy_rt::command(route = local)]
    fn ping() -> u64 {
        0
    }
}

fn main() {}
