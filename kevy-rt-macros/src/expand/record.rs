//! A command's record: what is known of it, and which functions run it.

use std::ops::Range;

use proc_macro2::TokenStream;
use quote::quote;

use super::Writer;
use super::arguments::{Count, info};
use crate::argument::Argument;
use crate::attr::{Gather, Keys, Last, Number, Route, TxKeys};

impl Writer<'_> {
    /// One record per name.
    pub(super) fn records(&self) -> TokenStream {
        let Some(route) = self.command.route() else { return TokenStream::new() };
        let command = self.command;
        let aliases = command.attr.aliases.iter().map(|alias| alias.value().to_uppercase());
        let names = std::iter::once(command.name.clone()).chain(aliases);
        let (cfgs, set, doc) = (&command.cfgs, &self.set.name, &command.doc);
        let (min, max) = self.arity(route);
        let arguments = self.arguments(route);
        let (route, run) = (self.route(route), self.run(route));
        let (write, barrier) = (command.attr.write.is_some(), command.attr.barrier);
        let wake = match command.attr.wake.and_then(|wake| u16::try_from(wake.value).ok()) {
            Some(wake) => quote!(::core::option::Option::Some(#wake)),
            None => quote!(::core::option::Option::None),
        };
        let queueing = match &command.attr.queued {
            None => quote!(Queued),
            Some(word) if word == "at_once" => quote!(AtOnce),
            Some(_) => quote!(Never),
        };
        let flags = &command.attr.flags;
        let meta = command.attr.meta.iter().map(|(key, text)| quote!((#key, #text)));
        let meta: Vec<TokenStream> = meta.collect();
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
                            queueing: ::kevy_rt::Queueing::#queueing,
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

    /// What is told of the arguments. Those of a key come once for each of the keys.
    fn arguments(&self, route: &Route) -> Vec<TokenStream> {
        let args = &self.command.args;
        let told = |range: Range<usize>| args[range].iter().map(|arg| self.argument_info(arg));
        let (Route::Keys(keys) | Route::Queue(_, Some(keys))) = route else {
            return told(0..args.len()).collect();
        };
        let split = self.command.split(keys);
        let names: Vec<&str> =
            args[split.per_key.clone()].iter().map(|arg| arg.name.as_str()).collect();
        let each: Vec<TokenStream> = told(split.per_key.clone()).collect();
        let all = match &each[..] {
            [] => None,
            [one] => Some(quote!(::kevy_rt::ArgInfo { is_multiple: true, ..#one })),
            several => {
                let name = names.join("_");
                Some(quote! {
                    ::kevy_rt::ArgInfo {
                        is_multiple: true,
                        ..::kevy_rt::ArgInfo::needed(
                            #name,
                            ::kevy_rt::ArgKind::Block(&[#(#several),*]),
                        )
                    }
                })
            }
        };
        told(split.before).chain(all).chain(told(split.after)).collect()
    }

    fn argument_info(&self, arg: &Argument) -> TokenStream {
        let info = info(arg, self.wire());
        quote!({ const fn info<'a>() -> ::kevy_rt::ArgInfo { #info } info() })
    }

    /// Fewest and most arguments of a request.
    fn arity(&self, route: &Route) -> (TokenStream, TokenStream) {
        let command = self.command;
        let many = quote!(::kevy_rt::MANY);
        let (Route::Keys(keys) | Route::Queue(_, Some(keys))) = route else {
            let min = self.count(Count::Fewest, command.words(), &command.args);
            return (min, self.count(Count::Most, command.words(), &command.args));
        };
        let after = &command.args[command.split(keys).after];
        let one_key = keys.first.value as usize + keys.step.value as usize;
        match keys.last {
            Last::Counted(_) => (self.count(Count::Fewest, one_key, after), many),
            Last::At(last) if last.value < 0 => {
                // What is left behind the last key has its place even if no parameter takes it.
                let behind = (-1 - isize::from(last.value)) as usize;
                (quote!(#one_key + #behind), many)
            }
            Last::At(last) => {
                let all_keys = last.value as usize + 1;
                let min = match after.is_empty() {
                    true => quote!(#one_key),
                    false => self.count(Count::Fewest, all_keys, after),
                };
                (min, self.count(Count::Most, all_keys, after))
            }
        }
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
            Route::Tx(keys) => {
                let specs = keys.iter().map(|spec| match spec {
                    TxKeys::At(Number { value, .. }) => {
                        let position = *value as u16;
                        quote!(::kevy_rt::KeySpec::At(#position))
                    }
                    TxKeys::Range(keys) => {
                        let range = key_range(keys);
                        quote!(::kevy_rt::KeySpec::Range(#range))
                    }
                    TxKeys::Found(path) => quote!(::kevy_rt::KeySpec::Found(#path)),
                });
                quote!(::kevy_rt::Route::Tx(&[#(#specs),*]))
            }
            Route::Queue(_, Some(keys)) => {
                let range = key_range(keys);
                quote!(::kevy_rt::Route::Keys(#range))
            }
            Route::Queue(_, None) => quote!(::kevy_rt::Route::Local),
        }
    }

    fn run(&self, route: &Route) -> TokenStream {
        let (answer, wire) = (self.function("answer"), self.wire());
        let start = self.function("start");
        let gather = match (route, &self.command.attr.gather) {
            (Route::Tx(_), _) => return quote!(::kevy_rt::Run::Tx(#start::<AnyStore>)),
            (Route::Queue(verb, _), _) => {
                let verb = match verb.to_string().as_str() {
                    "open" => quote!(Open),
                    "run" => quote!(Run),
                    "drop" => quote!(Drop),
                    "watch" => quote!(Watch),
                    _ => quote!(Unwatch),
                };
                return quote!(::kevy_rt::Run::Queue(::kevy_rt::QueueVerb::#verb));
            }
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
}

pub(super) fn key_range(keys: &Keys) -> TokenStream {
    let (first, step) = (keys.first.value as u16, keys.step.value as u16);
    match keys.last {
        Last::At(last) => {
            let last = last.value;
            quote!(::kevy_rt::KeyRange::spread(#first, #last, #step))
        }
        Last::Counted(count) => {
            let count_at = count.value as u16;
            quote!(::kevy_rt::KeyRange::counted(#count_at))
        }
    }
}
