//! A key's versions in their order, as edges.

use crate::graph::{Graph, Label, Node, Reason};

/// A state of a key. Where writes of several operations lie between two states that were read, what
/// was read leaves their order open, and they make up one version.
#[derive(Debug, Default)]
pub(crate) struct Version {
    /// Who made it; nobody made what was there at the start.
    pub(crate) writers: Vec<Node>,
    /// Who saw it, other than those who wrote the next one.
    pub(crate) readers: Vec<Node>,
}

/// Adds the edges that say that each version comes after the one before it, and that readers are
/// between the writers of what they saw and those of the next version.
pub(crate) fn link(graph: &mut Graph, key: u32, versions: &[Version]) {
    let label = |reason| Label { reason, key };
    let mut source = None;
    for (at, version) in versions.iter().enumerate() {
        if !version.writers.is_empty() {
            source = Some(after_all(graph, &version.writers, label(Reason::WriteWrite)));
        }
        if let Some(source) = source {
            for &reader in &version.readers {
                join(graph, source, reader, label(Reason::WriteRead));
            }
        }
        let Some(next) = versions.get(at + 1) else {
            break;
        };
        let target = before_all(graph, &next.writers, label(Reason::WriteWrite));
        for &reader in &version.readers {
            join(graph, reader, target, label(Reason::ReadWrite));
        }
        if let Some(source) = source {
            join(graph, source, target, label(Reason::WriteWrite));
        }
    }
}

/// An edge, except from an operation to itself: it reads before it writes, and writes several
/// values at once.
fn join(graph: &mut Graph, from: Node, to: Node, label: Label) {
    if from != to {
        graph.add(from, to, label);
    }
}

/// A node that is after all of some operations.
pub(crate) fn after_all(graph: &mut Graph, operations: &[Node], label: Label) -> Node {
    if let [only] = operations {
        return *only;
    }
    let node = graph.node();
    operations.iter().for_each(|&operation| {
        graph.add(operation, node, label);
    });
    node
}

/// A node that is before all of some operations.
fn before_all(graph: &mut Graph, operations: &[Node], label: Label) -> Node {
    if let [only] = operations {
        return *only;
    }
    let node = graph.node();
    operations.iter().for_each(|&operation| {
        graph.add(node, operation, label);
    });
    node
}
