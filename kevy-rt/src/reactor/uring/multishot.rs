//! Who has the say over an operation that completes many times: a receive or an accept.
//!
//! ```text
//!           want                      ends by itself
//!   Off ----------> Armed ----------------------------> Armed (asked for again)
//!    ^               | ^ \  ends for lack of something
//!    |    don't want | |  ------------> Waiting --retry--> Armed
//!    |               v | ends
//!    |- ends -- Cancelling <--- want / don't want ---> Resuming
//! ```
//!
//! From any of them it is `Over` when there is nothing more to come. The kernel is at it in
//! `Armed`, `Cancelling` and `Resuming`, and in these alone.

/// Where a multishot operation stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Multishot {
    /// Neither wanted nor under way.
    #[default]
    Off,
    /// Under way.
    Armed,
    /// Cancelled, and not wanted. Its last completion is still to come.
    Cancelling,
    /// Cancelled, and wanted again. It is asked for with its last completion.
    Resuming,
    /// Wanted, but what it needs is not there.
    Waiting,
    /// There is nothing more to come.
    Over,
}

/// What has to be asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Ask {
    Nothing,
    Arm,
    Cancel,
}

/// Why an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was cancelled, or the kernel just wants to be asked again.
    Pause,
    /// It lacked something: a buffer, a descriptor.
    Lack,
    /// There is nothing more to come.
    Over,
}

impl Multishot {
    /// Whether the kernel is at it, so that a completion is still to come.
    pub(super) fn is_under_way(self) -> bool {
        matches!(self, Multishot::Armed | Multishot::Cancelling | Multishot::Resuming)
    }

    pub(super) fn want(&mut self) -> Ask {
        match *self {
            Multishot::Off => self.arm(),
            Multishot::Cancelling => self.go_to(Multishot::Resuming, Ask::Nothing),
            Multishot::Armed | Multishot::Resuming | Multishot::Waiting | Multishot::Over => {
                Ask::Nothing
            }
        }
    }

    pub(super) fn want_no_more(&mut self) -> Ask {
        match *self {
            Multishot::Armed => self.go_to(Multishot::Cancelling, Ask::Cancel),
            Multishot::Resuming => self.go_to(Multishot::Cancelling, Ask::Nothing),
            Multishot::Waiting => self.go_to(Multishot::Off, Ask::Nothing),
            Multishot::Off | Multishot::Cancelling | Multishot::Over => Ask::Nothing,
        }
    }

    /// Its last completion is here.
    pub(super) fn ended(&mut self, how: End) -> Ask {
        debug_assert!(self.is_under_way(), "{self:?} has no completions");
        match (*self, how) {
            (_, End::Over) => self.go_to(Multishot::Over, Ask::Nothing),
            (Multishot::Cancelling, _) => self.go_to(Multishot::Off, Ask::Nothing),
            (_, End::Lack) => self.go_to(Multishot::Waiting, Ask::Nothing),
            (_, End::Pause) => self.arm(),
        }
    }

    /// What it lacked may be there.
    pub(super) fn retry(&mut self) -> Ask {
        if *self == Multishot::Waiting { self.arm() } else { Ask::Nothing }
    }

    fn arm(&mut self) -> Ask {
        self.go_to(Multishot::Armed, Ask::Arm)
    }

    fn go_to(&mut self, state: Multishot, ask: Ask) -> Ask {
        *self = state;
        ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_mind_costs_one_cancel() {
        let mut receive = Multishot::default();
        assert_eq!(receive.want(), Ask::Arm);
        assert_eq!(receive.want(), Ask::Nothing);
        assert_eq!(receive.want_no_more(), Ask::Cancel);
        for _ in 0..3 {
            assert_eq!(receive.want(), Ask::Nothing);
            assert_eq!(receive, Multishot::Resuming);
            assert_eq!(receive.want_no_more(), Ask::Nothing);
        }
        assert_eq!(receive.ended(End::Pause), Ask::Nothing);
        assert_eq!(receive, Multishot::Off);
    }

    #[test]
    fn wanted_again_it_is_armed_with_the_last_completion() {
        let mut receive = Multishot::Resuming;
        assert_eq!(receive.ended(End::Pause), Ask::Arm);
        assert_eq!(receive, Multishot::Armed);
    }

    #[test]
    fn without_what_it_needs_it_waits() {
        let mut receive = Multishot::Armed;
        assert_eq!(receive.ended(End::Lack), Ask::Nothing);
        assert!(!receive.is_under_way());
        assert_eq!(receive.want(), Ask::Nothing);
        assert_eq!(receive.retry(), Ask::Arm);
        assert_eq!(receive.retry(), Ask::Nothing);
    }

    #[test]
    fn after_the_end_nothing_is_asked_for() {
        for state in [Multishot::Armed, Multishot::Cancelling, Multishot::Resuming] {
            let mut receive = state;
            assert_eq!(receive.ended(End::Over), Ask::Nothing);
            assert_eq!(receive.want(), Ask::Nothing);
            assert_eq!(receive.want_no_more(), Ask::Nothing);
            assert_eq!(receive, Multishot::Over);
        }
    }
}
