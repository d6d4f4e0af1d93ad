//! Pins the calling thread to a core.

use std::io;

/// Pins the calling thread, and threads that it starts later, to `core`.
///
/// # Errors
///
/// What `sched_setaffinity(2)` answers, as when there is no such core.
pub fn pin(core: usize) -> io::Result<()> {
    // SAFETY: all zeroes is the empty `cpu_set_t`.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: `core` is below `CPU_SETSIZE`, by the test above.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: `set` outlives the call and its size is given.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
