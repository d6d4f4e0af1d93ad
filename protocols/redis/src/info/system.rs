//! What the system knows of this process. Zero where it doesn't tell.

use std::fs;

/// Bytes of a memory page.
const PAGE: u64 = 4096;

/// The kernel's unit of processor time towards programs, per second.
const TICKS_PER_SECOND: f64 = 100.0;

/// What is read once for an INFO.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct System {
    /// Name, release and machine.
    pub(super) name: String,
    /// Bytes of memory that the process holds, and the most it ever did.
    pub(super) resident_bytes: u64,
    pub(super) peak_bytes: u64,
    /// Bytes of memory that the machine has.
    pub(super) total_bytes: u64,
    /// Seconds of processor time.
    pub(super) user_s: f64,
    pub(super) kernel_s: f64,
}

impl System {
    pub(super) fn read() -> Self {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (kind, release) = (file("/proc/sys/kernel/ostype"), file("/proc/sys/kernel/osrelease"));
        let kind = if kind.is_empty() { std::env::consts::OS } else { kind.trim() };
        let (user_s, kernel_s) = processor_seconds(&file("/proc/self/stat"));
        System {
            name: format!("{kind} {} {}", release.trim(), std::env::consts::ARCH),
            resident_bytes: resident_bytes(),
            peak_bytes: kilobytes(&file("/proc/self/status"), "VmHWM:") * 1024,
            total_bytes: kilobytes(&file("/proc/meminfo"), "MemTotal:") * 1024,
            user_s,
            kernel_s,
        }
    }
}

/// Bytes of memory that the process holds.
pub(crate) fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    resident_pages(&statm) * PAGE
}

/// From `/proc/self/statm`: sizes in pages, the resident one second.
fn resident_pages(statm: &str) -> u64 {
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default()
}

/// From a file of lines `Name:   123 kB`.
fn kilobytes(lines: &str, name: &str) -> u64 {
    let line = lines.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// User and kernel time from `/proc/self/stat`. The fields are counted from behind the program's
/// name, which may hold anything.
fn processor_seconds(stat: &str) -> (f64, f64) {
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
    let seconds = |index: usize| {
        let ticks: Option<f64> = fields.get(index).and_then(|field| field.parse().ok());
        ticks.unwrap_or_default() / TICKS_PER_SECOND
    };
    (seconds(11), seconds(12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_files_are_understood() {
        assert_eq!(resident_pages("100 42 7 1 0 9 0\n"), 42);
        let status = "Name:\tx\nVmPeak:\t  10 kB\nVmHWM:\t    7086 kB\n";
        assert_eq!(kilobytes(status, "VmHWM:"), 7086);
        assert_eq!(kilobytes(status, "VmSwap:"), 0);
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 125 0 0 20 0 1";
        assert_eq!(processor_seconds(stat), (2.5, 1.25));
        assert_eq!(processor_seconds(""), (0.0, 0.0));
    }
}
