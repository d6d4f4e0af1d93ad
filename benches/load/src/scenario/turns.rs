//! The longest turn: how long a shard can keep its other connections waiting.

use std::time::Duration;

use super::{Failure, MANY, Outcome};
use crate::client;
use crate::compare::{self, Case, Group, Pace, measure};
use crate::info;
use crate::pipeline::Pipeline;
use crate::setting::{OURS, Setting};
use crate::verdict::Verdict;
use crate::workload::{Class, KeySpace, Verb, Workload};

/// Loads the server with small and big values and asks it for its longest turns.
pub(super) fn run(setting: &Setting) -> Result<Outcome, Failure> {
    const LOADED: Duration = Duration::from_secs(5);
    let small = setting.small();
    let big = KeySpace { prefix: "big:", keys: 64, value_bytes: 1 << 20 };
    let classes =
        [(Verb::Get, small, 49), (Verb::Set, small, 49), (Verb::Get, big, 1), (Verb::Set, big, 1)];
    let workload = Workload::new(
        "98 % small, 2 % big, GET+SET",
        classes.map(|(verb, space, weight)| Class::new(verb, space, weight)).into(),
    );
    let case = Case { workload, filled: vec![small, big], connections: MANY, depth: 16 };
    let server = setting.programs.ours(OURS, 2).start(&setting.place)?;
    for space in &case.filled {
        let workload = Workload::of(Verb::Set, *space);
        client::fill(server.address(), &workload).map_err(Failure::Fill)?;
    }
    let pace = Pace { measured: LOADED, ..setting.pace };
    // At first the server, and the system for its sockets, touch memory that nobody touched before.
    // On a virtual machine that takes longer than anything that a turn does; it is told apart.
    measure(&server, &case, &pace, 0)?;
    let mut asking = Pipeline::new(server.address())?;
    let first = info::longest_turn_ms(&mut asking)?;
    info::reset(&mut asking)?;
    let measured = measure(&server, &case, &pace, 1)?;
    let turns = info::longest_turns_ms(&info::info(&mut asking, "shards")?);
    let mut outcome = Outcome::default();
    let row = compare::Row { name: OURS.to_owned(), rounds: vec![measured] };
    outcome.groups.push(Group { title: case.title(), rows: vec![row] });
    let each: Vec<_> = turns.iter().map(|turn| format!("{turn:.3} ms")).collect();
    outcome.notes.push(match each.as_slice() {
        [] => "INFO shards names no longest_turn".to_owned(),
        each => format!("longest turn of each shard: {}", each.join(", ")),
    });
    if let Some(first) = first {
        outcome.notes.push(format!("longest turn while memory was new: {first:.3} ms"));
    }
    let worst = turns.into_iter().reduce(f64::max);
    outcome.verdicts.push(Verdict::new("longest turn", worst, 10.0).in_unit(" ms"));
    Ok(outcome)
}
