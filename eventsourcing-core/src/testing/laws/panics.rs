//! Catches panics of the code that is tested. They are expected by the hundred while the shortest example is looked for, so
//! they are not printed, but say where they were. That takes a panic hook, which a process has one of: it leaves the panics
//! of all other code to the hook of before.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static CATCHES: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What `run` returns, or what it panicked with and where.
///
/// # Errors
/// It panicked.
pub(super) fn catching<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    install();
    let outer = CATCHES.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    CATCHES.set(outer);
    outcome.map_err(|_| LAST.take())
}

/// The hook of before goes on printing the panics of all others.
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
            LAST.set(format!("it panicked: {message}{place}"));
        }));
    });
}
