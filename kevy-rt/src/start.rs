//! From a builder to running shards.

use crate::commands::Commands;
use crate::runtime::{Builder, Error, Runtime};

/// The thread that waits for signals.
#[derive(Debug)]
pub(crate) struct Signals;

pub(crate) fn start<C: Commands>(_: Builder<C>) -> Result<Runtime, Error> {
    Err(Error::Invalid("not yet".into()))
}
