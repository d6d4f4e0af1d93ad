//! What the server remembers of a client.

use std::cell::Cell;

use kevy_resp::{Dialect, Error, Resp};
use kevy_rt::{CommandInfo, Cx, Has, Open, Out, Refusal, Reply, ReplyMode, Scope, SessionState};

use crate::config::Config;

/// A flag of commands that a client may send before it has authenticated.
pub(crate) const NO_AUTH: &str = "no_auth";

const PROTECTED: Error = Error::new(
    "DENIED Redis is running in protected mode because protected mode is enabled and no password \
     is set for the default user. In this mode connections are only accepted from the loopback \
     interface. If you want to connect from external computers to Redis you may adopt one of the \
     following solutions: 1) Just disable protected mode sending the command 'CONFIG SET \
     protected-mode no' from the loopback interface by connecting to Redis from the same host the \
     server is running, however MAKE SURE Redis is not publicly accessible from internet if you do \
     so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable \
     the protected mode by editing the Redis configuration file, and setting the protected mode \
     option to 'no', and then restarting the server. 3) If you started the server manually just \
     for testing, restart it with the '--protected-mode no' option. 4) Setup a an authentication \
     password for the default user. NOTE: You only need to do one of the above things in order for \
     the server to start accepting connections from the outside.",
);

/// One client's state. Its id, addresses and times are the connection's, which the runtime knows.
#[derive(Debug, Default)]
pub struct Session {
    /// The selected database, and the version of the protocol.
    pub dialect: Dialect,
    /// The name it gave itself, or nothing.
    pub(crate) name: Vec<u8>,
    /// The client library's name, or nothing.
    pub(crate) library: Vec<u8>,
    /// The client library's version, or nothing.
    pub(crate) library_version: Vec<u8>,
    /// What happens to replies.
    pub(crate) reply: ReplyMode,
    /// Whether it asked not to be closed for want of memory.
    pub(crate) is_kept: bool,
    /// Whether its reads are not to count as uses of a key.
    pub(crate) is_unnoticed: bool,
    /// Whether what it queued and watches is to be dropped now.
    pub(crate) drops_queue: bool,
    /// Changed from outside when the password is dropped.
    is_authenticated: Cell<bool>,
}

impl Session {
    /// A client that has just connected.
    pub fn new(config: &Config) -> Self {
        let session = Session::default();
        session.is_authenticated.set(config.password().is_none());
        session
    }

    /// Whether it may do more than authenticate.
    pub fn is_authenticated(&self) -> bool {
        self.is_authenticated.get()
    }

    /// It gave the password, or none is asked for any more.
    pub(crate) fn authenticate(&self) {
        self.is_authenticated.set(true);
    }

    /// The version of the protocol that it speaks.
    pub fn protocol(&self) -> i64 {
        if self.dialect.resp3 { 3 } else { 2 }
    }
}

impl kevy_rt::Session for Session {
    fn state(&mut self) -> SessionState {
        let reply = self.reply;
        if reply != ReplyMode::Off {
            self.reply = ReplyMode::On;
        }
        SessionState {
            scope: self.dialect.bits(),
            restricted: !self.is_authenticated(),
            reply,
            drops_queue: std::mem::take(&mut self.drops_queue),
        }
    }

    fn admit(&self, command: &CommandInfo) -> Result<(), Refusal> {
        match self.is_authenticated() || command.has_flag(NO_AUTH) {
            true => Ok(()),
            false => Err(Refusal::Denied),
        }
    }
}

impl<S: Has<Config>> Open<S> for Session {
    fn open(store: &mut S, cx: &Cx<'_>, greeting: &mut Out) -> Option<Self> {
        let config = Has::<Config>::part(&*store, cx);
        let is_local = cx.conn().is_none_or(|conn| conn.peer.is_local());
        if is_local || !config.is_protected() || config.password().is_some() {
            return Some(Session::new(config));
        }
        Reply::<Resp>::in_scope(greeting, Dialect::default()).put(&PROTECTED);
        None
    }
}

#[cfg(test)]
mod tests {
    use kevy_rt::Session as _;

    use super::*;

    #[test]
    fn a_skipped_reply_is_told_once() {
        let mut session = Session { reply: ReplyMode::SkipNext, ..Session::default() };
        assert_eq!(session.state().reply, ReplyMode::SkipNext);
        assert_eq!(session.state().reply, ReplyMode::On);
        session.reply = ReplyMode::Off;
        assert_eq!(session.state().reply, ReplyMode::Off);
        assert_eq!(session.state().reply, ReplyMode::Off);
    }

    #[test]
    fn a_client_without_the_password_is_restricted() {
        let mut config = Config::default();
        assert!(!Session::new(&config).state().restricted);
        config.change(&[(b"requirepass", b"secret")]).expect("it is fine");
        let mut session = Session::new(&config);
        assert!(session.state().restricted);
        session.authenticate();
        assert!(!session.state().restricted);
    }
}
