//! A command's record: what is known of it, and which functions run it.

use proc_macro2::TokenStream;
use quote::quote;

use super::Writer;
use super::types::as_written;
use crate::ast::Argument;
use crate::attr::{Gather, Keys, Number, Route, TxKeys};

impl Writer<'_> {
    /// One record per name.
    pub(super) fn records(&self) -> TokenStream {
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
        let queueing = match &command.attr.queued {
            None => quote!(Queued),
            Some(word) if word == "at_once" => quote!(AtOnce),
            Some(_) => quote!(Never),
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

    /// Fewest and most arguments of a request.
    fn arity(&self, route: &Route) -> (TokenStream, TokenStream) {
        let command = self.command;
        let many = quote!(::kevy_rt::MANY);
        let has_options = command.options().next().is_some();
        let (Route::Keys(keys) | Route::Queue(_, Some(keys))) = route else {
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
            Route::Tx(TxKeys::At(positions)) => {
                let positions = positions.iter().map(|position| position.value as u16);
                quote!(::kevy_rt::Route::Tx(::kevy_rt::TxKeys::At(&[#(#positions),*])))
            }
            Route::Tx(TxKeys::Range(keys)) => {
                let range = key_range(keys);
                quote!(::kevy_rt::Route::Tx(::kevy_rt::TxKeys::Range(#range)))
            }
            Route::Tx(TxKeys::Found(path)) => {
                quote!(::kevy_rt::Route::Tx(::kevy_rt::TxKeys::Found(#path)))
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
    let (first, last) = (keys.first.value as u16, keys.last.value);
    let step = keys.step.value as u16;
    quote!(::kevy_rt::KeyRange { first: #first, last: #last, step: #step })
}

fn argument_info(arg: &Argument) -> TokenStream {
    let (name, kind) = (&arg.name, as_written(&arg.ty));
    let token = match &arg.token {
        Some(token) => quote!(::core::option::Option::Some(#token)),
        None => quote!(::core::option::Option::None),
    };
    quote!(::kevy_rt::ArgInfo { name: #name, kind: #kind, token: #token })
}
