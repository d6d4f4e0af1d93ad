//! INFO, and the counters that it tells.

mod footprint;
mod observe;
mod part;
mod rates;
mod sections;
mod system;
mod text;

use kevy_resp::{Resp, Verbatim};
use kevy_rt::{Cx, Rest, commands};

pub(crate) use self::footprint::{Footprint, difference, ratio};
pub(crate) use self::observe::tell;
pub(crate) use self::part::Part;
pub use self::rates::Rates;
pub(crate) use self::sections::Wanted;
pub(crate) use self::system::resident_bytes;
use crate::store::Store;

/// The set of commands about the server's counters.
#[derive(Debug)]
pub struct Info;

#[commands(store = Store, wire = Resp)]
impl Info {
    /// Get information and statistics about the server
    #[command(
        route = all,
        loose,
        gather = report,
        since = "1.0.0",
        group = "server",
        complexity = "O(1)",
        flags(loading, stale),
        meta(
            categories = "dangerous",
            tips = "nondeterministic_output,request_policy:all_shards,response_policy:special"
        )
    )]
    fn info(store: &Store, cx: &Cx<'_>, section: Rest<'_>) -> Part {
        Part::collect(store, cx, Wanted::read(section.iter()))
    }

    /// Reset the stats returned by INFO
    #[command(
        route = all,
        loose,
        gather = all_ok,
        barrier,
        name = "CONFIG RESETSTAT",
        since = "2.0.0",
        group = "server",
        complexity = "O(1)",
        flags(admin, noscript, loading, stale)
    )]
    fn resetstat(store: &Store, cx: &Cx<'_>) {
        store.keyspace.stats().reset();
        cx.server().metrics().reset();
        cx.server().commands_over::<Resp>().for_each(|(_, stats)| stats.reset());
    }
}

fn report(parts: impl Iterator<Item = Part>) -> Verbatim<String> {
    let mut parts: Vec<Part> = parts.collect();
    parts.sort_by_key(|part| part.shard);
    Verbatim("txt", text::render(&parts))
}
