//! The one table of directives: all of Redis 7.0's, and those of our own.
//!
//! A directive that nothing is said of but its name, value and range is taken, kept and answered,
//! and changes nothing: it tunes a part that this server doesn't have, or doesn't have yet.

use super::kind::{self, Form, Kind, ReadWords};

/// A directive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Directive {
    /// In lower case.
    pub(super) name: &'static str,
    /// Its older name.
    pub(super) alias: Option<&'static str>,
    pub(super) kind: Kind,
    /// The text of its value where nobody says another.
    pub(super) default: &'static str,
    pub(super) change: Change,
    pub(super) effect: Effect,
    /// Whether CONFIG GET answers it only by its full name.
    pub(super) is_hidden: bool,
    /// Whether its value stays out of the log.
    pub(super) is_secret: bool,
}

/// Who may change a directive, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// CONFIG SET.
    Anytime,
    /// CONFIG SET if `enable-protected-configs` says so.
    Protected,
    /// Nobody once the server runs.
    AtStart,
}

/// What comes of a value that is not the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing, and nobody relies on it.
    None,
    /// What it says.
    Full,
    /// Nothing, though whoever sets it relies on it: the log says so, with these words.
    Promised(&'static str),
    /// It is refused, for this reason.
    Refused(&'static str),
}

const fn directive(name: &'static str, default: &'static str, kind: Kind) -> Directive {
    Directive {
        name,
        alias: None,
        kind,
        default,
        change: Change::Anytime,
        effect: Effect::None,
        is_hidden: false,
        is_secret: false,
    }
}

const fn yes_no(name: &'static str, default: &'static str) -> Directive {
    directive(name, default, Kind::YesNo)
}

const fn one_of(
    name: &'static str,
    default: &'static str,
    choices: &'static [&'static str],
) -> Directive {
    directive(name, default, Kind::OneOf(choices))
}

const fn text(name: &'static str, default: &'static str) -> Directive {
    directive(name, default, Kind::Text(kind::any))
}

const fn checked(
    name: &'static str,
    default: &'static str,
    check: fn(&[u8]) -> Result<(), &'static str>,
) -> Directive {
    directive(name, default, Kind::Text(check))
}

const fn words(name: &'static str, default: &'static str, read: ReadWords) -> Directive {
    directive(name, default, Kind::Words(read))
}

const fn number(name: &'static str, default: &'static str, min: i128, max: i128) -> Directive {
    directive(name, default, Kind::Number { min, max, form: Form::Decimal })
}

const fn memory(name: &'static str, default: &'static str, min: i128, max: i128) -> Directive {
    directive(name, default, Kind::Number { min, max, form: Form::Memory })
}

impl Directive {
    const fn alias(self, alias: &'static str) -> Self {
        Directive { alias: Some(alias), ..self }
    }

    const fn at_start(self) -> Self {
        Directive { change: Change::AtStart, ..self }
    }

    const fn protected(self) -> Self {
        Directive { change: Change::Protected, ..self }
    }

    const fn hidden(self) -> Self {
        Directive { is_hidden: true, ..self }
    }

    const fn secret(self) -> Self {
        Directive { is_secret: true, ..self }
    }

    /// It does what it says.
    const fn works(self) -> Self {
        Directive { effect: Effect::Full, ..self }
    }

    const fn promised(self, but: &'static str) -> Self {
        Directive { effect: Effect::Promised(but), ..self }
    }

    const fn refused(self, because: &'static str) -> Self {
        Directive { effect: Effect::Refused(because), ..self }
    }

    /// The name or the older name, whichever `name` is.
    pub(super) fn is_named(&self, name: &[u8]) -> bool {
        let is = |own: &str| name.eq_ignore_ascii_case(own.as_bytes());
        is(self.name) || self.alias.is_some_and(is)
    }
}

/// Where a directive stands in the table. For names that the compiler knows.
///
/// # Panics
/// If there is none: at compile time, in a `const` block.
pub(super) const fn at(name: &str) -> usize {
    let mut index = 0;
    while index < DIRECTIVES.len() {
        if is_same(DIRECTIVES[index].name.as_bytes(), name.as_bytes()) {
            return index;
        }
        index += 1;
    }
    panic!("no such directive")
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut index = 0;
    while index < a.len() {
        if a[index] != b[index] {
            return false;
        }
        index += 1;
    }
    true
}

const INT: i128 = i32::MAX as i128;
const LONG: i128 = i64::MAX as i128;
const MIB: i128 = 1024 * 1024;

const NOT_KEPT: &str = "nothing is written to disk, and a restart begins empty";
const NO_REPLICATION: &str = "this server has no replicas and is none";
const NO_CLUSTER: &str = "this server is no node of a cluster; its shards are within one process";
const NO_TLS: &str = "this server does not speak TLS; put a TLS proxy before it";

const YES_NO_LOCAL: &[&str] = &["no", "yes", "local"];

/// All directives, by name.
pub(super) const DIRECTIVES: &[Directive] = &[
    one_of("acl-pubsub-default", "resetchannels", &["allchannels", "resetchannels"]),
    text("aclfile", "").at_start().refused("this server has no access control lists"),
    number("acllog-max-len", "128", 0, LONG),
    number("active-defrag-cycle-max", "25", 1, 99),
    number("active-defrag-cycle-min", "1", 1, 99),
    memory("active-defrag-ignore-bytes", "104857600", 1, LONG),
    number("active-defrag-max-scan-fields", "1000", 1, LONG),
    number("active-defrag-threshold-lower", "10", 0, 1000),
    number("active-defrag-threshold-upper", "100", 0, 1000),
    number("active-expire-effort", "1", 1, 10),
    yes_no("activedefrag", "no"),
    yes_no("activerehashing", "yes"),
    yes_no("always-show-logo", "no").at_start(),
    yes_no("aof-disable-auto-gc", "no"),
    yes_no("aof-load-truncated", "yes"),
    yes_no("aof-rewrite-incremental-fsync", "yes"),
    yes_no("aof-timestamp-enabled", "no"),
    yes_no("aof-use-rdb-preamble", "yes"),
    text("aof_rewrite_cpulist", "").at_start(),
    checked("appenddirname", "appendonlydir", kind::append_dir_name).at_start(),
    checked("appendfilename", "appendonly.aof", kind::append_file_name).at_start(),
    one_of("appendfsync", "everysec", &["everysec", "always", "no"]),
    yes_no("appendonly", "no").promised(NOT_KEPT),
    memory("auto-aof-rewrite-min-size", "67108864", 0, LONG),
    number("auto-aof-rewrite-percentage", "100", 0, INT),
    text("bgsave_cpulist", "").at_start(),
    words("bind", "127.0.0.1 -::1", kind::addresses).at_start().works(),
    text("bind-source-addr", ""),
    text("bio_cpulist", "").at_start(),
    number("busy-reply-threshold", "5000", 0, LONG).alias("lua-time-limit"),
    words(
        "client-output-buffer-limit",
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        kind::output_limits,
    )
    .works(),
    memory("client-query-buffer-limit", "1073741824", MIB, LONG).works(),
    yes_no("cluster-allow-pubsubshard-when-down", "yes"),
    yes_no("cluster-allow-reads-when-down", "no"),
    yes_no("cluster-allow-replica-migration", "yes"),
    number("cluster-announce-bus-port", "0", 0, 65535),
    checked("cluster-announce-hostname", "", kind::host_name),
    text("cluster-announce-ip", ""),
    number("cluster-announce-port", "0", 0, 65535),
    number("cluster-announce-tls-port", "0", 0, 65535),
    text("cluster-config-file", "nodes.conf").at_start(),
    yes_no("cluster-enabled", "no").at_start().refused(NO_CLUSTER),
    memory("cluster-link-sendbuf-limit", "0", 0, u64::MAX as i128),
    number("cluster-migration-barrier", "1", 0, INT),
    number("cluster-node-timeout", "15000", 0, LONG),
    number("cluster-port", "0", 0, 65535).at_start(),
    one_of("cluster-preferred-endpoint-type", "ip", &["ip", "hostname", "unknown-endpoint"]),
    yes_no("cluster-replica-no-failover", "no").alias("cluster-slave-no-failover"),
    number("cluster-replica-validity-factor", "10", 0, INT).alias("cluster-slave-validity-factor"),
    yes_no("cluster-require-full-coverage", "yes"),
    yes_no("crash-log-enabled", "yes"),
    yes_no("crash-memcheck-enabled", "yes"),
    yes_no("daemonize", "no")
        .at_start()
        .refused("this server stays in the foreground; a service manager puts it behind"),
    number("databases", "16", 1, 65535).at_start().works(),
    checked("dbfilename", "dump.rdb", kind::file_name).protected(),
    text("dir", ".").protected().works(),
    yes_no("disable-thp", "yes").at_start(),
    yes_no("dynamic-hz", "yes"),
    one_of("enable-debug-command", "no", YES_NO_LOCAL).at_start(),
    one_of("enable-module-command", "no", YES_NO_LOCAL).at_start(),
    one_of("enable-protected-configs", "no", YES_NO_LOCAL).at_start().works(),
    number("hash-max-listpack-entries", "512", 0, LONG).alias("hash-max-ziplist-entries"),
    memory("hash-max-listpack-value", "64", 0, LONG).alias("hash-max-ziplist-value"),
    memory("hll-sparse-max-bytes", "3000", 0, LONG),
    checked("http", "", kind::http).at_start().works(),
    number("hz", "10", 0, INT),
    text("ignore-warnings", ""),
    number("io-threads", "1", 1, 128).at_start(),
    yes_no("io-threads-do-reads", "no").at_start(),
    yes_no("jemalloc-bg-thread", "yes"),
    number("key-load-delay", "0", -INT - 1, INT).hidden(),
    number("latency-monitor-threshold", "0", 0, LONG),
    yes_no("latency-tracking", "yes"),
    words("latency-tracking-info-percentiles", "50 99 99.9", kind::percentiles),
    yes_no("lazyfree-lazy-eviction", "no"),
    yes_no("lazyfree-lazy-expire", "no"),
    yes_no("lazyfree-lazy-server-del", "no"),
    yes_no("lazyfree-lazy-user-del", "no"),
    yes_no("lazyfree-lazy-user-flush", "no"),
    number("lfu-decay-time", "1", 0, INT).works(),
    number("lfu-log-factor", "10", 0, INT).works(),
    number("list-compress-depth", "0", 0, INT),
    number("list-max-listpack-size", "-2", -INT - 1, INT).alias("list-max-ziplist-size"),
    number("loading-process-events-interval-bytes", "2097152", 1024, INT).hidden(),
    text("logfile", "").at_start().works(),
    one_of("loglevel", "notice", &["debug", "verbose", "notice", "warning"]).at_start().works(),
    text("masterauth", "").secret(),
    text("masteruser", "").secret(),
    number("maxclients", "10000", 1, u32::MAX as i128).works(),
    memory("maxmemory", "0", 0, u64::MAX as i128).works(),
    directive(
        "maxmemory-clients",
        "0",
        Kind::Number { min: 0, max: LONG, form: Form::MemoryOrPercent },
    )
    .works(),
    number("maxmemory-eviction-tenacity", "10", 0, 100),
    one_of(
        "maxmemory-policy",
        "noeviction",
        &[
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "noeviction",
        ],
    )
    .works(),
    number("maxmemory-samples", "5", 1, 1024).works(),
    number("min-replicas-max-lag", "10", 0, INT).alias("min-slaves-max-lag"),
    number("min-replicas-to-write", "0", 0, INT)
        .alias("min-slaves-to-write")
        .promised(NO_REPLICATION),
    yes_no("no-appendfsync-on-rewrite", "no"),
    words("notify-keyspace-events", "", kind::event_classes).promised("no events are published"),
    one_of("oom-score-adj", "no", &["no", "yes", "relative", "absolute"]),
    words("oom-score-adj-values", "0 200 800", kind::oom_scores),
    text("pidfile", "").at_start().works(),
    yes_no("pin-shards", "yes").at_start().works(),
    one_of("pipeline-order", "loose", &["loose", "strict"]).works(),
    number("port", "6379", 0, 65535).at_start().works(),
    text("proc-title-template", "{title} {listen-addr} {server-mode}"),
    one_of("propagation-error-behavior", "ignore", &["ignore", "panic", "panic-on-replicas"]),
    yes_no("protected-mode", "yes").works(),
    memory("proto-max-bulk-len", "536870912", MIB, LONG).works(),
    yes_no("rdb-del-sync-files", "no"),
    number("rdb-key-save-delay", "0", -INT - 1, INT).hidden(),
    yes_no("rdb-save-incremental-fsync", "yes"),
    yes_no("rdbchecksum", "yes").at_start(),
    yes_no("rdbcompression", "yes"),
    one_of("reactor", "auto", &["auto", "uring", "poll"]).at_start().works(),
    memory("repl-backlog-size", "1048576", 1, LONG),
    number("repl-backlog-ttl", "3600", 0, LONG),
    yes_no("repl-disable-tcp-nodelay", "no"),
    one_of("repl-diskless-load", "disabled", &["disabled", "on-empty-db", "swapdb"]),
    yes_no("repl-diskless-sync", "yes"),
    number("repl-diskless-sync-delay", "5", 0, INT),
    number("repl-diskless-sync-max-replicas", "0", 0, INT),
    number("repl-ping-replica-period", "10", 1, INT).alias("repl-ping-slave-period"),
    number("repl-timeout", "60", 1, INT),
    text("replica-announce-ip", "").alias("slave-announce-ip"),
    number("replica-announce-port", "0", 0, 65535).alias("slave-announce-port"),
    yes_no("replica-announced", "yes"),
    yes_no("replica-ignore-disk-write-errors", "no"),
    yes_no("replica-ignore-maxmemory", "yes").alias("slave-ignore-maxmemory"),
    yes_no("replica-lazy-flush", "no").alias("slave-lazy-flush"),
    number("replica-priority", "100", 0, INT).alias("slave-priority"),
    yes_no("replica-read-only", "yes").alias("slave-read-only"),
    yes_no("replica-serve-stale-data", "yes").alias("slave-serve-stale-data"),
    words("replicaof", "", kind::master).alias("slaveof").at_start().refused(NO_REPLICATION),
    text("requirepass", "").secret().works(),
    one_of("sanitize-dump-payload", "no", &["no", "yes", "clients"]),
    words("save", "", kind::save_points).promised(NOT_KEPT),
    text("server_cpulist", "").at_start(),
    number("set-max-intset-entries", "512", 0, LONG),
    yes_no("set-proc-title", "yes").at_start(),
    checked("shards", "auto", kind::shards).at_start().works(),
    text("shutdown-on-sigint", "default"),
    text("shutdown-on-sigterm", "default"),
    number("shutdown-timeout", "10", 0, INT),
    number("slowlog-log-slower-than", "10000", -1, LONG),
    number("slowlog-max-len", "128", 0, LONG),
    number("socket-mark-id", "0", 0, u32::MAX as i128).at_start(),
    yes_no("stop-writes-on-bgsave-error", "yes"),
    memory("stream-node-max-bytes", "4096", 0, LONG),
    number("stream-node-max-entries", "100", 0, LONG),
    one_of("supervised", "no", &["upstart", "systemd", "auto", "no"])
        .at_start()
        .promised("no service manager is told anything; make it a simple service"),
    yes_no("syslog-enabled", "no")
        .at_start()
        .promised("the log goes to `logfile`, or to the standard output"),
    one_of(
        "syslog-facility",
        "local0",
        &["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"],
    )
    .at_start(),
    text("syslog-ident", "redis").at_start(),
    number("tcp-backlog", "511", 0, INT).at_start().works(),
    // A new value concerns the next start: the listeners hand it to their connections.
    number("tcp-keepalive", "300", 0, INT).works(),
    number("timeout", "0", 0, INT).works(),
    one_of("tls-auth-clients", "yes", &["no", "yes", "optional"]),
    text("tls-ca-cert-dir", ""),
    text("tls-ca-cert-file", ""),
    text("tls-cert-file", ""),
    text("tls-ciphers", ""),
    text("tls-ciphersuites", ""),
    text("tls-client-cert-file", ""),
    text("tls-client-key-file", ""),
    text("tls-client-key-file-pass", "").secret(),
    yes_no("tls-cluster", "no").refused(NO_TLS),
    text("tls-dh-params-file", ""),
    text("tls-key-file", ""),
    text("tls-key-file-pass", "").secret(),
    number("tls-port", "0", 0, 65535).refused(NO_TLS),
    yes_no("tls-prefer-server-ciphers", "no"),
    text("tls-protocols", ""),
    yes_no("tls-replication", "no").refused(NO_TLS),
    number("tls-session-cache-size", "20480", 0, INT),
    number("tls-session-cache-timeout", "300", 0, INT),
    yes_no("tls-session-caching", "yes"),
    number("tracking-table-max-keys", "1000000", 0, LONG),
    text("unixsocket", "").at_start().works(),
    directive("unixsocketperm", "0", Kind::Number { min: 0, max: 0o777, form: Form::Octal })
        .at_start()
        .works(),
    yes_no("use-exit-on-panic", "no").hidden(),
    number("watchdog-period", "0", 0, INT).hidden(),
    number("zset-max-listpack-entries", "128", 0, LONG).alias("zset-max-ziplist-entries"),
    memory("zset-max-listpack-value", "64", 0, LONG).alias("zset-max-ziplist-value"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_met_once() {
        assert!(DIRECTIVES.is_sorted_by(|a, b| a.name < b.name));
        for directive in DIRECTIVES {
            let names = [Some(directive.name), directive.alias];
            for name in names.into_iter().flatten() {
                assert_eq!(name, name.to_ascii_lowercase());
                let named = DIRECTIVES.iter().filter(|other| other.is_named(name.as_bytes()));
                assert_eq!(named.count(), 1, "{name}");
            }
        }
    }

    #[test]
    fn every_default_is_a_value_in_its_one_text() {
        for directive in DIRECTIVES {
            let default = directive.default.as_bytes();
            let words = match directive.kind.is_words() {
                true => default.split(|byte| *byte == b' ').collect(),
                false => vec![default],
            };
            if directive.name == "replicaof" {
                continue;
            }
            let read = directive.kind.read(&words, default);
            assert_eq!(read.as_deref(), Ok(default), "{}", directive.name);
        }
    }
}
