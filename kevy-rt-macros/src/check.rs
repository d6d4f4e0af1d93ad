//! Mistakes that the syntax shows. Those that only types show are bounds in the generated code.
//!
//! Every check says what to write instead.

use std::collections::HashMap;

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{FnArg, GenericParam, Lifetime, Type, TypeImplTrait, TypeReference};

use crate::argument::{Argument, Often, last_bound, last_word};
use crate::ast::{Command, Role, Set, is_mut};
use crate::attr::{Gather, Keys, Last, Number, Route, TxKeys};
use crate::errors::Errors;

/// The longest verb: the command table tells longer ones apart no more.
const VERB_BYTES: usize = 32;

/// Finds all mistakes of a block.
pub(crate) fn check(set: &Set, errors: &mut Errors) {
    names(set, errors);
    for command in &set.commands {
        signature(command, errors);
        let Some((route, span)) = &command.attr.route else {
            if !command.attr.has_route {
                let advice = "say where it runs: `route = local`, `session`, `single(I)`, \
                              `keys(A..)`, `numkeys(I)`, `tx(A, B)`, `all` or `at(path)`";
                errors.at(command.signature.ident.span(), advice);
            }
            continue;
        };
        leading(set, command, route, *span, errors);
        arguments(command, errors);
        keys(command, route, errors);
        wake(command, errors);
        gather(command, route, *span, errors);
        if let (Some(loose), false) = (command.attr.loose, matches!(route, Route::All)) {
            errors.at(loose, "only `route = all` may be `loose`: its shards need no common moment");
        }
    }
}

/// Verbs that the table takes, each once.
fn names(set: &Set, errors: &mut Errors) {
    let mut seen = HashMap::new();
    for command in &set.commands {
        let function = command.signature.ident.to_string();
        let aliases = command.attr.aliases.iter().map(|a| (a.value().to_uppercase(), a.span()));
        for (name, span) in [(command.name.clone(), command.name_span)].into_iter().chain(aliases) {
            let words: Vec<&str> = name.split(' ').collect();
            if words.len() > 2 || words.contains(&"") {
                let advice = "a command's name is one word, or two with one blank between them";
                errors.at(span, advice);
            } else if let Some(bad) = name.chars().find(|&c| !belongs_in_name(c)) {
                let advice =
                    format!("`{bad}` can't be in a verb: take letters, digits and `. _ : -`");
                errors.at(span, advice);
            } else if words[0].len() > VERB_BYTES {
                let advice = format!(
                    "the verb `{}` has {} bytes and may have {VERB_BYTES}: \
                     shorten it with `name = \"...\"`",
                    words[0],
                    words[0].len()
                );
                errors.at(span, advice);
            }
            if let Some(other) = seen.insert(name.clone(), function.clone()) {
                let advice = format!(
                    "the command `{name}` is declared by `{other}` already: \
                     rename one with `name = \"...\"`"
                );
                errors.at(span, advice);
            }
        }
    }
}

fn belongs_in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._:- ".contains(c)
}

/// A plain function of owned and borrowed parameters.
fn signature(command: &Command, errors: &mut Errors) {
    let (signature, name) = (&command.signature, &command.signature.ident);
    for input in &signature.inputs {
        if let FnArg::Receiver(receiver) = input {
            let advice = "a handler takes its store as a parameter: `store: &Store`, not `self`";
            errors.on(receiver, advice);
        }
    }
    let tx = command.tx_type();
    match (&signature.asyncness, command.is_tx()) {
        (Some(keyword), false) => errors.on(
            keyword,
            format!("only a handler of route `tx(..)` may wait: drop `async` from `{name}`"),
        ),
        (None, true) => errors.at(
            name.span(),
            format!("`{name}` awaits its hops: write `async fn {name}(tx: &{tx}<..>, ..)`"),
        ),
        _ => {}
    }
    if let Some(keyword) = &signature.unsafety {
        errors.on(keyword, "a handler is called with what a client sends: it can't be `unsafe`");
    }
    for param in &signature.generics.params {
        if !matches!(param, GenericParam::Lifetime(_)) {
            errors
                .on(param, format!("`{name}` is called through a function pointer: name the type"));
        }
    }
}

/// What comes before the arguments: session, store, context; and the reply.
fn leading(set: &Set, command: &Command, route: &Route, span: Span, errors: &mut Errors) {
    let name = &command.signature.ident;
    let store = last_word(&set.attr.store).map_or("Store".to_owned(), ToString::to_string);
    let first = |errors: &mut Errors, advice: String| match command.params.first() {
        Some(param) => errors.on(&param.ty, advice),
        None => errors.at(name.span(), advice),
    };

    if matches!(route, Route::Session) {
        match (&set.attr.session, command.param(Role::Session)) {
            (None, _) => errors.at(
                span,
                format!(
                    "`{name}` may change the session: say of which type it is, \
                     `#[commands(.., session = Type)]`"
                ),
            ),
            (Some(session), param) if !param.is_some_and(|param| is_mut(&param.ty)) => {
                let session = last_word(session).map_or("Session".into(), ToString::to_string);
                first(errors, format!("a `session` route takes `session: &mut {session}` first"));
            }
            _ => {}
        }
    }
    if command.needs_store() && command.param(Role::Store).is_none() {
        let how = if command.attr.write.is_some() { "&mut " } else { "&" };
        first(errors, format!("`{name}` runs on a store: it takes `store: {how}{store}` first"));
    }
    match (command.attr.write, command.param(Role::Store), command.store_is_mut()) {
        (Some(write), ..) if matches!(route, Route::Local) => {
            errors.at(write, "a `local` route may read the store only: name the keys it changes");
        }
        (Some(_), Some(param), Some(false)) => errors.on(
            &param.ty,
            format!(
                "`{name}` says `write` and can't: take `&mut {store}`, or drop `write` \
                 from its attribute"
            ),
        ),
        (_, Some(param), Some(true)) if matches!(route, Route::Local) => errors.on(
            &param.ty,
            format!("a `local` route may read the store only: take `&{store}`, or name its keys"),
        ),
        (None, Some(param), Some(true)) => errors.on(
            &param.ty,
            format!(
                "`{name}` takes `&mut {store}` but doesn't say `write`: add `write` to its \
                 attribute, or take `&{store}`"
            ),
        ),
        (Some(write), None, _) if !command.needs_store() && !command.is_tx() => {
            errors.at(write, format!("`{name}` takes no store, so there is nothing to write"));
        }
        _ => {}
    }
    if command.is_tx() && last_bound(&set.attr.store).is_some() {
        let advice = format!(
            "the hops of `{name}` run on a store whose type they name: \
             say `store = Type` rather than `impl {store}`"
        );
        errors.at(span, advice);
    }
    let tx = command.tx_type();
    match (command.param(Role::Tx), command.tx_may_write()) {
        (Some(param), Some(false)) if command.attr.write.is_some() => errors.on(
            &param.ty,
            format!(
                "`{name}` says `write` and can't: take `&Tx<{store}>`, or drop `write` from its \
                 attribute"
            ),
        ),
        (Some(param), Some(true)) if command.attr.write.is_none() => errors.on(
            &param.ty,
            format!(
                "`{name}` takes `&Tx<{store}>` but doesn't say `write`: add `write` to its \
                 attribute, or take `&ReadTx<{store}>`"
            ),
        ),
        (None, _) if command.is_tx() => first(
            errors,
            format!(
                "`{name}` runs hops on the owners of its keys: it takes `tx: &{tx}<{store}>` first"
            ),
        ),
        _ => {}
    }
    if command.is_tx()
        && let Some(reply) = command.param(Role::Reply)
    {
        errors
            .on(&reply.ty, format!("a handler that waits returns its reply: `{name}` takes none"));
    }
    if command.params.iter().filter(|param| param.role == Role::Reply).count() > 1 {
        errors.at(name.span(), format!("`{name}` has one reply to write, and takes it twice"));
    }
    if let Some(reply) = command.param(Role::Reply) {
        if !is_mut(&reply.ty) {
            errors.on(&reply.ty, "a reply is written to: take `&mut Reply<'_, _>`");
        }
        if let Some(output) = command.output() {
            let advice = format!("`{name}` writes its reply itself, so it returns nothing");
            errors.on(output, advice);
        }
    }
}

/// What a request's arguments may be, in their order.
fn arguments(command: &Command, errors: &mut Errors) {
    for arg in &command.args {
        if let Type::Reference(_) = &arg.ty {
            reference(command, arg, errors);
        }
    }
    order(&command.args, errors);
}

/// What may be missing comes last, and what takes all that is left behind all else; each option has
/// a word of its own.
pub(crate) fn order(args: &[Argument], errors: &mut Errors) {
    let mut open: Option<&str> = None;
    let mut rest: Option<&str> = None;
    let mut words: HashMap<String, &str> = HashMap::new();
    for arg in args {
        if let Some(rest) = rest {
            let advice = format!("`{rest}` takes all that is left: nothing may follow it");
            errors.on(&arg.ty, advice);
        } else if let (Some(open), false, false) = (open, arg.is_option(), may_miss(&arg.ty)) {
            let advice = format!(
                "`{open}` may be missing, and then `{}` would be taken for it: \
                 put what may be missing last",
                arg.name
            );
            errors.on(&arg.ty, advice);
        }
        if let Some(token) = arg.token()
            && let Some(other) = words.insert(token.value().to_uppercase(), &arg.name)
        {
            let advice = format!("the word of `{other}` too: each option has its own");
            errors.on(token, advice);
        }
        match arg.often() {
            _ if arg.is("Rest") => rest = Some(&arg.name),
            Often::Optional if !arg.is_option() => open = Some(&arg.name),
            Often::Repeated if !arg.is_option() => rest = Some(&arg.name),
            Often::Needed if arg.is("bool") => {
                let advice = format!(
                    "`{}` is there or not: say by which word, `#[token(\"...\")]`",
                    arg.name
                );
                errors.on(&arg.ty, advice);
            }
            _ => {}
        }
    }
}

/// Whether an argument of this type may be missing, as far as its words tell.
fn may_miss(ty: &Type) -> bool {
    last_word(ty).is_some_and(|word| word == "Option" || word == "Rest")
}

/// References that belong before the arguments.
fn reference(command: &Command, arg: &Argument, errors: &mut Errors) {
    let Type::Reference(reference) = &arg.ty else { return };
    let name = &command.signature.ident;
    if last_word(&reference.elem).is_some_and(|word| word == "Cx") {
        errors.on(&arg.ty, format!("`{name}` takes its context before the arguments, and once"));
    } else if reference.mutability.is_some() {
        let advice = format!("`{name}` can't change a request: take `{}` without `mut`", arg.name);
        errors.on(&arg.ty, advice);
    }
}

/// Each position of the route is a key, and each key is at one.
fn keys(command: &Command, route: &Route, errors: &mut Errors) {
    let name = &command.signature.ident;
    let named = match route {
        Route::Single(position) => Some(*position),
        Route::Keys(keys) => {
            if let Last::Counted(count) = keys.last
                && !counted(command, count, &[], errors)
            {
                return;
            }
            distances(keys, errors);
            behind(command, keys, errors);
            Some(keys.first)
        }
        _ => None,
    };
    if let Route::Tx(keys) = route {
        return listed_keys(command, keys, errors);
    }
    if let Route::Queue(..) = route {
        return;
    }
    if let Some(position) = named
        && !is_in_request(command, position, errors)
    {
        return;
    }
    for (index, arg) in command.args.iter().enumerate() {
        let position = index + command.words();
        let covered = named.is_some_and(|named| i64::from(named.value) == position as i64);
        if !arg.mentions_key() || (covered && !arg.is_option()) {
            continue;
        }
        let advice = match route {
            Route::Single(_) => "the route names one key; take this as `&[u8]` if it is none",
            Route::Keys(_) => {
                "the route names the first argument of each group; `step` says how many a group has"
            }
            _ => "this route has no key; write `route = single(I)` or `keys(A..)`",
        };
        errors.on(
            &arg.ty,
            format!(
                "no route of `{name}` covers the key `{}` (argument {position}): {advice}",
                arg.name
            ),
        );
    }
}

/// Whether the keys that argument `count` numbers follow it.
fn counted(command: &Command, count: Number, listed: &[i16], errors: &mut Errors) -> bool {
    let name = &command.signature.ident;
    let first = count.value.saturating_add(1);
    let keys = command.positional().iter().zip(command.words()..);
    let mut keys = keys.filter(|(arg, at)| arg.mentions_key() && !listed.contains(&(*at as i16)));
    match keys.next() {
        Some((_, at)) if at as i16 == first => true,
        Some((key, at)) if at as i16 <= count.value => {
            let advice = format!(
                "keys follow their number, but the key `{}` (argument {at}) doesn't come behind \
                 argument {}: put the number first, `fn {name}(.., numkeys: u64, {}: ..)`",
                key.name, count.value, key.name
            );
            errors.on(&key.ty, advice);
            false
        }
        _ if !is_in_request(command, count, errors) => false,
        _ => {
            let advice = format!(
                "argument {} is the number of the keys, so argument {first} is the first of them: \
                 take `Key<'_>` there, or `Keys<'_>` in a transaction",
                count.value
            );
            errors.at(count.span, advice);
            false
        }
    }
}

/// Each position of a list is there, in rising order, and each key is listed.
fn listed_keys(command: &Command, keys: &[TxKeys], errors: &mut Errors) {
    let name = &command.signature.ident;
    let listed = keys.iter().filter_map(|spec| match spec {
        TxKeys::At(position) => Some(position.value),
        _ => None,
    });
    let listed: Vec<i16> = listed.collect();
    let mut before: Option<i16> = None;
    // From here on arguments are keys, or may be.
    let mut open: Option<i16> = None;
    for spec in keys {
        let first = match spec {
            TxKeys::At(position) => *position,
            TxKeys::Range(keys) => keys.first,
            TxKeys::Found(_) => {
                open = Some(0);
                continue;
            }
        };
        if open.is_some() {
            let advice = "several keys come last in a list: what follows them has no position";
            errors.at(first.span, advice);
        } else if before.is_some_and(|before| before >= first.value) {
            errors.at(first.span, "positions of keys rise from left to right");
        }
        before = Some(first.value);
        match spec {
            TxKeys::Range(Keys { last: Last::Counted(count), .. }) => {
                if !counted(command, *count, &listed, errors) {
                    return;
                }
                open = Some(first.value);
            }
            TxKeys::Range(keys) => {
                distances(keys, errors);
                is_in_request(command, first, errors);
                open = Some(first.value);
            }
            _ => {
                is_in_request(command, first, errors);
            }
        }
    }
    for (index, arg) in command.args.iter().enumerate() {
        let at = (index + command.words()) as i16;
        let is_listed = listed.contains(&at) || open.is_some_and(|open| open <= at);
        if arg.mentions_key() && !is_listed {
            let advice = format!(
                "no route of `{name}` covers the key `{}` (argument {at}): list it, `tx(.., {at})`",
                arg.name
            );
            errors.on(&arg.ty, advice);
        }
    }
}

/// Whether there is a positional argument at `position`.
fn is_in_request(command: &Command, position: Number, errors: &mut Errors) -> bool {
    if command.at(position.value).is_some() {
        return true;
    }
    let (name, first) = (&command.signature.ident, command.words());
    let count = command.positional().len();
    let takes = match count {
        0 => "takes none".to_owned(),
        1 => format!("takes one, {first}"),
        _ => format!("takes {first} to {}", first + count - 1),
    };
    let advice = format!(
        "the route names argument {}, but `{name}` {takes} (the verb is 0)",
        position.value
    );
    errors.at(position.span, advice);
    false
}

fn distances(keys: &Keys, errors: &mut Errors) {
    let Last::At(last) = keys.last else { return };
    if last.value == 0 {
        errors.at(last.span, "the verb, which is 0, is no key");
        return;
    }
    if keys.step.value < 1 {
        errors.at(keys.step.span, "the next key is at least one argument further: `step 1`");
    }
    if last.value >= 0 && last.value < keys.first.value {
        errors.at(
            last.span,
            "the last key comes before the first: count from the verb, which is 0, or from the \
             end, where -1 is the last argument",
        );
    } else if last.value >= 0
        && keys.step.value > 0
        && (last.value - keys.first.value + 1) % keys.step.value != 0
    {
        let advice = format!(
            "from {} to {} is no whole number of steps of {}",
            keys.first.value, last.value, keys.step.value
        );
        errors.at(last.span, advice);
    }
}

/// What comes behind the keys needs room there.
fn behind(command: &Command, keys: &Keys, errors: &mut Errors) {
    if !keys.take_all() {
        return;
    }
    if let Some(arg) = command.args.iter().find(|arg| arg.is_option()) {
        let advice = format!(
            "the keys take all arguments, so `{}` can't follow: say where the keys end, \
             `keys({}..=-2)`, or by a number before them, `numkeys(I)`",
            arg.name, keys.first.value
        );
        match arg.token() {
            Some(token) => errors.on(token, advice),
            None => errors.on(&arg.ty, advice),
        }
    }
}

/// `wake` is for writes, and names a key of the route.
fn wake(command: &Command, errors: &mut Errors) {
    let Some(wake) = command.attr.wake else { return };
    let name = &command.signature.ident;
    if command.attr.write.is_none() {
        let advice = format!("`{name}` doesn't write, so it makes no key ready: drop `wake`");
        errors.at(wake.span, advice);
    }
    let key = match command.route() {
        Some(Route::Single(position)) => Some(position.value),
        Some(Route::Keys(keys)) => Some(keys.first.value),
        _ => None,
    };
    if key != Some(wake.value) {
        let advice = match key {
            Some(key) => format!("argument {} is no key of the route: `wake = {key}`", wake.value),
            None => "a route without keys makes none ready: drop `wake`".to_owned(),
        };
        errors.at(wake.span, advice);
    }
}

/// Several shards answer, or one does.
fn gather(command: &Command, route: &Route, span: Span, errors: &mut Errors) {
    let name = &command.signature.ident;
    let gathers = matches!(route, Route::Keys(_) | Route::All);
    let (gather, gather_span) = match (&command.attr.gather, gathers) {
        (None, false) => return,
        (Some((_, span)), false) => {
            errors.at(*span, format!("one shard answers `{name}`: drop `gather`"));
            return;
        }
        (None, true) => {
            let replies =
                if matches!(route, Route::Keys(_)) { "in_order" } else { "first, concat" };
            let advice = format!(
                "several shards answer `{name}`: say how their parts become one reply, \
                 `gather =` one of sum, min, max, all_ok, {replies} or a function's path"
            );
            errors.at(span, advice);
            return;
        }
        (Some((gather, span)), true) => (gather, *span),
    };
    match (gather, route) {
        (Gather::InOrder, Route::All) => errors.at(
            gather_span,
            "`in_order` is the order of keys, and `all` has none: `concat` lists what all answer",
        ),
        (Gather::Value(_) | Gather::Concat, _) => {
            if let Some(reply) = command.param(Role::Reply) {
                let advice = format!(
                    "this `gather` wants what `{name}` returns: return it, or gather replies"
                );
                errors.on(&reply.ty, advice);
            }
        }
        _ => {}
    }
    if let (Gather::Value(_), Some(output)) = (gather, command.output()) {
        value(command, output, errors);
    }
}

/// A value that travels between shards is owned, and its type has a name.
fn value(command: &Command, output: &Type, errors: &mut Errors) {
    #[derive(Default)]
    struct Find {
        borrowed: bool,
        unnamed: bool,
    }
    impl<'ast> Visit<'ast> for Find {
        fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
            self.borrowed |= reference.lifetime.as_ref().is_none_or(|name| name.ident != "static");
            syn::visit::visit_type_reference(self, reference);
        }
        fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
            self.borrowed |= lifetime.ident != "static";
        }
        fn visit_type_impl_trait(&mut self, _: &'ast TypeImplTrait) {
            self.unnamed = true;
        }
    }
    let mut find = Find::default();
    find.visit_type(output);
    let name = &command.signature.ident;
    if find.borrowed {
        errors.on(
            output,
            format!("`{name}` runs on several shards, and a value that travels is owned: return an owned value"),
        );
    }
    if find.unnamed {
        errors.at(output.span(), format!("what `{name}` returns travels: name its type"));
    }
}
