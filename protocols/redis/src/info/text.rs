//! All shards' parts as one text: sections of `name:value` lines.
//!
//! Fields about what this server doesn't have are there with the values that say so, because tools
//! look for them.

use std::fmt::{Display, Write};

use super::footprint::{Footprint, difference, ratio};
use super::part::{CommandLine, Part, Process};
use super::sections::Section;
use crate::connection::REDIS_VERSION;

/// The whole reply.
pub(super) fn render(parts: &[Part]) -> String {
    let report = Report::new(parts);
    let wanted = parts.first().map(|part| part.wanted).unwrap_or_default();
    let sections = Section::ALL.into_iter().filter(|section| wanted.has(*section));
    let sections: Vec<String> = sections.map(|section| report.section(section)).collect();
    sections.join("\r\n")
}

/// What the sections are written from.
struct Report<'a> {
    parts: &'a [Part],
    process: Process,
}

/// One section under construction.
struct Fields(String);

impl Fields {
    fn new(title: &str) -> Self {
        Fields(format!("# {title}\r\n"))
    }

    fn add(&mut self, name: impl Display, value: impl Display) {
        // A string takes whatever is written to it.
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    fn add_zeros(&mut self, names: &[&str]) {
        for name in names {
            self.add(name, 0);
        }
    }

    /// Bytes, and the same for people.
    fn add_bytes(&mut self, name: &str, bytes: u64) {
        self.add(name, bytes);
        self.add(format_args!("{name}_human"), human_bytes(bytes));
    }
}

impl<'a> Report<'a> {
    fn new(parts: &'a [Part]) -> Self {
        let process = parts.iter().find_map(|part| part.process.clone());
        Report { parts, process: process.unwrap_or_default() }
    }

    fn sum(&self, of: impl Fn(&Part) -> u64) -> u64 {
        self.parts.iter().map(of).sum()
    }

    fn metric(&self, name: &str) -> u64 {
        self.sum(|part| part.metric(name))
    }

    fn section(&self, section: Section) -> String {
        let mut fields = Fields::new(section.title());
        match section {
            Section::Server => self.server(&mut fields),
            Section::Clients => self.clients(&mut fields),
            Section::Memory => self.memory(&mut fields),
            Section::Persistence => self.persistence(&mut fields),
            Section::Stats => self.stats(&mut fields),
            Section::Replication => self.replication(&mut fields),
            Section::Cpu => self.cpu(&mut fields),
            Section::Commandstats => self.commandstats(&mut fields),
            Section::Cluster => fields.add("cluster_enabled", 0),
            Section::Keyspace => self.keyspace(&mut fields),
            Section::Shards => self.shards(&mut fields),
            Section::Modules | Section::Errorstats => {}
        }
        fields.0
    }

    fn server(&self, fields: &mut Fields) {
        let process = &self.process;
        fields.add("redis_version", REDIS_VERSION);
        fields.add("kevy_version", env!("CARGO_PKG_VERSION"));
        fields.add("redis_git_sha1", "00000000");
        fields.add("redis_git_dirty", 0);
        fields.add("redis_build_id", 0);
        fields.add("redis_mode", "standalone");
        fields.add("os", &process.system.name);
        fields.add("arch_bits", usize::BITS);
        fields.add("monotonic_clock", "POSIX clock_gettime");
        fields.add("multiplexing_api", self.parts.first().map_or("", |part| part.reactor));
        fields.add("process_id", std::process::id());
        fields.add("process_supervised", "no");
        fields.add("run_id", &process.run_id);
        fields.add("tcp_port", process.tcp_port);
        fields.add("server_time_usec", process.now_us);
        fields.add("uptime_in_seconds", process.uptime_s);
        fields.add("uptime_in_days", process.uptime_s / (24 * 60 * 60));
        fields.add("hz", 10);
        fields.add("configured_hz", 10);
        fields.add("lru_clock", (process.now_us / 1_000_000) & 0xFF_FFFF);
        fields.add("executable", process.executable.display());
        fields.add("config_file", process.config_file.display());
        fields.add("io_threads_active", 0);
        fields.add("shards", self.parts.len());
    }

    fn clients(&self, fields: &mut Fields) {
        let largest = |of: fn(&Part) -> usize| self.parts.iter().map(of).max().unwrap_or_default();
        fields.add("connected_clients", self.metric("connections"));
        fields.add("cluster_connections", 0);
        fields.add("maxclients", self.process.max_clients);
        fields.add("client_recent_max_input_buffer", largest(|part| part.input_peak));
        fields.add("client_recent_max_output_buffer", largest(|part| part.output_peak));
        fields.add_zeros(&["blocked_clients", "tracking_clients", "clients_in_timeout_table"]);
    }

    /// Used is what the process held at its start and what keys, values and clients take since; the
    /// peak is the process's.
    fn memory(&self, fields: &mut Fields) {
        let system = &self.process.system;
        let it = Footprint::of(self.parts);
        fields.add_bytes("used_memory", it.used());
        fields.add_bytes("used_memory_rss", it.resident);
        fields.add_bytes("used_memory_peak", it.peak);
        fields.add("used_memory_peak_perc", format_args!("{:.2}%", it.peak_percent()));
        fields.add("used_memory_overhead", it.overhead());
        fields.add("used_memory_startup", it.startup);
        fields.add("used_memory_dataset", it.dataset);
        fields.add("used_memory_dataset_perc", format_args!("{:.2}%", it.dataset_percent()));
        fields.add("allocator_allocated", it.used());
        fields.add("allocator_active", it.active());
        fields.add("allocator_resident", it.resident);
        fields.add_bytes("total_system_memory", system.total_bytes);
        for name in ["used_memory_lua", "used_memory_scripts"] {
            fields.add_bytes(name, 0);
        }
        fields.add_zeros(&["number_of_cached_scripts", "number_of_functions"]);
        fields.add("number_of_libraries", 0);
        fields.add_bytes("maxmemory", self.process.max_memory);
        fields.add("maxmemory_policy", &self.process.max_memory_policy);
        let fields_of_two = [
            ("allocator_frag", it.active(), it.used()),
            ("allocator_rss", it.resident, it.active()),
            ("rss_overhead", it.resident, it.resident),
            ("mem_fragmentation", it.resident, it.used()),
        ];
        for (name, larger, smaller) in fields_of_two {
            let (ratio, bytes) = (ratio(larger, smaller), difference(larger, smaller));
            fields.add(format_args!("{name}_ratio"), format_args!("{ratio:.2}"));
            fields.add(format_args!("{name}_bytes"), bytes);
        }
        fields.add_zeros(&["mem_not_counted_for_evict", "mem_replication_backlog"]);
        fields.add_zeros(&["mem_total_replication_buffers", "mem_clients_slaves"]);
        fields.add("mem_clients_normal", it.clients);
        fields.add_zeros(&["mem_cluster_links", "mem_aof_buffer"]);
        fields.add("mem_allocator", "mimalloc");
        fields.add_zeros(&["active_defrag_running", "lazyfree_pending_objects"]);
        fields.add("lazyfreed_objects", 0);
    }

    fn persistence(&self, fields: &mut Fields) {
        fields.add_zeros(&["loading", "async_loading", "current_cow_peak", "current_cow_size"]);
        fields.add_zeros(&["current_cow_size_age"]);
        fields.add("current_fork_perc", "0.00");
        fields.add_zeros(&["current_save_keys_processed", "current_save_keys_total"]);
        fields.add_zeros(&["rdb_changes_since_last_save", "rdb_bgsave_in_progress"]);
        fields.add("rdb_last_save_time", self.process.started_s);
        fields.add("rdb_last_bgsave_status", "ok");
        fields.add("rdb_last_bgsave_time_sec", -1);
        fields.add("rdb_current_bgsave_time_sec", -1);
        fields.add_zeros(&["rdb_saves", "rdb_last_cow_size"]);
        fields.add_zeros(&["rdb_last_load_keys_expired", "rdb_last_load_keys_loaded"]);
        fields.add_zeros(&["aof_enabled", "aof_rewrite_in_progress", "aof_rewrite_scheduled"]);
        fields.add("aof_last_rewrite_time_sec", -1);
        fields.add("aof_current_rewrite_time_sec", -1);
        fields.add("aof_last_bgrewrite_status", "ok");
        fields.add_zeros(&["aof_rewrites", "aof_rewrites_consecutive_failures"]);
        fields.add("aof_last_write_status", "ok");
        fields.add_zeros(&["aof_last_cow_size", "module_fork_in_progress"]);
        fields.add("module_fork_last_cow_size", 0);
    }

    fn stats(&self, fields: &mut Fields) {
        let rate = |of: fn(&Part) -> f64| self.parts.iter().map(of).sum::<f64>();
        let requests = rate(|part| part.rate.requests);
        let (input, output) = (rate(|part| part.rate.bytes_in), rate(|part| part.rate.bytes_out));
        fields.add("total_connections_received", self.metric("connections_received"));
        fields.add("total_commands_processed", self.metric("requests"));
        fields.add("instantaneous_ops_per_sec", requests.round());
        fields.add("total_net_input_bytes", self.metric("bytes_in"));
        fields.add("total_net_output_bytes", self.metric("bytes_out"));
        fields.add_zeros(&["total_net_repl_input_bytes", "total_net_repl_output_bytes"]);
        fields.add("instantaneous_input_kbps", format_args!("{:.2}", input / 1024.0));
        fields.add("instantaneous_output_kbps", format_args!("{:.2}", output / 1024.0));
        fields.add("instantaneous_input_repl_kbps", "0.00");
        fields.add("instantaneous_output_repl_kbps", "0.00");
        fields.add("rejected_connections", self.metric("connections_rejected"));
        fields.add_zeros(&["sync_full", "sync_partial_ok", "sync_partial_err"]);
        fields.add("expired_keys", self.sum(|part| part.expired));
        fields.add("expired_stale_perc", "0.00");
        fields.add_zeros(&["expired_time_cap_reached_count", "expire_cycle_cpu_milliseconds"]);
        fields.add("evicted_keys", self.sum(|part| part.evicted));
        fields.add("evicted_clients", self.metric("memory_evictions"));
        fields.add_zeros(&["total_eviction_exceeded_time", "current_eviction_exceeded_time"]);
        fields.add("keyspace_hits", self.sum(|part| part.hits));
        fields.add("keyspace_misses", self.sum(|part| part.misses));
        fields.add_zeros(&["pubsub_channels", "pubsub_patterns", "pubsubshard_channels"]);
        fields.add_zeros(&["latest_fork_usec", "total_forks", "migrate_cached_sockets"]);
        fields.add_zeros(&["slave_expires_tracked_keys", "active_defrag_hits"]);
        fields.add_zeros(&["active_defrag_misses", "active_defrag_key_hits"]);
        fields.add_zeros(&["active_defrag_key_misses", "total_active_defrag_time"]);
        fields.add_zeros(&["current_active_defrag_time", "tracking_total_keys"]);
        fields.add_zeros(&["tracking_total_items", "tracking_total_prefixes"]);
        fields.add("unexpected_error_replies", 0);
        fields.add("total_error_replies", self.metric("error_replies"));
        fields.add_zeros(&["dump_payload_sanitizations", "total_reads_processed"]);
        fields.add_zeros(&["total_writes_processed", "io_threaded_reads_processed"]);
        fields.add_zeros(&["io_threaded_writes_processed", "reply_buffer_shrinks"]);
        fields.add("reply_buffer_expands", 0);
        let overruns = self.metric("output_overruns");
        fields.add("client_output_buffer_limit_disconnections", overruns);
        fields.add("client_query_buffer_limit_disconnections", 0);
    }

    fn replication(&self, fields: &mut Fields) {
        fields.add("role", "master");
        fields.add("connected_slaves", 0);
        fields.add("master_failover_state", "no-failover");
        fields.add("master_replid", &self.process.replication_id);
        fields.add("master_replid2", "0".repeat(40));
        fields.add("master_repl_offset", 0);
        fields.add("second_repl_offset", -1);
        fields.add("repl_backlog_active", 0);
        fields.add("repl_backlog_size", 1_048_576);
        fields.add_zeros(&["repl_backlog_first_byte_offset", "repl_backlog_histlen"]);
    }

    fn cpu(&self, fields: &mut Fields) {
        let system = &self.process.system;
        let times = [("sys", system.kernel_s), ("user", system.user_s)];
        for (name, seconds) in times {
            fields.add(format_args!("used_cpu_{name}"), format_args!("{seconds:.6}"));
        }
        for (name, _) in times {
            fields.add(format_args!("used_cpu_{name}_children"), "0.000000");
        }
    }

    fn commandstats(&self, fields: &mut Fields) {
        let mut totals: Vec<CommandLine> = Vec::new();
        for part in self.parts {
            for (index, line) in part.commands.iter().enumerate() {
                match totals.get_mut(index) {
                    Some(total) => total.add(line),
                    None => totals.push(*line),
                }
            }
        }
        for line in totals.iter().filter(|line| line.is_used()) {
            let name = line.name.to_ascii_lowercase().replace(' ', "|");
            let total_us = line.total_ns as f64 / 1000.0;
            let per_call = total_us / line.calls.max(1) as f64;
            fields.add(
                format_args!("cmdstat_{name}"),
                format_args!(
                    "calls={},usec={},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}",
                    line.calls,
                    total_us.round(),
                    line.rejected,
                    line.failed
                ),
            );
        }
    }

    fn keyspace(&self, fields: &mut Fields) {
        let count = self.parts.iter().map(|part| part.databases.len()).max().unwrap_or_default();
        for number in 0..count {
            let databases = self.parts.iter().filter_map(|part| part.databases.get(number));
            let (keys, expires) = databases.fold((0, 0), |(keys, expires), (more, expiring)| {
                (keys + more, expires + expiring)
            });
            if keys > 0 {
                let name = format_args!("db{number}");
                fields.add(name, format_args!("keys={keys},expires={expires},avg_ttl=0"));
            }
        }
    }

    /// One line per shard with every counter; times are in microseconds.
    fn shards(&self, fields: &mut Fields) {
        for part in self.parts {
            let mut line = format!("reactor={}", part.reactor);
            for (name, value) in &part.metrics {
                let _ = match name.strip_suffix("_ns") {
                    Some(name) => write!(line, ",{name}_us={}", value / 1000),
                    None => write!(line, ",{name}={value}"),
                };
            }
            let keys: usize = part.databases.iter().map(|(keys, _)| keys).sum();
            let _ = write!(
                line,
                ",keys={keys},keyspace_bytes={},unused_bytes={},expired={},evicted={}",
                part.keyspace_bytes, part.unused_bytes, part.expired, part.evicted
            );
            fields.add(format_args!("shard{}", part.shard), line);
        }
    }
}

impl CommandLine {
    fn add(&mut self, other: &CommandLine) {
        self.calls += other.calls;
        self.total_ns += other.total_ns;
        self.rejected += other.rejected;
        self.failed += other.failed;
    }

    fn is_used(&self) -> bool {
        self.calls > 0 || self.rejected > 0 || self.failed > 0
    }
}

/// `1.30M`: at most two decimals of the largest unit of which there is one.
fn human_bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 5] =
        [(1 << 50, "P"), (1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match UNITS.into_iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.2}{unit}", bytes as f64 / size as f64),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sections::Wanted;
    use super::*;

    fn part(shard: usize, names: &[&str]) -> Part {
        Part {
            shard,
            reactor: "poll",
            wanted: Wanted::read(names.iter().map(|name| name.as_bytes())),
            metrics: vec![("requests", 10), ("busy_ns", 5000)],
            databases: vec![(2, 1), (0, 0), (1, 0)],
            keyspace_bytes: 100,
            unused_bytes: 20,
            expired: 4,
            evicted: 5,
            commands: vec![
                CommandLine { name: "GET", calls: 2, total_ns: 3000, ..CommandLine::default() },
                CommandLine { name: "CLIENT LIST", rejected: 1, ..CommandLine::default() },
                CommandLine { name: "PING", ..CommandLine::default() },
            ],
            ..Part::default()
        }
    }

    fn text(names: &[&str]) -> String {
        render(&[part(0, names), part(1, names)])
    }

    #[test]
    fn parts_add_up() {
        assert_eq!(
            text(&["keyspace"]),
            "# Keyspace\r\ndb0:keys=4,expires=2,avg_ttl=0\r\ndb2:keys=2,expires=0,avg_ttl=0\r\n"
        );
        assert_eq!(
            text(&["commandstats"]),
            "# Commandstats\r\n\
             cmdstat_get:calls=4,usec=6,usec_per_call=1.50,rejected_calls=0,failed_calls=0\r\n\
             cmdstat_client|list:calls=0,usec=0,usec_per_call=0.00,rejected_calls=2,failed_calls=0\r\n"
        );
    }

    #[test]
    fn shards_have_a_line_each() {
        assert_eq!(
            text(&["shards"]),
            "# Shards\r\n\
             shard0:reactor=poll,requests=10,busy_us=5,keys=3,keyspace_bytes=100,\
             unused_bytes=20,expired=4,evicted=5\r\n\
             shard1:reactor=poll,requests=10,busy_us=5,keys=3,keyspace_bytes=100,\
             unused_bytes=20,expired=4,evicted=5\r\n"
        );
    }

    #[test]
    fn sections_are_apart_by_an_empty_line() {
        assert_eq!(text(&["nosuch"]), "");
        assert_eq!(
            text(&["modules", "cluster"]),
            "# Modules\r\n\r\n# Cluster\r\ncluster_enabled:0\r\n"
        );
    }

    #[test]
    fn every_line_is_a_heading_a_field_or_empty() {
        let parts = [Part { metrics: Vec::new(), ..part(0, &["all"]) }];
        let text = render(&parts);
        assert!(text.ends_with("\r\n"));
        for line in text.split("\r\n").filter(|line| !line.is_empty()) {
            assert!(line.starts_with("# ") || line.contains(':'), "{line}");
        }
    }

    #[test]
    fn bytes_are_readable() {
        for (bytes, text) in [(0, "0B"), (1023, "1023B"), (1 << 10, "1.00K"), (1_360_720, "1.30M")]
        {
            assert_eq!(human_bytes(bytes), text);
        }
        assert_eq!(human_bytes(25_276_514_304), "23.54G");
    }
}
