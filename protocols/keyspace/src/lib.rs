//! Keys in memory, for any protocol: what a shard of a server keeps, found by the hash that the
//! runtime computed once.
//!
//! ```text
//! Keyspace ── Db 0 ── index      a key's hash to where its record lies: two cache misses, both can
//!    │         │                 be asked for ahead
//!    │         ├───── heap       records: header, extra words, expiry, key, value in one place of a chunk
//!    │         ├───── outside    long values, shared with replies; values of other types
//!    │         └───── due        when the next of each block expires
//!    ├ Clock, Stats  ...
//!    └ candidates                which keys go when room is needed
//! ```
//!
//! No insertion, removal or tick takes longer with more keys: the index grows by segments, memory
//! is taken in chunks, what was cleared is freed by and by, and what was removed leaves holes that
//! are filled from the end.
//!
//! A record of a key of 16 bytes and a value of 16 takes 40 bytes and some 13 of the index.
//!
//! Unsafe code is in `space` only.

#![deny(unsafe_code)]

mod arrays;
mod bucket;
mod db;
mod due;
mod heap;
mod index;
mod keyspace;
mod outside;
mod record;
mod share;
#[expect(
    unsafe_code,
    reason = "maps memory; headers are written while the rest of a record is lent"
)]
mod space;
#[cfg(test)]
mod tests;
mod usage;

pub use db::{Db, Entry, Expiry};
pub use keyspace::{Among, Clock, Keyspace, Policy, Stats};
pub use outside::{Detached, NoObject, Object, SHARE_BYTES};
pub use record::{Content, Extra, Record};
pub use share::{Eviction, Share, Total};
pub use usage::Tracking;
