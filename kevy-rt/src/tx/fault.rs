//! Deliberate faults, each one rule of the protocol left out, to show that the simulation sees it.
//!
//! They exist only in a build with `--cfg faults`; elsewhere [`is_on`] is false at compile time.

/// A rule that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(faults), expect(unreachable_pub, reason = "only tests with faults name it"))]
pub enum Fault {
    /// A transaction's writes take shared intents.
    SharedWrites,
    /// A transaction's entry doesn't count for single requests.
    NoDeferral,
    /// An entry is removed when its hop arrives, before it may run.
    EarlyRelease,
    /// Entries are released after a transaction's first hop.
    ReleaseAfterFirstHop,
    /// Each owner keeps its own stamp as the order.
    OwnStamp,
    /// The order is the smallest of the owners' stamps.
    SmallestStamp,
    /// Hops run when they are scheduled.
    RunAtSchedule,
    /// Owners run before all of them have answered.
    FixEarly,
    /// In the one-round form the own hop runs before the other owner has answered.
    OwnFirst,
    /// The last owner of the one-round form answers only when it has run.
    NoEarlyAnswer,
    /// A deferred request takes no stamp: it runs before all entries that are there.
    OldDeferral,
    /// A deferred request gets a stamp of later: it runs behind entries that come after it.
    LateDeferral,
    /// A request doesn't wait for the order of an earlier transaction of its connection.
    NoOrderStall,
    /// A transaction doesn't wait for the order of an earlier one of its connection.
    NoTransactionStall,
    /// A barrier waits for nothing.
    NoBarrier,
    /// What orders a transaction overtakes the requests of the same turn.
    Overtake,
    /// Each hop sees the time of its owner's turn.
    OwnTime,
    /// A queue's run wants other keys than those that are watched.
    EarlyMark,
    /// A watch isn't told of a change.
    LostMark,
    /// Reads of several shards find each at its own time.
    LooseGather,
    /// The store removes keys of a transaction under way.
    TakeClaimed,
    /// A reply leaves before those to earlier requests.
    SwapReplies,
}

impl Fault {
    /// All of them.
    #[cfg(faults)]
    pub const ALL: &[Fault] = &[
        Fault::SharedWrites,
        Fault::NoDeferral,
        Fault::EarlyRelease,
        Fault::ReleaseAfterFirstHop,
        Fault::OwnStamp,
        Fault::SmallestStamp,
        Fault::RunAtSchedule,
        Fault::FixEarly,
        Fault::OwnFirst,
        Fault::NoEarlyAnswer,
        Fault::OldDeferral,
        Fault::LateDeferral,
        Fault::NoOrderStall,
        Fault::NoTransactionStall,
        Fault::NoBarrier,
        Fault::Overtake,
        Fault::OwnTime,
        Fault::EarlyMark,
        Fault::LostMark,
        Fault::LooseGather,
        Fault::TakeClaimed,
        Fault::SwapReplies,
    ];
}

#[cfg(faults)]
mod switch {
    use super::Fault;
    use std::cell::Cell;

    thread_local! {
        static ON: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// Switches a fault on for the shards that this thread runs.
    pub fn inject(fault: Option<Fault>) {
        ON.set(fault);
    }

    /// Whether a rule is left out.
    pub(crate) fn is_on(fault: Fault) -> bool {
        ON.get() == Some(fault)
    }
}

#[cfg(not(faults))]
mod switch {
    use super::Fault;

    /// Whether a rule is left out.
    #[inline(always)]
    pub(crate) fn is_on(_: Fault) -> bool {
        false
    }
}

#[cfg(faults)]
pub use switch::inject;
pub(crate) use switch::is_on;
