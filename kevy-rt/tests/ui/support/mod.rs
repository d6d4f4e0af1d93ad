//! A wire, a store and a session for sets that don't compile.

#![allow(dead_code)]

use kevy_rt::{Args, Burst, Cx, Encode, KeyHasher, Open, OpenError, Out, ParseLimits, Place, Refusal, Reply, Resume};

/// A wire with two replies: numbers and refusals.
#[derive(Debug)]
pub struct Lines;

/// Its refusal.
pub struct Refused;

/// A store.
#[derive(Debug)]
pub struct Db;

/// A session.
pub struct Login;

impl kevy_rt::Wire for Lines {
    type Scope = ();
    type Refusal = Refused;

    fn parse(_: &[u8], _: &mut Resume, _: &ParseLimits, _: &mut Burst) -> Result<(), Refused> {
        Ok(())
    }
    fn list(_: &mut Reply<'_, Self>, _: usize) {}
    fn unknown(_: Args<'_>, _: Option<&'static str>, _: &mut Reply<'_, Self>) {}
}

impl From<Refusal> for Refused {
    fn from(_: Refusal) -> Self {
        Refused
    }
}

impl Encode<Lines> for Refused {
    fn encode(self, _: &mut Reply<'_, Lines>) {}
}

impl Encode<Lines> for u64 {
    fn encode(self, _: &mut Reply<'_, Lines>) {}
}

impl kevy_rt::Store for Db {
    type Settings = ();

    fn open((): &(), _: Place, _: &KeyHasher) -> Result<Self, OpenError> {
        Ok(Db)
    }
}

impl kevy_rt::Session for Login {}

impl<S> Open<S> for Login {
    fn open(_: &mut S, _: &Cx<'_>, _: &mut Out) -> Option<Self> {
        Some(Login)
    }
}
