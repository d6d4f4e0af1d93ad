//! An argument as declared: a parameter of a handler, or a field of a type that derives `Arg`.

use proc_macro2::Span;
use syn::parse::ParseStream;
use syn::visit::Visit;
use syn::{
    Attribute, GenericArgument, Ident, LitStr, Path, PathArguments, Result, Token, Type,
    TypeParamBound,
};

use crate::attr::items;
use crate::errors::{Errors, did_you_mean};

/// One argument.
pub(crate) struct Argument {
    /// In the documentation.
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) place: Place,
    /// What is said of one that isn't what it has to be.
    pub(crate) error: Option<LitStr>,
    /// What it is, if its type doesn't tell.
    pub(crate) kind: Option<Ident>,
}

/// Where an argument is in a request.
pub(crate) enum Place {
    /// Where it stands.
    Own,
    /// Behind this word, among options in any order.
    Behind(LitStr),
    /// The same, behind one of the words that its type has.
    OneOf,
}

/// How often an option may be said.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Often {
    /// A word without a value: it is there or not.
    Word,
    /// Or not at all.
    Optional,
    /// As often as one likes.
    Repeated,
    /// It has to be said.
    Needed,
}

/// What attributes say of an argument.
#[derive(Default)]
pub(crate) struct Marks {
    token: Option<LitStr>,
    one_of: Option<Span>,
    name: Option<LitStr>,
    error: Option<LitStr>,
    kind: Option<Ident>,
}

const WORDS: &[&str] = &["error", "kind", "name"];

/// What `kind = ..` may say, and the variant of `ArgKind` that it means.
const KINDS: &[(&str, &str)] = &[
    ("text", "Text"),
    ("pattern", "Pattern"),
    ("integer", "Integer"),
    ("float", "Float"),
    ("unix_time", "UnixTime"),
];

impl Marks {
    /// Takes `#[token("..")]`, `#[one_of]` and `#[arg(..)]` out of the attributes.
    pub(crate) fn take(attributes: &mut Vec<Attribute>, errors: &mut Errors) -> Self {
        let mut marks = Marks::default();
        attributes.retain(|attribute| {
            let path = attribute.path();
            match () {
                () if path.is_ident("token") => marks.read_token(attribute, errors),
                () if path.is_ident("one_of") => {
                    if attribute.meta.require_path_only().is_err() {
                        errors.on(attribute, "the words are the type's: write `#[one_of]`");
                    }
                    marks.one_of = Some(path_span(path));
                }
                () if path.is_ident("arg") => marks.read_facts(attribute, errors),
                () => return true,
            }
            false
        });
        if let (Some(token), Some(_)) = (&marks.token, marks.one_of) {
            errors.on(token, "an option has its own word, or is one of several: say one of both");
        }
        marks
    }

    fn read_token(&mut self, attribute: &Attribute, errors: &mut Errors) {
        match attribute.parse_args::<LitStr>() {
            Ok(token) => {
                let word = token.value();
                if word.is_empty() || word.contains(|c: char| c.is_whitespace()) {
                    errors.on(&token, "an option's word is one word");
                }
                self.token = Some(token);
            }
            Err(_) => errors.on(attribute, "say the option's word: `#[token(\"WORD\")]`"),
        }
    }

    fn read_facts(&mut self, attribute: &Attribute, errors: &mut Errors) {
        let Ok(list) = attribute.meta.require_list() else {
            errors.on(attribute, "say something of it: `#[arg(error = \"...\")]`");
            return;
        };
        items(list.tokens.clone(), errors, |word, input, _| self.fact(word, input));
    }

    fn fact(&mut self, word: &Ident, input: ParseStream<'_>) -> Result<()> {
        let slot = match word.to_string().as_str() {
            "error" => &mut self.error,
            "name" => &mut self.name,
            "kind" => {
                input.parse::<Token![=]>()?;
                let kind: Ident = input.parse()?;
                let variant = KINDS.iter().find(|(known, _)| kind == known);
                let Some((_, variant)) = variant else {
                    let known: Vec<&str> = KINDS.iter().map(|(known, _)| *known).collect();
                    let advice = did_you_mean(&kind.to_string(), &known);
                    let message = format!("`{kind}` is no kind of argument; {advice}");
                    return Err(syn::Error::new(kind.span(), message));
                };
                self.kind = Some(Ident::new(variant, kind.span()));
                return Ok(());
            }
            other => {
                let advice = did_you_mean(other, WORDS);
                let message = format!("`{other}` is not a word of `#[arg]`; {advice}");
                return Err(syn::Error::new(word.span(), message));
            }
        };
        input.parse::<Token![=]>()?;
        *slot = Some(input.parse()?);
        Ok(())
    }

    /// Whether nothing is said.
    pub(crate) fn are_none(&self) -> bool {
        self.token.is_none()
            && self.one_of.is_none()
            && self.name.is_none()
            && self.error.is_none()
            && self.kind.is_none()
    }

    /// The word apart, which a variant has rather than its value.
    pub(crate) fn without_token(mut self) -> (Option<LitStr>, Self) {
        (self.token.take(), self)
    }

    /// The name that is said.
    pub(crate) fn name(&self) -> Option<String> {
        self.name.as_ref().map(LitStr::value)
    }

    /// What is said of an argument `name` of type `ty`.
    pub(crate) fn argument(self, name: &str, ty: Type) -> Argument {
        let name = match &self.name {
            Some(name) => name.value(),
            None => name.trim_start_matches('_').replace('_', "-"),
        };
        let place = match (self.token, self.one_of) {
            (Some(token), _) => Place::Behind(token),
            (None, Some(_)) => Place::OneOf,
            (None, None) => Place::Own,
        };
        Argument { name, ty, place, error: self.error, kind: self.kind }
    }
}

impl Argument {
    /// Whether the last word of its type is this.
    pub(crate) fn is(&self, word: &str) -> bool {
        last_word(&self.ty).is_some_and(|last| last == word)
    }

    /// Whether it may come in any order with others.
    pub(crate) fn is_option(&self) -> bool {
        !matches!(self.place, Place::Own)
    }

    /// The word before it, if it is an option with a word of its own.
    pub(crate) fn token(&self) -> Option<&LitStr> {
        match &self.place {
            Place::Behind(token) => Some(token),
            _ => None,
        }
    }

    /// How often an option may be said.
    pub(crate) fn often(&self) -> Often {
        match last_word(&self.ty) {
            Some(word) if word == "bool" && self.token().is_some() => Often::Word,
            Some(word) if word == "Option" => Often::Optional,
            Some(word) if word == "Vec" => Often::Repeated,
            _ => Often::Needed,
        }
    }

    /// What an option is read as: what is in the `Option` or `Vec`.
    pub(crate) fn value(&self) -> &Type {
        match self.often() {
            Often::Optional | Often::Repeated if self.is_option() => {
                inner(&self.ty).unwrap_or(&self.ty)
            }
            _ => &self.ty,
        }
    }

    /// Whether a key is in it, as far as its words tell.
    pub(crate) fn mentions_key(&self) -> bool {
        struct Find(bool);
        impl<'ast> Visit<'ast> for Find {
            fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
                self.0 |= segment.ident == "Key" || segment.ident == "Keys";
                syn::visit::visit_path_segment(self, segment);
            }
        }
        let mut find = Find(false);
        find.visit_type(&self.ty);
        find.0
    }
}

/// The last word of a type's path.
pub(crate) fn last_word(ty: &Type) -> Option<&Ident> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|segment| &segment.ident),
        Type::Group(group) => last_word(&group.elem),
        Type::Paren(paren) => last_word(&paren.elem),
        ty => last_bound(ty),
    }
}

/// The last word of the trait's path, of a type `impl Trait`.
pub(crate) fn last_bound(ty: &Type) -> Option<&Ident> {
    let Type::ImplTrait(any) = ty else { return None };
    any.bounds.iter().find_map(|bound| match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last().map(|segment| &segment.ident),
        _ => None,
    })
}

/// `T` of `Option<T>`.
fn inner(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let PathArguments::AngleBracketed(arguments) = &path.path.segments.last()?.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

fn path_span(path: &Path) -> Span {
    path.segments.first().map_or(Span::call_site(), |segment| segment.ident.span())
}
