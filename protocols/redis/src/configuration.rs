//! CONFIG: the configuration while the server runs.

use kevy_resp::{Error, Frame, Map, Resp};
use kevy_rt::{Cx, Limits, Rest, commands};
use tracing::{info, warn};

use crate::config::{ChangeError, Config};
use crate::help::help;
use crate::session::Session;

const NO_CONFIG_FILE: Error = Error::new("ERR The server is running without a config file");
const NO_REWRITE: Error =
    Error::new("ERR Rewriting config file: this server leaves it to those who write it");

/// The set of CONFIG's subcommands.
#[derive(Debug)]
pub struct Configuration;

#[commands(store = Config, wire = Resp)]
impl Configuration {
    /// Get the values of configuration parameters
    #[command(
        route = local,
        name = "CONFIG GET",
        since = "2.0.0",
        group = "server",
        complexity = "O(N) when N is the number of configuration parameters provided",
        flags(admin, noscript, loading, stale)
    )]
    fn get(config: &Config, parameter: Rest<'_, 1>) -> Map<Vec<u8>, &[u8]> {
        Map(config.matching(parameter.iter()))
    }

    /// Set configuration parameters to the given values
    #[command(
        route = all,
        loose,
        write,
        gather = all_ok,
        barrier,
        name = "CONFIG SET",
        since = "2.0.0",
        group = "server",
        complexity = "O(N) when N is the number of configuration parameters provided",
        flags(admin, noscript, loading, stale),
        meta(tips = "request_policy:all_nodes,response_policy:all_succeeded")
    )]
    fn set(config: &mut Config, cx: &Cx<'_>, parameter_value: Rest<'_, 2>) -> Result<(), Error> {
        let words: Vec<&[u8]> = parameter_value.iter().collect();
        let (pairs, []) = words.as_chunks::<2>() else { return Err(Error::SYNTAX) };
        let pairs: Vec<(&[u8], &[u8])> =
            pairs.iter().map(|[name, value]| (*name, *value)).collect();
        let before = config.limits();
        config.change(&pairs)?;
        take_effect(config, before, cx);
        Ok(())
    }

    /// Rewrite the configuration file with the in memory configuration
    #[command(
        route = local,
        name = "CONFIG REWRITE",
        since = "2.8.0",
        group = "server",
        complexity = "O(1)",
        flags(admin, noscript, loading, stale)
    )]
    fn rewrite(config: &Config) -> Error {
        match config.file() {
            Some(_) => NO_REWRITE,
            None => NO_CONFIG_FILE,
        }
    }

    /// Show helpful text about the different subcommands
    #[command(
        route = local,
        name = "CONFIG HELP",
        since = "5.0.0",
        group = "server",
        complexity = "O(1)",
        flags(loading, stale)
    )]
    fn help(cx: &Cx<'_>) -> Frame {
        help(cx, "CONFIG", HELP)
    }
}

const HELP: &[&str] = &[
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Rewrite the configuration file.",
];

impl From<ChangeError> for Error {
    fn from(error: ChangeError) -> Self {
        Error::text(error.to_string())
    }
}

/// Makes this shard follow a changed configuration.
fn take_effect(config: &Config, before: Limits, cx: &Cx<'_>) {
    let mut limits = config.limits();
    if limits.connections == before.connections {
        // Fewer than that may be what this process can have.
        limits.connections = cx.server().limits().connections;
    }
    cx.server().set_limits(limits);
    if config.password().is_none() {
        // Who has not authenticated needs not any more.
        cx.server().for_each_conn(|conn| {
            if let Some(session) = conn.session.downcast_ref::<Session>() {
                session.authenticate();
            }
        });
    }
    if cx.server().place().shard == 0 {
        log_settings_without_effect(config);
    }
}

/// Tells the operator what was set to no effect.
pub fn log_settings_without_effect(config: &Config) {
    for (setting, but) in config.broken_promises() {
        warn!("`{setting}` is without effect: {but}");
    }
    let idle = config.idle_settings();
    if !idle.is_empty() {
        info!("accepted, and without effect in this server: {}", idle.join(", "));
    }
}
