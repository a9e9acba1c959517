//! Panics of user code, as errors.
//!
//! Events, states, policies, projections, clocks and errors are code of the user, and any of it may
//! panic. Code that runs for several callers at once, or without a waiting caller, calls user code
//! through this module, so that a panic affects only the one event or command that caused it. Code
//! that runs for one caller alone lets a panic reach that caller.

use std::any::Any;
use std::error::Error;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// A panic of user code.
#[derive(Debug, thiserror::Error)]
#[error("panicked: {message}")]
pub(crate) struct Panicked {
    message: String,
}

impl Panicked {
    fn of(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self {
            message: text.unwrap_or("no message").to_owned(),
        }
    }
}

/// Returns the result of `run`.
///
/// The caller must not use anything afterwards that `run` may have left in the middle of a change.
///
/// # Errors
/// `run` panicked.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| Panicked::of(&*payload))
}

/// Returns the result of `future`. The same conditions apply as for [`catch`].
///
/// # Errors
/// `future` panicked.
pub(crate) async fn catch_async<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut future = pin!(future);
    // A future that has panicked must not be polled again. `Ready` ends `poll_fn`, and the future
    // is dropped with this function.
    poll_fn(|context| match catch(|| future.as_mut().poll(context)) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// Returns an error and its sources in one line, or `None` if formatting one of them panics.
pub(crate) fn text_of(error: &(dyn Error + 'static)) -> Option<String> {
    let text = || {
        // The receiver of the error may format it with `Debug` as well, so a panic there must also
        // be found here.
        let _ = format!("{error:?}");
        chain(error)
    };
    catch(text).ok()
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Unshowable;

    impl std::fmt::Display for Unshowable {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("no text")
        }
    }

    impl Error for Unshowable {}

    #[test]
    fn a_panic_is_an_error_with_its_message() {
        let number = 7;
        assert_eq!(
            catch::<()>(|| panic!("plain"))
                .expect_err("it panics")
                .to_string(),
            "panicked: plain"
        );
        assert_eq!(
            catch::<()>(|| panic!("number {number}"))
                .expect_err("it panics")
                .to_string(),
            "panicked: number 7"
        );
        let other = catch::<()>(|| std::panic::panic_any(number)).expect_err("it panics");
        assert_eq!(other.to_string(), "panicked: no message");
        assert_eq!(catch(|| number).expect("it does not panic"), 7);
    }

    #[test]
    fn an_error_that_cannot_be_shown_has_no_text() {
        assert_eq!(text_of(&Unshowable), None);
        assert_eq!(
            text_of(&std::fmt::Error).as_deref(),
            Some("an error occurred when formatting an argument")
        );
    }
}
