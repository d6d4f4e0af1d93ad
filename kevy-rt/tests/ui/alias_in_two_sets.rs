//! A command whose alias another set of the server declares.

#![allow(unused)]

mod support;

use kevy_rt::{commands, server};
use support::{Db, Lines};

struct Set;
struct More;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = local, aliases("ALIVE"))]
    fn ping() -> u64 {
        0
    }
}

#[commands(store = Db, wire = Lines)]
impl More {
    #[command(route = local, name = "are you", aliases("alive"))]
    fn again() -> u64 {
        0
    }
}

server! { Server: store = Db, ports = [ Lines, () => [Set, More] ] }

fn main() {}
