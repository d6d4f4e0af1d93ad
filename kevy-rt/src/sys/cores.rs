//! Which cores this process may use, and keeping a thread on one.

use std::io;

/// The cores that the calling thread may run on, in order.
#[cfg(target_os = "linux")]
pub(crate) fn allowed_cores() -> io::Result<Vec<usize>> {
    let set = cores_of(0)?;
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
    stay_on(&set)
}

/// Lets the calling thread, which starts where the one that started it is kept, go wherever the
/// process's first thread may.
#[cfg(target_os = "linux")]
pub(crate) fn leave_core() -> io::Result<()> {
    stay_on(&cores_of(std::process::id())?)
}

/// The cores of a thread, the calling one if it is 0. The first thread has the process's number.
#[cfg(target_os = "linux")]
fn cores_of(thread: u32) -> io::Result<libc::cpu_set_t> {
    let mut set = empty_set();
    // SAFETY: `set` is a whole `cpu_set_t` that the call may write.
    let done =
        unsafe { libc::sched_getaffinity(thread as libc::pid_t, size_of_val(&set), &raw mut set) };
    if done == 0 { Ok(set) } else { Err(io::Error::last_os_error()) }
}

#[cfg(target_os = "linux")]
fn stay_on(set: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: `set` is a whole `cpu_set_t` that the call reads.
    let done = unsafe { libc::sched_setaffinity(0, size_of_val(set), set) };
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

/// Nothing to leave here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn leave_core() -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_leaves_its_core_has_all() {
        let all = allowed_cores().unwrap();
        let pinned = std::thread::spawn(move || {
            pin_to_core(all[0]).unwrap();
            let heir = std::thread::spawn(|| {
                let inherited = allowed_cores().unwrap();
                leave_core().unwrap();
                (inherited, allowed_cores().unwrap())
            });
            assert_eq!(heir.join().unwrap(), (vec![all[0]], all));
        });
        pinned.join().unwrap();
    }
}
