//! What clients did and saw.

/// A part of an operation. Keys are numbers, and each key is of one type throughout: a register, a
/// list or a set. A value is written to its key at most once in a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The register held this value; `None` if nothing was ever written to it.
    Read {
        /// The register.
        key: u32,
        /// What it held.
        value: Option<u64>,
    },
    /// The register's value is replaced.
    Write {
        /// The register.
        key: u32,
        /// What it holds from now on.
        value: u64,
    },
    /// A value is put at the list's end.
    Append {
        /// The list.
        key: u32,
        /// Its new last value.
        value: u64,
    },
    /// The list held these values, in this order.
    ReadList {
        /// The list.
        key: u32,
        /// All its values; none if nothing was appended yet.
        values: Vec<u64>,
    },
    /// A value is put into the set.
    Add {
        /// The set.
        key: u32,
        /// Its new member.
        value: u64,
    },
    /// The set held these values, in whatever order.
    ReadSet {
        /// The set.
        key: u32,
        /// All its members.
        values: Vec<u64>,
    },
}

impl Action {
    /// The key that it reads or writes.
    pub fn key(&self) -> u32 {
        match *self {
            Action::Read { key, .. }
            | Action::Write { key, .. }
            | Action::Append { key, .. }
            | Action::ReadList { key, .. }
            | Action::Add { key, .. }
            | Action::ReadSet { key, .. } => key,
        }
    }
}

/// Actions that a client wants to happen at one moment, in this order: a read sees the writes
/// before it in its own operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who sent it.
    pub client: u32,
    /// When it was sent, in ticks of any clock that all clients share.
    pub sent: u64,
    /// When its reply was read. `None` if no reply came: it may have taken effect at any time after
    /// it was sent, or never.
    pub replied: Option<u64>,
    /// What it did and saw.
    pub actions: Vec<Action>,
}

/// What the order in which a client sent its operations says about the order in which they ran,
/// where it sends several before the first is answered. It is no part of strict serializability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientOrder {
    /// Nothing.
    #[default]
    Free,
    /// Those on the same key ran in the order in which they were sent.
    Key,
    /// All ran in the order in which they were sent.
    All,
}

/// Operations of all clients. Those of one client are in the order in which it sent them, which
/// matters only if `client_order` says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The operations.
    pub operations: Vec<Operation>,
    /// What is asked beyond strict serializability.
    pub client_order: ClientOrder,
}

impl From<Vec<Operation>> for History {
    fn from(operations: Vec<Operation>) -> Self {
        History { operations, client_order: ClientOrder::Free }
    }
}
