//! The keys that connections watch, on the shard that owns them: each change marks who watches.
//!
//! A store tells of each change of a key through its [`Changes`]. Nobody watching costs it a load
//! and a branch.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::fault::{self, Fault};
use crate::args::Key;
use crate::conn::ConnId;

/// One stretch of watching of one connection: from its first watched key until they are dropped.
/// No two of a server are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WatchId {
    /// The connection's shard.
    pub(crate) shard: u16,
    pub(crate) conn: ConnId,
    /// Among those of the shard.
    pub(crate) number: u64,
}

/// A key in its space.
type Name = (u64, Box<[u8]>);

#[derive(Debug)]
struct Watched {
    hash: u64,
    name: Name,
    watchers: Vec<WatchId>,
}

#[derive(Debug, Default)]
struct Watch {
    is_marked: bool,
    keys: Vec<u64>,
}

#[derive(Debug, Default)]
struct Table {
    /// By hash, and then few: keys of one name in several spaces.
    keys: HashMap<u64, Vec<Watched>>,
    watches: HashMap<WatchId, Watch>,
    /// Those that were marked since they were told last.
    news: Vec<WatchId>,
}

impl Table {
    /// Marks those who watch what `changed`.
    fn mark<'a>(
        watches: &mut HashMap<WatchId, Watch>,
        news: &mut Vec<WatchId>,
        changed: impl Iterator<Item = &'a Watched>,
    ) {
        for watcher in changed.flat_map(|watched| &watched.watchers) {
            let watch = watches.entry(*watcher).or_default();
            if !watch.is_marked {
                watch.is_marked = true;
                news.push(*watcher);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    /// How many keys are watched.
    watched: Cell<usize>,
    /// Whether watches were marked since they were told last.
    has_news: Cell<bool>,
    table: RefCell<Table>,
}

/// Where a shard's store tells which keys it changes: those that are watched are marked.
///
/// A store has the same one for all its life; clones are handles to it.
#[derive(Clone, Debug, Default)]
pub struct Changes(Rc<Inner>);

impl Changes {
    /// Whether any key is watched: nothing need be told otherwise.
    #[inline(always)]
    pub fn matter(&self) -> bool {
        self.0.watched.get() != 0
    }

    /// A key was written, removed, or made to expire. `space` is what the store makes of a
    /// request's scope: [`Store::space`](crate::Store::space).
    #[inline(always)]
    pub fn changed(&self, space: u64, key: Key<'_>) {
        if self.matter() {
            self.mark(space, key.hash(), key.bytes());
        }
    }

    /// The same for a key that is known by its hash and bytes.
    #[inline]
    pub fn changed_name(&self, space: u64, hash: u64, key: &[u8]) {
        if self.matter() {
            self.mark(space, hash, key);
        }
    }

    #[cold]
    fn mark(&self, space: u64, hash: u64, key: &[u8]) {
        if fault::is_on(Fault::LostMark) {
            return;
        }
        let Table { keys, watches, news } = &mut *self.0.table.borrow_mut();
        let Some(watched) = keys.get(&hash) else { return };
        let is_it = |it: &&Watched| it.name.0 == space && *it.name.1 == *key;
        Table::mark(watches, news, watched.iter().filter(is_it));
        self.0.has_news.set(!news.is_empty());
    }

    /// Whether a watch was marked since [`Changes::take_news`].
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.0.has_news.get()
    }

    /// The watches that were marked since this was asked last.
    pub(crate) fn take_news(&self) -> Vec<WatchId> {
        self.0.has_news.set(false);
        std::mem::take(&mut self.0.table.borrow_mut().news)
    }

    /// Many keys of a space may have changed: marks those for which `is_changed` says so.
    pub fn changed_where(&self, space: u64, mut is_changed: impl FnMut(Key<'_>) -> bool) {
        if !self.matter() {
            return;
        }
        let Table { keys, watches, news } = &mut *self.0.table.borrow_mut();
        let named = keys.values().flatten().filter(|it| it.name.0 == space);
        let changed = named.filter(|it| is_changed(Key::new(&it.name.1, it.hash)));
        Table::mark(watches, news, changed);
        self.0.has_news.set(!news.is_empty());
    }

    /// Watches a key for a connection from now on.
    pub(crate) fn watch(&self, watch: WatchId, space: u64, key: Key<'_>) {
        let Table { keys, watches, .. } = &mut *self.0.table.borrow_mut();
        let named = keys.entry(key.hash()).or_default();
        let name = |it: &&mut Watched| it.name.0 == space && *it.name.1 == *key.bytes();
        let watched = match named.iter_mut().find(name) {
            Some(watched) => watched,
            None => {
                self.0.watched.set(self.0.watched.get() + 1);
                let name = (space, key.bytes().into());
                named.push(Watched { hash: key.hash(), name, watchers: Vec::new() });
                named.last_mut().expect("it was pushed")
            }
        };
        let watch_of = watches.entry(watch).or_default();
        if !watched.watchers.contains(&watch) {
            watched.watchers.push(watch);
            watch_of.keys.push(key.hash());
        }
    }

    /// Whether a key of the watch was changed.
    pub(crate) fn is_marked(&self, watch: WatchId) -> bool {
        self.0.table.borrow().watches.get(&watch).is_some_and(|watch| watch.is_marked)
    }

    /// Drops a watch.
    pub(crate) fn unwatch(&self, watch: WatchId) {
        let Table { keys, watches, .. } = &mut *self.0.table.borrow_mut();
        let Some(dropped) = watches.remove(&watch) else { return };
        for hash in dropped.keys {
            let Some(named) = keys.get_mut(&hash) else { continue };
            for watched in named.iter_mut() {
                watched.watchers.retain(|watcher| *watcher != watch);
            }
            let before = named.len();
            named.retain(|watched| !watched.watchers.is_empty());
            self.0.watched.set(self.0.watched.get() - (before - named.len()));
            if named.is_empty() {
                keys.remove(&hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_mark_who_watches_the_key_in_its_space() {
        let changes = Changes::default();
        let key = Key::new(b"k", 7);
        let conn = ConnId { slot: 0, generation: 0 };
        let (one, two) =
            (WatchId { shard: 0, conn, number: 1 }, WatchId { shard: 0, conn, number: 2 });
        changes.watch(one, 0, key);
        changes.watch(one, 0, key);
        changes.watch(two, 1, key);
        changes.changed(0, Key::new(b"other", 7));
        assert!(!changes.is_marked(one) && !changes.is_marked(two));
        changes.changed(0, key);
        changes.changed(0, key);
        assert!(changes.is_marked(one) && !changes.is_marked(two));
        assert!(changes.has_news());
        assert_eq!(changes.take_news(), [one]);
        assert!(!changes.has_news());
        changes.unwatch(one);
        assert!(!changes.is_marked(one) && changes.matter());
        changes.changed_where(1, |key| key.bytes() == b"k");
        assert!(changes.is_marked(two));
        changes.unwatch(two);
        assert!(!changes.matter());
    }
}
