//! The smallest server on kevy-rt: any Redis client can ask it `PING`.
//!
//! It has no data, one command and one wire. What it costs per request is what the runtime costs.
//!
//! ```text
//! cargo run --release -p ping -- --port 7000
//! redis-cli -p 7000 ping
//! ```

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Parser;
use kevy_resp::{Resp, Status};
use kevy_rt::{Builder, Listen, ReactorChoice, Store, commands, server};

/// No data.
#[derive(Default, Store)]
struct Nothing;

/// The command set.
struct Ping;

#[commands(store = Nothing, wire = Resp)]
impl Ping {
    /// Answers that the server is there.
    #[command(route = local)]
    fn ping() -> Status {
        Status("PONG")
    }
}

server! { Server: store = Nothing, ports = [ Resp, () => [Ping] ] }

/// The smallest server on kevy-rt: it answers PING.
#[derive(Parser)]
struct Flags {
    /// The TCP port to listen on.
    #[arg(long, default_value_t = 7000)]
    port: u16,
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,
    /// A Unix socket to listen on too.
    #[arg(long)]
    unixsocket: Option<PathBuf>,
    /// How many shards; without it, one per core.
    #[arg(long)]
    shards: Option<usize>,
    /// Wait for readiness even where io_uring is to be had.
    #[arg(long)]
    poll: bool,
}

fn main() -> Result<(), kevy_rt::Error> {
    tracing_subscriber::fmt().init();
    let flags = Flags::parse();
    let mut server =
        Builder::<Server>::new(()).listen(0, Listen::Tcp(SocketAddr::new(flags.bind, flags.port)));
    if let Some(path) = flags.unixsocket {
        server = server.listen(0, Listen::Unix { path, mode: None });
    }
    if let Some(shards) = flags.shards {
        server = server.shards(shards);
    }
    if flags.poll {
        server = server.reactor(ReactorChoice::Poll);
    }
    server.start()?.join()
}
