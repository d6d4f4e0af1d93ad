//! Waking a parked shard from a thread that has no ring of its own.

#[cfg(target_os = "linux")]
use std::fs::File;
use std::io;
#[cfg(target_os = "linux")]
use std::io::Write;
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use polling::Poller;

/// Wakes one shard.
#[derive(Debug)]
pub(crate) enum Waker {
    /// A shard on io_uring: an eventfd that its ring polls.
    #[cfg(target_os = "linux")]
    Event(File),
    /// A shard that waits for readiness.
    Poller(Arc<Poller>),
}

impl Waker {
    /// A waker whose descriptor somebody polls.
    #[cfg(target_os = "linux")]
    pub(crate) fn event() -> io::Result<Self> {
        use std::os::fd::{FromRawFd, OwnedFd};
        // SAFETY: makes a descriptor out of two numbers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above just made it, so nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Waker::Event(File::from(fd)))
    }

    /// A waker for whoever waits on a poller.
    pub(crate) fn poller() -> io::Result<Self> {
        Ok(Waker::Poller(Arc::new(Poller::new()?)))
    }

    /// Wakes it if it is parked, else its next park ends at once. From any thread.
    pub(crate) fn wake(&self) {
        // Neither can fail in a way that matters: a counter at its end is a wake that is pending.
        match self {
            #[cfg(target_os = "linux")]
            Waker::Event(counter) => drop((&mut &*counter).write(&1_u64.to_ne_bytes())),
            Waker::Poller(poller) => drop(poller.notify()),
        }
    }

    /// The poller that a wake interrupts.
    pub(crate) fn as_poller(&self) -> Option<&Arc<Poller>> {
        match self {
            #[cfg(target_os = "linux")]
            Waker::Event(_) => None,
            Waker::Poller(poller) => Some(poller),
        }
    }

    /// The descriptor that becomes readable with a wake.
    #[cfg(target_os = "linux")]
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Waker::Event(counter) => Some(counter.as_fd()),
            Waker::Poller(_) => None,
        }
    }
}
