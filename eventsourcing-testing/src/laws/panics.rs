//! Catches panics of the code under test. A search for the shortest example causes hundreds of panics, so they are not
//! printed; their text and place become the reason of the broken law. Only a panic hook knows the place, and a process has one
//! hook, so this one passes the panics of all other code on to the previous hook.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static CATCHES: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Returns the result of `run`.
///
/// # Errors
/// The message and place of a panic.
pub(super) fn catching<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    install();
    let outer = CATCHES.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    CATCHES.set(outer);
    outcome.map_err(|_| LAST.take())
}

/// Installs the hook, once for the process. The previous hook still gets the panics of all other code.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !CATCHES.get() {
                return before(panic);
            }
            let payload = panic.payload();
            let message = payload.downcast_ref::<&str>().copied();
            let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            let message = message.unwrap_or("no message");
            let place = panic
                .location()
                .map(|location| format!(", at {location}"))
                .unwrap_or_default();
            LAST.set(format!("the code panicked: {message}{place}"));
        }));
    });
}
