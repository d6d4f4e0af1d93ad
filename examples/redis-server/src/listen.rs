//! The addresses that the configuration names, as the runtime takes them.

use std::net::{SocketAddr, TcpListener};

use kevy_redis::config::{BindAddress, Config};
use kevy_rt::Listen;
use tracing::info;

/// Every address to listen on.
///
/// # Errors
/// When there is none, or a name stands for none.
pub(crate) fn addresses(config: &Config) -> Result<Vec<Listen>, String> {
    let mut addresses: Vec<Listen> = Vec::new();
    if config.port() != 0 {
        for bind in config.bind() {
            let Some(address) = choose(&bind, config.port())? else {
                info!("not listening on {}: this machine doesn't have it", bind.name);
                continue;
            };
            if !addresses.contains(&Listen::Tcp(address)) {
                addresses.push(Listen::Tcp(address));
            }
        }
    }
    if let Some(path) = config.unix_socket() {
        addresses.push(Listen::Unix { path, mode: config.unix_socket_mode() });
    }
    match addresses.is_empty() {
        true => Err("Configured to not listen anywhere, exiting.".into()),
        false => Ok(addresses),
    }
}

/// The first address of a name that this machine has. `None` if there is none and needn't be.
fn choose(bind: &BindAddress, port: u16) -> Result<Option<SocketAddr>, String> {
    // Any free port tells whether the address is there.
    let is_here = |address: &&SocketAddr| TcpListener::bind((address.ip(), 0)).is_ok();
    match bind.resolve(port) {
        Ok(addresses) => {
            let here = addresses.iter().find(is_here).copied();
            // One that has to be there is left to the runtime, which says what is wrong with it.
            Ok(here.or_else(|| addresses.first().copied().filter(|_| !bind.is_optional)))
        }
        Err(_) if bind.is_optional => Ok(None),
        Err(error) => Err(format!("bind {}: {error}", bind.name)),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn addresses_of(arguments: &[&str]) -> Result<Vec<Listen>, String> {
        let arguments = arguments.iter().map(OsString::from);
        addresses(&Config::from_arguments(arguments).expect("it is fine"))
    }

    fn tcp(address: &str) -> Listen {
        Listen::Tcp(address.parse().expect("an address"))
    }

    #[test]
    fn an_optional_address_may_be_missing() {
        // 203.0.113.0/24 is for documentation: no machine has it.
        let found = addresses_of(&["--port", "7", "--bind", "127.0.0.1", "-203.0.113.77"]);
        assert_eq!(found, Ok(vec![tcp("127.0.0.1:7")]));
        let found = addresses_of(&["--port", "7", "--bind", "203.0.113.77"]);
        assert_eq!(found, Ok(vec![tcp("203.0.113.77:7")]), "the runtime says what is wrong");
    }

    #[test]
    fn an_address_is_listened_on_once() {
        let found = addresses_of(&["--port", "7", "--bind", "127.0.0.1", "127.0.0.1", "*"]);
        assert_eq!(found, Ok(vec![tcp("127.0.0.1:7"), tcp("0.0.0.0:7")]));
    }

    #[test]
    fn port_0_is_no_tcp() {
        let found = addresses_of(&["--port", "0", "--unixsocket", "/s", "--unixsocketperm", "700"]);
        assert_eq!(found, Ok(vec![Listen::Unix { path: "/s".into(), mode: Some(0o700) }]));
        assert!(addresses_of(&["--port", "0"]).is_err());
    }
}
