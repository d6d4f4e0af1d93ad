//! Looking at a server while it is busy with something else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Failure;
use crate::address::Address;
use crate::pipeline::Pipeline;
use crate::usage::resident_bytes;

/// Runs `work`, while another thread calls `look` again and again with a pause between.
pub(super) fn watching<T>(
    pause: Duration,
    mut look: impl FnMut() -> Result<(), Failure> + Send,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    // Written by this thread, read by the one that looks; nothing else hangs on its order.
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let looking = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                look()?;
                thread::sleep(pause);
            }
            Ok(())
        });
        let over = Over(&is_over);
        let result = work();
        drop(over);
        let looked = looking.join().expect("looking does not panic");
        result.and_then(|result| looked.map(|()| result))
    })
}

/// Has the other thread end, also where the work panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work`, while another connection sends a PING every millisecond. Returns the longest time
/// that one of them took, in milliseconds, too.
pub(super) fn pinging<T>(
    address: &Address,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<(T, f64), Failure> {
    let mut pings = Pipeline::new(address)?;
    let mut longest = Duration::ZERO;
    let ping = || {
        let start = Instant::now();
        pings.ask(&[b"PING"])?;
        longest = longest.max(start.elapsed());
        Ok(())
    };
    let result = watching(Duration::from_millis(1), ping, work)?;
    Ok((result, longest.as_secs_f64() * 1000.0))
}

/// The resident size of process `pid`, in bytes, once it hasn't fallen for as long as `still`.
pub(super) fn settled_bytes(pid: u32, still: Duration) -> Result<u64, Failure> {
    const PAUSE: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(30);
    let start = Instant::now();
    let (mut least, mut fell) = (resident_bytes(pid)?, start);
    while fell.elapsed() < still && start.elapsed() < LONGEST {
        thread::sleep(PAUSE);
        let now = resident_bytes(pid)?;
        if now < least {
            (least, fell) = (now, Instant::now());
        }
    }
    Ok(resident_bytes(pid)?)
}
