//! Which cores this process may use, and keeping a thread on one.

use std::io;

/// The cores that the calling thread may run on, in order.
#[cfg(target_os = "linux")]
pub(crate) fn allowed_cores() -> io::Result<Vec<usize>> {
    let mut set = empty_set();
    // SAFETY: `set` is a whole `cpu_set_t` that the call may write.
    let done = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    let in_set = |core: &usize| {
        // SAFETY: reads a bit of `set`, and `core` is below its number of bits.
        unsafe { libc::CPU_ISSET(*core, &set) }
    };
    Ok((0..libc::CPU_SETSIZE as usize).filter(in_set).collect())
}

/// Keeps the calling thread on `core`.
#[cfg(target_os = "linux")]
pub(crate) fn pin_to_core(core: usize) -> io::Result<()> {
    assert!(core < libc::CPU_SETSIZE as usize);
    let mut set = empty_set();
    // SAFETY: sets a bit of `set`, and `core` is below its number of bits.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: `set` is a whole `cpu_set_t` that the call reads.
    let done = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(target_os = "linux")]
fn empty_set() -> libc::cpu_set_t {
    // SAFETY: it is an array of integers, for which zeros are a value.
    unsafe { std::mem::zeroed() }
}

/// Not known here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn allowed_cores() -> io::Result<Vec<usize>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not to be had here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pin_to_core(_: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
