//! What one shard contributes to INFO.

use std::path::PathBuf;

use kevy_resp::Resp;
use kevy_rt::{Carry, Cx, Listen};

use super::rates::{Rate, Reading};
use super::sections::{Section, Wanted};
use super::system::System;
use crate::session::Session;
use crate::store::Store;

/// One shard's share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(super) shard: usize,
    pub(super) reactor: &'static str,
    pub(super) wanted: Wanted,
    /// Every counter by name.
    pub(super) metrics: Vec<(&'static str, u64)>,
    pub(super) rate: Rate,
    /// Per database: keys, and how many of them expire.
    pub(super) databases: Vec<(usize, usize)>,
    pub(super) keyspace_bytes: usize,
    /// Between and behind the records.
    pub(super) unused_bytes: usize,
    pub(super) client_bytes: usize,
    /// The largest input and output buffer of a client.
    pub(super) input_peak: usize,
    pub(super) output_peak: usize,
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) expired: u64,
    pub(super) evicted: u64,
    /// Left out unless asked for.
    pub(super) commands: Vec<CommandLine>,
    /// The first shard's.
    pub(super) process: Option<Process>,
}

impl Carry for Part {}

/// A command's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CommandLine {
    pub(super) name: &'static str,
    pub(super) calls: u64,
    pub(super) total_ns: u64,
    pub(super) rejected: u64,
    pub(super) failed: u64,
}

/// What is the same for all shards.
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    pub(super) system: System,
    /// What the process held before there were keys.
    pub(super) startup_bytes: u64,
    pub(super) now_us: u128,
    pub(super) uptime_s: u64,
    pub(super) started_s: u64,
    pub(super) run_id: String,
    pub(super) replication_id: String,
    pub(super) executable: PathBuf,
    pub(super) config_file: PathBuf,
    pub(super) tcp_port: u16,
    pub(super) max_clients: usize,
    pub(super) max_memory: u64,
    pub(super) max_memory_policy: String,
}

impl Part {
    pub(crate) fn collect(store: &Store, cx: &Cx<'_>, wanted: Wanted) -> Self {
        let server = cx.server();
        let metrics = server.metrics();
        let reading = Reading {
            at_ms: cx.now_ms(),
            requests: metrics.requests.get(),
            bytes_in: metrics.bytes_in.get(),
            bytes_out: metrics.bytes_out.get(),
        };
        let keyspace = &store.keyspace;
        let shard = server.place().shard;
        let mut part = Part {
            shard,
            reactor: server.reactor(),
            wanted,
            metrics: metrics.all().collect(),
            rate: store.rates.since_last(reading, server.process().started_ms()),
            databases: keyspace.dbs.iter().map(|db| (db.len(), db.volatile())).collect(),
            keyspace_bytes: keyspace.memory(),
            unused_bytes: keyspace.unused(),
            hits: keyspace.stats().hits.get(),
            misses: keyspace.stats().misses.get(),
            expired: keyspace.stats().expired.get(),
            evicted: keyspace.stats().evicted.get(),
            process: (shard == 0).then(|| Process::collect(store, cx)),
            ..Part::default()
        };
        server.for_each_conn(|conn| {
            part.client_bytes += conn.memory + size_of::<Session>();
            part.input_peak = part.input_peak.max(conn.input_bytes + conn.input_room);
            part.output_peak = part.output_peak.max(conn.output_bytes);
        });
        if wanted.has(Section::Commandstats) {
            part.commands = server
                .commands_over::<Resp>()
                .map(|(command, stats)| CommandLine {
                    name: command.name,
                    calls: stats.calls.get(),
                    total_ns: stats.total_ns(),
                    rejected: stats.rejected.get(),
                    failed: stats.failed.get(),
                })
                .collect();
        }
        part
    }

    /// The value of a counter.
    pub(super) fn metric(&self, name: &str) -> u64 {
        let found = self.metrics.iter().find(|(known, _)| *known == name);
        debug_assert!(found.is_some() || self.metrics.is_empty(), "no counter {name}");
        found.map_or(0, |(_, value)| *value)
    }
}

impl Process {
    fn collect(store: &Store, cx: &Cx<'_>) -> Self {
        let (config, process) = (&store.config, cx.server().process());
        let tcp_port = process.listeners().iter().find_map(|listener| match &listener.at {
            Listen::Tcp(address) => Some(address.port()),
            Listen::Unix { .. } => None,
        });
        Process {
            system: System::read(),
            startup_bytes: store.startup_bytes(),
            now_us: cx.server().wall_clock().as_micros(),
            uptime_s: cx.now_ms().saturating_sub(process.started_ms()) / 1000,
            started_s: process.started_ms() / 1000,
            run_id: config.run_id().to_owned(),
            replication_id: config.replication_id().to_owned(),
            executable: std::env::current_exe().unwrap_or_default(),
            config_file: config.file().map(Into::into).unwrap_or_default(),
            tcp_port: tcp_port.unwrap_or_default(),
            max_clients: cx.server().limits().connections,
            max_memory: config.max_memory(),
            max_memory_policy: config.max_memory_policy(),
        }
    }
}
