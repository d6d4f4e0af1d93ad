//! What a process has used: CPU time, and instructions where the kernel counts them.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Reads a process's use so far.
pub struct Meter {
    pid: u32,
    instructions: Vec<OwnedFd>,
}

/// A process's use at some moment, or between two.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// CPU time of all threads, in user and kernel mode.
    pub cpu: Duration,
    /// Instructions of all threads in both modes, where they can be counted.
    pub instructions: Option<u64>,
}

impl Usage {
    /// The use since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            instructions: self.instructions.zip(earlier.instructions).map(|(now, then)| now - then),
        }
    }
}

impl Meter {
    /// A meter of the threads that process `pid` has now. Threads that it starts later count for
    /// CPU time only.
    pub fn new(pid: u32) -> Self {
        let counters: io::Result<Vec<_>> = threads(pid)
            .and_then(|threads| threads.into_iter().map(open_instruction_counter).collect());
        Self { pid, instructions: counters.unwrap_or_default() }
    }

    /// The use until now.
    ///
    /// # Errors
    ///
    /// A failed read of `/proc`, as when the process has ended.
    pub fn read(&self) -> io::Result<Usage> {
        let cpu = precise_cpu(self.pid).or_else(|_| coarse_cpu(self.pid))?;
        let counts: Option<Vec<u64>> = self.instructions.iter().map(read_counter).collect();
        let instructions =
            counts.filter(|counts| !counts.is_empty()).map(|counts| counts.iter().sum());
        Ok(Usage { cpu, instructions })
    }
}

/// The memory of process `pid` that is resident, in bytes.
///
/// # Errors
///
/// A failed read of `/proc`, as when the process has ended.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(parse_resident(&text).ok_or(io::ErrorKind::InvalidData)?)
}

fn parse_resident(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

fn threads(pid: u32) -> io::Result<Vec<u32>> {
    let names = fs::read_dir(format!("/proc/{pid}/task"))?;
    let numbers = names.map(|entry| Ok(entry?.file_name().to_string_lossy().parse().ok()));
    Ok(numbers.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// The scheduler's own account, in nanoseconds.
fn precise_cpu(pid: u32) -> io::Result<Duration> {
    let mut total = Duration::ZERO;
    for thread in threads(pid)? {
        match fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")) {
            Ok(text) => total += parse_schedstat(&text).ok_or(io::ErrorKind::InvalidData)?,
            // A thread may end between the listing and the read.
            Err(error) if error.kind() == io::ErrorKind::NotFound && thread != pid => {}
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}

fn parse_schedstat(text: &str) -> Option<Duration> {
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// The account in clock ticks, of kernels without the scheduler's.
fn coarse_cpu(pid: u32) -> io::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = parse_stat(&text).ok_or(io::ErrorKind::InvalidData)?;
    // SAFETY: the call takes no pointer.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64))
}

/// User and kernel ticks: fields 14 and 15, counted past the name, which may hold spaces.
fn parse_stat(text: &str) -> Option<u64> {
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    Some(user + kernel)
}

/// The first fields of the kernel's `struct perf_event_attr`, up to its first published size.
#[repr(C)]
#[derive(Default)]
struct EventAttributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    breakpoint_address: u64,
}

const EVENT_INSTRUCTIONS: u64 = 1;
const EVENT_EXCLUDE_HYPERVISOR: u64 = 1 << 6;

fn open_instruction_counter(thread: u32) -> io::Result<OwnedFd> {
    let attributes = EventAttributes {
        size: size_of::<EventAttributes>() as u32,
        config: EVENT_INSTRUCTIONS,
        flags: EVENT_EXCLUDE_HYPERVISOR,
        ..EventAttributes::default()
    };
    // SAFETY: `attributes` outlives the call and states its own size.
    let fd = unsafe {
        libc::syscall(libc::SYS_perf_event_open, &raw const attributes, thread, -1, -1, 0)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel made this descriptor for the call; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn read_counter(counter: &OwnedFd) -> Option<u64> {
    let mut count = 0u64;
    let target = (&raw mut count).cast();
    // SAFETY: `target` is `count`, which has room for the eight bytes.
    let len = unsafe { libc::read(counter.as_raw_fd(), target, size_of::<u64>()) };
    (len == size_of::<u64>() as isize).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_both_accounts() {
        assert_eq!(parse_schedstat("1500 20 3\n"), Some(Duration::from_nanos(1500)));
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 9 1 1";
        assert_eq!(parse_stat(stat), Some(300));
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn parses_the_resident_size() {
        let status = "Name:\tredis\nVmHWM:\t   14000 kB\nVmRSS:\t   13944 kB\nThreads:\t2\n";
        assert_eq!(parse_resident(status), Some(13944 << 10));
        assert_eq!(parse_resident("Name:\tkthreadd\n"), None);
    }
}
