//! The floor: answers a constant reply per so many bytes received.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use kevy_bench_load::address::Address;
use kevy_bench_load::floor::{Options, serve};

/// The least that a server can do for a request: it counts bytes and answers a constant reply.
#[derive(Parser)]
struct Arguments {
    /// IPv4 address to listen on.
    #[arg(long, default_value_t = Ipv4Addr::LOCALHOST)]
    bind: Ipv4Addr,
    /// Port to listen on.
    #[arg(long, required_unless_present = "unixsocket")]
    port: Option<u16>,
    /// Unix socket to listen on, as well or instead.
    #[arg(long)]
    unixsocket: Option<PathBuf>,
    /// Length of every request.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    request_bytes: u32,
    /// Length of every reply.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    reply_bytes: u32,
    /// How long to look for work before sleeping, in microseconds. A look saves the sleep and the
    /// wake-up where work is soon there, and is itself CPU time where the client is slow.
    #[arg(long, default_value_t = 20)]
    spin_us: u64,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let addresses = arguments
        .port
        .map(|port| Address::Tcp((arguments.bind, port).into()))
        .into_iter()
        .chain(arguments.unixsocket.map(Address::Unix));
    let listeners = addresses.map(|address| address.listen()).collect::<io::Result<Vec<_>>>()?;
    let options = Options {
        request_bytes: arguments.request_bytes as usize,
        reply_bytes: arguments.reply_bytes as usize,
        spin: Duration::from_micros(arguments.spin_us),
    };
    serve(&listeners, options)
}
