//! What the system knows of this process, under the names that Prometheus's own libraries use. Where
//! the system doesn't tell, nothing is.

use std::fs;

use kevy_rt::Scrape;

/// Bytes of a memory page.
const PAGE: u64 = 4096;

/// The kernel's unit of processor time towards programs, per second.
const TICKS_PER_SECOND: f64 = 100.0;

/// Tells it.
pub(crate) fn tell(scrape: &mut Scrape) {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    if let Some(pages) = resident_pages(&file("/proc/self/statm")) {
        let help = "Bytes of memory that the process holds.";
        scrape.gauge("process_resident_memory_bytes", help, pages * PAGE);
    }
    if let Some(ticks) = processor_ticks(&file("/proc/self/stat")) {
        let help = "Processor time of the process, in seconds.";
        scrape.counter("process_cpu_seconds_total", help, ticks as f64 / TICKS_PER_SECOND);
    }
}

/// Sizes in pages, the resident one second.
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_whitespace().nth(1)?.parse().ok()
}

/// User and kernel time together. The fields are counted from behind the program's name, which may
/// hold anything.
fn processor_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, kernel) = (fields.next()?, fields.next()?);
    Some(user.parse::<u64>().ok()? + kernel.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_files_are_understood() {
        assert_eq!(resident_pages("100 42 7 1 0 9 0\n"), Some(42));
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 125 0 0 20 0 1";
        assert_eq!(processor_ticks(stat), Some(375));
        assert_eq!((resident_pages(""), processor_ticks("")), (None, None));
    }
}
