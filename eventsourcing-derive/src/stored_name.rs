//! The names under which aggregates, events and parts of a system are stored.

use syn::ext::IdentExt;
use syn::{Ident, LitStr};

use crate::errors::Errors;
use crate::messages;

/// The longest name in bytes. Equal to `store::Name::BYTES_MAX` of the core.
const BYTES_MAX: usize = 255;

/// The characters that mark names made by the framework, and the beginning of such names. Equal to those in `system/notes.rs`
/// of the core.
const SEPARATORS: [char; 4] = [':', '@', '.', '/'];
const FRAMEWORK: &str = "eventsourcing";

/// Returns the stored name of an application, follower or aggregate.
///
/// Positions and notes of followers are stored under such names, so names that the framework makes for itself are reported.
pub(crate) fn owner_name(chosen: Option<LitStr>, item: &Ident, errors: &mut Errors) -> LitStr {
    let name = stored_name(chosen, item, errors);
    check_is_free(&name, errors);
    name
}

/// Reports a name that collides with names made by the framework.
pub(crate) fn check_is_free(name: &LitStr, errors: &mut Errors) {
    let value = name.value();
    let fault = match value
        .chars()
        .find(|character| SEPARATORS.contains(character))
    {
        Some(separator) => format!("contains `{separator}`"),
        None if value.starts_with(FRAMEWORK) => format!("begins with `{FRAMEWORK}`"),
        None => return,
    };
    errors.report(name, messages::reserved_name(shown(&value), fault));
}

/// Returns the name given by `name = "…"`, or the name of the item.
pub(crate) fn stored_name(chosen: Option<LitStr>, item: &Ident, errors: &mut Errors) -> LitStr {
    let name = chosen.unwrap_or_else(|| LitStr::new(&item.unraw().to_string(), item.span()));
    check_stored_name(&name, errors);
    name
}

/// Reports a name that no store accepts.
pub(crate) fn check_stored_name(name: &LitStr, errors: &mut Errors) {
    if let Some(fault) = fault(&name.value()) {
        errors.report(name, messages::bad_stored_name(shown(&name.value()), fault));
    }
}

fn shown(name: &str) -> String {
    match name.char_indices().nth(20) {
        Some((end, _)) => format!("{}…", name[..end].escape_debug()),
        None => name.escape_debug().to_string(),
    }
}

fn fault(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("is empty"),
        name if name.len() > BYTES_MAX => Some("is longer than 255 bytes"),
        name if name.contains('\0') => Some("contains the NUL character"),
        _ => None,
    }
}
