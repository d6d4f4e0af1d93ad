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

use kevy_resp::Resp;

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

kevy_rt::server! {
    /// The Redis server: all sets of this crate over one wire.
    pub Redis: store = Store, ports = [
        Resp, Session => [
            Connection, Client, Configuration, Introspection, Info, Server,
            Strings, Subsequences, Keys, Renames, Moves, Databases, Objects, Uses, KeyMemory,
            ServerMemory, Transactions,
        ]
    ]
}
