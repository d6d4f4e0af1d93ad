//! Sets: states that were seen must include each other, for a set only grows. What one has and the
//! one before it hasn't was added between the two, in an order that stays open.

use std::collections::HashMap;

use crate::facts::{Facts, KeyFacts};
use crate::graph::{Graph, Node};
use crate::history::Action;
use crate::verdict::Anomaly;
use crate::versions::{Version, link};

/// A state of the set.
struct State {
    operation: Node,
    members: Vec<u64>,
    /// Whether the operation found it so; otherwise it left it so.
    is_found: bool,
}

/// Adds the edges of a set.
pub(crate) fn add(facts: &Facts<'_>, key: &KeyFacts, graph: &mut Graph) -> Result<(), Anomaly> {
    let mut states = states(facts, key)?;
    states.sort_by_key(|state| state.members.len());

    let mut versions = vec![Version::default()];
    // The state in which each member appears first.
    let mut first_in: HashMap<u64, usize> = HashMap::new();
    for (at, state) in states.iter().enumerate() {
        let known = first_in.len();
        let (old, new): (Vec<u64>, Vec<u64>) =
            state.members.iter().partition(|&member| first_in.contains_key(member));
        if old.len() < known {
            return Err(disagreement(facts, key, &states, at));
        }
        if !new.is_empty() {
            let writers = new.iter().map(|member| key.writers[member]).collect();
            versions.push(Version { writers: distinct(writers), readers: vec![] });
            first_in.extend(new.iter().map(|&member| (member, at)));
        }
        if state.is_found {
            versions.last_mut().expect("the first").readers.push(state.operation);
        }
    }
    let is_unseen = |&operation: &Node| {
        facts.actions(operation, key.key).any(
            |action| matches!(action, Action::Add { value, .. } if !first_in.contains_key(value)),
        )
    };
    let unseen: Vec<Node> = key.operations.iter().copied().filter(is_unseen).collect();
    if !unseen.is_empty() {
        versions.push(Version { writers: unseen, readers: vec![] });
    }
    link(graph, key.index, &versions);
    Ok(())
}

/// The states that operations found and those that they left.
fn states(facts: &Facts<'_>, key: &KeyFacts) -> Result<Vec<State>, Anomaly> {
    let mut states = Vec::with_capacity(key.operations.len());
    for &operation in &key.operations {
        let (mut own, mut found) = (Vec::new(), None);
        for action in facts.actions(operation, key.key) {
            match action {
                Action::Add { value, .. } => own.push(*value),
                Action::ReadSet { values, .. } => {
                    if own.iter().any(|value| !values.contains(value)) {
                        return Err(of(facts, operation, key, "didn't see its own additions"));
                    }
                    let others = values.iter().copied().filter(|value| !own.contains(value));
                    let others = distinct(others.collect());
                    if found.as_ref().is_some_and(|known| *known != others) {
                        return Err(of(facts, operation, key, "saw two states"));
                    }
                    found = Some(others);
                }
                _ => unreachable!("a key has one type"),
            }
        }
        let Some(members) = found else {
            continue;
        };
        if own.iter().any(|value| members.binary_search(value).is_ok()) {
            return Err(of(facts, operation, key, "saw an addition that it made later"));
        }
        if !own.is_empty() {
            let members = members.iter().chain(&own).copied().collect();
            states.push(State { operation, members, is_found: false });
        }
        states.push(State { operation, members, is_found: true });
    }
    Ok(states)
}

/// The state at a place lacks a member of one that isn't larger.
fn disagreement(facts: &Facts<'_>, key: &KeyFacts, states: &[State], at: usize) -> Anomaly {
    let state = &states[at];
    let lacking = |from: &State, other: &State| {
        from.members.iter().copied().find(|member| !other.members.contains(member))
    };
    let (other, missing) = states[..at]
        .iter()
        .find_map(|other| Some((other, lacking(other, state)?)))
        .expect("a member of an earlier state is missing");
    let more = lacking(state, other).expect("it isn't smaller, and yet lacks a member");
    let (one, two) = (state.operation, other.operation);
    let what = format!(
        "set {} had {more} without {missing} at op {one}, and {missing} without {more} at op {two}",
        key.key
    );
    Anomaly::among(facts.history, &[one, two], what)
}

fn distinct<T: Ord>(mut of: Vec<T>) -> Vec<T> {
    of.sort_unstable();
    of.dedup();
    of
}

fn of(facts: &Facts<'_>, operation: Node, key: &KeyFacts, what: &str) -> Anomaly {
    let what = format!("op {operation} {what}: set {}", key.key);
    Anomaly::among(facts.history, &[operation], what)
}
