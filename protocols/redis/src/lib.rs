//! The Redis server as a library: its store, its sessions and its command sets.
#![forbid(unsafe_code)]

pub mod client;
pub mod config;
pub mod configuration;
pub mod connection;
pub mod glob;
mod help;
pub mod server;
pub mod session;
pub mod store;
#[cfg(test)]
mod testing;
