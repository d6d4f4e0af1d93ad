//! Mistakes, collected so that all of a block are reported at once.

use proc_macro2::Span;
use quote::ToTokens;
use syn::Error;

/// The mistakes found so far.
#[derive(Default)]
pub(crate) struct Errors(Vec<Error>);

impl Errors {
    /// A mistake in `tokens`, all of which are marked.
    pub(crate) fn on(&mut self, tokens: impl ToTokens, advice: impl std::fmt::Display) {
        self.0.push(Error::new_spanned(tokens, advice));
    }

    /// A mistake at one token.
    pub(crate) fn at(&mut self, span: Span, advice: impl std::fmt::Display) {
        self.0.push(Error::new(span, advice));
    }

    /// A mistake that the parser found.
    pub(crate) fn push(&mut self, error: Error) {
        self.0.push(error);
    }

    /// All of them in one, if there is any.
    pub(crate) fn finish(self) -> Option<Error> {
        self.0.into_iter().reduce(|mut all, error| {
            all.combine(error);
            all
        })
    }
}

/// What to say of a word that is not among `known`: the nearest of them, or all.
pub(crate) fn did_you_mean(word: &str, known: &[&str]) -> String {
    match known.iter().map(|other| (distance(word, other), other)).min() {
        Some((edits, nearest)) if edits <= 2 && edits < word.len() => {
            format!("did you mean `{nearest}`?")
        }
        _ => format!("one of: {}", known.join(", ")),
    }
}

/// Levenshtein's: how many letters have to be added, dropped or changed.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_proposed() {
        assert_eq!(did_you_mean("gahter", &["gather", "route"]), "did you mean `gather`?");
        assert_eq!(did_you_mean("tx", &["at", "all"]), "one of: at, all");
        assert_eq!((distance("", "abc"), distance("kitten", "sitting")), (3, 3));
    }
}
