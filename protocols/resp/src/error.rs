//! Error replies, and Redis's words for what the runtime refuses.

use std::borrow::Cow;
use std::fmt;

use kevy_rt::{Encode, Refusal, Reply};

use crate::{Resp, Writer};

/// An error reply: a code in capitals, a space, and what is wrong.
///
/// Line breaks in it are written as blanks.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Cow<'static, [u8]>);

impl Error {
    /// `ERR syntax error`
    pub const SYNTAX: Error = Error::new("ERR syntax error");
    /// `ERR value is not an integer or out of range`
    pub const NOT_AN_INTEGER: Error = Error::new("ERR value is not an integer or out of range");
    /// `ERR value is not a valid float`
    pub const NOT_A_FLOAT: Error = Error::new("ERR value is not a valid float");
    /// `WRONGTYPE Operation against a key holding the wrong kind of value`
    pub const WRONG_TYPE: Error =
        Error::new("WRONGTYPE Operation against a key holding the wrong kind of value");
    /// `ERR no such key`
    pub const NO_SUCH_KEY: Error = Error::new("ERR no such key");
    /// `ERR index out of range`
    pub const OUT_OF_RANGE: Error = Error::new("ERR index out of range");

    /// An error of this text, its code included.
    pub const fn new(text: &'static str) -> Self {
        Error(Cow::Borrowed(text.as_bytes()))
    }

    /// An error of this text, its code included.
    pub fn text(text: String) -> Self {
        Error::bytes(text.into_bytes())
    }

    /// An error that quotes what a client sent, its code included.
    pub fn bytes(text: Vec<u8>) -> Self {
        Error(Cow::Owned(text))
    }

    /// A number of arguments that the command of this name, `get` or `client|list`, doesn't take.
    pub fn arity(name: &str) -> Self {
        Error::text(format!("ERR wrong number of arguments for '{name}' command"))
    }

    /// The text, its code included.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self})")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl std::error::Error for Error {}

impl From<Refusal> for Error {
    #[cold]
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Syntax | Refusal::TooMany => Error::SYNTAX,
            // What should have run the queue says that it is gone.
            Refusal::Arity("EXEC") => Error::new(
                "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' \
                 command",
            ),
            // A subcommand's name is two words here and `client|list` in Redis's texts.
            Refusal::Arity(name) => Error::arity(&name.to_ascii_lowercase().replace(' ', "|")),
            Refusal::NotAnInteger => Error::NOT_AN_INTEGER,
            Refusal::NotAFloat => Error::NOT_A_FLOAT,
            Refusal::Argument(words) => Error::new(words),
            Refusal::Denied => Error::new("NOAUTH Authentication required."),
            Refusal::Panicked => Error::new("ERR the command failed inside the server"),
            Refusal::TooManyConnections => Error::new("ERR max number of clients reached"),
            Refusal::Nested => Error::new("ERR MULTI calls can not be nested"),
            Refusal::NotQueueing(name) => {
                Error::bytes(format!("ERR {name} without MULTI").into_bytes())
            }
            Refusal::Spoiled => {
                Error::new("EXECABORT Transaction discarded because of previous errors.")
            }
            Refusal::NotQueueable => Error::new("ERR Command not allowed inside a transaction"),
            Refusal::WatchWhileQueueing => Error::new("ERR WATCH inside MULTI is not allowed"),
            Refusal::NoRoom => {
                Error::new("OOM command not allowed when used memory > 'maxmemory'.")
            }
            Refusal::Overloaded => Error::new("BUSY the server has more to do than it takes on"),
            Refusal::QueueFull => Error::new("ERR Transaction is too large"),
            Refusal::RunDenied => Error::new(
                "EXECABORT Transaction discarded because of: NOAUTH Authentication required.",
            ),
            Refusal::RunNoRoom => Error::new(
                "EXECABORT Transaction discarded because of: OOM command not allowed when used \
                 memory > 'maxmemory'.",
            ),
            _ => Error::new("ERR the request was refused"),
        }
    }
}

impl Encode<Resp> for Error {
    #[cold]
    fn encode(self, reply: &mut Reply<'_, Resp>) {
        reply.error_bytes(&self.0);
    }
}

impl Encode<Resp> for &Error {
    #[cold]
    fn encode(self, reply: &mut Reply<'_, Resp>) {
        reply.error_bytes(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use kevy_rt::Out;

    use super::*;
    use crate::Dialect;

    #[test]
    fn refusals_have_the_words_of_redis() {
        for (refusal, text) in [
            (Refusal::Syntax, "ERR syntax error"),
            (Refusal::Arity("GET"), "ERR wrong number of arguments for 'get' command"),
            (
                Refusal::Arity("CLIENT LIST"),
                "ERR wrong number of arguments for 'client|list' command",
            ),
            (
                Refusal::Arity("EXEC"),
                "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' \
                 command",
            ),
            (Refusal::Nested, "ERR MULTI calls can not be nested"),
            (Refusal::NotQueueing("DISCARD"), "ERR DISCARD without MULTI"),
            (Refusal::NotAnInteger, "ERR value is not an integer or out of range"),
            (Refusal::NotAFloat, "ERR value is not a valid float"),
            (Refusal::Denied, "NOAUTH Authentication required."),
            (Refusal::TooManyConnections, "ERR max number of clients reached"),
            (Refusal::NoRoom, "OOM command not allowed when used memory > 'maxmemory'."),
        ] {
            assert_eq!(Error::from(refusal).to_string(), text);
        }
    }

    #[test]
    fn an_error_stays_on_its_line_and_is_counted() {
        let mut out = Out::default();
        let mut reply = Reply::<Resp>::in_scope(&mut out, Dialect::default());
        reply.put(Error::text("ERR no\r\n+OK\r\n".to_owned()));
        assert_eq!(out.flat(), b"-ERR no  +OK  \r\n");
        assert_eq!(out.errors(), 1);
    }
}
