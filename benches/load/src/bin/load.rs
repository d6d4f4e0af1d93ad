//! Drives servers: one for a while (`run`), or several in turn (`compare`).

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use kevy_bench_load::address::Address;
use kevy_bench_load::client::{self, Check, Length, Plan};
use kevy_bench_load::compare::Pace;
use kevy_bench_load::cores;
use kevy_bench_load::report;
use kevy_bench_load::scenario::{Outcome, Scenario, matrix};
use kevy_bench_load::server::{Place, Transport, split_arguments};
use kevy_bench_load::setting::{Programs, Setting};
use kevy_bench_load::workload::{KeySpace, Order, Verb, Workload};

/// Measures servers that speak RESP: throughput, latency, and above all CPU time per request.
#[derive(Parser)]
enum Command {
    /// Loads one server that runs already.
    Run(Run),
    /// Starts several servers and loads them in turn.
    Compare(Box<Compare>),
}

#[derive(Args)]
struct Load {
    /// Number of keys.
    #[arg(short = 'r', long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    /// Length of values.
    #[arg(short = 'd', long, default_value_t = 16)]
    value_bytes: usize,
    /// Seed of the keys' order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Compare every byte of every reply. The client is slower then.
    #[arg(long)]
    check: bool,
    /// The client's core.
    #[arg(long, default_value_t = 1)]
    client_core: usize,
    /// Seconds before each measurement.
    #[arg(long, default_value_t = 0.2)]
    warmup: f64,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

impl Load {
    fn space(&self) -> KeySpace {
        KeySpace::new(self.keys, self.value_bytes)
    }

    fn check(&self) -> Check {
        if self.check { Check::Bytes } else { Check::Heads }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Requests {
    Get,
    Set,
    Ping,
    Mixed,
    /// `get` of memcached.
    MemcachedGet,
    /// `set` of memcached.
    MemcachedSet,
    /// `get` of memcached for 100 keys at once.
    MemcachedMany,
}

impl Requests {
    fn workload(self, space: KeySpace) -> Workload {
        match self {
            Self::Get => Workload::of(Verb::Get, space),
            Self::Set => Workload::of(Verb::Set, space),
            Self::Ping => Workload::of(Verb::Ping, space),
            Self::Mixed => Workload::mixed(space),
            Self::MemcachedGet => Workload::memcached(Verb::Get, space),
            Self::MemcachedSet => Workload::memcached(Verb::Set, space),
            Self::MemcachedMany => Workload::memcached_many(space),
        }
    }

    /// What writes every key that is asked for.
    fn fill(self, space: KeySpace) -> Option<Workload> {
        match self {
            Self::Ping => None,
            Self::Get | Self::Set | Self::Mixed => Some(Workload::of(Verb::Set, space)),
            _ => Some(Workload::memcached(Verb::Set, space)),
        }
    }
}

#[derive(Args)]
struct Run {
    /// Port on loopback.
    #[arg(long, default_value_t = 6379)]
    port: u16,
    /// Unix socket, instead of the port.
    #[arg(long)]
    unixsocket: Option<PathBuf>,
    /// The server's process, to measure its CPU time.
    #[arg(long)]
    pid: Option<u32>,
    /// Number of connections.
    #[arg(short, long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Requests under way on each connection.
    #[arg(short = 'P', long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    depth: u32,
    /// What to ask.
    #[arg(short, long, value_enum, default_value = "get")]
    workload: Requests,
    /// Leave out writing every key first.
    #[arg(long)]
    no_fill: bool,
    #[command(flatten)]
    load: Load,
}

#[derive(Args)]
struct Compare {
    /// A preset, instead of the matrix of workloads, connections and depths.
    #[arg(long, value_enum)]
    scenario: Option<Scenario>,
    /// Three short rounds over few keys with 50 connections: a look, not a result.
    #[arg(long)]
    quick: bool,
    /// Workloads of the matrix.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "get,set,ping")]
    workloads: Vec<Verbs>,
    /// Numbers of connections of the matrix.
    #[arg(long, value_delimiter = ',', default_value = "1,50,512")]
    connections: Vec<usize>,
    /// Depths of the matrix.
    #[arg(long, value_delimiter = ',', default_value = "1,16,100")]
    depths: Vec<usize>,
    /// Turns of each server per case.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Unix sockets instead of TCP.
    #[arg(long)]
    unix: bool,
    /// The servers' cores, as taskset takes them.
    #[arg(long, default_value = "0")]
    server_cores: String,
    /// The server under test.
    #[arg(long, default_value = "target/release/redis-server")]
    ours: PathBuf,
    /// Its arguments; `{shards}` stands for the number of shards that a case wants.
    #[arg(long, default_value = "--shards {shards} --reactor uring", allow_hyphen_values = true)]
    ours_args: String,
    /// The server on the same framework that only answers PING.
    #[arg(long, default_value = "target/release/ping")]
    ping: PathBuf,
    /// Its arguments.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    ping_args: String,
    /// The server to compare with.
    #[arg(long, default_value = "/usr/bin/redis-server")]
    redis: PathBuf,
    /// The lower bound; by default the one built with this program.
    #[arg(long)]
    floor: Option<PathBuf>,
    /// More arguments for the lower bound.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    floor_args: String,
    /// Folder for the report, the rounds and the chart.
    #[arg(long, default_value = "target/load")]
    out: PathBuf,
    /// Fail if a bar is missed.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    load: Load,
}

#[derive(Clone, Copy, ValueEnum)]
enum Verbs {
    Get,
    Set,
    Ping,
}

impl From<Verbs> for Verb {
    fn from(verb: Verbs) -> Self {
        match verb {
            Verbs::Get => Self::Get,
            Verbs::Set => Self::Set,
            Verbs::Ping => Self::Ping,
        }
    }
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Run(run) => drive(&run),
        Command::Compare(compare) => contest(&compare),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn drive(run: &Run) -> Result<ExitCode, Box<dyn Error>> {
    let load = &run.load;
    cores::pin(load.client_core)?;
    let address = match &run.unixsocket {
        Some(path) => Address::Unix(path.clone()),
        None => Address::loopback(run.port),
    };
    let space = load.space();
    let workload = run.workload.workload(space);
    if let Some(filling) = run.workload.fill(space).filter(|_| !run.no_fill) {
        client::fill(&address, &filling)?;
    }
    let measured = client::run(&Plan {
        address: &address,
        pid: run.pid,
        workload: &workload,
        order: Order::Random { seed: load.seed },
        connections: run.connections.into(),
        depth: run.depth as usize,
        length: Length::Window {
            warmup: Duration::try_from_secs_f64(load.warmup)?,
            measured: Duration::try_from_secs_f64(load.seconds)?,
        },
        check: load.check(),
    })?;
    println!("requests/s     {:.0}", measured.throughput());
    for (name, figure) in
        [("server CPU ns ", measured.cpu_ns()), ("instructions  ", measured.instructions())]
    {
        if let Some(figure) = figure {
            println!("{name} {figure:.0} per request");
        }
    }
    for (name, fraction) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let us = measured.latency.quantile(fraction).as_nanos() as f64 / 1000.0;
        println!("{name:<14} {us:.1} us");
    }
    println!("client idle    {:.0} %", measured.idle * 100.0);
    if measured.misses > 0 {
        return Err(
            format!("{} GETs found no value; the result is invalid", measured.misses).into()
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn contest(compare: &Compare) -> Result<ExitCode, Box<dyn Error>> {
    cores::pin(compare.load.client_core)?;
    let directory = std::env::temp_dir().join(format!("kevy-load-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let outcome = setting(compare, &directory).and_then(|setting| {
        Ok(match compare.scenario {
            Some(scenario) => scenario.run(&setting)?,
            None => {
                let verbs: Vec<Verb> =
                    compare.workloads.iter().map(|verb| (*verb).into()).collect();
                let connections = if compare.quick { &[50] } else { &compare.connections[..] };
                matrix(&setting, &verbs, connections, &compare.depths)?
            }
        })
    });
    std::fs::remove_dir_all(&directory)?;
    let outcome = outcome?;
    show(compare, &outcome)?;
    let is_missed = outcome.verdicts.iter().any(|verdict| verdict.is_missed());
    Ok(if compare.strict && is_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn setting(compare: &Compare, directory: &Path) -> Result<Setting, Box<dyn Error>> {
    /// What `--quick` sets.
    const QUICK: (usize, f64, f64, u64) = (3, 0.1, 0.25, 100_000);
    let load = &compare.load;
    let (rounds, warmup, seconds, keys) = match compare.quick {
        true => QUICK,
        false => (compare.rounds, load.warmup, load.seconds, load.keys),
    };
    let floor = match &compare.floor {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("floor"),
    };
    Ok(Setting {
        programs: Programs {
            ours: compare.ours.clone(),
            ours_arguments: split_arguments(&compare.ours_args),
            ping: compare.ping.clone(),
            ping_arguments: split_arguments(&compare.ping_args),
            redis: compare.redis.clone(),
            floor,
            floor_arguments: split_arguments(&compare.floor_args),
        },
        place: Place {
            cores: compare.server_cores.clone(),
            transport: if compare.unix { Transport::Unix } else { Transport::Tcp },
            directory: directory.to_owned(),
        },
        pace: Pace {
            rounds,
            warmup: Duration::try_from_secs_f64(warmup)?,
            measured: Duration::try_from_secs_f64(seconds)?,
            seed: load.seed,
            check: load.check(),
        },
        keys,
        value_bytes: load.value_bytes,
    })
}

/// Prints the outcome and writes it to the folder for reports.
fn show(compare: &Compare, outcome: &Outcome) -> Result<(), Box<dyn Error>> {
    let transport = if compare.unix { Transport::Unix } else { Transport::Tcp };
    let title = match compare.scenario {
        Some(scenario) => scenario.to_possible_value().map(|value| value.get_name().to_owned()),
        None => None,
    };
    let head = format!(
        "# {}\n\n{transport}, servers on core {}, client on core {}.\n",
        title.as_deref().unwrap_or("Comparison"),
        compare.server_cores,
        compare.load.client_core,
    );
    let mut verdicts = String::new();
    for line in outcome.verdicts.iter().map(ToString::to_string) {
        verdicts += &format!("{line}\n");
    }
    for note in &outcome.notes {
        verdicts += &format!("- {note}\n");
    }
    print!("{}\n{verdicts}", report::markdown(&outcome.groups));
    report::save(&compare.out, &head, &verdicts, &outcome.groups)?;
    eprintln!("written to {}", compare.out.display());
    Ok(())
}
