//! HTTP/1.1 as a wire of kevy-rt, and a command set over it that shows how a server is: `/metrics`,
//! `/healthz`, `/readyz`, `/status.json`, and a page that reads well.
//!
//! Any server has it by one more port:
//!
//! ```text
//! server! { Server: store = Counters, ports = [
//!     Resp, () => [Counting];
//!     Http, () => [Status],
//! ] }
//! Builder::<Server>::new(()).listen(0, clients).listen(1, operators).start()?
//! ```
//!
//! A request for `/name` calls the command `GET name`, so a set of one's own may answer others:
//!
//! ```text
//! #[command(route = local, name = "GET hello")]
//! fn hello(request: Request<'_>) -> Response { request.answer(Code::Ok, Media::Text, "hello\n") }
//! ```
//!
//! What the wire takes: GET and HEAD, HTTP/1.0 and 1.1, requests behind one another on a connection
//! (answered in order), heads of up to [`HEAD_BYTES`] with [`HEADERS`] fields. A body, of up to
//! [`BODY_BYTES`], is passed over. It is for operators on a network of their own: there is neither
//! TLS nor authentication.
#![forbid(unsafe_code)]

mod json;
mod parse;
mod process;
mod prometheus;
mod request;
mod response;
mod status;

pub use parse::{BODY_BYTES, HEAD_BYTES, HEADERS};
pub use request::Request;
pub use response::{Code, Media, Response};
pub use status::Status;

use kevy_rt::{Args, Burst, ParseLimits, Refusal, Reply, Resume, Wire};

/// The wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Http;

impl Wire for Http {
    type Scope = ();
    type Refusal = Code;

    fn parse(
        input: &[u8],
        resume: &mut Resume,
        limits: &ParseLimits,
        burst: &mut Burst,
    ) -> Result<(), Code> {
        parse::parse(input, resume, limits, burst)
    }

    /// HTTP has no lists: the elements stand for themselves.
    fn list(_: &mut Reply<'_, Self>, _: usize) {}

    fn unknown(args: Args<'_>, container: Option<&'static str>, reply: &mut Reply<'_, Self>) {
        let code = if container.is_some() { Code::NotFound } else { Code::MethodNotAllowed };
        let request = Request::of(args);
        reply.put(request.answer(code, Media::Text, format!("{code}\n")));
    }
}

impl From<Refusal> for Code {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Denied => Code::Forbidden,
            Refusal::Panicked => Code::InternalServerError,
            Refusal::TooManyConnections | Refusal::NoRoom => Code::ServiceUnavailable,
            _ => Code::BadRequest,
        }
    }
}
