//! Registers: writes that read what they replace make chains, and the chains of a register are
//! ordered as far as real time orders them.
//!
//! A chain begins with the initial state or with a blind write. All that happened to the register
//! while its chain lasted, writes and reads, happened without a write of another chain in between;
//! so of two chains, one is over before the other begins. Its head is the operation that begins it,
//! its tail a node after all that saw its last value.
//!
//! Say that of a chain `r` is the earliest reply (of an operation that got none, the reply of the
//! first that saw it) and `s` the latest sending. Real time puts chain A before chain B if any
//! operation of A was answered before any of B was sent: if `r` of A is less than `s` of B. Where
//! that is so one way only, A has the lesser `r + s`; so in the order of that sum every pair that
//! real time decides is in its place. Pairs that it leaves open ran at the same time, of which there
//! are few.

use std::collections::HashMap;

use crate::facts::{Facts, KeyFacts};
use crate::graph::{Graph, Label, Node, Reason};
use crate::history::Action;
use crate::verdict::Anomaly;
use crate::versions::{Version, after_all, link};

/// Writes each of which replaced what the one before it wrote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    pub(crate) head: Node,
    pub(crate) tail: Node,
    /// The label of an edge from the tail to another chain's head.
    pub(crate) label: Label,
    first_reply: u64,
    pub(crate) last_sent: u64,
}

/// Two chains of a register whose order is open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) one: Chain,
    pub(crate) other: Chain,
}

/// What an operation did with a register: what it found there, if it read it before it wrote, and
/// what it left there, if it wrote.
struct Use {
    operation: Node,
    found: Option<Option<u64>>,
    left: Option<u64>,
}

/// A value of the register.
#[derive(Default)]
struct Value {
    writer: Option<Node>,
    readers: Vec<Node>,
    /// The operation that read and replaced it, and the place of the value that it left.
    next: Option<(Node, usize)>,
    /// Whether its writer read what it replaced.
    is_continuation: bool,
}

/// Adds the edges of a register, as far as they are certain, and tells which chains' order isn't.
pub(crate) fn add(
    facts: &Facts<'_>,
    key: &KeyFacts,
    graph: &mut Graph,
) -> Result<Vec<Pair>, Anomaly> {
    let values = values(facts, key)?;
    let mut is_chained = vec![false; values.len()];
    let mut chain = |from: usize, graph: &mut Graph| {
        chain(facts, graph, key.index, Walk { values: &values, from }, &mut is_chained)
    };
    let initial = chain(0, graph);
    let heads = (1..values.len()).filter(|&at| !values[at].is_continuation);
    let chains: Vec<Chain> = heads.filter_map(|at| chain(at, graph)).collect();
    // What no chain leads to goes round in a circle.
    for value in values.iter().zip(&is_chained).filter(|(_, is_chained)| !**is_chained) {
        if let (Some(from), Some((to, _))) = (value.0.writer, value.0.next) {
            graph.add(from, to, Label { reason: Reason::WriteRead, key: key.index });
        }
    }
    Ok(order(graph, initial, chains))
}

/// The values of the register, the initial one first.
fn values(facts: &Facts<'_>, key: &KeyFacts) -> Result<Vec<Value>, Anomaly> {
    let mut uses = Vec::with_capacity(key.operations.len());
    for &operation in &key.operations {
        uses.push(used(facts, key, operation)?);
    }
    let mut values = vec![Value::default()];
    let mut place = HashMap::new();
    for used in &uses {
        if let Some(left) = used.left {
            place.insert(left, values.len());
            let is_continuation = used.found.is_some();
            let writer = Some(used.operation);
            values.push(Value { writer, is_continuation, ..Value::default() });
        }
    }
    for used in &uses {
        let operation = used.operation;
        let at = match used.found {
            None => continue,
            Some(None) => 0,
            Some(Some(found)) if key.writers[&found] == operation => {
                return Err(of(facts, &[operation], key, "saw what it wrote later"));
            }
            Some(Some(found)) => match place.get(&found) {
                Some(&at) => at,
                None => {
                    let both = [operation, key.writers[&found]];
                    return Err(of(facts, &both, key, "saw a value of half an operation"));
                }
            },
        };
        match used.left {
            None => values[at].readers.push(operation),
            Some(left) => match values[at].next.replace((operation, place[&left])) {
                None => {}
                Some((first, _)) => {
                    let both = [operation, first];
                    return Err(of(facts, &both, key, "lost an update: both replaced one value"));
                }
            },
        }
    }
    Ok(values)
}

fn used(facts: &Facts<'_>, key: &KeyFacts, operation: Node) -> Result<Use, Anomaly> {
    let mut used = Use { operation, found: None, left: None };
    for action in facts.actions(operation, key.key) {
        match *action {
            Action::Write { value, .. } => used.left = Some(value),
            Action::Read { value, .. } => match (used.left, used.found) {
                (Some(left), _) if value == Some(left) => {}
                (Some(_), _) => {
                    return Err(of(facts, &[operation], key, "didn't see its own write"));
                }
                (None, Some(found)) if found != value => {
                    return Err(of(facts, &[operation], key, "saw two values"));
                }
                (None, _) => used.found = Some(value),
            },
            _ => unreachable!("a key has one type"),
        }
    }
    Ok(used)
}

/// Where a chain begins among the values of its register.
struct Walk<'a> {
    values: &'a [Value],
    from: usize,
}

/// Adds the edges within a chain. `None` if nothing is in it: nobody saw the initial value.
fn chain(
    facts: &Facts<'_>,
    graph: &mut Graph,
    key: u32,
    walk: Walk<'_>,
    is_chained: &mut [bool],
) -> Option<Chain> {
    let mut versions = Vec::new();
    let mut at = Some(walk.from);
    while let Some(place) = at {
        let value = &walk.values[place];
        is_chained[place] = true;
        let writers = value.writer.into_iter().collect();
        versions.push(Version { writers, readers: value.readers.clone() });
        at = value.next.map(|(_, next)| next);
    }
    link(graph, key, &versions);

    let last = versions.last().expect("the first");
    let (ends, reason) = match last.readers.is_empty() {
        true => (&last.writers, Reason::WriteWrite),
        false => (&last.readers, Reason::ReadWrite),
    };
    if ends.is_empty() {
        return None;
    }
    let label = Label { reason, key };
    let all = || versions.iter().flat_map(|version| version.writers.iter().chain(&version.readers));
    let sent = |&operation: &Node| facts.operation(operation).sent;
    Some(Chain {
        head: *all().next().expect("not empty"),
        tail: after_all(graph, ends, label),
        label,
        first_reply: all().map(|&operation| facts.end(operation)).min().expect("not empty"),
        last_sent: all().map(sent).max().expect("not empty"),
    })
}

/// Adds the edges between chains that real time decides, less those that follow from others, and
/// gives the pairs that it leaves open.
fn order(graph: &mut Graph, initial: Option<Chain>, mut chains: Vec<Chain>) -> Vec<Pair> {
    chains.sort_by_key(|chain| u128::from(chain.first_reply) + u128::from(chain.last_sent));
    // The latest of the earliest replies of the chains up to a place.
    let mut replied_by: Vec<u64> = chains.iter().map(|chain| chain.first_reply).collect();
    for at in 1..replied_by.len() {
        replied_by[at] = replied_by[at].max(replied_by[at - 1]);
    }
    let mut pairs = Vec::new();
    for (at, &chain) in chains.iter().enumerate() {
        // The latest sending among the chains that are known to be before this one.
        let mut covered: Option<u64> = None;
        for (place, &earlier) in chains[..at].iter().enumerate().rev() {
            let is_covered = |reply: u64| covered.is_some_and(|sent| reply < sent);
            if replied_by[place] < chain.last_sent && is_covered(replied_by[place]) {
                break;
            }
            let is_decided =
                earlier.first_reply < chain.last_sent || chain.first_reply < earlier.last_sent;
            if !is_decided {
                pairs.push(Pair { one: earlier, other: chain });
                continue;
            }
            if !is_covered(earlier.first_reply) {
                graph.add(earlier.tail, chain.head, earlier.label);
            }
            covered = covered.max(Some(earlier.last_sent));
        }
        if let (None, Some(initial)) = (covered, initial) {
            graph.add(initial.tail, chain.head, initial.label);
        }
    }
    pairs
}

fn of(facts: &Facts<'_>, operations: &[Node], key: &KeyFacts, what: &str) -> Anomaly {
    let names: Vec<String> = operations.iter().map(|number| format!("op {number}")).collect();
    let what = format!("{} {what}: register {}", names.join(" and "), key.key);
    Anomaly::among(facts.history, operations, what)
}
