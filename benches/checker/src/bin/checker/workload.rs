//! What clients send next: random operations over a few keys that all of them use.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use clap::ValueEnum;

use crate::command::Command;

/// Kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// `GET`
    Get,
    /// `SET`, which doesn't tell what it replaces
    Set,
    /// `SET` with `GET`
    SetGet,
    /// `GETSET`
    #[value(name = "getset")]
    GetSet,
    /// `MGET`
    #[value(name = "mget")]
    MGet,
    /// `MSET`
    #[value(name = "mset")]
    MSet,
    /// `APPEND`, and `GET` of what was appended
    Append,
    /// `SADD` and `SMEMBERS`
    #[value(name = "sadd")]
    SAdd,
    /// `MULTI`, any of the above, `EXEC`
    Exec,
    /// `WATCH`, `GET`, and `EXEC` if nothing changed
    Watch,
}

/// How often each kind is drawn. Blind writes (`Set`, `MSet`) are few: what they replace must be
/// inferred.
const WEIGHTS: [(Kind, u64); 10] = [
    (Kind::Get, 18),
    (Kind::Set, 4),
    (Kind::SetGet, 14),
    (Kind::GetSet, 8),
    (Kind::MGet, 12),
    (Kind::MSet, 4),
    (Kind::Append, 10),
    (Kind::SAdd, 8),
    (Kind::Exec, 14),
    (Kind::Watch, 8),
];

/// Most values that are put into a list or a set before a fresh one takes its place. More make
/// reads and their check longer, fewer make long orders rarer.
const LONGEST: u32 = 200;

/// The most keys, or requests of a transaction, in an operation.
const WIDEST: u64 = 5;

/// What a client sends as one operation.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    One(Command),
    /// Between `MULTI` and `EXEC`.
    Transaction(Vec<Command>),
    /// `WATCH` and `GET` of these keys, then `MULTI`, these requests and `EXEC`.
    Watched(Vec<u32>, Vec<Command>),
}

/// The keys of a run, which all clients share.
pub(crate) struct Keys {
    /// Registers are numbered from 0 to this.
    registers: u32,
    lists: Vec<Slot>,
    sets: Vec<Slot>,
    next: AtomicU32,
}

/// The place of a list or a set that is replaced by a fresh one when it is long. Every client reads
/// and writes it; none needs to see another's write at once, so the order is relaxed.
struct Slot {
    key: AtomicU32,
    used: AtomicU32,
}

impl Keys {
    pub(crate) fn new(count: u32) -> Self {
        let slots = |from: u32| {
            let slot = |key| Slot { key: AtomicU32::new(key), used: AtomicU32::new(0) };
            (from..from + count).map(slot).collect()
        };
        Keys {
            registers: count,
            lists: slots(count),
            sets: slots(2 * count),
            next: AtomicU32::new(3 * count),
        }
    }

    /// A key to write to.
    fn for_write(&self, slot: &Slot) -> u32 {
        if slot.used.fetch_add(1, Ordering::Relaxed) >= LONGEST {
            slot.key.store(self.next.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
            slot.used.store(1, Ordering::Relaxed);
        }
        slot.key.load(Ordering::Relaxed)
    }
}

/// Draws a client's operations.
pub(crate) struct Draw<'a> {
    keys: &'a Keys,
    kinds: Vec<(Kind, u64)>,
    random: Random,
    /// The next value, and the distance to the one after it: clients write different values.
    value: u64,
    stride: u64,
}

impl<'a> Draw<'a> {
    /// For the client of this number, of so many. At least one kind must not be left out.
    pub(crate) fn new(
        keys: &'a Keys,
        left_out: &BTreeSet<Kind>,
        (client, clients): (u32, u32),
        seed: u64,
    ) -> Self {
        let mut kinds = WEIGHTS.to_vec();
        kinds.retain(|(kind, _)| !left_out.contains(kind));
        let mut random = Random(seed);
        let mixed = (0..=client).map(|_| random.next()).last().expect("one at least");
        Draw {
            keys,
            kinds,
            random: Random(mixed),
            value: u64::from(client) + 1,
            stride: u64::from(clients),
        }
    }

    pub(crate) fn next(&mut self) -> Step {
        match self.kind() {
            Kind::Exec => Step::Transaction(self.transaction()),
            Kind::Watch => {
                let count = 1 + self.random.below(3);
                let keys = self.registers(count);
                let written = 1 + self.random.below(keys.len() as u64);
                let mut commands: Vec<Command> = keys[..written as usize]
                    .iter()
                    .map(|&key| Command::Set(key, self.value()))
                    .collect();
                if self.random.below(2) == 0 {
                    commands.push(Command::Get(self.register()));
                }
                Step::Watched(keys, commands)
            }
            kind => Step::One(self.command(kind)),
        }
    }

    fn kind(&mut self) -> Kind {
        let total = self.kinds.iter().map(|(_, weight)| weight).sum();
        let mut left = self.random.below(total);
        for &(kind, weight) in &self.kinds {
            match left.checked_sub(weight) {
                Some(rest) => left = rest,
                None => return kind,
            }
        }
        unreachable!("less than the sum was drawn")
    }

    fn transaction(&mut self) -> Vec<Command> {
        let count = 2 + self.random.below(WIDEST - 1);
        (0..count)
            .map(|_| match self.kind() {
                Kind::Exec | Kind::Watch => Command::Get(self.register()),
                kind => self.command(kind),
            })
            .collect()
    }

    fn command(&mut self, kind: Kind) -> Command {
        let width = 2 + self.random.below(WIDEST - 1);
        let is_write = self.random.below(2) == 0;
        let slot = self.random.below(u64::from(self.keys.registers)) as usize;
        match kind {
            Kind::Set => Command::Set(self.register(), self.value()),
            Kind::SetGet => Command::SetGet(self.register(), self.value()),
            Kind::GetSet => Command::GetSet(self.register(), self.value()),
            Kind::MGet => Command::MGet(self.registers(width)),
            Kind::MSet => {
                let keys = self.registers(width);
                Command::MSet(keys.into_iter().map(|key| (key, self.value())).collect())
            }
            Kind::Append if is_write => {
                Command::Append(self.keys.for_write(&self.keys.lists[slot]), self.value())
            }
            Kind::Append => Command::GetList(self.keys.lists[slot].key.load(Ordering::Relaxed)),
            Kind::SAdd if is_write => {
                Command::SAdd(self.keys.for_write(&self.keys.sets[slot]), self.value())
            }
            Kind::SAdd => Command::SMembers(self.keys.sets[slot].key.load(Ordering::Relaxed)),
            Kind::Get | Kind::Exec | Kind::Watch => Command::Get(self.register()),
        }
    }

    fn register(&mut self) -> u32 {
        self.random.below(u64::from(self.keys.registers)) as u32
    }

    /// Different registers, so many if there are.
    fn registers(&mut self, count: u64) -> Vec<u32> {
        let mut keys = Vec::new();
        while (keys.len() as u64) < count.min(u64::from(self.keys.registers)) {
            let key = self.register();
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    fn value(&mut self) -> u64 {
        let value = self.value;
        self.value += self.stride;
        value
    }
}

/// Random numbers (Steele, Lea and Flood, SplitMix, 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
