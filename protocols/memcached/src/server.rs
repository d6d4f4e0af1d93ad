//! Commands about the server as a whole.

use kevy_keyspace::Expiry;
use kevy_rt::{Close, Cx, Open, Out, Rest, commands};

use crate::Text;
use crate::classic::{Flags, Line, Quiet};
use crate::error::Error;
use crate::item::expiry;
use crate::number::signed_32;
use crate::store::Items;

/// What is remembered of a client: nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Session;

impl kevy_rt::Session for Session {}

impl<S> Open<S> for Session {
    fn open(_: &mut S, _: &Cx<'_>, _: &mut Out) -> Option<Self> {
        Some(Session)
    }
}

/// The set of commands about the server as a whole.
#[derive(Debug)]
pub struct Control;

#[commands(store = impl Items, wire = Text, session = Session)]
impl Control {
    /// Removes all keys, now or after some seconds
    #[command(route = all, write, gather = first)]
    fn flush_all(
        db: &mut impl Items,
        cx: &Cx<'_>,
        delay: Option<&[u8]>,
        quiet: Option<&[u8]>,
    ) -> Result<Line, Error> {
        let last = quiet.or(delay);
        let quiet = Quiet(last == Some(b"noreply"));
        let delay = delay.filter(|&delay| delay != b"noreply" || !quiet.0);
        let delay = delay.map_or(Some(0), signed_32);
        let delay = delay.ok_or(Error::EXPTIME.unless(quiet.0))?;
        let (cache, keyspace) = db.parts();
        cache.counters.cmd_flush.add(1);
        cache.flush_at_ms = match expiry(delay, cx.now_ms()) {
            Expiry::At(at_ms) if at_ms > cx.now_ms() => Some(at_ms),
            _ => {
                keyspace.dbs[0].clear();
                None
            }
        };
        Ok(quiet.line("OK"))
    }

    /// Tells which version the server is
    #[command(route = local)]
    fn version(_ignored: Rest<'_>) -> Line {
        Line::new(concat!("VERSION ", env!("CARGO_PKG_VERSION")))
    }

    /// Is accepted and has no effect: the log says what it says
    #[command(route = local)]
    fn verbosity(level: Flags, quiet: Quiet) -> Line {
        let _ = level;
        quiet.line("OK")
    }

    /// Closes the connection
    #[command(route = session)]
    fn quit(_session: &mut Session, cx: &Cx<'_>, _ignored: Rest<'_>) {
        cx.close(Close::AfterReplies);
    }

    /// Is off, as clients need no password
    #[command(route = local)]
    fn shutdown(_ignored: Rest<'_>) -> Line {
        Line::new("ERROR: shutdown not enabled")
    }
}
