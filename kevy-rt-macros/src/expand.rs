//! Tokens: each command's record and the functions that it points to.
//!
//! For a command `get` there are, as its route needs them:
//!
//! ```text
//! __parse_get    arguments of one call of the handler, typed
//! __answer_get   parse, call, encode: the whole of a command that runs at one place
//! __value_get    parse, call: a part's value
//! __merged_get   the merge function, with the type of its parts written out
//! __check_get    whether everything parses
//! __whole_get    the request with all its keys here
//! __part_get     the keys that are here
//! __merge_get    one reply of all parts
//! ```
//!
//! `AnyStore` and `AnySession` are those of the server that the set becomes part of.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit_mut::VisitMut;
use syn::{
    GenericArgument, Ident, ItemImpl, Lifetime, LitByteStr, Path, PathArguments, Type,
    TypeReference, parse_quote,
};

use crate::ast::{Argument, Command, Role, Set, Split};
use crate::attr::{Gather, Keys, Number, Route};

/// The block, and its set.
pub(crate) fn expand(set: &Set, block: &ItemImpl) -> TokenStream {
    let (me, store, wire) = (&set.me, &set.attr.store, &set.attr.wire);
    let session = match &set.attr.session {
        Some(session) => quote!(::kevy_rt::Has<#session>),
        None => quote!('static),
    };
    let (mut functions, mut records) = (TokenStream::new(), TokenStream::new());
    for command in &set.commands {
        let writer = Writer { set, command };
        functions.extend(writer.functions());
        records.extend(writer.records());
    }
    quote! {
        #block

        #[allow(dead_code, unused_mut, unused_variables, clippy::type_complexity, clippy::unit_arg)]
        const _: () = {
            #functions

            #[cold]
            fn __refuse(
                refusal: <#wire as ::kevy_rt::Wire>::Refusal,
                cx: &::kevy_rt::Cx<'_>,
                out: &mut ::kevy_rt::Out,
            ) {
                ::kevy_rt::Encode::<#wire>::encode(refusal, &mut ::kevy_rt::Reply::new(out, cx));
            }

            impl<AnyStore: ::kevy_rt::Has<#store>, AnySession: #session>
                ::kevy_rt::CommandSet<AnyStore, AnySession> for #me
            {
                const COMMANDS: &'static [::kevy_rt::Command<AnyStore>] = &[#records];
            }
        };
    }
}

/// The block with its mistakes. The set is there, without commands, so that a server that has it
/// adds no errors to those; and the types are named, so that their imports are used.
pub(crate) fn refused(set: &Set, block: &ItemImpl, error: &syn::Error) -> TokenStream {
    let (error, me) = (error.to_compile_error(), &set.me);
    let (store, wire, session) = (&set.attr.store, &set.attr.wire, set.attr.session.iter());
    let empty = (block.trait_.is_none() && block.generics.params.is_empty()).then(|| {
        quote! {
            const _: () = {
                let _: fn(&#store, &#wire #(, &#session)*);

                impl<AnyStore: 'static, AnySession: 'static>
                    ::kevy_rt::CommandSet<AnyStore, AnySession> for #me
                {
                    const COMMANDS: &'static [::kevy_rt::Command<AnyStore>] = &[];
                }
            };
        }
    });
    quote! {
        #[allow(dead_code, unused_variables)]
        #block
        #empty
        #error
    }
}

/// Writes what belongs to one command.
struct Writer<'a> {
    set: &'a Set,
    command: &'a Command,
}

impl Writer<'_> {
    /// The functions, each with the command's conditions.
    fn functions(&self) -> TokenStream {
        let Some(route) = self.command.route() else { return TokenStream::new() };
        let mut functions = self.promises();
        functions.push(self.parse(route));
        match (route, &self.command.attr.gather) {
            (Route::Keys(_) | Route::All, Some((gather, _))) => {
                functions.extend(self.gathered(route, gather));
            }
            _ => functions.push(self.answer(route)),
        }
        let cfgs = &self.command.cfgs;
        functions.iter().map(|function| quote!(#(#cfgs)* #function)).collect()
    }

    /// `__role_handler`.
    fn function(&self, role: &str) -> Ident {
        format_ident!("__{role}_{}", self.command.signature.ident)
    }

    // ---- What only types tell -------------------------------------------------------------------

    /// The route's keys are keys at the positions that it says, and no others are hidden.
    fn promises(&self) -> Vec<TokenStream> {
        let wire = &self.set.attr.wire;
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
                let advice = format!(
                    "a key hides in the type of `{}`: take a `Key<'_>` that the route names",
                    arg.name
                );
                promises.push(quote_spanned! { arg.ty.span() =>
                    const _: () = {
                        const fn has_key<'a>() -> bool {
                            <#ty as ::kevy_rt::Arg<'a, #wire>>::HAS_KEY
                        }
                        assert!(!has_key(), #advice)
                    };
                });
            }
        }
        promises
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

    // ---- Arguments ------------------------------------------------------------------------------

    /// `(arg0, arg1,)`
    fn bindings(&self) -> TokenStream {
        let names = (0..self.command.args.len()).map(argument);
        quote!((#(#names,)*))
    }

    /// Reads the arguments of one call of the handler.
    fn parse(&self, route: &Route) -> TokenStream {
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
    fn count(&self, which: &str, base: usize, args: &[Argument]) -> TokenStream {
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

    // ---- Calls ----------------------------------------------------------------------------------

    /// The handler, called with the parsed arguments.
    fn call(&self) -> TokenStream {
        let (me, store) = (&self.set.me, &self.set.attr.store);
        let mut handler = self.command.signature.ident.clone();
        handler.set_span(self.output_span());
        let params = self.command.params.iter().map(|param| match param.role {
            Role::Session => {
                let session = &self.set.attr.session;
                quote!(::kevy_rt::Has::<#session>::part_mut(session, cx))
            }
            Role::Store if self.command.store_is_mut() == Some(true) => quote_spanned! {
                param.ty.span() => ::kevy_rt::Has::<#store>::part_mut(&mut *store, cx)
            },
            Role::Store => quote_spanned! {
                param.ty.span() => ::kevy_rt::Has::<#store>::part(&*store, cx)
            },
            Role::Cx => quote!(cx),
            Role::Reply => quote!(&mut ::kevy_rt::Reply::new(out, cx)),
            Role::Argument(index) => argument(index).into_token_stream(),
        });
        quote_spanned!(self.output_span() => <#me>::#handler(#(#params),*))
    }

    /// Calls the handler and writes what it returns.
    fn call_and_encode(&self) -> TokenStream {
        let call = self.call();
        if self.command.param(Role::Reply).is_some() {
            return quote!(#call;);
        }
        let encode = self.encode();
        quote!(#encode(#call, &mut ::kevy_rt::Reply::new(out, cx));)
    }

    /// The wire's encoder, at the return type.
    fn encode(&self) -> TokenStream {
        let wire = &self.set.attr.wire;
        quote_spanned!(self.output_span() => ::kevy_rt::Encode::<#wire>::encode)
    }

    /// Where a mistake in what the handler returns is told.
    fn output_span(&self) -> Span {
        self.command.output().map_or(self.command.signature.ident.span(), Spanned::span)
    }

    /// Parse, call, encode. Under `keys` for the key `index`.
    fn answer(&self, route: &Route) -> TokenStream {
        let (name, parse) = (self.function("answer"), self.function("parse"));
        let (store, bindings, call) =
            (&self.set.attr.store, self.bindings(), self.call_and_encode());
        let (index, param) = index_of(route);
        let body = quote! {
            match #parse(args #index) {
                ::core::result::Result::Ok(#bindings) => { #call }
                ::core::result::Result::Err(refusal) => __refuse(refusal, cx, out),
            }
        };
        let params = quote! {
            store: &mut AnyStore,
            cx: &::kevy_rt::Cx<'_>,
            args: ::kevy_rt::Args<'_>
            #param,
            out: &mut ::kevy_rt::Out
        };
        match (route, &self.set.attr.session) {
            (Route::Session, Some(session)) => quote! {
                fn #name<AnyStore: ::kevy_rt::Has<#store>, AnySession: ::kevy_rt::Has<#session>>(
                    session: &mut dyn ::core::any::Any,
                    #params,
                ) {
                    let ::core::option::Option::Some(session) =
                        session.downcast_mut::<AnySession>()
                    else {
                        ::core::unreachable!("a port opens sessions of its own type only")
                    };
                    #body
                }
            },
            _ => quote!(fn #name<AnyStore: ::kevy_rt::Has<#store>>(#params) { #body }),
        }
    }

    // ---- Gathers --------------------------------------------------------------------------------

    fn gathered(&self, route: &Route, gather: &Gather) -> Vec<TokenStream> {
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
        let (name, parse, wire) = (self.function("check"), self.function("parse"), self.wire());
        let (index, _) = index_of(route);
        let parse = quote! {
            if let ::core::result::Result::Err(refusal) = #parse(args #index) {
                __refuse(refusal, cx, out);
                return false;
            }
        };
        let body = match route {
            Route::Keys(keys) => {
                let (range, verb) = (key_range(keys), &self.command.name);
                quote! {
                    const RANGE: ::kevy_rt::KeyRange = #range;
                    let ::core::option::Option::Some(count) = RANGE.count(args.len()) else {
                        let refusal = ::kevy_rt::Refusal::Arity(#verb);
                        __refuse(<#wire as ::kevy_rt::Wire>::Refusal::from(refusal), cx, out);
                        return false;
                    };
                    for index in 0..count { #parse }
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

    fn whole(&self, body: &TokenStream) -> TokenStream {
        let (name, check) = (self.function("whole"), self.function("check"));
        let store = &self.set.attr.store;
        quote! {
            fn #name<AnyStore: ::kevy_rt::Has<#store>>(
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
        let (name, store) = (self.function("part"), &self.set.attr.store);
        quote! {
            fn #name<AnyStore: ::kevy_rt::Has<#store>>(
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
        self.whole(&quote!(#head #each))
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
        let (store, bindings, call) = (&self.set.attr.store, self.bindings(), self.call());
        let (index, param) = index_of(route);
        let value = self.value_type();
        quote! {
            #[inline(always)]
            fn #name<AnyStore: ::kevy_rt::Has<#store>>(
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

    // ---- The record -----------------------------------------------------------------------------

    /// One record per name.
    fn records(&self) -> TokenStream {
        let Some(route) = self.command.route() else { return TokenStream::new() };
        let command = self.command;
        let aliases = command.attr.aliases.iter().map(|alias| alias.value().to_uppercase());
        let names = std::iter::once(command.name.clone()).chain(aliases);
        let (cfgs, set, doc) = (&command.cfgs, &self.set.name, &command.doc);
        let (min, max) = self.arity(route);
        let (route, run) = (self.route(route), self.run(route));
        let (write, barrier) = (command.attr.write.is_some(), command.attr.barrier);
        let wake = match command.attr.wake.and_then(|wake| u16::try_from(wake.value).ok()) {
            Some(wake) => quote!(::core::option::Option::Some(#wake)),
            None => quote!(::core::option::Option::None),
        };
        let flags = &command.attr.flags;
        let meta = command.attr.meta.iter().map(|(key, text)| quote!((#key, #text)));
        let meta: Vec<TokenStream> = meta.collect();
        let arguments: Vec<TokenStream> = command.args.iter().map(argument_info).collect();
        names
            .map(|name| {
                quote! {
                    #(#cfgs)*
                    ::kevy_rt::Command {
                        info: ::kevy_rt::CommandInfo {
                            name: #name,
                            set: #set,
                            doc: #doc,
                            min: #min,
                            max: #max,
                            route: #route,
                            write: #write,
                            wake: #wake,
                            barrier: #barrier,
                            flags: &[#(#flags),*],
                            meta: &[#(#meta),*],
                            arguments: &[#(#arguments),*],
                        },
                        run: #run,
                    },
                }
            })
            .collect()
    }

    /// Fewest and most arguments of a request.
    fn arity(&self, route: &Route) -> (TokenStream, TokenStream) {
        let command = self.command;
        let many = quote!(::kevy_rt::MANY);
        let has_options = command.options().next().is_some();
        let Route::Keys(keys) = route else {
            let min = self.count("MIN", command.words(), command.positional());
            let max = match has_options {
                true => many,
                false => self.count("MAX", command.words(), command.positional()),
            };
            return (min, max);
        };
        let after = &command.positional()[command.split(keys).after];
        let one_key = keys.first.value as usize + keys.step.value as usize;
        if keys.last.value < 0 {
            // What is left behind the last key has its place even if no parameter takes it.
            let behind = -1 - isize::from(keys.last.value);
            return (quote!(#one_key + #behind as usize), many);
        }
        let all_keys = keys.last.value as usize + 1;
        let min = match after.is_empty() {
            true => quote!(#one_key),
            false => self.count("MIN", all_keys, after),
        };
        (min, if has_options { many } else { self.count("MAX", all_keys, after) })
    }

    fn route(&self, route: &Route) -> TokenStream {
        match route {
            Route::Local => quote!(::kevy_rt::Route::Local),
            Route::Session => quote!(::kevy_rt::Route::Session),
            Route::Single(Number { value, .. }) => {
                let position = *value as u16;
                quote!(::kevy_rt::Route::Single(#position))
            }
            Route::Keys(keys) => {
                let range = key_range(keys);
                quote!(::kevy_rt::Route::Keys(#range))
            }
            Route::All => {
                let loose = self.command.attr.loose.is_some();
                quote!(::kevy_rt::Route::All { loose: #loose })
            }
            Route::At(path) => quote!(::kevy_rt::Route::At(#path)),
        }
    }

    fn run(&self, route: &Route) -> TokenStream {
        let (answer, wire) = (self.function("answer"), self.wire());
        let gather = match (route, &self.command.attr.gather) {
            (Route::Session, _) => {
                return quote!(::kevy_rt::Run::Session(#answer::<AnyStore, AnySession>));
            }
            (Route::Keys(_) | Route::All, Some((gather, _))) => gather,
            _ => return quote!(::kevy_rt::Run::One(#answer::<AnyStore>)),
        };
        let (check, whole) = (self.function("check"), self.function("whole"));
        let (part, merge) = (self.function("part"), self.function("merge"));
        let merge = match gather {
            Gather::InOrder => quote!(::kevy_rt::gather::merge_in_order::<#wire>),
            Gather::First => quote!(::kevy_rt::gather::merge_first),
            Gather::Concat => quote!(::kevy_rt::gather::merge_concat::<#wire>),
            Gather::Value(_) => quote!(#merge),
        };
        quote! {
            ::kevy_rt::Run::Gather {
                check: #check,
                whole: #whole::<AnyStore>,
                part: #part::<AnyStore>,
                merge: #merge,
            }
        }
    }

    fn wire(&self) -> &Type {
        &self.set.attr.wire
    }
}

/// How often a request calls its handler: once per key.
fn calls(route: &Route) -> TokenStream {
    match route {
        Route::Keys(_) => quote!(args.hashes().len()),
        _ => quote!(1_usize),
    }
}

/// The key's index, as an argument and as a parameter, if there are keys.
fn index_of(route: &Route) -> (TokenStream, TokenStream) {
    match route {
        Route::Keys(_) => (quote!(, index), quote!(, index: usize)),
        _ => (TokenStream::new(), TokenStream::new()),
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

fn key_range(keys: &Keys) -> TokenStream {
    let (first, last) = (keys.first.value as u16, keys.last.value);
    let step = keys.step.value as u16;
    quote!(::kevy_rt::KeyRange { first: #first, last: #last, step: #step })
}

fn argument(index: usize) -> Ident {
    format_ident!("arg{index}")
}

fn argument_info(arg: &Argument) -> TokenStream {
    let (name, kind) = (&arg.name, as_written(&arg.ty));
    let token = match &arg.token {
        Some(token) => quote!(::core::option::Option::Some(#token)),
        None => quote!(::core::option::Option::None),
    };
    quote!(::kevy_rt::ArgInfo { name: #name, kind: #kind, token: #token })
}

/// Leaves the parser: the request doesn't fit the grammar.
fn syntax() -> TokenStream {
    quote! {
        return ::core::result::Result::Err(
            ::core::convert::From::from(::kevy_rt::Refusal::Syntax),
        );
    }
}

/// A type's tokens with blanks where a person puts them.
fn as_written(ty: &Type) -> String {
    let mut text = String::new();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    for token in ty.to_token_stream().to_string().split_whitespace() {
        let words = text.ends_with(is_word) && token.starts_with(is_word);
        if words || text.ends_with([',', ';']) {
            text.push(' ');
        }
        text.push_str(token);
    }
    text
}

/// The type with this lifetime in place of all others but `'static`, and where one is elided.
fn with_lifetime(ty: &Type, lifetime: &str) -> Type {
    let mut ty = ty.clone();
    Named(Lifetime::new(lifetime, Span::call_site())).visit_type_mut(&mut ty);
    ty
}

struct Named(Lifetime);

impl VisitMut for Named {
    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        reference.lifetime = Some(self.0.clone());
        syn::visit_mut::visit_type_reference_mut(self, reference);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if lifetime.ident != "static" {
            *lifetime = Lifetime::new(&self.0.to_string(), lifetime.span());
        }
    }

    /// Of the runtime's own types it is known that they have a lifetime.
    fn visit_path_segment_mut(&mut self, segment: &mut syn::PathSegment) {
        syn::visit_mut::visit_path_segment_mut(self, segment);
        if !["Key", "Value", "Rest"].iter().any(|word| segment.ident == word) {
            return;
        }
        let lifetime = &self.0;
        match &mut segment.arguments {
            PathArguments::None => {
                segment.arguments = PathArguments::AngleBracketed(parse_quote!(<#lifetime>));
            }
            PathArguments::AngleBracketed(arguments) => {
                let is_lifetime = |arg| matches!(arg, &GenericArgument::Lifetime(_));
                if !arguments.args.iter().any(is_lifetime) {
                    arguments.args.insert(0, GenericArgument::Lifetime(lifetime.clone()));
                }
            }
            PathArguments::Parenthesized(_) => {}
        }
    }
}
