//! The numbered databases of a shard, what they have in common, and making room in them.

use std::cell::Cell;
use std::rc::Rc;

use kevy_rt::{Changes, KeyHasher};

use crate::db::Db;
use crate::heap::RecordId;
use crate::outside::Object;
use crate::record::Record;
use crate::usage::{Tracking, Usage};

/// The time that all requests of a turn see. The databases of a shard share it.
#[derive(Clone, Debug, Default)]
pub struct Clock(Rc<Cell<u64>>);

impl Clock {
    /// Milliseconds since the Unix epoch.
    #[inline(always)]
    pub fn now_ms(&self) -> u64 {
        self.0.get()
    }

    /// Starts a turn.
    #[inline]
    pub fn set(&self, now_ms: u64) {
        self.0.set(now_ms);
    }
}

/// Counters of a shard's databases, since start or since they were last reset.
#[derive(Debug, Default)]
pub struct Stats {
    /// Reads that found their key.
    pub hits: Cell<u64>,
    /// Reads that didn't.
    pub misses: Cell<u64>,
    /// Keys removed because their time was over.
    pub expired: Cell<u64>,
    /// Keys removed to make room.
    pub evicted: Cell<u64>,
}

impl Stats {
    pub(crate) fn count_expired(&self, keys: u64) {
        self.expired.set(self.expired.get().wrapping_add(keys));
    }

    /// Starts again from zero.
    pub fn reset(&self) {
        for counter in [&self.hits, &self.misses, &self.expired, &self.evicted] {
            counter.set(0);
        }
    }
}

/// What the databases of a shard share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) clock: Clock,
    pub(crate) stats: Rc<Stats>,
    pub(crate) hasher: KeyHasher,
    pub(crate) usage: Usage,
}

/// Which key goes when room is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// None.
    Refuse,
    /// The one that was not used for longest.
    Recency(Among),
    /// The one that is used least often.
    Frequency(Among),
    /// Any.
    Random(Among),
    /// The one that expires first.
    Expiry,
}

/// Of which keys one goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// Of all.
    All,
    /// Of those that expire.
    Volatile,
}

impl Policy {
    fn is_volatile(self) -> bool {
        match self {
            Policy::Refuse => false,
            Policy::Recency(among) | Policy::Frequency(among) | Policy::Random(among) => {
                among == Among::Volatile
            }
            Policy::Expiry => true,
        }
    }
}

/// A key that may go.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// The higher, the sooner.
    score: u64,
    db: usize,
    hash: u64,
    id: RecordId,
}

/// The numbered databases of a shard. `T` is what values that aren't bytes are.
#[derive(Debug)]
pub struct Keyspace<T> {
    /// By number.
    pub dbs: Vec<Db<T>>,
    context: Rc<Context>,
    /// The best of those that were drawn lately, the best last.
    candidates: Vec<Candidate>,
    policy: Policy,
}

/// Candidates that are kept.
///
/// Smaller: a good one that was drawn is forgotten. Larger: more of them are gone or used again by
/// the time that they are taken.
const CANDIDATES: usize = 32;

/// In how many rounds of draws something must be found that can go.
const ROUNDS: usize = 64;

impl<T: Object> Keyspace<T> {
    /// `databases` empty ones, for keys that `hasher` hashed.
    pub fn new(databases: usize, hasher: &KeyHasher) -> Self {
        let context = Rc::new(Context {
            clock: Clock::default(),
            stats: Rc::default(),
            usage: Usage::new(hasher.hash(b"draws")),
            hasher: hasher.clone(),
        });
        let dbs = (0..databases).map(|number| Db::new(number as u64, context.clone())).collect();
        Keyspace { dbs, context, candidates: Vec::new(), policy: Policy::Refuse }
    }

    /// Says where to tell of each key that changes: a database's number is the key's space.
    pub fn attach(&mut self, changes: &Changes) {
        self.dbs.iter_mut().for_each(|db| db.attach(changes));
    }

    /// Starts a turn.
    #[inline]
    pub fn begin(&self, now_ms: u64) {
        self.context.clock.set(now_ms);
    }

    /// The time of this turn, in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.context.clock.now_ms()
    }

    /// What all databases count.
    pub fn stats(&self) -> &Stats {
        &self.context.stats
    }

    /// Says what to remember of the use of keys.
    pub fn track(&self, tracking: Tracking) {
        self.context.usage.tracking.set(tracking);
    }

    /// Empties every database.
    pub fn clear(&mut self) {
        self.dbs.iter_mut().for_each(Db::clear);
    }

    /// Exchanges two databases.
    ///
    /// # Panics
    /// If there is no such database.
    pub fn swap(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        let [first, second] =
            self.dbs.get_disjoint_mut([a, b]).expect("both are numbers of databases");
        first.exchange(second);
        self.candidates.clear();
    }

    /// How many keys there are in all.
    pub fn len(&self) -> usize {
        self.dbs.iter().map(Db::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.dbs.iter().all(Db::is_empty)
    }

    /// Bytes of memory that keys and values take, indexes included.
    pub fn memory(&self) -> usize {
        self.dbs.iter().map(Db::memory).sum()
    }

    /// Bytes that memory is taken for beside that: see [`Db::unused`].
    pub fn unused(&self) -> usize {
        self.dbs.iter().map(Db::unused).sum()
    }

    /// Removes some of what has expired; answers after how many milliseconds to go on. Keys whose
    /// hash `is_claimed` stay: somebody else is about to decide on them.
    pub fn tick(&mut self, is_claimed: &dyn Fn(u64) -> bool) -> Option<u64> {
        self.dbs.iter_mut().filter_map(|db| db.tick(is_claimed)).min()
    }

    /// Removes a key to make room, the best by `policy` among `draws` that are drawn now and those
    /// that were good when drawn earlier, and whose hashes are not held. False if nothing was
    /// found that may go.
    pub fn evict(&mut self, policy: Policy, draws: usize, is_held: &dyn Fn(u64) -> bool) -> bool {
        if policy == Policy::Refuse {
            return false;
        }
        if policy != self.policy {
            self.candidates.clear();
            self.policy = policy;
        }
        for _ in 0..ROUNDS {
            for _ in 0..draws.max(1) {
                self.draw(policy);
            }
            while let Some(best) = self.candidates.pop() {
                let db = &mut self.dbs[best.db];
                // It may be gone, or used since.
                let is_same = db.drawn(best.hash, best.id).is_some_and(|record| {
                    matches!(policy, Policy::Random(_)) || score(db, record, policy) >= best.score
                });
                if is_same && !is_held(best.hash) {
                    db.evict(best.hash, best.id);
                    let evicted = &self.context.stats.evicted;
                    evicted.set(evicted.get().wrapping_add(1));
                    return true;
                }
            }
            if self.is_empty() {
                return false;
            }
        }
        false
    }

    fn draw(&mut self, policy: Policy) {
        let volatile = policy.is_volatile();
        let keys = |db: &Db<T>| if volatile { db.volatile() } else { db.len() };
        let total: usize = self.dbs.iter().map(keys).sum();
        if total == 0 {
            return;
        }
        let mut drawn = self.context.usage.random.below(total);
        let number = self.dbs.iter().position(|db| {
            let is_here = drawn < keys(db);
            drawn = drawn.wrapping_sub(keys(db));
            is_here
        });
        let number = number.expect("the draw is below the sum");
        let db = &self.dbs[number];
        let (hasher, candidates) = (&self.context.hasher, &mut self.candidates);
        db.draw(volatile, |record| {
            let score = match policy {
                Policy::Random(_) => self.context.usage.random.next(),
                _ => score(db, record, policy),
            };
            let is_full = candidates.len() == CANDIDATES;
            if is_full && candidates[0].score >= score {
                return;
            }
            let at = candidates.partition_point(|candidate| candidate.score < score);
            // The same one drawn again has the same score, or is seen to be another when taken.
            let is_known = candidates[at..]
                .iter()
                .take_while(|candidate| candidate.score == score)
                .any(|candidate| candidate.id == record.id() && candidate.db == number);
            if is_known {
                return;
            }
            let hash = hasher.hash(record.key());
            candidates.insert(at, Candidate { score, db: number, hash, id: record.id() });
            if is_full {
                candidates.remove(0);
            }
        });
    }
}

/// How much a record should go.
fn score<T: Object>(db: &Db<T>, record: Record<'_, T>, policy: Policy) -> u64 {
    match policy {
        Policy::Recency(_) => db.idle_ms(record),
        Policy::Frequency(_) => u64::from(255 - db.frequency(record)),
        Policy::Expiry => u64::MAX - record.expires_ms(),
        Policy::Random(_) | Policy::Refuse => 0,
    }
}
