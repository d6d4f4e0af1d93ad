//! A descriptor that a poller watches for as long as it lives, and a look at whether one is ready.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

use polling::{Event, PollMode, Poller};

/// What a descriptor is watched for. For neither: it is not watched, so that not even its errors
/// are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) reading: bool,
    pub(crate) writing: bool,
}

impl Interest {
    fn is_none(self) -> bool {
        !(self.reading || self.writing)
    }
}

/// A descriptor and a poller's interest in it, which ends with it.
#[derive(Debug)]
pub(crate) struct Watched<S: AsFd> {
    source: S,
    poller: Arc<Poller>,
    key: usize,
    interest: Interest,
}

impl<S: AsFd> Watched<S> {
    /// Not watched for anything yet. Events of it will carry `key`.
    pub(crate) fn new(source: S, poller: Arc<Poller>, key: usize) -> Self {
        Watched { source, poller, key, interest: Interest::default() }
    }

    pub(crate) fn source(&self) -> &S {
        &self.source
    }

    /// Says what to watch it for from now on, as long as that lasts: level-triggered.
    ///
    /// # Errors
    /// When the system has no room for it.
    pub(crate) fn set_interest(&mut self, interest: Interest) -> io::Result<()> {
        if interest == self.interest {
            return Ok(());
        }
        let event = Event::new(self.key, interest.reading, interest.writing);
        let source = self.source.as_fd();
        match (self.interest.is_none(), interest.is_none()) {
            (false, true) => self.poller.delete(source)?,
            (false, false) => self.poller.modify_with_mode(source, event, PollMode::Level)?,
            (true, _) => {
                // SAFETY: it is deleted before it is closed, by `drop` at the latest.
                unsafe { self.poller.add_with_mode(&source, event, PollMode::Level)? };
            }
        }
        self.interest = interest;
        Ok(())
    }
}

impl<S: AsFd> Drop for Watched<S> {
    fn drop(&mut self) {
        // It fails only for what isn't watched.
        let _ = self.set_interest(Interest::default());
    }
}

/// Whether there is something to read from `descriptor`, without waiting for it.
pub(crate) fn is_readable(descriptor: BorrowedFd<'_>) -> bool {
    let mut entry = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: `entry` is the one element that the call reads and writes.
    let ready = unsafe { libc::poll(&raw mut entry, 1, 0) };
    ready > 0
}
