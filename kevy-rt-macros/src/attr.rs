//! The attributes of sets and commands as written: `#[commands(...)]`, `#[command(...)]`.
//!
//! Reading goes on behind a mistake, at the next comma.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Ident, LitInt, LitStr, Path, Result, Token, Type, parenthesized};

use crate::errors::{Errors, did_you_mean};

/// `#[commands(store = Type, wire = Type, session = Type)]`.
pub(crate) struct SetAttr {
    /// What the set works on.
    pub(crate) store: Type,
    /// What its handlers' arguments and replies are written in.
    pub(crate) wire: Type,
    /// What its commands of route `session` change.
    pub(crate) session: Option<Type>,
}

/// A number that says a position, with its place in the source.
#[derive(Clone, Copy)]
pub(crate) struct Number {
    pub(crate) value: i16,
    pub(crate) span: Span,
}

/// Where a command runs.
pub(crate) enum Route {
    Local,
    Session,
    Single(Number),
    Keys(Keys),
    All,
    At(Path),
    /// The keys of a transaction: a list.
    Tx(Vec<TxKeys>),
    Queue(Ident, Option<Keys>),
}

/// Some keys of `tx(..)`.
pub(crate) enum TxKeys {
    /// The one at this position.
    At(Number),
    Range(Keys),
    /// Where a function says.
    Found(Path),
}

/// `keys(first..=last step step)`, `numkeys(count)`.
#[derive(Clone, Copy)]
pub(crate) struct Keys {
    pub(crate) first: Number,
    pub(crate) last: Last,
    pub(crate) step: Number,
}

/// Where keys end.
#[derive(Clone, Copy)]
pub(crate) enum Last {
    /// -1, the last argument, if not written.
    At(Number),
    /// The argument at this position says how many there are.
    Counted(Number),
}

impl Keys {
    /// The keys that follow their number.
    fn counted(count: Number) -> Self {
        let first = Number { value: count.value.saturating_add(1), span: count.span };
        let step = Number { value: 1, span: count.span };
        Keys { first, last: Last::Counted(count), step }
    }

    /// Whether they take all arguments that are left.
    pub(crate) fn take_all(&self) -> bool {
        matches!(self.last, Last::At(Number { value: -1, .. }))
    }
}

/// How parts become one reply.
pub(crate) enum Gather {
    /// Encoded replies, key by key.
    InOrder,
    /// The first part's reply.
    First,
    /// All elements of all parts.
    Concat,
    /// One value per part, given to this function.
    Value(Path),
}

/// `#[command(...)]`.
#[derive(Default)]
pub(crate) struct CommandAttr {
    /// With its span. `None` also if it could not be read, which was then reported.
    pub(crate) route: Option<(Route, Span)>,
    /// Whether there is one, readable or not.
    pub(crate) has_route: bool,
    pub(crate) loose: Option<Span>,
    pub(crate) write: Option<Span>,
    pub(crate) wake: Option<Number>,
    pub(crate) gather: Option<(Gather, Span)>,
    pub(crate) name: Option<LitStr>,
    pub(crate) aliases: Vec<LitStr>,
    pub(crate) barrier: bool,
    /// What becomes of it while requests are queued, if they aren't.
    pub(crate) queued: Option<Ident>,
    pub(crate) flags: Vec<String>,
    pub(crate) meta: Vec<(String, String)>,
}

const SET_WORDS: &[&str] = &["store", "wire", "session"];

const WORDS: &[&str] = &[
    "route",
    "write",
    "wake",
    "gather",
    "name",
    "aliases",
    "barrier",
    "queued",
    "loose",
    "flags",
    "since",
    "group",
    "complexity",
    "meta",
];

/// Words of `#[command]` that carry a text into the record's facts.
const FACTS: &[&str] = &["since", "group", "complexity"];

const ROUTES: &[&str] =
    &["local", "session", "single", "keys", "numkeys", "all", "at", "tx", "queue"];

/// Words for the keys of a transaction.
const TX_KEYS: &[&str] = &["numkeys", "found"];

/// What a verb does with queued requests.
const QUEUE_VERBS: &[&str] = &["open", "run", "drop", "watch", "unwatch"];

/// What becomes of a request that isn't queued with the others.
const QUEUED: &[&str] = &["at_once", "never"];

impl SetAttr {
    /// Types that are missing were reported and stand as `()`.
    pub(crate) fn read(attribute: TokenStream, errors: &mut Errors) -> Self {
        let (mut store, mut wire, mut session) = (None, None, None);
        items(attribute, errors, |word, input, _| {
            let slot = match word.to_string().as_str() {
                "store" => &mut store,
                "wire" => &mut wire,
                "session" => &mut session,
                other => {
                    let advice = did_you_mean(other, SET_WORDS);
                    let message = format!("`{other}` is not a word of `#[commands]`; {advice}");
                    return Err(syn::Error::new(word.span(), message));
                }
            };
            input.parse::<Token![=]>()?;
            *slot = Some(input.parse::<Type>()?);
            Ok(())
        });
        let mut needed = |slot: Option<Type>, word: &str| {
            slot.unwrap_or_else(|| {
                let advice = format!("say which {word} this set is for: `{word} = Type`");
                errors.at(Span::call_site(), advice);
                syn::parse_quote!(())
            })
        };
        SetAttr { store: needed(store, "store"), wire: needed(wire, "wire"), session }
    }
}

impl CommandAttr {
    pub(crate) fn read(attribute: &syn::Attribute, errors: &mut Errors) -> Self {
        let mut command = CommandAttr::default();
        match &attribute.meta {
            syn::Meta::List(list) => items(list.tokens.clone(), errors, |word, input, errors| {
                command.item(word, input, errors)
            }),
            // Without a route: `check` says so.
            syn::Meta::Path(_) => {}
            syn::Meta::NameValue(_) => {
                command.has_route = true;
                errors.on(attribute, "write `#[command(route = ..)]`");
            }
        }
        command
    }

    fn item(&mut self, word: &Ident, input: ParseStream<'_>, errors: &mut Errors) -> Result<()> {
        let name = word.to_string();
        match name.as_str() {
            "write" => self.write = Some(word.span()),
            "barrier" => self.barrier = true,
            "queued" => {
                input.parse::<Token![=]>()?;
                self.queued = Some(one_of(input, QUEUED, "a way to be queued")?);
            }
            "loose" => self.loose = Some(word.span()),
            "route" => {
                self.has_route = true;
                input.parse::<Token![=]>()?;
                let span = input.span();
                self.route = Some((route(input)?, span));
            }
            "wake" => {
                input.parse::<Token![=]>()?;
                self.wake = Some(number(input)?);
            }
            "gather" => {
                input.parse::<Token![=]>()?;
                let span = input.span();
                self.gather = Some((gather(input)?, span));
            }
            "name" => {
                input.parse::<Token![=]>()?;
                self.name = Some(input.parse()?);
            }
            "aliases" => self.aliases.extend(list(input, |input| input.parse::<LitStr>())?),
            "flags" => self.flags.extend(list(input, flag)?),
            "meta" => self.meta.extend(list(input, fact)?),
            fact if FACTS.contains(&fact) => {
                input.parse::<Token![=]>()?;
                self.meta.push((name, input.parse::<LitStr>()?.value()));
            }
            other => {
                let advice = did_you_mean(other, WORDS);
                errors
                    .at(word.span(), format!("`{other}` is not a word of `#[command]`; {advice}"));
                skip_item(input);
            }
        }
        Ok(())
    }
}

/// Reads `word ...` between commas; what `item` can't read is reported and passed over.
pub(crate) fn items(
    tokens: TokenStream,
    errors: &mut Errors,
    mut item: impl FnMut(&Ident, ParseStream<'_>, &mut Errors) -> Result<()>,
) {
    let read = |input: ParseStream<'_>| {
        while !input.is_empty() {
            let read = Ident::parse_any(input).and_then(|word| item(&word, input, errors));
            let read = read.and_then(|()| match input.is_empty() || input.peek(Token![,]) {
                true => Ok(()),
                false => Err(input.error("a comma belongs here")),
            });
            if let Err(error) = read {
                errors.push(error);
                skip_item(input);
            }
            if input.peek(Token![,]) {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    };
    // Whatever goes wrong within was reported already.
    let _ = Parser::parse2(read, tokens);
}

/// Passes over everything up to the next comma.
fn skip_item(input: ParseStream<'_>) {
    while !input.is_empty() && !input.peek(Token![,]) {
        let _ = input.parse::<TokenTree>();
    }
}

fn list<T>(input: ParseStream<'_>, item: fn(ParseStream<'_>) -> Result<T>) -> Result<Vec<T>> {
    let content;
    parenthesized!(content in input);
    Ok(content.parse_terminated(item, Token![,])?.into_iter().collect())
}

/// `readonly` or `"no-auth"`.
fn flag(input: ParseStream<'_>) -> Result<String> {
    if input.peek(LitStr) {
        return Ok(input.parse::<LitStr>()?.value());
    }
    Ok(Ident::parse_any(input)?.unraw().to_string())
}

/// `key = "text"`.
fn fact(input: ParseStream<'_>) -> Result<(String, String)> {
    let key = flag(input)?;
    input.parse::<Token![=]>()?;
    Ok((key, input.parse::<LitStr>()?.value()))
}

fn number(input: ParseStream<'_>) -> Result<Number> {
    let minus = input.parse::<Option<Token![-]>>()?;
    let literal: LitInt = input.parse()?;
    let value: i16 = literal.base10_parse()?;
    let value = if minus.is_some() { -value } else { value };
    Ok(Number { value, span: literal.span() })
}

fn route(input: ParseStream<'_>) -> Result<Route> {
    let word = Ident::parse_any(input)?;
    Ok(match word.to_string().as_str() {
        "local" => Route::Local,
        "session" => Route::Session,
        "all" => Route::All,
        "single" => {
            let content;
            parenthesized!(content in input);
            let route = Route::Single(number(&content)?);
            ended(&content, "one position")?;
            route
        }
        "keys" => Route::Keys(keys(input)?),
        "numkeys" => Route::Keys(counted(input)?),
        "found" => {
            skip_item(input);
            return Err(syn::Error::new(
                word.span(),
                "keys that a function finds are a transaction's: `route = tx(found(path))`, and an \
                 `async fn`",
            ));
        }
        "at" => {
            let content;
            parenthesized!(content in input);
            let route = Route::At(content.parse()?);
            ended(&content, "the path of one function")?;
            route
        }
        "tx" => {
            let content;
            parenthesized!(content in input);
            Route::Tx(content.parse_terminated(tx_keys, Token![,])?.into_iter().collect())
        }
        "queue" => {
            let content;
            parenthesized!(content in input);
            let verb = one_of(&content, QUEUE_VERBS, "something to do with queued requests")?;
            let keys = if verb == "watch" { Some(keys(&content)?) } else { None };
            ended(&content, "one verb")?;
            Route::Queue(verb, keys)
        }
        other => {
            let advice = did_you_mean(other, ROUTES);
            skip_item(input);
            return Err(syn::Error::new(
                word.span(),
                format!("`{other}` is not a route; {advice}"),
            ));
        }
    })
}

/// One of some words.
fn one_of(input: ParseStream<'_>, words: &[&str], what: &str) -> Result<Ident> {
    let word: Ident = Ident::parse_any(input)?;
    if words.iter().any(|known| word == known) {
        return Ok(word);
    }
    let advice = did_you_mean(&word.to_string(), words);
    Err(syn::Error::new(word.span(), format!("`{word}` is not {what}; {advice}")))
}

/// `1` or `1.. step 2` or `numkeys(1)` or `found(path)`.
fn tx_keys(content: ParseStream<'_>) -> Result<TxKeys> {
    if content.peek(Ident) {
        let word = one_of(&content.fork(), TX_KEYS, "a way to say which arguments are keys")?;
        content.parse::<Ident>()?;
        if word == "numkeys" {
            return Ok(TxKeys::Range(counted(content)?));
        }
        let path;
        parenthesized!(path in content);
        let found = TxKeys::Found(path.parse()?);
        ended(&path, "the path of one function")?;
        return Ok(found);
    }
    if content.peek2(Token![..]) {
        let span = content.span();
        return Ok(TxKeys::Range(key_range(content, span)?));
    }
    number(content).map(TxKeys::At)
}

/// `(I)`: the keys behind argument `I`, which says how many they are.
fn counted(input: ParseStream<'_>) -> Result<Keys> {
    let content;
    parenthesized!(content in input);
    let keys = Keys::counted(number(&content)?);
    ended(&content, "the position of the keys' number")?;
    Ok(keys)
}

/// `(first..=last step n)`, the step within or behind the parentheses.
fn keys(input: ParseStream<'_>) -> Result<Keys> {
    let content;
    let parens = parenthesized!(content in input).span.join();
    let mut keys = key_range(&content, parens)?;
    if let Some(step) = step(input)? {
        keys.step = step;
    }
    ended(&content, "`first..`, `first..=last` and perhaps `step n`")?;
    Ok(keys)
}

/// `first..=last step n`
fn key_range(content: ParseStream<'_>, span: Span) -> Result<Keys> {
    let first = number(content)?;
    let last = if content.peek(Token![..=]) {
        content.parse::<Token![..=]>()?;
        number(content)?
    } else {
        content.parse::<Token![..]>()?;
        if content.peek(LitInt) {
            return Err(content.error("write `..=` before the position of the last key"));
        }
        Number { value: -1, span: first.span }
    };
    let step = step(content)?;
    let step = step.unwrap_or(Number { value: 1, span });
    Ok(Keys { first, last: Last::At(last), step })
}

fn step(input: ParseStream<'_>) -> Result<Option<Number>> {
    if !input.peek(Ident) {
        return Ok(None);
    }
    let word: Ident = input.parse()?;
    if word != "step" {
        return Err(syn::Error::new(word.span(), "`step n` or nothing belongs here"));
    }
    number(input).map(Some)
}

fn ended(content: ParseStream<'_>, what: &str) -> Result<()> {
    match content.is_empty() {
        true => Ok(()),
        false => Err(content.error(format!("only {what} belongs here"))),
    }
}

fn gather(input: ParseStream<'_>) -> Result<Gather> {
    let path = Path::parse_mod_style(input)?;
    let word = path.get_ident().map(ToString::to_string);
    Ok(match word.as_deref() {
        Some("in_order") => Gather::InOrder,
        Some("first") => Gather::First,
        Some("concat") => Gather::Concat,
        Some("sum" | "min" | "max" | "all_ok") => {
            // The name keeps its place in the source, so that a type it can't fold is marked here.
            Gather::Value(syn::parse_quote!(::kevy_rt::gather::#path))
        }
        _ => Gather::Value(path),
    })
}
