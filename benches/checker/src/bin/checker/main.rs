//! Runs clients against a server that speaks the Redis protocol, records what they did and saw, and
//! decides whether it was strictly serializable.
//!
//! ```text
//! cargo run --release -p kevy-checker -- run --address 127.0.0.1:6379 --clients 32 --seconds 60
//! cargo run --release -p kevy-checker -- check history.txt
//! ```
//!
//! The exit code is 0 if it was, 1 if it wasn't, 2 if that couldn't be decided or something else
//! went wrong.

#![forbid(unsafe_code)]

mod client;
mod command;
mod resp;
mod run;
mod workload;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand, ValueEnum};
use kevy_checker::{ClientOrder, History, Verdict, check, load, save};

use crate::resp::Address;
use crate::workload::Kind;

/// Decides strict serializability.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Runs clients against a server and checks what they saw.
    Run(Run),
    /// Checks a history that was saved.
    Check {
        /// The history.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Run {
    /// The server's host and port.
    #[arg(long, default_value = "127.0.0.1:6379")]
    address: String,
    /// The server's Unix socket, instead of its address.
    #[arg(long)]
    unix: Option<PathBuf>,
    /// Connections.
    #[arg(long, default_value_t = 32)]
    clients: u32,
    /// How long to run.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Ends the run after these many operations, if that is sooner.
    #[arg(long)]
    requests: Option<u64>,
    /// Keys of each type.
    #[arg(long, default_value_t = 10)]
    keys: u32,
    /// Operations that a client sends before it reads their replies.
    #[arg(long, default_value_t = 1)]
    pipeline: usize,
    /// Decides what is drawn; the times and so the history differ all the same.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kinds of operations to leave out.
    #[arg(long, value_delimiter = ',')]
    without: Vec<Kind>,
    /// What the order within a client's pipeline must be kept for.
    #[arg(long, default_value = "free")]
    client_order: Order,
    /// Keeps the history in this file.
    #[arg(long)]
    save: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    /// Nothing: strict serializability alone.
    Free,
    /// Operations on the same key.
    Key,
    /// All operations.
    All,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().what {
        What::Run(run) => measure(&run),
        What::Check { file } => check_file(&file),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(2)
    })
}

fn check_file(file: &Path) -> Result<ExitCode, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let opened = File::open(file).map_err(|error| told(&error))?;
    let history = load(BufReader::new(opened)).map_err(|error| told(&error))?;
    Ok(decide(&history))
}

fn measure(run: &Run) -> Result<ExitCode, String> {
    let address = match &run.unix {
        Some(path) => Address::Unix(path.clone()),
        None => Address::Tcp(run.address.clone()),
    };
    let left_out: BTreeSet<Kind> = run.without.iter().copied().collect();
    let plan = run::Plan {
        address,
        clients: run.clients,
        time: Duration::from_secs(run.seconds),
        requests: run.requests.unwrap_or(u64::MAX),
        keys: run.keys,
        pipeline: run.pipeline.max(1),
        seed: run.seed,
    };
    let outcome = run::run(&plan, left_out).map_err(|error| format!("no server: {error}"))?;
    print!("{}", outcome.report);
    let history = History {
        operations: outcome.operations,
        client_order: match run.client_order {
            Order::Free => ClientOrder::Free,
            Order::Key => ClientOrder::Key,
            Order::All => ClientOrder::All,
        },
    };
    if let Some(file) = &run.save {
        let saved = File::create(file).and_then(|file| {
            let mut to = BufWriter::new(file);
            save(&history, &mut to)?;
            to.flush()
        });
        saved.map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let code = decide(&history);
    match outcome.nonsense {
        None => Ok(code),
        Some(reply) => {
            println!("VIOLATION: a reply that nothing written explains: {reply}");
            Ok(ExitCode::from(1))
        }
    }
}

fn decide(history: &History) -> ExitCode {
    let started = Instant::now();
    let verdict = check(history);
    let (count, time) = (history.operations.len(), started.elapsed().as_secs_f64());
    println!("checked {count} operations in {time:.1} s");
    match verdict {
        Verdict::Serializable => {
            println!("strictly serializable");
            ExitCode::SUCCESS
        }
        Verdict::Violation(anomaly) => {
            println!("VIOLATION: {anomaly}");
            ExitCode::from(1)
        }
        Verdict::Undecided(reason) => {
            println!("undecided: {reason}");
            ExitCode::from(2)
        }
    }
}
