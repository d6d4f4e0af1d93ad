//! The memcached protocols on kevy-rt: the classic text protocol and the meta commands, as memcached
//! 1.6 speaks them.
//!
//! ```text
//! parse      lines and data blocks: the wire        classic   get set incr delete ...
//! number     numbers as C reads them                storing   what set add append cas ... do
//! error      error replies                          meta      mg ms md ma mn me
//! item       what is kept beside a value            server    flush_all version quit ...
//! store      a shard's data, alone or shared        stats     stats
//! ```
//!
//! [`Memcached`] is a whole server. A server whose keys other protocols use too has a store of its
//! own that implements [`Items`], and serves the sets over the wire [`Text`] on a port beside its
//! others.
#![forbid(unsafe_code)]

mod classic;
mod error;
mod item;
mod meta;
mod number;
mod parse;
mod server;
mod stats;
mod store;
mod storing;
#[cfg(test)]
mod tests;

pub use classic::Classic;
pub use error::Error;
pub use item::KEY_BYTES;
pub use meta::Meta;
pub use server::{Control, Session};
pub use stats::Statistics;
pub use store::{Cache, Items, Settings, Store, StoreSettings, asks_room};

use kevy_rt::{Args, Burst, Encode, ParseLimits, Reply, Resume, Wire};

/// The wire: lines, and data blocks behind some of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text;

impl Wire for Text {
    type Scope = ();
    type Refusal = Error;

    /// `limits.argument_bytes` bounds an item, as memcached counts its bytes.
    #[inline]
    fn parse(
        input: &[u8],
        resume: &mut Resume,
        limits: &ParseLimits,
        burst: &mut Burst,
    ) -> Result<(), Error> {
        parse::parse(input, resume, limits, burst)
    }

    /// Values need no head.
    #[inline]
    fn list(_: &mut Reply<'_, Self>, _: usize) {}

    #[inline]
    fn list_end(reply: &mut Reply<'_, Self>) {
        reply.out().extend(b"END\r\n");
    }

    fn unknown(args: Args<'_>, _: Option<&'static str>, reply: &mut Reply<'_, Self>) {
        match parse::error_of(args) {
            Some(text) => {
                let out = reply.out();
                out.count_error();
                out.extend(text);
                out.extend(b"\r\n");
            }
            None => Error::UNKNOWN.encode(reply),
        }
    }
}

kevy_rt::server! {
    /// A memcached server: all sets of this crate over one wire.
    pub Memcached: store = Store, ports = [
        Text, Session => [Classic, Meta, Control, Statistics]
    ]
}
