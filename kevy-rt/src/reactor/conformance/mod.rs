//! One suite for all reactors of sockets, at the level of [`Reactor`](super::Reactor).
//!
//! Each case runs on readiness and on io_uring: as it is set up here, with the ways of older
//! kernels, and with queues and buffers so small that they overflow and run dry all the time.
//!
//! Where io_uring is refused its cases fail, unless `KEVY_WITHOUT_URING=1` says to go without.

mod bench;
mod cases;
mod lone;
mod random;

use std::io;
use std::os::fd::OwnedFd;

use super::poll::PollReactor;
use super::{Parts, Reactor};
use crate::sys::Waker;

/// How to make the reactors of a process.
trait Subject: Clone + Send + 'static {
    type Reactor: Reactor<Socket = OwnedFd>;

    /// `None` to go without.
    fn new(shards: usize) -> Option<Self>;

    fn waker() -> Waker;

    fn make(&self, parts: Parts) -> io::Result<Self::Reactor>;
}

#[derive(Clone)]
struct Poll;

impl Subject for Poll {
    type Reactor = PollReactor;

    fn new(_: usize) -> Option<Self> {
        Some(Poll)
    }

    fn waker() -> Waker {
        Waker::poller().unwrap()
    }

    fn make(&self, parts: Parts) -> io::Result<PollReactor> {
        PollReactor::new(parts)
    }
}

#[cfg(target_os = "linux")]
mod uring {
    use std::marker::PhantomData;
    use std::sync::{Arc, LazyLock};

    use super::*;
    use crate::reactor::uring::{Rings, UringReactor, find_setup};
    use crate::sys::uring::{Pool, Setup, TaskWork};

    static FOUND: LazyLock<Option<Setup>> = LazyLock::new(|| match find_setup(1, 1) {
        Ok(setup) => Some(setup),
        Err(error) if std::env::var("KEVY_WITHOUT_URING").is_ok_and(|value| value == "1") => {
            eprintln!("going without io_uring, which is not available: {error}");
            None
        }
        Err(error) => panic!("io_uring is not available: {error}"),
    });

    fn found() -> Setup {
        FOUND.expect("it was looked for before")
    }

    /// A way to set up io_uring.
    pub(super) trait Way: Clone + Send + 'static {
        fn setup() -> Setup;
    }

    #[derive(Clone)]
    pub(super) struct AsFound;

    impl Way for AsFound {
        fn setup() -> Setup {
            found()
        }
    }

    /// A kernel without deferred task work.
    #[derive(Clone)]
    pub(super) struct Cooperative;

    impl Way for Cooperative {
        fn setup() -> Setup {
            Setup::new(TaskWork::Cooperative, Pool::WHOLE)
        }
    }

    /// A kernel with no say over task work.
    #[derive(Clone)]
    pub(super) struct Interrupting;

    impl Way for Interrupting {
        fn setup() -> Setup {
            Setup::new(TaskWork::Interrupting, Pool::WHOLE)
        }
    }

    /// Queues that overflow, and buffers enough.
    #[derive(Clone)]
    pub(super) struct Crowded;

    impl Way for Crowded {
        fn setup() -> Setup {
            found().crowded()
        }
    }

    #[derive(Clone)]
    pub(super) struct Scarce;

    impl Way for Scarce {
        fn setup() -> Setup {
            Setup::scarce(TaskWork::Deferred, Pool::INCREMENTAL)
        }
    }

    #[derive(Clone)]
    pub(super) struct ScarceAndWhole;

    impl Way for ScarceAndWhole {
        fn setup() -> Setup {
            Setup::scarce(TaskWork::Cooperative, Pool::WHOLE)
        }
    }

    #[derive(Clone)]
    pub(super) struct Uring<W> {
        rings: Arc<Rings>,
        way: PhantomData<fn() -> W>,
    }

    macro_rules! subject {
        ($($way:ident)+) => { $(
            impl Subject for Uring<$way> {
                type Reactor = UringReactor;

                fn new(shards: usize) -> Option<Self> {
                    FOUND.map(|_| Uring { rings: Arc::new(Rings::new(shards)), way: PhantomData })
                }

                fn waker() -> Waker {
                    Waker::event().unwrap()
                }

                fn make(&self, parts: Parts) -> io::Result<UringReactor> {
                    UringReactor::new($way::setup(), self.rings.clone(), parts)
                }
            }
        )+ };
    }

    subject! { AsFound Cooperative Interrupting Crowded Scarce ScarceAndWhole }
}

/// A module of tests for each subject, with a test for each case.
macro_rules! conformance {
    ($($(#[$on:meta])? $module:ident: $subject:ty;)+ => $cases:tt) => {
        $( $(#[$on])? conformance!(@module $module $subject, $cases); )+
    };
    (@module $module:ident $subject:ty, { $($from:ident::{$($case:ident),+ $(,)?})+ }) => {
        mod $module {
            use super::*;

            $($(
                #[test]
                fn $case() {
                    if <$subject as Subject>::new(1).is_some() {
                        $from::$case::<$subject>();
                    }
                }
            )+)+
        }
    };
}

conformance! {
    on_readiness: Poll;
    #[cfg(target_os = "linux")] on_uring: uring::Uring<uring::AsFound>;
    #[cfg(target_os = "linux")] on_cooperative_uring: uring::Uring<uring::Cooperative>;
    #[cfg(target_os = "linux")] on_interrupting_uring: uring::Uring<uring::Interrupting>;
    #[cfg(target_os = "linux")] on_crowded_uring: uring::Uring<uring::Crowded>;
    #[cfg(target_os = "linux")] on_scarce_uring: uring::Uring<uring::Scarce>;
    #[cfg(target_os = "linux")] on_scarce_whole_uring: uring::Uring<uring::ScarceAndWhole>;
    => {
        cases::{
            bytes_come_back,
            large_values_go_both_ways,
            an_output_of_many_pieces_is_whole,
            nothing_is_read_while_reading_is_off,
            changes_of_mind_lose_nothing,
            many_sockets_at_once,
            more_bytes_than_buffers,
            a_closed_socket_tells_nothing,
            closing_gives_up_the_send,
            late_completions_reach_no_new_socket,
            a_reset_breaks_once,
            a_send_to_nobody_breaks_once,
            half_a_connection_still_takes,
            connections_are_told_with_their_peer,
            accepting_can_be_put_off,
            after_the_listeners_nobody_connects,
            a_wake_ends_a_sleep,
            a_wake_before_a_sleep_ends_it,
            a_shard_wakes_another,
            a_sleep_ends_by_itself,
            those_that_are_gone_keep_nobody_awake,
            an_urgent_byte_keeps_nobody_awake,
            leftovers_keep_it_awake,
            readiness_shows_without_a_turn,
        }
        random::{any_order_of_calls_keeps_streams_whole}
        lone::{
            without_descriptors_accepting_pauses,
            nothing_is_left_open,
        }
    }
}
