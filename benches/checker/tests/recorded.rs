//! A history that was recorded from redis-server, and what becomes of it with errors planted that
//! a broken server would make.
//!
//! ```text
//! checker run --requests 900 --clients 6 --keys 3 --pipeline 2 --save tests/recorded.txt
//! ```

use kevy_checker::{Action, History, Operation, Verdict, check, load};

fn recorded() -> History {
    load(&include_bytes!("recorded.txt")[..]).expect("a history")
}

fn reads(operation: &Operation) -> impl Iterator<Item = (u32, u64)> {
    operation.actions.iter().filter_map(|action| match *action {
        Action::Read { key, value: Some(value) } => Some((key, value)),
        _ => None,
    })
}

fn writes(operation: &Operation, written: (u32, u64)) -> bool {
    let wanted = Action::Write { key: written.0, value: written.1 };
    operation.actions.contains(&wanted)
}

/// The number of the operation that wrote a value.
fn writer(history: &History, written: (u32, u64)) -> usize {
    let mut operations = history.operations.iter();
    operations.position(|operation| writes(operation, written)).expect("it was written")
}

/// Whether one was answered before the other was sent.
fn is_over(one: &Operation, other: &Operation) -> bool {
    one.replied.is_some_and(|replied| replied < other.sent)
}

/// Plants an error wherever there is room for one, a history each, and expects all to be found.
fn expect_found(errors: impl Iterator<Item = History>) {
    let mut count = 0;
    for history in errors.take(40) {
        assert!(matches!(check(&history), Verdict::Violation(_)));
        count += 1;
    }
    assert!(count >= 5, "{count} errors were planted");
}

/// The history with a value read replaced by another.
fn reread(history: &History, number: usize, (key, value): (u32, u64), other: u64) -> History {
    let mut history = history.clone();
    let read = Action::Read { key, value: Some(value) };
    let actions = &mut history.operations[number].actions;
    let action = actions.iter_mut().find(|action| **action == read).expect("it read that");
    *action = Action::Read { key, value: Some(other) };
    history
}

#[test]
fn what_was_recorded_is_serializable() {
    assert_eq!(check(&recorded()), Verdict::Serializable);
}

#[test]
fn two_reads_swapped() {
    let history = recorded();
    let single = |number: &usize| match history.operations[*number].actions[..] {
        [Action::Read { key, value: Some(value) }] => Some((*number, (key, value))),
        _ => None,
    };
    let gets: Vec<_> = (0..history.operations.len()).filter_map(|at| single(&at)).collect();
    expect_found(gets.windows(12).filter_map(|some| {
        let ((first, old), (second, new)) = (
            some[0],
            *some.iter().rev().find(|get| get.1.0 == some[0].1.0 && get.1.1 != some[0].1.1)?,
        );
        let newer = &history.operations[writer(&history, new)];
        is_over(&history.operations[first], newer)
            .then(|| reread(&reread(&history, first, old, new.1), second, new, old.1))
    }));
}

#[test]
fn an_mset_seen_by_half() {
    let history = recorded();
    let torn = (0..history.operations.len()).filter_map(|reader| {
        let read: Vec<_> = reads(&history.operations[reader]).collect();
        let (one, other) = read.iter().enumerate().find_map(|(at, &one)| {
            let made = &history.operations[writer(&history, one)];
            let other = read[at + 1..].iter().find(|other| writes(made, **other))?;
            (other.0 != one.0).then_some((one, *other))
        })?;
        let whole = &history.operations[writer(&history, one)];
        let older = history.operations.iter().filter(|older| is_over(older, whole));
        let key = other.0;
        let mut values = older.flat_map(|older| &older.actions).filter_map(|action| match action {
            Action::Write { key: written, value } if *written == key => Some(*value),
            _ => None,
        });
        Some(reread(&history, reader, other, values.next_back()?))
    });
    expect_found(torn);
}

#[test]
fn a_write_that_ignores_what_it_watched() {
    let history = recorded();
    let ignored = (0..history.operations.len()).filter_map(|second| {
        let operation = &history.operations[second];
        let [Action::Read { key, value: Some(value) }, Action::Write { key: written, .. }] =
            operation.actions[..]
        else {
            return None;
        };
        let first = &history.operations[writer(&history, (key, value))];
        let [Action::Read { value: Some(before), .. }, Action::Write { .. }] = first.actions[..]
        else {
            return None;
        };
        (key == written).then(|| reread(&history, second, (key, value), before))
    });
    expect_found(ignored);
}

#[test]
fn a_list_seen_in_another_order() {
    let history = recorded();
    let longest = |key| {
        let actions = history.operations.iter().flat_map(|operation| &operation.actions);
        let lengths = actions.filter_map(move |action| match action {
            Action::ReadList { key: other, values } if *other == key => Some(values.len()),
            _ => None,
        });
        lengths.max().unwrap_or(0)
    };
    let swapped = (0..history.operations.len()).filter_map(|number| {
        let mut history = history.clone();
        let values =
            history.operations[number].actions.iter_mut().find_map(|action| match action {
                Action::ReadList { key, values }
                    if values.len() > 2 && values.len() < longest(*key) =>
                {
                    Some(values)
                }
                _ => None,
            })?;
        let last = values.len() - 1;
        values.swap(last - 1, last);
        Some(history)
    });
    expect_found(swapped);
}

#[test]
fn a_member_that_was_lost() {
    let history = recorded();
    let lost = (0..history.operations.len()).filter_map(|number| {
        let (before, rest) = history.operations.split_at(number);
        let earlier = before.iter().filter(|before| is_over(before, &rest[0]));
        let seen: Vec<&Action> = earlier.flat_map(|operation| &operation.actions).collect();
        let mut history = history.clone();
        let actions = &mut history.operations[number].actions;
        let values = actions.iter_mut().find_map(|action| match action {
            Action::ReadSet { key, values } => {
                let value = *values.first()?;
                let added = Action::Add { key: *key, value };
                seen.contains(&&added).then_some(values)
            }
            _ => None,
        })?;
        values.remove(0);
        Some(history)
    });
    expect_found(lost);
}
