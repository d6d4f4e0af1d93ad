//! The server of [`transfer`].
//!
//! ```text
//! cargo run --release -p transfer
//! redis-cli -p 7002 open alice 100
//! redis-cli -p 7002 open bob 0
//! redis-cli -p 7002 transfer alice bob 30
//! redis-cli -p 7002 balance alice bob
//! ```

use std::net::{Ipv4Addr, SocketAddr};

use kevy_rt::{Builder, Listen};
use transfer::Bank;

fn main() -> Result<(), kevy_rt::Error> {
    tracing_subscriber::fmt().init();
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(7002);
    let at = Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    Builder::<Bank>::new(()).listen(0, at).start()?.join()
}
