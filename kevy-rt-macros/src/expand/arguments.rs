//! The parser of arguments: a handler's, and those of types that derive `Arg`; and what is told of
//! them.

use proc_macro2::{Literal, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, LitByteStr, Type};

use super::Writer;
use super::types::with_lifetime;
use crate::argument::{Argument, Often, Place};
use crate::ast::Split;
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
                let take = self.take(0..self.command.args.len());
                let done = done(&self.command.args);
                let body = quote! {
                    let cursor = &mut ::kevy_rt::Cursor::new(args, #words);
                    #take
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
        let before = self.before_keys(keys, &split);
        let done = done(&self.command.args[split.after.clone()]);
        let per_key = self.take(split.per_key.clone());
        let behind = (!split.after.is_empty()).then(|| {
            let take = self.take(split.after.clone());
            quote! {
                let end = #first + args.hashes().len() * #step;
                let cursor = &mut ::kevy_rt::Cursor::new(
                    args.slice(end, args.len(), args.hashes().len()),
                    0,
                );
                #take
                #done
            }
        });
        quote! {
            #before
            let start = #first + index * #step;
            let cursor =
                &mut ::kevy_rt::Cursor::new(args.slice(start, start + #step, index), 0);
            #per_key
            #done
            #behind
        }
    }

    /// Reads what comes before the keys.
    pub(super) fn before_keys(&self, keys: &Keys, split: &Split) -> TokenStream {
        if split.before.is_empty() {
            return TokenStream::new();
        }
        let (first, words) = (keys.first.value as usize, self.command.words());
        let take = self.take(split.before.clone());
        quote! {
            let cursor =
                &mut ::kevy_rt::Cursor::new(args.slice(0, #first, args.hashes().len()), #words);
            #take
        }
    }

    fn take(&self, range: std::ops::Range<usize>) -> TokenStream {
        take(&self.command.args, range, self.wire())
    }

    /// The sum of the fewest or of the most of these arguments, and `base`.
    pub(super) fn count(&self, which: Count, base: usize, args: &[Argument]) -> TokenStream {
        let (wire, which) = (self.wire(), which.name());
        if args.is_empty() {
            return quote!(#base);
        }
        let terms = args.iter().map(|arg| count(arg, &which, wire));
        quote!({
            const fn count<'a>() -> usize {
                let mut count = #base;
                #(count = ::kevy_rt::add_counts(count, #terms);)*
                count
            }
            count()
        })
    }
}

/// Which number of arguments.
#[derive(Clone, Copy)]
pub(super) enum Count {
    Fewest,
    Most,
}

impl Count {
    pub(super) fn name(self) -> Ident {
        let name = match self {
            Count::Fewest => "MIN",
            Count::Most => "MAX",
        };
        Ident::new(name, Span::call_site())
    }
}

pub(super) fn argument(index: usize) -> Ident {
    format_ident!("arg{index}")
}

/// Reads some of the arguments from `cursor`, each into a variable of its own. Options that stand
/// together may come in any order.
pub(super) fn take(
    args: &[Argument],
    range: std::ops::Range<usize>,
    wire: &impl ToTokens,
) -> TokenStream {
    let (mut taken, mut index) = (TokenStream::new(), range.start);
    while index < range.end {
        let run = args[index..range.end].iter().take_while(|arg| arg.is_option()).count();
        if run == 0 {
            taken.extend(take_one(index, &args[index], wire));
            index += 1;
        } else {
            let options = (index..index + run).map(|index| (index, &args[index]));
            taken.extend(take_options(options, wire));
            index += run;
        }
    }
    taken
}

fn take_one(index: usize, arg: &Argument, wire: &impl ToTokens) -> TokenStream {
    let (name, value) = (argument(index), read(arg, wire, false));
    quote!(let #name = #value;)
}

/// Takes a value from `cursor`; `behind` its word, in the case of `which`.
fn read(arg: &Argument, wire: &impl ToTokens, is_one_of: bool) -> TokenStream {
    let ty = with_lifetime(arg.value(), "'a");
    let take = if is_one_of {
        quote_spanned! { arg.ty.span() =>
            <#ty as ::kevy_rt::OneOf<'a, #wire>>::take_behind(which, cursor)
        }
    } else {
        quote_spanned! { arg.ty.span() =>
            <#ty as ::kevy_rt::Arg<'a, #wire>>::take(cursor)
        }
    };
    match &arg.error {
        None => quote!(#take?),
        Some(words) => quote! {
            match #take {
                ::core::result::Result::Ok(value) => value,
                ::core::result::Result::Err(_) => {
                    return ::core::result::Result::Err(
                        ::core::convert::From::from(::kevy_rt::Refusal::Argument(#words)),
                    );
                }
            }
        },
    }
}

/// Options in any order, up to the first word that is none of theirs. What is said again takes the
/// place of what was said before, unless it may be repeated.
fn take_options<'a>(
    options: impl Iterator<Item = (usize, &'a Argument)>,
    wire: &impl ToTokens,
) -> TokenStream {
    let (mut unset, mut cases, mut needed) =
        (TokenStream::new(), TokenStream::new(), TokenStream::new());
    let syntax = syntax();
    for (index, arg) in options {
        let (name, often, which) = (argument(index), arg.often(), format_ident!("which{index}"));
        let ty = with_lifetime(arg.value(), "'a");
        unset.extend(match often {
            Often::Word => quote!(let mut #name = false;),
            Often::Repeated => quote!(let mut #name = ::std::vec::Vec::<#ty>::new();),
            Often::Optional | Often::Needed => quote! {
                let mut #name = ::core::option::Option::<#ty>::None;
            },
        });
        let value = read(arg, wire, matches!(arg.place, Place::OneOf));
        let store = match often {
            Often::Word => quote!(#name = true;),
            Often::Repeated => quote!(#name.push(#value);),
            Often::Optional | Often::Needed => quote! {
                #name = ::core::option::Option::Some(#value);
            },
        };
        cases.extend(match &arg.place {
            Place::Behind(token) => {
                let word = LitByteStr::new(token.value().to_uppercase().as_bytes(), token.span());
                let has_value =
                    (often != Often::Word).then(|| quote!(if cursor.is_done() { #syntax }));
                quote! {
                    if ::kevy_rt::is_word(word, #word) {
                        cursor.skip();
                        #has_value
                        #store
                        continue;
                    }
                }
            }
            _ => {
                // Those that exclude each other may be said again, but not one and then another.
                let excludes = (often != Often::Repeated).then(|| {
                    unset.extend(quote!(let mut #which = ::core::primitive::usize::MAX;));
                    quote! {
                        if #which != which && #which != ::core::primitive::usize::MAX { #syntax }
                        #which = which;
                    }
                });
                let find = quote_spanned! { arg.ty.span() =>
                    <#ty as ::kevy_rt::OneOf<'a, #wire>>::find(word)
                };
                quote! {
                    if let ::core::option::Option::Some(which) = #find {
                        #excludes
                        cursor.skip();
                        #store
                        continue;
                    }
                }
            }
        });
        if often == Often::Needed {
            needed.extend(quote! {
                let ::core::option::Option::Some(#name) = #name else { #syntax };
            });
        }
    }
    quote! {
        #unset
        while let ::core::option::Option::Some(word) = cursor.peek() {
            #cases
            break;
        }
        #needed
    }
}

/// Refuses what is left behind these arguments.
fn done(args: &[Argument]) -> TokenStream {
    let refusal = match args.last() {
        // The next word is no option.
        Some(last) if last.is_option() => quote!(Syntax),
        _ => quote!(TooMany),
    };
    let refuse = refuse(&refusal);
    quote!(if !cursor.is_done() { #refuse })
}

/// Leaves the parser: the request doesn't fit the grammar.
pub(super) fn syntax() -> TokenStream {
    refuse(&quote!(Syntax))
}

fn refuse(refusal: &TokenStream) -> TokenStream {
    quote! {
        return ::core::result::Result::Err(
            ::core::convert::From::from(::kevy_rt::Refusal::#refusal),
        );
    }
}

/// How many arguments of the request one takes at least, or at most.
pub(super) fn count(arg: &Argument, which: &Ident, wire: &impl ToTokens) -> TokenStream {
    let ty = with_lifetime(arg.value(), "'a");
    let own = quote_spanned! { arg.ty.span() => <#ty as ::kevy_rt::Arg<'a, #wire>>::#which };
    match (&arg.place, arg.often()) {
        (Place::Own, _) => own,
        // Options may be said again.
        _ if which == "MAX" => quote!(::kevy_rt::MANY),
        (Place::Behind(_), Often::Needed) => quote!(::kevy_rt::add_counts(1, #own)),
        (Place::OneOf, Often::Needed) => own,
        _ => quote!(0),
    }
}

/// What is told of an argument.
pub(super) fn info(arg: &Argument, wire: &impl ToTokens) -> TokenStream {
    let (name, span) = (&arg.name, arg.ty.span());
    let of = |ty: &Type, what: &str| {
        let (ty, what) = (with_lifetime(ty, "'a"), Ident::new(what, Span::call_site()));
        quote_spanned!(span => <#ty as ::kevy_rt::Arg<'a, #wire>>::#what)
    };
    let often = arg.often();
    let kind = match &arg.kind {
        _ if often == Often::Word => quote!(::kevy_rt::ArgKind::Token),
        Some(kind) => quote!(::kevy_rt::ArgKind::#kind),
        None => of(arg.value(), "KIND"),
    };
    let token = match arg.token() {
        Some(token) => {
            let word = token.value().to_uppercase();
            quote!(::core::option::Option::Some(#word))
        }
        None => quote!(::core::option::Option::None),
    };
    let is_optional = match (&arg.place, often) {
        (Place::Own, _) => {
            let fewest = of(&arg.ty, "MIN");
            quote!(#fewest == 0)
        }
        (_, Often::Needed) => quote!(false),
        _ => quote!(true),
    };
    let repeats = arg.is_option() && often == Often::Repeated;
    let is_multiple = match (repeats, often) {
        (true, _) => quote!(true),
        (false, Often::Word) => quote!(false),
        (false, _) => of(arg.value(), "IS_MULTIPLE"),
    };
    quote! {
        ::kevy_rt::ArgInfo {
            name: #name,
            kind: #kind,
            token: #token,
            is_optional: #is_optional,
            is_multiple: #is_multiple,
            repeats_token: #repeats,
        }
    }
}

/// A number without its type.
pub(super) fn plain(number: usize) -> Literal {
    Literal::usize_unsuffixed(number)
}
