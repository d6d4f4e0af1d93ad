//! io_uring behind a safe face.
//!
//! [`Ring`] takes submissions and gives completions. It owns all that the kernel borrows: the
//! receive buffers, of which the caller gets a [`Chunk`] at a time, and the output of every send in
//! flight, which comes back with its completion. So nobody can free or change what the kernel
//! still reads or writes.

mod buffers;
mod flight;
mod ring;

pub(crate) use buffers::{Chunk, Pool};
pub(crate) use ring::{Completion, Ring, Setup, TaskWork, Whose};
