//! CPU time of the calling thread.

/// Nanoseconds that this thread has run.
pub(crate) fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for the call, which only writes to it.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    debug_assert_eq!(result, 0, "every system this builds for has this clock");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
