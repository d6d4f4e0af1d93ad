//! A request's arguments, and how a handler gets them typed. Nothing here allocates.

use std::num::NonZero;

use crate::commands::ArgKind;
use crate::shared::{Shared, Value};
use crate::wire::{Refusal, Wire};

/// The most arguments that a count of them may say: "as many as the limits let".
pub const MANY: usize = usize::MAX;

/// Where one argument lies: in the request's buffer, or in an allocation of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset into the buffer; or, with [`Span::LARGE`] set, which of the large arguments it is.
    pub off: u32,
    /// Bytes.
    pub len: u32,
}

impl Span {
    /// Marks an argument that has an allocation of its own.
    pub const LARGE: u32 = 1 << 31;
    /// No buffer of small arguments is longer, so that an offset never looks like a mark.
    pub const MAX_BUFFER: usize = (Span::LARGE - 1) as usize;

    /// An argument within the buffer.
    #[inline]
    pub fn new(off: usize, len: usize) -> Self {
        debug_assert!(off <= Span::MAX_BUFFER && len <= u32::MAX as usize);
        Span { off: off as u32, len: len as u32 }
    }

    /// The `index`-th argument that has an allocation of its own.
    pub fn large(index: usize, len: usize) -> Self {
        debug_assert!(index < Span::MAX_BUFFER && len <= u32::MAX as usize);
        Span { off: index as u32 | Span::LARGE, len: len as u32 }
    }

    /// Which large argument it is, if it is one.
    #[inline]
    pub fn large_index(self) -> Option<usize> {
        (self.off & Span::LARGE != 0).then_some((self.off & !Span::LARGE) as usize)
    }
}

/// A request's arguments, the verb first: one borrowed type over a receive buffer, a batch from
/// another shard and a kept request, so that all of them take the same path.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    buf: &'a [u8],
    spans: &'a [Span],
    large: &'a [Shared],
    hashes: &'a [u64],
}

impl<'a> Args<'a> {
    /// `spans` lie within `buf` or name one of `large`.
    #[inline]
    pub fn new(buf: &'a [u8], spans: &'a [Span], large: &'a [Shared]) -> Self {
        Args { buf, spans, large, hashes: &[] }
    }

    /// The same arguments with the hashes of the keys that the route names, in their order.
    #[inline]
    pub fn with_hashes(self, hashes: &'a [u64]) -> Self {
        Args { hashes, ..self }
    }

    /// The hashes of the keys that the route names.
    #[inline]
    pub fn hashes(&self) -> &'a [u64] {
        self.hashes
    }

    /// What those that are not in allocations of their own lie in.
    #[inline]
    pub(crate) fn buffer(&self) -> &'a [u8] {
        self.buf
    }

    /// Where the arguments lie.
    #[inline]
    pub fn spans(&self) -> &'a [Span] {
        self.spans
    }

    /// Argument `index`; the verb is 0.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        let span = self.spans.get(index)?;
        match span.large_index() {
            None => self.buf.get(span.off as usize..)?.get(..span.len as usize),
            Some(large) => self.large.get(large).map(|shared| &shared[..]),
        }
    }

    /// Argument `index` as something that may be kept without a copy.
    #[inline]
    pub fn value(&self, index: usize) -> Option<Value<'a>> {
        let span = self.spans.get(index)?;
        match span.large_index() {
            None => self.get(index).map(Value::Slice),
            Some(large) => self.large.get(large).map(Value::Shared),
        }
    }

    /// How many there are, the verb included.
    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is not even a verb.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The arguments from `start` to `end`, with the hashes from `hash` on. For generated code.
    #[doc(hidden)]
    #[inline]
    pub fn slice(self, start: usize, end: usize, hash: usize) -> Self {
        let end = end.min(self.spans.len());
        let spans = &self.spans[start.min(end)..end];
        Args { spans, hashes: self.hashes.get(hash..).unwrap_or_default(), ..self }
    }

    /// All arguments, in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone {
        (0..self.len()).map(move |index| self.get(index).unwrap_or_default())
    }
}

/// A key of the request, with its hash. Only the argument parser makes one, so who holds a `Key`
/// holds a key that the request was routed by.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    bytes: &'a [u8],
    hash: u64,
}

impl<'a> Key<'a> {
    /// For tests and benchmarks of stores; see [`testing::key`](crate::testing::key).
    pub(crate) fn new(bytes: &'a [u8], hash: u64) -> Self {
        Key { bytes, hash }
    }

    /// The key as the client wrote it.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its one hash, seeded per process.
    #[inline]
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

/// What a position in a route names: a [`Key`].
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "the route names this argument as a key",
    label = "write `Key<'_>` here, or name another argument",
    note = "positions count from the verb, which is 0"
)]
pub trait KeyArg {}

impl KeyArg for Key<'_> {}

/// Generated code calls it with the type of an argument that a route names.
#[doc(hidden)]
pub const fn is_key<T: KeyArg>() {}

/// Reads arguments one after the other. Generated code and implementations of [`Arg`] use it.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    args: Args<'a>,
    at: usize,
    keys: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at argument `first`.
    #[inline]
    pub fn new(args: Args<'a>, first: usize) -> Self {
        Cursor { args, at: first, keys: 0 }
    }

    /// The next argument, or the refusal for one too few.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Refusal> {
        let bytes = self.args.get(self.at).ok_or(Refusal::Syntax)?;
        self.at += 1;
        Ok(bytes)
    }

    /// The next argument as a value that may be kept.
    #[inline]
    pub fn value(&mut self) -> Result<Value<'a>, Refusal> {
        let value = self.args.value(self.at).ok_or(Refusal::Syntax)?;
        self.at += 1;
        Ok(value)
    }

    /// The next argument without taking it.
    #[inline]
    pub fn peek(&self) -> Option<&'a [u8]> {
        self.args.get(self.at)
    }

    /// Passes over one argument.
    #[inline]
    pub fn skip(&mut self) {
        self.at += 1;
    }

    /// Whether all were taken.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.at >= self.args.len()
    }

    /// How many are left.
    #[inline]
    pub fn left(&self) -> usize {
        self.args.len().saturating_sub(self.at)
    }

    /// Takes all that are left.
    #[inline]
    pub fn rest(&mut self) -> Rest<'a> {
        let rest = Rest { args: self.args, at: self.at };
        self.at = self.args.len();
        rest
    }

    #[inline]
    fn key(&mut self) -> Result<Key<'a>, Refusal> {
        let bytes = self.bytes()?;
        // Without a hash it is no key that the request was routed by.
        let hash = *self.args.hashes.get(self.keys).ok_or(Refusal::Syntax)?;
        self.keys += 1;
        Ok(Key { bytes, hash })
    }
}

/// What a handler may take from a request over the wire `W`.
///
/// A server's own types implement it to parse themselves; the refusal is the wire's, so that they
/// may answer in their own words.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be read from a request over `{W}`",
    label = "not an argument",
    note = "take `Key<'_>`, `&[u8]`, `Value<'_>`, an integer, a float, `Option` of these or `Rest<'_>`; \
            or write `impl<'a> Arg<'a, {W}> for {Self}`, or `#[derive(Arg)]`"
)]
pub trait Arg<'a, W: Wire>: Sized {
    /// Arguments taken at least.
    const MIN: usize = 1;
    /// Arguments taken at most; [`MANY`] for as many as there are.
    const MAX: usize = 1;
    /// Whether a [`Key`] is in it.
    const HAS_KEY: bool = false;
    /// What it is, for the documentation.
    const KIND: ArgKind = ArgKind::Text;
    /// Whether it is several of a kind, for the documentation.
    const IS_MULTIPLE: bool = false;
    /// Whether any one argument reads as it, so that it need not be tried.
    const IS_ANY: bool = false;

    /// Takes it from the request.
    ///
    /// # Errors
    /// The wire's refusal, when the arguments don't read as this type.
    fn take(cursor: &mut Cursor<'a>) -> Result<Self, W::Refusal>;
}

/// One of several, each told by a word of its own: `#[derive(Arg)]` implements it for an enum.
///
/// `#[one_of]` on an argument makes an option of it, which may come in any order with others.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not one of several words",
    label = "`#[one_of]` doesn't go with this type",
    note = "write `#[derive(Arg)]` on the enum `{Self}`"
)]
pub trait OneOf<'a, W: Wire>: Arg<'a, W> {
    /// Which of them `word` stands for.
    fn find(word: &[u8]) -> Option<usize>;

    /// Takes what follows the word of `which`.
    ///
    /// # Errors
    /// The wire's refusal, when the arguments don't read as what follows.
    fn take_behind(which: usize, cursor: &mut Cursor<'a>) -> Result<Self, W::Refusal>;
}

/// Whether a client's word is this one, which is in capitals.
#[inline(always)]
pub fn is_word(said: &[u8], word: &[u8]) -> bool {
    said.len() == word.len() && said.eq_ignore_ascii_case(word)
}

impl<'a, W: Wire> Arg<'a, W> for Key<'a> {
    const HAS_KEY: bool = true;
    const KIND: ArgKind = ArgKind::Key;
    const IS_ANY: bool = true;

    #[inline]
    fn take(cursor: &mut Cursor<'a>) -> Result<Self, W::Refusal> {
        Ok(cursor.key()?)
    }
}

impl<'a, W: Wire> Arg<'a, W> for &'a [u8] {
    const IS_ANY: bool = true;

    #[inline]
    fn take(cursor: &mut Cursor<'a>) -> Result<Self, W::Refusal> {
        Ok(cursor.bytes()?)
    }
}

impl<'a, W: Wire> Arg<'a, W> for Value<'a> {
    const IS_ANY: bool = true;

    #[inline]
    fn take(cursor: &mut Cursor<'a>) -> Result<Self, W::Refusal> {
        Ok(cursor.value()?)
    }
}

impl<'a, W: Wire, T: Arg<'a, W>> Arg<'a, W> for Option<T> {
    const MIN: usize = 0;
    const MAX: usize = T::MAX;
    const HAS_KEY: bool = T::HAS_KEY;
    const KIND: ArgKind = T::KIND;
    const IS_MULTIPLE: bool = T::IS_MULTIPLE;

    #[inline]
    fn take(cursor: &mut Cursor<'a>) -> Result<Self, W::Refusal> {
        if cursor.is_done() { Ok(None) } else { T::take(cursor).map(Some) }
    }
}

/// One `T` and any number more, up to the end of the request.
impl<'a, W: Wire, T: Arg<'a, W>> Arg<'a, W> for Vec<T> {
    const MIN: usize = T::MIN;
    const MAX: usize = MANY;
    const HAS_KEY: bool = T::HAS_KEY;
    const KIND: ArgKind = T::KIND;
    const IS_MULTIPLE: bool = true;

    fn take(cursor: &mut Cursor<'a>) -> Result<Self, W::Refusal> {
        const { assert!(T::MIN > 0, "what is repeated can't be nothing") }
        let mut all = vec![T::take(cursor)?];
        while !cursor.is_done() {
            all.push(T::take(cursor)?);
        }
        Ok(all)
    }
}

/// The keys that the route names from here on, each of them the first of `STEP` arguments, `LEAST`
/// or more. Arguments between them are those behind each key; see [`Keys::with`].
#[derive(Clone, Debug)]
pub struct Keys<'a, const STEP: usize = 1, const LEAST: usize = 1> {
    cursor: Cursor<'a>,
}

impl<'a, const STEP: usize, const LEAST: usize> Keys<'a, STEP, LEAST> {
    /// The keys, in order.
    pub fn iter(&self) -> impl Iterator<Item = Key<'a>> + Clone + use<'a, STEP, LEAST> {
        self.with().map(|(key, _)| key)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.cursor.args.hashes.len().saturating_sub(self.cursor.keys)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys, each with the arguments that follow it up to the next one.
    pub fn with(&self) -> impl Iterator<Item = (Key<'a>, Args<'a>)> + Clone + use<'a, STEP, LEAST> {
        let Cursor { args, at, keys } = self.cursor;
        let hashes = args.hashes.get(keys..).unwrap_or_default();
        hashes.iter().enumerate().map_while(move |(index, &hash)| {
            let at = at + index * STEP;
            let bytes = args.get(at)?;
            Some((Key { bytes, hash }, args.slice(at + 1, at + STEP, args.hashes.len())))
        })
    }
}

impl<'a, W: Wire, const STEP: usize, const LEAST: usize> Arg<'a, W> for Keys<'a, STEP, LEAST> {
    const MIN: usize = STEP * LEAST;
    const MAX: usize = MANY;
    const HAS_KEY: bool = true;
    const KIND: ArgKind = ArgKind::Key;
    const IS_MULTIPLE: bool = true;

    fn take(cursor: &mut Cursor<'a>) -> Result<Self, W::Refusal> {
        let keys = Keys { cursor: cursor.clone() };
        let count = keys.len();
        let arguments = count.saturating_mul(STEP);
        if count < LEAST || arguments > cursor.left() {
            return Err(Refusal::Syntax.into());
        }
        cursor.at += arguments;
        cursor.keys += count;
        Ok(keys)
    }
}

/// All further arguments of a request, of which there are `LEAST` or more: `Rest<'_, 1>` where one
/// has to follow.
#[derive(Clone, Copy, Debug)]
pub struct Rest<'a, const LEAST: usize = 0> {
    args: Args<'a>,
    at: usize,
}

impl<'a, const LEAST: usize> Rest<'a, LEAST> {
    /// The arguments, in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone {
        (self.at..self.args.len()).map(move |index| self.args.get(index).unwrap_or_default())
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.args.len().saturating_sub(self.at)
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `index`-th of them.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.args.get(self.at.checked_add(index)?)
    }

    /// A cursor over them, to parse a grammar of one's own.
    pub fn cursor(&self) -> Cursor<'a> {
        Cursor::new(self.args, self.at)
    }
}

impl<'a, W: Wire, const LEAST: usize> Arg<'a, W> for Rest<'a, LEAST> {
    const MIN: usize = LEAST;
    const MAX: usize = MANY;
    const IS_MULTIPLE: bool = true;

    #[inline]
    fn take(cursor: &mut Cursor<'a>) -> Result<Self, W::Refusal> {
        if cursor.left() < LEAST {
            return Err(Refusal::Syntax.into());
        }
        let Rest { args, at } = cursor.rest();
        Ok(Rest { args, at })
    }
}

impl<'a, W: Wire, A: Arg<'a, W>, B: Arg<'a, W>> Arg<'a, W> for (A, B) {
    const MIN: usize = add_counts(A::MIN, B::MIN);
    const MAX: usize = add_counts(A::MAX, B::MAX);
    const HAS_KEY: bool = A::HAS_KEY || B::HAS_KEY;

    #[inline]
    fn take(cursor: &mut Cursor<'a>) -> Result<Self, W::Refusal> {
        Ok((A::take(cursor)?, B::take(cursor)?))
    }
}

macro_rules! integer_arg {
    ($($int:ty)*) => { $(
        impl<'a, W: Wire> Arg<'a, W> for $int {
            const KIND: ArgKind = ArgKind::Integer;

            #[inline]
            fn take(cursor: &mut Cursor<'a>) -> Result<Self, W::Refusal> {
                let number = parse_integer(cursor.bytes()?).and_then(|n| <$int>::try_from(n).ok());
                Ok(number.ok_or(Refusal::NotAnInteger)?)
            }
        }
    )* };
}
integer_arg!(u8 u16 u32 u64 usize i8 i16 i32 i64);

macro_rules! positive_arg {
    ($($int:ty)*) => { $(
        /// Zero is out of range.
        impl<'a, W: Wire> Arg<'a, W> for NonZero<$int> {
            const KIND: ArgKind = ArgKind::Integer;

            #[inline]
            fn take(cursor: &mut Cursor<'a>) -> Result<Self, W::Refusal> {
                let number = <$int as Arg<'a, W>>::take(cursor)?;
                Ok(NonZero::new(number).ok_or(Refusal::NotAnInteger)?)
            }
        }
    )* };
}
positive_arg!(u32 u64 usize);

impl<'a, W: Wire> Arg<'a, W> for f64 {
    const KIND: ArgKind = ArgKind::Float;

    fn take(cursor: &mut Cursor<'a>) -> Result<Self, W::Refusal> {
        Ok(parse_float(cursor.bytes()?).ok_or(Refusal::NotAFloat)?)
    }
}

/// Reads a decimal integer in its one canonical form: no plus, no leading zero, no blank, no `-0`.
#[inline]
pub fn parse_integer(text: &[u8]) -> Option<i128> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [] => return None,
        [b'0'] => return (!negative).then_some(0),
        [b'0', ..] => return None,
        // A longer one fits no integer that a handler takes.
        _ if digits.len() > 20 => return None,
        _ => {}
    }
    let mut number: u128 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u128::from(digit - b'0');
    }
    let number = number as i128;
    Some(if negative { -number } else { number })
}

/// Reads a decimal float: no blanks around it, and not NaN. `inf` and `-inf` are numbers.
pub fn parse_float(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse::<f64>().ok().filter(|number| !number.is_nan())
}

/// Adds counts of arguments, of which either may be [`MANY`].
pub const fn add_counts(a: usize, b: usize) -> usize {
    a.saturating_add(b)
}

/// The smallest of some counts, for generated code.
#[doc(hidden)]
pub const fn fewest(counts: &[usize]) -> usize {
    let (mut fewest, mut index) = (MANY, 0);
    while index < counts.len() {
        if counts[index] < fewest {
            fewest = counts[index];
        }
        index += 1;
    }
    fewest
}

/// The largest of some counts, for generated code.
#[doc(hidden)]
pub const fn most(counts: &[usize]) -> usize {
    let (mut most, mut index) = (0, 0);
    while index < counts.len() {
        if counts[index] > most {
            most = counts[index];
        }
        index += 1;
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_form() {
        for (text, number) in
            [("0", 0), ("-1", -1), ("18446744073709551615", i128::from(u64::MAX)), ("10", 10)]
        {
            assert_eq!(parse_integer(text.as_bytes()), Some(number));
        }
        for text in ["", "-", "+1", "01", "-0", " 1", "1 ", "1a", "111111111111111111111"] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn large_arguments_are_found() {
        let large = [Shared::new(b"body".to_vec())];
        let spans = [Span::new(0, 3), Span::large(0, 4)];
        let args = Args::new(b"SET", &spans, &large);
        assert_eq!(args.get(0), Some(&b"SET"[..]));
        assert_eq!(args.get(1), Some(&b"body"[..]));
        assert!(matches!(args.value(1), Some(Value::Shared(_))));
        assert_eq!(args.get(2), None);
    }
}
