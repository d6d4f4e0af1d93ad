//! Measures servers under load: a driver, a comparison of servers in turn, and the floor.
//!
//! * [`client`] drives one server with many pipelined connections from one thread.
//! * [`compare`] runs several servers in turn on the same core and reports ratios of medians.
//! * [`scenario`] holds the presets, each with the bars that its figures are held against.
//! * [`floor`] is a server that parses nothing: the least CPU that a request can cost on this path.
//!
//! Client and floor share one way to the kernel, [`ring`]. What is not measured itself, as filling
//! with requests of many kinds and asking for figures, goes over a [`pipeline`].

pub mod address;
pub mod chart;
pub mod client;
pub mod compare;
pub mod cores;
pub mod floor;
pub mod histogram;
pub mod info;
pub mod pipeline;
pub mod random;
pub mod report;
pub mod ring;
pub mod scenario;
pub mod server;
pub mod setting;
pub mod stat;
pub mod usage;
pub mod verdict;
pub mod workload;
pub mod zipf;
