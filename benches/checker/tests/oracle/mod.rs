//! Decides small histories by trying: every choice of the operations without a reply, in every
//! order that real time and the clients allow, on keys that are simply run.

use std::collections::{BTreeMap, BTreeSet};

use kevy_checker::{Action, ClientOrder, History, Operation};

/// All keys' contents.
#[derive(Clone, Default)]
struct State {
    registers: BTreeMap<u32, u64>,
    lists: BTreeMap<u32, Vec<u64>>,
    sets: BTreeMap<u32, BTreeSet<u64>>,
}

impl State {
    /// Runs an operation; `false` if it would have seen something else.
    fn run(&mut self, operation: &Operation) -> bool {
        operation.actions.iter().all(|action| match action {
            Action::Read { key, value } => self.registers.get(key) == value.as_ref(),
            Action::Write { key, value } => {
                self.registers.insert(*key, *value);
                true
            }
            Action::Append { key, value } => {
                self.lists.entry(*key).or_default().push(*value);
                true
            }
            Action::ReadList { key, values } => self.lists.entry(*key).or_default() == values,
            Action::Add { key, value } => self.sets.entry(*key).or_default().insert(*value),
            Action::ReadSet { key, values } => {
                *self.sets.entry(*key).or_default() == values.iter().copied().collect()
            }
        })
    }
}

/// Whether there is a serial order.
pub(crate) fn is_serializable(history: &History) -> bool {
    let operations = &history.operations;
    let unknown: Vec<usize> =
        (0..operations.len()).filter(|&at| operations[at].replied.is_none()).collect();
    (0..1u32 << unknown.len()).any(|chosen| {
        let left: Vec<usize> = (0..operations.len())
            .filter(|at| match unknown.iter().position(|other| other == at) {
                None => true,
                Some(place) => chosen & 1 << place != 0,
            })
            .collect();
        has_order(history, &left, &State::default())
    })
}

fn has_order(history: &History, left: &[usize], state: &State) -> bool {
    left.is_empty()
        || left.iter().any(|&next| {
            let may_be_next = !left.iter().any(|&other| is_before(history, other, next));
            let mut state = state.clone();
            let rest: Vec<usize> = left.iter().copied().filter(|&other| other != next).collect();
            may_be_next && state.run(&history.operations[next]) && has_order(history, &rest, &state)
        })
}

fn is_before(history: &History, one: usize, other: usize) -> bool {
    let (first, second) = (&history.operations[one], &history.operations[other]);
    let in_time = first.replied.is_some_and(|replied| replied < second.sent);
    let is_same_client = first.client == second.client && one < other;
    let shares_key = || {
        let keys: BTreeSet<u32> = first.actions.iter().map(Action::key).collect();
        second.actions.iter().any(|action| keys.contains(&action.key()))
    };
    in_time
        || match history.client_order {
            ClientOrder::Free => false,
            ClientOrder::Key => is_same_client && shares_key(),
            ClientOrder::All => is_same_client,
        }
}
