//! One numbered database of a shard: what commands read and write.
//!
//! A key whose time is over is not there for any reader, from the next millisecond on. It is
//! removed by the next write of it or by a tick, and counts as a key until then.

use std::collections::VecDeque;
use std::rc::Rc;

use kevy_rt::{Changes, Key, KeyHasher, Value};

use crate::due::{Due, Found};
use crate::heap::{Heap, RecordId};
use crate::index::{Index, Matches, Position, Rehash};
use crate::keyspace::Context;
use crate::outside::{Detached, Object, Outside, Payload};
use crate::record::{self, Draft, Extra, Header, Meta, Record};

/// Most keys removed by one [`Db::tick`] because they expired: some tens of microseconds.
///
/// Smaller: keys with short lives may come faster than they go. Larger: requests wait.
const EXPIRED_PER_TICK: usize = 1024;

/// Most blocks of records whose expiries one [`Db::tick`] looks at: 64 KiB, some microseconds.
const BLOCKS_PER_TICK: usize = 8 * 1024;

/// Most blocks whose records one [`Db::tick`] looks at one by one.
const SEARCHED_PER_TICK: usize = 128;

/// Most pieces of memory of a cleared database that one [`Db::tick`] frees.
const FREED_PER_TICK: usize = 64;

/// Most records that one [`Db::tick`] moves together.
const MOVED_PER_TICK: usize = 512;

/// [`Db::tick`] left something to be done: it goes on in the next turn.
pub(crate) const AT_ONCE: u64 = 0;

/// The longest that [`Db::tick`] is not called while a key may expire: one that was set since may
/// expire before all others. In milliseconds.
const LONGEST_WAIT_MS: u64 = 250;

/// What becomes of a key's expiry when it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It stays.
    Keep,
    /// There is none any more.
    Never,
    /// It is this, in milliseconds since the Unix epoch. Not zero.
    At(u64),
}

/// The keys of a database and all that belongs to them.
#[derive(Debug)]
struct Data<T> {
    index: Index,
    heap: Heap,
    outside: Outside<T>,
    due: Due,
    volatile: usize,
}

impl<T> Default for Data<T> {
    fn default() -> Self {
        Data {
            index: Index::default(),
            heap: Heap::default(),
            outside: Outside::default(),
            due: Due::default(),
            volatile: 0,
        }
    }
}

/// One numbered database of a shard. `T` is what values that aren't bytes are.
#[derive(Debug)]
pub struct Db<T> {
    data: Data<T>,
    context: Rc<Context>,
    /// Its number, by which it tells of changes.
    number: u64,
    changes: Changes,
    /// What was cleared and isn't freed yet.
    discarded: VecDeque<Data<T>>,
}

impl<T: Object> Data<T> {
    #[inline(always)]
    fn record(&self, id: RecordId) -> Record<'_, T> {
        Record::new(&self.heap, &self.outside, id)
    }

    #[inline(always)]
    fn find(&self, key: Key<'_>) -> Option<RecordId> {
        self.index.find(key.hash(), &KeyIs { data: self, key: key.bytes() })
    }

    /// Writes a record that isn't there yet.
    fn insert(
        &mut self,
        context: &Context,
        key: Key<'_>,
        value: NewValue<'_, T>,
        meta: Meta,
    ) -> RecordId {
        let key_outside = (!record::key_fits_inside(key.bytes().len()))
            .then(|| self.outside.add_key(key.bytes()));
        let access = context.usage.first(context.clock.now_ms());
        let id = self.write_new(key.bytes(), key_outside, value, meta, access);
        let Data { index, heap, outside, .. } = self;
        index.insert(key.hash(), id, &Keys { heap, outside, hasher: &context.hasher });
        id
    }

    /// Writes a record to a new place.
    fn write_new(
        &mut self,
        key: &[u8],
        key_outside: Option<u32>,
        value: NewValue<'_, T>,
        meta: Meta,
        access: u32,
    ) -> RecordId {
        let fits = |len| record::fits_inside(key.len(), len, meta.extra.is_some());
        let draft = match value {
            NewValue::Bytes(value) if fits(value.len()) => Draft::new(key, value.bytes(), meta),
            NewValue::Bytes(value) => {
                let number = self.outside.add(Payload::new(value));
                Draft::outside(key, number, meta)
            }
            NewValue::Payload(payload) => {
                let number = self.outside.add(payload);
                Draft::outside(key, number, meta)
            }
            NewValue::Outside(number) => Draft::outside(key, number, meta),
        };
        let draft = match key_outside {
            Some(number) => draft.with_key_outside(number),
            None => draft,
        };
        let id = self.heap.allocate(draft.len());
        draft.write(&mut self.heap, id, access);
        if meta.expires_ms != 0 {
            self.volatile += 1;
            self.due.note(id.block(), meta.expires_ms);
        }
        id
    }

    /// Writes another value and what belongs to it for a key that has a record. Answers where that
    /// is now.
    #[inline]
    fn overwrite(
        &mut self,
        context: &Context,
        key: Key<'_>,
        id: RecordId,
        value: NewValue<'_, T>,
        meta: Meta,
    ) -> RecordId {
        let old = self.record(id);
        let header = old.header();
        let access = context.usage.again(old.access(), context.clock.now_ms());
        let keeps_expiry = old.expires_ms() == meta.expires_ms;
        if let NewValue::Bytes(value) = value
            && keeps_expiry
            && !header.value_is_outside()
            && header.has_extra() == meta.extra.is_some()
            && record::fits_inside(key.bytes().len(), value.len(), meta.extra.is_some())
        {
            let len = header.len_with(value.len());
            if Heap::suits(len, self.heap.room(id)) {
                if let Some(extra) = meta.extra {
                    old.set_extra(extra);
                }
                record::overwrite(&mut self.heap, id, value.bytes(), meta.tag, access);
                return id;
            }
        }
        self.rewrite(key, id, value, meta, access)
    }

    fn rewrite(
        &mut self,
        key: Key<'_>,
        id: RecordId,
        value: NewValue<'_, T>,
        meta: Meta,
        access: u32,
    ) -> RecordId {
        let (key_outside, value_outside) = record::outside_numbers(&self.heap, id);
        let fits = |len| record::fits_inside(key.bytes().len(), len, meta.extra.is_some());
        let value = match (value, value_outside) {
            // What is outside stays there, in its allocation if it suits.
            (NewValue::Bytes(value), Some(number)) if !fits(value.len()) => {
                self.outside.change(number, |payload| payload.set(value));
                NewValue::Outside(number)
            }
            (NewValue::Outside(same), Some(_)) => NewValue::Outside(same),
            (value, Some(number)) => {
                drop(self.outside.remove(number));
                value
            }
            (value, None) => value,
        };
        self.forget(id);
        let new = self.write_new(key.bytes(), key_outside, value, meta, access);
        if new != id {
            self.index.replace(key.hash(), id, new);
        }
        new
    }

    /// Gives a record's place back, but not what it keeps outside.
    fn forget(&mut self, id: RecordId) {
        if Header(self.heap.header(id)).expires() {
            self.volatile -= 1;
        }
        self.heap.free(id);
    }

    /// Removes a record. `hash` is its key's.
    fn remove(&mut self, hash: u64, id: RecordId) -> Option<Payload<T>> {
        let (key, value) = record::outside_numbers(&self.heap, id);
        self.index.remove(hash, id);
        self.forget(id);
        if let Some(key) = key {
            self.outside.remove_key(key);
        }
        value.map(|value| self.outside.remove(value))
    }

    /// Changes when a record expires; zero for never. Answers where it is now.
    fn set_expiry(&mut self, key: Key<'_>, id: RecordId, expires_ms: u64) -> RecordId {
        let record = self.record(id);
        let old = record.expires_ms();
        if old == expires_ms {
            return id;
        }
        if old != 0 && expires_ms != 0 {
            record::set_expiry(&mut self.heap, id, expires_ms);
            self.due.note(id.block(), expires_ms);
            return id;
        }
        let meta = Meta { tag: record.tag(), expires_ms, extra: record.extra() };
        let access = record.access();
        let (_, value_outside) = record::outside_numbers(&self.heap, id);
        match value_outside {
            Some(number) => self.rewrite(key, id, NewValue::Outside(number), meta, access),
            None => {
                let value = record.value().bytes().to_vec();
                self.rewrite(key, id, NewValue::Bytes(Value::Slice(&value)), meta, access)
            }
        }
    }

    /// Makes one class of records shorter by up to `most` places.
    fn compact(&mut self, context: &Context, most: usize) -> bool {
        let mut moved = 0;
        while moved < most {
            let Some(class) = self.heap.class_to_compact() else { return false };
            // Some at once, so that the classes aren't looked through for each.
            for _ in 0..32 {
                moved += 1;
                let Some(step) = self.heap.compact(class) else { continue };
                let record = self.record(step.to);
                let expires_ms = record.expires_ms();
                let hash = context.hasher.hash(record.key());
                self.index.replace(hash, step.from, step.to);
                if expires_ms != 0 {
                    self.due.note(step.to.block(), expires_ms);
                }
            }
        }
        true
    }

    fn memory(&self) -> usize {
        self.index.memory() + self.heap.memory() + self.outside.memory() + self.due.memory()
    }

    /// Bytes that were taken from the system.
    fn taken(&self) -> usize {
        self.index.memory() + self.index.unused() + self.heap.taken() + self.outside.memory()
    }

    /// Frees some of it, when it isn't needed any more. Answers whether something is left.
    fn dismantle(&mut self, most: usize) -> bool {
        let mut left = most;
        left -= self.outside.dismantle(left).min(left);
        left -= self.heap.dismantle(left).min(left);
        left -= self.index.dismantle(left).min(left);
        left == 0
    }
}

/// The record of a key.
struct KeyIs<'a, T> {
    data: &'a Data<T>,
    key: &'a [u8],
}

impl<T: Object> Matches for KeyIs<'_, T> {
    #[inline(always)]
    fn is(&self, id: RecordId) -> bool {
        // A record may lie in two lines: asked for at once they come at once.
        self.data.heap.prefetch(id);
        self.data.record(id).key() == self.key
    }
}

/// The keys of records, to be hashed again.
struct Keys<'a, T> {
    heap: &'a Heap,
    outside: &'a Outside<T>,
    hasher: &'a KeyHasher,
}

impl<T: Object> Rehash for Keys<'_, T> {
    fn ask(&self, id: RecordId) {
        self.heap.prefetch(id);
    }

    fn hash(&self, id: RecordId) -> u64 {
        self.hasher.hash(Record::new(self.heap, self.outside, id).key())
    }
}

/// What a record's value is to be.
enum NewValue<'a, T> {
    Bytes(Value<'a>),
    Payload(Payload<T>),
    /// It is outside already.
    Outside(u32),
}

impl<T: Object> Db<T> {
    pub(crate) fn new(number: u64, context: Rc<Context>) -> Self {
        let (data, changes) = (Data::default(), Changes::default());
        Db { data, context, number, changes, discarded: VecDeque::new() }
    }

    /// Tells of its changes there from now on.
    pub(crate) fn attach(&mut self, changes: &Changes) {
        self.changes = changes.clone();
    }

    /// How many keys there are, expired ones that were not removed yet included.
    #[inline]
    pub fn len(&self) -> usize {
        self.data.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many keys have an expiry.
    pub fn volatile(&self) -> usize {
        self.data.volatile
    }

    /// Bytes of memory that keys and values take, the index included.
    #[inline]
    pub fn memory(&self) -> usize {
        if self.is_empty() { 0 } else { self.data.memory() }
    }

    /// Bytes that lie between records or are kept for the index, or were cleared and are not freed
    /// yet: what memory is taken for beside [`Db::memory`].
    pub fn unused(&self) -> usize {
        let between = self.data.heap.taken().saturating_sub(self.data.heap.memory());
        let between = between + self.data.index.unused();
        let cleared = self.discarded.iter().map(Data::taken);
        between + cleared.sum::<usize>()
    }

    /// The time of this turn, in milliseconds since the Unix epoch.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.context.clock.now_ms()
    }

    #[inline(always)]
    fn is_live(&self, record: Record<'_, T>) -> bool {
        // The clock is read only for what expires.
        !record.header().expires() || !record.is_expired(self.now_ms())
    }

    /// The record of `key`, if it is there and its time is not over. That doesn't use it.
    #[inline(always)]
    pub fn find(&self, key: Key<'_>) -> Option<Record<'_, T>> {
        let record = self.data.record(self.data.find(key)?);
        self.is_live(record).then_some(record)
    }

    /// Same as [`Db::find`] for a command that reads: counted as a hit or a miss, and used.
    #[inline(always)]
    pub fn read(&self, key: Key<'_>) -> Option<Record<'_, T>> {
        self.counted(self.find(key))
    }

    /// Same as [`Db::read`] for a command that asks about the key and doesn't use it: counted only.
    #[inline]
    pub fn peek(&self, key: Key<'_>) -> Option<Record<'_, T>> {
        let found = self.find(key);
        self.count(found.is_some());
        found
    }

    #[inline(always)]
    fn count(&self, is_hit: bool) {
        let stats = &self.context.stats;
        let counter = if is_hit { &stats.hits } else { &stats.misses };
        counter.set(counter.get().wrapping_add(1));
    }

    #[inline(always)]
    fn counted<'a>(&'a self, found: Option<Record<'a, T>>) -> Option<Record<'a, T>> {
        self.count(found.is_some());
        let record = found?;
        let access = self.context.usage.again(record.access(), self.now_ms());
        // A line that isn't written need not be written back.
        if access != record.access() {
            record.set_access(access);
        }
        Some(record)
    }

    /// The bytes of `key`; counted as a hit or a miss, and used.
    #[inline(always)]
    pub fn get(&self, key: Key<'_>) -> Option<Value<'_>> {
        self.read(key).map(Record::value)
    }

    /// The place of `key`, to be read and changed with one lookup. An expired record is removed.
    #[inline(always)]
    pub fn entry<'a>(&'a mut self, key: Key<'a>) -> Entry<'a, T> {
        let mut id = self.data.find(key);
        if let Some(found) = id
            && !self.is_live(self.data.record(found))
        {
            self.changes.changed(self.number, key);
            self.data.remove(key.hash(), found);
            self.context.stats.count_expired(1);
            id = None;
        }
        Entry { db: self, key, id }
    }

    /// Removes `key` if its time is over.
    pub fn settle(&mut self, key: Key<'_>) {
        self.entry(key);
    }

    /// Sets `key` to bytes; `tag` is what the protocol has to say of them.
    #[inline]
    pub fn set(&mut self, key: Key<'_>, value: Value<'_>, tag: u8, expiry: Expiry) {
        self.entry(key).put(value, tag, expiry);
    }

    /// Removes `key`. False if it was not there.
    #[inline]
    pub fn remove(&mut self, key: Key<'_>) -> bool {
        self.entry(key).remove()
    }

    /// All records that are there.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_, T>> {
        let records = self.data.index.iter().map(|id| self.data.record(id));
        records.filter(|record| self.is_live(*record))
    }

    /// Calls `visit` with a few records, and answers the cursor for the next few, 0 at the end. A
    /// pass, which starts with cursor 0, visits every key that is there all the time, whatever else
    /// comes and goes. Any number is good for a cursor.
    pub fn scan<'a>(&'a self, cursor: u64, mut visit: impl FnMut(Record<'a, T>)) -> u64 {
        let Some(from) = Position::from_number(cursor) else { return 0 };
        let next = self.data.index.scan(from, |id| {
            let record = self.data.record(id);
            if self.is_live(record) {
                visit(record);
            }
        });
        next.map_or(0, Position::number)
    }

    /// A random key, each as likely as any other; `None` if there is none.
    pub fn random_key(&self) -> Option<&[u8]> {
        let places = self.data.heap.places();
        if places == 0 {
            return None;
        }
        // At least one place in two holds a record, unless much was removed just now or has expired.
        const DRAWS: usize = 256;
        let random = &self.context.usage.random;
        let drawn = (0..DRAWS).find_map(|_| {
            let record = self.data.record(self.data.heap.nth(random.below(places))?);
            self.is_live(record).then_some(record)
        });
        drawn.or_else(|| self.iter().next()).map(Record::key)
    }

    /// Milliseconds since a record was last used.
    pub fn idle_ms(&self, record: Record<'_, T>) -> u64 {
        self.context.usage.idle_ms(record.access(), self.now_ms())
    }

    /// How often a record is used, from 0 to 255 on a logarithmic scale; only while
    /// [`Tracking::Frequency`](crate::Tracking) is.
    pub fn frequency(&self, record: Record<'_, T>) -> u8 {
        self.context.usage.frequency(record.access(), self.now_ms())
    }

    /// Removes all keys. Their memory is freed by and by.
    pub fn clear(&mut self) {
        self.changes.changed_where(self.number, |key| self.data.find(key).is_some());
        self.discard();
    }

    fn discard(&mut self) {
        // A database that nothing is in, as most are, is left as it is.
        if self.data.heap.places() > 0 {
            self.discarded.push_back(std::mem::take(&mut self.data));
        }
    }

    /// Exchanges the keys of two databases.
    pub(crate) fn exchange(&mut self, other: &mut Self) {
        let (ours, theirs) = (other.tell_of_exchange(self), self.tell_of_exchange(other));
        self.remove_all(ours);
        other.remove_all(theirs);
        std::mem::swap(&mut self.data, &mut other.data);
    }

    /// Tells of watched keys that are here now, or are there when the keys of `next` are here.
    /// Answers those of them that come here with their time over: that they are removed some time
    /// is no change, as they never were here.
    fn tell_of_exchange(&self, next: &Self) -> Vec<(u64, RecordId)> {
        let mut over = Vec::new();
        self.changes.changed_where(self.number, |key| {
            let is_here = self.data.find(key).is_some();
            match next.data.find(key) {
                Some(id) if !next.is_live(next.data.record(id)) => {
                    over.push((key.hash(), id));
                    is_here
                }
                coming => is_here || coming.is_some(),
            }
        });
        over
    }

    fn remove_all(&mut self, expired: Vec<(u64, RecordId)>) {
        self.context.stats.count_expired(expired.len() as u64);
        expired.into_iter().for_each(|(hash, id)| drop(self.data.remove(hash, id)));
    }

    /// Removes some of what has expired and isn't claimed, frees some of what was cleared, and
    /// moves records together. Answers after how many milliseconds there is more to do.
    pub(crate) fn tick(&mut self, is_claimed: &dyn Fn(u64) -> bool) -> Option<u64> {
        if self.is_empty() {
            self.discard();
        }
        if let Some(data) = self.discarded.front_mut() {
            if !data.dismantle(FREED_PER_TICK) {
                self.discarded.pop_front();
            }
            return Some(AT_ONCE);
        }
        if self.is_empty() {
            return None;
        }
        // What has expired goes first: it need not be moved.
        let next = if self.data.volatile == 0 { None } else { self.remove_expired(is_claimed) };
        if next != Some(AT_ONCE) && self.data.compact(&self.context, MOVED_PER_TICK) {
            return Some(AT_ONCE);
        }
        next
    }

    fn remove_expired(&mut self, is_claimed: &dyn Fn(u64) -> bool) -> Option<u64> {
        let now_ms = self.now_ms();
        let (mut blocks, mut expired) = (BLOCKS_PER_TICK, Vec::new());
        let mut searched = 0;
        let next = loop {
            if expired.len() >= EXPIRED_PER_TICK || searched == SEARCHED_PER_TICK {
                break None;
            }
            match self.data.due.find(now_ms, &mut blocks) {
                Found::Paused => break None,
                Found::End(next) => break Some(next),
                Found::Block(block) => {
                    searched += 1;
                    let Data { heap, outside, due, .. } = &mut self.data;
                    for id in heap.in_block(block) {
                        let record = Record::new(heap, outside, id);
                        match record.expires_ms() {
                            0 => {}
                            expires_ms if !record.is_expired(now_ms) => {
                                due.note(block, expires_ms);
                            }
                            _ => {
                                let hash = self.context.hasher.hash(record.key());
                                if is_claimed(hash) {
                                    // It is looked at again a millisecond later.
                                    due.note(block, now_ms);
                                    continue;
                                }
                                self.changes.changed_name(self.number, hash, record.key());
                                expired.push((hash, id));
                            }
                        }
                    }
                }
            }
        };
        // One pass asks for the lines, the other one finds them there.
        expired.iter().for_each(|&(hash, _)| self.data.index.prefetch(hash));
        self.remove_all(expired);
        match next {
            None => Some(AT_ONCE),
            // It moved to where this pass had been.
            Some(Some(next)) if next < now_ms => Some(AT_ONCE),
            Some(next) => {
                let over_ms = next.map_or(LONGEST_WAIT_MS, |next| next.saturating_sub(now_ms) + 1);
                (self.volatile() > 0).then_some(over_ms.min(LONGEST_WAIT_MS))
            }
        }
    }

    /// Asks for what a lookup of `hash` reads first, if that pays.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        self.data.index.prefetch(hash);
    }

    /// Asks for what a lookup of `hash` reads next, if that pays.
    #[inline(always)]
    pub fn prefetch_record(&self, hash: u64) {
        if let Some(id) = self.data.index.first_candidate(hash) {
            self.data.heap.prefetch(id);
        }
    }

    /// Draws a record for eviction; `None` if this draw hit none. With `volatile`, one that expires.
    pub(crate) fn draw(&self, volatile: bool, mut see: impl FnMut(Record<'_, T>)) {
        let random = &self.context.usage.random;
        if !volatile {
            let places = self.data.heap.places();
            if places > 0
                && let Some(id) = self.data.heap.nth(random.below(places))
            {
                see(self.data.record(id));
            }
            return;
        }
        /// Blocks that are looked at for one in which something expires.
        const NEAR: usize = 1024;
        let blocks = self.data.due.blocks();
        if blocks == 0 {
            return;
        }
        let Some(block) = self.data.due.some_block(random.below(blocks), NEAR) else { return };
        let records = self.data.heap.in_block(block).map(|id| self.data.record(id));
        records.filter(|record| record.header().expires()).for_each(see);
    }

    /// The record of a hash and id that a draw told, if it is there.
    pub(crate) fn drawn(&self, hash: u64, id: RecordId) -> Option<Record<'_, T>> {
        let id = self.data.index.find(hash, &|other| other == id)?;
        Some(self.data.record(id))
    }

    /// Removes a record to make room.
    pub(crate) fn evict(&mut self, hash: u64, id: RecordId) {
        self.changes.changed_name(self.number, hash, self.data.record(id).key());
        drop(self.data.remove(hash, id));
    }
}

/// The place of a key in a database, with or without a record.
#[derive(Debug)]
pub struct Entry<'a, T> {
    db: &'a mut Db<T>,
    key: Key<'a>,
    id: Option<RecordId>,
}

impl<T: Object> Entry<'_, T> {
    /// The time of this turn, in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.db.now_ms()
    }

    /// The record, if there is one.
    #[inline(always)]
    pub fn record(&self) -> Option<Record<'_, T>> {
        self.id.map(|id| self.db.data.record(id))
    }

    /// Whether there is one.
    #[inline(always)]
    pub fn exists(&self) -> bool {
        self.id.is_some()
    }

    /// The bytes, for a command that reads them: counted as a hit or a miss, and used.
    #[inline]
    pub fn read(&self) -> Option<Value<'_>> {
        self.db.counted(self.record()).map(Record::value)
    }

    /// Sets bytes, whether or not there was a value; `tag` is what the protocol has to say of them.
    #[inline(always)]
    pub fn put(&mut self, value: Value<'_>, tag: u8, expiry: Expiry) {
        self.put_new(NewValue::Bytes(value), tag, expiry, None);
    }

    /// The same, with extra words beside them.
    #[inline(always)]
    pub fn put_with(&mut self, value: Value<'_>, tag: u8, expiry: Expiry, extra: Extra) {
        self.put_new(NewValue::Bytes(value), tag, expiry, Some(extra));
    }

    /// Sets a value of another type.
    pub fn put_object(&mut self, object: T, tag: u8, expiry: Expiry) {
        self.put_new(NewValue::Payload(Payload::Object(object)), tag, expiry, None);
    }

    /// Puts a value that was taken or copied elsewhere, with its expiry.
    pub fn put_detached(&mut self, detached: Detached<T>) {
        let Detached { payload, tag, expires_ms, extra, access } = detached;
        let expiry = if expires_ms == 0 { Expiry::Never } else { Expiry::At(expires_ms) };
        let key_len = self.key.bytes().len();
        match &payload {
            Payload::Bytes(bytes) if record::fits_inside(key_len, bytes.len(), extra.is_some()) => {
                self.put_new(NewValue::Bytes(Value::Slice(bytes)), tag, expiry, extra);
            }
            _ => self.put_new(NewValue::Payload(payload), tag, expiry, extra),
        }
        if let (Some(record), Some(access)) = (self.record(), access) {
            record.set_access(access);
        }
    }

    /// Removes the key and answers its value, to be put elsewhere; `None` if it was not there.
    pub fn take(&mut self) -> Option<Detached<T>> {
        let id = self.id.take()?;
        self.tell();
        let record = self.db.data.record(id);
        let (tag, expires_ms, access) = (record.tag(), record.expires_ms(), record.access());
        let extra = record.extra();
        let inside = (!record.header().value_is_outside())
            .then(|| Payload::Bytes(record.value().bytes().to_vec()));
        let outside = self.db.data.remove(self.key.hash(), id);
        let payload = inside.or(outside).expect("a value is in its record or outside");
        Some(Detached { payload, tag, expires_ms, extra, access: Some(access) })
    }

    /// Tells of a change of the key.
    #[inline(always)]
    fn tell(&self) {
        self.db.changes.changed(self.db.number, self.key);
    }

    #[inline(always)]
    fn put_new(&mut self, value: NewValue<'_, T>, tag: u8, expiry: Expiry, extra: Option<Extra>) {
        self.tell();
        let expires_ms = match expiry {
            Expiry::Keep => self.expires_ms().unwrap_or(0),
            Expiry::Never => 0,
            Expiry::At(expires_ms) => expires_ms,
        };
        let meta = Meta { tag, expires_ms, extra };
        let Db { data, context, .. } = &mut *self.db;
        self.id = Some(match self.id {
            Some(id) => data.overwrite(context, self.key, id, value, meta),
            None => data.insert(context, self.key, value, meta),
        });
    }

    /// Changes the value's bytes, with zeros appended up to `len`, and sets its tag. No value is an
    /// empty one. Extra words are gone.
    pub fn edit<R>(&mut self, len: usize, tag: u8, edit: impl FnOnce(&mut [u8]) -> R) -> R {
        let Some(record) = self.record() else {
            return self.edit_new(b"", len, tag, edit);
        };
        let (id, header, old) = (record.id(), record.header(), record.value().len());
        if header.has_extra() {
            // It moves, as it gets shorter.
            let bytes = record.value().bytes().to_vec();
            return self.edit_new(&bytes, len, tag, edit);
        }
        if header.value_is_outside() {
            self.tell();
            let data = &mut self.db.data;
            let (_, number) = record::outside_numbers(&data.heap, id);
            let number = number.expect("its value is outside");
            record::set_tag(&mut data.heap, id, tag);
            return data.outside.change(number, |payload| edit(payload.edit(len)));
        }
        if len <= old {
            self.tell();
            record::set_tag(&mut self.db.data.heap, id, tag);
            return edit(record::value_mut(&mut self.db.data.heap, id));
        }
        let bytes = self.db.data.record(id).value().bytes().to_vec();
        self.edit_new(&bytes, len, tag, edit)
    }

    fn edit_new<R>(
        &mut self,
        old: &[u8],
        len: usize,
        tag: u8,
        edit: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let mut bytes = crate::outside::padded(old, len);
        let result = edit(&mut bytes);
        if record::fits_inside(self.key.bytes().len(), bytes.len(), false) {
            self.put(Value::Slice(&bytes), tag, Expiry::Keep);
        } else {
            let value = NewValue::Payload(Payload::from_vec(bytes));
            self.put_new(value, tag, Expiry::Keep, None);
        }
        result
    }

    /// The value of another type, to be changed; `None` for bytes or no value.
    pub fn change_object<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        let (_, number) = record::outside_numbers(&self.db.data.heap, self.id?);
        let changed = self.db.data.outside.change(number?, |payload| match payload {
            Payload::Object(object) => Some(change(object)),
            _ => None,
        })?;
        self.tell();
        Some(changed)
    }

    /// Milliseconds since the key was last used; zero for one that isn't there.
    pub fn idle_ms(&self) -> u64 {
        self.record().map_or(0, |record| self.db.idle_ms(record))
    }

    /// When the key expires; `None` for a key that isn't there or that stays for ever.
    #[inline]
    pub fn expires_ms(&self) -> Option<u64> {
        self.record().map(Record::expires_ms).filter(|&expires_ms| expires_ms != 0)
    }

    /// Changes when the key expires, if it is there.
    pub fn set_expiry(&mut self, expiry: Expiry) {
        let expires_ms = match expiry {
            Expiry::Keep => return,
            Expiry::Never => 0,
            Expiry::At(expires_ms) => expires_ms,
        };
        let Some(id) = self.id else { return };
        // An expiry that is said again counts as a change; dropping what isn't there doesn't.
        if expires_ms != 0 || self.expires_ms().is_some() {
            self.tell();
            self.id = Some(self.db.data.set_expiry(self.key, id, expires_ms));
        }
    }

    /// Removes the key. False if it was not there.
    #[inline]
    pub fn remove(&mut self) -> bool {
        let Some(id) = self.id.take() else { return false };
        self.tell();
        drop(self.db.data.remove(self.key.hash(), id));
        true
    }
}
