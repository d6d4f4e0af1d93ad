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
//! __start_get    the handler of a transaction, as a task
//! ```
//!
//! `AnyStore` and `AnySession` are those of the server that the set becomes part of.

mod arguments;
mod calls;
pub(crate) mod derive;
mod gathers;
mod promises;
mod record;
mod types;

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::{Ident, ItemImpl, Type};

use crate::argument::last_bound;
use crate::ast::{Command, Set};
use crate::attr::Route;

/// The block, and its set.
pub(crate) fn expand(set: &Set, block: &ItemImpl) -> TokenStream {
    let (me, bound, wire) = (&set.me, set.store_bound(), &set.attr.wire);
    let part = match last_bound(&set.attr.store) {
        None => set.attr.store.to_token_stream(),
        Some(_) => quote!(AnyStore),
    };
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

            impl<AnyStore: #bound, AnySession: #session>
                ::kevy_rt::CommandSet<AnyStore, AnySession> for #me
            {
                const COMMANDS: &'static [::kevy_rt::Command<AnyStore>] = &[#records];
                const PART: ::kevy_rt::Part<AnyStore> = ::kevy_rt::Part::new::<#part>();
            }
        };
    }
}

/// The block with its mistakes. The set is there, without commands, so that a server that has it
/// adds no errors to those; and the types are named, so that their imports are used.
pub(crate) fn refused(set: &Set, block: &ItemImpl, error: &syn::Error) -> TokenStream {
    let (error, me) = (error.to_compile_error(), &set.me);
    let (wire, session) = (&set.attr.wire, set.attr.session.iter());
    // A trait is no type of a parameter of a pointer.
    let store = Some(&set.attr.store).filter(|store| last_bound(store).is_none());
    let store = store.into_iter();
    let empty = (block.trait_.is_none() && block.generics.params.is_empty()).then(|| {
        quote! {
            const _: () = {
                let _: fn(#(&#store,)* &#wire #(, &#session)*);

                impl<AnyStore: 'static, AnySession: 'static>
                    ::kevy_rt::CommandSet<AnyStore, AnySession> for #me
                {
                    const COMMANDS: &'static [::kevy_rt::Command<AnyStore>] = &[];
                    const PART: ::kevy_rt::Part<AnyStore> = ::kevy_rt::Part::new::<AnyStore>();
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
        if let Route::Queue(..) = route {
            let (me, handler) = (&self.set.me, &self.command.signature.ident);
            let cfgs = &self.command.cfgs;
            return quote!(#(#cfgs)* const _: () = { let _ = <#me>::#handler; };);
        }
        let mut functions = self.promises();
        functions.push(self.parse(route));
        match (route, &self.command.attr.gather) {
            (Route::Keys(_) | Route::All, Some((gather, _))) => {
                functions.extend(self.gathered(route, gather));
            }
            (Route::Tx(_), _) => functions.push(self.start()),
            _ => functions.push(self.answer(route)),
        }
        let cfgs = &self.command.cfgs;
        functions.iter().map(|function| quote!(#(#cfgs)* #function)).collect()
    }

    /// `__role_handler`.
    fn function(&self, role: &str) -> Ident {
        format_ident!("__{role}_{}", self.command.signature.ident)
    }

    fn wire(&self) -> &Type {
        &self.set.attr.wire
    }
}
