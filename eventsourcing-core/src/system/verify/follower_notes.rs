//! The notes of a follower as of one moment, and the checksums that they account for.

use std::collections::BTreeMap;

use crate::store::{
    FollowerNotes, FollowerStore, LogChecksum, LogId, LogSlice, Name, NotesQuery, StoreError,
};
use crate::system::follower::read_checksum;
use crate::system::notes;
use crate::system::parking::put_aside;

/// The number of notes that are read at once. One slice has one note, so this is enough for a log
/// of a hundred million positions.
const NOTES_PER_PAGE: usize = 10_000;

/// Returns the position of a follower and all its notes, as of one moment.
pub(in crate::system) async fn all_notes(
    home: &dyn FollowerStore,
    follower: Name,
    upstream: LogId,
) -> Result<FollowerNotes, StoreError> {
    let query = NotesQuery::new(follower, upstream, "");
    let mut limit = NOTES_PER_PAGE;
    loop {
        match in_pages(home, &query, limit).await? {
            Some(notes) => return Ok(notes),
            // The follower has made a step between two pages. With larger pages there are fewer
            // moments for that.
            None => limit *= 2,
        }
    }
}

/// Reads the notes in pages. Returns `None` if the follower has made a step between two pages.
async fn in_pages(
    home: &dyn FollowerStore,
    query: &NotesQuery,
    limit: usize,
) -> Result<Option<FollowerNotes>, StoreError> {
    let mut notes = home.notes(query.clone().limit(limit)).await?;
    let mut read = notes.notes.len();
    while read >= limit {
        let last = notes
            .notes
            .last_key_value()
            .map(|(key, _)| key.clone())
            .unwrap_or_default();
        let page = home.notes(query.clone().after(last).limit(limit)).await?;
        if page.revision != notes.revision {
            return Ok(None);
        }
        read = page.notes.len();
        notes.notes.extend(page.notes);
    }
    Ok(Some(notes))
}

/// Returns the checksums of all events that a follower accounts for up to its position: the
/// processed, the parked and the discarded ones.
pub fn accounted(notes: &FollowerNotes) -> Result<BTreeMap<LogSlice, LogChecksum>, StoreError> {
    let mut checksums = applied(notes).collect::<Result<BTreeMap<_, _>, _>>()?;
    for held in put_aside(&notes.notes) {
        let held = held?;
        checksums
            .entry(LogSlice::of(held.position))
            .or_default()
            .add(&held.stream, held.version);
    }
    Ok(checksums)
}

/// Returns the checksums of the processed events.
fn applied(
    notes: &FollowerNotes,
) -> impl Iterator<Item = Result<(LogSlice, LogChecksum), StoreError>> {
    let notes = notes.notes.iter();
    notes
        .filter_map(|(key, note)| Some((key.strip_prefix(notes::CHECKSUMS)?, note)))
        .map(|(number, note)| {
            let number = number.parse().map_err(|error| {
                StoreError::corrupt(
                    format!("a note of a follower, {}{number}", notes::CHECKSUMS),
                    error,
                )
            })?;
            Ok((LogSlice::new(number), read_checksum(note)?))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;
    use crate::store::EventStore as _;
    use crate::store::{Append, Position, Tracking};
    use jiff::Timestamp;

    #[tokio::test]
    async fn notes_of_many_pages_are_read_completely() {
        let store = MemoryStore::new();
        let step = Tracking::new("follower", store.log_id(), Position::ZERO, Position::new(7));
        let step = (0..25).fold(step, |step, number| {
            step.with_note(format!("note {number}"), "x")
        });
        store
            .append(Append::new(Timestamp::UNIX_EPOCH).with_tracking(step))
            .await
            .expect("a step");
        let query = NotesQuery::new("follower".into(), store.log_id(), "");
        for limit in [1, 5, 10, 24, 25, 26] {
            let notes = in_pages(&store, &query, limit)
                .await
                .expect("an answer")
                .expect("no step is made meanwhile");
            assert_eq!(
                (notes.position, notes.notes.len()),
                (Position::new(7), 25),
                "{limit} at once"
            );
        }
    }
}
