//! Cycles: which nodes lie on one (Tarjan, Depth-first search and linear graph algorithms, 1972,
//! without recursion), and a short one to show.

use std::collections::VecDeque;

use crate::graph::{EdgeNumber, Graph, Node};

/// Edges looked at in search of a shorter cycle. More only makes the explanation shorter, and takes
/// longer on a graph of millions of edges; one cycle is found in any case.
const EDGES_LOOKED_AT: usize = 100_000_000;

/// Where searches for a short cycle start, spread over the component.
const STARTS: usize = 64;

const UNSEEN: u32 = u32::MAX;

/// A cycle that is as short as a bounded search can tell, as edges each of which begins where the
/// one before ends. `None` if there is no cycle.
pub(crate) fn find(graph: &Graph) -> Option<Vec<EdgeNumber>> {
    let members = smallest_component(graph)?;
    let mut search = Search::new(graph, &members);
    let operations = members.iter().copied().filter(|&node| graph.is_operation(node));
    let starts: Vec<Node> = operations.collect();
    let mut best = search.cycle(starts[0], u32::MAX).expect("each lies on a cycle");
    for &start in starts.iter().step_by(starts.len().div_ceil(STARTS)) {
        best = search.cycle(start, best.weight).unwrap_or(best);
    }
    // Operations of a cycle often lie on a shorter one.
    loop {
        let on_it: Vec<Node> = best.edges.iter().map(|&number| graph.edge(number).from).collect();
        let mut starts = on_it.into_iter().filter(|&node| graph.is_operation(node));
        match starts.find_map(|start| search.cycle(start, best.weight)) {
            Some(shorter) => best = shorter,
            None => return Some(best.edges),
        }
    }
}

struct Cycle {
    edges: Vec<EdgeNumber>,
    weight: u32,
}

/// Searches for the lightest cycle through a node, within one component. An edge between two
/// auxiliary nodes weighs nothing: a cycle is as long as it has operations.
struct Search<'a> {
    graph: &'a Graph,
    is_member: Vec<bool>,
    distance: Vec<u32>,
    came_by: Vec<EdgeNumber>,
    touched: Vec<Node>,
    edges_left: usize,
}

impl<'a> Search<'a> {
    fn new(graph: &'a Graph, members: &[Node]) -> Self {
        let mut is_member = vec![false; graph.len()];
        members.iter().for_each(|&node| is_member[node as usize] = true);
        Search {
            graph,
            is_member,
            distance: vec![UNSEEN; graph.len()],
            came_by: vec![0; graph.len()],
            touched: Vec::new(),
            edges_left: EDGES_LOOKED_AT,
        }
    }

    /// The lightest cycle through `start`, if it is lighter than `limit`.
    fn cycle(&mut self, start: Node, limit: u32) -> Option<Cycle> {
        for node in self.touched.drain(..) {
            self.distance[node as usize] = UNSEEN;
        }
        let mut queue = VecDeque::from([(start, 0)]);
        while let Some((node, distance)) = queue.pop_front() {
            if node == start && distance > 0 {
                return Some(Cycle { edges: self.walk_back(start), weight: distance });
            }
            if node != start && self.distance[node as usize] < distance {
                continue;
            }
            for number in self.graph.leaving(node) {
                if limit < u32::MAX {
                    self.edges_left = self.edges_left.checked_sub(1)?;
                }
                let to = self.graph.edge(number).to;
                let weight = u32::from(self.graph.is_operation(to));
                let reached = distance + weight;
                let is_nearer = reached < self.distance[to as usize];
                if !self.is_member[to as usize] || reached >= limit || !is_nearer {
                    continue;
                }
                self.distance[to as usize] = reached;
                self.came_by[to as usize] = number;
                self.touched.push(to);
                match weight {
                    0 => queue.push_front((to, reached)),
                    _ => queue.push_back((to, reached)),
                }
            }
        }
        None
    }

    fn walk_back(&self, start: Node) -> Vec<EdgeNumber> {
        let mut edges = vec![self.came_by[start as usize]];
        loop {
            let from = self.graph.edge(*edges.last().expect("one at least")).from;
            if from == start {
                edges.reverse();
                return edges;
            }
            edges.push(self.came_by[from as usize]);
        }
    }
}

/// The nodes of the smallest strongly connected component that has a cycle.
fn smallest_component(graph: &Graph) -> Option<Vec<Node>> {
    let mut smallest: Option<Vec<Node>> = None;
    components(graph, |component| {
        let is_cyclic = component.len() > 1
            || graph.leaving(component[0]).any(|number| graph.edge(number).to == component[0]);
        let is_smaller = smallest.as_ref().is_none_or(|known| component.len() < known.len());
        if is_cyclic && is_smaller {
            smallest = Some(component.to_vec());
        }
    });
    smallest
}

/// Gives each strongly connected component to `each`.
fn components(graph: &Graph, mut each: impl FnMut(&[Node])) {
    const DONE: u32 = u32::MAX - 1;
    let mut number_of = vec![UNSEEN; graph.len()];
    let mut low = vec![0; graph.len()];
    let mut open = Vec::new();
    let mut path: Vec<(Node, Option<EdgeNumber>)> = Vec::new();
    let mut next = 0;
    for root in 0..graph.len() as Node {
        if number_of[root as usize] != UNSEEN {
            continue;
        }
        path.push((root, graph.first_out(root)));
        while let Some(&mut (node, ref mut edge)) = path.last_mut() {
            let at = node as usize;
            if number_of[at] == UNSEEN {
                (number_of[at], low[at]) = (next, next);
                next += 1;
                open.push(node);
            }
            if let Some(number) = *edge {
                *edge = graph.next_out(number);
                let to = graph.edge(number).to;
                match number_of[to as usize] {
                    UNSEEN => path.push((to, graph.first_out(to))),
                    DONE => {}
                    seen => low[at] = low[at].min(seen),
                }
                continue;
            }
            path.pop();
            if let Some(&(parent, _)) = path.last() {
                low[parent as usize] = low[parent as usize].min(low[at]);
            }
            if low[at] == number_of[at] {
                let start = open.iter().rposition(|&other| other == node).expect("it is open");
                open[start..].iter().for_each(|&member| number_of[member as usize] = DONE);
                each(&open[start..]);
                open.truncate(start);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Label, Reason};

    fn graph(nodes: usize, edges: &[(Node, Node)]) -> Graph {
        let mut graph = Graph::new(nodes);
        let label = Label { reason: Reason::Client, key: 0 };
        edges.iter().for_each(|&(from, to)| {
            graph.add(from, to, label);
        });
        graph
    }

    fn nodes(graph: &Graph, cycle: &[EdgeNumber]) -> Vec<Node> {
        let mut nodes: Vec<Node> = cycle.iter().map(|&number| graph.edge(number).from).collect();
        nodes.sort();
        nodes
    }

    #[test]
    fn a_graph_without_a_cycle_has_none() {
        assert!(find(&graph(4, &[(0, 1), (1, 2), (0, 2), (3, 1)])).is_none());
    }

    #[test]
    fn the_shorter_of_two_nested_cycles_is_found() {
        let graph = graph(6, &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (3, 1), (4, 5)]);
        assert_eq!(nodes(&graph, &find(&graph).unwrap()), [1, 2, 3]);
    }

    #[test]
    fn a_long_path_needs_no_deep_stack() {
        let last = 300_000;
        let mut edges: Vec<_> = (0..last).map(|node| (node, node + 1)).collect();
        edges.push((last, 0));
        let graph = graph(last as usize + 1, &edges);
        assert_eq!(find(&graph).unwrap().len(), last as usize + 1);
    }
}
