//! What only types tell: constants that don't compile when a signature breaks its route's promise.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::spanned::Spanned;

use super::Writer;
use super::arguments::Count;
use super::types::with_lifetime;
use crate::argument::{Argument, Often};
use crate::ast::Split;
use crate::attr::{Keys, Last, Number, Route, TxKeys};

impl Writer<'_> {
    /// The route's keys are keys at the positions that it says, and no others are hidden.
    pub(super) fn promises(&self) -> Vec<TokenStream> {
        let mut promises = Vec::new();
        let (key, before) = match self.command.route() {
            Some(Route::Single(position)) => (Some(*position), 0..self.before(*position)),
            Some(Route::Keys(keys)) => {
                let split = self.command.split(keys);
                promises.push(self.promise_of_step(keys, &split));
                promises.extend(self.promise_of_end(keys, &split));
                (Some(keys.first), split.before)
            }
            _ => (None, 0..0),
        };
        if let Some(Route::Tx(keys)) = self.command.route() {
            promises.extend(self.promise_of_tx(keys));
            return promises;
        }
        if let Some(Route::Keys(keys)) = self.command.route() {
            promises.extend(self.promise_of_number(keys));
        }
        if let (Some(position), false) = (key, before.is_empty()) {
            let advice = format!(
                "`{}` has another number of arguments before its key than the route says",
                self.command.signature.ident
            );
            let (words, count) = (self.command.words(), before.len());
            promises.push(self.promise(
                position.span,
                (words + count, words + count),
                (words, &self.command.positional()[before]),
                &advice,
            ));
        }
        let named = key.and_then(|position| self.command.at(position.value));
        for arg in &self.command.args {
            let ty = with_lifetime(&arg.ty, "'a");
            if named.is_some_and(|named| std::ptr::eq(named, arg)) {
                promises.push(quote_spanned! { arg.ty.span() =>
                    const _: () = { const fn key<'a>() { ::kevy_rt::is_key::<#ty>() } key() };
                });
            } else {
                promises.extend(self.promise_of_no_key(arg));
            }
        }
        promises
    }

    fn promise_of_no_key(&self, arg: &Argument) -> Option<TokenStream> {
        let advice = format!(
            "a key hides in the type of `{}`: take a `Key<'_>` that the route names",
            arg.name
        );
        let has_key = self.has_key(arg)?;
        Some(quote_spanned!(arg.ty.span() => const _: () = assert!(!#has_key, #advice);))
    }

    /// Whether a key is in the argument, as its type tells.
    fn has_key(&self, arg: &Argument) -> Option<TokenStream> {
        let (wire, ty) = (self.wire(), with_lifetime(arg.value(), "'a"));
        let is_value = !(arg.is_option() && arg.often() == Often::Word);
        is_value.then(|| {
            quote_spanned! { arg.ty.span() => {
                const fn has_key<'a>() -> bool {
                    <#ty as ::kevy_rt::Arg<'a, #wire>>::HAS_KEY
                }
                has_key()
            } }
        })
    }

    /// A transaction's keys are where its route says, and others aren't any. What a function finds
    /// isn't known here.
    fn promise_of_tx(&self, keys: &[TxKeys]) -> Vec<TokenStream> {
        let (mut named, mut several, mut promises) = (Vec::new(), Vec::new(), Vec::new());
        for spec in keys {
            match spec {
                TxKeys::At(position) => named.extend(self.command.at(position.value)),
                TxKeys::Range(keys) => {
                    several.extend(self.command.at(keys.first.value));
                    promises.extend(self.promise_of_number(keys));
                }
                TxKeys::Found(_) => return promises,
            }
        }
        let is_in = |args: &[&Argument], arg| args.iter().any(|other| std::ptr::eq(*other, arg));
        for arg in &self.command.args {
            let ty = with_lifetime(&arg.ty, "'a");
            if is_in(&named, arg) {
                promises.push(quote_spanned! { arg.ty.span() =>
                    const _: () = { const fn key<'a>() { ::kevy_rt::is_key::<#ty>() } key() };
                });
            } else if is_in(&several, arg) {
                let advice = format!(
                    "the keys of the route begin with `{}`: take `Keys<'_>` here",
                    arg.name
                );
                promises.extend(self.has_key(arg).map(|has_key| {
                    quote_spanned!(arg.ty.span() => const _: () = assert!(#has_key, #advice);)
                }));
            } else {
                promises.extend(self.promise_of_no_key(arg));
            }
        }
        promises
    }

    /// The number of the keys is one argument, so that they follow it.
    fn promise_of_number(&self, keys: &Keys) -> Option<TokenStream> {
        let Last::Counted(count) = keys.last else { return None };
        let arg = self.command.at(count.value)?;
        let advice = format!("`{}` says how many keys follow: take an integer", arg.name);
        let (wire, ty) = (self.wire(), with_lifetime(&arg.ty, "'a"));
        Some(quote_spanned! { arg.ty.span() =>
            const _: () = {
                const fn is_number<'a>() -> bool {
                    <#ty as ::kevy_rt::Arg<'a, #wire>>::MIN == 1
                        && <#ty as ::kevy_rt::Arg<'a, #wire>>::MAX == 1
                        && ::core::matches!(
                            <#ty as ::kevy_rt::Arg<'a, #wire>>::KIND,
                            ::kevy_rt::ArgKind::Integer
                        )
                }
                assert!(is_number(), #advice)
            };
        })
    }

    /// How many arguments come before the one at `position`.
    fn before(&self, position: Number) -> usize {
        usize::try_from(position.value).unwrap_or(0).saturating_sub(self.command.words())
    }

    /// A key has as many arguments as the route's step says.
    fn promise_of_step(&self, keys: &Keys, split: &Split) -> TokenStream {
        let step = keys.step.value as usize;
        let advice = format!(
            "`{}` takes another number of arguments per key than {step}: \
             say how many, `keys({}.. step n)`",
            self.command.signature.ident, keys.first.value
        );
        let per_key = &self.command.positional()[split.per_key.clone()];
        self.promise(keys.step.span, (step, step), (0, per_key), &advice)
    }

    /// Behind the keys is as much as the route leaves there.
    fn promise_of_end(&self, keys: &Keys, split: &Split) -> Option<TokenStream> {
        let after = &self.command.args[split.after.clone()];
        let Last::At(last) = keys.last else { return None };
        if last.value >= 0 || after.iter().any(Argument::is_option) {
            return None;
        }
        let left = (-1 - isize::from(last.value)) as usize;
        let advice = format!(
            "`{}` takes another number of arguments behind its keys than the {left} that the \
             route leaves",
            self.command.signature.ident
        );
        Some(self.promise(last.span, (left, left), (0, after), &advice))
    }

    /// That `args` and `base` can be as few as `least` and as many as `most`.
    fn promise(
        &self,
        span: Span,
        (least, most): (usize, usize),
        (base, args): (usize, &[Argument]),
        advice: &str,
    ) -> TokenStream {
        let (min, max) =
            (self.count(Count::Fewest, base, args), self.count(Count::Most, base, args));
        quote_spanned! { span =>
            const _: () = assert!(#min <= #least && #most <= #max, #advice);
        }
    }
}
