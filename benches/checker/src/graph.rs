//! A directed graph with labelled edges that can be taken back in the reverse order of their
//! addition.
//!
//! Nodes are numbers: first the operations of a history, then auxiliary ones, which stand for a
//! moment between operations and keep the number of edges linear. Every node has a list of the
//! edges that leave it and one of those that enter it, both chained through the edges.

/// A node's number.
pub(crate) type Node = u32;

/// An edge's number: edges are numbered in the order of their addition.
pub(crate) type EdgeNumber = u32;

/// No edge: the end of a chain.
const NONE: EdgeNumber = u32::MAX;

/// Why one node is before another: what the first did and what the second did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The first was answered before the second was sent.
    Time,
    /// A client sent the first before the second.
    Client,
    /// Both wrote.
    WriteWrite,
    /// The second saw what the first wrote.
    WriteRead,
    /// The first didn't see what the second wrote.
    ReadWrite,
}

/// An edge's reason, and which of the checked keys it is about (nothing for [`Reason::Time`] and
/// [`Reason::Client`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) reason: Reason,
    pub(crate) key: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    pub(crate) from: Node,
    pub(crate) to: Node,
    pub(crate) label: Label,
    next_out: EdgeNumber,
    next_in: EdgeNumber,
}

pub(crate) struct Graph {
    edges: Vec<Edge>,
    first_out: Vec<EdgeNumber>,
    first_in: Vec<EdgeNumber>,
    /// How many nodes are operations.
    operations: usize,
}

impl Graph {
    /// A graph of these many operations.
    pub(crate) fn new(operations: usize) -> Self {
        Graph {
            edges: Vec::new(),
            first_out: vec![NONE; operations],
            first_in: vec![NONE; operations],
            operations,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.first_out.len()
    }

    pub(crate) fn edge_count(&self) -> usize {
        self.edges.len()
    }

    pub(crate) fn is_operation(&self, node: Node) -> bool {
        (node as usize) < self.operations
    }

    /// A new auxiliary node.
    pub(crate) fn node(&mut self) -> Node {
        self.first_out.push(NONE);
        self.first_in.push(NONE);
        Node::try_from(self.first_out.len() - 1).expect("histories have less than 2^32 nodes")
    }

    pub(crate) fn add(&mut self, from: Node, to: Node, label: Label) -> EdgeNumber {
        let number = EdgeNumber::try_from(self.edges.len()).expect("less than 2^32 edges");
        let next_out = std::mem::replace(&mut self.first_out[from as usize], number);
        let next_in = std::mem::replace(&mut self.first_in[to as usize], number);
        self.edges.push(Edge { from, to, label, next_out, next_in });
        number
    }

    /// Takes back the edges that were added last, down to `count` that stay.
    pub(crate) fn truncate(&mut self, count: usize) {
        for edge in self.edges.drain(count..).rev() {
            self.first_out[edge.from as usize] = edge.next_out;
            self.first_in[edge.to as usize] = edge.next_in;
        }
    }

    pub(crate) fn edge(&self, number: EdgeNumber) -> Edge {
        self.edges[number as usize]
    }

    pub(crate) fn first_out(&self, node: Node) -> Option<EdgeNumber> {
        some(self.first_out[node as usize])
    }

    pub(crate) fn next_out(&self, number: EdgeNumber) -> Option<EdgeNumber> {
        some(self.edges[number as usize].next_out)
    }

    /// The edges that leave a node.
    pub(crate) fn leaving(&self, node: Node) -> impl Iterator<Item = EdgeNumber> {
        std::iter::successors(self.first_out(node), |&number| self.next_out(number))
    }

    /// The edges that enter a node.
    pub(crate) fn entering(&self, node: Node) -> impl Iterator<Item = EdgeNumber> {
        std::iter::successors(some(self.first_in[node as usize]), |&number| {
            some(self.edges[number as usize].next_in)
        })
    }
}

fn some(number: EdgeNumber) -> Option<EdgeNumber> {
    (number != NONE).then_some(number)
}
