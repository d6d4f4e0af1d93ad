//! What the tests over the wire share: servers, clients, replies, and the setups they run in.
//!
//! Two kinds of server are started as processes. *Ours* is this workspace's `redis-server`; the
//! *oracle* is the distribution's Redis, whose replies are what ours have to be. A [`Server`] runs
//! on an address of its own and dies with its handle; a [`Client`] is a blocking connection that
//! keeps the raw bytes of each reply. Nothing here waits for a fixed time: a test waits for an
//! event, until a deadline that only a fault reaches.

#![forbid(unsafe_code)]

mod binary;
mod client;
mod process;
mod program;
mod random;
mod reply;
mod server;
mod setup;
mod temp;
mod wait;
mod words;

pub use client::{Client, Failure, Outcome, Received, encode};
pub use process::{open_files, resident_bytes, send_signal};
pub use program::Program;
pub use random::Random;
pub use reply::{Reply, parse};
pub use server::{Address, Both, Exited, Launch, Server, fresh_address};
pub use setup::{Reactor, Setup, effort, is_self_check, matrix, smallest_and_largest};
pub use temp::TempDir;
pub use wait::{DEADLINE, notice, wait_until};
pub use words::{printable, words};
