//! Choosing the I/O engine: io_uring where it works, readiness elsewhere.

use std::io;

use super::Plan;
use crate::commands::Commands;
use crate::reactor::poll::PollReactor;
#[cfg(target_os = "linux")]
use crate::reactor::uring::{Rings, UringReactor, find_setup};
use crate::runtime::{Error, ReactorChoice, Runtime};
use crate::sys::Waker;
#[cfg(target_os = "linux")]
use crate::sys::uring::Setup;

/// The engine of all shards.
pub(super) enum Engine {
    #[cfg(target_os = "linux")]
    Uring(Setup),
    Poll,
}

/// The engine, and why it is that one.
pub(super) type Choice = (Engine, String);

impl Engine {
    pub(super) fn choose(choice: ReactorChoice, shards: usize) -> Result<Choice, Error> {
        match choice {
            ReactorChoice::Poll => Ok(Engine::poll("it was asked for".into())),
            ReactorChoice::Uring => {
                let (engine, reason) = Engine::uring(shards).map_err(Error::NoUring)?;
                Ok((engine, format!("it was asked for, and {reason}")))
            }
            ReactorChoice::Auto => Ok(Engine::uring(shards).unwrap_or_else(|error| {
                Engine::poll(format!("io_uring is not available: {error}"))
            })),
        }
    }

    fn poll(reason: String) -> Choice {
        tracing::info!(reason, "the reactor is readiness");
        (Engine::Poll, reason)
    }

    #[cfg(target_os = "linux")]
    fn uring(shards: usize) -> io::Result<Choice> {
        let setup = find_setup(shards, super::cores::usable_cores())?;
        let reason = "it passed its test";
        tracing::info!(reason, ?setup, "the reactor is io_uring");
        Ok((Engine::Uring(setup), reason.into()))
    }

    #[cfg(not(target_os = "linux"))]
    fn uring(_: usize) -> io::Result<Choice> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system has none"))
    }

    /// What wakes a shard that is parked in this engine.
    pub(super) fn waker(&self) -> io::Result<Waker> {
        match self {
            #[cfg(target_os = "linux")]
            Engine::Uring(_) => Waker::event(),
            Engine::Poll => Waker::poller(),
        }
    }

    /// Starts the shards on it.
    pub(super) fn run<C: Commands>(self, plan: Plan<C>) -> Result<Runtime, Error> {
        match self {
            #[cfg(target_os = "linux")]
            Engine::Uring(setup) => {
                let rings = std::sync::Arc::new(Rings::new(plan.cores.len()));
                super::run(plan, move |parts| UringReactor::new(setup, rings.clone(), parts))
            }
            Engine::Poll => super::run(plan, PollReactor::new),
        }
    }
}
