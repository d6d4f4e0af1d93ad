//! What unit tests share.

use kevy_rt::{Args, Key, KeyHasher, Span, testing};

/// The hasher of all tests.
pub(crate) fn hasher() -> KeyHasher {
    KeyHasher::seeded(1)
}

/// Arguments as a request has them, the first one a key. Leaked: tests are short.
pub(crate) fn args(words: &[&[u8]]) -> Args<'static> {
    let key = words.first().copied().unwrap_or_default();
    let hashes = Box::leak(Box::new([hasher().hash(key)]));
    let mut spans = Vec::new();
    let mut buffer = Vec::new();
    for word in words {
        spans.push(Span::new(buffer.len(), word.len()));
        buffer.extend_from_slice(word);
    }
    Args::new(buffer.leak(), spans.leak(), &[]).with_hashes(hashes)
}

/// A key as a handler gets it.
pub(crate) fn key(name: impl AsRef<[u8]>) -> Key<'static> {
    let name: &[u8] = Box::leak(name.as_ref().into());
    testing::key(name, hasher().hash(name))
}
