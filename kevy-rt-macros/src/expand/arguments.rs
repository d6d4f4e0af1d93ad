//! The parser of a command's arguments.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, LitByteStr};

use super::Writer;
use super::types::with_lifetime;
use crate::ast::Argument;
use crate::attr::{Keys, Route};

impl Writer<'_> {
    /// `(arg0, arg1,)`
    pub(super) fn bindings(&self) -> TokenStream {
        let names = (0..self.command.args.len()).map(argument);
        quote!((#(#names,)*))
    }

    /// Reads the arguments of one call of the handler.
    pub(super) fn parse(&self, route: &Route) -> TokenStream {
        let (name, wire) = (self.function("parse"), &self.set.attr.wire);
        let types = self.command.args.iter().map(|arg| with_lifetime(&arg.ty, "'a"));
        let (params, body) = match route {
            Route::Keys(keys) => {
                (quote!(args: ::kevy_rt::Args<'a>, index: usize), self.parse_key(keys))
            }
            _ => {
                let words = self.command.words();
                let all = 0..self.command.positional().len();
                let (take, options) = (self.take(all), self.options());
                let done = self.done();
                let body = quote! {
                    let mut cursor = ::kevy_rt::Cursor::new(args, #words);
                    #take
                    #options
                    #done
                };
                (quote!(args: ::kevy_rt::Args<'a>), body)
            }
        };
        let bindings = self.bindings();
        quote! {
            #[inline(always)]
            fn #name<'a>(
                #params
            ) -> ::core::result::Result<(#(#types,)*), <#wire as ::kevy_rt::Wire>::Refusal> {
                #body
                ::core::result::Result::Ok(#bindings)
            }
        }
    }

    /// What comes before the keys, the arguments of key `index`, and what comes behind the keys.
    fn parse_key(&self, keys: &Keys) -> TokenStream {
        let split = self.command.split(keys);
        let (first, step) = (keys.first.value as usize, keys.step.value as usize);
        let words = self.command.words();
        let before = (!split.before.is_empty()).then(|| {
            let take = self.take(split.before.clone());
            quote! {
                let mut cursor =
                    ::kevy_rt::Cursor::new(args.slice(0, #first, args.hashes().len()), #words);
                #take
            }
        });
        let per_key = self.take(split.per_key.clone());
        let done = self.done();
        let behind =
            (!split.after.is_empty() || self.command.options().next().is_some()).then(|| {
                let (take, options) = (self.take(split.after.clone()), self.options());
                quote! {
                    let end = #first + args.hashes().len() * #step;
                    let mut cursor =
                        ::kevy_rt::Cursor::new(args.slice(end, args.len(), args.hashes().len()), 0);
                    #take
                    #options
                    #done
                }
            });
        quote! {
            #before
            let start = #first + index * #step;
            let mut cursor = ::kevy_rt::Cursor::new(args.slice(start, start + #step, index), 0);
            #per_key
            #done
            #behind
        }
    }

    fn take(&self, range: std::ops::Range<usize>) -> TokenStream {
        let wire = &self.set.attr.wire;
        let args = self.command.positional()[range.clone()].iter().zip(range);
        args.map(|(arg, index)| {
            let (name, ty) = (argument(index), with_lifetime(&arg.ty, "'a"));
            quote_spanned! { arg.ty.span() =>
                let #name = <#ty as ::kevy_rt::Arg<'a, #wire>>::take(&mut cursor)?;
            }
        })
        .collect()
    }

    /// Options in any order, up to the end.
    fn options(&self) -> TokenStream {
        let wire = &self.set.attr.wire;
        let (mut unset, mut cases) = (TokenStream::new(), TokenStream::new());
        for (index, arg, token) in self.command.options() {
            let (name, ty) = (argument(index), with_lifetime(&arg.ty, "'a"));
            let word = LitByteStr::new(token.value().as_bytes(), token.span());
            unset.extend(quote!(let mut #name: #ty = ::core::default::Default::default();));
            let read = if arg.is("bool") {
                quote!(#name = true;)
            } else {
                let take = quote_spanned! { arg.ty.span() =>
                    <#ty as ::kevy_rt::Arg<'a, #wire>>::take(&mut cursor)?
                };
                let syntax = syntax();
                quote! {
                    if #name.is_some() || cursor.is_done() {
                        #syntax
                    }
                    #name = #take;
                }
            };
            cases.extend(quote! {
                if word.eq_ignore_ascii_case(#word) {
                    cursor.skip();
                    #read
                    continue;
                }
            });
        }
        if cases.is_empty() {
            return cases;
        }
        let syntax = syntax();
        quote! {
            #unset
            while let ::core::option::Option::Some(word) = cursor.peek() {
                #cases
                #syntax
            }
        }
    }

    /// Refuses what is left.
    fn done(&self) -> TokenStream {
        let syntax = syntax();
        quote!(if !cursor.is_done() { #syntax })
    }

    /// The sum of `MIN` or `MAX` of these arguments and `base`.
    pub(super) fn count(&self, which: &str, base: usize, args: &[Argument]) -> TokenStream {
        let (wire, which) = (&self.set.attr.wire, Ident::new(which, Span::call_site()));
        if args.is_empty() {
            return quote!(#base);
        }
        let terms = args.iter().map(|arg| {
            let ty = with_lifetime(&arg.ty, "'a");
            let term = quote_spanned! { arg.ty.span() =>
                <#ty as ::kevy_rt::Arg<'a, #wire>>::#which
            };
            quote!(let count = ::kevy_rt::add_counts(count, #term);)
        });
        quote!({ const fn count<'a>() -> usize { let count = #base; #(#terms)* count } count() })
    }
}

pub(super) fn argument(index: usize) -> Ident {
    format_ident!("arg{index}")
}

/// Leaves the parser: the request doesn't fit the grammar.
fn syntax() -> TokenStream {
    quote! {
        return ::core::result::Result::Err(
            ::core::convert::From::from(::kevy_rt::Refusal::Syntax),
        );
    }
}
