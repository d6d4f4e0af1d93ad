//! Histories made by hand, each with its verdict, in the text format: client, sent, answered, what
//! it did. `r` and `w` are of registers, `a` and `l` of lists, `+` and `s` of sets.

use kevy_checker::{Anomaly, Verdict, check, load};

fn verdict(lines: &[&str]) -> Verdict {
    check(&load(lines.join("\n").as_bytes()).expect("a history"))
}

#[track_caller]
fn legal(lines: &[&str]) {
    assert_eq!(verdict(lines), Verdict::Serializable);
}

#[track_caller]
fn wrong(lines: &[&str]) -> Anomaly {
    match verdict(lines) {
        Verdict::Violation(anomaly) => anomaly,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn undecided(lines: &[&str]) {
    assert!(matches!(verdict(lines), Verdict::Undecided(_)));
}

#[test]
fn nothing_is_serializable() {
    legal(&[]);
}

#[test]
fn a_read_during_a_write_may_see_it_or_not() {
    legal(&["1 0 9 w0=1", "2 3 5 r0=1"]);
    legal(&["1 0 9 w0=1", "2 3 5 r0=-"]);
}

#[test]
fn a_stale_read_after_the_reply() {
    let anomaly = wrong(&["1 0 5 w0=1", "2 6 9 r0=-"]);
    assert_eq!(anomaly.operations.len(), 2);
    assert!(anomaly.steps.iter().any(|step| step.contains("answered at 5")), "{anomaly}");
    assert!(anomaly.steps.iter().any(|step| step.contains("replaced by 1")), "{anomaly}");
}

#[test]
fn a_read_at_the_moment_of_the_reply_may_be_stale() {
    legal(&["1 0 5 w0=1", "2 5 9 r0=-"]);
}

#[test]
fn a_read_of_an_older_value_after_the_reply() {
    wrong(&["1 0 1 w0=1", "1 2 3 w0=2", "2 4 5 r0=1"]);
    legal(&["1 0 1 w0=1", "1 2 5 w0=2", "2 4 5 r0=1"]);
}

#[test]
fn reads_that_go_back() {
    wrong(&["1 0 1 w0=1", "1 2 90 w0=2", "2 10 11 r0=2", "3 12 13 r0=1"]);
    legal(&["1 0 1 w0=1", "1 2 90 w0=2", "2 10 11 r0=1", "3 12 13 r0=2"]);
}

#[test]
fn a_value_from_the_future() {
    wrong(&["1 0 1 r0=1", "2 5 6 w0=1"]);
}

#[test]
fn a_value_that_nobody_wrote() {
    wrong(&["1 0 1 r0=1"]);
    wrong(&["1 0 1 l0=1"]);
    wrong(&["1 0 1 s0=1"]);
    // A value of another key doesn't count.
    wrong(&["1 0 9 w1=1", "2 0 9 r0=1"]);
}

#[test]
fn half_of_an_mset() {
    wrong(&["1 0 9 w0=1 w1=1", "2 3 5 r0=1 r1=-"]);
    legal(&["1 0 9 w0=1 w1=1", "2 3 5 r0=1 r1=1"]);
    legal(&["1 0 9 w0=1 w1=1", "2 3 5 r0=- r1=-"]);
}

#[test]
fn an_mset_between_two_reads_of_one_client() {
    legal(&["1 0 9 w0=1 w1=1", "2 3 4 r1=-", "2 5 6 r0=1"]);
    wrong(&["1 0 9 w0=1 w1=1", "2 3 4 r1=1", "2 5 6 r0=-"]);
}

#[test]
fn msets_that_cross() {
    wrong(&["1 0 9 w0=1 w1=1", "2 0 9 w0=2 w1=2", "3 10 11 r0=1 r1=2"]);
    legal(&["1 0 9 w0=1 w1=1", "2 0 9 w0=2 w1=2", "3 10 11 r0=2 r1=2"]);
    legal(&["1 0 9 w0=1 w1=1", "2 0 9 w0=2 w1=3", "3 10 11 r0=1", "3 12 13 r1=1"]);
    wrong(&["1 0 9 w0=1 w1=1", "2 0 9 w0=2 w1=3", "3 10 11 r0=1", "3 12 13 r1=3"]);
}

#[test]
fn two_writes_that_replaced_one_value() {
    wrong(&["1 0 9 r0=- w0=1", "2 0 9 r0=- w0=2"]);
    legal(&["1 0 9 r0=- w0=1", "2 0 9 r0=1 w0=2"]);
}

#[test]
fn two_watched_transactions_that_saw_one_value() {
    wrong(&["1 0 1 w0=1", "1 2 9 r0=1 w0=2", "2 3 8 r0=1 w0=3"]);
    // One that only read it comes first.
    legal(&["1 0 1 w0=1", "1 2 9 r0=1 w0=2", "2 3 8 r0=1 w1=3"]);
}

#[test]
fn a_watched_key_that_was_written_blindly() {
    // The blind write was answered before the transaction was sent, whose read missed it.
    wrong(&["1 0 1 w0=1", "2 2 3 w0=2", "1 4 5 r0=1 w0=3"]);
    // It may be that it came after the transaction, or it was between the value and its reading.
    legal(&["1 0 1 w0=1", "2 2 9 w0=2", "1 4 5 r0=1 w0=3", "3 10 11 r0=2"]);
    wrong(&["1 0 1 w0=1", "2 2 4 w0=2", "1 3 5 r0=1 w0=3", "3 6 7 r0=2", "3 8 9 r0=3"]);
}

#[test]
fn write_skew() {
    wrong(&["1 0 9 r0=- r1=- w0=1", "2 0 9 r0=- r1=- w1=2"]);
    legal(&["1 0 9 r0=- r1=- w0=1", "2 0 9 r0=1 r1=- w1=2"]);
}

#[test]
fn a_long_fork() {
    wrong(&["1 0 90 w0=1", "2 0 90 w1=2", "3 0 90 r0=1 r1=-", "4 0 90 r0=- r1=2"]);
    legal(&["1 0 90 w0=1", "2 0 90 w1=2", "3 0 90 r0=1 r1=-", "4 0 90 r0=1 r1=2"]);
}

#[test]
fn two_operations_that_saw_each_other() {
    wrong(&["1 0 9 w0=1 r1=2", "2 0 9 w1=2 r0=1"]);
    wrong(&["1 0 9 a0=1 l1=2", "2 0 9 a1=2 l0=1"]);
    wrong(&["1 0 9 +0=1 s1=2", "2 0 9 +1=2 s0=1"]);
    wrong(&["1 0 9 w0=1 l1=2", "2 0 9 a1=2 r0=1"]);
    legal(&["1 0 9 w0=1 r1=-", "2 0 9 w1=2 r0=1"]);
}

#[test]
fn three_operations_in_a_circle() {
    let anomaly = wrong(&["1 0 9 w0=1 l1=2", "2 0 9 a1=2 s2=3", "3 0 9 +2=3 r0=1", "4 0 9 w9=1"]);
    assert_eq!(anomaly.steps.len(), 3, "{anomaly}");
}

#[test]
fn values_replaced_in_a_circle() {
    wrong(&["1 0 9 r0=2 w0=1", "2 0 9 r0=1 w0=2"]);
}

#[test]
fn a_value_of_half_an_operation() {
    wrong(&["1 0 9 w0=1 w0=2", "2 0 9 r0=1"]);
    legal(&["1 0 9 w0=1 w0=2", "2 0 9 r0=2"]);
}

#[test]
fn an_operation_sees_its_own_writes() {
    legal(&["1 0 9 w0=1 r0=1 w0=2 r0=2"]);
    wrong(&["1 0 9 w0=1 r0=-"]);
    wrong(&["1 0 9 r0=1 w0=1"]);
    wrong(&["1 0 9 r0=- r0=1", "2 0 9 w0=1"]);
}

#[test]
fn a_list_in_two_orders() {
    wrong(&["1 0 9 a0=1", "2 0 9 a0=2", "3 0 9 l0=1,2", "4 0 9 l0=2,1"]);
    wrong(&["1 0 9 a0=1", "2 0 9 a0=2", "3 0 9 l0=1", "4 0 9 l0=2"]);
    legal(&["1 0 9 a0=1", "2 0 9 a0=2", "3 0 9 l0=2", "4 0 9 l0=2,1"]);
}

#[test]
fn a_list_against_real_time() {
    wrong(&["1 0 1 a0=1", "1 2 3 a0=2", "2 4 5 l0=2,1"]);
    wrong(&["1 0 1 a0=1", "1 2 3 a0=2", "2 4 5 l0=1"]);
    legal(&["1 0 1 a0=1", "1 2 5 a0=2", "2 4 5 l0=1"]);
}

#[test]
fn a_list_that_shrinks() {
    wrong(&["1 0 1 a0=1", "2 2 3 l0=1", "2 4 5 l0="]);
}

#[test]
fn an_append_that_appears_twice() {
    wrong(&["1 0 1 a0=1", "2 2 3 l0=1,1"]);
}

#[test]
fn an_append_that_was_lost() {
    wrong(&["1 0 1 a0=1", "2 2 3 a0=2", "3 4 5 l0=2"]);
}

#[test]
fn appends_of_one_operation_stay_together_and_in_order() {
    legal(&["1 0 9 a0=1 a0=2", "2 0 9 a0=3", "3 0 9 l0=3,1,2"]);
    wrong(&["1 0 9 a0=1 a0=2", "2 0 9 a0=3", "3 0 9 l0=1,3,2"]);
    wrong(&["1 0 9 a0=1 a0=2", "3 0 9 l0=2,1"]);
    wrong(&["1 0 9 a0=1 a0=2", "3 0 9 l0=1"]);
    legal(&["1 0 9 a0=1 l0=1 a0=2", "3 10 11 l0=1,2"]);
    wrong(&["1 0 9 a0=1 l0=1 a0=2", "3 10 11 l0=1"]);
}

#[test]
fn two_appends_after_one_state() {
    wrong(&["1 0 9 l0= a0=1", "2 0 9 l0= a0=2"]);
    legal(&["1 0 9 l0= a0=1", "2 0 9 l0=1 a0=2"]);
}

#[test]
fn a_transaction_over_two_lists_is_seen_whole() {
    wrong(&["1 0 9 a0=1 a1=2", "2 0 9 l0=1 l1="]);
    legal(&["1 0 9 a0=1 a1=2", "2 0 9 l0=1 l1=2"]);
}

#[test]
fn set_reads_that_disagree() {
    wrong(&["1 0 9 +0=1", "2 0 9 +0=2", "3 0 9 s0=1", "4 0 9 s0=2"]);
    legal(&["1 0 9 +0=1", "2 0 9 +0=2", "3 0 9 s0=1", "4 0 9 s0=2,1"]);
}

#[test]
fn a_set_against_real_time() {
    wrong(&["1 0 1 +0=1", "2 2 3 s0="]);
    wrong(&["1 0 90 +0=1", "2 2 3 s0=1", "2 4 5 s0="]);
    wrong(&["1 0 1 +0=1", "1 2 3 +0=2", "2 0 90 s0=2", "3 0 90 s0=1,2"]);
    legal(&["1 0 90 +0=1", "2 2 3 s0=", "2 4 5 s0=1"]);
}

#[test]
fn additions_of_one_operation_are_seen_together() {
    wrong(&["1 0 9 +0=1 +0=2", "2 0 9 s0=1"]);
    legal(&["1 0 9 +0=1 +0=2", "2 0 9 s0=2,1"]);
}

#[test]
fn two_additions_that_missed_each_other() {
    wrong(&["1 0 9 s0= +0=1", "2 0 9 s0= +0=2"]);
    legal(&["1 0 9 s0= +0=1", "2 0 9 s0=1 +0=2"]);
}

#[test]
fn a_lost_reply_may_mean_that_it_ran() {
    legal(&["1 0 ? w0=1", "2 50 51 r0=1"]);
    legal(&["1 0 ? w0=1", "2 2 3 r0=-", "2 50 51 r0=1"]);
    legal(&["1 0 ? a0=1", "2 2 3 l0=", "2 50 51 l0=1"]);
}

#[test]
fn a_lost_reply_may_mean_that_it_never_ran() {
    legal(&["1 0 ? w0=1", "2 50 51 r0=-"]);
    legal(&["1 0 ? r0=- w0=1", "2 2 3 r0=- w0=2", "2 50 51 r0=2"]);
    legal(&["1 0 ? +0=1", "2 50 51 s0="]);
}

#[test]
fn what_ran_without_a_reply_ran_once_and_whole() {
    wrong(&["1 0 ? w0=1 w1=2", "2 50 51 r0=1 r1=-"]);
    wrong(&["1 0 ? w0=1", "2 50 51 r0=1", "2 60 61 r0=-"]);
    wrong(&["1 0 ? a0=1 w1=2", "2 50 51 l0=1", "2 60 61 r1=-"]);
    wrong(&["1 60 ? w0=1", "2 50 51 r0=1"]);
}

#[test]
fn a_lost_reply_that_only_another_lost_one_saw() {
    // Neither need have run.
    legal(&["1 0 ? w0=1", "2 5 ? r0=1 w1=2", "3 50 51 r0=- r1=-"]);
    // The second ran, so the first did.
    wrong(&["1 0 ? w0=1", "2 5 ? r0=1 w1=2", "3 50 51 r0=- r1=2"]);
}

#[test]
fn blind_writes_are_ordered_by_what_else_is_known() {
    // Both orders of the writes to 0 are open in time; the reads of 1 and 2 leave one.
    let writes = ["1 0 90 w0=1 w1=1", "2 0 90 w0=2 w2=2", "3 0 90 r1=1 r2=-"];
    legal(&[&writes[..], &["4 91 92 r0=2"]].concat());
    wrong(&[&writes[..], &["4 91 92 r0=1"]].concat());
}

#[test]
fn blind_writes_that_can_be_ordered_neither_way() {
    let anomaly = wrong(&["1 0 90 w0=1 w1=1", "2 0 90 w0=2 w1=2", "3 91 92 r0=1", "3 93 94 r1=2"]);
    assert!(!anomaly.steps.is_empty());
}

#[test]
fn guesses_that_are_all_wrong() {
    // Either order of the writes to 0 is open, and so is either of those to 1; but whoever read 0
    // had seen both writers of 1, and the other way round.
    let history = [
        "1 0 9 w0=1 w2=1",
        "2 0 9 w0=2 w3=1",
        "3 0 9 w1=1 w4=1",
        "4 0 9 w1=2 w5=1",
        "5 0 9 r0=1 r4=1 r5=1",
        "6 0 9 r0=2 r4=1 r5=1",
        "7 0 9 r1=1 r2=1 r3=1",
        "8 0 9 r1=2 r2=1 r3=1",
    ];
    let anomaly = wrong(&history);
    assert!(anomaly.steps.iter().any(|step| step.contains("no other order")), "{anomaly}");
    legal(&history[..7]);
    legal(&[&history[..4], &history[5..]].concat());
}

#[test]
fn what_a_client_sent_at_once_may_be_asked_to_run_in_order() {
    let swapped = ["1 0 9 w0=1", "1 0 9 r0=-"];
    legal(&swapped);
    wrong(&[&["order key"], &swapped[..]].concat());
    wrong(&[&["order all"], &swapped[..]].concat());
    let other_keys = ["1 0 9 w0=1", "1 0 9 w1=1", "2 0 9 r1=1 r0=-"];
    legal(&[&["order key"], &other_keys[..]].concat());
    wrong(&[&["order all"], &other_keys[..]].concat());
}

#[test]
fn histories_that_cannot_be_checked() {
    undecided(&["1 0 1 w0=1", "2 0 1 w0=1"]);
    undecided(&["1 0 1 w0=1", "2 0 1 l0="]);
}
