//! Where a server listens: TCP on loopback, or a Unix socket.

use std::fmt;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use socket2::{Domain, SockAddr, Socket, Type};

/// The length of the accept queue: more than the most connections that a run opens at once.
const BACKLOG: i32 = 4096;

/// An address that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP socket.
    Tcp(SocketAddr),
    /// A Unix stream socket.
    Unix(PathBuf),
}

impl Address {
    /// An address on loopback with `port`.
    pub fn loopback(port: u16) -> Self {
        Self::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    fn socket(&self) -> io::Result<(Socket, SockAddr)> {
        Ok(match self {
            Self::Tcp(address) => (
                Socket::new(Domain::for_address(*address), Type::STREAM, None)?,
                SockAddr::from(*address),
            ),
            Self::Unix(path) => {
                (Socket::new(Domain::UNIX, Type::STREAM, None)?, SockAddr::unix(path)?)
            }
        })
    }

    /// Connects, with Nagle's algorithm off.
    ///
    /// # Errors
    ///
    /// What `socket(2)` or `connect(2)` answers.
    pub fn connect(&self) -> io::Result<Socket> {
        let (socket, address) = self.socket()?;
        if matches!(self, Self::Tcp(_)) {
            socket.set_tcp_nodelay(true)?;
        }
        socket.connect(&address)?;
        Ok(socket)
    }

    /// Listens here. A socket file that an earlier run left behind is replaced.
    ///
    /// # Errors
    ///
    /// What `bind(2)` or `listen(2)` answers.
    pub fn listen(&self) -> io::Result<OwnedFd> {
        let (socket, address) = self.socket()?;
        match self {
            Self::Tcp(_) => {
                socket.set_reuse_address(true)?;
                // Accepted sockets inherit it.
                socket.set_tcp_nodelay(true)?;
            }
            Self::Unix(path) => match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            },
        }
        socket.bind(&address)?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    }
}

/// Reads from `socket` until `is_whole` accepts what has come.
///
/// # Errors
///
/// What `recv(2)` answers, or [`io::ErrorKind::UnexpectedEof`].
pub fn read_until(socket: &mut Socket, is_whole: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
    let mut reply = Vec::new();
    let mut chunk = [0; 4096];
    while !is_whole(&reply) {
        match socket.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => reply.extend_from_slice(&chunk[..len]),
        }
    }
    Ok(reply)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A TCP port that nobody listens on now.
///
/// # Errors
///
/// What `bind(2)` answers.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
