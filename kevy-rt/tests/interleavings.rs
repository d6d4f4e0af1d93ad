//! The interleavings that the rules of transactions are there for, each written down turn by turn.
//!
//! Shards A, B and C own the keys x, y and z; O and P have connections and own none of these. What
//! is not said to be held arrives with its target's next turn. Each drawing has one line per thing
//! that happens, in time's order.
//!
//! With `--cfg faults` each test is run once more per fault that it names, the rule left out, and has
//! to fail.

mod toy;

use std::time::Duration;

use kevy_rt::Limits;
use kevy_rt::sim::{Client, Simulation};
use toy::{BOARD, Server, text};

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
const O: usize = 3;
const P: usize = 4;

/// A server of five shards, and a client of each.
struct Stage {
    server: Simulation<Server>,
    clients: Vec<Client>,
    x: String,
    y: String,
    z: String,
}

impl Stage {
    fn new() -> Self {
        Stage::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let mut server = Simulation::scripted(&(), 5, limits);
        let clients = [A, B, C, O, P].map(|shard| client_of(&mut server, shard)).to_vec();
        let [x, y, z] =
            [("x", A), ("y", B), ("z", C)].map(|(name, shard)| key(&server, name, shard));
        BOARD.with_borrow_mut(Vec::clear);
        Stage { server, clients, x, y, z }
    }

    /// What is said of x, y and z, of the keys that bear these names.
    fn named(&self, line: &str) -> String {
        let name = |word: &str| match word {
            "x" => self.x.clone(),
            "y" => self.y.clone(),
            "z" => self.z.clone(),
            other => other.to_owned(),
        };
        let named = |line: &str| line.split(' ').map(name).collect::<Vec<_>>().join(" ");
        line.split(';').map(|line| named(line.trim()) + "\n").collect()
    }

    /// The client of a shard sends requests, which are taken in.
    fn send(&mut self, shard: usize, requests: &str) {
        let requests = self.named(requests);
        self.server.send(self.clients[shard], requests.as_bytes());
        self.server.step_shard(shard);
    }

    /// These shards take a turn each.
    fn turns(&mut self, shards: &[usize]) {
        shards.iter().for_each(|shard| {
            self.server.step_shard(*shard);
        });
    }

    fn hold(&mut self, from: usize, to: usize) {
        self.server.hold(from, to, true);
    }

    fn release(&mut self, from: usize, to: usize) {
        self.server.hold(from, to, false);
    }

    /// Runs until nothing happens any more.
    fn finish(&mut self) {
        self.server.run();
    }

    /// What has come back to the client of a shard, and was not taken yet.
    fn reply(&mut self, shard: usize) -> String {
        // What one turn sends arrives in the next.
        self.turns(&[shard, shard]);
        text(self.server.receive(self.clients[shard])).replace('\n', " ").trim().to_owned()
    }

    /// The replies to requests of the client of a shard, once all is done.
    fn ask(&mut self, shard: usize, requests: &str) -> String {
        self.send(shard, requests);
        self.finish();
        self.reply(shard)
    }
}

/// A key of this name that the shard owns.
fn key(server: &Simulation<Server>, name: &str, owner: usize) -> String {
    let mut keys = (0..).map(|number| format!("{name}{number}"));
    keys.find(|key| server.owner(key.as_bytes()) == owner).expect("each shard owns some")
}

/// A client whose connection lives on the shard: where it is taken in, if none has fewer.
fn client_of(server: &mut Simulation<Server>, shard: usize) -> Client {
    let client = server.connect(0);
    server.step_shard(shard);
    assert_eq!(server.home(client), Some(shard));
    client
}

macro_rules! interleavings {
    ($($(#[doc = $doc:literal])+ $name:ident [$($fault:ident)*] $body:block)+) => {
        $(
            $(#[doc = $doc])+
            #[test]
            fn $name() {
                let run = || $body;
                run();
                #[cfg(faults)]
                for fault in [$(kevy_rt::Fault::$fault),*] as [kevy_rt::Fault; _] {
                    kevy_rt::inject(Some(fault));
                    let ran = std::panic::catch_unwind(run);
                    kevy_rt::inject(None);
                    assert!(ran.is_err(), "{fault:?} was not noticed");
                }
            }
        )+

        /// Each fault is noticed by one of them at least.
        #[cfg(faults)]
        #[test]
        fn every_fault_has_its_interleaving() {
            let noticed = [$($(kevy_rt::Fault::$fault,)*)+];
            for fault in kevy_rt::Fault::ALL {
                assert!(noticed.contains(fault), "{fault:?}");
            }
        }
    };
}

interleavings! {
    /// O's transaction is scheduled at B, and late at A; P's meets it on both. Local places alone
    /// would put P's first at A and last at B.
    ///
    /// ```text
    /// O  MSET x 5 y 5    B: stamp 1 .................... A: stamp 4, order 4
    /// P  MSET x 6 y 6         A: stamp 2, B: stamp 3, order 3, runs at A
    /// ```
    where_two_transactions_meet_twice_they_run_in_one_order
    [OwnStamp SmallestStamp FixEarly RunAtSchedule] {
        let mut stage = Stage::new();
        stage.hold(O, A);
        stage.send(O, "mset x 5 y 5");
        stage.turns(&[B]);
        stage.send(P, "mset x 6 y 6");
        stage.turns(&[A, B, P, A, B]);
        stage.release(O, A);
        stage.finish();
        assert_eq!((stage.reply(O), stage.reply(P)), ("+OK".into(), "+OK".into()));
        assert_eq!(stage.ask(C, "mget x y"), "*2 $5 $5");
    }

    /// A transaction has run at A and not at B. Whoever saw it at A sees it at B: the stamp that the
    /// request gets there is taken on arrival, from the one counter.
    ///
    /// ```text
    /// O  MSET x 1 y 1    A: fixed, runs ................. B: fixed
    /// P  GET x = 1            GET y at B: waits, stamp 3 ........ = 1
    /// ```
    who_saw_a_transaction_on_one_shard_sees_it_on_the_other
    [OldDeferral NoDeferral EarlyRelease] {
        let mut stage = Stage::new();
        stage.send(O, "mset x 1 y 1");
        stage.turns(&[A, B]);
        stage.hold(O, B);
        stage.turns(&[O, A]);
        stage.send(P, "get x");
        stage.turns(&[A]);
        assert_eq!(stage.reply(P), "$1");
        stage.send(P, "get y");
        stage.turns(&[B]);
        assert_eq!(stage.reply(P), "", "it waits for the order");
        stage.release(O, B);
        stage.finish();
        assert_eq!(stage.reply(P), "$1");
    }

    /// A request that waits has a place of its own, before what its connection sends later.
    ///
    /// ```text
    /// P  MSET x 5 y 5    A: stamp 1, B: stamp 2, order 2 ....... A: fixed
    /// O  SET x 1              A: waits, stamp 3
    /// O  MSET x 2 z 2         A: stamp 4, behind it
    /// ```
    a_request_that_waits_stays_before_a_later_transaction [LateDeferral] {
        let mut stage = Stage::new();
        stage.send(P, "mset x 5 y 5");
        stage.turns(&[A, B]);
        stage.hold(P, A);
        stage.turns(&[P, B]);
        stage.send(O, "set x 1; mset x 2 z 2");
        stage.turns(&[A, C, O, A, C]);
        stage.release(P, A);
        stage.finish();
        assert_eq!(stage.reply(O), "+OK +OK");
        assert_eq!(stage.ask(C, "mget x y z"), "*3 $2 $5 $2");
    }

    /// Once a transaction has its order nobody who comes later overtakes it, however many they are.
    ///
    /// ```text
    /// O  MSET x T y T    order known ............ A: fixed
    /// P  SWAP x 0 ... 99      A: all wait               the first one finds T
    /// ```
    nobody_starves_behind_later_requests [OldDeferral] {
        let mut stage = Stage::new();
        stage.send(O, "mset x T y T");
        stage.turns(&[A, B]);
        stage.hold(O, A);
        stage.turns(&[O]);
        let swaps: Vec<_> = (0..100).map(|value| format!("swap x {value}")).collect();
        stage.send(P, &swaps.join(";"));
        stage.turns(&[A, P]);
        stage.release(O, A);
        stage.finish();
        assert!(stage.reply(P).starts_with("$T $0 $1 "));
    }

    /// An entry holds up what wants its keys, and nothing else.
    ///
    /// ```text
    /// O  MSET x 1 y 1    A: not fixed
    /// P  GET other            A: runs at once
    /// P  GET x                A: waits
    /// ```
    an_entry_holds_its_own_keys_only [NoDeferral] {
        let mut stage = Stage::new();
        let other = key(&stage.server, "other", A);
        stage.hold(O, B);
        stage.send(O, "mset x 1 y 1");
        stage.turns(&[A]);
        stage.send(P, &format!("get {other}; mset {other} 1 z 1"));
        stage.turns(&[A, C, P, A, C]);
        assert_eq!(stage.reply(P), "_ +OK");
        stage.send(P, "get x");
        stage.turns(&[A]);
        assert_eq!(stage.reply(P), "");
    }

    /// A fixed transaction waits for one that comes before it, though that one isn't fixed here yet.
    ///
    /// ```text
    /// O  MSET x 1 y 1    order 2, runs at B ................. A: fixed
    /// P  GET y = 1, MSET x 2 z 2      A: fixed, waits
    /// ```
    a_fixed_entry_waits_for_smaller_stamps [SharedWrites] {
        let mut stage = Stage::new();
        stage.send(O, "mset x 1 y 1");
        stage.turns(&[A, B]);
        stage.hold(O, A);
        stage.turns(&[O, B]);
        assert_eq!(stage.ask(P, "get y"), "$1");
        stage.send(P, "mset x 2 z 2");
        stage.turns(&[A, C, P, A, C]);
        stage.release(O, A);
        stage.finish();
        assert_eq!(stage.ask(P, "get x"), "+OK $2");
    }

    /// Nothing of a transaction is seen anywhere before its number is known.
    ///
    /// ```text
    /// O  MSET x 1 y 1    A: stamp 1 ....................... B: stamp 2
    /// P  GET x                A: waits
    /// P  GET y                B: finds nothing
    /// ```
    no_hop_runs_before_every_owner_has_answered [RunAtSchedule FixEarly] {
        let mut stage = Stage::new();
        stage.hold(O, B);
        stage.send(O, "mset x 1 y 1");
        stage.turns(&[A, O, A]);
        stage.send(P, "get x");
        stage.turns(&[A]);
        assert_eq!(stage.reply(P), "");
        assert_eq!(stage.ask(B, "get y"), "_");
        stage.release(O, B);
        stage.finish();
        assert_eq!(stage.ask(P, "mget x y"), "_ *2 $1 $1");
    }

    /// A read of several shards is one moment: what writes both keys comes before or behind it on
    /// both.
    ///
    /// ```text
    /// O  MGET x z        order 2, runs at C ............... A: fixed
    /// P  MSET x 1 z 1         A: waits, runs at C
    /// ```
    a_read_of_several_shards_is_one_moment [LooseGather] {
        let mut stage = Stage::new();
        stage.send(O, "mget x z");
        stage.turns(&[A, C]);
        stage.hold(O, A);
        stage.turns(&[O, C]);
        stage.send(P, "mset x 1 z 1");
        stage.turns(&[A, C, P, A, C]);
        stage.release(O, A);
        stage.finish();
        assert_eq!(stage.reply(O), "*2 _ _");
    }

    /// The same for a read of all keys. Other readers pass it, writers don't.
    ///
    /// ```text
    /// O  DUMP all        order known, runs at C .......... A: fixed
    /// P  MSET x 1 z 1         A: waits, runs at C
    /// B  GET x                A: runs at once
    /// B  SET x 2              A: waits
    /// ```
    a_read_of_all_shards_is_one_moment_and_readers_pass [LooseGather NoDeferral] {
        let mut stage = Stage::new();
        stage.send(O, "dump");
        assert_eq!(stage.reply(O), "-Arity(\"DUMP\")");
        assert_eq!(stage.ask(P, "mset xx 0 zz 0"), "+OK");
        stage.send(O, "count");
        stage.turns(&[A, B, C, P]);
        stage.hold(O, A);
        stage.turns(&[O, C]);
        stage.send(B, "get x");
        stage.turns(&[A]);
        assert_eq!(stage.reply(B), "_");
        stage.send(B, "set x 2");
        stage.turns(&[A]);
        assert_eq!(stage.reply(B), "");
        stage.send(P, "mset x 1 z 1");
        stage.turns(&[A, C, P, A, C]);
        stage.release(O, A);
        stage.finish();
        assert_eq!(stage.reply(O), ":2");
    }

    /// Two transactions over the same two shards, each the last owner of the other: either is told
    /// at once that it has to wait.
    ///
    /// ```text
    /// A  MSET x 1 y 1    own stamp 1 ... B: stamp 3, order 3, behind the other
    /// B  MSET x 2 y 2    own stamp 2 ... A: stamp 4, order 4, behind the other
    /// ```
    crossing_transactions_of_one_round_dont_wait_for_each_other [NoEarlyAnswer OwnFirst] {
        let mut stage = Stage::new();
        stage.hold(A, B);
        stage.hold(B, A);
        stage.send(A, "mset x 1 y 1");
        stage.send(B, "mset x 2 y 2");
        stage.release(A, B);
        stage.release(B, A);
        stage.finish();
        assert_eq!((stage.reply(A), stage.reply(B)), ("+OK".into(), "+OK".into()));
        let both = stage.ask(C, "mget x y");
        assert!(["*2 $1 $1", "*2 $2 $2"].contains(&both.as_str()), "{both}");
    }

    /// To one owner everything travels in the order sent.
    ///
    /// ```text
    /// B  SET x 1, MSET x 2 y 2    A: the one, then the other
    /// ```
    a_schedule_overtakes_no_request [Overtake] {
        let mut stage = Stage::new();
        assert_eq!(stage.ask(B, "set x 1; mset x 2 y 2"), "+OK +OK");
        assert_eq!(stage.ask(C, "mget x y"), "*2 $2 $2");
    }

    /// Until its order is known a transaction may move behind what its connection sends next.
    ///
    /// ```text
    /// B  MSET x 1 y 1    own stamp 1 ........... order 2
    /// B  GET y                waits for the order
    /// ```
    a_request_waits_for_the_order_of_its_connections_transaction [NoOrderStall] {
        let mut stage = Stage::new();
        assert_eq!(stage.ask(B, "mset x 1 y 1; get y; get x"), "+OK $1 $1");
    }

    /// ```text
    /// O  MSET x 1 y 1    B: stamp 1 ........................ A: stamp 2, order 2
    /// O  MSET y 2 z 2         waits for the order, or would be the first one at B
    /// ```
    a_transaction_waits_for_the_order_of_its_connections_transaction [NoTransactionStall] {
        let mut stage = Stage::new();
        stage.hold(O, A);
        stage.send(O, "mset x 1 y 1; mset y 2 z 2");
        stage.turns(&[B, C, O, B, C, O]);
        stage.release(O, A);
        stage.finish();
        assert_eq!(stage.ask(P, "mget x y z"), "*3 $1 $2 $2");
    }

    /// What has an effect outside the keys comes when all before it is done: who hears of it may
    /// read.
    ///
    /// ```text
    /// O  SET x 1         on its way ............... A: done
    /// O  POST 7               waits                      posted
    /// ```
    a_barrier_waits_for_all_before_it [NoBarrier] {
        let mut stage = Stage::new();
        stage.hold(O, A);
        stage.send(O, "set x 1; post 7");
        stage.turns(&[A, O]);
        assert!(BOARD.with_borrow(Vec::is_empty));
        stage.release(O, A);
        stage.finish();
        assert_eq!(BOARD.with_borrow(Vec::clone), [7]);
        assert_eq!(stage.reply(O), "+OK +OK");
    }

    /// Requests of one pipeline to different shards overlap: others may see the later one first.
    /// Strict pipelines don't.
    ///
    /// ```text
    /// A  SET y 1 on its way, GET x = nothing
    /// B  SET x 1 on its way, GET y = nothing
    /// ```
    pipelines_overlap_unless_they_are_strict [] {
        for (strict_pipelines, replies) in [(false, "+OK _"), (true, "+OK $1")] {
            let mut stage = Stage::with(Limits { strict_pipelines, ..Limits::default() });
            stage.hold(A, B);
            stage.hold(B, A);
            stage.send(A, "set y 1; get x");
            stage.send(B, "set x 1; get y");
            stage.release(A, B);
            stage.release(B, A);
            stage.finish();
            assert_eq!((stage.reply(A), stage.reply(B)), (replies.into(), replies.into()));
        }
    }

    /// Replies leave in the order of their requests, whichever shard is done first.
    ///
    /// ```text
    /// O  GET x, ECHO hi, GET y    B: answered ... A: answered
    /// ```
    replies_leave_in_the_order_of_requests [SwapReplies] {
        let mut stage = Stage::new();
        stage.hold(A, O);
        stage.send(O, "get x; echo hi; get y");
        stage.turns(&[A, B]);
        assert_eq!(stage.reply(O), "");
        stage.release(A, O);
        stage.finish();
        assert_eq!(stage.reply(O), "_ $hi _");
    }

    /// A request that waits on its owner is taken out of its batch: the others of it are answered.
    ///
    /// ```text
    /// P  MSET x 1 y 1    A: not fixed
    /// O  GET x                A: waits
    /// O' GET other            A: in the same batch, answered
    /// ```
    a_request_that_waits_holds_up_no_batch [NoDeferral] {
        let mut stage = Stage::new();
        for shard in [A, B, C] {
            client_of(&mut stage.server, shard);
        }
        let second = client_of(&mut stage.server, O);
        let other = key(&stage.server, "other", A);
        stage.hold(P, B);
        stage.send(P, "mset x 1 y 1");
        stage.turns(&[A]);
        stage.server.send(second, format!("get {other}\n").as_bytes());
        stage.send(O, "get x");
        stage.turns(&[A]);
        assert_eq!(stage.reply(O), "");
        assert_eq!(text(stage.server.receive(second)), "_\n");
    }

    /// From its first hop to its last nobody comes in between.
    ///
    /// ```text
    /// O  TRANSFER x y 3  A: hop 1, reads x ............. A: x is less, B: y is more
    /// P  MGET x y             A: waits
    /// ```
    nobody_sees_half_of_a_transaction [ReleaseAfterFirstHop] {
        let mut stage = Stage::new();
        assert_eq!(stage.ask(C, "mset x 10 y 0"), "+OK");
        stage.send(O, "transfer x y 3");
        stage.turns(&[A, B, O, A, B]);
        stage.send(P, "mget x y");
        stage.turns(&[A, B, P, A, B]);
        stage.finish();
        assert_eq!((stage.reply(O), stage.reply(P)), (":7".into(), "*2 $7 $3".into()));
    }

    /// A transaction runs to its end though its client has gone; who has the connection's place
    /// then gets nothing of it.
    ///
    /// ```text
    /// O  TRANSFER x y 3  A: hop 1, gone ...... A: x is less, B: y is more
    /// O' connects in its place
    /// ```
    a_transaction_ends_without_its_client [] {
        let mut stage = Stage::new();
        assert_eq!(stage.ask(C, "mset x 10 y 0"), "+OK");
        stage.send(O, "transfer x y 3");
        stage.turns(&[A, B, O, A]);
        stage.server.disconnect(stage.clients[O]);
        stage.turns(&[O]);
        assert!(stage.server.is_closed(stage.clients[O]));
        let next = client_of(&mut stage.server, O);
        stage.finish();
        assert_eq!(text(stage.server.receive(next)), "");
        assert_eq!(stage.ask(P, "mget x y"), "*2 $7 $3");
    }

    /// All of a transaction sees the time of its order, and what it wants is not removed meanwhile,
    /// though its time has come.
    ///
    /// ```text
    /// O  MGET x y        order at 0 ms, runs at A ........... B: fixed, at 10 ms
    /// -  x and y end at 5 ms      B: would remove y at 10 ms
    /// ```
    all_of_a_transaction_sees_one_time [OwnTime TakeClaimed] {
        let mut stage = Stage::new();
        let until_ms = stage.server.now_ms() + 5;
        assert_eq!(stage.ask(C, &format!("lease {until_ms} x 1 y 1")), "+OK");
        stage.send(O, "mget x y");
        stage.turns(&[A, B]);
        stage.hold(O, B);
        stage.turns(&[O, A]);
        stage.server.advance(Duration::from_millis(10));
        stage.turns(&[B]);
        stage.release(O, B);
        stage.turns(&[B]);
        stage.finish();
        assert_eq!(stage.reply(O), "*2 $1 $1");
        assert_eq!(stage.ask(O, "mget x y"), "*2 _ _");
    }

    /// A change of a watched key undoes the queue.
    ///
    /// ```text
    /// O  WATCH x                      MULTI, SET y 2, EXEC: nothing
    /// P          SET x 1
    /// ```
    a_change_of_a_watched_key_is_noticed [LostMark] {
        let mut stage = Stage::new();
        assert_eq!(stage.ask(O, "watch x"), "+OK");
        assert_eq!(stage.ask(P, "set x 1"), "+OK");
        assert_eq!(stage.ask(O, "multi; set y 2; exec"), "+OK +QUEUED _");
        assert_eq!(stage.ask(P, "get y"), "_");
    }

    /// The marks of watched keys are read in the order of transactions, not before.
    ///
    /// ```text
    /// O  WATCH x
    /// P  MSET x 1 z 1    order known, runs at C ............. A: fixed
    /// O  MULTI, GET z, EXEC   C: sees 1, so A: waits; nothing
    /// ```
    marks_are_read_in_the_order_of_transactions [EarlyMark] {
        let mut stage = Stage::new();
        assert_eq!(stage.ask(O, "watch x"), "+OK");
        stage.send(P, "mset x 1 z 1");
        stage.turns(&[A, C]);
        stage.hold(P, A);
        stage.turns(&[P, C]);
        stage.send(O, "multi; get z; exec");
        stage.turns(&[A, C, O, A, C, O]);
        stage.release(P, A);
        stage.finish();
        assert_eq!(stage.reply(O), "+OK +QUEUED _");
    }

    /// A watch that begins at its owner after its connection has gone is dropped.
    ///
    /// ```text
    /// O  WATCH x y    A, B: scheduled ........... A: watched ... dropped
    /// O  is gone          A: nothing to drop yet
    /// ```
    a_watch_of_a_gone_connection_is_dropped [] {
        let mut stage = Stage::new();
        stage.hold(B, O);
        stage.send(O, "watch x y");
        stage.turns(&[A, B]);
        stage.server.disconnect(stage.clients[O]);
        stage.turns(&[O, A]);
        stage.release(B, O);
        stage.turns(&[O, A]);
        assert!(stage.server.with_shard(A, |_, server| server.changes().matter()));
        stage.finish();
        assert!(!stage.server.with_shard(A, |_, server| server.changes().matter()));
    }

    /// A queue is one moment, whose first reply nobody has before its last write is ordered.
    ///
    /// ```text
    /// O  MULTI, SET x 1, SET y 1, EXEC    runs at A .......... B: fixed
    /// P  GET x = 1, GET y                      B: waits ........... = 1
    /// ```
    a_queue_is_one_moment [NoDeferral OldDeferral] {
        let mut stage = Stage::new();
        stage.send(O, "multi; set x 1; set y 1; exec");
        stage.turns(&[A, B]);
        stage.hold(O, B);
        stage.turns(&[O, A, O, A]);
        stage.send(P, "get x");
        stage.turns(&[A]);
        let x = stage.reply(P);
        stage.send(P, "get y");
        stage.turns(&[B]);
        stage.release(O, B);
        stage.finish();
        let replies = format!("{x} {}", stage.reply(P)).trim().to_owned();
        assert_eq!(replies, "$1 $1");
        assert_eq!(stage.reply(O), "+OK +QUEUED +QUEUED *2 +OK +OK");
    }

    /// Keys of one tag live on one shard, and are locked one by one.
    ///
    /// ```text
    /// O  MSET {t}x 1 y 1    not fixed
    /// P  SET {t}z 2              runs at once
    /// ```
    a_tag_places_keys_and_doesnt_lock_them [] {
        let mut stage = Stage::new();
        let tag = key(&stage.server, "tag", A);
        let [one, two] = ["1", "2"].map(|key| format!("{{{tag}}}{key}"));
        assert_eq!((stage.server.owner(one.as_bytes()), stage.server.owner(two.as_bytes())), (A, A));
        stage.hold(O, B);
        stage.send(O, &format!("mset {one} 1 y 1"));
        stage.turns(&[A]);
        stage.send(P, &format!("set {two} 2"));
        stage.turns(&[A]);
        assert_eq!(stage.reply(P), "+OK");
        stage.send(P, &format!("get {one}"));
        stage.turns(&[A]);
        assert_eq!(stage.reply(P), "");
    }
}

/// Only the start of work waits for room: answers go through however full the rings are, or two
/// shards that flood each other would stop.
///
/// ```text
/// A  GET y, thousands    rings of two places, held    both ways
/// B  GET x, thousands
/// ```
#[test]
fn shards_that_flood_each_other_go_on() {
    // This seed's rings have two places.
    let mut server = Simulation::<Server>::new(&(), 2, 8);
    let clients = [A, B].map(|shard| client_of(&mut server, shard));
    let keys = [B, A].map(|shard| key(&server, "key", shard));
    server.hold(A, B, true);
    server.hold(B, A, true);
    for (client, key) in clients.iter().zip(&keys) {
        server.send(*client, format!("get {key}\n").repeat(10_000).as_bytes());
    }
    server.run();
    server.hold(A, B, false);
    server.hold(B, A, false);
    server.run();
    for client in clients {
        assert_eq!(text(server.receive(client)), "_\n".repeat(10_000));
    }
}
