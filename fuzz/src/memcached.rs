//! Any bytes, parsed as memcached requests: never a panic, never a request past the limits, and the
//! same requests and the same refusal however the bytes are cut into pieces.

use kevy_memcached::{Error, Text};
use kevy_rt::ParseLimits;
use kevy_rt::testing::{Feed, Request};

/// Bounds that a short stream can pass.
const TIGHT: ParseLimits = ParseLimits {
    args: 10,
    argument_bytes: 300,
    line_bytes: 200,
    request_bytes: 4000,
    restricted: true,
};

/// Bounds as a server has them.
pub(crate) const WIDE: ParseLimits = ParseLimits {
    args: 1024 * 1024,
    argument_bytes: 1024 * 1024,
    line_bytes: 64 * 1024,
    request_bytes: 1024 * 1024 * 1024,
    restricted: false,
};

/// What a stream says, fed in pieces of the lengths that `cut` says, given what is left: its
/// requests, and what is wrong with it.
pub(crate) fn say(
    stream: &[u8],
    limits: ParseLimits,
    gather: bool,
    mut cut: impl FnMut(usize) -> usize,
) -> (Vec<Request>, Option<Error>) {
    let mut feed = Feed::<Text>::new(limits);
    let mut requests = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let (piece, next) = rest.split_at(cut(rest.len()).clamp(1, rest.len()));
        if let Err(refusal) = feed.receive(piece, gather, &mut requests) {
            return (requests, Some(refusal));
        }
        rest = next;
    }
    (requests, None)
}

/// Checks all that has to hold for any bytes.
pub(crate) fn check(stream: &[u8]) {
    for limits in [WIDE, TIGHT] {
        let whole = say(stream, limits, false, |left| left);
        for request in &whole.0 {
            let bytes: usize = request.iter().map(Vec::len).sum();
            assert!(request.len() <= limits.args && bytes <= limits.request_bytes);
        }
        let seed = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
        let mut random = stream.iter().fold(0xCBF2_9CE4_8422_2325, seed) | 1;
        for (longest, gather) in [(3, true), (40, false), (1000, true), (20_000, true)] {
            let pieces = say(stream, limits, gather, |_| next(&mut random) as usize % longest);
            assert_eq!(whole, pieces);
        }
        if stream.len() < 4096 {
            assert_eq!(whole, say(stream, limits, true, |_| 1));
        }
    }
}

/// The next of a series of random words, of a state that isn't zero (xorshift).
pub(crate) fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state >> 16
}
