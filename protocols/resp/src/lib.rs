//! RESP2, RESP3 and inline commands as a wire of kevy-rt.
//!
//! Requests are parsed where they were received ([`Resp`]'s `Wire::parse`); replies are Rust values
//! that know how they are written in each dialect ([`reply`]), or are written piece by piece
//! ([`Writer`]). A client reads them as [`Frame`]s.
#![forbid(unsafe_code)]

mod client;
mod error;
mod frame;
mod inline;
pub mod number;
mod parse;
pub mod reply;
mod unknown;
mod writer;

pub use error::Error;
pub use frame::Frame;
pub use reply::{
    BigNumber, Bool, Double, Map, NilArray, Null, OwnedStatus, Push, Set, Status, Verbatim,
};
pub use writer::Writer;

use kevy_rt::{Args, Burst, Outcome, ParseLimits, Reply, Resume, Scope, Wire};

/// The wire: what Redis clients speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resp;

/// What of a connection travels with each of its requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// The selected database.
    pub db: u16,
    /// Whether replies are written in RESP3 rather than RESP2.
    pub resp3: bool,
}

impl Scope for Dialect {
    #[inline]
    fn bits(self) -> u64 {
        u64::from(self.db) | u64::from(self.resp3) << 16
    }

    #[inline]
    fn from_bits(bits: u64) -> Self {
        Dialect { db: bits as u16, resp3: bits >> 16 & 1 == 1 }
    }
}

impl Wire for Resp {
    type Scope = Dialect;
    type Refusal = Error;

    #[inline]
    fn parse(
        input: &[u8],
        resume: &mut Resume,
        limits: &ParseLimits,
        burst: &mut Burst,
    ) -> Result<(), Error> {
        parse::parse(input, resume, limits, burst)
    }

    fn outcome(outcome: Outcome, reply: &mut Reply<'_, Self>) {
        match outcome {
            Outcome::Done => reply.put(Status::OK),
            Outcome::Queued => reply.put(Status::QUEUED),
            Outcome::Changed => reply.null_array(),
        }
    }

    fn list(reply: &mut Reply<'_, Self>, len: usize) {
        reply.array(len);
    }

    fn unknown(args: Args<'_>, container: Option<&'static str>, reply: &mut Reply<'_, Self>) {
        unknown::refuse(args, container, reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialect_survives_its_journey() {
        for dialect in [
            Dialect::default(),
            Dialect { db: 15, resp3: true },
            Dialect { db: u16::MAX, resp3: false },
        ] {
            assert_eq!(Dialect::from_bits(dialect.bits()), dialect);
        }
    }
}
