//! What the store tells of itself whenever the server's metrics are asked for: INFO's numbers, under
//! the names that dashboards for Redis know.

use kevy_resp::Resp;
use kevy_rt::{Cx, Kind, Scrape};

use super::footprint::Footprint;
use super::part::{Part, Process};
use super::sections::Wanted;
use crate::connection::REDIS_VERSION;
use crate::store::Store;

/// Tells this shard's share. Numbers of the whole process are the first shard's.
pub(crate) fn tell(store: &Store, cx: &Cx<'_>, scrape: &mut Scrape) {
    let part = Part::collect(store, cx, Wanted::default());
    tell_traffic(&part, scrape);
    tell_memory(&part, scrape);
    tell_keys(&part, scrape);
    tell_commands(cx, scrape);
    if let Some(process) = &part.process {
        tell_process(process, scrape);
    }
}

fn tell_traffic(part: &Part, scrape: &mut Scrape) {
    let mut counter = |name, help, value: u64| scrape.counter(name, help, value);
    let received = part.metric("connections_received");
    counter("redis_connections_received_total", "Clients that ever connected.", received);
    let rejected = part.metric("connections_rejected");
    counter("redis_rejected_connections_total", "Clients that were turned away.", rejected);
    let requests = part.metric("requests");
    counter("redis_commands_processed_total", "Requests of clients.", requests);
    counter("redis_total_error_replies", "Error replies.", part.metric("error_replies"));
    counter("redis_net_input_bytes_total", "Bytes received.", part.metric("bytes_in"));
    counter("redis_net_output_bytes_total", "Bytes sent.", part.metric("bytes_out"));
    counter("redis_keyspace_hits_total", "Lookups of keys that were there.", part.hits);
    counter("redis_keyspace_misses_total", "Lookups of keys that were not there.", part.misses);
    counter("redis_expired_keys_total", "Keys whose time was over.", part.expired);
    counter("redis_evicted_keys_total", "Keys removed for room.", part.evicted);
    let mut gauge = |name, help, value: u64| scrape.gauge(name, help, value);
    gauge("redis_connected_clients", "Clients that are connected.", part.metric("connections"));
    gauge("redis_blocked_clients", "Clients that wait in a blocking command.", 0);
    gauge("redis_connected_slaves", "Replicas that are connected.", 0);
}

fn tell_memory(part: &Part, scrape: &mut Scrape) {
    let it = Footprint::of(std::slice::from_ref(part));
    let mut gauge = |name, help, value: u64| scrape.gauge(name, help, value);
    let help = "Bytes that the process held at its start, and those of keys, clients and buffers.";
    gauge("redis_memory_used_bytes", help, it.used());
    let help = "Bytes of keys and values, with their index.";
    gauge("redis_memory_used_dataset_bytes", help, it.dataset);
    gauge("redis_memory_used_overhead_bytes", "Bytes that are not for keys.", it.overhead());
    gauge("redis_mem_clients_normal", "Bytes that clients hold.", it.clients);
    gauge("redis_allocator_frag_bytes", "Bytes between and behind records.", it.unused);
}

fn tell_keys(part: &Part, scrape: &mut Scrape) {
    let databases = || part.databases.iter().enumerate();
    let family = scrape.family(Kind::Gauge, "redis_db_keys", "Keys of a database.", &["db"]);
    for (number, (keys, _)) in databases() {
        family.sample([format!("db{number}").into()], *keys);
    }
    let help = "Keys of a database that expire.";
    let family = scrape.family(Kind::Gauge, "redis_db_keys_expiring", help, &["db"]);
    for (number, (_, expiring)) in databases() {
        family.sample([format!("db{number}").into()], *expiring);
    }
}

/// Commands that were used, under their names in INFO commandstats.
fn tell_commands(cx: &Cx<'_>, scrape: &mut Scrape) {
    let families = [
        ("redis_commands_total", "Calls of a command."),
        ("redis_commands_duration_seconds_total", "Time that a command took, from a sample."),
        ("redis_commands_rejected_calls_total", "Requests that were refused unrun."),
        ("redis_commands_failed_calls_total", "Calls whose reply was an error."),
    ];
    for (index, (name, help)) in families.into_iter().enumerate() {
        let family = scrape.family(Kind::Counter, name, help, &["cmd"]);
        for (command, stats) in cx.server().commands_over::<Resp>() {
            if stats.calls.get() == 0 && stats.rejected.get() == 0 {
                continue;
            }
            let labels = [command.name.to_ascii_lowercase().replace(' ', "|").into()];
            match index {
                0 => family.sample(labels, stats.calls.get()),
                1 => family.sample(labels, stats.total_ns() as f64 / 1e9),
                2 => family.sample(labels, stats.rejected.get()),
                _ => family.sample(labels, stats.failed.get()),
            }
        }
    }
}

fn tell_process(process: &Process, scrape: &mut Scrape) {
    let system = &process.system;
    let help = "The server that this is.";
    let labels = &[
        "role",
        "redis_version",
        "redis_build_id",
        "redis_mode",
        "os",
        "maxmemory_policy",
        "tcp_port",
        "run_id",
        "process_id",
    ];
    let info = scrape.family(Kind::Gauge, "redis_instance_info", help, labels);
    let values = [
        "master".into(),
        REDIS_VERSION.into(),
        "0".into(),
        "standalone".into(),
        system.name.clone().into(),
        process.max_memory_policy.clone().into(),
        usize::from(process.tcp_port).into(),
        process.run_id.clone().into(),
        (std::process::id() as usize).into(),
    ];
    info.sample(values, 1_u64);
    let mut gauge = |name, help, value: u64| scrape.gauge(name, help, value);
    gauge("redis_up", "Whether the server answers.", 1);
    gauge("redis_uptime_in_seconds", "Seconds since the start.", process.uptime_s);
    let help = "When the server started, in seconds since the Unix epoch.";
    gauge("redis_start_time_seconds", help, process.started_s);
    gauge("redis_process_id", "The process.", std::process::id().into());
    gauge("redis_config_maxclients", "Clients that may connect.", process.max_clients as u64);
    let help = "Bytes that keys may take with the rest of the process; 0 for any amount.";
    gauge("redis_memory_max_bytes", help, process.max_memory);
    gauge("redis_config_maxmemory", help, process.max_memory);
    let help = "Bytes that the process held before there were keys.";
    gauge("redis_memory_used_startup_bytes", help, process.startup_bytes);
    let help = "Bytes of memory that the process holds.";
    gauge("redis_memory_used_rss_bytes", help, system.resident_bytes);
    let help = "The most bytes of memory that the process ever held.";
    gauge("redis_memory_used_peak_bytes", help, system.peak_bytes);
    gauge("redis_loading_dump_file", "Whether data is being loaded.", 0);
    gauge("redis_rdb_bgsave_in_progress", "Whether a snapshot is being saved.", 0);
    gauge("redis_cluster_enabled", "Whether this is a node of a cluster.", 0);
    gauge("redis_aof_enabled", "Whether writes are logged.", 0);
    let help = "Processor time in the kernel, in seconds.";
    scrape.counter("redis_cpu_sys_seconds_total", help, system.kernel_s);
    let help = "Processor time of the process itself, in seconds.";
    scrape.counter("redis_cpu_user_seconds_total", help, system.user_s);
}
