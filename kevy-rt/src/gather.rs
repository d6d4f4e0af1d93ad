//! Parts of a reply that come from several shards, and how they become one.

use std::any::Any;

use crate::cx::Cx;
use crate::shared::{Mark, Out};
use crate::wire::{Refusal, Reply, Wire};

/// A part's value on its way between shards.
#[derive(Debug, Default)]
pub enum Carried {
    /// None: the part is bytes, or its handler refused.
    #[default]
    Nothing,
    /// A number, without an allocation.
    Word(u64),
    /// Anything else.
    Any(Box<dyn Any + Send>),
    /// None, as the part was refused: then so is the whole request, and nothing is merged.
    Refused(Refusal),
}

/// A value that one shard answers and another merges.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't travel from one shard to another",
    label = "not a part of a gathered reply",
    note = "return an owned value that is `Send` and say `impl Carry for {Self} {{}}`"
)]
pub trait Carry: Send + Sized + 'static {
    /// For the way.
    fn carry(self) -> Carried {
        Carried::Any(Box::new(self))
    }

    /// On arrival. `None` if it is something else, which the generated code never sends.
    fn uncarry(carried: Carried) -> Option<Self> {
        match carried {
            Carried::Any(any) => any.downcast().ok().map(|value| *value),
            _ => None,
        }
    }
}

macro_rules! carry_words {
    ($($int:ty)*) => { $(
        impl Carry for $int {
            #[inline]
            fn carry(self) -> Carried {
                Carried::Word(self as u64)
            }
            #[inline]
            fn uncarry(carried: Carried) -> Option<Self> {
                match carried {
                    Carried::Word(word) => Some(word as $int),
                    _ => None,
                }
            }
        }
    )* };
}
carry_words!(u8 u16 u32 u64 usize i8 i16 i32 i64);

impl Carry for bool {
    fn carry(self) -> Carried {
        Carried::Word(u64::from(self))
    }
    fn uncarry(carried: Carried) -> Option<Self> {
        u64::uncarry(carried).map(|word| word != 0)
    }
}

impl Carry for () {
    fn carry(self) -> Carried {
        Carried::Word(0)
    }
    fn uncarry(carried: Carried) -> Option<Self> {
        u64::uncarry(carried).map(|_| ())
    }
}

impl<T: Send + 'static> Carry for Vec<T> {}
impl<T: Send + 'static> Carry for Option<T> {}
impl<T: Send + 'static, E: Send + 'static> Carry for Result<T, E> {}
impl Carry for String {}
impl<A: Send + 'static, B: Send + 'static> Carry for (A, B) {}

/// One shard's share of a reply: encoded replies with their ends, or one value.
#[derive(Debug, Default)]
pub struct PartOut {
    pub(crate) out: Out,
    pub(crate) ends: Vec<Mark>,
    pub(crate) value: Carried,
}

impl PartOut {
    /// Where the handler's replies are written.
    #[inline]
    pub fn out(&mut self) -> &mut Out {
        &mut self.out
    }

    /// Ends one reply: the next one written belongs to the next key.
    #[inline]
    pub fn end(&mut self) {
        self.ends.push(self.out.mark());
    }

    /// The part's value on its way, which generated code puts in and takes out.
    #[doc(hidden)]
    #[inline]
    pub fn carried(&mut self) -> &mut Carried {
        &mut self.value
    }

    /// Makes a refusal of it, whatever was written.
    #[cold]
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        self.clear();
        self.value = Carried::Refused(refusal);
    }

    /// The refusal, if it is one.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self.value {
            Carried::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.out.clear();
        self.ends.clear();
        self.value = Carried::Nothing;
    }
}

/// Which part answers which key of a request.
#[derive(Debug, Default)]
pub struct Plan {
    /// Per key, in the request's order: the part it went to.
    pub(crate) part_of: Vec<u16>,
}

/// `gather = in_order`: a list of the replies, in the order of the keys.
pub fn merge_in_order<W: Wire>(cx: &Cx<'_>, plan: &Plan, parts: &mut [PartOut], out: &mut Out) {
    W::list(&mut Reply::new(out, cx), plan.part_of.len());
    let mut next = vec![0; parts.len()];
    for &index in &plan.part_of {
        let (part, taken) = (&parts[index as usize], &mut next[index as usize]);
        let start = if *taken == 0 { Mark::default() } else { part.ends[*taken - 1] };
        out.copy(&part.out, start, part.ends[*taken]);
        *taken += 1;
    }
    W::list_end(&mut Reply::new(out, cx));
}

/// `gather = concat`: one list of all elements that the shards' replies have, in shard order.
pub fn merge_concat<W: Wire>(cx: &Cx<'_>, _: &Plan, parts: &mut [PartOut], out: &mut Out) {
    W::list(&mut Reply::new(out, cx), parts.iter().map(|part| part.ends.len()).sum());
    for part in parts {
        out.append(&part.out);
    }
    W::list_end(&mut Reply::new(out, cx));
}

/// `gather = first`: the reply of the first shard.
pub fn merge_first(_: &Cx<'_>, _: &Plan, parts: &mut [PartOut], out: &mut Out) {
    if let Some(part) = parts.first() {
        out.append(&part.out);
    }
}

/// `gather = sum`.
pub fn sum<R: std::iter::Sum<R>>(parts: impl Iterator<Item = R>) -> R {
    parts.sum()
}

/// `gather = min`: the smallest; the type's default when there is no part.
pub fn min<R: Ord + Default>(parts: impl Iterator<Item = R>) -> R {
    parts.min().unwrap_or_default()
}

/// `gather = max`: the largest; the type's default when there is no part.
pub fn max<R: Ord + Default>(parts: impl Iterator<Item = R>) -> R {
    parts.max().unwrap_or_default()
}

/// What [`all_ok`] folds: answers of which the first bad one is the reply.
pub trait AllOk: Sized {
    /// `self`, unless it is good: then `next`.
    fn and(self, next: Self) -> Self;
}

impl AllOk for () {
    fn and(self, (): ()) {}
}

impl<T, E> AllOk for Result<T, E> {
    fn and(self, next: Self) -> Self {
        Result::and(self, next)
    }
}

/// `gather = all_ok`: the first refusal, else the last good answer. All parts are consumed, so
/// that a refusal stops no write half-way.
///
/// # Panics
/// Without a part, which the routes rule out.
pub fn all_ok<R: AllOk>(parts: impl Iterator<Item = R>) -> R {
    parts.reduce(AllOk::and).expect("a gathered request has a part")
}
