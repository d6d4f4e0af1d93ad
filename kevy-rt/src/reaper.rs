//! The thread that drops what takes long to drop.
//!
//! ```text
//! shard: drops a large buffer, free_later(thing)
//!          | bounded queue; what has no room in it is dropped by the shard
//!          v
//! reaper:  drop(thing); a buffer's pages first go back to the system
//! ```
//!
//! To give a large value's memory back takes longer than a turn may, and nobody waits for it. The
//! process has one such thread from its first server on. It drops each thread's things in the
//! order in which they were handed over. What waits when the process ends is the system's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, OnceLock};
use std::thread;

use crate::sys::{leave_core, release_pages};

/// From this many bytes on a buffer is handed over.
///
/// Smaller: to wake a thread costs more than to free. Larger: freeing shows in a turn.
const LARGE_BYTES: usize = 1024 * 1024;

/// Things that wait at most.
///
/// Smaller: many large values that are removed at once are freed by the shard. Larger: the queue's
/// memory, of which there is as much as this, shows.
const MOST_THINGS: usize = 1024;

/// Bytes of buffers that wait at most, unless one is larger and waits alone.
///
/// Smaller: large values that are removed at once are freed by the shard. Larger: the process may
/// hold this much more than what its stores count.
const MOST_BYTES: usize = 1024 * 1024 * 1024;

/// Drops `thing` on a thread of its own, soon: for what takes long to drop, such as a store's large
/// table. If that thread has fallen behind, or can't be had, `thing` is dropped here.
pub fn free_later<T: Send + 'static>(thing: T) {
    hand_over(Waiting::Thing(Box::new(thing)));
}

/// Frees a buffer: a large one on a thread of its own, soon.
#[inline]
pub(crate) fn free(buffer: Vec<u8>) {
    if buffer.capacity() >= LARGE_BYTES {
        hand_over(Waiting::Buffer(buffer));
    }
}

/// The process's. `None` inside if there can't be one.
static REAPER: OnceLock<Option<Reaper>> = OnceLock::new();

/// Starts the thread, so that no turn has to.
pub(crate) fn start() {
    REAPER.get_or_init(Reaper::start);
}

fn hand_over(waiting: Waiting) {
    match REAPER.get_or_init(Reaper::start) {
        Some(reaper) => reaper.take(waiting),
        None => drop(waiting),
    }
}

/// Something to be dropped.
enum Waiting {
    Thing(Box<dyn Send>),
    Buffer(Vec<u8>),
}

impl Waiting {
    /// What it counts for.
    fn bytes(&self) -> usize {
        match self {
            Waiting::Thing(_) => 0,
            Waiting::Buffer(buffer) => buffer.capacity(),
        }
    }

    /// Drops it, without a hurry.
    fn end(self) {
        match self {
            Waiting::Thing(thing) => drop(thing),
            Waiting::Buffer(mut buffer) => release_pages(&mut buffer),
        }
    }
}

/// The side of it that shards see.
struct Reaper {
    queue: SyncSender<Waiting>,
    /// Bytes in the queue and in what is being dropped. Added to by those who hand over, taken from
    /// by the reaper; a bound and no more, so no order is needed.
    bytes: Arc<AtomicUsize>,
}

impl Reaper {
    /// Starts the thread, if the system lets it.
    fn start() -> Option<Self> {
        let (reaper, queue) = Reaper::new(MOST_THINGS);
        let bytes = reaper.bytes.clone();
        match thread::Builder::new().name("reaper".into()).spawn(move || reap(&queue, &bytes)) {
            Ok(_) => Some(reaper),
            Err(error) => {
                tracing::warn!(%error, "no thread to free large values");
                None
            }
        }
    }

    fn new(most_things: usize) -> (Self, Receiver<Waiting>) {
        let (sender, queue) = mpsc::sync_channel(most_things);
        (Reaper { queue: sender, bytes: Arc::default() }, queue)
    }

    /// Queues a thing, or drops it if there is no room.
    fn take(&self, waiting: Waiting) {
        let bytes = waiting.bytes();
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let has_room = before == 0 || before + bytes <= MOST_BYTES;
        if !has_room || self.queue.try_send(waiting).is_err() {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

/// The thread's life.
fn reap(queue: &Receiver<Waiting>, bytes: &AtomicUsize) {
    // It was started by a shard, which may be kept on its core.
    if let Err(error) = leave_core() {
        tracing::debug!(%error, "the reaper stays on a shard's core");
    }
    for waiting in queue {
        let size = waiting.bytes();
        // A panic is told by its hook; what others handed over is still to be dropped.
        let _ = catch_unwind(AssertUnwindSafe(|| waiting.end()));
        bytes.fetch_sub(size, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Shared;

    /// Tells who drops it, and then waits for a word.
    struct Noted(mpsc::Sender<Option<String>>, Option<mpsc::Receiver<()>>);

    impl Drop for Noted {
        fn drop(&mut self) {
            let name = thread::current().name().map(str::to_owned);
            self.0.send(name).expect("the test listens");
            if let Some(word) = &self.1 {
                word.recv().expect("the test says when");
            }
        }
    }

    fn here() -> Option<String> {
        thread::current().name().map(str::to_owned)
    }

    #[test]
    fn what_takes_long_to_drop_is_dropped_elsewhere() {
        let (noted, dropped) = mpsc::channel();
        free_later(Noted(noted, None));
        assert_eq!(dropped.recv().unwrap().as_deref(), Some("reaper"));
    }

    #[test]
    fn a_large_value_waits_for_the_reaper_and_a_small_one_does_not() {
        let (noted, dropped) = mpsc::channel();
        let (word, wait) = mpsc::channel();
        free_later(Noted(noted.clone(), Some(wait)));
        dropped.recv().unwrap();
        // It waits for a word now, and frees nothing.
        let reaper = REAPER.get().unwrap().as_ref().unwrap();
        let large = Shared::new(vec![1; 64 * LARGE_BYTES]);
        drop(Shared::new(vec![1; LARGE_BYTES / 2]));
        drop(large);
        assert!(reaper.bytes.load(Ordering::Relaxed) >= 64 * LARGE_BYTES);
        word.send(()).unwrap();
        free_later(Noted(noted, None));
        assert_eq!(dropped.recv().unwrap().as_deref(), Some("reaper"));
    }

    #[test]
    fn a_panic_of_one_thing_does_not_keep_the_next() {
        struct Bad;
        impl Drop for Bad {
            fn drop(&mut self) {
                panic!("as asked");
            }
        }
        let (noted, dropped) = mpsc::channel();
        free_later(Bad);
        free_later(Noted(noted, None));
        assert_eq!(dropped.recv().unwrap().as_deref(), Some("reaper"));
    }

    #[test]
    fn what_finds_no_room_is_dropped_here() {
        let (noted, dropped) = mpsc::channel();
        let thing = || Waiting::Thing(Box::new(Noted(noted.clone(), None)));
        let (reaper, queue) = Reaper::new(1);
        reaper.take(thing());
        reaper.take(thing());
        assert_eq!(dropped.try_recv(), Ok(here()), "one waits, the next has no room");
        assert!(dropped.try_recv().is_err());
        drop(queue);
        dropped.recv().unwrap();
        reaper.take(thing());
        assert_eq!(dropped.try_recv(), Ok(here()), "there is no thread");
    }

    #[test]
    fn bytes_that_wait_are_bounded() {
        let (reaper, queue) = Reaper::new(10);
        let buffer = |bytes| Waiting::Buffer(Vec::with_capacity(bytes));
        reaper.take(buffer(MOST_BYTES + 1));
        assert_eq!(reaper.bytes.load(Ordering::Relaxed), MOST_BYTES + 1, "one of any size");
        reaper.take(buffer(1));
        assert_eq!(reaper.bytes.load(Ordering::Relaxed), MOST_BYTES + 1, "but alone");
        assert_eq!(queue.try_iter().count(), 1);
        reaper.bytes.store(0, Ordering::Relaxed);
        for _ in 0..3 {
            reaper.take(buffer(MOST_BYTES / 2));
        }
        assert_eq!(queue.try_iter().count(), 2);
        assert_eq!(reaper.bytes.load(Ordering::Relaxed), MOST_BYTES);
    }
}
