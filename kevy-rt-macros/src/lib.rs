//! The attributes of kevy-rt.

use proc_macro::TokenStream;

/// Declares a set of commands.
#[proc_macro_attribute]
pub fn commands(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}

/// Declares a command within a set.
#[proc_macro_attribute]
pub fn command(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}
