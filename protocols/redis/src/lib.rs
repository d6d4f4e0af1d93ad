//! The Redis server as a library: its store, its sessions and its command sets.
//!
//! ```text
//! store           the numbered databases of a shard, with its copy of the configuration
//! session         what is remembered of a client
//! config          directives, redis.conf, the command line
//!
//! connection      PING HELLO AUTH SELECT ...          strings   GET SET MGET INCR ...
//! client          CLIENT                              keys      DEL EXPIRE SCAN, FLUSHALL ...
//! configuration   CONFIG                              moves     RENAME COPY MOVE ...
//! introspection   COMMAND                             lcs       LCS
//! info            INFO                                objects   OBJECT
//! server          TIME SHUTDOWN ...                   memory    MEMORY
//!                                                     transactions  MULTI EXEC WATCH ...
//! ```
//!
//! [`Redis`] joins the sets to a server. One of your own may hold them beside sets of your own: its
//! store implements `Has` for [`Store`] and for what that is made of.
#![forbid(unsafe_code)]

pub mod client;
pub mod config;
pub mod configuration;
pub mod connection;
mod database;
mod expiry;
mod extended;
pub mod glob;
mod help;
pub mod info;
pub mod introspection;
pub mod keys;
pub mod lcs;
pub mod memory;
pub mod moves;
pub mod objects;
mod scan;
pub mod server;
pub mod session;
pub mod store;
pub mod strings;
#[cfg(test)]
mod testing;
pub mod transactions;

#[doc(hidden)]
pub use kevy_resp::Resp;
use kevy_rt::reference::Reference;

/// Declares a server of all sets of this crate over [`store::Store`], with further ports behind
/// theirs:
///
/// ```text
/// kevy_redis::redis_server! { pub Bundled: Http, () => [Status] }
/// ```
#[macro_export]
macro_rules! redis_server {
    (
        $(#[$attribute:meta])* $vis:vis $server:ident $(:
        $( $wire:ty, $session:ty => [ $($set:ty),+ $(,)? ] );+ $(;)? )?
    ) => {
        ::kevy_rt::server! {
            $(#[$attribute])* $vis $server: store = $crate::store::Store, ports = [
                $crate::Resp, $crate::session::Session => [
                    $crate::connection::Connection,
                    $crate::client::Client,
                    $crate::configuration::Configuration,
                    $crate::introspection::Introspection,
                    $crate::info::Info,
                    $crate::server::Server,
                    $crate::strings::Strings,
                    $crate::lcs::Subsequences,
                    $crate::keys::Keys,
                    $crate::moves::Renames,
                    $crate::moves::Moves,
                    $crate::keys::Databases,
                    $crate::objects::Objects,
                    $crate::objects::Uses,
                    $crate::memory::KeyMemory,
                    $crate::memory::ServerMemory,
                    $crate::transactions::Transactions,
                ];
                $($( $wire, $session => [ $($set),+ ] );+)?
            ]
        }
    };
}

redis_server! {
    /// The Redis server: all sets of this crate over one wire.
    pub Redis
}

/// The commands of the Redis server as its clients are told of them, written out.
pub fn reference() -> Reference {
    Reference::of::<Redis>(0).without(introspection::is_hidden)
}
