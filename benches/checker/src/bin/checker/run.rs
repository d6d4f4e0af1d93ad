//! A run: finds out what the server has, lets clients loose on it, and adds up what they did.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::{Duration, Instant};

use kevy_checker::Operation;

use crate::client::{Client, Record, Shared};
use crate::resp::{Address, Connection, Reply};
use crate::workload::{Draw, Keys, Kind};

/// What is to be run.
pub(crate) struct Plan {
    pub(crate) address: Address,
    pub(crate) clients: u32,
    pub(crate) time: Duration,
    pub(crate) requests: u64,
    pub(crate) keys: u32,
    pub(crate) pipeline: usize,
    pub(crate) seed: u64,
}

/// What came of it.
pub(crate) struct Outcome {
    /// In the order in which they were sent.
    pub(crate) operations: Vec<Operation>,
    pub(crate) report: String,
    /// A reply that no order of the operations can explain.
    pub(crate) nonsense: Option<String>,
}

/// The names by which a server tells whether it has what a kind needs.
const NEEDS: [(Kind, &str); 10] = [
    (Kind::Get, "GET"),
    (Kind::Set, "SET"),
    (Kind::SetGet, "SET"),
    (Kind::GetSet, "GETSET"),
    (Kind::MGet, "MGET"),
    (Kind::MSet, "MSET"),
    (Kind::Append, "APPEND"),
    (Kind::SAdd, "SADD"),
    (Kind::Exec, "EXEC"),
    (Kind::Watch, "WATCH"),
];

pub(crate) fn run(plan: &Plan, mut left_out: BTreeSet<Kind>) -> io::Result<Outcome> {
    let mut report = String::new();
    let mut connection = Connection::open(&plan.address)?;
    for (kind, name) in NEEDS {
        if !left_out.contains(&kind) && !has(&mut connection, name)? {
            left_out.insert(kind);
            tell(&mut report, &format!("without {kind:?}: the server has no {name}"));
        }
    }
    if left_out.len() == NEEDS.len() {
        return Err(io::Error::other("nothing is left to send"));
    }

    // Keys that nobody has used; the state is known to be empty.
    let start = Instant::now();
    let shared = Shared {
        address: plan.address.clone(),
        prefix: format!("checker:{:016x}:", RandomState::new().hash_one(std::process::id())),
        start,
        end: start + plan.time,
        left: AtomicU64::new(plan.requests),
    };
    let keys = Keys::new(plan.keys.max(1));
    let client = |number| Client {
        number,
        shared: &shared,
        draw: Draw::new(&keys, &left_out, (number, plan.clients), plan.seed),
        pipeline: plan.pipeline,
        record: Record::default(),
    };
    let records: Vec<Record> = thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.clients)
            .map(|number| {
                let client = client(number);
                scope.spawn(|| client.run())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("clients don't panic")).collect()
    });
    Ok(sum(records, start.elapsed(), report))
}

fn has(connection: &mut Connection, name: &str) -> io::Result<bool> {
    connection.push(&["COMMAND".into(), "INFO".into(), name.into()]);
    connection.send()?;
    Ok(match connection.reply()? {
        Reply::Array(Some(parts)) => matches!(&parts[..], [Reply::Array(Some(_))]),
        _ => false,
    })
}

fn sum(records: Vec<Record>, time: Duration, mut report: String) -> Outcome {
    let (mut operations, mut counts, mut requests) = (Vec::new(), BTreeMap::new(), 0);
    let (mut refusal, mut nonsense) = (None, None);
    for record in records {
        operations.extend(record.operations);
        for (name, count) in record.counts {
            *counts.entry(name).or_insert(0) += count;
        }
        requests += record.requests;
        refusal = refusal.or(record.refusal);
        nonsense = nonsense.or(record.nonsense);
    }
    // Of one client, later operations are sent later or at the same time, so they stay in order.
    operations.sort_by_key(|operation| operation.sent);
    for (name, count) in counts {
        tell(&mut report, &format!("{count:>10} {name}"));
    }
    let per_second = |count: f64| count / time.as_secs_f64();
    tell(
        &mut report,
        &format!(
            "{} operations, {requests} requests in {:.1} s: {:.0} and {:.0} per second",
            operations.len(),
            time.as_secs_f64(),
            per_second(operations.len() as f64),
            per_second(requests as f64)
        ),
    );
    if let Some(text) = refusal {
        tell(&mut report, &format!("a refusal: {text}"));
    }
    Outcome { operations, report, nonsense }
}

fn tell(report: &mut String, line: &str) {
    writeln!(report, "{line}").expect("memory takes it");
}
