//! MEMORY: what keys and the server as a whole take.

use kevy_resp::{Error, Frame, Resp, Status, Verbatim};
use kevy_rt::{Arg, ArgKind, Cx, Key, commands};

use crate::help::help;
use crate::info::{Footprint, Part, Wanted, difference, ratio};
use crate::store::value::integer;
use crate::store::{Db, Store};

const HELP: &[&str] = &[
    "DOCTOR",
    "    Return memory problems reports.",
    "MALLOC-STATS",
    "    Return internal statistics report from the memory allocator.",
    "PURGE",
    "    Attempt to purge dirty pages for reclamation by the allocator.",
    "STATS",
    "    Return information about the memory usage of the server.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
];

const MALLOC_STATS: &str = "Keys and short values lie in memory that the server maps by itself: \
     INFO shards tells how much is used, and how much lies unused between records. All else comes \
     from the program's allocator, which is not asked for its statistics.\n";

/// The set of MEMORY's subcommands on a key.
#[derive(Debug)]
pub struct KeyMemory;

/// The set of MEMORY's subcommands on the server as a whole.
#[derive(Debug)]
pub struct ServerMemory;

#[commands(store = Db, wire = Resp)]
impl KeyMemory {
    /// Answers how many bytes a key takes with its value and its share of the index.
    #[command(
        route = single(2),
        name = "memory usage",
        since = "4.0.0",
        group = "server",
        complexity = "O(1)",
        flags(readonly),
        meta(key_flags = "RO")
    )]
    fn usage(
        db: &Db,
        key: Key<'_>,
        #[token("SAMPLES")]
        #[arg(name = "count")]
        _samples: Option<Samples>,
    ) -> Option<u64> {
        db.find(key).map(|record| record.memory() as u64)
    }
}

#[commands(store = Store, wire = Resp)]
impl ServerMemory {
    /// Answers what the server's memory is for, in bytes.
    #[command(
        route = all,
        loose,
        gather = stats,
        name = "memory stats",
        since = "4.0.0",
        group = "server",
        complexity = "O(1)",
        meta(tips = "nondeterministic_output,request_policy:all_shards,response_policy:special")
    )]
    fn stats(store: &Store, cx: &Cx<'_>) -> Part {
        Part::collect(store, cx, Wanted::default())
    }

    /// Answers what is out of the ordinary with the server's memory.
    #[command(
        route = all,
        loose,
        gather = diagnosis,
        name = "memory doctor",
        since = "4.0.0",
        group = "server",
        complexity = "O(1)",
        meta(tips = "nondeterministic_output,request_policy:all_shards,response_policy:special")
    )]
    fn doctor(store: &Store, cx: &Cx<'_>) -> Part {
        Part::collect(store, cx, Wanted::default())
    }

    /// Does nothing: memory that is not needed any more is given back without being asked for.
    #[command(
        route = local,
        name = "memory purge",
        since = "4.0.0",
        group = "server",
        complexity = "O(1)",
        meta(tips = "request_policy:all_shards,response_policy:all_succeeded")
    )]
    fn purge() -> Status {
        Status::OK
    }

    /// Answers where statistics of the allocator would be.
    #[command(
        route = local,
        name = "memory malloc-stats",
        since = "4.0.0",
        group = "server",
        complexity = "O(1)",
        meta(tips = "nondeterministic_output,request_policy:all_shards,response_policy:special")
    )]
    fn malloc_stats() -> Verbatim<&'static str> {
        Verbatim("txt", MALLOC_STATS)
    }

    /// Answers the subcommands of MEMORY.
    #[command(
        route = local,
        name = "memory help",
        since = "4.0.0",
        group = "server",
        complexity = "O(1)",
        flags(loading, stale)
    )]
    fn help(cx: &Cx<'_>) -> Frame {
        help(cx, "MEMORY", HELP)
    }
}

/// How many elements of a value to look at. Every value knows its size, so it is checked only.
struct Samples;

impl<'a> Arg<'a, Resp> for Samples {
    const KIND: ArgKind = ArgKind::Integer;

    fn take(cursor: &mut kevy_rt::Cursor<'a>) -> Result<Self, Error> {
        let count = integer(cursor.bytes()?).ok_or(Error::NOT_AN_INTEGER)?;
        if count < 0 { Err(Error::SYNTAX) } else { Ok(Samples) }
    }
}

fn stats(parts: impl Iterator<Item = Part>) -> Frame {
    let parts: Vec<Part> = parts.collect();
    let it = Footprint::of(&parts);
    let bytes = |bytes: u64| Frame::Integer(bytes as i64);
    Frame::map([
        ("peak.allocated", bytes(it.peak)),
        ("total.allocated", bytes(it.used())),
        ("startup.allocated", bytes(it.startup)),
        ("replication.backlog", bytes(0)),
        ("clients.slaves", bytes(0)),
        ("clients.normal", bytes(it.clients)),
        ("cluster.links", bytes(0)),
        ("aof.buffer", bytes(0)),
        ("lua.caches", bytes(0)),
        ("functions.caches", bytes(0)),
        ("overhead.total", bytes(it.overhead())),
        ("keys.count", bytes(it.keys)),
        ("keys.bytes-per-key", bytes(it.bytes_per_key())),
        ("dataset.bytes", bytes(it.dataset)),
        ("dataset.percentage", Frame::Double(it.dataset_percent())),
        ("peak.percentage", Frame::Double(it.peak_percent())),
        ("allocator.allocated", bytes(it.used())),
        ("allocator.active", bytes(it.active())),
        ("allocator.resident", bytes(it.resident)),
        ("allocator-fragmentation.ratio", Frame::Double(ratio(it.active(), it.used()))),
        ("allocator-fragmentation.bytes", bytes(it.unused)),
        ("allocator-rss.ratio", Frame::Double(ratio(it.resident, it.active()))),
        ("allocator-rss.bytes", Frame::Integer(difference(it.resident, it.active()))),
        ("rss-overhead.ratio", Frame::Double(1.0)),
        ("rss-overhead.bytes", bytes(0)),
        ("fragmentation", Frame::Double(it.fragmentation())),
        ("fragmentation.bytes", Frame::Integer(it.fragmentation_bytes())),
    ])
}

fn diagnosis(parts: impl Iterator<Item = Part>) -> Verbatim<String> {
    let parts: Vec<Part> = parts.collect();
    Verbatim("txt", diagnose(&Footprint::of(&parts)))
}

/// Below this much for keys and clients, shares of the whole say nothing.
const LEAST_TO_DIAGNOSE: u64 = 5 << 20;

/// A line for each thing that an operator may want to look at.
fn diagnose(it: &Footprint) -> String {
    if it.dataset + it.clients < LEAST_TO_DIAGNOSE {
        return "Keys and clients take too little memory to say anything of it.\n".into();
    }
    let is_full = it.limit > 0 && it.dataset > it.limit / 100 * 95;
    let findings = [
        (is_full, "Keys take over 95 % of maxmemory: writes will remove keys, or be refused."),
        (
            it.peak > it.used() / 2 * 3,
            "The process once held over one and a half times of what is used now.",
        ),
        (
            it.unused > it.dataset / 4,
            "Memory that lies unused between records, or isn't freed yet, is over a quarter of what \
             keys take. It gets less while the server runs, if nothing else is removed.",
        ),
        (
            it.resident > it.active() / 5 * 7,
            "The process holds over 1.4 times of what keys, clients and the server account for.",
        ),
        (it.clients > it.dataset, "The buffers of clients take more memory than keys do."),
    ];
    let lines = findings.iter().filter(|(is_so, _)| *is_so).map(|(_, line)| format!("- {line}\n"));
    let found: String = lines.collect();
    if found.is_empty() { "Nothing is out of the ordinary.\n".into() } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    #[test]
    fn the_doctor_finds_what_is_out_of_the_ordinary() {
        let well = Footprint {
            startup: 10 * MB,
            dataset: 100 * MB,
            clients: MB,
            unused: 5 * MB,
            resident: 120 * MB,
            peak: 121 * MB,
            limit: 0,
            keys: 1_000_000,
        };
        let found = |it: Footprint| diagnose(&it);
        assert_eq!(found(well), "Nothing is out of the ordinary.\n");
        assert!(found(Footprint { dataset: MB, ..well }).contains("too little"));
        assert!(found(Footprint { limit: 101 * MB, ..well }).contains("maxmemory"));
        assert!(found(Footprint { peak: 200 * MB, ..well }).contains("once held"));
        assert!(found(Footprint { unused: 30 * MB, ..well }).contains("between records"));
        assert!(found(Footprint { resident: 190 * MB, ..well }).contains("account for"));
        let clients = found(Footprint { clients: 101 * MB, ..well });
        assert!(clients.contains("buffers of clients"));
        assert_eq!(clients.lines().count(), 1);
    }
}
