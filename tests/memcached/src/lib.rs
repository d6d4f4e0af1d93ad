//! What the tests beside a real memcached share: the two servers, and a connection to each.
//!
//! *Ours* runs in this process, on both reactors and with 1, 2 and 5 shards. The *oracle* is the
//! distribution's memcached, whose replies are what ours have to be, but for numbers that only one
//! server gives: unique numbers are compared by which of them are equal, times as far as a second
//! that goes by allows.

#![forbid(unsafe_code)]

mod normal;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use kevy_memcached::{Memcached, Settings};
use kevy_rt::{Builder, Limits, Listen, ParseLimits, ReactorChoice, Runtime};
use kevy_wire_tests::{DEADLINE, Reactor, Setup, fresh_address, wait_until};

pub use normal::Numbers;

/// Our server.
pub struct Ours {
    runtime: Option<Runtime>,
    address: SocketAddr,
}

impl Ours {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// If it doesn't start.
    #[must_use]
    pub fn start(setup: Setup) -> Self {
        let address = fresh_address();
        let settings = Settings::default();
        let limits = Limits::default();
        let parse = ParseLimits { argument_bytes: settings.item_bytes, ..limits.parse };
        let reactor = match setup.reactor {
            Reactor::Uring => ReactorChoice::Uring,
            Reactor::Poll => ReactorChoice::Poll,
        };
        let runtime = Builder::<Memcached>::new(settings.into())
            .shards(setup.shards)
            .reactor(reactor)
            .limits(Limits { parse, ..limits })
            .listen(0, Listen::Tcp(address))
            .pin(false)
            .signals(false)
            .start()
            .unwrap_or_else(|error| panic!("{setup}: {error}"));
        Ours { runtime: Some(runtime), address }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A connection to it.
    ///
    /// # Panics
    ///
    /// If it doesn't answer.
    #[must_use]
    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.process().stop();
            let ended = runtime.join();
            assert!(ended.is_ok() || std::thread::panicking(), "{ended:?}");
        }
    }
}

/// The distribution's memcached.
pub struct Oracle {
    child: Child,
    address: SocketAddr,
}

impl Oracle {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// If it isn't installed, or stays silent.
    #[must_use]
    pub fn start() -> Self {
        let address = fresh_address();
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let child = Command::new("/usr/bin/memcached")
            .args(["-U", "0", "-u", "nobody", "-l", &ip, "-p", &port, "-t", "1"])
            // A number is changed in place only while its threads hold no item.
            .args(["-o", "no_lru_maintainer,no_lru_crawler"])
            .stderr(Stdio::null())
            .spawn()
            .expect("the distribution's memcached is installed");
        wait_until("memcached listens", || TcpStream::connect(address).ok());
        Oracle { child, address }
    }

    /// A connection to it.
    ///
    /// # Panics
    ///
    /// If it doesn't answer.
    #[must_use]
    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection.
pub struct Client(TcpStream);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("a socket option");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket option");
        Client(stream)
    }

    /// Sends bytes.
    ///
    /// # Panics
    ///
    /// If the connection is gone.
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the connection is open");
    }

    /// Sends requests, and answers all that comes back: the reply to one more, which has always the
    /// same, ends it.
    ///
    /// # Panics
    ///
    /// If the connection ends, or nothing comes.
    pub fn call(&mut self, requests: &[u8]) -> Vec<u8> {
        const LAST: &[u8] = b"MN\r\n";
        self.send(&[requests, b"mn\r\n"].concat());
        let mut reply = Vec::new();
        let mut buffer = [0; 64 * 1024];
        while !reply.ends_with(LAST) {
            let shown = || String::from_utf8_lossy(&requests[..requests.len().min(300)]);
            match self.0.read(&mut buffer) {
                Ok(0) => panic!("the connection ended after {}", shown()),
                Ok(len) => reply.extend_from_slice(&buffer[..len]),
                // Somebody stopped this process for a while.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error} after {}", shown()),
            }
        }
        reply.truncate(reply.len() - LAST.len());
        reply
    }

    /// All that comes until the server ends the connection.
    ///
    /// # Panics
    ///
    /// If it doesn't end it.
    pub fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("the connection ends");
        rest
    }
}
