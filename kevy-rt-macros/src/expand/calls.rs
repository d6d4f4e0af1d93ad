//! Calls of the handler, and the functions of commands that run at one place.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;

use super::Writer;
use super::arguments::argument;
use crate::argument::last_bound;
use crate::ast::Role;
use crate::attr::Route;

impl Writer<'_> {
    /// The handler, called with the parsed arguments.
    pub(super) fn call(&self) -> TokenStream {
        let (me, store) = (&self.set.me, &self.set.attr.store);
        let mut handler = self.command.signature.ident.clone();
        handler.set_span(self.output_span());
        let params = self.command.params.iter().map(|param| match param.role {
            Role::Session => {
                let session = &self.set.attr.session;
                quote!(::kevy_rt::Has::<#session>::part_mut(session, cx))
            }
            Role::Store if last_bound(store).is_some() => {
                let is_mut = self.command.store_is_mut() == Some(true);
                if is_mut { quote!(&mut *store) } else { quote!(&*store) }
            }
            Role::Store if self.command.store_is_mut() == Some(true) => quote_spanned! {
                param.ty.span() => ::kevy_rt::Has::<#store>::part_mut(&mut *store, cx)
            },
            Role::Store => quote_spanned! {
                param.ty.span() => ::kevy_rt::Has::<#store>::part(&*store, cx)
            },
            Role::Tx if self.command.attr.write.is_some() => quote!(&tx),
            Role::Tx => quote!(&*tx),
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
    pub(super) fn encode(&self) -> TokenStream {
        let wire = &self.set.attr.wire;
        quote_spanned!(self.output_span() => ::kevy_rt::Encode::<#wire>::encode)
    }

    /// Where a mistake in what the handler returns is told.
    pub(super) fn output_span(&self) -> Span {
        self.command.output().map_or(self.command.signature.ident.span(), Spanned::span)
    }

    /// The handler of a transaction: a task that parses, calls, awaits, encodes.
    pub(super) fn start(&self) -> TokenStream {
        let (name, parse) = (self.function("start"), self.function("parse"));
        let (store, bound, wire) = (&self.set.attr.store, self.set.store_bound(), self.wire());
        let (bindings, call, encode) = (self.bindings(), self.call(), self.encode());
        quote! {
            fn #name<AnyStore: #bound>(
                start: ::kevy_rt::TxStart<AnyStore>,
            ) -> ::kevy_rt::Task {
                ::std::boxed::Box::pin(async move {
                    let mut out = ::kevy_rt::Out::default();
                    let tx = start.tx::<#store>();
                    match #parse(start.args()) {
                        ::core::result::Result::Ok(#bindings) => {
                            let answer = #call.await;
                            #encode(answer, &mut start.reply::<#wire>(&mut out));
                        }
                        ::core::result::Result::Err(refusal) => {
                            ::kevy_rt::Encode::<#wire>::encode(
                                refusal,
                                &mut start.reply::<#wire>(&mut out),
                            );
                        }
                    }
                    out
                })
            }
        }
    }

    /// Parse, call, encode. Under `keys` for the key `index`.
    pub(super) fn answer(&self, route: &Route) -> TokenStream {
        let (name, parse) = (self.function("answer"), self.function("parse"));
        let (bound, bindings, call) =
            (self.set.store_bound(), self.bindings(), self.call_and_encode());
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
                fn #name<AnyStore: #bound, AnySession: ::kevy_rt::Has<#session>>(
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
            _ => quote!(fn #name<AnyStore: #bound>(#params) { #body }),
        }
    }
}

/// The key's index, as an argument and as a parameter, if there are keys.
pub(super) fn index_of(route: &Route) -> (TokenStream, TokenStream) {
    match route {
        Route::Keys(_) => (quote!(, index), quote!(, index: usize)),
        _ => (TokenStream::new(), TokenStream::new()),
    }
}
