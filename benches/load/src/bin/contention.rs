//! Transactions under contention, and what they cost their neighbours.
//!
//! ```text
//! contention exec --address 127.0.0.1:6379     16 connections run EXEC over the same four keys
//! contention gets --address 127.0.0.1:6379     GETs of other keys: alone, beside SETs, beside MSETs
//! ```
//!
//! Each connection waits for its reply before it sends again. Run it with the server on other cores,
//! once for each number of shards, in turn.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// EXEC of four SETs over the same four keys from every connection.
    Exec,
    /// GETs, with nothing, single SETs and MSETs of three keys beside them.
    Gets,
}

/// Transactions under contention.
#[derive(Debug, Parser)]
struct Options {
    what: What,
    /// The server.
    #[arg(long, default_value = "127.0.0.1:6379")]
    address: SocketAddr,
    /// Connections that contend, or that flood.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// How long each part takes.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

struct Connection {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    line: Vec<u8>,
}

impl Connection {
    fn new(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let reader = BufReader::new(stream.try_clone()?);
        Ok(Connection { stream, reader, line: Vec::new() })
    }

    /// Sends a request, and reads `lines` lines of replies.
    fn call(&mut self, request: &[u8], lines: usize) -> io::Result<()> {
        self.stream.write_all(request)?;
        for _ in 0..lines {
            self.line.clear();
            if self.reader.read_until(b'\n', &mut self.line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if self.line.starts_with(b"-") {
                return Err(io::Error::other(String::from_utf8_lossy(&self.line).into_owned()));
            }
        }
        Ok(())
    }
}

fn request(words: &[&str]) -> Vec<u8> {
    let words_of = |words: &[&str]| -> String {
        words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect()
    };
    format!("*{}\r\n{}", words.len(), words_of(words)).into_bytes()
}

/// Calls from one connection until the time is over: how long each took.
fn hammer(
    address: SocketAddr,
    requests: &[(Vec<u8>, usize)],
    until: &AtomicBool,
) -> io::Result<Vec<Duration>> {
    let mut connection = Connection::new(address)?;
    let mut took = Vec::new();
    for (request, lines) in requests.iter().cycle() {
        if until.load(Ordering::Relaxed) {
            break;
        }
        let started = Instant::now();
        connection.call(request, *lines)?;
        took.push(started.elapsed());
    }
    Ok(took)
}

fn quantile(sorted: &[Duration], part: f64) -> f64 {
    let index = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |took| took.as_secs_f64() * 1e6)
}

fn report(name: &str, per_connection: &[Vec<Duration>], seconds: u64) {
    let mut all: Vec<Duration> = per_connection.iter().flatten().copied().collect();
    all.sort_unstable();
    let fewest = per_connection.iter().map(Vec::len).min().unwrap_or(0);
    let most = per_connection.iter().map(Vec::len).max().unwrap_or(0);
    println!(
        "{name}: {} per second, {fewest} to {most} per connection; us p50 {:.0}, p99 {:.0}, p99.9 {:.0}, worst {:.0}",
        all.len() as u64 / seconds,
        quantile(&all, 0.5),
        quantile(&all, 0.99),
        quantile(&all, 0.999),
        quantile(&all, 1.0),
    );
}

/// What a connection sends, one after the other, each with the lines of its reply.
type Requests = Vec<(Vec<u8>, usize)>;

/// Runs `watched` and `beside` connections at once; reports the watched ones.
fn run<'env>(
    options: &Options,
    name: &str,
    watched: &'env [Requests],
    beside: &'env [Requests],
) -> io::Result<()> {
    let is_over = AtomicBool::new(false);
    let (address, is_over) = (options.address, &is_over);
    let took = thread::scope(|scope| -> io::Result<Vec<Vec<Duration>>> {
        let start =
            |requests: &'env Requests| scope.spawn(move || hammer(address, requests, is_over));
        let watched: Vec<_> = watched.iter().map(start).collect();
        let beside: Vec<_> = beside.iter().map(start).collect();
        thread::sleep(Duration::from_secs(options.seconds));
        is_over.store(true, Ordering::Relaxed);
        let join = |thread: thread::ScopedJoinHandle<'_, io::Result<Vec<Duration>>>| {
            thread.join().map_err(|_| io::Error::other("a connection panicked"))?
        };
        let took = watched.into_iter().map(join).collect::<io::Result<Vec<_>>>()?;
        beside.into_iter().try_for_each(|thread| join(thread).map(drop))?;
        Ok(took)
    })?;
    report(name, &took, options.seconds);
    Ok(())
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    match options.what {
        What::Exec => {
            let of = |connection: usize| {
                let mut all = request(&["MULTI"]);
                for key in ["contended:1", "contended:2", "contended:3", "contended:4"] {
                    all.extend(request(&["SET", key, &connection.to_string()]));
                }
                all.extend(request(&["EXEC"]));
                // OK, four times QUEUED, the list's head and four times OK.
                vec![(all, 10)]
            };
            let requests: Vec<_> = (0..options.connections).map(of).collect();
            run(&options, "EXEC over the same 4 keys", &requests, &[])
        }
        What::Gets => {
            let mut filler = Connection::new(options.address)?;
            for key in 0..1000 {
                filler.call(&request(&["SET", &format!("read:{key}"), "value"]), 1)?;
            }
            let get = |key: usize| (request(&["GET", &format!("read:{key}")]), 2);
            let reads: Vec<_> =
                (0..4).map(|from| (0..250).map(|n| get(from * 250 + n)).collect()).collect();
            let of = |count: usize, connection: usize| -> Vec<(Vec<u8>, usize)> {
                let flood = |n: usize| {
                    let keys: Vec<String> =
                        (0..3).map(|part| format!("flood:{connection}:{n}:{part}")).collect();
                    if count == 3 {
                        let words = ["MSET", &keys[0], "v", &keys[1], "v", &keys[2], "v"];
                        return (request(&words), 1);
                    }
                    let three: Vec<u8> =
                        keys.iter().flat_map(|key| request(&["SET", key, "v"])).collect();
                    (three, 3)
                };
                (0..500).map(flood).collect()
            };
            let floods = |count| -> Vec<_> {
                (0..options.connections).map(|connection| of(count, connection)).collect()
            };
            run(&options, "GET alone", &reads, &[])?;
            run(&options, "GET beside three SETs in a pipeline", &reads, &floods(1))?;
            run(&options, "GET beside MSETs of three keys", &reads, &floods(3))
        }
    }
}
