//! The mark on a store into which something is being imported: no system may start on it.
//!
//! An import is a follower like any other: its position is the line of the file that it has reached, written in the
//! same append as the events of that line, and the mark is among its notes.

use crate::store::{EventStore, Name, NotesQuery};
use crate::system::SystemError;

/// No name of a part of a system has a point in it.
pub(super) const IMPORT: Name = Name::from_static("eventsourcing.import");
/// The note that stands as long as the import is not finished.
pub(super) const UNFINISHED_KEY: &str = "unfinished";

/// Half a log with policies on it that know nothing of what they have done is worse than none.
pub(crate) async fn refuse_unfinished(store: &dyn EventStore) -> Result<(), SystemError> {
    let query = NotesQuery::new(IMPORT, store.log_id(), UNFINISHED_KEY).limit(1);
    match store.notes(query).await?.notes.is_empty() {
        true => Ok(()),
        false => Err(SystemError::Invalid {
            reason: "an import into this store is not finished; run it again with the same file, or begin anew with \
                     an empty store"
                .into(),
        }),
    }
}
