//! Where the records of a database lie: numbered places in large chunks that never move. No
//! allocation is made for a short record, and those of one chunk share huge pages where the system
//! gives them.

use super::due::{Due, Found};
use super::record::Record;

/// The number of a record's place.
pub type RecordId = u32;

/// Records per chunk: 2 MiB, the size of a huge page.
///
/// Smaller: more chunks to find the record in. Larger: more is reserved for a small database.
const CHUNK_RECORDS: usize = 1 << CHUNK_SHIFT;
const CHUNK_SHIFT: u32 = 15;

/// No place.
const NONE: RecordId = RecordId::MAX;

/// The records of a database.
#[derive(Debug)]
pub struct Records {
    /// All but the last are full, of records or vacant places.
    chunks: Vec<Vec<Record>>,
    /// The first vacant place; each links to the next.
    vacant: RecordId,
    len: usize,
    /// How many of them expire.
    volatile: usize,
    due: Due,
    heap_bytes: usize,
}

/// What a search for expired records came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Search {
    /// Nothing more has expired; the next expiry, if something expires at all.
    Done(Option<u64>),
    /// There may be more.
    More,
}

impl Default for Records {
    fn default() -> Self {
        Records {
            chunks: Vec::new(),
            vacant: NONE,
            len: 0,
            volatile: 0,
            due: Due::default(),
            heap_bytes: 0,
        }
    }
}

impl Records {
    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether there is none, but a good deal of memory for them.
    pub fn is_hollow(&self) -> bool {
        self.len == 0 && self.chunks.len() > 1
    }

    /// How many of them expire.
    #[inline]
    pub fn volatile(&self) -> usize {
        self.volatile
    }

    /// The record at a place that holds one.
    #[inline]
    pub fn get(&self, id: RecordId) -> &Record {
        let (chunk, at) = split(id);
        &self.chunks[chunk][at]
    }

    #[inline]
    fn get_mut(&mut self, id: RecordId) -> &mut Record {
        let (chunk, at) = split(id);
        &mut self.chunks[chunk][at]
    }

    /// Finds a place for `record`.
    ///
    /// # Panics
    /// Beyond 2^32 - 1 records.
    #[inline]
    pub fn insert(&mut self, record: Record) -> RecordId {
        self.heap_bytes += record.heap_bytes();
        self.len += 1;
        if self.vacant == NONE {
            return self.append(record);
        }
        let id = self.vacant;
        let place = self.get_mut(id);
        let next = place.next_vacant().expect("the list of vacant places holds no other");
        *place = record;
        self.vacant = next;
        id
    }

    fn append(&mut self, record: Record) -> RecordId {
        let has_room = self.chunks.last().is_some_and(|chunk| chunk.len() < CHUNK_RECORDS);
        if !has_room {
            self.chunks.push(Vec::with_capacity(CHUNK_RECORDS));
        }
        let last = self.chunks.len() - 1;
        let chunk = &mut self.chunks[last];
        chunk.push(record);
        let id = last * CHUNK_RECORDS + chunk.len() - 1;
        assert!(id < NONE as usize, "a database of one shard has fewer than 2^32 keys");
        id as RecordId
    }

    /// Takes the record out of its place.
    #[inline]
    pub fn remove(&mut self, id: RecordId) -> Record {
        let vacant = Record::vacant(self.vacant);
        let record = std::mem::replace(self.get_mut(id), vacant);
        self.vacant = id;
        self.len -= 1;
        self.volatile -= usize::from(record.expires_ms() != 0);
        self.heap_bytes -= record.heap_bytes();
        record
    }

    /// Changes a record in its place.
    #[inline]
    pub fn change<R>(&mut self, id: RecordId, change: impl FnOnce(&mut Record) -> R) -> R {
        let record = self.get_mut(id);
        let before = record.heap_bytes();
        let result = change(record);
        let after = record.heap_bytes();
        self.heap_bytes = self.heap_bytes - before + after;
        result
    }

    /// Says when a record expires, in milliseconds since the Unix epoch; zero for never.
    #[inline]
    pub fn set_expires_ms(&mut self, id: RecordId, expires_ms: u64) {
        let record = self.get_mut(id);
        let before = record.expires_ms();
        if before == expires_ms {
            return;
        }
        record.set_expires_ms(expires_ms);
        self.volatile += usize::from(expires_ms != 0);
        self.volatile -= usize::from(before != 0);
        if expires_ms != 0 {
            self.due.note(id as usize, expires_ms);
        }
    }

    /// Calls `found` with some records that have expired before `now_ms`, until it answers false.
    /// The caller has to remove them. Looks at no more than `blocks` blocks of 64 records'
    /// expiries; each call goes on where the last one stopped.
    pub fn search_expired(
        &mut self,
        now_ms: u64,
        mut blocks: usize,
        mut found: impl FnMut(RecordId, &Record) -> bool,
    ) -> Search {
        loop {
            let places = match self.due.find(now_ms, &mut blocks) {
                Found::Block(places) => places,
                Found::End(next) => return Search::Done(next),
                Found::Paused => return Search::More,
            };
            let mut wanted = true;
            for id in places.start as RecordId..places.end as RecordId {
                let Some(record) = self.at(id) else { continue };
                let expires_ms = record.expires_ms();
                if wanted && record.is_expired(now_ms) {
                    wanted = found(id, record);
                } else if expires_ms != 0 {
                    self.due.note(id as usize, expires_ms);
                }
            }
            if !wanted {
                return Search::More;
            }
        }
    }

    /// The record at this place, if there is one.
    fn at(&self, id: RecordId) -> Option<&Record> {
        let (chunk, at) = split(id);
        let record = self.chunks.get(chunk)?.get(at)?;
        record.next_vacant().is_none().then_some(record)
    }

    /// All records, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.chunks.iter().flatten().filter(|record| record.next_vacant().is_none())
    }

    /// Removes all records. Answers the chunks that they lie in, to be freed one by one.
    pub fn clear(&mut self) -> Vec<Vec<Record>> {
        std::mem::take(self).chunks
    }

    /// Bytes that records and values take.
    pub fn memory(&self) -> usize {
        let places: usize = self.chunks.iter().map(Vec::len).sum();
        places * size_of::<Record>() + self.heap_bytes + self.due.memory()
    }
}

#[inline(always)]
fn split(id: RecordId) -> (usize, usize) {
    ((id >> CHUNK_SHIFT) as usize, id as usize & (CHUNK_RECORDS - 1))
}
