//! What the mesh shares memory through: the standard atomics, or loom's under `cfg(loom)`, so that
//! loom runs the code that ships and no copy of it.

#[cfg(loom)]
pub(crate) use loom::cell::UnsafeCell;
#[cfg(loom)]
pub(crate) use loom::sync::Arc;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

#[cfg(not(loom))]
pub(crate) use std::sync::Arc;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

#[cfg(not(loom))]
pub(crate) use cell::UnsafeCell;

/// A value on cache lines of its own, so that writing it takes no neighbour's line away.
///
/// 128 bytes: processors fetch lines of 64 bytes in pairs, and some have lines of 128. Smaller, and
/// two writers slow each other down; larger, and memory is wasted.
#[repr(align(128))]
#[derive(Debug)]
pub(crate) struct Line<T>(pub(crate) T);

#[cfg(not(loom))]
mod cell {
    /// The standard cell, with loom's interface.
    #[derive(Debug)]
    #[repr(transparent)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// Lends the pointer. Whoever writes through it is alone with the value meanwhile.
        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, act: impl FnOnce(*mut T) -> R) -> R {
            act(self.0.get())
        }
    }
}

/// A step that the mesh's safety rests on, left out. The loom tests demand that each one is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(all(loom, test)),
    allow(dead_code, reason = "only loom's tests look at all of them")
)]
pub(crate) enum Mutation {
    /// Publishing is a relaxed store.
    PublishRelaxed,
    /// Looking for published items is a relaxed load.
    LookRelaxed,
    /// Giving slots back is a relaxed store.
    FreeRelaxed,
    /// Looking for free slots is a relaxed load.
    ReuseRelaxed,
    /// An item goes into the ring though older ones wait in the backlog.
    BacklogOrder,
    /// A sender reads who is parked without a fence behind its publishing.
    SenderFence,
    /// A sleeper looks again without a fence behind its flag.
    SleeperFence,
    /// A sleeper doesn't look again.
    SecondLook,
    /// A sleeper judges senders that are not through with publishing.
    JudgeEarly,
}

/// Whether this step is left out now: never, but in loom's tests.
#[cfg(not(all(loom, test)))]
#[inline(always)]
pub(crate) const fn is_left_out(_: Mutation) -> bool {
    false
}

#[cfg(all(loom, test))]
pub(crate) use mutate::{is_left_out, leave_out};

#[cfg(all(loom, test))]
mod mutate {
    use super::Mutation;
    use std::cell::Cell;

    std::thread_local! {
        // loom runs all threads of a model on the thread that started it.
        static LEFT_OUT: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    pub(crate) fn is_left_out(mutation: Mutation) -> bool {
        LEFT_OUT.get() == Some(mutation)
    }

    pub(crate) fn leave_out(mutation: Option<Mutation>) {
        LEFT_OUT.set(mutation);
    }
}
