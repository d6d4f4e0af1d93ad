//! `#[derive(Arg)]`: a struct is its fields, one behind the other; an enum is one of its variants,
//! each told by a word.

use std::collections::HashMap;

use syn::{Data, DeriveInput, Fields, GenericParam, Ident, Lifetime, LitStr};

use crate::argument::{Argument, Marks};
use crate::check;
use crate::errors::Errors;

/// A type of arguments.
pub(crate) struct Group {
    pub(crate) name: Ident,
    pub(crate) lifetime: Option<Lifetime>,
    pub(crate) shape: Shape,
}

/// What it consists of.
pub(crate) enum Shape {
    /// Its fields.
    Struct(Fieldset),
    /// One of these.
    Enum(Vec<Variant>),
}

/// Fields as arguments.
pub(crate) struct Fieldset {
    /// Their names; `None` for a single one without.
    pub(crate) names: Vec<Option<Ident>>,
    pub(crate) args: Vec<Argument>,
}

/// A variant and its word.
pub(crate) struct Variant {
    pub(crate) ident: Ident,
    /// In the documentation.
    pub(crate) name: String,
    pub(crate) word: LitStr,
    pub(crate) fields: Fieldset,
}

impl Group {
    /// Reads the type, and looks for mistakes.
    pub(crate) fn read(input: DeriveInput, errors: &mut Errors) -> Self {
        let mut lifetimes = Vec::new();
        for param in &input.generics.params {
            match param {
                GenericParam::Lifetime(lifetime) => lifetimes.push(lifetime.lifetime.clone()),
                _ => errors.on(param, "arguments are read from bytes: name the type"),
            }
        }
        if let Some(second) = lifetimes.get(1) {
            errors.on(second, "arguments borrow from the request, which has one lifetime");
        }
        let shape = match input.data {
            Data::Struct(data) => {
                let fields = Fieldset::read(data.fields, Marks::default(), errors);
                if fields.args.is_empty() {
                    errors.on(&input.ident, "a struct of arguments has fields: one for each");
                }
                Shape::Struct(fields)
            }
            Data::Enum(data) => {
                let variants = data.variants.into_iter();
                let variants: Vec<_> =
                    variants.map(|variant| Variant::read(variant, errors)).collect();
                words(&variants, errors);
                if variants.is_empty() {
                    errors.on(&input.ident, "one of none can't be said: an enum has variants");
                }
                Shape::Enum(variants)
            }
            Data::Union(data) => {
                let advice = "arguments are the fields of a struct, or one of an enum's variants";
                errors.on(data.union_token, advice);
                Shape::Enum(Vec::new())
            }
        };
        Group { name: input.ident, lifetime: lifetimes.into_iter().next(), shape }
    }
}

impl Fieldset {
    /// `marks` are those of a variant with a single value.
    fn read(fields: Fields, marks: Marks, errors: &mut Errors) -> Self {
        let (mut names, mut args) = (Vec::new(), Vec::new());
        let count = fields.len();
        if let (Fields::Unnamed(fields), true) = (&fields, count > 1) {
            errors.on(fields, "name the fields: each is an argument that is told by its name");
        }
        let mut of_variant = (count == 1).then_some(marks);
        for mut field in fields {
            let own = Marks::take(&mut field.attrs, errors);
            let name = field.ident.as_ref().map_or("value".into(), unraw);
            let marks = match of_variant.take() {
                Some(marks) if own.are_none() && field.ident.is_none() => marks,
                _ => own,
            };
            args.push(marks.argument(&name, field.ty));
            names.push(field.ident);
        }
        check::order(&args, errors);
        Fieldset { names, args }
    }
}

impl Variant {
    fn read(mut variant: syn::Variant, errors: &mut Errors) -> Self {
        let marks = Marks::take(&mut variant.attrs, errors);
        let (word, marks) = marks.without_token();
        let word = word.unwrap_or_else(|| {
            LitStr::new(&unraw(&variant.ident).to_uppercase(), variant.ident.span())
        });
        let name = marks.name().unwrap_or_else(|| kebab(&unraw(&variant.ident)));
        let fields = Fieldset::read(variant.fields, marks, errors);
        Variant { ident: variant.ident, name, word, fields }
    }
}

/// Each variant has a word of its own.
fn words(variants: &[Variant], errors: &mut Errors) {
    let mut seen: HashMap<String, &Ident> = HashMap::new();
    for variant in variants {
        if let Some(other) = seen.insert(variant.word.value().to_uppercase(), &variant.ident) {
            let advice = format!("the word of `{other}` too: each variant has its own");
            errors.on(&variant.word, advice);
        }
    }
}

fn unraw(ident: &Ident) -> String {
    syn::ext::IdentExt::unraw(ident).to_string()
}

/// `UnixTime` as `unix-time`.
fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.extend(letter.to_lowercase());
    }
    kebab
}
