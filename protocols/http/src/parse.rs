//! Requests, parsed where they were received.
//!
//! A request becomes four arguments: method, name, how its reply is framed, query. The name is the
//! path without its first slash, `index.html` for nothing. HEAD is told as GET, framed without a
//! body.
//!
//! ```text
//! GET /metrics?x HTTP/1.1     GET  metrics     ""    x
//! HEAD / HTTP/1.0             GET  index.html  "hc"
//! ```
//!
//! A head that the input ends in is searched for its end only once: `resume.at` says how far it was.
//! While a body is passed over, state word 0 is where the request ends.

use httparse::{EMPTY_HEADER, Error};
use kevy_rt::{Burst, ParseLimits, Resume};
use memchr::memchr_iter;

use crate::Code;
use crate::request::{CLOSES, IS_HEAD, KEEPS_1_0};

/// Longest head of a request, in bytes.
///
/// Smaller: a browser's cookies don't fit. Larger: idle connections may hold more.
pub const HEAD_BYTES: usize = 8 * 1024;

/// Most header fields of a request.
pub const HEADERS: usize = 64;

/// Longest body of a request, in bytes. Nobody reads it; the next request stands behind it.
pub const BODY_BYTES: usize = 64 * 1024;

/// What a path that is only a slash asks for.
const INDEX: &[u8] = b"index.html";

/// Parses as many requests as `burst` has room for.
pub(crate) fn parse(
    input: &[u8],
    resume: &mut Resume,
    limits: &ParseLimits,
    burst: &mut Burst,
) -> Result<(), Code> {
    let mut searched = std::mem::take(&mut resume.at);
    let [mut end, _] = std::mem::take(&mut resume.state);
    let mut at = 0;
    while burst.room() > 0 && at < input.len() {
        let rest = &input[at..];
        let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if blank > 0 {
            at += blank;
            burst.close(at);
            continue;
        }
        if end as usize > rest.len() {
            resume.state = [end, 0];
            break;
        }
        let Some(head) = head_len(rest, searched)? else {
            // The end's first bytes may be here.
            resume.at = rest.len() - rest.len().min(3);
            break;
        };
        let request = Request::read(&rest[..head], limits)?;
        (searched, end) = (0, 0);
        if head + request.body > rest.len() {
            end = (head + request.body) as u64;
            continue;
        }
        request.push(at, burst);
        at += head + request.body;
        if request.closes {
            burst.close_last(at);
            break;
        }
        burst.close(at);
    }
    Ok(())
}

/// Where the head ends: behind an empty line. None if that is not here yet.
fn head_len(rest: &[u8], searched: usize) -> Result<Option<usize>, Code> {
    let window = &rest[..rest.len().min(HEAD_BYTES)];
    let start = searched.min(window.len());
    let ends = memchr_iter(b'\n', &window[start..]).map(|newline| start + newline + 1);
    for line_end in ends {
        match &window[line_end..] {
            [b'\n', ..] => return Ok(Some(line_end + 1)),
            [b'\r', b'\n', ..] => return Ok(Some(line_end + 2)),
            _ => {}
        }
    }
    match rest.len() > HEAD_BYTES {
        true if !window.contains(&b'\n') => Err(Code::UriTooLong),
        true => Err(Code::HeaderFieldsTooLarge),
        false => Ok(None),
    }
}

/// What of a head counts here.
struct Request<'a> {
    method: &'a str,
    /// Where its name is in the head.
    name: (usize, usize),
    query: (usize, usize),
    body: usize,
    closes: bool,
    /// HTTP/1.0, and to be kept open.
    keeps_1_0: bool,
}

impl<'a> Request<'a> {
    fn read(head: &'a [u8], limits: &ParseLimits) -> Result<Self, Code> {
        let mut fields = [EMPTY_HEADER; HEADERS];
        let mut parsed = httparse::Request::new(&mut fields);
        match parsed.parse(head) {
            Ok(status) if status.is_complete() => {}
            Err(Error::TooManyHeaders) => return Err(Code::HeaderFieldsTooLarge),
            Err(Error::Version) => return Err(Code::VersionNotSupported),
            Ok(_) | Err(_) => return Err(Code::BadRequest),
        }
        let (Some(method), Some(target), Some(version)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(Code::BadRequest);
        };
        // Methods are told apart by case, and commands are not.
        if method.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Err(Code::NotImplemented);
        }
        let target_at = target.as_ptr().addr() - head.as_ptr().addr();
        let (name, query) = split(target);
        let moved = |(start, end)| (target_at + start, target_at + end);
        let mut request = Request {
            method,
            name: moved(name),
            query: moved(query),
            body: 0,
            closes: version == 0,
            keeps_1_0: false,
        };
        request.read_fields(version, parsed.headers)?;
        if request.body > BODY_BYTES.min(limits.request_bytes) {
            return Err(Code::ContentTooLarge);
        }
        Ok(request)
    }

    fn read_fields(&mut self, version: u8, fields: &[httparse::Header<'_>]) -> Result<(), Code> {
        let (mut hosts, mut length, mut closes, mut keeps) = (0, None, false, false);
        for field in fields {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("host") {
                hosts += 1;
            } else if is("content-length") {
                let value = parse_length(field.value).ok_or(Code::BadRequest)?;
                if length.is_some_and(|length| length != value) {
                    return Err(Code::BadRequest);
                }
                length = Some(value);
            } else if is("transfer-encoding") {
                return Err(Code::NotImplemented);
            } else if is("expect") {
                return Err(Code::ExpectationFailed);
            } else if is("connection") {
                for word in field.value.split(|byte| *byte == b',') {
                    closes |= word.trim_ascii().eq_ignore_ascii_case(b"close");
                    keeps |= word.trim_ascii().eq_ignore_ascii_case(b"keep-alive");
                }
            }
        }
        if hosts > 1 || (hosts == 0 && version == 1) {
            return Err(Code::BadRequest);
        }
        self.body = length.unwrap_or(0);
        self.keeps_1_0 = version == 0 && keeps && !closes;
        self.closes = closes || (version == 0 && !keeps);
        Ok(())
    }

    /// Adds its arguments, for a head at `at` of the input.
    fn push(&self, at: usize, burst: &mut Burst) {
        let is_head = self.method == "HEAD";
        match is_head {
            true => burst.push_owned(b"GET".to_vec()),
            false => burst.push(at, self.method.len()),
        }
        let (start, end) = self.name;
        match start == end {
            true => burst.push_owned(INDEX.to_vec()),
            false => burst.push(at + start, end - start),
        }
        let marks = [(is_head, IS_HEAD), (self.closes, CLOSES), (self.keeps_1_0, KEEPS_1_0)];
        let marks = marks.into_iter().filter_map(|(is_set, mark)| is_set.then_some(mark));
        burst.push_owned(marks.collect());
        burst.push(at + self.query.0, self.query.1 - self.query.0);
    }
}

/// Where a target has its name and its query.
fn split(target: &str) -> ((usize, usize), (usize, usize)) {
    let path = match target.find("://") {
        // What proxies are sent: the path is behind the authority.
        Some(scheme) if !target.starts_with('/') => {
            let authority = scheme + "://".len();
            let len = target[authority..].find(['/', '?']);
            len.map_or(target.len(), |len| authority + len)
        }
        _ => 0,
    };
    let query = target[path..].find('?').map_or(target.len(), |query| path + query);
    let name = path + usize::from(target[path..query].starts_with('/'));
    ((name, query), ((query + 1).min(target.len()), target.len()))
}

/// Digits only, and not too many.
fn parse_length(value: &[u8]) -> Option<usize> {
    let digits = value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| digits)?;
    // A number that no word holds is no less too large.
    Some(text.parse().unwrap_or(usize::MAX)).filter(|_| !text.is_empty())
}
