//! A guard against starting a system on a store into which an archive is being imported.
//!
//! An import is a follower like any other: its position is the line of the file that it has
//! reached, written in the same append as the events of that line, and a note marks it as
//! unfinished.

use super::{SystemError, notes};
use crate::store::{FollowerStore, NotesQuery};

/// Refuses a store with an unfinished import. On half a log, policies without their positions would
/// repeat all their effects.
pub(super) async fn refuse_unfinished(store: &dyn FollowerStore) -> Result<(), SystemError> {
    let query = NotesQuery::new(notes::IMPORT, store.log_id(), notes::UNFINISHED).limit(1);
    match store.notes(query).await?.notes.is_empty() {
        true => Ok(()),
        false => Err(SystemError::ImportUnfinished),
    }
}
