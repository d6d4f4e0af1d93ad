//! Lists: the longest state that was seen is the order of all appends in it. Every read must be a
//! beginning of it, and what nobody saw was appended after all that somebody saw.

use std::collections::HashMap;

use crate::facts::{Facts, KeyFacts};
use crate::graph::{Graph, Node};
use crate::history::Action;
use crate::verdict::Anomaly;
use crate::versions::{Version, link};

/// What an operation made of a list: what was there before, if it read it, and what it appended.
struct Use<'a> {
    operation: Node,
    before: Option<&'a [u64]>,
    own: Vec<u64>,
}

/// Adds the edges of a list.
pub(crate) fn add(facts: &Facts<'_>, key: &KeyFacts, graph: &mut Graph) -> Result<(), Anomaly> {
    let uses = uses(facts, key)?;
    let order = order(facts, key, &uses)?;
    let positions: HashMap<u64, usize> =
        order.iter().enumerate().map(|(at, &value)| (value, at)).collect();

    let mut versions = vec![Version::default()];
    versions.extend(
        order.iter().map(|value| Version { writers: vec![key.writers[value]], readers: vec![] }),
    );
    let mut unseen = Vec::new();
    for used in &uses {
        let before = used.before.map_or(0, <[u64]>::len);
        if used.before.is_some() {
            versions[before].readers.push(used.operation);
        }
        let mut last = None;
        for value in &used.own {
            match positions.get(value) {
                Some(&at) if at < before => {
                    return Err(of(facts, used, key, "saw an append that it made later"));
                }
                Some(&at) if last > Some(at) => {
                    return Err(of(facts, used, key, "appended values that appear in reverse"));
                }
                Some(&at) => last = Some(at),
                None if unseen.last() == Some(&used.operation) => {}
                None => unseen.push(used.operation),
            }
        }
    }
    if !unseen.is_empty() {
        versions.push(Version { writers: unseen, readers: vec![] });
    }
    link(graph, key.index, &versions);
    Ok(())
}

fn uses<'a>(facts: &Facts<'a>, key: &KeyFacts) -> Result<Vec<Use<'a>>, Anomaly> {
    let mut uses = Vec::with_capacity(key.operations.len());
    for &operation in &key.operations {
        let mut used = Use { operation, before: None, own: Vec::new() };
        for action in facts.actions(operation, key.key) {
            match action {
                Action::Append { value, .. } => used.own.push(*value),
                Action::ReadList { values, .. } => {
                    let Some(before) = values.strip_suffix(&used.own[..]) else {
                        return Err(of(facts, &used, key, "didn't see its own appends at the end"));
                    };
                    if used.before.is_some_and(|known| known != before) {
                        return Err(of(facts, &used, key, "saw two states"));
                    }
                    used.before = Some(before);
                }
                _ => unreachable!("a key has one type"),
            }
        }
        uses.push(used);
    }
    Ok(uses)
}

/// All that anybody saw, or made of what it saw, in order.
fn order(facts: &Facts<'_>, key: &KeyFacts, uses: &[Use<'_>]) -> Result<Vec<u64>, Anomaly> {
    let seen = || uses.iter().filter_map(|used| Some((used, used.before?)));
    let length = |&(used, before): &(&Use<'_>, &[u64])| used.own.len() + before.len();
    let Some((longest, before)) = seen().max_by_key(length) else {
        return Ok(Vec::new());
    };
    let order: Vec<u64> = before.iter().chain(&longest.own).copied().collect();
    for (used, before) in seen() {
        let all = before.iter().chain(&used.own);
        if let Some((at, (&value, &other))) =
            all.zip(&order).enumerate().find(|(_, (value, other))| value != other)
        {
            return Err(Anomaly::among(
                facts.history,
                &[used.operation, longest.operation],
                format!(
                    "list {} has two orders: at place {at}, op {} leaves {value} where op {} \
                     leaves {other}",
                    key.key, used.operation, longest.operation
                ),
            ));
        }
    }
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(of(facts, longest, key, "saw an append twice"));
    }
    Ok(order)
}

fn of(facts: &Facts<'_>, used: &Use<'_>, key: &KeyFacts, what: &str) -> Anomaly {
    let what = format!("op {} {what}: list {}", used.operation, key.key);
    Anomaly::among(facts.history, &[used.operation], what)
}
