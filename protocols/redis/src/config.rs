//! What the server is configured with. Each shard's store has a copy of its own, and CONFIG SET
//! changes all of them, so nothing here is locked.

/// The value of every directive.
#[derive(Clone, Debug)]
pub struct Config {
    databases: u16,
}

impl Default for Config {
    fn default() -> Self {
        Config { databases: 16 }
    }
}

impl Config {
    /// How many numbered databases there are.
    pub fn databases(&self) -> u16 {
        self.databases
    }
}
