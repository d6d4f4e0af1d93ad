//! Locks that end by themselves, and tests of their commands without sockets.
//!
//! The tests are the point: a [`TestShard`](kevy_rt::TestShard) is a whole server on the test's own
//! thread, of as many shards as the test likes, with a clock that only the test turns. A request
//! takes the same way as in a server, so what the tests say holds there.
//!
//! ```text
//! cargo test -p leases
//! ```

use std::collections::HashMap;

use kevy_resp::{Error, Resp};
use kevy_rt::{Key, KeyHasher, OpenError, Place, Store, Tx, commands, server};

/// Who holds a lock, and until when.
#[derive(Debug)]
struct Lease {
    owner: Vec<u8>,
    end_ms: u64,
}

/// One shard's locks.
#[derive(Debug, Default)]
pub struct Locks {
    leases: HashMap<Box<[u8]>, Lease>,
    now_ms: u64,
}

impl Store for Locks {
    type Settings = ();

    fn open((): &(), _: Place, _: &KeyHasher) -> Result<Self, OpenError> {
        Ok(Locks::default())
    }

    fn begin(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }
}

impl Locks {
    fn is_free(&self, lock: Key<'_>, owner: &[u8]) -> bool {
        let held = self.leases.get(lock.bytes()).filter(|lease| lease.end_ms > self.now_ms);
        held.is_none_or(|lease| lease.owner == owner)
    }

    fn give(&mut self, lock: Key<'_>, owner: &[u8], ms: u32) {
        let lease = Lease { owner: owner.to_vec(), end_ms: self.now_ms + u64::from(ms) };
        self.leases.insert(lock.bytes().into(), lease);
    }
}

/// The command set.
#[derive(Debug)]
pub struct Locking;

#[commands(store = Locks, wire = Resp)]
impl Locking {
    /// Locks for so many milliseconds; answers whether that went well.
    #[command(route = single(1), write)]
    fn lock(db: &mut Locks, lock: Key<'_>, owner: &[u8], ms: u32) -> bool {
        let is_free = db.is_free(lock, owner);
        if is_free {
            db.give(lock, owner, ms);
        }
        is_free
    }

    /// Locks both or none.
    #[command(route = tx(1, 2), write, name = "LOCK2")]
    async fn lock_both(tx: &Tx<Locks>, a: Key<'_>, b: Key<'_>, owner: &[u8], ms: u32) -> bool {
        let owner = owner.to_vec();
        let free = |owner: Vec<u8>| move |db: &mut Locks, lock: Key<'_>| db.is_free(lock, &owner);
        let give = |owner: Vec<u8>| move |db: &mut Locks, lock: Key<'_>| db.give(lock, &owner, ms);
        let (a_is_free, b_is_free) =
            (tx.on(&a, free(owner.clone())), tx.on(&b, free(owner.clone())));
        let are_free = a_is_free.await & b_is_free.await;
        if are_free {
            tx.on(&a, give(owner.clone())).await;
            tx.on(&b, give(owner)).await;
        }
        are_free
    }

    /// Answers who holds a lock, and for how many more milliseconds.
    #[command(route = single(1))]
    fn holder(db: &Locks, lock: Key<'_>) -> Option<(&[u8], u64)> {
        let lease = db.leases.get(lock.bytes())?;
        let left_ms = lease.end_ms.checked_sub(db.now_ms).filter(|left| *left > 0)?;
        Some((&lease.owner, left_ms))
    }

    /// Gives a lock back; the owner has to be who holds it.
    #[command(route = single(1), write)]
    fn unlock(db: &mut Locks, lock: Key<'_>, owner: &[u8]) -> Result<(), Error> {
        match db.leases.get(lock.bytes()) {
            Some(lease) if lease.owner == owner => {
                db.leases.remove(lock.bytes());
                Ok(())
            }
            _ => Err(Error::new("ERR it is not yours")),
        }
    }
}

server! {
    /// The server.
    pub Server: store = Locks, ports = [ Resp, () => [Locking] ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kevy_resp::Frame;
    use kevy_rt::TestShard;

    use super::*;

    #[test]
    fn a_lock_has_one_owner() {
        let server = TestShard::<Server>::new((), 1);
        let mut client = server.connect::<Resp>();
        assert_eq!(client.call(["lock", "door", "alice", "1000"]), 1);
        assert_eq!(client.call(["lock", "door", "bob", "1000"]), 0);
        assert_eq!(client.call(["unlock", "door", "bob"]), "ERR it is not yours");
        assert_eq!(client.call(["unlock", "door", "alice"]), "OK");
    }

    /// Time passes when the test says so.
    #[test]
    fn a_lease_ends() {
        let server = TestShard::<Server>::new((), 2);
        let mut client = server.connect::<Resp>();
        client.call(["lock", "door", "alice", "1000"]);
        server.advance(Duration::from_millis(999));
        let holder = [Frame::from("alice"), Frame::from(1)];
        assert_eq!(client.call(["holder", "door"]), holder);
        server.advance(Duration::from_millis(1));
        assert_eq!(client.call(["holder", "door"]), Frame::Null);
        assert_eq!(client.call(["lock", "door", "bob", "1000"]), 1);
    }

    /// Any number of shards has to answer alike; with `keys_apart` the keys are on different ones.
    #[test]
    fn both_are_locked_or_none() {
        for shards in [2, 3, 5] {
            let server = TestShard::<Server>::new((), shards);
            let keys = server.keys_apart();
            let [a, b] = [&keys[0], &keys[1]];
            let (mut alice, mut bob) = (server.connect::<Resp>(), server.connect::<Resp>());
            bob.call(["lock", b, "bob", "1000"]);
            assert_eq!(alice.call(["lock2", a, b, "alice", "1000"]), 0);
            assert_eq!(alice.call(["holder", a]), Frame::Null);
            bob.call(["unlock", b, "bob"]);
            assert_eq!(alice.call(["lock2", a, b, "alice", "1000"]), 1);
        }
    }

    /// Two want the same locks at the same time, in opposite order: one gets both, and nobody waits
    /// for ever. Each seed runs the shards in another order.
    #[test]
    fn of_two_who_want_both_one_gets_both() {
        let mut won = [0; 2];
        for seed in 0..50 {
            let server = TestShard::<Server>::seeded((), 3, seed);
            let keys = server.keys_apart();
            let (mut alice, mut bob) = (server.connect::<Resp>(), server.connect::<Resp>());
            alice.send(["lock2", &keys[0], &keys[1], "alice", "1000"]);
            bob.send(["lock2", &keys[1], &keys[0], "bob", "1000"]);
            server.run();
            match (alice.receive(), bob.receive()) {
                (Some(Frame::Integer(1)), Some(Frame::Integer(0))) => won[0] += 1,
                (Some(Frame::Integer(0)), Some(Frame::Integer(1))) => won[1] += 1,
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        assert!(won[0] > 0 && won[1] > 0, "{won:?}");
    }
}
