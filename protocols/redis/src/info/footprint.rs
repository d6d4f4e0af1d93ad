//! What the process's memory is for: the numbers behind INFO memory and MEMORY STATS.

use super::part::Part;

/// Bytes, of all shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// What the process held before there were keys and clients.
    pub(crate) startup: u64,
    /// Keys and values, their index included.
    pub(crate) dataset: u64,
    pub(crate) clients: u64,
    /// Holes between records, and what was cleared and isn't freed yet.
    pub(crate) unused: u64,
    /// What the process holds now, and the most it ever did.
    pub(crate) resident: u64,
    pub(crate) peak: u64,
    /// What keys may take; zero for any amount.
    pub(crate) limit: u64,
    /// How many keys there are.
    pub(crate) keys: u64,
}

impl Footprint {
    pub(crate) fn of(parts: &[Part]) -> Self {
        let mut footprint = Footprint::default();
        for part in parts {
            footprint.dataset += part.keyspace_bytes as u64;
            footprint.unused += part.unused_bytes as u64;
            footprint.clients += part.client_bytes as u64;
            footprint.keys += part.databases.iter().map(|(keys, _)| *keys as u64).sum::<u64>();
            if let Some(process) = &part.process {
                footprint.startup = process.startup_bytes;
                footprint.limit = process.max_memory;
                footprint.resident = process.system.resident_bytes;
                footprint.peak = process.system.peak_bytes;
            }
        }
        footprint.peak = footprint.peak.max(footprint.used());
        footprint
    }

    pub(crate) fn used(&self) -> u64 {
        self.startup + self.dataset + self.clients
    }

    /// What isn't for keys.
    pub(crate) fn overhead(&self) -> u64 {
        self.startup + self.clients
    }

    /// With what is between and behind the records.
    pub(crate) fn active(&self) -> u64 {
        self.used() + self.unused
    }

    /// Since the start.
    fn grown(&self) -> u64 {
        self.dataset + self.clients
    }

    pub(crate) fn bytes_per_key(&self) -> u64 {
        self.grown().checked_div(self.keys).unwrap_or_default()
    }

    pub(crate) fn dataset_percent(&self) -> f64 {
        100.0 * ratio(self.dataset, self.grown())
    }

    pub(crate) fn peak_percent(&self) -> f64 {
        100.0 * ratio(self.used(), self.peak)
    }

    pub(crate) fn fragmentation(&self) -> f64 {
        ratio(self.resident, self.used())
    }

    /// Negative for what isn't resident: it was swapped out, or never touched.
    pub(crate) fn fragmentation_bytes(&self) -> i64 {
        difference(self.resident, self.used())
    }
}

/// How many times `part` is `whole`; zero of nothing.
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

pub(crate) fn difference(a: u64, b: u64) -> i64 {
    a as i64 - b as i64
}

#[cfg(test)]
mod tests {
    use super::super::part::Process;
    use super::super::system::System;
    use super::*;

    #[test]
    fn parts_add_up_and_the_process_is_counted_once() {
        let system = System { resident_bytes: 5000, peak_bytes: 100, ..System::default() };
        let part = |shard| Part {
            databases: vec![(2, 1), (0, 0), (1, 0)],
            keyspace_bytes: 1000,
            client_bytes: 250,
            unused_bytes: 70,
            process: (shard == 0).then(|| Process {
                startup_bytes: 1500,
                max_memory: 9000,
                system: system.clone(),
                ..Process::default()
            }),
            ..Part::default()
        };
        let footprint = Footprint::of(&[part(1), part(0)]);
        assert_eq!(footprint.used(), 4000);
        assert_eq!(footprint.overhead(), 2000);
        assert_eq!(footprint.active(), 4140);
        assert_eq!(footprint.peak, 4000, "the peak is no less than what is used");
        assert_eq!(footprint.bytes_per_key(), 2500 / 6);
        assert_eq!(footprint.dataset_percent(), 80.0);
        assert_eq!(footprint.fragmentation(), 1.25);
        assert_eq!(footprint.fragmentation_bytes(), 1000);
        assert_eq!(footprint.limit, 9000);
    }

    #[test]
    fn nothing_is_a_footprint_too() {
        let nothing = Footprint::of(&[]);
        assert_eq!(nothing.bytes_per_key(), 0);
        assert_eq!((nothing.dataset_percent(), nothing.fragmentation()), (0.0, 0.0));
    }
}
