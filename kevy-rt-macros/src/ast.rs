//! The block's functions as a model: what each handler takes, and in which role.

use std::ops::Range;

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::ext::IdentExt;
use syn::visit_mut::VisitMut;
use syn::{
    Attribute, Expr, ExprLit, FnArg, ImplItem, ImplItemFn, ItemImpl, Lifetime, Lit, Meta, Pat,
    PatType, ReturnType, Signature, Type, TypeReference, parse_quote,
};

use crate::argument::{Argument, Marks, last_word};
use crate::attr::{CommandAttr, Keys, Route, SetAttr};
use crate::errors::Errors;

/// From more parameters on clippy asks for a type that holds them.
const MANY_PARAMS: usize = 7;

/// A block of handlers.
pub(crate) struct Set {
    pub(crate) attr: SetAttr,
    /// The type that the block is of.
    pub(crate) me: Type,
    pub(crate) name: String,
    pub(crate) commands: Vec<Command>,
}

/// One handler with its attribute.
pub(crate) struct Command {
    pub(crate) attr: CommandAttr,
    /// As written, but for the attributes of its parameters.
    pub(crate) signature: Signature,
    /// The text of its doc comment on one line.
    pub(crate) doc: String,
    /// Its `#[cfg(...)]`, which the generated items share.
    pub(crate) cfgs: Vec<Attribute>,
    /// In capitals; two words for a subcommand.
    pub(crate) name: String,
    /// Where the name is written.
    pub(crate) name_span: Span,
    /// The parameters, in order.
    pub(crate) params: Vec<Param>,
    /// Those of them that are read from the request, in order.
    pub(crate) args: Vec<Argument>,
}

/// A parameter in its role.
pub(crate) struct Param {
    pub(crate) role: Role,
    pub(crate) ty: Type,
}

/// What a parameter is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Session,
    Store,
    Tx,
    Cx,
    Reply,
    /// Index into [`Command::args`].
    Argument(usize),
}

/// Which of the arguments a `keys` route reads once and which per key.
pub(crate) struct Split {
    pub(crate) before: Range<usize>,
    pub(crate) per_key: Range<usize>,
    pub(crate) after: Range<usize>,
}

impl Set {
    /// Takes the attributes out of the block and ties elided lifetimes to the store.
    pub(crate) fn read(attr: SetAttr, block: &mut ItemImpl, errors: &mut Errors) -> Self {
        if let Some((_, path, _)) = &block.trait_ {
            errors.on(path, "a command set is an `impl` block of a type, not of a trait");
        }
        if !block.generics.params.is_empty() {
            errors.on(&block.generics, "a command set has no type parameters");
        }
        let mut commands = Vec::new();
        for item in &mut block.items {
            let ImplItem::Fn(function) = item else { continue };
            if let Some(attribute) = take_attribute(&mut function.attrs, "command") {
                let attribute = CommandAttr::read(&attribute, errors);
                commands.push(Command::read(attribute, function, &attr.store, errors));
            }
        }
        let me = (*block.self_ty).clone();
        let name = last_word(&me).map(ToString::to_string).unwrap_or_default();
        Set { attr, me, name, commands }
    }

    /// What a server's store has to be.
    pub(crate) fn store_bound(&self) -> TokenStream {
        match &self.attr.store {
            Type::ImplTrait(any) => {
                let bounds = &any.bounds;
                quote!(#bounds + 'static)
            }
            store => quote!(::kevy_rt::Has<#store>),
        }
    }
}

impl Command {
    fn read(
        attr: CommandAttr,
        function: &mut ImplItemFn,
        store: &Type,
        errors: &mut Errors,
    ) -> Self {
        let (name, name_span) = match &attr.name {
            Some(name) => (name.value(), name.span()),
            None => (function.sig.ident.unraw().to_string(), function.sig.ident.span()),
        };
        if function.sig.inputs.len() > MANY_PARAMS {
            // A command has the options that it has.
            function.attrs.push(parse_quote!(#[allow(clippy::too_many_arguments)]));
        }
        let marks = take_marks(&mut function.sig, errors);
        let mut command = Command {
            attr,
            signature: function.sig.clone(),
            doc: doc(&function.attrs),
            cfgs: function.attrs.iter().filter(|a| a.path().is_ident("cfg")).cloned().collect(),
            name: name.to_uppercase(),
            name_span,
            params: Vec::new(),
            args: Vec::new(),
        };
        let typed =
            function.sig.inputs.iter().zip(marks).filter_map(|(param, marks)| match param {
                FnArg::Typed(param) => Some((param, marks)),
                FnArg::Receiver(_) => None,
            });
        for (param, marks) in typed {
            command.add(param, marks, store);
        }
        if let Some(index) = command.params.iter().position(|param| param.role == Role::Store) {
            let receivers = function.sig.inputs.len() - command.params.len();
            tie_to_store(function, index + receivers);
        }
        command
    }

    /// Finds the role of the next parameter.
    fn add(&mut self, param: &PatType, marks: Marks, store: &Type) {
        let ty = (*param.ty).clone();
        let taken: Vec<Role> = self.params.iter().map(|param| param.role).collect();
        let only_before = |roles: &[Role]| taken.iter().all(|role| roles.contains(role));
        let word = referred(&ty).and_then(last_word).map(ToString::to_string);
        let role = match word.as_deref() {
            _ if !marks.are_none() => None,
            Some("Reply") => Some(Role::Reply),
            Some("Cx") if only_before(&[Role::Session, Role::Store, Role::Reply]) => Some(Role::Cx),
            Some("Tx" | "ReadTx") if taken.is_empty() => Some(Role::Tx),
            Some(_) if self.wants_session() && only_before(&[Role::Reply]) => Some(Role::Session),
            Some(word) if only_before(&[Role::Session, Role::Reply]) => {
                let named = last_word(store).is_some_and(|store| store == word);
                (named || self.needs_store()).then_some(Role::Store)
            }
            _ => None,
        };
        let role = role.unwrap_or_else(|| {
            let name = match &*param.pat {
                Pat::Ident(name) => name.ident.unraw().to_string(),
                _ => format!("argument{}", self.args.len() + 1),
            };
            self.args.push(marks.argument(&name, ty.clone()));
            Role::Argument(self.args.len() - 1)
        });
        self.params.push(Param { role, ty });
    }

    pub(crate) fn route(&self) -> Option<&Route> {
        self.attr.route.as_ref().map(|(route, _)| route)
    }

    fn wants_session(&self) -> bool {
        matches!(self.route(), Some(Route::Session))
    }

    /// Whether it is a transaction's handler.
    pub(crate) fn is_tx(&self) -> bool {
        matches!(self.route(), Some(Route::Tx(_)))
    }

    /// The type of the transaction that it should take.
    pub(crate) fn tx_type(&self) -> &'static str {
        if self.attr.write.is_some() { "Tx" } else { "ReadTx" }
    }

    /// Whether the transaction that it takes may change something.
    pub(crate) fn tx_may_write(&self) -> Option<bool> {
        let word = last_word(referred(&self.param(Role::Tx)?.ty)?)?;
        Some(word == "Tx")
    }

    /// Whether its first parameter is the store by its route.
    pub(crate) fn needs_store(&self) -> bool {
        matches!(self.route(), Some(Route::Single(_) | Route::Keys(_) | Route::All | Route::At(_)))
    }

    /// The parameter in this role.
    pub(crate) fn param(&self, role: Role) -> Option<&Param> {
        self.params.iter().find(|param| param.role == role)
    }

    /// Whether it takes the store by `&mut`; `None` if it doesn't take it.
    pub(crate) fn store_is_mut(&self) -> Option<bool> {
        self.param(Role::Store).map(|param| is_mut(&param.ty))
    }

    /// The type it returns.
    pub(crate) fn output(&self) -> Option<&Type> {
        match &self.signature.output {
            ReturnType::Type(_, ty) => Some(ty),
            ReturnType::Default => None,
        }
    }

    /// Words of its name: the position of its first argument.
    pub(crate) fn words(&self) -> usize {
        self.name.split(' ').count()
    }

    /// The arguments before the first option, which have positions.
    pub(crate) fn positional(&self) -> &[Argument] {
        let count = self.args.iter().take_while(|arg| !arg.is_option()).count();
        &self.args[..count]
    }

    /// The positional argument at a position of the request.
    pub(crate) fn at(&self, position: i16) -> Option<&Argument> {
        let index = usize::try_from(position).ok()?.checked_sub(self.words())?;
        self.positional().get(index)
    }

    /// Each argument before the keys is one, and so is each after them. All that are left belong
    /// to a key if nothing comes behind the keys.
    pub(crate) fn split(&self, keys: &Keys) -> Split {
        let count = self.positional().len();
        let first = usize::try_from(keys.first.value).unwrap_or(0).saturating_sub(self.words());
        let first = first.min(count);
        let step = usize::try_from(keys.step.value).unwrap_or(1);
        let end = if keys.take_all() { count } else { (first + step).min(count) };
        Split { before: 0..first, per_key: first..end, after: end..self.args.len() }
    }
}

/// What a reference refers to.
fn referred(ty: &Type) -> Option<&Type> {
    match ty {
        Type::Reference(reference) => Some(&reference.elem),
        Type::Group(group) => referred(&group.elem),
        _ => None,
    }
}

/// Whether it is a `&mut`.
pub(crate) fn is_mut(ty: &Type) -> bool {
    matches!(ty, Type::Reference(reference) if reference.mutability.is_some())
}

fn take_attribute(attributes: &mut Vec<Attribute>, word: &str) -> Option<Attribute> {
    let is = |a: &Attribute| a.path().segments.last().is_some_and(|last| last.ident == word);
    attributes.iter().position(is).map(|index| attributes.remove(index))
}

/// What attributes say of each parameter.
fn take_marks(signature: &mut Signature, errors: &mut Errors) -> Vec<Marks> {
    let inputs = signature.inputs.iter_mut();
    let attributes = inputs.map(|param| match param {
        FnArg::Typed(param) => &mut param.attrs,
        FnArg::Receiver(receiver) => &mut receiver.attrs,
    });
    attributes.map(|attributes| Marks::take(attributes, errors)).collect()
}

/// The doc comment's lines, joined by blanks.
fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(doc) if doc.path.is_ident("doc") => match &doc.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    let words: Vec<String> =
        lines.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    words.join(" ")
}

/// An elided lifetime in the return type becomes the store's: a handler that borrows its arguments
/// too has no other way to elide it.
fn tie_to_store(function: &mut ImplItemFn, index: usize) {
    let ReturnType::Type(_, output) = &mut function.sig.output else { return };
    let Some(FnArg::Typed(store)) = function.sig.inputs.get_mut(index) else { return };
    let Type::Reference(reference) = &mut *store.ty else { return };
    let named = reference.lifetime.clone().filter(|lifetime| lifetime.ident != "_");
    let is_new = named.is_none();
    let lifetime = named.unwrap_or_else(|| Lifetime::new("'store", Span::call_site()));
    let mut tie = Tie { lifetime: lifetime.clone(), found: false };
    tie.visit_type_mut(output);
    if tie.found && is_new {
        reference.lifetime = Some(lifetime.clone());
        function.sig.generics.params.insert(0, parse_quote!(#lifetime));
        function.attrs.push(parse_quote!(#[allow(clippy::needless_lifetimes)]));
    }
}

/// Puts a lifetime where one is elided.
struct Tie {
    lifetime: Lifetime,
    found: bool,
}

impl VisitMut for Tie {
    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        if reference.lifetime.is_none() {
            reference.lifetime = Some(self.lifetime.clone());
            self.found = true;
        }
        syn::visit_mut::visit_type_reference_mut(self, reference);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if lifetime.ident == "_" {
            *lifetime = self.lifetime.clone();
            self.found = true;
        }
    }

    // Lifetimes that are elided in a function's type are its own.
    fn visit_type_bare_fn_mut(&mut self, _: &mut syn::TypeBareFn) {}
    fn visit_parenthesized_generic_arguments_mut(
        &mut self,
        _: &mut syn::ParenthesizedGenericArguments,
    ) {
    }
}
