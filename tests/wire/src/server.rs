//! Server processes: started on an address of their own, gone with their handle.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::{
    Client, Reactor, Setup, TempDir, binary, is_self_check, open_files, resident_bytes,
    send_signal, wait_until,
};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address and port.
    Tcp(SocketAddr),
    /// The path of a socket.
    Unix(PathBuf),
}

/// A running server; it is killed when this is dropped, and if the test is failing its log is
/// printed.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: Address,
    dir: TempDir,
    name: String,
}

/// What a server that ended left behind.
#[derive(Debug)]
pub struct Exited {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it wrote to its standard output and error.
    pub log: String,
}

/// A server about to be started.
#[derive(Debug)]
pub struct Launch {
    program: PathBuf,
    name: String,
    dir: TempDir,
    first: Option<String>,
    options: Vec<String>,
    listen: Listen,
    /// Not for the oracle: it knows neither shards nor reactors.
    setup: Option<Setup>,
}

#[derive(Debug, Clone, Copy)]
enum Listen {
    Tcp,
    Unix,
    AsOptionsSay(SocketAddr),
}

/// An address of the loopback network that no other test program of this machine uses, and a port
/// that no other server of this one does: nobody can be in the way, not even as the source port
/// of an outgoing connection, which is one of 127.0.0.1.
#[must_use]
pub fn fresh_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(7000);
    let [_, a, b, c] = std::process::id().to_be_bytes();
    // 127.0.0.1 and its neighbours are everybody's.
    let ip = Ipv4Addr::new(127, a | 0x80, b, c.clamp(1, 254));
    SocketAddr::new(IpAddr::V4(ip), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Launch {
    /// Our server, in this setup.
    #[must_use]
    pub fn ours(setup: Setup) -> Self {
        let setup = (!is_self_check()).then_some(setup);
        let name = setup.map_or_else(|| "ours, an oracle".into(), |s| format!("ours, {s}"));
        let mut launch = Self::program(binary::ours().to_owned(), name);
        launch.setup = setup;
        if is_self_check() { launch.without_saving() } else { launch }
    }

    /// The oracle.
    #[must_use]
    pub fn oracle() -> Self {
        Self::program(binary::oracle(), "the oracle".into()).without_saving()
    }

    fn program(program: PathBuf, name: String) -> Self {
        Self {
            program,
            name,
            dir: TempDir::new(),
            first: None,
            options: Vec::new(),
            listen: Listen::Tcp,
            setup: None,
        }
    }

    fn without_saving(self) -> Self {
        self.option("save", "").option("appendonly", "no")
    }

    /// Adds `--name value`.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.options.push(format!("--{name}"));
        self.options.push(value.to_owned());
        self
    }

    /// Adds arguments as they are.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.options.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Gives a configuration file of this text as the first argument.
    ///
    /// # Panics
    ///
    /// If it can't be written.
    #[must_use]
    pub fn config_file(mut self, text: &str) -> Self {
        let path = self.dir.file("redis.conf");
        std::fs::write(&path, text).expect("write the configuration");
        self.first = Some(path);
        self
    }

    /// Listens on a Unix socket in the server's directory, and on no TCP port.
    #[must_use]
    pub fn on_unix_socket(mut self) -> Self {
        self.listen = Listen::Unix;
        self
    }

    /// Adds no address of its own: the options or the file have this one.
    #[must_use]
    pub fn listening_as_options_say(mut self, address: SocketAddr) -> Self {
        self.listen = Listen::AsOptionsSay(address);
        self
    }

    /// A directory of the server's own; what options name may be in it.
    #[must_use]
    pub fn dir(&self) -> &TempDir {
        &self.dir
    }

    /// Starts it and waits until it answers.
    ///
    /// # Panics
    ///
    /// If it ends instead, or stays silent; its log is in the message.
    #[must_use]
    pub fn start(self) -> Server {
        let mut server = self.spawn();
        let ready = wait_until("the server answers a PING", || {
            if let Some(status) = server.child.try_wait().expect("ask for its state") {
                return Some(Err(status));
            }
            let mut client = Client::try_connect(&server.address).ok()?;
            client.send_raw(b"PING\r\n").ok()?;
            client.receive().ok().map(|_| Ok(()))
        });
        if let Err(status) = ready {
            panic!("{} did not start: {status}\n{}", server.name, server.log());
        }
        server
    }

    /// Starts it and waits until it ends by itself, as it should.
    ///
    /// # Panics
    ///
    /// If it goes on running.
    #[must_use]
    pub fn start_and_end(self) -> Exited {
        self.spawn().wait_for_exit()
    }

    fn spawn(self) -> Server {
        let mut command = Command::new(&self.program);
        command.args(&self.first);
        if let Some(Setup { reactor, shards }) = self.setup {
            command.args(["--reactor", reactor.name(), "--shards", &shards.to_string()]);
        }
        let address = match self.listen {
            Listen::Tcp => {
                let address = fresh_address();
                let (ip, port) = (address.ip().to_string(), address.port().to_string());
                command.args(["--port", &port, "--bind", &ip]);
                Address::Tcp(address)
            }
            Listen::Unix => {
                let path = self.dir.file("socket");
                command.args(["--port", "0", "--unixsocket", &path]);
                Address::Unix(path.into())
            }
            Listen::AsOptionsSay(address) => Address::Tcp(address),
        };
        let log = File::create(self.dir.file("log")).expect("make a log");
        let child = command
            .args(&self.options)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("duplicate a file"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("start {}: {error}", self.program.display()));
        Server { child, address, dir: self.dir, name: self.name }
    }
}

impl Server {
    /// Our server in this setup, with no further options.
    #[must_use]
    pub fn ours(setup: Setup) -> Self {
        Launch::ours(setup).start()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its TCP address.
    ///
    /// # Panics
    ///
    /// If it listens on a Unix socket.
    #[must_use]
    pub fn socket_address(&self) -> SocketAddr {
        match &self.address {
            Address::Tcp(address) => *address,
            Address::Unix(path) => panic!("a Unix socket: {}", path.display()),
        }
    }

    /// A new connection to it.
    #[must_use]
    pub fn connect(&self) -> Client {
        Client::connect(&self.address)
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The directory it runs in.
    #[must_use]
    pub fn dir(&self) -> &TempDir {
        &self.dir
    }

    /// How many files it has open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        open_files(self.pid())
    }

    /// Its memory in use, in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        resident_bytes(self.pid())
    }

    /// Sends it a signal, by name.
    pub fn signal(&self, name: &str) {
        send_signal(self.pid(), name);
    }

    /// What it wrote to its standard output and error.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(self.dir.path().join("log"))
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    /// Whether it still runs.
    ///
    /// # Panics
    ///
    /// If the system does not tell.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("ask for its state").is_none()
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    ///
    /// If it goes on running.
    #[must_use]
    pub fn wait_for_exit(mut self) -> Exited {
        let status =
            wait_until("the server ends", || self.child.try_wait().expect("ask for its state"));
        Exited { status, log: self.log() }
    }

    /// Whether it has an io_uring, by the system's own account.
    #[must_use]
    pub fn has_io_uring(&self) -> bool {
        let Ok(files) = std::fs::read_dir(format!("/proc/{}/fd", self.pid())) else {
            return false;
        };
        files
            .flatten()
            .filter_map(|file| std::fs::read_link(file.path()).ok())
            .any(|target| target.to_string_lossy().contains("[io_uring]"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}", self.name, self.log());
        }
    }
}

/// The oracle and our server, side by side.
#[derive(Debug)]
pub struct Both {
    /// The oracle.
    pub oracle: Server,
    /// Our server.
    pub ours: Server,
}

impl Both {
    /// Starts both with the same options.
    #[must_use]
    pub fn start(setup: Setup, options: &[(&str, &str)]) -> Self {
        let launch = |launch: Launch| {
            options.iter().fold(launch, |launch, (name, value)| launch.option(name, value)).start()
        };
        Self { oracle: launch(Launch::oracle()), ours: launch(Launch::ours(setup)) }
    }

    /// A new connection to each: the oracle's, ours.
    #[must_use]
    pub fn connect(&self) -> (Client, Client) {
        (self.oracle.connect(), self.ours.connect())
    }
}

impl Setup {
    /// Whether a server of this setup runs on io_uring.
    #[must_use]
    pub fn is_uring(self) -> bool {
        self.reactor == Reactor::Uring
    }
}
