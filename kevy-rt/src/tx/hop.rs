//! What a hop does on its owner, and its answer: both travel in one allocation, there and back.

use std::any::Any;

use super::watch::WatchId;
use crate::commands::CommandInfo;
use crate::cx::Cx;
use crate::gather::PartOut;
use crate::kept::Kept;
use crate::shard::Call;
use crate::shared::Out;

/// A handler's closure on its way, with the result that it brings back.
pub(crate) trait Job: Send {
    /// Runs it on the part of the store that its handler works on.
    fn run(&mut self, part: &mut dyn Any);
    /// An `Option` of the result's type.
    fn result(&mut self) -> &mut dyn Any;
}

/// Finds the part of a store that a handler works on.
pub(crate) type Project<S> = for<'a> fn(&'a mut S, &Cx<'_>) -> &'a mut dyn Any;

/// One thing that a hop does.
pub(crate) enum Work<S: 'static> {
    /// A shard's share of a request.
    Part { call: Call<S>, args: Kept, part: u16, answer: PartOut },
    /// A whole request; `is_admitted` if its store was asked for room before.
    Whole { call: Call<S>, args: Kept, reply: Out, is_admitted: bool },
    /// A handler's closure.
    Closure {
        scope: u64,
        command: &'static CommandInfo,
        may_write: bool,
        project: Project<S>,
        job: Box<dyn Job>,
    },
    /// Starts to watch keys.
    Watch { watch: WatchId, scope: u64, keys: Kept },
    /// Reads the marks of watched keys.
    Check { watch: WatchId, scope: u64, keys: Kept, is_marked: bool },
    /// It panicked, and changed nothing.
    Panicked,
}

impl<S> Work<S> {
    /// Whether it may change something.
    pub(crate) fn writes(&self) -> bool {
        match self {
            Work::Part { call, .. } | Work::Whole { call, .. } => call.command.info.write,
            Work::Closure { may_write, .. } => *may_write,
            Work::Watch { .. } | Work::Check { .. } | Work::Panicked => false,
        }
    }
}

/// What an owner does in one step, and brings home.
pub(crate) struct Hop<S: 'static> {
    /// Each with its number, by which its transaction knows it.
    pub(crate) works: Vec<(u32, Work<S>)>,
    /// Whether it is the transaction's last one on this owner, which removes the entry.
    pub(crate) is_last: bool,
}

impl<S> Hop<S> {
    /// The keys of what it does first, by hash, and their scope: memory to ask for ahead.
    pub(crate) fn keys(&self) -> (&[u64], u64) {
        match self.works.first() {
            Some((_, Work::Part { call, args, .. } | Work::Whole { call, args, .. })) => {
                (args.args().hashes(), call.scope)
            }
            _ => (&[], 0),
        }
    }

    /// Bytes of the arguments of requests in it. What closures hold is not known.
    pub(crate) fn argument_bytes(&self) -> usize {
        let bytes = |(_, work): &(u32, Work<S>)| match work {
            Work::Part { args, .. } | Work::Whole { args, .. } => args.argument_bytes(),
            Work::Watch { keys, .. } | Work::Check { keys, .. } => keys.argument_bytes(),
            Work::Closure { .. } | Work::Panicked => 0,
        };
        self.works.iter().map(bytes).sum()
    }

    /// One thing, and nothing behind it.
    pub(crate) fn last(work: Work<S>) -> Self {
        Hop { works: vec![(0, work)], is_last: true }
    }
}
