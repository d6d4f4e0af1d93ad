//! The checker against trying every order, on small random histories: some that really ran, some
//! with errors planted, of all types and of blind writes alone.

mod oracle;

use std::collections::BTreeMap;

use kevy_checker::{Action, ClientOrder, History, Operation, Verdict, check};
use proptest::prelude::*;

/// Time between the moments at which operations really ran.
const STEP: u64 = 10;

/// What an operation is to do: kinds of actions and keys, its distance to its sending and reply.
#[derive(Clone, Debug)]
struct Plan {
    client: u32,
    before: u64,
    after: u64,
    fate: Fate,
    actions: Vec<(Kind, u32)>,
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    RanUnanswered,
    NeverRan,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Read,
    Write,
    Append,
    ReadList,
    Add,
    ReadSet,
}

/// An error to plant: what, and two numbers that say where.
#[derive(Clone, Copy, Debug)]
enum Error {
    /// A read sees something else that was written to its key.
    Reread(usize, usize),
    /// An operation is moved in time.
    Move(usize, u64),
    /// An operation becomes two.
    Tear(usize, usize),
    /// An action is forgotten.
    Forget(usize, usize),
    /// An operation's reply is lost.
    Lose(usize),
}

fn kind() -> impl Strategy<Value = Kind> {
    use Kind::*;
    prop_oneof![
        3 => Just(Read), 3 => Just(Write), 2 => Just(Append), 2 => Just(ReadList),
        1 => Just(Add), 2 => Just(ReadSet),
    ]
}

fn register_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![2 => Just(Kind::Read), 3 => Just(Kind::Write)]
}

fn plan(
    kind: impl Strategy<Value = Kind> + 'static,
    keys: u32,
    most_actions: usize,
    longest: u64,
) -> impl Strategy<Value = Plan> {
    let fate = prop_oneof![
        8 => Just(Fate::Answered), 1 => Just(Fate::RanUnanswered), 1 => Just(Fate::NeverRan),
    ];
    let actions = prop::collection::vec((kind, 0..keys), 1..=most_actions);
    (0..3u32, 0..longest, 0..longest, fate, actions).prop_map(
        |(client, before, after, fate, actions)| Plan { client, before, after, fate, actions },
    )
}

fn error() -> impl Strategy<Value = Error> {
    prop_oneof![
        4 => (0..64usize, 0..64usize).prop_map(|(at, to)| Error::Reread(at, to)),
        2 => (0..64usize, 0..8u64).prop_map(|(at, to)| Error::Move(at, to)),
        2 => (0..64usize, 0..4usize).prop_map(|(at, place)| Error::Tear(at, place)),
        1 => (0..64usize, 0..4usize).prop_map(|(at, place)| Error::Forget(at, place)),
        1 => (0..64usize).prop_map(Error::Lose),
    ]
}

fn client_order() -> impl Strategy<Value = ClientOrder> {
    prop_oneof![
        4 => Just(ClientOrder::Free), 1 => Just(ClientOrder::Key), 1 => Just(ClientOrder::All),
    ]
}

/// Runs plans one after another and records what they see.
fn run(plans: &[Plan], client_order: ClientOrder) -> History {
    let mut contents: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    let mut next = 0;
    let mut operations = Vec::new();
    for (plan, number) in plans.iter().zip(1..) {
        let moment = 1000 + number * STEP;
        let is_run = !matches!(plan.fate, Fate::NeverRan);
        let untouched = contents.clone();
        let actions = plan.actions.iter().map(|&(kind, key)| {
            let key = match kind {
                Kind::Read | Kind::Write => key,
                Kind::Append | Kind::ReadList => 10 + key,
                Kind::Add | Kind::ReadSet => 20 + key,
            };
            let values = contents.entry(key).or_default();
            if let Kind::Write | Kind::Append | Kind::Add = kind {
                next += 1;
                values.push(next);
            }
            match kind {
                Kind::Read => Action::Read { key, value: values.last().copied() },
                Kind::Write => Action::Write { key, value: next },
                Kind::Append => Action::Append { key, value: next },
                Kind::ReadList => Action::ReadList { key, values: values.clone() },
                Kind::Add => Action::Add { key, value: next },
                Kind::ReadSet => Action::ReadSet { key, values: values.clone() },
            }
        });
        let actions = actions.collect();
        if !is_run {
            contents = untouched;
        }
        operations.push(Operation {
            client: plan.client,
            sent: moment - plan.before,
            replied: matches!(plan.fate, Fate::Answered).then_some(moment + plan.after),
            actions,
        });
    }
    History { operations, client_order }
}

fn plant(history: &mut History, error: Error) {
    let operations = &mut history.operations;
    let count = operations.len();
    match error {
        Error::Reread(at, to) => {
            let written: Vec<(u32, u64)> = operations
                .iter()
                .flat_map(|operation| &operation.actions)
                .filter_map(|action| match *action {
                    Action::Write { key, value }
                    | Action::Append { key, value }
                    | Action::Add { key, value } => Some((key, value)),
                    _ => None,
                })
                .collect();
            let mut reads: Vec<&mut Action> = operations
                .iter_mut()
                .flat_map(|operation| &mut operation.actions)
                .filter(|action| {
                    matches!(
                        action,
                        Action::Read { .. } | Action::ReadList { .. } | Action::ReadSet { .. }
                    )
                })
                .collect();
            let count = reads.len();
            if count == 0 {
                return;
            }
            let read = &mut reads[at % count];
            let key = read.key();
            let of_key: Vec<u64> = written
                .iter()
                .filter(|written| written.0 == key)
                .map(|written| written.1)
                .collect();
            let other = of_key.get(to % (of_key.len() + 1)).copied();
            match read {
                Action::Read { value, .. } => *value = other,
                Action::ReadList { values, .. } | Action::ReadSet { values, .. } => match other {
                    None => {
                        values.pop();
                    }
                    Some(other) => match values.iter().position(|&value| value == other) {
                        Some(place) => {
                            values.remove(place);
                        }
                        None => values.push(other),
                    },
                },
                _ => unreachable!("only reads"),
            }
        }
        Error::Move(at, to) => {
            let operation = &mut operations[at % count];
            let length = operation.replied.map(|replied| replied - operation.sent);
            operation.sent = 1000 + to * STEP;
            operation.replied = length.map(|length| operation.sent + length);
        }
        Error::Tear(at, place) => {
            let operation = &mut operations[at % count];
            if operation.actions.len() > 1 && count < 7 {
                let place = 1 + place % (operation.actions.len() - 1);
                let rest = operation.actions.split_off(place);
                let second = Operation { actions: rest, ..operation.clone() };
                operations.push(second);
            }
        }
        Error::Forget(at, place) => {
            let actions = &mut operations[at % count].actions;
            actions.remove(place % actions.len());
            if actions.is_empty() {
                operations.remove(at % count);
            }
        }
        Error::Lose(at) => operations[at % count].replied = None,
    }
}

fn agree(history: &History) -> Result<bool, TestCaseError> {
    let expected = oracle::is_serializable(history);
    let verdict = check(history);
    let is_right = match &verdict {
        Verdict::Serializable => expected,
        Verdict::Violation(_) => !expected,
        Verdict::Undecided(_) => false,
    };
    prop_assert!(is_right, "serializable: {expected}, but {verdict:?} of {history:#?}");
    Ok(expected)
}

fn with_errors(
    plans: &[Plan],
    errors: &[Error],
    client_order: ClientOrder,
) -> Result<(), TestCaseError> {
    let mut history = run(plans, client_order);
    for &error in errors {
        if !history.operations.is_empty() {
            plant(&mut history, error);
        }
    }
    agree(&history)?;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_really_ran_is_serializable(
        plans in prop::collection::vec(plan(kind(), 2, 4, 30), 1..=12),
    ) {
        let verdict = check(&run(&plans, ClientOrder::All));
        prop_assert_eq!(verdict, Verdict::Serializable);
    }

    #[test]
    fn many_blind_writes_that_really_ran_are_serializable(
        plans in prop::collection::vec(plan(register_kind(), 3, 4, 100), 1..=40),
    ) {
        let verdict = check(&run(&plans, ClientOrder::Free));
        prop_assert_eq!(verdict, Verdict::Serializable);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_types_with_errors(
        plans in prop::collection::vec(plan(kind(), 2, 4, 30), 1..=6),
        errors in prop::collection::vec(error(), 0..=3),
        client_order in client_order(),
    ) {
        with_errors(&plans, &errors, client_order)?;
    }

    #[test]
    fn blind_writes_with_errors(
        plans in prop::collection::vec(plan(register_kind(), 3, 4, 100), 2..=8),
        errors in prop::collection::vec(error(), 0..=3),
        client_order in client_order(),
    ) {
        with_errors(&plans, &errors, client_order)?;
    }
}
