//! How many file descriptors this process may have.

use std::io;

/// Raises the limit of open descriptors to `wanted`, or as near as the system lets us. Answers
/// with what it is then.
pub(crate) fn raise_descriptor_limit(wanted: u64) -> io::Result<u64> {
    let now = limit()?;
    if now.rlim_cur >= wanted {
        return Ok(now.rlim_cur);
    }
    // The hard limit too, which takes privileges; else as far as it goes.
    let all = libc::rlimit { rlim_cur: wanted, rlim_max: now.rlim_max.max(wanted) };
    let most = libc::rlimit { rlim_cur: now.rlim_max.min(wanted), rlim_max: now.rlim_max };
    set_limit(all).or_else(|_| set_limit(most))?;
    Ok(limit()?.rlim_cur)
}

/// Lowers the limit of open descriptors for as long as nobody raises it.
#[cfg(test)]
pub(crate) fn lower_descriptor_limit(descriptors: u64) -> io::Result<()> {
    set_limit(libc::rlimit { rlim_cur: descriptors, ..limit()? })
}

fn limit() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes the one `rlimit` it is given.
    let done = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if done == 0 { Ok(limit) } else { Err(io::Error::last_os_error()) }
}

fn set_limit(limit: libc::rlimit) -> io::Result<()> {
    // SAFETY: the call reads the one `rlimit` it is given.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
