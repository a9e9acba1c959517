//! The errors that followers fail with. They belong to the user, so even printing one can panic.

use std::error::Error;
use std::sync::Arc;

use super::agreed_events::TakesUnknownEvents;
use crate::CodecError;
use crate::panics::{catch, text_of};
use crate::store::BoxError;

/// The text for an error that cannot be printed.
const UNSHOWABLE: &str = "an error whose own text or source panicked";

/// Returns an error and its sources in one line, and the error itself. An error that panics while
/// it is printed is replaced, because each reader of the follower's state would print it again.
pub(crate) fn described(error: BoxError) -> (String, Arc<dyn Error + Send + Sync>) {
    match text_of(&*error) {
        Some(text) => (text, Arc::from(error)),
        None => (UNSHOWABLE.to_owned(), Arc::from(BoxError::from(UNSHOWABLE))),
    }
}

/// Returns `true` if the error says that this release does not know an event or type that a newer
/// release may know.
pub(in crate::system) fn is_of_newer_release(cause: &(dyn Error + 'static)) -> bool {
    catch(|| names_what_is_unknown(cause)).unwrap_or(false)
}

fn names_what_is_unknown(cause: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(cause), |cause| (**cause).source());
    causes.any(|cause| {
        cause.is::<TakesUnknownEvents>()
            || cause
                .downcast_ref::<CodecError>()
                .is_some_and(CodecError::is_of_newer_release)
    })
}
