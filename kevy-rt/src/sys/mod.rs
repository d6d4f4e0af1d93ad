//! The only unsafe code of the runtime: what the kernel, the processor and the rings need.

mod prefetch;
mod ring_cells;
pub(crate) mod sync;
mod waker;

pub(crate) use prefetch::prefetch_line;
pub(crate) use ring_cells::{Consumer, Producer, ring};
pub(crate) use waker::Waker;
