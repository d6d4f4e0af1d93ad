//! TIME, SHUTDOWN, MODULE and the like, and what this server refuses as a Redis without it does.

use kevy_resp::{Error, Frame, Resp};
use kevy_rt::{Close, Cx, Reply, Rest, commands};
use tracing::{info, warn};

use crate::config::Config;
use crate::help::help;

const NO_CLUSTER: Error = Error::new("ERR This instance has cluster support disabled");
const NO_SCRIPT: Error = Error::new("NOSCRIPT No matching script. Please use EVAL.");
const NO_FUNCTION: Error = Error::new("ERR Function not found");
const NO_SHUTDOWN: Error = Error::new("ERR No shutdown in progress.");
const SHUTDOWN_FAILED: Error = Error::new("ERR Errors trying to SHUTDOWN. Check logs.");

/// The set of commands about the server as a whole.
#[derive(Debug)]
pub struct Server;

#[commands(store = Config, wire = Resp)]
impl Server {
    /// Return the current server time
    #[command(
        route = local,
        since = "2.6.0",
        group = "server",
        complexity = "O(1)",
        flags(loading, stale, fast),
        meta(tips = "nondeterministic_output")
    )]
    fn time(cx: &Cx<'_>) -> (String, String) {
        let now = cx.server().wall_clock();
        (now.as_secs().to_string(), now.subsec_micros().to_string())
    }

    /// Synchronously save the dataset to disk and then shut down the server
    #[command(
        route = local,
        queued = never,
        since = "1.0.0",
        group = "server",
        complexity = "O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)",
        flags(admin, noscript, loading, stale, allow_busy)
    )]
    fn shutdown(cx: &Cx<'_>, reply: &mut Reply<'_, Resp>, nosave_save_now_force_abort: Rest<'_>) {
        match Shutdown::read(nosave_save_now_force_abort.iter()) {
            // The end of the connection is the reply.
            Ok(shutdown) if shutdown.may_stop() => {
                info!("a client asked for the shutdown");
                cx.server().process().stop();
                cx.close(Close::Now);
            }
            Ok(_) => {
                warn!("SHUTDOWN SAVE is refused: nothing can be saved");
                reply.put(SHUTDOWN_FAILED);
            }
            Err(error) => reply.put(error),
        }
    }

    /// List all modules loaded by the server
    #[command(
        route = local,
        name = "MODULE LIST",
        since = "4.0.0",
        group = "server",
        complexity = "O(N) where N is the number of loaded modules.",
        flags(admin, noscript),
        meta(tips = "nondeterministic_output_order")
    )]
    fn modules() -> Vec<Frame> {
        Vec::new()
    }

    /// Show helpful text about the different subcommands
    #[command(
        route = local,
        name = "MODULE HELP",
        since = "5.0.0",
        group = "server",
        complexity = "O(1)",
        flags(loading, stale)
    )]
    fn module_help(cx: &Cx<'_>) -> Frame {
        help(cx, "MODULE", &["LIST", "    Return a list of loaded modules."])
    }

    /// Provides info about Redis Cluster node state
    #[command(
        route = local,
        name = "CLUSTER INFO",
        aliases("CLUSTER NODES", "CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER MYID"),
        aliases("CLUSTER LINKS", "CLUSTER HELP", "CLUSTER BUMPEPOCH", "CLUSTER SAVECONFIG"),
        since = "3.0.0",
        group = "cluster",
        complexity = "O(1)",
        flags(stale)
    )]
    fn cluster() -> Error {
        NO_CLUSTER
    }

    /// Returns the hash slot of the specified key
    #[command(
        route = local,
        name = "CLUSTER KEYSLOT",
        aliases("CLUSTER COUNTKEYSINSLOT", "CLUSTER REPLICAS", "CLUSTER SLAVES"),
        aliases("CLUSTER FORGET", "CLUSTER REPLICATE"),
        since = "3.0.0",
        group = "cluster",
        complexity = "O(N) where N is the number of bytes in the key",
        flags(stale)
    )]
    fn cluster_of(_argument: &[u8]) -> Error {
        NO_CLUSTER
    }

    /// Enables read queries for a connection to a cluster replica node
    #[command(
        route = local,
        aliases("READWRITE"),
        since = "3.0.0",
        group = "cluster",
        complexity = "O(1)",
        flags(loading, stale, fast),
        meta(categories = "connection")
    )]
    fn readonly() -> Error {
        NO_CLUSTER
    }

    /// Sent by cluster clients after an -ASK redirect
    #[command(
        route = local,
        since = "3.0.0",
        group = "cluster",
        complexity = "O(1)",
        flags(fast),
        meta(categories = "connection")
    )]
    fn asking() -> Error {
        NO_CLUSTER
    }

    /// Execute a Lua script server side
    #[command(
        route = local,
        aliases("EVALSHA_RO"),
        since = "2.6.0",
        group = "scripting",
        complexity = "Depends on the script that is executed.",
        flags(noscript, stale, skip_monitor, no_mandatory_keys, movablekeys)
    )]
    fn evalsha(_sha1: &[u8], _numkeys: &[u8], _keys_and_args: Rest<'_>) -> Error {
        NO_SCRIPT
    }

    /// Invoke a function
    #[command(
        route = local,
        aliases("FCALL_RO"),
        since = "7.0.0",
        group = "scripting",
        complexity = "Depends on the function that is executed.",
        flags(noscript, stale, skip_monitor, no_mandatory_keys, movablekeys)
    )]
    fn fcall(_function: &[u8], _numkeys: &[u8], _keys_and_args: Rest<'_>) -> Error {
        NO_FUNCTION
    }

    /// What a browser sends that was led here: nothing good follows.
    #[command(
        route = local,
        queued = at_once,
        name = "POST",
        aliases("HOST:"),
        flags(no_auth, hidden, loading, stale)
    )]
    fn post(cx: &Cx<'_>, _no_reply: &mut Reply<'_, Resp>, _anything: Rest<'_>) {
        let Some(conn) = cx.conn() else { return };
        warn!(
            "possible attack: somebody sends POST or Host: commands, which happens when a browser \
             is made to talk to this server; the connection from {} is closed",
            conn.peer
        );
        cx.close(Close::Now);
    }
}

/// What SHUTDOWN was told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shutdown {
    saves: bool,
    is_forced: bool,
}

impl Shutdown {
    fn read<'a>(words: impl Iterator<Item = &'a [u8]>) -> Result<Self, Error> {
        let mut shutdown = Shutdown::default();
        let (mut nosave, mut now, mut abort) = (false, false, false);
        for word in words {
            match word.to_ascii_lowercase().as_slice() {
                b"nosave" => nosave = true,
                b"save" => shutdown.saves = true,
                b"now" => now = true,
                b"force" => shutdown.is_forced = true,
                b"abort" => abort = true,
                _ => return Err(Error::SYNTAX),
            }
        }
        let has_others = nosave || now || shutdown != Shutdown::default();
        match abort {
            _ if nosave && shutdown.saves => Err(Error::SYNTAX),
            true if has_others => Err(Error::SYNTAX),
            true => Err(NO_SHUTDOWN),
            false => Ok(shutdown),
        }
    }

    /// A server that can't save doesn't stop for one who wants that, unless forced.
    fn may_stop(&self) -> bool {
        !self.saves || self.is_forced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Shutdown, String> {
        let words = line.split_whitespace().map(str::as_bytes);
        Shutdown::read(words).map_err(|error| error.to_string())
    }

    #[test]
    fn shutdown_takes_what_makes_sense_together() {
        for line in ["", "NOSAVE", "nosave now force", "SAVE FORCE"] {
            assert!(read(line).expect(line).may_stop(), "{line}");
        }
        assert!(!read("SAVE").expect("it is fine").may_stop());
        for line in ["FOO", "SAVE NOSAVE", "ABORT NOW", "ABORT SAVE", "NOW NOSAVE FOO"] {
            assert_eq!(read(line), Err("ERR syntax error".into()), "{line}");
        }
        assert_eq!(read("ABORT"), Err("ERR No shutdown in progress.".into()));
    }
}
