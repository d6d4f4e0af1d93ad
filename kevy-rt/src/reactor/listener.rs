//! Listening sockets, and what both reactors do with a connection that comes by one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use socket2::{SockRef, Socket, TcpKeepalive};

use super::Incoming;
use crate::conn::Peer;

/// How long nothing is accepted after the system had no descriptor or no memory for a connection.
/// Shorter: the shard wakes for nothing. Longer: clients wait when there is room again.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often TCP asks a silent peer before it gives up.
const KEEPALIVE_PROBES: u32 = 3;

/// A listening socket, shared with the other shards.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: Socket,
    /// Its number among all listeners.
    pub(crate) number: u16,
    /// For a Unix socket its path, which stands for whoever connects.
    pub(crate) path: Option<PathBuf>,
}

impl Listener {
    /// Another one on the same queue of connections, for another shard.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let socket = self.socket.try_clone()?;
        Ok(Listener { socket, number: self.number, path: self.path.clone() })
    }

    /// Prepares a connection for its shard. `None` if the other side is gone already.
    pub(super) fn incoming(
        &self,
        socket: OwnedFd,
        keepalive: Option<Duration>,
    ) -> Option<Incoming<OwnedFd>> {
        let (peer, local) = match &self.path {
            Some(path) => (Peer::Unix(path.clone()), Peer::Unix(path.clone())),
            None => {
                let sock = SockRef::from(&socket);
                set_options(&sock, keepalive).ok()?;
                let peer = Peer::Tcp(sock.peer_addr().ok()?.as_socket()?);
                // The listener's may stand for all addresses of this machine.
                (peer, Peer::Tcp(sock.local_addr().ok()?.as_socket()?))
            }
        };
        Some(Incoming { socket, listener: self.number, peer, local })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn set_options(socket: &Socket, keepalive: Option<Duration>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let Some(idle) = keepalive else { return Ok(()) };
    let interval = (idle / KEEPALIVE_PROBES).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval);
    socket.set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_PROBES))
}

/// Whether a failed accept says nothing about the next one: the connection was given up before it
/// was accepted. Anything else calls for a pause, or the listener, which is still ready, spins.
pub(super) fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | WouldBlock)
        || error.raw_os_error() == Some(libc::EPROTO)
}
