//! Replies, and how they are written.

use std::fmt;
use std::io::Write;

use kevy_rt::{Carry, Encode, Reply};

use crate::Http;
use crate::request::Framing;

/// What has become of a request. As a reply of its own it is an error without a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
#[non_exhaustive]
pub enum Code {
    /// It is answered.
    Ok = 200,
    /// It doesn't read as one.
    BadRequest = 400,
    /// It may not be asked.
    Forbidden = 403,
    /// Nothing has this path.
    NotFound = 404,
    /// Nothing here takes this method.
    MethodNotAllowed = 405,
    /// Its body is longer than [`BODY_BYTES`](crate::BODY_BYTES).
    ContentTooLarge = 413,
    /// Its first line alone is longer than [`HEAD_BYTES`](crate::HEAD_BYTES).
    UriTooLong = 414,
    /// It expects what isn't done here.
    ExpectationFailed = 417,
    /// Its head is longer than [`HEAD_BYTES`](crate::HEAD_BYTES), or has too many fields.
    HeaderFieldsTooLarge = 431,
    /// Its handler broke.
    InternalServerError = 500,
    /// It uses what isn't spoken here.
    NotImplemented = 501,
    /// Not now.
    ServiceUnavailable = 503,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    VersionNotSupported = 505,
}

impl Code {
    fn is_error(self) -> bool {
        self as u16 >= 400
    }

    /// Whether nothing is read behind a request of which this became.
    fn ends_connection(self) -> bool {
        use Code::*;
        matches!(
            self,
            BadRequest
                | ContentTooLarge
                | UriTooLong
                | ExpectationFailed
                | HeaderFieldsTooLarge
                | NotImplemented
                | VersionNotSupported
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Code::Ok => "OK",
            Code::BadRequest => "Bad Request",
            Code::Forbidden => "Forbidden",
            Code::NotFound => "Not Found",
            Code::MethodNotAllowed => "Method Not Allowed",
            Code::ContentTooLarge => "Content Too Large",
            Code::UriTooLong => "URI Too Long",
            Code::ExpectationFailed => "Expectation Failed",
            Code::HeaderFieldsTooLarge => "Request Header Fields Too Large",
            Code::InternalServerError => "Internal Server Error",
            Code::NotImplemented => "Not Implemented",
            Code::ServiceUnavailable => "Service Unavailable",
            Code::VersionNotSupported => "HTTP Version Not Supported",
        })
    }
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Media {
    /// Text for people.
    Text,
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
    /// JSON.
    Json,
    /// A page.
    Html,
}

impl Media {
    fn content_type(self) -> &'static str {
        match self {
            Media::Text => "text/plain; charset=utf-8",
            Media::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Media::Json => "application/json",
            Media::Html => "text/html; charset=utf-8",
        }
    }
}

/// A reply. [`Request::answer`](crate::Request::answer) makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub(crate) code: Code,
    pub(crate) media: Media,
    pub(crate) body: Vec<u8>,
    pub(crate) framing: Framing,
}

impl Carry for Response {}

impl Encode<Http> for Response {
    fn encode(self, reply: &mut Reply<'_, Http>) {
        let out = reply.out();
        if self.code.is_error() {
            out.count_error();
        }
        let Framing { is_head, closes, keeps_1_0 } = self.framing;
        let media = self.media.content_type();
        write_head(out.buffer(), self.code, media, self.body.len(), closes, keeps_1_0);
        if !is_head {
            out.extend(&self.body);
        }
    }
}

/// A refusal has no body, as it may answer a HEAD request.
impl Encode<Http> for Code {
    fn encode(self, reply: &mut Reply<'_, Http>) {
        let out = reply.out();
        out.count_error();
        let media = Media::Text.content_type();
        write_head(out.buffer(), self, media, 0, self.ends_connection(), false);
    }
}

fn write_head(
    out: &mut Vec<u8>,
    code: Code,
    media: &str,
    len: usize,
    closes: bool,
    keeps_1_0: bool,
) {
    let allow = if code == Code::MethodNotAllowed { "Allow: GET, HEAD\r\n" } else { "" };
    let connection = match (closes, keeps_1_0) {
        (true, _) => "Connection: close\r\n",
        (false, true) => "Connection: keep-alive\r\n",
        (false, false) => "",
    };
    // A vector takes whatever is written to it.
    let _ = write!(
        out,
        "HTTP/1.1 {} {code}\r\nContent-Type: {media}\r\nContent-Length: {len}\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n{allow}{connection}\r\n",
        code as u16
    );
}
