//! The functions of commands that several shards answer.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, Path, Type, parse_quote};

use super::Writer;
use super::calls::index_of;
use super::record::key_range;
use super::types::with_lifetime;
use crate::argument::Argument;
use crate::attr::{Gather, Keys, Last, Route};

impl Writer<'_> {
    pub(super) fn gathered(&self, route: &Route, gather: &Gather) -> Vec<TokenStream> {
        let mut functions = vec![self.check(route)];
        match gather {
            Gather::InOrder | Gather::First => {
                functions.push(self.answer(route));
                functions.push(self.whole_of_replies(route, gather));
                functions.push(self.part_of_replies(route, gather));
            }
            Gather::Concat => {
                functions.push(self.part_of_elements(route));
                functions.push(self.whole_of_elements());
            }
            Gather::Value(path) => {
                functions.push(self.value(route));
                functions.push(self.merged(route, path));
                functions.push(self.whole_of_values(route));
                functions.push(self.part_of_values(route));
                functions.push(self.merge_of_values());
            }
        }
        functions
    }

    /// Parses everything, so that a request is refused before any part of it has run.
    fn check(&self, route: &Route) -> TokenStream {
        let (name, parse) = (self.function("check"), self.function("parse"));
        let (index, _) = index_of(route);
        let parse = quote! {
            if let ::core::result::Result::Err(refusal) = #parse(args #index) {
                __refuse(refusal, cx, out);
                return false;
            }
        };
        let body = match route {
            Route::Keys(keys) => {
                let (range, no_keys) = (key_range(keys), self.no_keys(keys));
                let is_any = self.is_any(keys);
                quote! {
                    const RANGE: ::kevy_rt::KeyRange = #range;
                    let ::core::option::Option::Some(count) = RANGE.count(args) else {
                        #no_keys
                        __refuse(refusal, cx, out);
                        return false;
                    };
                    if !#is_any {
                        for index in 0..count { #parse }
                    }
                }
            }
            _ => parse,
        };
        quote! {
            fn #name(
                cx: &::kevy_rt::Cx<'_>,
                args: ::kevy_rt::Args<'_>,
                out: &mut ::kevy_rt::Out,
            ) -> bool {
                #body
                true
            }
        }
    }

    /// Whether any arguments read as those of a key, and there are no others.
    fn is_any(&self, keys: &Keys) -> TokenStream {
        let (wire, split) = (self.wire(), self.command.split(keys));
        let args = &self.command.args[split.per_key.clone()];
        let is_alone = split.before.is_empty() && split.after.is_empty();
        if !is_alone || args.iter().any(Argument::is_option) {
            return quote!(false);
        }
        let types = args.iter().map(|arg| with_lifetime(&arg.ty, "'static"));
        quote!(const { true #(&& <#types as ::kevy_rt::Arg<'static, #wire>>::IS_ANY)* })
    }

    /// Why there are no keys: their number may have a refusal of its own.
    fn no_keys(&self, keys: &Keys) -> TokenStream {
        let (wire, verb) = (self.wire(), &self.command.name);
        let from = quote!(<<#wire as ::kevy_rt::Wire>::Refusal as ::core::convert::From<_>>::from);
        let Last::Counted(_) = keys.last else {
            return quote!(let refusal = #from(::kevy_rt::Refusal::Arity(#verb)););
        };
        let split = self.command.split(keys);
        let before = self.before_keys(keys, &split);
        let words = self.command.args.get(split.per_key.start).and_then(|key| key.error.as_ref());
        let refusal = match words {
            Some(words) => quote!(::kevy_rt::Refusal::Argument(#words)),
            None => quote!(::kevy_rt::Refusal::Syntax),
        };
        quote! {
            fn before<'a>(
                args: ::kevy_rt::Args<'a>,
            ) -> ::core::result::Result<(), <#wire as ::kevy_rt::Wire>::Refusal> {
                #before
                ::core::result::Result::Ok(())
            }
            let refusal = match before(args) {
                ::core::result::Result::Err(refusal) => refusal,
                ::core::result::Result::Ok(()) => #from(#refusal),
            };
        }
    }

    fn whole(&self, body: &TokenStream) -> TokenStream {
        let (name, check) = (self.function("whole"), self.function("check"));
        let bound = self.set.store_bound();
        quote! {
            fn #name<AnyStore: #bound>(
                store: &mut AnyStore,
                cx: &::kevy_rt::Cx<'_>,
                args: ::kevy_rt::Args<'_>,
                out: &mut ::kevy_rt::Out,
            ) {
                if #check(cx, args, out) {
                    #body
                }
            }
        }
    }

    fn part(&self, body: &TokenStream) -> TokenStream {
        let (name, bound) = (self.function("part"), self.set.store_bound());
        quote! {
            fn #name<AnyStore: #bound>(
                store: &mut AnyStore,
                cx: &::kevy_rt::Cx<'_>,
                args: ::kevy_rt::Args<'_>,
                part: &mut ::kevy_rt::PartOut,
            ) {
                #body
            }
        }
    }

    fn whole_of_replies(&self, route: &Route, gather: &Gather) -> TokenStream {
        let (answer, wire) = (self.function("answer"), self.wire());
        let each = replies(route, gather, &quote!(out), &answer);
        let head = matches!(gather, Gather::InOrder).then(|| {
            quote! {
                let mut reply = ::kevy_rt::Reply::new(out, cx);
                <#wire as ::kevy_rt::Wire>::list(&mut reply, args.hashes().len());
            }
        });
        let end = matches!(gather, Gather::InOrder).then(
            || quote!(<#wire as ::kevy_rt::Wire>::list_end(&mut ::kevy_rt::Reply::new(out, cx));),
        );
        self.whole(&quote!(#head #each #end))
    }

    fn part_of_replies(&self, route: &Route, gather: &Gather) -> TokenStream {
        self.part(&replies(route, gather, &quote!(part.out()), &self.function("answer")))
    }

    fn part_of_elements(&self, route: &Route) -> TokenStream {
        let (parse, bindings, call) = (self.function("parse"), self.bindings(), self.call());
        let (index, _) = index_of(route);
        let (count, encode) = (calls(route), self.encode());
        self.part(&quote! {
            for index in 0..#count {
                if let ::core::result::Result::Ok(#bindings) = #parse(args #index) {
                    for element in #call {
                        #encode(element, &mut ::kevy_rt::Reply::new(part.out(), cx));
                        part.end();
                    }
                }
            }
        })
    }

    fn whole_of_elements(&self) -> TokenStream {
        let (part, wire) = (self.function("part"), self.wire());
        self.whole(&quote! {
            let mut parts = [::kevy_rt::PartOut::default()];
            #part(store, cx, args, &mut parts[0]);
            let plan = ::kevy_rt::Plan::default();
            ::kevy_rt::gather::merge_concat::<#wire>(cx, &plan, &mut parts, out);
        })
    }

    /// The type of a part's value.
    fn value_type(&self) -> Type {
        self.command.output().cloned().unwrap_or_else(|| parse_quote!(()))
    }

    fn value(&self, route: &Route) -> TokenStream {
        let (name, parse) = (self.function("value"), self.function("parse"));
        let (bound, bindings, call) = (self.set.store_bound(), self.bindings(), self.call());
        let (index, param) = index_of(route);
        let value = self.value_type();
        quote! {
            #[inline(always)]
            fn #name<AnyStore: #bound>(
                store: &mut AnyStore,
                cx: &::kevy_rt::Cx<'_>,
                args: ::kevy_rt::Args<'_>
                #param,
            ) -> ::core::option::Option<#value> {
                let #bindings = #parse(args #index).ok()?;
                ::core::option::Option::Some(#call)
            }
        }
    }

    /// The parts' type is written out, so that a function for another type is a mistake at its
    /// path. Where parts are calls that may write, a merge that stops early stops none of them.
    fn merged(&self, route: &Route, path: &Path) -> TokenStream {
        let (name, value, wire) = (self.function("merged"), self.value_type(), self.wire());
        let parts = quote!(impl ::core::iter::Iterator<Item = #value>);
        match route {
            Route::Keys(_) => {
                let merge = quote_spanned! { path.span() =>
                    let merged: #value = #path(parts.by_ref());
                };
                quote! {
                    #[inline(always)]
                    fn #name(mut parts: #parts) -> #value {
                        #merge
                        parts.for_each(::core::mem::drop);
                        merged
                    }
                }
            }
            _ => {
                let merge = quote_spanned!(path.span() => #path(parts));
                quote_spanned! { path.span() =>
                    #[inline(always)]
                    fn #name(parts: #parts) -> impl ::kevy_rt::Encode<#wire> {
                        #merge
                    }
                }
            }
        }
    }

    fn whole_of_values(&self, route: &Route) -> TokenStream {
        let (value, merged) = (self.function("value"), self.function("merged"));
        let (count, (index, _)) = (calls(route), index_of(route));
        let encode = self.encode();
        self.whole(&quote! {
            let parts = (0..#count).filter_map(|index| #value(store, cx, args #index));
            #encode(#merged(parts), &mut ::kevy_rt::Reply::new(out, cx));
        })
    }

    fn part_of_values(&self, route: &Route) -> TokenStream {
        let (value, merged) = (self.function("value"), self.function("merged"));
        let ty = self.value_type();
        let carry = quote_spanned!(self.output_span() => <#ty as ::kevy_rt::Carry>::carry);
        self.part(&match route {
            Route::Keys(_) => quote! {
                let count = args.hashes().len();
                let parts = (0..count).filter_map(|index| #value(store, cx, args, index));
                *part.carried() = #carry(#merged(parts));
            },
            _ => quote! {
                if let ::core::option::Option::Some(value) = #value(store, cx, args) {
                    *part.carried() = #carry(value);
                }
            },
        })
    }

    fn merge_of_values(&self) -> TokenStream {
        let (name, merged) = (self.function("merge"), self.function("merged"));
        let (encode, ty) = (self.encode(), self.value_type());
        let uncarry = quote_spanned!(self.output_span() => <#ty as ::kevy_rt::Carry>::uncarry);
        quote! {
            fn #name(
                cx: &::kevy_rt::Cx<'_>,
                _: &::kevy_rt::Plan,
                parts: &mut [::kevy_rt::PartOut],
                out: &mut ::kevy_rt::Out,
            ) {
                let values = parts.iter_mut().filter_map(|part| {
                    #uncarry(::core::mem::take(part.carried()))
                });
                #encode(#merged(values), &mut ::kevy_rt::Reply::new(out, cx));
            }
        }
    }
}

/// How often a request calls its handler: once per key.
fn calls(route: &Route) -> TokenStream {
    match route {
        Route::Keys(_) => quote!(args.hashes().len()),
        _ => quote!(1_usize),
    }
}

/// Encoded replies, one after the other. `first` keeps the first of them.
fn replies(route: &Route, gather: &Gather, out: &TokenStream, answer: &Ident) -> TokenStream {
    match (route, gather) {
        (Route::Keys(_), Gather::InOrder) => {
            let end = (out.to_string() != "out").then(|| quote!(part.end();));
            quote! {
                for index in 0..args.hashes().len() {
                    #answer(store, cx, args, index, #out);
                    #end
                }
            }
        }
        (Route::Keys(_), _) => quote! {
            for index in 0..args.hashes().len() {
                let mark = #out.mark();
                #answer(store, cx, args, index, #out);
                if index > 0 {
                    #out.truncate(mark);
                }
            }
        },
        _ => quote!(#answer(store, cx, args, #out);),
    }
}
