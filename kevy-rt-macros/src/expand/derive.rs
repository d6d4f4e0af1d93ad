//! Tokens of `#[derive(Arg)]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, LitByteStr};

use super::arguments::{Count, argument, count, info, plain, syntax, take};
use super::types::with_lifetime;
use crate::argument::{Argument, Place};
use crate::derive::{Fieldset, Group, Shape, Variant};

/// The implementations, for any wire over which its fields are arguments.
pub(crate) fn expand(group: &Group) -> TokenStream {
    match &group.shape {
        Shape::Struct(fields) => block(group, fields),
        Shape::Enum(variants) => one_of(group, variants),
    }
}

/// The type with its mistakes: it is an argument, so that its uses add no errors to those.
pub(crate) fn refused(group: &Group, error: &syn::Error) -> TokenStream {
    let (error, name) = (error.to_compile_error(), &group.name);
    let lifetime = group.lifetime.as_ref().map(|_| quote!(<'a>));
    quote! {
        impl<'a, AnyWire: ::kevy_rt::Wire> ::kevy_rt::Arg<'a, AnyWire> for #name #lifetime {
            fn take(
                _: &mut ::kevy_rt::Cursor<'a>,
            ) -> ::core::result::Result<Self, AnyWire::Refusal> {
                ::core::unreachable!()
            }
        }
        #error
    }
}

fn wire() -> Ident {
    format_ident!("AnyWire")
}

/// What the fields' types have to be.
fn bounds<'a>(args: impl Iterator<Item = &'a Argument>) -> TokenStream {
    let wire = wire();
    let args = args.filter(|arg| !(arg.is("bool") && arg.token().is_some()));
    args.map(|arg| {
        let ty = with_lifetime(arg.value(), "'a");
        match arg.place {
            Place::OneOf => quote_spanned! { arg.ty.span() =>
                #ty: ::kevy_rt::OneOf<'a, #wire>,
            },
            _ => quote_spanned!(arg.ty.span() => #ty: ::kevy_rt::Arg<'a, #wire>,),
        }
    })
    .collect()
}

fn has_key<'a>(args: impl Iterator<Item = &'a Argument>) -> TokenStream {
    let wire = wire();
    let args = args.filter(|arg| !(arg.is("bool") && arg.token().is_some()));
    let keys = args.map(|arg| {
        let ty = with_lifetime(arg.value(), "'a");
        quote!(<#ty as ::kevy_rt::Arg<'a, #wire>>::HAS_KEY)
    });
    quote!(false #(|| #keys)*)
}

/// The sum of the fewest or of the most of some arguments.
fn sum(args: &[Argument], which: Count) -> TokenStream {
    let (wire, which) = (wire(), which.name());
    args.iter().fold(quote!(0), |sum, arg| {
        let count = count(arg, &which, &wire);
        quote!(::kevy_rt::add_counts(#sum, #count))
    })
}

/// The value of these fields, behind the type's or the variant's name.
fn value(fields: &Fieldset) -> TokenStream {
    let bindings = fields.names.iter().enumerate().map(|(index, name)| {
        let binding = argument(index);
        match name {
            Some(name) => quote!(#name: #binding),
            None => {
                let index = plain(index);
                quote!(#index: #binding)
            }
        }
    });
    quote!({ #(#bindings),* })
}

fn infos(args: &[Argument]) -> Vec<TokenStream> {
    args.iter().map(|arg| info(arg, &wire())).collect()
}

fn block(group: &Group, fields: &Fieldset) -> TokenStream {
    let (name, wire) = (&group.name, wire());
    let lifetime = group.lifetime.as_ref().map(|_| quote!(<'a>));
    let args = &fields.args;
    let (bounds, has_key) = (bounds(args.iter()), has_key(args.iter()));
    let (fewest, most) = (sum(args, Count::Fewest), sum(args, Count::Most));
    let (infos, value) = (infos(args), value(fields));
    let take = take(args, 0..args.len(), &wire);
    let kind = match args.iter().all(Argument::is_option) {
        true => quote!(Options),
        false => quote!(Block),
    };
    quote! {
        #[automatically_derived]
        #[allow(unused_variables)]
        impl<'a, #wire: ::kevy_rt::Wire> ::kevy_rt::Arg<'a, #wire> for #name #lifetime
        where
            #bounds
        {
            const MIN: ::core::primitive::usize = #fewest;
            const MAX: ::core::primitive::usize = #most;
            const HAS_KEY: ::core::primitive::bool = #has_key;
            const KIND: ::kevy_rt::ArgKind = ::kevy_rt::ArgKind::#kind(&[#(#infos),*]);

            #[inline]
            fn take(
                cursor: &mut ::kevy_rt::Cursor<'a>,
            ) -> ::core::result::Result<Self, #wire::Refusal> {
                #take
                ::core::result::Result::Ok(#name #value)
            }
        }
    }
}

fn one_of(group: &Group, variants: &[Variant]) -> TokenStream {
    let (name, wire, syntax) = (&group.name, wire(), syntax());
    let lifetime = group.lifetime.as_ref().map(|_| quote!(<'a>));
    let all = || variants.iter().flat_map(|variant| &variant.fields.args);
    let (bounds, has_key) = (bounds(all()), has_key(all()));
    let fewest = variants.iter().map(|variant| sum(&variant.fields.args, Count::Fewest));
    let most = variants.iter().map(|variant| sum(&variant.fields.args, Count::Most));
    let infos: Vec<TokenStream> = variants.iter().map(variant_info).collect();
    let find = variants.iter().enumerate().map(|(index, variant)| {
        let text = variant.word.value().to_uppercase();
        let word = LitByteStr::new(text.as_bytes(), variant.word.span());
        let index = plain(index);
        quote! {
            if ::kevy_rt::is_word(word, #word) {
                return ::core::option::Option::Some(#index);
            }
        }
    });
    let cases = variants.iter().enumerate().map(|(index, variant)| {
        let (index, ident) = (plain(index), &variant.ident);
        let (args, value) = (&variant.fields.args, value(&variant.fields));
        let take = take(args, 0..args.len(), &wire);
        // A word without its value is no word of the grammar, whatever is said of a bad value.
        let has_value = args
            .first()
            .is_some_and(|first| !first.is_option())
            .then(|| quote!(if cursor.is_done() { #syntax }));
        quote! {
            #index => {
                #has_value
                #take
                ::core::result::Result::Ok(#name::#ident #value)
            }
        }
    });
    quote! {
        #[automatically_derived]
        #[allow(unused_variables)]
        impl<'a, #wire: ::kevy_rt::Wire> ::kevy_rt::Arg<'a, #wire> for #name #lifetime
        where
            #bounds
        {
            const MIN: ::core::primitive::usize =
                ::kevy_rt::add_counts(1, ::kevy_rt::fewest(&[#(#fewest),*]));
            const MAX: ::core::primitive::usize =
                ::kevy_rt::add_counts(1, ::kevy_rt::most(&[#(#most),*]));
            const HAS_KEY: ::core::primitive::bool = #has_key;
            const KIND: ::kevy_rt::ArgKind = ::kevy_rt::ArgKind::OneOf(&[#(#infos),*]);

            #[inline]
            fn take(
                cursor: &mut ::kevy_rt::Cursor<'a>,
            ) -> ::core::result::Result<Self, #wire::Refusal> {
                let which = cursor.peek().and_then(<Self as ::kevy_rt::OneOf<'a, #wire>>::find);
                let ::core::option::Option::Some(which) = which else { #syntax };
                cursor.skip();
                <Self as ::kevy_rt::OneOf<'a, #wire>>::take_behind(which, cursor)
            }
        }

        #[automatically_derived]
        #[allow(unused_variables)]
        impl<'a, #wire: ::kevy_rt::Wire> ::kevy_rt::OneOf<'a, #wire> for #name #lifetime
        where
            #bounds
        {
            #[inline]
            fn find(
                word: &[::core::primitive::u8],
            ) -> ::core::option::Option<::core::primitive::usize> {
                #(#find)*
                ::core::option::Option::None
            }

            #[inline]
            fn take_behind(
                which: ::core::primitive::usize,
                cursor: &mut ::kevy_rt::Cursor<'a>,
            ) -> ::core::result::Result<Self, #wire::Refusal> {
                match which {
                    #(#cases)*
                    _ => { #syntax }
                }
            }
        }
    }
}

/// What is told of a variant: of its value, if it has one.
fn variant_info(variant: &Variant) -> TokenStream {
    let (name, args, wire) = (&variant.name, &variant.fields.args, wire());
    let word = variant.word.value().to_uppercase();
    if args.is_empty() {
        return quote!(::kevy_rt::ArgInfo::token(#name, #word));
    }
    let of = match args.as_slice() {
        [only] if variant.fields.names[0].is_none() => info(only, &wire),
        _ => {
            let infos = infos(args);
            quote! {
                ::kevy_rt::ArgInfo::needed(#name, ::kevy_rt::ArgKind::Block(&[#(#infos),*]))
            }
        }
    };
    quote! {
        ::kevy_rt::ArgInfo {
            name: #name,
            token: ::core::option::Option::Some(#word),
            ..#of
        }
    }
}
