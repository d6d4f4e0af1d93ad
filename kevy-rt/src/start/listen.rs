//! Opening the listening sockets.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::reactor::Listener;
use crate::runtime::{Error, Listen, Listening};

/// The file of a Unix socket of ours. Dropped, it is removed, if it still is that file.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// The listeners of a server.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// What there is to be known of each.
    pub(super) listening: Vec<Listening>,
    /// Their sockets, in the same order.
    pub(super) listeners: Vec<Listener>,
    pub(super) files: Vec<SocketFile>,
}

/// Opens a socket for each, in order.
pub(super) fn open_listeners(wanted: &[(usize, Listen)], queue: i32) -> Result<Opened, Error> {
    let mut opened = Opened::default();
    for (port, at) in wanted {
        let (socket, real) = open(at, queue, &mut opened.files)
            .map_err(|source| Error::Listen { at: at.to_string(), source })?;
        let path = match at {
            Listen::Tcp(_) => None,
            Listen::Unix { path, .. } => Some(path.clone()),
        };
        tracing::info!(at = %real, "listening");
        let number = opened.listeners.len() as u16;
        opened.listeners.push(Listener { socket, number, path });
        opened.listening.push(Listening { port: *port, at: real });
    }
    Ok(opened)
}

fn open(at: &Listen, queue: i32, files: &mut Vec<SocketFile>) -> io::Result<(Socket, Listen)> {
    match at {
        Listen::Tcp(address) => {
            let socket = open_tcp(*address, queue)?;
            let real = socket.local_addr()?.as_socket().unwrap_or(*address);
            Ok((socket, Listen::Tcp(real)))
        }
        Listen::Unix { path, mode } => {
            let (socket, file) = bind_unix(path)?;
            // From here on the file goes when anything fails.
            files.push(file);
            // Before `listen`, so that nobody connects who is not meant to.
            if let Some(mode) = mode {
                fs::set_permissions(path, fs::Permissions::from_mode(*mode))?;
            }
            socket.listen(queue)?;
            Ok((socket, at.clone()))
        }
    }
}

fn open_tcp(address: SocketAddr, queue: i32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // An IPv4 address of the same port is a listener of its own.
        socket.set_only_v6(true)?;
    }
    // Connections of a server that has ended hold the port no longer. A server that is alive does:
    // that would take SO_REUSEPORT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(queue)?;
    Ok(socket)
}

fn bind_unix(path: &Path) -> io::Result<(Socket, SocketFile)> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    if let Err(error) = socket.bind(&address) {
        if error.kind() != io::ErrorKind::AddrInUse || !is_stale(path, &address)? {
            return Err(error);
        }
        fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    let facts = fs::symlink_metadata(path)?;
    let file = SocketFile { path: path.into(), device: facts.dev(), inode: facts.ino() };
    Ok((socket, file))
}

/// Whether the file is a socket that nobody listens on.
fn is_stale(path: &Path, address: &SockAddr) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A server whose queue is full would let us wait.
    socket.set_nonblocking(true)?;
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    Ok(socket.connect(address).is_err_and(refused))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours =
            |facts: &fs::Metadata| (facts.dev(), facts.ino()) == (self.device, self.inode);
        if fs::symlink_metadata(&self.path).is_ok_and(|facts| is_ours(&facts)) {
            // Whoever comes next finds that nobody listens, and replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}
