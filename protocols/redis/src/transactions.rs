//! MULTI, EXEC, DISCARD, WATCH, UNWATCH: requests that run as one.
//!
//! The runtime keeps what a connection queues and watches; here is what the commands are called.

use kevy_resp::Resp;
use kevy_rt::{Key, commands};

use crate::store::Db;

/// The set of commands about transactions.
#[derive(Debug)]
pub struct Transactions;

#[commands(store = Db, wire = Resp)]
impl Transactions {
    /// Queues the requests that follow, to be run as one.
    #[command(
        route = queue(open),
        since = "1.2.0",
        group = "transactions",
        complexity = "O(1)",
        flags(noscript, loading, stale, fast, allow_busy)
    )]
    fn multi() {}

    /// Runs the requests that were queued, unless a watched key was changed.
    #[command(
        route = queue(run),
        since = "1.2.0",
        group = "transactions",
        complexity = "Depends on the requests.",
        flags(noscript, loading, stale, skip_slowlog)
    )]
    fn exec() {}

    /// Drops the requests that were queued, and the watched keys.
    #[command(
        route = queue(drop),
        since = "2.0.0",
        group = "transactions",
        complexity = "O(N) where N is the number of queued requests.",
        flags(noscript, loading, stale, fast, allow_busy)
    )]
    fn discard() {}

    /// Watches keys: if one of them changes, the next EXEC runs nothing.
    #[command(
        route = queue(watch(1..)),
        since = "2.2.0",
        group = "transactions",
        complexity = "O(1) for every key.",
        flags(noscript, loading, stale, fast, allow_busy),
        meta(key_flags = "RO")
    )]
    fn watch(_key: Key<'_>) {}

    /// Drops the watched keys.
    #[command(
        route = queue(unwatch),
        since = "2.2.0",
        group = "transactions",
        complexity = "O(1)",
        flags(noscript, loading, stale, fast, allow_busy)
    )]
    fn unwatch() {}
}
