//! A shard's clockwork: functions that run later, once or again and again.
//!
//! They run between the turn's requests and its sends, at most [`TIMERS_PER_TURN`] in a turn, in the
//! order in which they are due. Their clock is the requests': [`Cx::now_ms`].

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use crate::cx::Cx;
use crate::wire::Refusal;

/// Timers that a turn runs at most; others that are due run in the next one.
///
/// Smaller: they are late where many are due at once. Larger: so are the turn's replies.
pub(crate) const TIMERS_PER_TURN: usize = 256;

/// Names a timer, to cancel it. No other timer of its shard ever has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId(u64);

/// What a timer does, to the part of the store that its handler works on.
pub(crate) type Action = Box<dyn FnMut(&mut dyn Any, &Cx<'_>)>;

/// One timer.
pub(crate) struct Timer {
    pub(crate) id: TimerId,
    due_ms: u64,
    /// How long after it ran it runs again.
    period_ms: Option<u64>,
    /// The scope of the request that set it.
    pub(crate) scope: u64,
    /// The type of the part that it is given.
    pub(crate) part: TypeId,
    pub(crate) action: Action,
}

/// Those of a shard.
#[derive(Default)]
pub(crate) struct Timers {
    /// By time and number.
    due: BTreeMap<(u64, u64), Timer>,
    /// When each is due, by number.
    times: HashMap<u64, u64>,
    next: u64,
    /// The one that runs now, unless it was cancelled since.
    running: Option<TimerId>,
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers").field("len", &self.due.len()).finish_non_exhaustive()
    }
}

impl Timers {
    pub(crate) fn len(&self) -> usize {
        self.due.len() + usize::from(self.running.is_some())
    }

    /// When the first one is due, in the clock's milliseconds.
    #[inline]
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.due.first_key_value().map(|((due_ms, _), _)| *due_ms)
    }

    fn insert(&mut self, timer: Timer) {
        self.times.insert(timer.id.0, timer.due_ms);
        self.due.insert((timer.due_ms, timer.id.0), timer);
    }

    fn remove(&mut self, id: TimerId) -> Option<Timer> {
        let due_ms = self.times.remove(&id.0)?;
        self.due.remove(&(due_ms, id.0))
    }

    pub(crate) fn cancel(&mut self, id: TimerId) -> bool {
        if self.running == Some(id) {
            self.running = None;
            return true;
        }
        self.remove(id).is_some()
    }

    /// Takes out the next one that is due, to be run.
    pub(crate) fn start(&mut self, now_ms: u64) -> Option<Timer> {
        let (&(due_ms, id), _) = self.due.first_key_value()?;
        if due_ms > now_ms {
            return None;
        }
        let timer = self.remove(TimerId(id))?;
        self.running = Some(timer.id);
        Some(timer)
    }

    /// It ran. One that repeats is due again, unless it was cancelled.
    pub(crate) fn finish(&mut self, mut timer: Timer, now_ms: u64) {
        let was_cancelled = self.running.take().is_none();
        if let (Some(period_ms), false) = (timer.period_ms, was_cancelled) {
            // Periods that were missed are not made up for.
            timer.due_ms = (timer.due_ms + period_ms).max(now_ms + 1);
            self.insert(timer);
        }
    }
}

impl Cx<'_> {
    /// Calls `action` once, `delay` from now, on this shard: with the store of a command set of
    /// this server, or with the whole server's, and with surroundings of this request's scope and
    /// no caller.
    ///
    /// It runs for nobody's request, so it changes no key that [`Server::is_claimed`] says a
    /// transaction wants, and tells [`Server::changes`] of those that it changes.
    ///
    /// [`Server::is_claimed`]: crate::Server::is_claimed
    /// [`Server::changes`]: crate::Server::changes
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] if this shard has as many as [`Limits::timers`](crate::Limits::timers).
    ///
    /// # Panics
    /// If `P` is neither the server's store nor that of one of its command sets.
    pub fn after<P: 'static>(
        &self,
        delay: Duration,
        action: impl FnOnce(&mut P, &Cx<'_>) + 'static,
    ) -> Result<TimerId, Refusal> {
        let mut action = Some(action);
        self.set_timer(delay, None, move |part: &mut P, cx: &Cx<'_>| {
            if let Some(action) = action.take() {
                action(part, cx);
            }
        })
    }

    /// Calls `action` again and again, the first time `period` from now; as [`Cx::after`] does. One
    /// that is late by several periods runs once for them.
    ///
    /// # Errors
    /// As [`Cx::after`].
    ///
    /// # Panics
    /// As [`Cx::after`].
    pub fn every<P: 'static>(
        &self,
        period: Duration,
        action: impl FnMut(&mut P, &Cx<'_>) + 'static,
    ) -> Result<TimerId, Refusal> {
        self.set_timer(period, Some(period), action)
    }

    /// Ends a timer of this shard, which may be the one that runs. False if it ran already or was
    /// cancelled.
    pub fn cancel(&self, timer: TimerId) -> bool {
        self.server().timers.borrow_mut().cancel(timer)
    }

    fn set_timer<P: 'static>(
        &self,
        delay: Duration,
        period: Option<Duration>,
        mut action: impl FnMut(&mut P, &Cx<'_>) + 'static,
    ) -> Result<TimerId, Refusal> {
        let part = TypeId::of::<P>();
        assert!(
            self.server().parts.contains(&part),
            "`{}` is no store of this server or of its sets",
            std::any::type_name::<P>(),
        );
        let mut timers = self.server().timers.borrow_mut();
        if timers.len() >= self.server().limits().timers {
            return Err(Refusal::Overloaded);
        }
        let id = TimerId(timers.next);
        timers.next += 1;
        timers.insert(Timer {
            id,
            due_ms: self.now_ms().saturating_add(whole_ms(delay)),
            period_ms: period.map(whole_ms),
            scope: self.scope(),
            part,
            action: Box::new(move |part, cx| {
                if let Some(part) = part.downcast_mut::<P>() {
                    action(part, cx);
                }
            }),
        });
        Ok(id)
    }
}

/// Milliseconds, rounded up; at least one, so that no timer keeps a turn from ending.
fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).max(1)
}
