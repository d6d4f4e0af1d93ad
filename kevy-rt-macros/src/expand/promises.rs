//! What only types tell: constants that don't compile when a signature breaks its route's promise.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::spanned::Spanned;

use super::Writer;
use super::types::with_lifetime;
use crate::ast::{Argument, Split};
use crate::attr::{Keys, Number, Route, TxKeys};

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
            } else if !arg.is("bool") {
                promises.push(self.promise_of_no_key(arg));
            }
        }
        promises
    }

    fn promise_of_no_key(&self, arg: &Argument) -> TokenStream {
        let (wire, ty) = (&self.set.attr.wire, with_lifetime(&arg.ty, "'a"));
        let advice = format!(
            "a key hides in the type of `{}`: take a `Key<'_>` that the route names",
            arg.name
        );
        quote_spanned! { arg.ty.span() =>
            const _: () = {
                const fn has_key<'a>() -> bool {
                    <#ty as ::kevy_rt::Arg<'a, #wire>>::HAS_KEY
                }
                assert!(!has_key(), #advice)
            };
        }
    }

    /// A transaction's listed positions are keys, and others aren't.
    fn promise_of_tx(&self, keys: &TxKeys) -> Vec<TokenStream> {
        let TxKeys::At(positions) = keys else { return Vec::new() };
        let named: Vec<_> =
            positions.iter().filter_map(|position| self.command.at(position.value)).collect();
        let promises = self.command.args.iter().filter(|arg| !arg.is("bool")).map(|arg| {
            let ty = with_lifetime(&arg.ty, "'a");
            if named.iter().any(|named| std::ptr::eq(*named, arg)) {
                return quote_spanned! { arg.ty.span() =>
                    const _: () = { const fn key<'a>() { ::kevy_rt::is_key::<#ty>() } key() };
                };
            }
            self.promise_of_no_key(arg)
        });
        promises.collect()
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
        let after = &self.command.positional()[split.after.clone()];
        if keys.last.value >= 0 || self.command.options().next().is_some() {
            return None;
        }
        let left = (-1 - isize::from(keys.last.value)) as usize;
        let advice = format!(
            "`{}` takes another number of arguments behind its keys than the {left} that the \
             route leaves",
            self.command.signature.ident
        );
        Some(self.promise(keys.last.span, (left, left), (0, after), &advice))
    }

    /// That `args` and `base` can be as few as `least` and as many as `most`.
    fn promise(
        &self,
        span: Span,
        (least, most): (usize, usize),
        (base, args): (usize, &[Argument]),
        advice: &str,
    ) -> TokenStream {
        let (min, max) = (self.count("MIN", base, args), self.count("MAX", base, args));
        quote_spanned! { span =>
            const _: () = assert!(#min <= #least && #most <= #max, #advice);
        }
    }
}
