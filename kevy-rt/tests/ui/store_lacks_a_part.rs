//! A server whose store does not hold the store of one of its sets.

#![allow(unused)]

mod support;

use kevy_rt::{Key, KeyHasher, OpenError, Place, Store, commands, server};
use support::{Db, Lines};

struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    #[command(route = single(1))]
    fn get(db: &Db, key: Key<'_>) -> u64 {
        0
    }
}

#[derive(Debug)]
struct Other;

impl Store for Other {
    type Settings = ();

    fn open((): &(), _: Place, _: &KeyHasher) -> Result<Self, OpenError> {
        Ok(Other)
    }
}

server! { Server: store = Other, ports = [ Lines, () => [Set] ] }

fn main() {}
