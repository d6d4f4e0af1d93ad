//! Any bytes, parsed as HTTP: never a panic, never a request past the limits, and the same requests
//! and the same refusal however the bytes are cut into pieces.

use kevy_http::{Code, HEAD_BYTES, Http};
use kevy_rt::testing::{Feed, Request};
use kevy_rt::{Limits, ParseLimits};

/// What a stream of bytes says: its requests, and what is wrong with it.
#[derive(Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) requests: Vec<Request>,
    pub(crate) refusal: Option<Code>,
}

/// Feeds `stream` in pieces of the lengths that `cut` says, given what is left. Nothing is read
/// behind a request that the connection ends with.
pub(crate) fn say(stream: &[u8], mut cut: impl FnMut(usize) -> usize) -> Said {
    let limits: ParseLimits = Limits::default().parse;
    let mut feed = Feed::<Http>::new(limits);
    let mut said = Said { requests: Vec::new(), refusal: None };
    let mut rest = stream;
    while !rest.is_empty() && said.refusal.is_none() && !is_through(&said) {
        let (piece, next) = rest.split_at(cut(rest.len()).clamp(1, rest.len()));
        said.refusal = feed.receive(piece, false, &mut said.requests).err();
        rest = next;
    }
    said
}

fn is_through(said: &Said) -> bool {
    said.requests.last().is_some_and(|request| request[2].contains(&b'c'))
}

/// Checks all that has to hold for any bytes.
pub(crate) fn check(stream: &[u8]) {
    let whole = say(stream, |left| left);
    for request in &whole.requests {
        assert_eq!(request.len(), 4, "method, name, framing, query");
        assert!(request.iter().map(Vec::len).sum::<usize>() <= HEAD_BYTES + 16);
    }
    let mut state = stream.len() as u64 | 1;
    for longest in [3, 40, 1000, 20_000] {
        let pieces = say(stream, |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % longest
        });
        assert_eq!(whole, pieces);
    }
    if stream.len() < 4096 {
        assert_eq!(whole, say(stream, |_| 1));
    }
}
