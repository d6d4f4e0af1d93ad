//! Error replies, to the letter.

use kevy_rt::{Encode, Refusal, Reply};

use crate::Text;

/// An error reply: a line, or nothing at all for who asked for no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(pub(crate) &'static str);

impl Error {
    /// A request that is none.
    pub const UNKNOWN: Error = Error("ERROR");
    /// A line with something wrong in it.
    pub const FORMAT: Error = Error("CLIENT_ERROR bad command line format");
    /// The bytes behind a value are not the end of a line.
    pub const CHUNK: Error = Error("CLIENT_ERROR bad data chunk");
    /// A value that is larger than an item may be.
    pub const TOO_LARGE: Error = Error("SERVER_ERROR object too large for cache");
    /// A value that there is no room for.
    pub const NO_ROOM: Error = Error("SERVER_ERROR out of memory storing object");
    /// A number that was to be made, and that there is no room for.
    pub const NO_ROOM_FOR_NEW: Error = Error("SERVER_ERROR Out of memory allocating new item");
    /// A value that isn't a number.
    pub const NOT_A_NUMBER: Error =
        Error("CLIENT_ERROR cannot increment or decrement non-numeric value");
    /// A key that isn't base64.
    pub const UNDECODED: Error = Error("CLIENT_ERROR error decoding key");
    /// Any mistake in the flags of some meta commands.
    pub const FLAG: Error = Error("CLIENT_ERROR invalid or duplicate flag");
    /// More flags than memcached takes.
    pub const MANY_FLAGS: Error = Error("CLIENT_ERROR options flags too long");
    /// The same, of a request that reads.
    pub const MANY_FLAGS_OF_GET: Error = Error("CLIENT_ERROR options flags are too long");
    /// An opaque word that is too long to be given back.
    pub const OPAQUE: Error = Error("CLIENT_ERROR opaque token too long");
    /// An expiry that isn't a number.
    pub const EXPTIME: Error = Error("CLIENT_ERROR invalid exptime argument");
    /// No values: the reply to a request for no keys, which is none.
    pub(crate) const END: Error = Error("END");
    /// No reply.
    pub const SILENT: Error = Error("");

    /// Itself, or nothing for who wants no reply.
    pub(crate) fn unless(self, is_quiet: bool) -> Self {
        if is_quiet { Error::SILENT } else { self }
    }
}

impl From<Refusal> for Error {
    #[cold]
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Arity(_) | Refusal::TooMany => Error::UNKNOWN,
            Refusal::NoRoom => Error::NO_ROOM,
            Refusal::TooManyConnections => Error("ERROR Too many open connections"),
            Refusal::Overloaded => Error("SERVER_ERROR the server has more to do than it takes on"),
            Refusal::Panicked => Error("SERVER_ERROR the command failed inside the server"),
            _ => Error::FORMAT,
        }
    }
}

impl Encode<Text> for Error {
    #[cold]
    fn encode(self, reply: &mut Reply<'_, Text>) {
        let out = reply.out();
        out.count_error();
        if !self.0.is_empty() {
            out.extend(self.0.as_bytes());
            out.extend(b"\r\n");
        }
    }
}
