//! The only unsafe code of the runtime: what the kernel, the processor and the rings need.

mod clock;
mod cores;
mod descriptors;
mod pages;
mod prefetch;
mod ring_cells;
mod stream;
pub(crate) mod sync;
#[cfg(target_os = "linux")]
pub(crate) mod uring;
mod waker;
mod watched;

pub(crate) use clock::thread_cpu_ns;
pub(crate) use cores::{allowed_cores, leave_core, pin_to_core};
#[cfg(test)]
pub(crate) use descriptors::lower_descriptor_limit;
pub(crate) use descriptors::raise_descriptor_limit;
pub(crate) use pages::{prefer_huge_pages, release_pages};
pub(crate) use prefetch::prefetch_line;
#[cfg(test)]
pub(crate) use ring_cells::ring_from;
pub(crate) use ring_cells::{Consumer, Producer, ring};
pub(crate) use stream::append_streaming;
pub(crate) use waker::Waker;
pub(crate) use watched::{Interest, Watched, is_readable};
