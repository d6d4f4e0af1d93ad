//! A bounded queue between two threads: one writes, one takes.
//!
//! ```text
//!            freed            taken      seen      published    written
//!              |                |          |           |           |
//!   ...free....|..taken already.|..to take.|..to see...|..to publish.|...free...
//!              '------------------- at most `capacity` -------------'
//! ```
//!
//! The slots hold the items from `taken` up to `written`; positions only grow, wrap around at the
//! end of `usize`, and name the slot by their low bits. Two of them are shared, `published` and
//! `freed`. Each has one writer by type: [`Producer`] stores `published`, [`Consumer`] stores
//! `freed`, neither can be cloned or shared. The other positions belong to one side, which also
//! keeps the last it saw of the other's, so that the shared lines move between cores once per
//! span and not once per item.
//!
//! Ordering: what was pushed before `publish` is seen whole by a `look` that sees that `publish`
//! (release store, acquire load of `published`), and a slot is written again only after its item
//! was moved out (release store, acquire load of `freed`). Items are taken in the order pushed.

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::sync::{Arc, AtomicUsize, Line, Ordering, Step, UnsafeCell, is_left_out};

/// The two ends of a new ring.
///
/// # Panics
/// If `capacity` is no power of two.
pub(crate) fn ring<T: Send>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    ring_from(capacity, 0)
}

/// The same with its first position, for tests of the wrap-around.
pub(crate) fn ring_from<T: Send>(capacity: usize, start: usize) -> (Producer<T>, Consumer<T>) {
    assert!(capacity.is_power_of_two(), "positions wrap at a power of two");
    let shared = Arc::new(Shared {
        published: Line(AtomicUsize::new(start)),
        freed: Line(AtomicUsize::new(start)),
        slots: (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
    });
    let producer = Producer {
        shared: Arc::clone(&shared),
        written: start,
        published: start,
        freed: start,
        one_thread: PhantomData,
    };
    let consumer =
        Consumer { shared, taken: start, seen: start, freed: start, one_thread: PhantomData };
    (producer, consumer)
}

struct Shared<T> {
    /// Up to here the consumer may take. The producer stores it, both ends' threads read it.
    published: Line<AtomicUsize>,
    /// Up to here slots are the producer's again. The consumer stores it, the producer reads it.
    freed: Line<AtomicUsize>,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: a slot is touched by one thread at a time: the producer's from `written` up to `freed` +
// capacity, the consumer's from `taken` up to `published`; `Producer::push` and `Consumer::look`
// keep these apart. Items move between threads, so they are `Send`.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above; nothing in it belongs to a thread.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    #[inline(always)]
    fn slot(&self, position: usize) -> &UnsafeCell<MaybeUninit<T>> {
        &self.slots[position & (self.slots.len() - 1)]
    }

    /// # Safety
    /// The caller's end owns the slot of `position`, and it holds no item.
    #[inline(always)]
    unsafe fn write(&self, position: usize, item: T) {
        self.slot(position).with_mut(|slot| {
            // SAFETY: the pointer is a live slot's, and nobody else touches it: the caller's promise.
            unsafe { slot.cast::<T>().write(item) }
        });
    }

    /// # Safety
    /// The caller's end owns the slot of `position`, which holds an item. It holds none afterwards.
    #[inline(always)]
    unsafe fn take(&self, position: usize) -> T {
        self.slot(position).with_mut(|slot| {
            // SAFETY: the pointer is a live slot's that holds an item, and nobody else touches it:
            // the caller's promise.
            unsafe { slot.cast::<T>().read() }
        })
    }
}

impl<T> Drop for Shared<T> {
    /// Both ends are gone: drops what was published and never taken.
    fn drop(&mut self) {
        let published = self.published.0.load(Ordering::Relaxed);
        let mut position = self.freed.0.load(Ordering::Relaxed);
        while position != published {
            // SAFETY: no end is left, so all slots are ours. `Consumer::drop` stored how far it
            // took, and up to `published` the slots hold items.
            drop(unsafe { self.take(position) });
            position = position.wrapping_add(1);
        }
    }
}

/// The end that writes. The only one that stores `published`.
pub(crate) struct Producer<T> {
    shared: Arc<Shared<T>>,
    written: usize,
    /// What `Shared::published` holds.
    published: usize,
    /// The last that was seen of `Shared::freed`.
    freed: usize,
    one_thread: PhantomData<Cell<()>>,
}

impl<T: Send> Producer<T> {
    /// Writes `item` behind the others, for the next publish. Gives it back if the ring is full.
    #[inline]
    pub(crate) fn push(&mut self, item: T) -> Result<(), T> {
        if self.is_full() {
            return Err(item);
        }
        // SAFETY: fewer than `capacity` slots hold items from `freed` on, so this one is free, and
        // it is ours: the consumer gave it back (`freed`, acquired) and sees it again only after
        // `publish`.
        unsafe { self.shared.write(self.written, item) };
        self.written = self.written.wrapping_add(1);
        Ok(())
    }

    /// Lets the consumer see all that was pushed. Whether there was anything.
    #[inline]
    pub(crate) fn publish(&mut self) -> bool {
        if self.written == self.published {
            return false;
        }
        self.published = self.written;
        self.shared
            .published
            .0
            .store(self.published, or_relaxed(Ordering::Release, Step::PublishRelease));
        true
    }

    /// Looks at the consumer's position only when the last one seen leaves no room.
    #[inline]
    fn is_full(&mut self) -> bool {
        if self.written.wrapping_sub(self.freed) < self.shared.slots.len() {
            return false;
        }
        self.freed = self.shared.freed.0.load(or_relaxed(Ordering::Acquire, Step::ReuseAcquire));
        self.written.wrapping_sub(self.freed) == self.shared.slots.len()
    }
}

impl<T> Drop for Producer<T> {
    /// What was never published is never seen.
    fn drop(&mut self) {
        while self.written != self.published {
            self.written = self.written.wrapping_sub(1);
            // SAFETY: it was pushed and not published, so it is there and still ours.
            drop(unsafe { self.shared.take(self.written) });
        }
    }
}

/// The end that takes. The only one that stores `freed`.
pub(crate) struct Consumer<T> {
    shared: Arc<Shared<T>>,
    taken: usize,
    /// The last that was seen of `Shared::published`.
    seen: usize,
    /// What `Shared::freed` holds.
    freed: usize,
    one_thread: PhantomData<Cell<()>>,
}

impl<T: Send> Consumer<T> {
    /// Sees what was published up to now. How many items there are to take.
    #[inline]
    pub(crate) fn look(&mut self) -> usize {
        self.free();
        self.seen = self.shared.published.0.load(or_relaxed(Ordering::Acquire, Step::LookAcquire));
        self.seen.wrapping_sub(self.taken)
    }

    /// Takes the next item that the last look saw.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<T> {
        if self.taken == self.seen {
            return None;
        }
        // SAFETY: the position is before one that was published (acquired by `look`), so the item
        // is there whole, and the producer writes the slot again only after `free`.
        let item = unsafe { self.shared.take(self.taken) };
        self.taken = self.taken.wrapping_add(1);
        if self.taken == self.seen {
            self.free();
        }
        Some(item)
    }

    /// Whether there is anything to take, seen already or not.
    #[inline]
    pub(crate) fn has_items(&self) -> bool {
        self.shared.published.0.load(Ordering::Acquire) != self.taken
    }
}

impl<T> Consumer<T> {
    /// Gives the slots of all taken items back, once per span rather than once per item.
    #[inline]
    fn free(&mut self) {
        if self.freed != self.taken {
            self.freed = self.taken;
            self.shared.freed.0.store(self.freed, or_relaxed(Ordering::Release, Step::FreeRelease));
        }
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.free();
    }
}

#[inline(always)]
fn or_relaxed(order: Ordering, step: Step) -> Ordering {
    if is_left_out(step) { Ordering::Relaxed } else { order }
}

static_assertions::assert_impl_all!(Producer<Box<u8>>: Send);
static_assertions::assert_impl_all!(Consumer<Box<u8>>: Send);
static_assertions::assert_not_impl_any!(Producer<Box<u8>>: Clone, Sync);
static_assertions::assert_not_impl_any!(Consumer<Box<u8>>: Clone, Sync);
