//! The decision: facts, edges, cycles, and the order of what is left open.

use std::collections::HashMap;

use crate::cycles;
use crate::explain;
use crate::facts::{Facts, Type};
use crate::graph::{Graph, Label, Node, Reason};
use crate::history::{ClientOrder, History};
use crate::lists;
use crate::registers;
use crate::sets;
use crate::settle;
use crate::topology::Topology;
use crate::verdict::{Stop, Verdict};

/// Decides whether a history was strictly serializable, and in the order of its clients if it asks
/// for that.
///
/// An operation without a reply counts as having taken effect if one that took effect saw any of
/// its writes, and is ignored otherwise. The result depends on nothing but the history.
pub fn check(history: &History) -> Verdict {
    match decide(history) {
        Ok(()) => Verdict::Serializable,
        Err(Stop::Violation(anomaly)) => Verdict::Violation(anomaly),
        Err(Stop::Undecided(reason)) => Verdict::Undecided(reason),
    }
}

fn decide(history: &History) -> Result<(), Stop> {
    let facts = Facts::new(history)?;
    let mut graph = Graph::new(history.operations.len());
    add_real_time(&facts, &mut graph);
    add_client_order(&facts, &mut graph);
    let mut open = Vec::new();
    for key in &facts.keys {
        match key.of {
            Type::List => lists::add(&facts, key, &mut graph)?,
            Type::Set => sets::add(&facts, key, &mut graph)?,
            Type::Register => open.extend(registers::add(&facts, key, &mut graph)?),
        }
    }
    match Topology::new(&graph) {
        Some(topology) => settle::settle(&facts, graph, topology, open),
        None => {
            let cycle = cycles::find(&graph).expect("what has no topological order has a cycle");
            let steps: Vec<_> =
                cycle.iter().map(|&number| explain::Step::of(&graph, number)).collect();
            Err(explain::cycle(&facts, &graph, &steps).into())
        }
    }
}

/// One node for each moment of a reply: the operations that were answered then are before it, and
/// it is before the next such node and before the operations that were sent later.
fn add_real_time(facts: &Facts<'_>, graph: &mut Graph) {
    let label = Label { reason: Reason::Time, key: 0 };
    let replied = |number| facts.operation(number).replied;
    let mut moments: Vec<u64> = facts.counting().filter_map(replied).collect();
    moments.sort_unstable();
    moments.dedup();
    let nodes: Vec<Node> = moments.iter().map(|_| graph.node()).collect();
    for pair in nodes.windows(2) {
        graph.add(pair[0], pair[1], label);
    }
    for number in facts.counting() {
        if let Some(replied) = replied(number) {
            let at = moments.binary_search(&replied).expect("all are there");
            graph.add(number, nodes[at], label);
        }
        let sent = facts.operation(number).sent;
        let before = moments.partition_point(|&moment| moment < sent);
        if let Some(at) = before.checked_sub(1) {
            graph.add(nodes[at], number, label);
        }
    }
}

fn add_client_order(facts: &Facts<'_>, graph: &mut Graph) {
    match facts.history.client_order {
        ClientOrder::Free => {}
        ClientOrder::All => chain_clients(facts, graph, facts.counting()),
        ClientOrder::Key => {
            for key in &facts.keys {
                chain_clients(facts, graph, key.operations.iter().copied());
            }
        }
    }
}

/// Orders those of these operations that are of one client.
fn chain_clients(facts: &Facts<'_>, graph: &mut Graph, operations: impl Iterator<Item = Node>) {
    let mut last: HashMap<u32, Node> = HashMap::new();
    for number in operations {
        if let Some(before) = last.insert(facts.operation(number).client, number) {
            graph.add(before, number, Label { reason: Reason::Client, key: 0 });
        }
    }
}
