//! PING, HELLO, AUTH, SELECT and what else is about the connection itself.

use kevy_resp::{Error, Frame, Resp, Status, Writer};
use kevy_rt::{Arg, Close, Cursor, Cx, Refusal, Reply, Rest, commands, parse_integer};

use crate::config::Config;
use crate::database::Index;
use crate::session::Session;

/// The version of Redis that clients are told. Several refuse to work with a lower one.
pub const REDIS_VERSION: &str = "7.2.4";

const NO_PASSWORD_SET: Error = Error::new(
    "ERR AUTH <password> called without any password configured for the default user. Are you \
     sure your configuration is correct?",
);
const WRONG_PASSWORD: Error =
    Error::new("WRONGPASS invalid username-password pair or user is disabled.");
const HELLO_UNAUTHENTICATED: Error = Error::new(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH \
     <user> <pass> option can be used to authenticate the client and select the RESP protocol \
     version at the same time",
);
const BAD_NAME: Error =
    Error::new("ERR Client names cannot contain spaces, newlines or special characters.");
const BAD_PROTOCOL: Error = Error::new("ERR Protocol version is not an integer or out of range");
const NO_SUCH_PROTOCOL: Error = Error::new("NOPROTO unsupported protocol version");

/// The set of commands about the connection.
#[derive(Debug)]
pub struct Connection;

/// PING's message. What follows is too much, and not of a wrong form.
struct Last<'a>(&'a [u8]);

impl<'a> Arg<'a, Resp> for Last<'a> {
    fn take(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        let message = cursor.bytes()?;
        if cursor.is_done() { Ok(Last(message)) } else { Err(Refusal::Arity("PING").into()) }
    }
}

#[commands(store = Config, wire = Resp, session = Session)]
impl Connection {
    /// Ping the server
    #[command(
        route = local,
        since = "1.0.0",
        group = "connection",
        complexity = "O(1)",
        flags(fast),
        meta(tips = "request_policy:all_shards,response_policy:all_succeeded")
    )]
    fn ping(reply: &mut Reply<'_, Resp>, message: Option<Last<'_>>) {
        match message {
            Some(Last(message)) => reply.bulk(message),
            None => reply.put(Status::PONG),
        }
    }

    /// Echo the given string
    #[command(
        route = local,
        since = "1.0.0",
        group = "connection",
        complexity = "O(1)",
        flags(loading, stale, fast)
    )]
    fn echo(reply: &mut Reply<'_, Resp>, message: &[u8]) {
        reply.bulk(message);
    }

    /// Close the connection
    #[command(
        route = session,
        queued = at_once,
        since = "1.0.0",
        group = "connection",
        complexity = "O(1)",
        flags(noscript, loading, stale, fast, no_auth, allow_busy)
    )]
    fn quit(_session: &mut Session, cx: &Cx<'_>, _ignored: Rest<'_>) {
        cx.close(Close::AfterReplies);
    }

    /// Reset the connection
    #[command(
        route = session,
        queued = at_once,
        since = "6.2.0",
        group = "connection",
        complexity = "O(1)",
        flags(noscript, loading, stale, fast, no_auth, allow_busy)
    )]
    fn reset(session: &mut Session, config: &Config) -> Status {
        *session = Session::new(config);
        session.drops_queue = true;
        Status::RESET
    }

    /// Handshake with Redis
    #[command(
        route = session,
        since = "6.0.0",
        group = "connection",
        complexity = "O(1)",
        flags(noscript, loading, stale, fast, no_auth, allow_busy)
    )]
    fn hello(
        session: &mut Session,
        config: &Config,
        cx: &Cx<'_>,
        reply: &mut Reply<'_, Resp>,
        arguments: Rest<'_>,
    ) {
        match greet(session, config, arguments) {
            Ok(()) => {
                // In the dialect that was just agreed on.
                let id = cx.conn().map_or(0, |conn| conn.id);
                Reply::in_scope(reply.out(), session.dialect).put(greeting(session, id));
            }
            Err(error) => reply.put(error),
        }
    }

    /// Authenticate to the server
    #[command(
        route = session,
        since = "1.0.0",
        group = "connection",
        complexity = "O(N) where N is the number of passwords defined for the user",
        flags(noscript, loading, stale, fast, no_auth, allow_busy)
    )]
    fn auth(
        session: &mut Session,
        config: &Config,
        username_or_password: &[u8],
        password: Option<&[u8]>,
    ) -> Result<(), Error> {
        match password {
            Some(password) => log_in(session, config, username_or_password, password),
            None if config.password().is_none() => {
                // Whoever connected while there was one need not know it any more.
                session.authenticate();
                Err(NO_PASSWORD_SET)
            }
            None => log_in(session, config, b"default", username_or_password),
        }
    }

    /// Change the selected database for the current connection
    #[command(
        route = session,
        since = "1.0.0",
        group = "connection",
        complexity = "O(1)",
        flags(loading, stale, fast)
    )]
    fn select(session: &mut Session, config: &Config, index: Index) -> Result<(), Error> {
        session.dialect.db = index.among(config.databases().into())? as u16;
        Ok(())
    }
}

/// Does what HELLO's arguments say, in their order.
fn greet(session: &mut Session, config: &Config, arguments: Rest<'_>) -> Result<(), Error> {
    let mut arguments = arguments.iter();
    let resp3 = match arguments.next().map(|version| integer(version).ok_or(BAD_PROTOCOL)) {
        None => None,
        Some(version) => match version? {
            2 => Some(false),
            3 => Some(true),
            _ => return Err(NO_SUCH_PROTOCOL),
        },
    };
    let mut credentials = None;
    while let Some(option) = arguments.next() {
        let further = arguments.len();
        if option.eq_ignore_ascii_case(b"AUTH") && further >= 2 {
            credentials = arguments.next().zip(arguments.next());
        } else if option.eq_ignore_ascii_case(b"SETNAME") && further >= 1 {
            set_name(session, arguments.next().unwrap_or_default())?;
        } else {
            let quoted = [b"ERR Syntax error in HELLO option '", option, b"'"].concat();
            return Err(Error::bytes(quoted));
        }
    }
    if let Some((user, password)) = credentials {
        log_in(session, config, user, password)?;
    }
    if !session.is_authenticated() {
        return Err(HELLO_UNAUTHENTICATED);
    }
    session.dialect.resp3 = resp3.unwrap_or(session.dialect.resp3);
    Ok(())
}

fn integer(text: &[u8]) -> Option<i64> {
    parse_integer(text).and_then(|number| i64::try_from(number).ok())
}

/// What HELLO answers.
fn greeting(session: &Session, id: u64) -> Frame {
    Frame::map([
        ("server", Frame::text("redis")),
        ("version", Frame::text(REDIS_VERSION)),
        ("proto", Frame::Integer(session.protocol())),
        ("id", Frame::Integer(id as i64)),
        ("mode", Frame::text("standalone")),
        ("role", Frame::text("master")),
        ("modules", Frame::Array(Vec::new())),
    ])
}

/// Takes a name for a client; an empty one takes it away.
pub(crate) fn set_name(session: &mut Session, name: &[u8]) -> Result<(), Error> {
    if !is_plain(name) {
        return Err(BAD_NAME);
    }
    session.name = name.to_vec();
    Ok(())
}

/// Whether a text fits into a line of CLIENT LIST: no blanks, nothing that can't be printed.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

/// There is one user, `default`; without a password any will do.
fn log_in(
    session: &mut Session,
    config: &Config,
    user: &[u8],
    password: &[u8],
) -> Result<(), Error> {
    let is_right = config.password().is_none_or(|right| is_same(right, password));
    if user != b"default" || !is_right {
        return Err(WRONG_PASSWORD);
    }
    session.authenticate();
    Ok(())
}

/// Compares in a time that says nothing about where two passwords of one length differ.
fn is_same(right: &[u8], given: &[u8]) -> bool {
    if right.len() != given.len() {
        return false;
    }
    let difference = right.iter().zip(given).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_password() -> Config {
        let mut config = Config::default();
        config.change(&[(b"requirepass", b"secret")]).expect("it is fine");
        config
    }

    #[test]
    fn one_user_has_one_password() {
        let config = with_password();
        for (user, password, is_right) in [
            ("default", "secret", true),
            ("default", "Secret", false),
            ("default", "", false),
            ("default", "secrets", false),
            ("Default", "secret", false),
            ("nobody", "secret", false),
        ] {
            let mut session = Session::new(&config);
            let result = log_in(&mut session, &config, user.as_bytes(), password.as_bytes());
            assert_eq!(result.is_ok(), is_right, "{user} {password}");
            assert_eq!(session.is_authenticated(), is_right, "{user} {password}");
        }
    }

    #[test]
    fn a_wrong_password_takes_nothing_away() {
        let config = with_password();
        let mut session = Session::new(&config);
        log_in(&mut session, &config, b"default", b"secret").expect("it is right");
        log_in(&mut session, &config, b"default", b"wrong").expect_err("it is wrong");
        assert!(session.is_authenticated());
    }

    #[test]
    fn names_have_no_blanks() {
        let mut session = Session::default();
        set_name(&mut session, b"me~!").expect("it is fine");
        for name in [&b"a b"[..], b"a\n", b"\x7f", "é".as_bytes()] {
            set_name(&mut session, name).expect_err("not a name");
        }
        assert_eq!(session.name, b"me~!");
        set_name(&mut session, b"").expect("it is taken away");
        assert_eq!(session.name, b"");
    }
}
