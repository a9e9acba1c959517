//! A cut through a running system: a part of the log, and policies as they were when that was all of it.
//!
//! A policy writes what it records and where it is in one append. So if its revision is the same before and after the end
//! of the log was looked up, and nothing lies beyond that end, everything it has recorded up to its position is in that
//! part of the log, and nothing else of it.

use std::time::{Duration, Instant};

use super::ArchiveError;
use crate::store::{
    EventStore, FollowerNotes, LogChecksumsQuery, Name, NotesQuery, Position, Revision,
};
use crate::system::{Carried, Partition, System, carried, partitions};

/// How long a cut is tried before the followers are said to be at work.
const TIMEOUT: Duration = Duration::from_secs(30);
const WAIT_BETWEEN_TRIES: Duration = Duration::from_millis(2);
/// How many notes are read at once.
const NOTES_PER_PAGE: usize = 10_000;

/// A policy, or one partition of it.
pub(super) struct CutFollower {
    /// As its position is kept under.
    pub(super) name: Name,
    pub(super) takes: Vec<Name>,
    pub(super) partition: Partition,
    pub(super) notes: FollowerNotes,
}

pub(super) struct ConsistentCut {
    pub(super) head: Position,
    pub(super) followers: Vec<CutFollower>,
}

pub(super) async fn consistent_cut<S: System>(
    store: &dyn EventStore,
) -> Result<ConsistentCut, ArchiveError> {
    let since = Instant::now();
    let mut followers = followers::<S>(store).await?;

    let mut busy = Name::from_static("a writer");
    while since.elapsed() < TIMEOUT {
        let before = places(store, &followers).await?;
        // The log is decided up to where a policy is, also where an open append hides that from this process.
        let furthest = before
            .iter()
            .map(|place| place.position)
            .max()
            .unwrap_or_default();
        let head = store.head().await?.max(furthest);
        // Counts also what no reader is shown yet, because an append that began before it is still under way.
        if store
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

/// Who is carried over. What they have noted is read later.
async fn followers<S: System>(store: &dyn EventStore) -> Result<Vec<CutFollower>, ArchiveError> {
    let mut followers = Vec::new();
    let unread = |name, takes, partition| CutFollower {
        name,
        takes,
        partition,
        notes: FollowerNotes::default(),
    };
    for Carried { name, takes } in carried::<S>() {
        let partitions = partitions(store, &name).await?;
        if partitions.len() > 1 {
            // How many there are is noted under the name of the whole, which deals with nothing.
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

/// Reads the places of the followers, with one of their notes at most.
async fn places(
    store: &dyn EventStore,
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

/// Reads what the followers have noted. Returns who has made a step since `before`, if anybody has.
async fn read_notes(
    store: &dyn EventStore,
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

/// All notes of a follower, if it is still at `revision`.
async fn whole(
    store: &dyn EventStore,
    name: &Name,
    revision: Revision,
) -> Result<Option<FollowerNotes>, ArchiveError> {
    let query = NotesQuery::new(name.clone(), store.log_id(), "").limit(NOTES_PER_PAGE);
    let mut notes = store.notes(query.clone()).await?;
    let mut read = notes.notes.len();
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
