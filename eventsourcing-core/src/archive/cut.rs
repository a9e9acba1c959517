//! A cut through a running system: a part of the log, and policies as they were when that was all of it.
//!
//! A policy writes what it records and where it is in one append. So if its revision is the same before and after the end
//! of the log was looked up, and nothing lies beyond that end, everything it has recorded up to its position is in that
//! part of the log, and nothing else of it.

use std::time::Duration;

use super::ArchiveError;
use crate::store::{EventStore, FiguresQuery, Name, Notebook, NotesQuery, Position};
use crate::system::{Carried, Partition, System, carried, partitions};

/// How often a cut is tried before the followers are said to be at work.
const TRIES_MAX: u32 = 2_000;
const WAIT_BETWEEN_TRIES: Duration = Duration::from_millis(2);
/// How many notes are read at once.
const NOTES_PER_PAGE: usize = 10_000;

/// A policy, or one partition of it.
pub(super) struct CutFollower {
    /// As its position is kept under.
    pub(super) name: Name,
    pub(super) takes: Vec<Name>,
    pub(super) partition: Partition,
    pub(super) book: Notebook,
}

pub(super) struct Cut {
    pub(super) head: Position,
    pub(super) followers: Vec<CutFollower>,
}

pub(super) async fn cut<S: System>(store: &dyn EventStore) -> Result<Cut, ArchiveError> {
    let carried = carried::<S>();
    let mut busy = carried.first().map(|carried| carried.name.clone());
    for _ in 0..TRIES_MAX {
        let followers = followers(store, &carried).await?;
        let head = store.head().await?;
        // Counts also what no reader is shown yet, because an append that began before it is still under way.
        if store.figures(FiguresQuery::new(head, Position::MAX)).await?.is_empty() {
            match moved(store, &followers).await? {
                None => return Ok(Cut { head, followers }),
                moved => busy = moved,
            }
        }
        tokio::time::sleep(WAIT_BETWEEN_TRIES).await;
    }
    Err(ArchiveError::AtWork { follower: busy.unwrap_or_else(|| "a writer".into()) })
}

async fn followers(store: &dyn EventStore, carried: &[Carried]) -> Result<Vec<CutFollower>, ArchiveError> {
    let mut followers = Vec::new();
    for Carried { name, takes } in carried {
        let partitions = partitions(store, name).await?;
        if partitions.len() > 1 {
            // How many there are is noted under the name of the whole, which deals with nothing.
            let (name, book) = (name.clone(), whole(store, name).await?);
            followers.push(CutFollower { name, takes: Vec::new(), partition: Partition::WHOLE, book });
        }
        for partition in partitions {
            let name = partition.name(name);
            let book = whole(store, &name).await?;
            followers.push(CutFollower { name, takes: takes.clone(), partition, book });
        }
    }
    Ok(followers)
}

/// All notes of a follower as of one moment.
async fn whole(store: &dyn EventStore, name: &Name) -> Result<Notebook, ArchiveError> {
    let query = NotesQuery::new(name.clone(), store.log_id(), "").limit(NOTES_PER_PAGE);
    for _ in 0..TRIES_MAX {
        let mut book = store.notes(query.clone()).await?;
        let mut read = book.notes.len();
        while read == NOTES_PER_PAGE {
            let last = book.notes.last_key_value().map(|(key, _)| key.clone()).unwrap_or_default();
            let page = store.notes(query.clone().after(last)).await?;
            read = if page.revision == book.revision { page.notes.len() } else { usize::MAX };
            book.notes.extend(page.notes);
        }
        if read < NOTES_PER_PAGE {
            return Ok(book);
        }
    }
    Err(ArchiveError::AtWork { follower: name.clone() })
}

/// A follower that has made a step since its notes were read.
async fn moved(store: &dyn EventStore, followers: &[CutFollower]) -> Result<Option<Name>, ArchiveError> {
    for CutFollower { name, book, .. } in followers {
        let now = store.notes(NotesQuery::new(name.clone(), store.log_id(), "").limit(1)).await?;
        if now.revision != book.revision {
            return Ok(Some(name.clone()));
        }
    }
    Ok(None)
}
