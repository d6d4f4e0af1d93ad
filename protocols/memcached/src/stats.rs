//! What `stats` tells: the usual names, as far as there is something true to say.

use std::time::Duration;

use kevy_rt::{Carry, Counter, Cx, Encode, Reply, Rest, commands};

use crate::Text;
use crate::classic::Line;
use crate::store::{Items, Settings, db};

macro_rules! counters {
    ($($name:ident),+ $(,)?) => {
        /// What a shard counts of this protocol's requests, since start or since it was reset.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: Counter),+ }

        impl Counters {
            fn reset(&self) {
                $(self.$name.reset();)+
            }

            fn read(&self) -> Counts {
                Counts { $($name: self.$name.get()),+ }
            }
        }

        /// The same of all shards.
        #[derive(Debug, Default)]
        struct Counts { $($name: u64),+ }

        impl Counts {
            fn add(&mut self, other: &Counts) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

counters! {
    cmd_set, cmd_flush, cmd_meta, get_hits, get_misses, touch_hits, touch_misses, delete_hits,
    delete_misses, incr_hits, incr_misses, decr_hits, decr_misses, cas_hits, cas_misses, cas_badval,
    store_too_large, store_no_memory, total_items,
}

/// The set of commands that tell how the server is doing.
#[derive(Debug)]
pub struct Statistics;

#[commands(store = impl Items, wire = Text)]
impl Statistics {
    /// Tells counters and sizes
    #[command(route = all, loose, gather = total)]
    fn stats(store: &impl Items, cx: &Cx<'_>) -> Stats {
        Stats::read(store, cx)
    }

    /// Tells how the server is set up
    #[command(route = local, name = "STATS SETTINGS")]
    fn settings(store: &impl Items, cx: &Cx<'_>, _ignored: Rest<'_>) -> Lines {
        let Settings { item_bytes, memory_bytes, evicts } = store.cache().settings;
        let place = cx.server().place();
        let limits = cx.server().limits();
        let mut lines = Lines::default();
        lines.say("maxbytes", memory_bytes);
        lines.say("maxconns", limits.connections);
        lines.say("evictions", if evicts { "on" } else { "off" });
        lines.say("shutdown_command", "no");
        lines.say("num_threads", place.shards);
        lines.say("cas_enabled", "yes");
        lines.say("auth_enabled_sasl", "no");
        lines.say("auth_enabled_ascii", "no");
        lines.say("item_size_max", item_bytes);
        lines.say("flush_enabled", "yes");
        lines.say("dump_enabled", "no");
        lines.say("detail_enabled", "no");
        lines.say("track_sizes", "no");
        lines.say("idle_timeout", limits.idle_timeout.as_secs());
        lines.say("reactor", cx.server().reactor());
        lines
    }

    /// Tells of the items, which are all of one class
    #[command(route = all, loose, gather = items, name = "STATS ITEMS")]
    fn of_items(store: &impl Items, cx: &Cx<'_>, _ignored: Rest<'_>) -> Stats {
        Stats::read(store, cx)
    }

    /// Tells of the memory that items lie in, which is all of one class
    #[command(route = all, loose, gather = slabs, name = "STATS SLABS")]
    fn of_slabs(store: &impl Items, cx: &Cx<'_>, _ignored: Rest<'_>) -> Stats {
        Stats::read(store, cx)
    }

    /// Tells how many items there are of each size, for which nobody counts
    #[command(route = local, name = "STATS SIZES")]
    fn sizes(_ignored: Rest<'_>) -> Lines {
        let mut lines = Lines::default();
        lines.say("sizes_status", "disabled");
        lines
    }

    /// Starts counting anew
    #[command(route = all, loose, gather = first, name = "STATS RESET")]
    fn reset(store: &impl Items, _ignored: Rest<'_>) -> Line {
        store.cache().counters.reset();
        Line::new("RESET")
    }
}

/// A shard's share of what `stats` tells, or that of several.
#[derive(Debug, Default)]
struct Stats {
    process: ProcessStats,
    counts: Counts,
    connections: u64,
    connections_received: u64,
    connections_rejected: u64,
    bytes_in: u64,
    bytes_out: u64,
    items: u64,
    bytes: u64,
    memory: u64,
    expired: u64,
    evicted: u64,
}

/// What all shards tell alike.
#[derive(Debug, Default)]
struct ProcessStats {
    uptime: Duration,
    time: Duration,
    threads: usize,
    limit: u64,
    connections_limit: usize,
}

impl Carry for Stats {}

impl Stats {
    fn read(store: &impl Items, cx: &Cx<'_>) -> Self {
        let (server, cache, keyspace) = (cx.server(), store.cache(), store.keyspace());
        let metrics = server.metrics();
        let since_start = cx.now_ms().saturating_sub(server.process().started_ms());
        let counted = keyspace.stats();
        Stats {
            process: ProcessStats {
                uptime: Duration::from_millis(since_start),
                time: server.wall_clock(),
                threads: server.place().shards,
                limit: cache.settings.memory_bytes,
                connections_limit: server.limits().connections,
            },
            counts: cache.counters.read(),
            connections: server.conn_count() as u64,
            connections_received: metrics.connections_received.get(),
            connections_rejected: metrics.connections_rejected.get(),
            bytes_in: metrics.bytes_in.get(),
            bytes_out: metrics.bytes_out.get(),
            items: db(store).len() as u64,
            bytes: db(store).memory() as u64,
            memory: (keyspace.memory() + keyspace.unused()) as u64,
            expired: counted.expired.get(),
            evicted: counted.evicted.get(),
        }
    }

    fn add(mut self, other: Stats) -> Stats {
        self.counts.add(&other.counts);
        for (sum, more) in [
            (&mut self.connections, other.connections),
            (&mut self.connections_received, other.connections_received),
            (&mut self.connections_rejected, other.connections_rejected),
            (&mut self.bytes_in, other.bytes_in),
            (&mut self.bytes_out, other.bytes_out),
            (&mut self.items, other.items),
            (&mut self.bytes, other.bytes),
            (&mut self.memory, other.memory),
            (&mut self.expired, other.expired),
            (&mut self.evicted, other.evicted),
        ] {
            *sum += more;
        }
        self
    }
}

fn sum(parts: impl Iterator<Item = Stats>) -> Stats {
    parts.reduce(Stats::add).unwrap_or_default()
}

/// `stats`.
fn total(parts: impl Iterator<Item = Stats>) -> Lines {
    let stats = sum(parts);
    let (process, counts) = (&stats.process, &stats.counts);
    let (user, system) = processor_time();
    let mut lines = Lines::default();
    lines.say("pid", std::process::id());
    lines.say("uptime", process.uptime.as_secs());
    lines.say("time", process.time.as_secs());
    lines.say("version", env!("CARGO_PKG_VERSION"));
    lines.say("pointer_size", usize::BITS);
    lines.say("rusage_user", format_args!("{user:.6}"));
    lines.say("rusage_system", format_args!("{system:.6}"));
    lines.say("max_connections", process.connections_limit);
    lines.say("curr_connections", stats.connections);
    lines.say("total_connections", stats.connections_received);
    lines.say("rejected_connections", stats.connections_rejected);
    lines.say("connection_structures", stats.connections);
    lines.say("cmd_get", counts.get_hits + counts.get_misses);
    lines.say("cmd_set", counts.cmd_set);
    lines.say("cmd_flush", counts.cmd_flush);
    lines.say("cmd_touch", counts.touch_hits + counts.touch_misses);
    lines.say("cmd_meta", counts.cmd_meta);
    lines.say("get_hits", counts.get_hits);
    lines.say("get_misses", counts.get_misses);
    lines.say("delete_misses", counts.delete_misses);
    lines.say("delete_hits", counts.delete_hits);
    lines.say("incr_misses", counts.incr_misses);
    lines.say("incr_hits", counts.incr_hits);
    lines.say("decr_misses", counts.decr_misses);
    lines.say("decr_hits", counts.decr_hits);
    lines.say("cas_misses", counts.cas_misses);
    lines.say("cas_hits", counts.cas_hits);
    lines.say("cas_badval", counts.cas_badval);
    lines.say("touch_hits", counts.touch_hits);
    lines.say("touch_misses", counts.touch_misses);
    lines.say("store_too_large", counts.store_too_large);
    lines.say("store_no_memory", counts.store_no_memory);
    lines.say("auth_cmds", 0);
    lines.say("auth_errors", 0);
    lines.say("bytes_read", stats.bytes_in);
    lines.say("bytes_written", stats.bytes_out);
    lines.say("limit_maxbytes", process.limit);
    lines.say("accepting_conns", 1);
    lines.say("listen_disabled_num", 0);
    lines.say("threads", process.threads);
    lines.say("bytes", stats.bytes);
    lines.say("curr_items", stats.items);
    lines.say("total_items", counts.total_items);
    lines.say("evictions", stats.evicted);
    lines.say("reclaimed", stats.expired);
    lines
}

/// `stats items`.
fn items(parts: impl Iterator<Item = Stats>) -> Lines {
    let stats = sum(parts);
    let mut lines = Lines::default();
    if stats.items > 0 {
        lines.say("items:1:number", stats.items);
        lines.say("items:1:mem_requested", stats.bytes);
        lines.say("items:1:evicted", stats.evicted);
        lines.say("items:1:outofmemory", stats.counts.store_no_memory);
        lines.say("items:1:reclaimed", stats.expired);
    }
    lines
}

/// `stats slabs`.
fn slabs(parts: impl Iterator<Item = Stats>) -> Lines {
    let stats = sum(parts);
    let counts = &stats.counts;
    let mut lines = Lines::default();
    if stats.items > 0 {
        lines.say("1:used_chunks", stats.items);
        lines.say("1:mem_requested", stats.bytes);
        lines.say("1:get_hits", counts.get_hits);
        lines.say("1:cmd_set", counts.cmd_set);
        lines.say("1:delete_hits", counts.delete_hits);
        lines.say("1:incr_hits", counts.incr_hits);
        lines.say("1:decr_hits", counts.decr_hits);
        lines.say("1:cas_hits", counts.cas_hits);
        lines.say("1:cas_badval", counts.cas_badval);
        lines.say("1:touch_hits", counts.touch_hits);
    }
    lines.say("active_slabs", u8::from(stats.items > 0));
    lines.say("total_malloced", stats.memory);
    lines
}

/// Lines of names and values, with an end.
#[derive(Debug, Default)]
struct Lines(String);

impl Lines {
    fn say(&mut self, name: &str, value: impl std::fmt::Display) {
        self.0 += &format!("STAT {name} {value}\r\n");
    }
}

impl Encode<Text> for Lines {
    fn encode(self, reply: &mut Reply<'_, Text>) {
        reply.out().extend(self.0.as_bytes());
        reply.out().extend(b"END\r\n");
    }
}

/// Seconds of processor time that this process took, for itself and for the system. Zero where the
/// system doesn't tell.
fn processor_time() -> (f64, f64) {
    /// The kernel's unit towards programs, per second.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The program's name, in parentheses, may hold blanks.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let field = |index| fields.split_whitespace().nth(index).and_then(|field| field.parse().ok());
    let seconds = |index| field(index).unwrap_or(0.0) / TICKS_PER_SECOND;
    (seconds(11), seconds(12))
}
