//! Starts servers as processes pinned to a core, and ends them.

use std::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::address::{Address, free_port};

/// How long a server may take until it accepts connections.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// What clients connect by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP on loopback.
    Tcp,
    /// A Unix stream socket.
    Unix,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Unix => "Unix socket",
        })
    }
}

/// Where servers run, and how they are reached.
#[derive(Clone, Debug)]
pub struct Place {
    /// The cores, as `taskset -c` takes them.
    pub cores: String,
    /// What clients connect by.
    pub transport: Transport,
    /// An existing folder for sockets and for what servers write; their working directory.
    pub directory: PathBuf,
}

/// A server's executable and its arguments, less those for its addresses.
#[derive(Clone, Debug)]
pub struct Program {
    /// What reports call it.
    pub name: String,
    /// The executable.
    pub path: PathBuf,
    /// The arguments.
    pub arguments: Vec<String>,
}

impl Program {
    /// A program that is called `name` in reports.
    pub fn new(name: impl Into<String>, path: &Path, arguments: Vec<String>) -> Self {
        Self { name: name.into(), path: path.to_owned(), arguments }
    }

    /// Starts it and waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// A missing executable, an early exit, or twenty seconds without a connection.
    pub fn start(&self, place: &Place) -> Result<Server, StartFailure> {
        let failure = |reason| StartFailure { name: self.name.clone(), reason };
        let port = free_port().map_err(|error| failure(Reason::Io(error)))?;
        let socket = place.directory.join(format!("{port}.sock"));
        let mut command = Command::new("taskset");
        command
            .args(["-c", &place.cores])
            .arg(std::path::absolute(&self.path).map_err(|error| failure(Reason::Io(error)))?)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .current_dir(&place.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let address = match place.transport {
            Transport::Tcp => Address::loopback(port),
            Transport::Unix => {
                command.arg("--unixsocket").arg(&socket);
                Address::Unix(socket)
            }
        };
        command.args(&self.arguments);
        end_with_parent(&mut command);
        let child = command.spawn().map_err(|error| failure(Reason::Io(error)))?;
        let mut server = Server { name: self.name.clone(), address, child };
        server.wait_until_ready().map_err(failure)?;
        Ok(server)
    }
}

/// Has the kernel end the process when this one ends, however it does.
fn end_with_parent(command: &mut Command) {
    let set_signal = || {
        // SAFETY: the call takes no pointer.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call and allocates nothing, so it may run after a fork.
    unsafe { command.pre_exec(set_signal) };
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[error("{name} did not start: {reason}")]
pub struct StartFailure {
    name: String,
    reason: Reason,
}

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("{0}")]
    Io(io::Error),
    #[error("it ended with {0}")]
    Ended(ExitStatus),
    #[error("it accepted no connection in time: {0}")]
    Unreachable(io::Error),
}

/// A running server. Dropping it ends the process.
pub struct Server {
    name: String,
    address: Address,
    child: Child,
}

impl Server {
    /// What reports call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where clients connect.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_ready(&mut self) -> Result<(), Reason> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().map_err(Reason::Io)? {
                return Err(Reason::Ended(status));
            }
            match self.address.connect() {
                Ok(_) => return Ok(()),
                Err(error) if start.elapsed() > START_TIMEOUT => {
                    return Err(Reason::Unreachable(error));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Address::Unix(path) = &self.address {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Splits a line into arguments at spaces; single or double quotes keep spaces and empty ones.
pub fn split_arguments(line: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut current: Option<String> = None;
    let mut quote = None;
    for character in line.chars() {
        match quote {
            Some(open) if character == open => quote = None,
            None if character == '\'' || character == '"' => {
                quote = Some(character);
                current.get_or_insert_default();
            }
            None if character.is_whitespace() => arguments.extend(current.take()),
            _ => current.get_or_insert_default().push(character),
        }
    }
    arguments.extend(current);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_split_as_a_shell_would() {
        let split = split_arguments(r#"--save '' --name "a b"  --x=y'z'"#);
        assert_eq!(split, ["--save", "", "--name", "a b", "--x=yz"]);
        assert!(split_arguments("  ").is_empty());
    }

    #[test]
    fn an_early_exit_is_reported() {
        let place = Place {
            cores: "0".to_owned(),
            transport: Transport::Tcp,
            directory: std::env::temp_dir(),
        };
        let failure = Program::new("false", Path::new("/bin/false"), vec![]).start(&place).err();
        let text = failure.unwrap().to_string();
        assert!(text.starts_with("false did not start: it ended"), "{text}");
    }
}
