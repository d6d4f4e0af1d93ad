//! The longest turn: how long a shard can keep its other connections waiting.

use std::io;
use std::time::Duration;

use super::{Failure, MANY, Outcome};
use crate::client;
use crate::compare::{self, Case, Group, Pace, measure};
use crate::server::Server;
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
    let first = longest_turns_ms(&info_shards(&server)?).into_iter().reduce(f64::max);
    let is_line = |reply: &[u8]| reply.ends_with(b"\r\n");
    server.address().ask(b"*2\r\n$6\r\nCONFIG\r\n$9\r\nRESETSTAT\r\n", is_line)?;
    let measured = measure(&server, &case, &pace, 1)?;
    let info = info_shards(&server)?;
    let turns = longest_turns_ms(&info);
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

/// The text of the server's `INFO shards`.
fn info_shards(server: &Server) -> io::Result<String> {
    let whole_len = |reply: &[u8]| {
        let end = reply.iter().position(|byte| *byte == b'\r')?;
        let len: usize = std::str::from_utf8(&reply[1..end]).ok()?.parse().ok()?;
        Some(end + 2 + len + 2)
    };
    // An error is a line; so is the start of anything else that is no bulk string.
    let is_whole = |reply: &[u8]| match reply.first() {
        Some(b'$') => whole_len(reply).is_some_and(|len| reply.len() >= len),
        _ => reply.ends_with(b"\r\n"),
    };
    let reply = server.address().ask(b"*2\r\n$4\r\nINFO\r\n$6\r\nshards\r\n", is_whole)?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}

/// The figures after `longest_turn`, in milliseconds. The field's name ends in its unit, `_ns`,
/// `_us` or `_ms`, or has none, which means microseconds.
fn longest_turns_ms(info: &str) -> Vec<f64> {
    let figures = info.split("longest_turn").skip(1).filter_map(|rest| {
        let (unit, rest) = rest.split_at(rest.find([':', '='])?);
        let end =
            rest[1..].find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(rest.len() - 1);
        let figure: f64 = rest[1..=end].parse().ok()?;
        match unit {
            "_ns" => Some(figure / 1e6),
            "_us" | "" => Some(figure / 1e3),
            "_ms" => Some(figure),
            _ => None,
        }
    });
    figures.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_turns_are_found_in_any_unit() {
        let info = "# Shards\r\nshard0:keys=1,longest_turn_us=250,x=1\r\nlongest_turn_ns:5000000\r\n\
                    longest_turn_ms=1.5";
        assert_eq!(longest_turns_ms(info), [0.25, 5.0, 1.5]);
        assert!(longest_turns_ms("$0\r\n\r\n").is_empty());
    }
}
