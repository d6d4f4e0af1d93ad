//! The Redis server as a library: its store, its sessions and its command sets.
