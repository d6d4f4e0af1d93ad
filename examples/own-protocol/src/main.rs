//! The server of [`own_protocol`].
//!
//! ```text
//! cargo run --release -p own-protocol
//! nc 127.0.0.1 7004
//! ```

use std::net::SocketAddr;

use kevy_rt::Builder;
use own_protocol::Notebook;

fn main() -> Result<(), kevy_rt::Error> {
    tracing_subscriber::fmt().init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7004".into());
    let address: SocketAddr = address.parse().expect("an address with a port");
    Builder::<Notebook>::new(()).listen(0, address).start()?.join()
}
