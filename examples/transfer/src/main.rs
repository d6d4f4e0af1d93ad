//! The server of [`transfer`].
//!
//! ```text
//! cargo run --release -p transfer
//! redis-cli -p 7002 open alice 100
//! redis-cli -p 7002 open bob 0
//! redis-cli -p 7002 transfer alice bob 30
//! redis-cli -p 7002 balance alice bob
//! ```

use std::net::SocketAddr;

use kevy_rt::Builder;
use transfer::Bank;

fn main() -> Result<(), kevy_rt::Error> {
    tracing_subscriber::fmt().init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7002".into());
    let address: SocketAddr = address.parse().expect("an address with a port");
    Builder::<Bank>::new(()).listen(0, address).start()?.join()
}
