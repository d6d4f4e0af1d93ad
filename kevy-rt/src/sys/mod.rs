//! The only unsafe code of the runtime: what the kernel, the processor and the rings need.

mod prefetch;
mod waker;

pub(crate) use prefetch::prefetch_line;
pub(crate) use waker::Waker;
