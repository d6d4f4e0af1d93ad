//! `memcached-server`: the memcached server of kevy-memcached as a program, with memcached's own
//! flags.
//!
//! ```text
//! cargo run --release -p memcached-server -- -p 11211 -m 1024
//! printf 'set greeting 0 0 5\r\nhello\r\nget greeting\r\nquit\r\n' | nc 127.0.0.1 11211
//! ```
#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use kevy_memcached::{Memcached, Settings};
use kevy_rt::{Builder, Limits, Listen, ParseLimits, ReactorChoice};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A memcached server: the classic text protocol and the meta commands.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The TCP port; 0 for none.
    #[arg(short, long, default_value_t = 11211)]
    port: u16,
    /// The addresses to listen on.
    #[arg(short, long, default_value = "127.0.0.1", value_delimiter = ',')]
    listen: Vec<IpAddr>,
    /// A Unix socket to listen on, in place of TCP.
    #[arg(short = 's', long)]
    unix_socket: Option<PathBuf>,
    /// Megabytes that all items together may take; 0 for no limit.
    #[arg(short, long, default_value_t = 64)]
    memory_limit: u64,
    /// Refuse new items rather than drop old ones when there is no room.
    #[arg(short = 'M', long)]
    disable_evictions: bool,
    /// The most bytes of one item: 1048576, 512k, 2m.
    #[arg(short = 'I', long, default_value = "1m", value_parser = bytes)]
    max_item_size: usize,
    /// Connections at the same time.
    #[arg(short, long, default_value_t = 1024)]
    conn_limit: usize,
    /// Threads, each with a part of the keys; as many as cores if it isn't said.
    #[arg(short, long)]
    threads: Option<usize>,
    /// Connections that wait to be accepted.
    #[arg(short, long, default_value_t = 1024)]
    backlog: i32,
    /// Seconds after which an idle connection is closed; 0 for never.
    #[arg(long, default_value_t = 0)]
    idle_timeout: u64,
    /// How the system is asked for input and output.
    #[arg(long, value_enum, default_value_t = Reactor::Auto)]
    reactor: Reactor,
    /// Whether each thread stays on one core.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pin: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Reactor {
    Auto,
    Uring,
    Poll,
}

impl From<Reactor> for ReactorChoice {
    fn from(reactor: Reactor) -> Self {
        match reactor {
            Reactor::Auto => ReactorChoice::Auto,
            Reactor::Uring => ReactorChoice::Uring,
            Reactor::Poll => ReactorChoice::Poll,
        }
    }
}

/// A number of bytes, `k` and `m` for 1024 and 1024 times that. At least 1024, as for memcached, and
/// at most a gigabyte.
fn bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = match text.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1024),
        None => match text.strip_suffix(['m', 'M']) {
            Some(number) => (number, 1024 * 1024),
            None => (text, 1),
        },
    };
    let bytes = number.parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    bytes
        .filter(|bytes| (1024..=1024 * 1024 * 1024).contains(bytes))
        .ok_or_else(|| "from 1k to 1024m".to_owned())
}

fn main() -> Result<(), kevy_rt::Error> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let settings = Settings {
        item_bytes: arguments.max_item_size,
        memory_bytes: arguments.memory_limit.saturating_mul(1024 * 1024),
        evicts: !arguments.disable_evictions,
    };
    let defaults = Limits::default();
    let limits = Limits {
        connections: arguments.conn_limit,
        // A longer value takes no memory.
        parse: ParseLimits { argument_bytes: arguments.max_item_size, ..defaults.parse },
        idle_timeout: Duration::from_secs(arguments.idle_timeout),
        ..defaults
    };
    let mut builder = Builder::<Memcached>::new(settings.into())
        .reactor(arguments.reactor.into())
        .limits(limits)
        .accept_queue(arguments.backlog)
        .pin(arguments.pin);
    if let Some(threads) = arguments.threads {
        builder = builder.shards(threads);
    }
    match arguments.unix_socket {
        Some(path) => builder = builder.listen(0, Listen::Unix { path, mode: Some(0o700) }),
        None if arguments.port > 0 => {
            for address in arguments.listen {
                let at = SocketAddr::new(address, arguments.port);
                builder = builder.listen(0, Listen::Tcp(at));
            }
        }
        None => {}
    }
    builder.start()?.join()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, size) in [("1024", 1024), ("512k", 512 << 10), ("1m", 1 << 20), ("2M", 2 << 20)]
        {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "x", "1", "1023", "2048m", "1g", "18446744073709551615m"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
