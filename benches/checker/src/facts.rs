//! What a history says about each key, and which operations took effect.

use std::collections::HashMap;

use crate::graph::Node;
use crate::history::{Action, History, Operation};
use crate::verdict::{Anomaly, Stop};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Register,
    List,
    Set,
}

impl Type {
    fn of(action: &Action) -> Type {
        match action {
            Action::Read { .. } | Action::Write { .. } => Type::Register,
            Action::Append { .. } | Action::ReadList { .. } => Type::List,
            Action::Add { .. } | Action::ReadSet { .. } => Type::Set,
        }
    }
}

pub(crate) struct KeyFacts {
    /// The key as the history names it.
    pub(crate) key: u32,
    /// Its place among all keys.
    pub(crate) index: u32,
    pub(crate) of: Type,
    /// Who wrote each value.
    pub(crate) writers: HashMap<u64, Node>,
    /// The operations on it that took effect, in the history's order.
    pub(crate) operations: Vec<Node>,
}

pub(crate) struct Facts<'a> {
    pub(crate) history: &'a History,
    /// When each operation had taken effect at the latest; nothing if it counts as not having.
    ends: Vec<Option<u64>>,
    pub(crate) keys: Vec<KeyFacts>,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(history: &'a History) -> Result<Self, Stop> {
        if history.operations.len() >= u32::MAX as usize / 16 {
            return Err(Stop::Undecided("more operations than can be numbered".into()));
        }
        let mut index = HashMap::new();
        let mut keys: Vec<KeyFacts> = Vec::new();
        for (number, operation) in history.operations.iter().enumerate() {
            for action in &operation.actions {
                let at = *index.entry(action.key()).or_insert_with(|| {
                    keys.push(KeyFacts {
                        key: action.key(),
                        index: keys.len() as u32,
                        of: Type::of(action),
                        writers: HashMap::new(),
                        operations: Vec::new(),
                    });
                    keys.len() - 1
                });
                note(&mut keys[at], number as Node, action)?;
            }
        }
        let ends = effective(history, &index, &keys)?;
        for facts in &mut keys {
            facts.operations.retain(|&number| ends[number as usize].is_some());
        }
        Ok(Facts { history, ends, keys })
    }

    pub(crate) fn operation(&self, number: Node) -> &'a Operation {
        &self.history.operations[number as usize]
    }

    /// The operations that took effect.
    pub(crate) fn counting(&self) -> impl Iterator<Item = Node> {
        (0..self.ends.len() as Node).filter(|&number| self.ends[number as usize].is_some())
    }

    /// When an operation that took effect had done so at the latest.
    pub(crate) fn end(&self, number: Node) -> u64 {
        self.ends[number as usize].expect("it took effect")
    }

    /// What an operation did with a key.
    pub(crate) fn actions(&self, number: Node, key: u32) -> impl Iterator<Item = &'a Action> {
        self.operation(number).actions.iter().filter(move |action| action.key() == key)
    }
}

/// What two operations on the same key must agree on.
fn note(facts: &mut KeyFacts, number: Node, action: &Action) -> Result<(), Stop> {
    let key = facts.key;
    if facts.of != Type::of(action) {
        return Err(Stop::Undecided(format!("key {key} is used as two types")));
    }
    if facts.operations.last() != Some(&number) {
        facts.operations.push(number);
    }
    match *action {
        Action::Write { value, .. } | Action::Append { value, .. } | Action::Add { value, .. } => {
            match facts.writers.insert(value, number) {
                None => Ok(()),
                Some(_) => {
                    Err(Stop::Undecided(format!("{value} is written to key {key} more than once")))
                }
            }
        }
        _ => Ok(()),
    }
}

/// Which operations took effect, and by when: those that were answered by their reply, and of the
/// others those that wrote what an operation that took effect read, by the first such operation.
///
/// Leaving out the rest is right both ways: nobody saw what they wrote, so a serial order with them
/// is still one without them.
fn effective(
    history: &History,
    index: &HashMap<u32, usize>,
    keys: &[KeyFacts],
) -> Result<Vec<Option<u64>>, Anomaly> {
    let mut ends: Vec<Option<u64>> =
        history.operations.iter().map(|operation| operation.replied).collect();
    let mut answered: Vec<Node> =
        (0..ends.len() as Node).filter(|&number| ends[number as usize].is_some()).collect();
    answered.sort_by_key(|&number| ends[number as usize]);
    // What is reached from an operation ended no later, and from an earlier one it wasn't reached.
    for first in answered {
        let end = ends[first as usize];
        let mut open = vec![first];
        while let Some(number) = open.pop() {
            for action in &history.operations[number as usize].actions {
                let writers = &keys[index[&action.key()]].writers;
                for &value in values_read(action) {
                    let Some(&writer) = writers.get(&value) else {
                        return Err(Anomaly::among(
                            history,
                            &[number],
                            format!("op {number} read {value}, which nobody wrote"),
                        ));
                    };
                    if ends[writer as usize].is_none() {
                        ends[writer as usize] = end;
                        open.push(writer);
                    }
                }
            }
        }
    }
    Ok(ends)
}

fn values_read(action: &Action) -> &[u64] {
    match action {
        Action::Read { value, .. } => value.as_slice(),
        Action::ReadList { values, .. } | Action::ReadSet { values, .. } => values,
        _ => &[],
    }
}
