//! The names under which aggregates, events and parts of a system are stored.

use syn::ext::IdentExt;
use syn::{Ident, LitStr};

use crate::errors::Errors;
use crate::messages;

/// As `store::Name::BYTES_MAX`.
const BYTES_MAX: usize = 255;

/// The characters of names that the framework makes for itself, and their beginning: as `system/notes.rs` of the core.
const SEPARATORS: [char; 4] = [':', '@', '.', '/'];
const FRAMEWORK: &str = "eventsourcing";

/// As [`stored_name`], for a name under which positions of followers are kept: that of an application, follower or aggregate.
pub(crate) fn owner_name(chosen: Option<LitStr>, item: &Ident, errors: &mut Errors) -> LitStr {
    let name = stored_name(chosen, item, errors);
    check_is_free(&name, errors);
    name
}

/// Reports a name that the framework may make for itself.
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

/// The name the user chose with `name = "…"`, else that of the item.
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
