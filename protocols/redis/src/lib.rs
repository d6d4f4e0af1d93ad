//! The Redis server as a library: its store, its sessions and its command sets.
#![forbid(unsafe_code)]

pub mod client;
pub mod config;
pub mod configuration;
pub mod connection;
mod expiry;
mod extended;
pub mod glob;
mod help;
pub mod keys;
pub mod objects;
mod scan;
pub mod server;
pub mod session;
pub mod store;
pub mod strings;
#[cfg(test)]
mod testing;
