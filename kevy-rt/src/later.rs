//! How a reply comes that isn't there when its handler has returned.

use std::fmt;

use crate::offload::Jobs;
use crate::stream::Pieces;

/// It keeps a slot of its connection's reply queue, wherever it comes from.
pub(crate) enum Later {
    /// Whole, from the threads beside the shards.
    Job(Box<dyn Jobs>),
    /// In pieces, as they are sent.
    Pieces(Box<dyn Pieces>),
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Later")
    }
}
