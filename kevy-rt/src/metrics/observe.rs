//! A shard's share of a scrape.

use super::scrape::{Kind, Label, Scrape};
use crate::commands::Store;
use crate::cx::{Cx, Server};

/// Up to so many shards the messages of each pair of them are told apart; of more the table would
/// be most of what is told.
const TOLD_PAIRS: usize = 64;

/// Metrics of the runtime that go up and down.
const GAUGES: [&str; 6] = [
    "backlog_batches",
    "backlog_peak",
    "longest_turn_ns",
    "longest_turn_wall_ns",
    "connections",
    "buffer_bytes",
];

/// What a server can be asked about itself, whatever its store: every [`Store`] can. A set that says
/// `store = impl Observe` is served by any server.
pub trait Observe: 'static {
    /// This shard's share of what the server tells: the runtime's metrics, the sets' own, and what
    /// the store tells. A command of route `all, loose` asks all shards and adds the shares up.
    fn scrape(&self, cx: &Cx<'_>) -> Scrape;
}

impl<S: Store> Observe for S {
    fn scrape(&self, cx: &Cx<'_>) -> Scrape {
        let (server, mut scrape) = (cx.server(), Scrape::default());
        tell_server(server, &mut scrape);
        tell_shard(server, &mut scrape);
        tell_messages(server, &mut scrape);
        tell_commands(server, &mut scrape);
        server.own.tell(server.place().shard, &mut scrape);
        self.observe(cx, &mut scrape);
        scrape
    }
}

/// What is the same for all shards, which the first one tells.
fn tell_server(server: &Server, scrape: &mut Scrape) {
    let help = "What serves: the I/O engine, why it was chosen, and the runtime's version.";
    let labels = &["reactor", "reason", "version"];
    let info = scrape.family(Kind::Gauge, "kevy_info", help, labels);
    let help = "When the server started, in seconds since the Unix epoch.";
    if server.place().shard == 0 {
        let reason = Label::Text(server.process().reactor_reason().into());
        let version = env!("CARGO_PKG_VERSION");
        info.sample([server.reactor().into(), reason, version.into()], 1_u64);
        let started_s = server.process().started_ms() as f64 / 1000.0;
        scrape.gauge("kevy_start_time_seconds", help, started_s);
        scrape.gauge("kevy_shards", "Shards of the server.", server.place().shards);
    }
}

/// The shard's counters and its latency.
fn tell_shard(server: &Server, scrape: &mut Scrape) {
    let shard = Label::from(server.place().shard);
    for (name, help, value) in server.metrics().with_meaning() {
        let is_gauge = GAUGES.contains(&name);
        let kind = if is_gauge { Kind::Gauge } else { Kind::Counter };
        let total = if is_gauge { "" } else { "_total" };
        let (word, unit) = match name.strip_suffix("_ns") {
            Some(word) => (word, "_seconds"),
            None => (name, ""),
        };
        let family = scrape.family(kind, format!("kevy_{word}{unit}{total}"), help, &["shard"]);
        match unit {
            "" => family.sample([shard.clone()], value),
            _ => family.sample([shard.clone()], value as f64 / 1e9),
        }
    }
    let help = "Places in the shard's order that transactions and those who wait for them have.";
    let family = scrape.family(Kind::Gauge, "kevy_open_entries", help, &["shard"]);
    family.sample([shard.clone()], server.open_entries());
    let help = "Time from a request's arrival until its reply is sent, of a sample of requests.";
    let family = scrape.family(Kind::Durations, "kevy_latency_seconds", help, &["shard"]);
    family.sample([shard], server.latency.read());
}

/// Who sends how much to whom.
fn tell_messages(server: &Server, scrape: &mut Scrape) {
    let place = server.place();
    if place.shards > TOLD_PAIRS {
        return;
    }
    let others = || (0..place.shards).filter(|&shard| shard != place.shard);
    let help = "Requests, and the like, that a shard sent another.";
    let family = scrape.family(Kind::Counter, "kevy_items_total", help, &["from", "to"]);
    for to in others() {
        family.sample([place.shard.into(), to.into()], server.sent_to(to).items.get());
    }
    let help = "Batches that a shard sent another, answers not counted.";
    let family = scrape.family(Kind::Counter, "kevy_batches_total", help, &["from", "to"]);
    for to in others() {
        family.sample([place.shard.into(), to.into()], server.sent_to(to).batches.get());
    }
}

/// Commands that were used.
fn tell_commands(server: &Server, scrape: &mut Scrape) {
    let labels = &["port", "command"];
    let families = [
        ("kevy_command_calls_total", "Requests of a command that ran."),
        ("kevy_command_seconds_total", "Time that a command's handler took, from a sample."),
        ("kevy_command_failed_total", "Requests of a command whose reply was an error."),
        ("kevy_command_rejected_total", "Requests of a command that were refused unrun."),
    ];
    for (index, (name, help)) in families.into_iter().enumerate() {
        let family = scrape.family(Kind::Counter, name, help, labels);
        for (port, command, stats) in server.commands_by_port() {
            if stats.calls.get() == 0 && stats.rejected.get() == 0 {
                continue;
            }
            let port = port.rsplit("::").next().unwrap_or(port).trim();
            let labels = [port.into(), command.name.into()];
            match index {
                0 => family.sample(labels, stats.calls.get()),
                1 => family.sample(labels, stats.total_ns() as f64 / 1e9),
                2 => family.sample(labels, stats.failed.get()),
                _ => family.sample(labels, stats.rejected.get()),
            }
        }
    }
}
