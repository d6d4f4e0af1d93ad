//! What the mesh shares memory through: the standard atomics, or loom's under `cfg(loom)`, so that
//! loom runs the code that ships and no copy of it.

#[cfg(loom)]
pub(crate) use loom::cell::UnsafeCell;
#[cfg(loom)]
pub(crate) use loom::sync::Arc;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(not(loom))]
pub(crate) use std::sync::Arc;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

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

/// A step that the mesh's safety rests on, to be left out. loom's tests run themselves again with
/// the name of each in `KEVY_LEAVE_OUT`, and demand that this makes them fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Publishing is a release store; left out, a relaxed one.
    PublishRelease,
    /// Looking for items is an acquire load; left out, a relaxed one.
    LookAcquire,
    /// Giving slots back is a release store; left out, a relaxed one.
    FreeRelease,
    /// Looking for free slots is an acquire load; left out, a relaxed one.
    ReuseAcquire,
    /// An item goes behind those that wait in the backlog, even if the ring has room.
    BacklogOrder,
    /// A sender fences between publishing and reading who is parked.
    SenderFence,
    /// A sleeper fences between saying that it is parked and looking again.
    SleeperFence,
    /// A sleeper looks again.
    SecondLook,
    /// Of two senders that find a target parked, one wakes it.
    OneClaim,
    /// A sleeper judges only senders that are through with publishing.
    JudgeLate,
}

/// Whether this step is left out now: never, but in loom's tests.
#[cfg(not(all(loom, test)))]
#[inline(always)]
pub(crate) const fn is_left_out(_: Step) -> bool {
    false
}

/// Whether this step is left out now.
#[cfg(all(loom, test))]
pub(crate) fn is_left_out(step: Step) -> bool {
    use std::sync::LazyLock;
    static LEFT_OUT: LazyLock<Option<String>> =
        LazyLock::new(|| std::env::var("KEVY_LEAVE_OUT").ok());
    LEFT_OUT.as_ref().is_some_and(|name| *name == format!("{step:?}"))
}
