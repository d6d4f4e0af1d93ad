//! Programs that listen where their arguments say: the examples.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::{Address, Client, send_signal, wait_until};

/// A running program; it is killed when this is dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
}

impl Program {
    /// Starts it with these arguments.
    ///
    /// # Panics
    ///
    /// If it can't be started.
    #[must_use]
    pub fn start(path: &str, arguments: &[&str]) -> Self {
        let child = Command::new(path).args(arguments).stdout(Stdio::null()).spawn();
        Program { child: child.unwrap_or_else(|error| panic!("start {path}: {error}")) }
    }

    /// Connects once it listens there.
    ///
    /// # Panics
    ///
    /// If it ends instead.
    #[must_use]
    pub fn connect(&mut self, address: SocketAddr) -> Client {
        wait_until("the program listens", || {
            let ended = self.child.try_wait().expect("a child can be asked");
            assert_eq!(ended, None, "the program has ended");
            Client::try_connect(&Address::Tcp(address)).ok()
        })
    }

    /// Stops it by SIGTERM.
    ///
    /// # Panics
    ///
    /// If it doesn't end, or not in order.
    pub fn stop(mut self) {
        send_signal(self.child.id(), "TERM");
        let ended =
            wait_until("the program ends", || self.child.try_wait().expect("a child can be asked"));
        assert!(ended.success(), "{ended}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
