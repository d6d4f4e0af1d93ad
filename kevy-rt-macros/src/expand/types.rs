//! Types of parameters with their lifetimes named.

use proc_macro2::Span;
use syn::visit_mut::VisitMut;
use syn::{GenericArgument, Lifetime, PathArguments, Type, TypeReference, parse_quote};

/// The type with this lifetime in place of all others but `'static`, and where one is elided.
pub(super) fn with_lifetime(ty: &Type, lifetime: &str) -> Type {
    let mut ty = ty.clone();
    Named(Lifetime::new(lifetime, Span::call_site())).visit_type_mut(&mut ty);
    ty
}

struct Named(Lifetime);

impl VisitMut for Named {
    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        reference.lifetime = Some(self.0.clone());
        syn::visit_mut::visit_type_reference_mut(self, reference);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if lifetime.ident != "static" {
            *lifetime = Lifetime::new(&self.0.to_string(), lifetime.span());
        }
    }

    /// Of the runtime's own types it is known that they have a lifetime.
    fn visit_path_segment_mut(&mut self, segment: &mut syn::PathSegment) {
        syn::visit_mut::visit_path_segment_mut(self, segment);
        if !["Key", "Keys", "Value", "Rest"].iter().any(|word| segment.ident == word) {
            return;
        }
        let lifetime = &self.0;
        match &mut segment.arguments {
            PathArguments::None => {
                segment.arguments = PathArguments::AngleBracketed(parse_quote!(<#lifetime>));
            }
            PathArguments::AngleBracketed(arguments) => {
                let is_lifetime = |arg| matches!(arg, &GenericArgument::Lifetime(_));
                if !arguments.args.iter().any(is_lifetime) {
                    arguments.args.insert(0, GenericArgument::Lifetime(lifetime.clone()));
                }
            }
            PathArguments::Parenthesized(_) => {}
        }
    }
}
