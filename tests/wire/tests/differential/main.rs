//! The same commands to the oracle and to our server: the replies are the same bytes.
//!
//! Scripts, a file per family of commands, hold every command with its options, errors and edges;
//! [`random`] runs seeded sequences over a few keys. Where a reply is free to differ, in its order
//! or by the clock, the script says how far (see [`script`]). All of it runs in RESP2 and RESP3, in
//! every setup.

mod compare;
mod connection;
mod expiry;
mod introspection;
mod keyspace;
mod memory;
mod numbers;
mod random;
mod script;
mod strings;
mod transactions;
