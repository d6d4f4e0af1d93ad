//! CLIENT: what a client says of itself, and what it may know of and do to the others.

mod filter;
mod line;

use kevy_resp::{Error, Frame, Resp, Status, Verbatim};
use kevy_rt::{Arg, Close, Cx, Reply, ReplyMode, Rest, commands};

use crate::connection::{is_plain, set_name};
use crate::help::help;
use crate::session::Session;
use crate::store::Store;
use filter::{KillFilter, ListFilter};
use line::line;

const NO_SUCH_CLIENT: Error = Error::new("ERR No such client");

/// The set of CLIENT's subcommands.
#[derive(Debug)]
pub struct Client;

/// One shard's lines of CLIENT LIST, with their places in the reply.
type Lines = Vec<(u64, String)>;

/// One shard's share of CLIENT KILL.
struct Killed {
    count: u64,
    is_old: bool,
}

#[commands(store = Store, wire = Resp, session = Session)]
impl Client {
    /// Returns the client ID for the current connection
    #[command(
        route = local,
        name = "CLIENT ID",
        since = "5.0.0",
        group = "connection",
        complexity = "O(1)",
        flags(noscript, loading, stale)
    )]
    fn id(cx: &Cx<'_>) -> u64 {
        cx.conn().map_or(0, |conn| conn.id)
    }

    /// Get the current connection name
    #[command(
        route = session,
        name = "CLIENT GETNAME",
        since = "2.6.9",
        group = "connection",
        complexity = "O(1)",
        flags(noscript, loading, stale)
    )]
    fn getname(session: &mut Session) -> Option<Vec<u8>> {
        (!session.name.is_empty()).then(|| session.name.clone())
    }

    /// Set the current connection name
    #[command(
        route = session,
        name = "CLIENT SETNAME",
        since = "2.6.9",
        group = "connection",
        complexity = "O(1)",
        flags(noscript, loading, stale)
    )]
    fn setname(session: &mut Session, connection_name: &[u8]) -> Result<(), Error> {
        set_name(session, connection_name)
    }

    /// Set client or connection specific info
    #[command(
        route = session,
        name = "CLIENT SETINFO",
        since = "7.2.0",
        group = "connection",
        complexity = "O(1)",
        flags(noscript, loading, stale)
    )]
    fn setinfo(session: &mut Session, attribute: &[u8], value: &[u8]) -> Result<(), Error> {
        let (slot, name) = match attribute.to_ascii_lowercase().as_slice() {
            b"lib-name" => (&mut session.library, "lib-name"),
            b"lib-ver" => (&mut session.library_version, "lib-ver"),
            _ => {
                let quoted = [b"ERR Unrecognized option '", attribute, b"'"].concat();
                return Err(Error::bytes(quoted));
            }
        };
        if !is_plain(value) {
            return Err(Error::text(format!(
                "ERR {name} cannot contain spaces, newlines or special characters."
            )));
        }
        *slot = value.to_vec();
        Ok(())
    }

    /// Get the list of client connections
    #[command(
        route = all,
        loose,
        gather = join,
        name = "CLIENT LIST",
        since = "2.4.0",
        group = "connection",
        complexity = "O(N) where N is the number of client connections",
        flags(admin, noscript, loading, stale),
        meta(tips = "nondeterministic_output")
    )]
    fn list(_store: &Store, cx: &Cx<'_>, filter: Rest<'_>) -> Result<Lines, Error> {
        let filter = ListFilter::read(&filter.iter().collect::<Vec<_>>())?;
        let mut lines = Lines::new();
        cx.server().for_each_conn(|conn| {
            if let Some(rank) = filter.rank(conn.facts) {
                lines.push((rank, line(&conn, cx.now_ms())));
            }
        });
        Ok(lines)
    }

    /// Returns information about the current client connection.
    #[command(
        route = all,
        loose,
        gather = join,
        name = "CLIENT INFO",
        since = "6.2.0",
        group = "connection",
        complexity = "O(1)",
        flags(noscript, loading, stale),
        meta(tips = "nondeterministic_output")
    )]
    fn info(_store: &Store, cx: &Cx<'_>) -> Result<Lines, Error> {
        let caller = cx.conn().map(|conn| conn.id);
        let mut lines = Lines::new();
        cx.server().for_each_conn(|conn| {
            if caller == Some(conn.facts.id) {
                lines.push((0, line(&conn, cx.now_ms())));
            }
        });
        Ok(lines)
    }

    /// Kill the connection of a client
    #[command(
        route = all,
        loose,
        gather = count,
        barrier,
        name = "CLIENT KILL",
        since = "2.4.0",
        group = "connection",
        complexity = "O(N) where N is the number of client connections",
        flags(admin, noscript, loading, stale)
    )]
    fn kill(_store: &Store, cx: &Cx<'_>, filter: Rest<'_, 1>) -> Result<Killed, Error> {
        let filter = KillFilter::read(&filter.iter().collect::<Vec<_>>())?;
        let caller = cx.conn().map(|conn| conn.id);
        let mut count = 0;
        cx.server().for_each_conn(|conn| {
            if filter.matches(conn.facts, caller, cx.now_ms()) {
                // Whoever kills itself reads the reply first.
                let is_caller = caller == Some(conn.facts.id);
                let when = if is_caller { Close::AfterReplies } else { Close::Now };
                cx.server().close(conn.facts.handle(), when);
                count += 1;
            }
        });
        Ok(Killed { count, is_old: filter.is_old })
    }

    /// Set client eviction mode for the current connection
    #[command(
        route = session,
        name = "CLIENT NO-EVICT",
        since = "7.0.0",
        group = "connection",
        complexity = "O(1)",
        flags(admin, noscript, loading, stale)
    )]
    fn no_evict(session: &mut Session, enabled: Switch) {
        session.is_kept = enabled == Switch::On;
    }

    /// Controls whether commands sent by the client affect the LRU/LFU of accessed keys.
    #[command(
        route = session,
        name = "CLIENT NO-TOUCH",
        since = "7.2.0",
        group = "connection",
        complexity = "O(1)",
        flags(noscript, loading, stale)
    )]
    fn no_touch(session: &mut Session, enabled: Switch) {
        session.is_unnoticed = enabled == Switch::On;
    }

    /// Instruct the server whether to reply to commands
    #[command(
        route = session,
        name = "CLIENT REPLY",
        since = "3.2.0",
        group = "connection",
        complexity = "O(1)",
        flags(noscript, loading, stale)
    )]
    fn reply(session: &mut Session, reply: &mut Reply<'_, Resp>, on_off_skip: Replying) {
        match on_off_skip {
            Replying::On => {
                session.reply = ReplyMode::OnAtOnce;
                reply.put(Status::OK);
            }
            Replying::Off => session.reply = ReplyMode::Off,
            // Where there are no replies there is none to skip.
            Replying::Skip if session.reply == ReplyMode::Off => {}
            Replying::Skip => session.reply = ReplyMode::SkipNext,
        }
    }

    /// Show helpful text about the different subcommands
    #[command(
        route = local,
        name = "CLIENT HELP",
        since = "5.0.0",
        group = "connection",
        complexity = "O(1)",
        flags(loading, stale)
    )]
    fn help(cx: &Cx<'_>) -> Frame {
        help(cx, "CLIENT", HELP)
    }
}

const HELP: &[&str] = &[
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made from the specified address",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made to specified local address",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Kill connections by type.",
    "    * USER <username>",
    "      Kill connections authenticated by <username>.",
    "    * SKIPME (YES|NO)",
    "      Skip killing current connection (default: yes).",
    "    * ID <client-id>",
    "      Kill connections by client id.",
    "    * MAXAGE <maxage>",
    "      Kill connections older than the specified age.",
    "LIST [options ...]",
    "    Return information about client connections. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "    * ID <client-id> [...]",
    "      Return clients of these ids.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction.",
    "NO-TOUCH (ON|OFF)",
    "    Will not touch LRU/LFU stats when this mode is on.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETINFO <option> <value>",
    "    Set client meta attr. Options are:",
    "    * LIB-NAME: the client lib name.",
    "    * LIB-VER: the client lib version.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
];

/// All shards' lines as one text, in their order.
fn join(parts: impl Iterator<Item = Result<Lines, Error>>) -> Result<Verbatim<String>, Error> {
    let mut lines: Lines = parts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    lines.sort();
    Ok(Verbatim("txt", lines.into_iter().map(|(_, line)| line + "\n").collect()))
}

/// How many were killed, in the form that was asked in.
fn count(parts: impl Iterator<Item = Result<Killed, Error>>) -> Result<Frame, Error> {
    let (mut total, mut is_old) = (0, false);
    for part in parts {
        let killed = part?;
        total += killed.count;
        is_old = killed.is_old;
    }
    match (is_old, total) {
        (true, 0) => Err(NO_SUCH_CLIENT),
        (true, _) => Ok(Frame::status("OK")),
        (false, total) => Ok(Frame::Integer(total as i64)),
    }
}

/// Whether something is to be.
#[derive(Arg, Clone, Copy, Debug, PartialEq, Eq)]
enum Switch {
    On,
    Off,
}

/// What is to become of replies.
#[derive(Arg, Clone, Copy, Debug, PartialEq, Eq)]
enum Replying {
    On,
    Off,
    Skip,
}
