//! What a handler is told of a request, and answers it with.

use kevy_rt::{Arg, Args, Cursor};

use crate::{Code, Http, Media, Response};

/// Marks of how a reply is framed, which the parser writes.
pub(crate) const IS_HEAD: u8 = b'h';
pub(crate) const CLOSES: u8 = b'c';
pub(crate) const KEEPS_1_0: u8 = b'k';

/// A request as its handler gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What follows the path's question mark.
    pub query: &'a [u8],
    pub(crate) framing: Framing,
}

/// How the reply to a request is framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Framing {
    /// Nothing of the body is sent.
    pub(crate) is_head: bool,
    /// The connection is closed behind it.
    pub(crate) closes: bool,
    /// It has to be said that it isn't.
    pub(crate) keeps_1_0: bool,
}

impl Framing {
    fn read(marks: &[u8]) -> Self {
        Framing {
            is_head: marks.contains(&IS_HEAD),
            closes: marks.contains(&CLOSES),
            keeps_1_0: marks.contains(&KEEPS_1_0),
        }
    }

    /// A reply framed so.
    pub(crate) fn answer(self, code: Code, media: Media, body: impl Into<Vec<u8>>) -> Response {
        Response { code, media, body: body.into(), framing: self }
    }
}

impl<'a> Request<'a> {
    /// Of a request that no handler takes.
    pub(crate) fn of(args: Args<'a>) -> Self {
        let argument = |index| args.get(index).unwrap_or_default();
        Request { framing: Framing::read(argument(2)), query: argument(3) }
    }

    /// The reply with this body.
    pub fn answer(self, code: Code, media: Media, body: impl Into<Vec<u8>>) -> Response {
        self.framing.answer(code, media, body)
    }
}

impl<'a> Arg<'a, Http> for Request<'a> {
    const MIN: usize = 2;
    const MAX: usize = 2;

    fn take(cursor: &mut Cursor<'a>) -> Result<Self, Code> {
        Ok(Request { framing: Framing::read(cursor.bytes()?), query: cursor.bytes()? })
    }
}
