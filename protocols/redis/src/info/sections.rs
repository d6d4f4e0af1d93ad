//! The sections of INFO, and which of them a client asked for.

/// A section, in the order of the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Server,
    Clients,
    Memory,
    Persistence,
    Stats,
    Replication,
    Cpu,
    Modules,
    Commandstats,
    Errorstats,
    Cluster,
    Keyspace,
    Shards,
}

impl Section {
    pub(super) const ALL: [Section; 13] = [
        Section::Server,
        Section::Clients,
        Section::Memory,
        Section::Persistence,
        Section::Stats,
        Section::Replication,
        Section::Cpu,
        Section::Modules,
        Section::Commandstats,
        Section::Errorstats,
        Section::Cluster,
        Section::Keyspace,
        Section::Shards,
    ];

    /// Its heading, which in either case is its name in a request too.
    pub(super) fn title(self) -> &'static str {
        match self {
            Section::Server => "Server",
            Section::Clients => "Clients",
            Section::Memory => "Memory",
            Section::Persistence => "Persistence",
            Section::Stats => "Stats",
            Section::Replication => "Replication",
            Section::Cpu => "CPU",
            Section::Modules => "Modules",
            Section::Commandstats => "Commandstats",
            Section::Errorstats => "Errorstats",
            Section::Cluster => "Cluster",
            Section::Keyspace => "Keyspace",
            Section::Shards => "Shards",
        }
    }

    /// Whether it is told unasked.
    fn is_default(self) -> bool {
        !matches!(self, Section::Commandstats | Section::Shards)
    }
}

/// The sections that were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted(u16);

impl Wanted {
    /// From INFO's arguments; names that there are not are passed over.
    pub(super) fn read<'a>(names: impl ExactSizeIterator<Item = &'a [u8]>) -> Self {
        if names.len() == 0 {
            return Wanted::those(Section::is_default);
        }
        names.fold(Wanted::default(), |wanted, name| {
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            let more = match () {
                () if is("default") => Wanted::those(Section::is_default),
                () if is("all") || is("everything") => Wanted::those(|_| true),
                () => Wanted::those(|section| is(section.title())),
            };
            Wanted(wanted.0 | more.0)
        })
    }

    fn those(which: impl Fn(Section) -> bool) -> Self {
        let bits = Section::ALL.into_iter().filter(|section| which(*section));
        Wanted(bits.fold(0, |bits, section| bits | 1 << section as u16))
    }

    /// Whether this one was.
    pub(super) fn has(self, section: Section) -> bool {
        self.0 & 1 << section as u16 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(names: &[&str]) -> Vec<&'static str> {
        let wanted = Wanted::read(names.iter().map(|name| name.as_bytes()));
        let wanted = Section::ALL.into_iter().filter(|section| wanted.has(*section));
        wanted.map(Section::title).collect()
    }

    #[test]
    fn sections_are_asked_for_by_name_in_any_order() {
        assert_eq!(titles(&["server"]), ["Server"]);
        assert_eq!(titles(&["Stats", "CPU", "cpu", "nosuch"]), ["Stats", "CPU"]);
        assert_eq!(titles(&["nosuch"]), [""; 0]);
        assert_eq!(titles(&[]), titles(&["default"]));
        assert!(!titles(&[]).contains(&"Commandstats"));
        assert_eq!(titles(&["all"]).len(), Section::ALL.len());
        assert_eq!(titles(&["everything"]), titles(&["ALL"]));
    }
}
