//! The attributes of kevy-rt: a function and its route become a sharded command.
//!
//! `#[commands(store = Db, wire = Lines)]` stands on an inherent `impl` block, `#[command(...)]` on
//! each of its functions that is a command. They go through four stages, a file each: `attr` reads
//! the attributes and `ast` the signatures into one model, `check` looks for mistakes in it, and
//! `expand` writes the records and the functions that they point to. A stage never stops at the
//! first mistake: all of a block are reported at once, each on its own token.

mod ast;
mod attr;
mod check;
mod errors;
mod expand;

use proc_macro::TokenStream;
use syn::{ItemImpl, parse_macro_input};

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
///         all | all, loose             every shard, at one moment | each at its own
///         at(path)                     one shard: fn(Args<'_>, usize) -> usize of how many
/// write                                it may change the store, which it takes as `&mut`
/// wake = I                             the key that it may make ready for those who wait
/// gather = sum | min | max | all_ok    of values: keys and all
///          in_order | first | concat   of replies
///          path::to::merge             a function of an iterator of values
/// name = "..."                         other than the function's name; may have two words
/// aliases("...")                       further names
/// barrier                              runs when nothing earlier of its connection is open
/// since, group, complexity = "..."     facts for the documentation
/// flags(a, "b"), meta(key = "text")    the set's own words and facts
/// ```
///
/// The handler takes, in this order: `&mut Session` (route `session`), `&Store` or `&mut Store`,
/// `cx: &Cx<'_>` if it wants, and then its arguments. `#[token("EX")] ex: Option<u64>` is an option
/// with a value, `#[token("NX")] nx: bool` one without. `reply: &mut Reply<'_, W>` anywhere lets it
/// write its reply itself.
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
