//! A topological order of a graph that is kept while edges are added (Pearce and Kelly, A dynamic
//! topological sort algorithm for directed acyclic graphs, 2006).
//!
//! The order bounds searches: only what lies between two nodes can be on a path between them. In
//! a history that is what ran about the same time, for an operation comes after the moments before
//! it was sent and before those after its reply. Taking edges back leaves the order valid.

use crate::graph::{EdgeNumber, Graph, Label, Node};

pub(crate) struct Topology {
    position: Vec<u32>,
    /// The search that last came to a node, and the edge by which it did.
    seen_by: Vec<u32>,
    came_by: Vec<EdgeNumber>,
    searches: u32,
    stack: Vec<Node>,
}

impl Topology {
    /// `None` if the graph has a cycle.
    pub(crate) fn new(graph: &Graph) -> Option<Self> {
        let mut missing = vec![0u32; graph.len()];
        for number in 0..graph.edge_count() {
            missing[graph.edge(number as EdgeNumber).to as usize] += 1;
        }
        let mut order: Vec<Node> =
            (0..graph.len() as Node).filter(|&node| missing[node as usize] == 0).collect();
        let mut next = 0;
        while let Some(&node) = order.get(next) {
            next += 1;
            for number in graph.leaving(node) {
                let to = graph.edge(number).to;
                missing[to as usize] -= 1;
                if missing[to as usize] == 0 {
                    order.push(to);
                }
            }
        }
        if order.len() < graph.len() {
            return None;
        }
        let mut position = vec![0; graph.len()];
        order.iter().zip(0..).for_each(|(&node, at)| position[node as usize] = at);
        Some(Topology {
            position,
            seen_by: vec![0; graph.len()],
            came_by: vec![0; graph.len()],
            searches: 0,
            stack: Vec::new(),
        })
    }

    pub(crate) fn position(&self, node: Node) -> u32 {
        self.position[node as usize]
    }

    /// Whether a path leads from one node to another; [`Self::path`] then has it.
    pub(crate) fn reaches(&mut self, graph: &Graph, from: Node, to: Node) -> bool {
        self.position(from) <= self.position(to) && self.forward(graph, from, to).is_none()
    }

    /// The path that was found last, which led from one node to another.
    pub(crate) fn path(&self, graph: &Graph, from: Node, to: Node) -> Vec<EdgeNumber> {
        let mut edges = Vec::new();
        let mut at = to;
        while at != from {
            let number = self.came_by[at as usize];
            edges.push(number);
            at = graph.edge(number).from;
        }
        edges.reverse();
        edges
    }

    /// Adds an edge, unless it closes a cycle: then the rest of the cycle is the error, a path from
    /// `to` to `from`.
    pub(crate) fn insert(
        &mut self,
        graph: &mut Graph,
        from: Node,
        to: Node,
        label: Label,
    ) -> Result<EdgeNumber, Vec<EdgeNumber>> {
        if self.position(to) <= self.position(from) {
            let Some(mut after) = self.forward(graph, to, from) else {
                return Err(self.path(graph, to, from));
            };
            let mut before = self.backward(graph, from, self.position(to));
            self.reorder(&mut before, &mut after);
        }
        Ok(graph.add(from, to, label))
    }

    /// Everything that `from` leads to and that isn't behind `to` in the order; `None` as soon as
    /// it leads to `to` itself.
    fn forward(&mut self, graph: &Graph, from: Node, to: Node) -> Option<Vec<Node>> {
        if from == to {
            return None;
        }
        let last = self.position(to);
        let mut found = self.begin(from);
        while let Some(node) = self.stack.pop() {
            for number in graph.leaving(node) {
                let next = graph.edge(number).to;
                if self.position(next) > last || !self.mark(next, number) {
                    continue;
                }
                if next == to {
                    return None;
                }
                found.push(next);
                self.stack.push(next);
            }
        }
        Some(found)
    }

    /// Everything that leads to `from` and that isn't before the position `first`.
    fn backward(&mut self, graph: &Graph, from: Node, first: u32) -> Vec<Node> {
        let mut found = self.begin(from);
        while let Some(node) = self.stack.pop() {
            for number in graph.entering(node) {
                let next = graph.edge(number).from;
                if self.position(next) >= first && self.mark(next, number) {
                    found.push(next);
                    self.stack.push(next);
                }
            }
        }
        found
    }

    fn begin(&mut self, from: Node) -> Vec<Node> {
        if self.searches == u32::MAX {
            self.seen_by.fill(0);
            self.searches = 0;
        }
        self.searches += 1;
        self.stack.clear();
        self.stack.push(from);
        self.seen_by[from as usize] = self.searches;
        vec![from]
    }

    /// Whether this search comes to the node for the first time.
    fn mark(&mut self, node: Node, by: EdgeNumber) -> bool {
        let is_new = self.seen_by[node as usize] != self.searches;
        if is_new {
            self.seen_by[node as usize] = self.searches;
            self.came_by[node as usize] = by;
        }
        is_new
    }

    /// Puts all of `before` before all of `after`, in the places that both had together.
    fn reorder(&mut self, before: &mut [Node], after: &mut [Node]) {
        before.sort_unstable_by_key(|&node| self.position[node as usize]);
        after.sort_unstable_by_key(|&node| self.position[node as usize]);
        let nodes = || before.iter().chain(after.iter()).copied();
        let mut places: Vec<u32> = nodes().map(|node| self.position[node as usize]).collect();
        places.sort_unstable();
        for (node, place) in nodes().zip(places) {
            self.position[node as usize] = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Reason;

    #[test]
    fn the_order_agrees_with_all_edges_and_cycles_are_refused() {
        const NODES: u32 = 40;
        let label = Label { reason: Reason::Client, key: 0 };
        let mut graph = Graph::new(NODES as usize);
        let mut topology = Topology::new(&graph).unwrap();
        let mut random = 1u64;
        let mut refused = 0;
        for _ in 0..2000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (from, to) = ((random >> 33) as u32 % NODES, (random >> 48) as u32 % NODES);
            if let Err(path) = topology.insert(&mut graph, from, to, label) {
                refused += 1;
                let mut at = to;
                for number in path {
                    assert_eq!(graph.edge(number).from, at);
                    at = graph.edge(number).to;
                }
                assert_eq!(at, from);
            }
            for number in 0..graph.edge_count() {
                let edge = graph.edge(number as EdgeNumber);
                assert!(topology.position(edge.from) < topology.position(edge.to));
            }
        }
        assert!((100..1900).contains(&refused));
    }
}
