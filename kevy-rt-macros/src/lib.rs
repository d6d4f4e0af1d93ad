//! The attributes of kevy-rt: a function and its route become a sharded command.
//!
//! `#[commands(store = Db, wire = Lines)]` stands on an inherent `impl` block, `#[command(...)]` on
//! each of its functions that is a command. They go through four stages, a file each: `attr` reads
//! the attributes and `ast` the signatures into one model, `check` looks for mistakes in it, and
//! `expand` writes the records and the functions that they point to. A stage never stops at the
//! first mistake: all of a block are reported at once, each on its own token.

mod argument;
mod ast;
mod attr;
mod check;
mod derive;
mod errors;
mod expand;

use proc_macro::TokenStream;
use syn::{DeriveInput, ItemImpl, parse_macro_input};

use crate::attr::SetAttr;
use crate::errors::Errors;

/// Makes a command set of an inherent `impl` block: `#[commands(store = Type, wire = Type)]`, with
/// `session = Type` if one of its commands changes the session. `store = impl Trait` is for any
/// server whose store implements the trait; its handlers take `&impl Trait`.
///
/// The functions with `#[command(...)]` become records of `CommandSet`; all others stay what they
/// are. Generated code needs nothing in scope.
#[proc_macro_attribute]
pub fn commands(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let mut block = parse_macro_input!(item as ItemImpl);
    let mut errors = Errors::default();
    let attribute = SetAttr::read(attribute.into(), &mut errors);
    let set = ast::Set::read(attribute, &mut block, &mut errors);
    check::check(&set, &mut errors);
    match errors.finish() {
        None => expand::expand(&set, &block),
        Some(error) => expand::refused(&set, &block, &error),
    }
    .into()
}

/// Declares a command: `#[command(route = ROUTE, ...)]`, within a block of `#[commands(...)]`,
/// which reads it, so that it needs no import.
///
/// ```text
/// route = local                        the connection's shard; no key
///         session                      the same, and it changes the session
///         single(I)                    the shard that owns the key at argument I; the verb is 0
///         keys(A..) keys(A..=B step N) once per key, on the shards that own them
///         numkeys(I)                   the same; argument I says how many keys follow it
///         all | all, loose             every shard, at one moment | each at its own
///         at(path)                     one shard: fn(Args<'_>, usize) -> usize of how many
///         tx(KEYS)                     an async fn over the shards of its keys: a list of
///                                      positions, and last perhaps A.. step N, numkeys(I) or
///                                      found(path): fn(Args<'_>, &mut Vec<usize>), rising
///         queue(VERB)                  open, run, drop, watch(KEYS), unwatch: queued requests
/// write                                it may change the store, which it takes as `&mut`
/// wake = I                             the key that it may make ready for those who wait
/// gather = sum | min | max | all_ok    of values: keys and all
///          in_order | first | concat   of replies
///          path::to::merge             a function of an iterator of values
/// name = "..."                         other than the function's name; may have two words
/// aliases("...")                       further names
/// barrier                              runs when nothing earlier of its connection is open
/// queued = at_once | never             what becomes of it while requests are queued
/// since, group, complexity = "..."     facts for the documentation
/// flags(a, "b"), meta(key = "text")    the set's own words and facts
/// ```
///
/// The handler takes, in this order: `&mut Session` (route `session`), `&Store` or `&mut Store`
/// (or `&ReadTx<Store>`, `&Tx<Store>` of route `tx`), `cx: &Cx<'_>` if it wants, and then its arguments.
/// `reply: &mut Reply<'_, W>` anywhere lets it write its reply itself.
///
/// # Arguments
///
/// Each is read by its type: `Key<'_>` where the route says, `Keys<'_>` for several in a
/// transaction, `&[u8]`, `Value<'_>`, integers, floats, pairs, and types of one's own
/// ([`derive@Arg`], or by hand). `Option<T>` may be missing at the end; `Vec<T>` is one or more up to
/// the end; `Rest<'_>` is all that is left, unread.
///
/// ```text
/// #[token("EX")] ex: Option<u64>       an option: the word, and then a value
/// #[token("NX")] nx: bool              a word alone
/// #[token("GET")] get: Vec<&[u8]>      it may be repeated
/// #[token("BY")] by: u64               it has to be said
/// #[one_of] when: Option<When>         one of the words of an enum that derives `Arg`; which
///                                      exclude each other, unless it is a `Vec<When>`
/// #[arg(error = "ERR no such unit")]   what is said if it isn't what it has to be
/// #[arg(name = "unix-time")]           its name in the documentation
/// #[arg(kind = unix_time)]             what it is there: text, pattern, integer, float, unix_time
/// ```
///
/// Options that stand together may come in any order and in any case. What is said again counts
/// instead of what was said before. They end with the first word that is none of theirs, so more
/// arguments may follow.
#[proc_macro_attribute]
pub fn command(_: TokenStream, item: TokenStream) -> TokenStream {
    let item = proc_macro2::TokenStream::from(item);
    let error = syn::Error::new(
        proc_macro2::Span::call_site(),
        "a command belongs to a set: write `#[commands(store = .., wire = ..)]` on the `impl` block",
    )
    .to_compile_error();
    quote::quote!(#item #error).into()
}

/// Makes an argument of a type of one's own.
///
/// A struct is its fields, one behind the other; fields may be options as a handler's arguments may
/// be. An enum is one of its variants, each told by a word: its name in capitals, or what
/// `#[token("...")]` says. A variant with a value is followed by it, one with named fields by those.
///
/// ```text
/// #[derive(Arg)]
/// enum Expiration<'a> {
///     #[token("EX")]
///     Seconds(u64),
///     #[token("EXAT")]
///     #[arg(name = "unix-time", kind = unix_time)]
///     UnixSeconds(&'a [u8]),
///     KeepTtl,
/// }
///
/// #[derive(Arg)]
/// struct Limit {
///     offset: i64,
///     count: i64,
/// }
///
/// fn set(db: &mut Db, key: Key<'_>, value: &[u8], #[one_of] expires: Option<Expiration<'_>>) { .. }
/// fn range(db: &Db, key: Key<'_>, #[token("LIMIT")] limit: Option<Limit>) -> .. { .. }
/// ```
#[proc_macro_derive(Arg, attributes(token, one_of, arg))]
pub fn derive_arg(item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let group = derive::Group::read(parse_macro_input!(item as DeriveInput), &mut errors);
    match errors.finish() {
        None => expand::derive::expand(&group),
        Some(error) => expand::derive::refused(&group, &error),
    }
    .into()
}

/// Implements `Store` for a type that implements `Default`: each shard's store is opened as that,
/// without settings.
#[proc_macro_derive(Store)]
pub fn store(item: TokenStream) -> TokenStream {
    let DeriveInput { ident, generics, .. } = parse_macro_input!(item as DeriveInput);
    let (parameters, arguments, bounds) = generics.split_for_impl();
    quote::quote! {
        impl #parameters ::kevy_rt::Store for #ident #arguments #bounds {
            type Settings = ();
            fn open(
                (): &(),
                _: ::kevy_rt::Place,
                _: &::kevy_rt::KeyHasher,
            ) -> ::core::result::Result<Self, ::kevy_rt::OpenError> {
                ::core::result::Result::Ok(::core::default::Default::default())
            }
        }
    }
    .into()
}
