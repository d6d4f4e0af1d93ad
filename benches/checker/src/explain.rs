//! Says in words what is wrong.

use crate::facts::{Facts, KeyFacts, Type};
use crate::graph::{EdgeNumber, Graph, Label, Node, Reason};
use crate::history::{Action, History, Operation};
use crate::verdict::Anomaly;

/// Values of a list or a set that are shown; of more, the last ones.
const SHOWN: usize = 6;

/// An edge of a cycle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) from: Node,
    pub(crate) to: Node,
    pub(crate) label: Label,
    /// Whether it isn't something seen, but the only order of two blind writes that is possible.
    pub(crate) is_inferred: bool,
}

impl Step {
    pub(crate) fn of(graph: &Graph, number: EdgeNumber) -> Self {
        let edge = graph.edge(number);
        Step { from: edge.from, to: edge.to, label: edge.label, is_inferred: false }
    }
}

impl Anomaly {
    /// One that a few operations show by themselves.
    pub(crate) fn among(history: &History, operations: &[Node], what: String) -> Self {
        Anomaly { what, operations: descriptions(history, operations), steps: Vec::new() }
    }
}

/// Tells a cycle as steps from one operation to the next.
pub(crate) fn cycle(facts: &Facts<'_>, graph: &Graph, cycle: &[Step]) -> Anomaly {
    let is_start = |step: &Step| graph.is_operation(step.from);
    let start = cycle.iter().position(is_start).expect("auxiliary nodes alone have no cycle");
    let mut steps = Vec::new();
    let mut operations = Vec::new();
    let mut open: Option<Step> = None;
    for &step in cycle[start..].iter().chain(&cycle[..start]) {
        let whole = match open {
            None => step,
            Some(before) => Step {
                from: before.from,
                to: step.to,
                label: joined(before.label, step.label),
                is_inferred: before.is_inferred || step.is_inferred,
            },
        };
        open = None;
        if graph.is_operation(whole.to) {
            operations.push(whole.from);
            steps.push(sentence(facts, whole));
        } else {
            open = Some(whole);
        }
    }
    operations.sort_unstable();
    operations.dedup();
    Anomaly {
        what: "no serial order: each of these must have run before itself".into(),
        operations: descriptions(facts.history, &operations),
        steps,
    }
}

/// What the first did and what the second did.
fn joined(first: Label, second: Label) -> Label {
    use Reason::{Client, ReadWrite, Time, WriteRead, WriteWrite};
    let reason = match (first.reason, second.reason) {
        (Time | Client, _) => first.reason,
        (ReadWrite, _) => ReadWrite,
        (_, WriteRead) => WriteRead,
        _ => WriteWrite,
    };
    Label { reason, key: first.key }
}

fn sentence(facts: &Facts<'_>, step: Step) -> String {
    let (from, to) = (facts.operation(step.from), facts.operation(step.to));
    let (first, second) = (format!("op {}", step.from), format!("op {}", step.to));
    let told = match step.label.reason {
        Reason::Time => format!(
            "{first} was answered at {}, before {second} was sent at {}",
            from.replied.unwrap_or(u64::MAX),
            to.sent
        ),
        Reason::Client => format!("{first} was sent before {second} by client {}", from.client),
        Reason::WriteRead => {
            let key = &facts.keys[step.label.key as usize];
            let seen = seen(to, key.key);
            let mut written = written(from, key.key).into_iter().rev();
            let value = written.find(|value| seen.contains(value)).expect("it was seen");
            format!("{first} wrote {value} to {}, which {second} saw", name(key))
        }
        Reason::ReadWrite => {
            let key = &facts.keys[step.label.key as usize];
            let (seen, written) = (seen(from, key.key), written(to, key.key));
            match key.of {
                Type::Register => {
                    let seen = seen.first().map_or("nothing".into(), u64::to_string);
                    let value = written.last().expect("it wrote");
                    let name = name(key);
                    format!("{first} saw {seen} in {name}, which {second} replaced by {value}")
                }
                Type::List | Type::Set => {
                    let unseen = written.iter().find(|value| !seen.contains(value));
                    let value = unseen.expect("it wasn't seen");
                    format!("{first} saw {} without {value}, which {second} wrote", name(key))
                }
            }
        }
        Reason::WriteWrite => {
            let key = &facts.keys[step.label.key as usize];
            let (before, after) = (written(from, key.key), written(to, key.key));
            let before = before.last().expect("it wrote");
            let after = after.last().expect("it wrote");
            format!("{first} wrote {before} to {}, {second} wrote {after} after that", name(key))
        }
    };
    match step.is_inferred {
        true => format!("{told} (no other order of these writes is possible)"),
        false => told,
    }
}

fn name(key: &KeyFacts) -> String {
    match key.of {
        Type::Register => format!("register {}", key.key),
        Type::List => format!("list {}", key.key),
        Type::Set => format!("set {}", key.key),
    }
}

/// What an operation read of a key, before it wrote to it where it read a register.
fn seen(operation: &Operation, key: u32) -> Vec<u64> {
    let mut reads = operation.actions.iter().filter(|action| action.key() == key);
    let values = reads.find_map(|action| match action {
        Action::Read { value, .. } => Some(value.as_slice()),
        Action::ReadList { values, .. } | Action::ReadSet { values, .. } => Some(&values[..]),
        _ => None,
    });
    values.unwrap_or_default().to_vec()
}

fn written(operation: &Operation, key: u32) -> Vec<u64> {
    let actions = operation.actions.iter().filter(|action| action.key() == key);
    let values = actions.filter_map(|action| match *action {
        Action::Write { value, .. } | Action::Append { value, .. } | Action::Add { value, .. } => {
            Some(value)
        }
        _ => None,
    });
    values.collect()
}

fn descriptions(history: &History, operations: &[Node]) -> Vec<(usize, String)> {
    let describe = |&number: &Node| {
        let number = number as usize;
        (number, description(&history.operations[number]))
    };
    operations.iter().map(describe).collect()
}

fn description(operation: &Operation) -> String {
    let replied = operation.replied.map_or("?".into(), |replied| replied.to_string());
    let actions: Vec<String> = operation.actions.iter().map(action).collect();
    let Operation { client, sent, .. } = operation;
    format!("client {client}, {sent} to {replied}: {}", actions.join(", "))
}

fn action(action: &Action) -> String {
    match action {
        Action::Read { key, value: None } => format!("register {key} is absent"),
        Action::Read { key, value: Some(value) } => format!("register {key} is {value}"),
        Action::Write { key, value } => format!("register {key} := {value}"),
        Action::Append { key, value } => format!("list {key} += {value}"),
        Action::ReadList { key, values } => format!("list {key} is {}", shown(values)),
        Action::Add { key, value } => format!("set {key} += {value}"),
        Action::ReadSet { key, values } => format!("set {key} is {}", shown(values)),
    }
}

fn shown(values: &[u64]) -> String {
    match values.len().checked_sub(SHOWN) {
        None | Some(0) => format!("{values:?}"),
        Some(hidden) => format!("{:?} after {hidden} others", &values[hidden..]),
    }
}
