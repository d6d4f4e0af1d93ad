//! The Redis server as a library: its store, its sessions and its command sets.

pub mod config;
