//! Decides whether a history of operations was strictly serializable: whether all of them could
//! have run one after another, each at some moment between its being sent and its being answered,
//! and every read would have seen what it saw.
//!
//! ```
//! use kevy_checker::{Action, History, Operation, Verdict, check};
//!
//! let write = Operation {
//!     client: 1,
//!     sent: 0,
//!     replied: Some(5),
//!     actions: vec![Action::Write { key: 0, value: 7 }],
//! };
//! let read = Operation {
//!     client: 2,
//!     sent: 6,
//!     replied: Some(9),
//!     actions: vec![Action::Read { key: 0, value: None }],
//! };
//! // The write was answered before the read was sent, and yet it wasn't seen.
//! let history = History::from(vec![write, read]);
//! assert!(matches!(check(&history), Verdict::Violation(_)));
//! ```
//!
//! # Method
//!
//! Operations are the nodes of a graph, whose edges say "must have run before": a write before the
//! reads that saw it and before the write that replaced it, a read before the write that replaced
//! what it saw, an operation that was answered before one that was sent later. There is a serial
//! order if and only if the graph has no cycle. Lists and sets tell the order of their writes by
//! what was read ([`check`] takes every key by itself for this). Registers do where a write also
//! read what it replaced; chains of such writes are ordered among each other by real time, by what
//! the rest of the graph implies and, for the few that stay open, by a search.

#![forbid(unsafe_code)]

mod check;
mod cycles;
mod explain;
mod facts;
mod format;
mod graph;
mod history;
mod lists;
mod registers;

mod sets;
mod settle;
mod topology;
mod verdict;
mod versions;

pub use check::check;
pub use format::{FormatError, load, save};
pub use history::{Action, ClientOrder, History, Operation};
pub use verdict::{Anomaly, Verdict};
