//! What unit tests share.

use std::hash::{DefaultHasher, Hasher};

use kevy_resp::Resp;
use kevy_rt::{Arg, Args, Cursor, Key, Span};

/// Arguments as a request has them, the first one a key. Leaked: tests are short.
pub(crate) fn args(words: &[&[u8]]) -> Args<'static> {
    let mut hasher = DefaultHasher::new();
    hasher.write(words.first().copied().unwrap_or_default());
    let hashes = Box::leak(Box::new([hasher.finish()]));
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
    let mut cursor = Cursor::new(args(&[name.as_ref()]), 0);
    <Key<'_> as Arg<'_, Resp>>::take(&mut cursor).expect("there is one argument")
}
