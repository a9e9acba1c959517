//! The mark on a store into which something is being imported: no system may start on it.
//!
//! An import is a follower like any other: its position is the line of the file that it has reached, written in the
//! same append as the events of that line, and the mark is among its notes.

use super::{SystemError, notes};
use crate::store::{EventStore, NotesQuery};

/// Half a log with policies on it that know nothing of what they have done is worse than none.
pub(super) async fn refuse_unfinished(store: &dyn EventStore) -> Result<(), SystemError> {
    let query = NotesQuery::new(notes::IMPORT, store.log_id(), notes::UNFINISHED).limit(1);
    match store.notes(query).await?.notes.is_empty() {
        true => Ok(()),
        false => Err(SystemError::Invalid {
            reason: "an import into this store is not finished; run it again with the same file, or begin anew with \
                     an empty store"
                .into(),
        }),
    }
}
