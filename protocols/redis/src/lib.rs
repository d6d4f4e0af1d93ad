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
//! [`Redis`] joins the sets to a server. One of your own may hold them, as [`RedisSets`], beside sets of
//! your own: `examples/redis-plus`.
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

use kevy_resp::Resp;
use kevy_rt::reference::Reference;
use kevy_rt::{Command, CommandSet, Part};

use crate::client::Client;
use crate::configuration::Configuration;
use crate::connection::Connection;
use crate::info::Info;
use crate::introspection::Introspection;
use crate::keys::{Databases, Keys};
use crate::lcs::Subsequences;
use crate::memory::{KeyMemory, ServerMemory};
use crate::moves::{Moves, Renames};
use crate::objects::{Objects, Uses};
use crate::server::Server;
use crate::session::Session;
use crate::store::Store;
use crate::strings::Strings;
use crate::transactions::Transactions;

/// All sets of this crate, for a server that has other sets or ports beside them.
///
/// Its store has the parts [`Store`], `Config`, `Keyspace` and `Db`, its session has [`Session`].
#[derive(Debug)]
pub struct RedisSets;

macro_rules! sets {
    ($first:ty, $($set:ty),+ $(,)?) => {
        impl<S: 'static, X: 'static> CommandSet<S, X> for RedisSets
        where
            $first: CommandSet<S, X>,
            $($set: CommandSet<S, X>),+
        {
            // What it is in itself: no commands.
            const COMMANDS: &'static [Command<S>] = &[];
            const PART: Part<S> = <$first as CommandSet<S, X>>::PART;

            const SETS: &'static [&'static [Command<S>]] = &[
                <$first as CommandSet<S, X>>::COMMANDS,
                $(<$set as CommandSet<S, X>>::COMMANDS),+
            ];
            const PARTS: &'static [Part<S>] = &[
                <$first as CommandSet<S, X>>::PART,
                $(<$set as CommandSet<S, X>>::PART),+
            ];
        }
    };
}

sets! {
    Connection, Client, Configuration, Introspection, Info, Server,
    Strings, Subsequences, Keys, Renames, Moves, Databases, Objects, Uses, KeyMemory,
    ServerMemory, Transactions,
}

kevy_rt::server! {
    /// The Redis server: all sets of this crate over one wire.
    pub Redis: store = Store, ports = [ Resp, Session => [RedisSets] ]
}

/// The commands of the Redis server as its clients are told of them, written out.
pub fn reference() -> Reference {
    Reference::of::<Redis>(0).without(introspection::is_hidden)
}
