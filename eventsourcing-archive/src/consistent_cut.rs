//! A consistent cut through a running system: a part of the log, and the policies as they were at
//! its end.
//!
//! A policy writes its events and its position in one append. So if its revision is the same before
//! and after the end of the log was read, and nothing lies beyond that end, exactly the events it
//! has recorded up to its position are in that part of the log.

use std::time::{Duration, Instant};

use eventsourcing_core::System;
use eventsourcing_core::private::archive::{
    Partition, TransferableFollower, partitions, transferable_followers,
};
use eventsourcing_core::store::{
    FollowerNotes, FollowerStore, LogChecksumsQuery, Name, NotesQuery, Position, Revision, audit_of,
};

use crate::ArchiveError;

/// The time after which the policies are reported as busy.
const TIMEOUT: Duration = Duration::from_secs(30);
const WAIT_BETWEEN_TRIES: Duration = Duration::from_millis(2);
/// The number of notes that are read at once.
const NOTES_PER_PAGE: usize = 10_000;

/// A policy, or one partition of it.
pub(crate) struct CutFollower {
    /// The name under which the position is stored.
    pub(crate) name: Name,
    pub(crate) takes: Vec<Name>,
    pub(crate) partition: Partition,
    pub(crate) notes: FollowerNotes,
}

pub(crate) struct ConsistentCut {
    pub(crate) head: Position,
    pub(crate) followers: Vec<CutFollower>,
}

pub(crate) async fn consistent_cut<S: System>(
    store: &dyn FollowerStore,
) -> Result<ConsistentCut, ArchiveError> {
    let since = Instant::now();
    let mut followers = followers::<S>(store).await?;

    let mut busy = Name::from_static("a writer");
    while since.elapsed() < TIMEOUT {
        let before = places(store, &followers).await?;
        // No event can appear any more up to the position of a policy, even if an open append hides
        // that from this process.
        let furthest = before
            .iter()
            .map(|place| place.position)
            .max()
            .unwrap_or_default();
        let head = store.head().await?.max(furthest);
        // The checksums also count events that readers cannot see yet, because an append that began
        // before them is still running.
        if audit_of(store)?
            .checksums(LogChecksumsQuery::new(head, Position::MAX))
            .await?
            .is_empty()
        {
            match read_notes(store, &mut followers, &before).await? {
                None => return Ok(ConsistentCut { head, followers }),
                Some(moved) => busy = moved,
            }
        }
        tokio::time::sleep(WAIT_BETWEEN_TRIES).await;
    }
    Err(ArchiveError::AtWork { follower: busy })
}

/// Returns the followers of the archive. Their notes are read later.
async fn followers<S: System>(store: &dyn FollowerStore) -> Result<Vec<CutFollower>, ArchiveError> {
    let mut followers = Vec::new();
    let unread = |name, takes, partition| CutFollower {
        name,
        takes,
        partition,
        notes: FollowerNotes::default(),
    };
    for TransferableFollower { name, takes } in transferable_followers::<S>() {
        let partitions = partitions(store, &name).await?;
        if partitions.len() > 1 {
            // The number of partitions is noted under the name of the whole follower, which
            // processes no events itself.
            followers.push(unread(name.clone(), Vec::new(), Partition::WHOLE));
        }
        followers.extend(
            partitions
                .into_iter()
                .map(|part| unread(part.name(&name), takes.clone(), part)),
        );
    }
    Ok(followers)
}

/// Reads the positions of the followers, with at most one note each.
async fn places(
    store: &dyn FollowerStore,
    followers: &[CutFollower],
) -> Result<Vec<FollowerNotes>, ArchiveError> {
    let mut places = Vec::with_capacity(followers.len());
    for CutFollower { name, .. } in followers {
        places.push(
            store
                .notes(NotesQuery::new(name.clone(), store.log_id(), "").limit(1))
                .await?,
        );
    }
    Ok(places)
}

/// Reads the notes of the followers. Returns one that has made a step since `before`, if any has.
async fn read_notes(
    store: &dyn FollowerStore,
    followers: &mut [CutFollower],
    before: &[FollowerNotes],
) -> Result<Option<Name>, ArchiveError> {
    for (follower, before) in followers.iter_mut().zip(before) {
        match whole(store, &follower.name, before.revision).await? {
            Some(notes) => follower.notes = notes,
            None => return Ok(Some(follower.name.clone())),
        }
    }
    Ok(None)
}

/// Reads all notes of a follower; `None` if it is no longer at `revision`.
async fn whole(
    store: &dyn FollowerStore,
    name: &Name,
    revision: Revision,
) -> Result<Option<FollowerNotes>, ArchiveError> {
    let query = NotesQuery::new(name.clone(), store.log_id(), "").limit(NOTES_PER_PAGE);
    let mut notes = store.notes(query.clone()).await?;
    let mut read = notes.notes.len();
    // Pages are separate reads. An unchanged revision proves that no step has changed a note in
    // between.
    while notes.revision == revision && read == NOTES_PER_PAGE {
        let last = notes
            .notes
            .last_key_value()
            .map(|(key, _)| key.clone())
            .unwrap_or_default();
        let page = store.notes(query.clone().after(last)).await?;
        read = page.notes.len();
        notes.revision = page.revision;
        notes.notes.extend(page.notes);
    }
    Ok((notes.revision == revision).then_some(notes))
}
