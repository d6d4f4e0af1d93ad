//! What a burst's requests are and where they run, found out for all of them before the first one
//! runs, so that the memory they need is on its way by then.

use crate::args::Args;
use crate::commands::{Command, KeyRange, Route, Store};
use crate::hash::{KeyHasher, shard_of};
use crate::table::{Found, Table};

/// Where a request runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// Here, wherever the route says.
    Here,
    /// On one other shard.
    There(u16),
    /// On several, by its keys or on all.
    Several,
}

/// What a request was found to be.
pub(crate) enum Known<S: 'static> {
    /// A command, and its index among the port's.
    Command(&'static Command<S>, u32),
    /// A command that doesn't take so many arguments.
    Arity(&'static Command<S>, u32),
    /// A verb whose subcommand isn't known, or no verb at all.
    No(Option<&'static str>),
}

/// One request of a burst.
pub(crate) struct Planned<S: 'static> {
    pub(crate) known: Known<S>,
    pub(crate) place: Where,
    /// Its keys' hashes, in [`Plan::hashes`].
    hashes: (u32, u32),
}

/// The plan of a burst.
pub(crate) struct Plan<S: 'static> {
    pub(crate) requests: Vec<Planned<S>>,
    hashes: Vec<u64>,
    /// The owner of each key in `hashes`.
    owners: Vec<u16>,
}

impl<S: 'static> Default for Plan<S> {
    fn default() -> Self {
        Plan { requests: Vec::new(), hashes: Vec::new(), owners: Vec::new() }
    }
}

/// What keys are placed by.
pub(crate) struct Placement<'a> {
    pub(crate) hasher: &'a KeyHasher,
    pub(crate) me: usize,
    pub(crate) shards: usize,
}

impl Placement<'_> {
    /// A key's hash and its owner.
    #[inline]
    fn of<S: Store>(&self, key: &[u8]) -> (u64, u16) {
        let hash = self.hasher.hash(key);
        if self.shards == 1 {
            return (hash, 0);
        }
        let placed_by = S::placement(key);
        let place = if placed_by.len() == key.len() { hash } else { self.hasher.hash(placed_by) };
        (hash, shard_of(place, self.shards) as u16)
    }

    #[inline]
    fn place(&self, owner: u16) -> Where {
        if usize::from(owner) == self.me { Where::Here } else { Where::There(owner) }
    }
}

impl<S: Store> Plan<S> {
    /// Forgets the last burst.
    pub(crate) fn clear(&mut self) {
        self.requests.clear();
        self.hashes.clear();
        self.owners.clear();
    }

    /// Adds a request.
    #[inline]
    pub(crate) fn add(&mut self, table: &Table<S>, args: Args<'_>, placement: &Placement<'_>) {
        let start = self.hashes.len() as u32;
        let (known, place) = match table.find(args) {
            Found::Command(command, index) if command.info.takes(args.len()) => {
                (Known::Command(command, index as u32), self.route(command, args, placement))
            }
            Found::Command(command, index) => (Known::Arity(command, index as u32), Where::Here),
            Found::NoSubcommand(verb) => (Known::No(Some(verb)), Where::Here),
            Found::Unknown => (Known::No(None), Where::Here),
        };
        let hashes = (start, self.hashes.len() as u32);
        self.requests.push(Planned { known, place, hashes });
    }

    #[inline]
    fn route(&mut self, command: &Command<S>, args: Args<'_>, placement: &Placement<'_>) -> Where {
        match command.info.route {
            Route::Single(position) => {
                placement.place(self.add_key(args, position.into(), placement))
            }
            Route::Local | Route::Session => Where::Here,
            Route::Keys(range) => self.add_keys(range, args, placement),
            Route::Tx(_) => {
                command.info.route.each_key(args, |position| {
                    self.add_key(args, position, placement);
                });
                Where::Several
            }
            Route::All { .. } if placement.shards == 1 => Where::Here,
            Route::All { .. } => Where::Several,
            Route::At(shard) => {
                let shard = shard(args, placement.shards).min(placement.shards - 1);
                placement.place(shard as u16)
            }
        }
    }

    /// Adds all keys of a range. A function of its own: most requests have one key, and their way
    /// is short.
    #[inline(never)]
    fn add_keys(&mut self, range: KeyRange, args: Args<'_>, placement: &Placement<'_>) -> Where {
        let first = self.owners.len();
        range.each(args, |position| {
            self.add_key(args, position, placement);
        });
        match self.owners[first..].split_first() {
            // Without a key it is refused before anything runs, here.
            None => Where::Here,
            Some((owner, rest)) if rest.iter().all(|other| other == owner) => {
                placement.place(*owner)
            }
            Some(_) => Where::Several,
        }
    }

    /// Adds the key at a position; answers its owner.
    #[inline(always)]
    fn add_key(&mut self, args: Args<'_>, position: usize, placement: &Placement<'_>) -> u16 {
        let (hash, owner) = placement.of::<S>(args.get(position).unwrap_or(b""));
        self.hashes.push(hash);
        self.owners.push(owner);
        owner
    }

    /// Asks for the memory that the requests that run here need.
    #[inline]
    pub(crate) fn prefetch(&self, store: &S, scope: u64, me: usize) {
        // One lookup alone has nothing to overlap with.
        if self.hashes.len() < 2 {
            return;
        }
        let keys = self.hashes.iter().zip(&self.owners);
        let mine = keys.filter(|(_, owner)| usize::from(**owner) == me);
        prefetch_all(store, mine.map(|(&hash, _)| (hash, scope)));
    }

    /// The hashes of a request's keys.
    #[inline]
    pub(crate) fn hashes(&self, request: &Planned<S>) -> &[u64] {
        &self.hashes[request.hashes.0 as usize..request.hashes.1 as usize]
    }

    /// The owners of a request's keys.
    pub(crate) fn owners(&self, request: &Planned<S>) -> &[u16] {
        &self.owners[request.hashes.0 as usize..request.hashes.1 as usize]
    }
}

/// Asks for memory in two stages, first all buckets, then all records, over keys given by hash and
/// scope.
#[inline]
pub(crate) fn prefetch_all<S: Store>(store: &S, keys: impl Iterator<Item = (u64, u64)> + Clone) {
    for (hash, scope) in keys.clone() {
        store.prefetch(hash, scope);
    }
    for (hash, scope) in keys {
        store.prefetch_record(hash, scope);
    }
}
