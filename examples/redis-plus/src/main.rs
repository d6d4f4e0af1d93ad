//! The Redis server with commands of one's own beside its own: over the same wire, over Redis's data
//! and over data of one's own, with a session that remembers more.
//!
//! ```text
//! cargo run --release -p redis-plus
//! redis-cli -p 7005 set colour red
//! redis-cli -p 7005 swapif colour red blue
//! redis-cli -p 7005 vote blue
//! redis-cli -p 7005 votes
//! ```

use std::collections::HashMap;
use std::net::SocketAddr;

use kevy_redis::RedisSets;
use kevy_redis::config::Config;
use kevy_redis::store::value::Form;
use kevy_redis::store::{Db, Expiry, Keyspace, Settings};
use kevy_redis::{session, store};
use kevy_resp::{Resp, Status};
use kevy_rt::{
    Builder, CommandInfo, Cx, Key, KeyHasher, Open, OpenError, Out, Place, Refusal, Session,
    SessionState, Store, Value, commands, parts, rest_of_store, server,
};

/// A shard's data: Redis's, and the votes.
struct Mixed {
    redis: store::Store,
    votes: Votes,
}

#[derive(Default)]
struct Votes(HashMap<Box<[u8]>, u64>);

parts! { Mixed: redis => [store::Store, Config, Keyspace, Db], votes => [Votes] }

impl Store for Mixed {
    type Settings = Settings;

    fn open(settings: &Settings, place: Place, hasher: &KeyHasher) -> Result<Self, OpenError> {
        let redis = store::Store::open(settings, place, hasher)?;
        Ok(Mixed { redis, votes: Votes::default() })
    }

    rest_of_store! { redis: store::Store }
}

/// What is remembered of a connection: what Redis does, and a name.
struct Visit {
    redis: session::Session,
    voter: Voter,
}

#[derive(Default)]
struct Voter(Vec<u8>);

parts! { Visit: redis => [session::Session], voter => [Voter] }

impl Session for Visit {
    fn state(&mut self) -> SessionState {
        self.redis.state()
    }

    fn admit(&self, command: &CommandInfo) -> Result<(), Refusal> {
        self.redis.admit(command)
    }
}

impl Open<Mixed> for Visit {
    fn open(store: &mut Mixed, cx: &Cx<'_>, greeting: &mut Out) -> Option<Self> {
        let redis = session::Session::open(store, cx, greeting)?;
        Some(Visit { redis, voter: Voter::default() })
    }

    fn close(self, store: &mut Mixed, cx: &Cx<'_>) {
        self.redis.close(store, cx);
    }
}

/// A set over Redis's data.
struct MoreStrings;

#[commands(store = Db, wire = Resp)]
impl MoreStrings {
    /// Sets a key to `new` if it is `old` now; answers whether it was.
    #[command(route = single(1), write)]
    fn swapif(db: &mut Db, key: Key<'_>, old: &[u8], new: &[u8]) -> bool {
        let is_old = db.get(key).is_some_and(|value| value.bytes() == old);
        if is_old {
            db.set(key, Value::Slice(new), Form::Whole.tag(), Expiry::Keep);
        }
        is_old
    }
}

/// A set over data of its own. It knows nothing of what it is served with.
struct Voting;

#[commands(store = Votes, wire = Resp, session = Voter)]
impl Voting {
    /// Votes; answers how many have voted so.
    #[command(route = single(1), write)]
    fn vote(db: &mut Votes, answer: Key<'_>) -> u64 {
        let votes = db.0.entry(answer.bytes().into()).or_default();
        *votes += 1;
        *votes
    }

    /// How many votes there are, over all shards.
    #[command(route = all, gather = sum)]
    fn votes(db: &Votes) -> u64 {
        db.0.values().sum()
    }

    /// Tells one's name.
    #[command(route = session)]
    fn iam(voter: &mut Voter, name: &[u8]) -> Status {
        voter.0 = name.to_vec();
        Status::OK
    }

    /// Answers the name that was told.
    #[command(route = session)]
    fn whoami(voter: &mut Voter) -> Vec<u8> {
        voter.0.clone()
    }
}

server! {
    Server: store = Mixed, ports = [ Resp, Visit => [RedisSets, MoreStrings, Voting] ]
}

fn main() -> Result<(), kevy_rt::Error> {
    tracing_subscriber::fmt().init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7005".into());
    let address: SocketAddr = address.parse().expect("an address with a port");
    Builder::<Server>::new(Config::default().into()).listen(0, address).start()?.join()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kevy_resp::Frame;
    use kevy_rt::TestShard;

    use super::*;

    #[test]
    fn own_commands_and_those_of_redis_are_one_server() {
        for shards in [1, 2, 5] {
            let server = TestShard::<Server>::new(Config::default().into(), shards);
            let mut client = server.connect::<Resp>();
            assert_eq!(client.call(["set", "colour", "red"]), "OK");
            assert_eq!(client.call(["swapif", "colour", "red", "blue"]), 1);
            assert_eq!(client.call(["swapif", "colour", "red", "green"]), 0);
            assert_eq!(client.call(["get", "colour"]), "blue");
            assert_eq!(client.call(["vote", "blue"]), 1);
            assert_eq!(client.call(["vote", "red"]), 1);
            assert_eq!(client.call(["votes"]), 2);
            assert_eq!(client.call(["command", "getkeys", "vote", "blue"]), ["blue"]);
        }
    }

    /// What the composed store hands on works: WATCH and MULTI see own commands, keys expire, each
    /// database has keys of its own, a hash tag places a key.
    #[test]
    fn what_redis_has_works_with_own_commands() {
        let server = TestShard::<Server>::new(Config::default().into(), 5);
        let (mut one, mut other) = (server.connect::<Resp>(), server.connect::<Resp>());
        one.call(["set", "colour", "red", "px", "100"]);
        one.call(["watch", "colour"]);
        other.call(["swapif", "colour", "red", "blue"]);
        one.call(["multi"]);
        assert_eq!(one.call(["swapif", "colour", "blue", "green"]), "QUEUED");
        assert_eq!(one.call(["exec"]), Frame::NilArray);
        server.advance(Duration::from_millis(101));
        assert_eq!(other.call(["swapif", "colour", "blue", "green"]), 0);
        one.call(["select", "1"]);
        one.call(["set", "colour", "red"]);
        assert_eq!(other.call(["swapif", "colour", "red", "blue"]), 0);
        assert_eq!(one.call(["swapif", "colour", "red", "blue"]), 1);
        assert_eq!(server.owner("{a}1"), server.owner("a"));
    }

    #[test]
    fn a_session_remembers_both() {
        let server = TestShard::<Server>::new(Config::default().into(), 2);
        let (mut one, mut other) = (server.connect::<Resp>(), server.connect::<Resp>());
        one.call(["client", "setname", "first"]);
        one.call(["iam", "alice"]);
        assert_eq!(one.call(["whoami"]), "alice");
        assert_eq!(one.call(["client", "getname"]), "first");
        assert_eq!(other.call(["whoami"]), "");
    }
}
