//! The followers whose positions and notes are copied to another store, and the translation of
//! notes to the positions there.

use serde_json::Value;

use super::System;
use super::follower::{FollowerTarget, partitions_of};
use super::notes;
use crate::store::{FollowerStore, Name, Position, StoreError, StreamId, Version};

pub use super::follower::{Partition, checksum_note};
pub use super::verify::accounted;

/// A follower whose effects cannot be rebuilt from the log: a policy, or a projection into a
/// foreign target. If it began at the first event it would repeat them.
#[derive(Debug)]
pub struct TransferableFollower {
    /// The name of the whole follower.
    pub name: Name,
    /// The stored names of the aggregates whose events it takes.
    pub takes: Vec<Name>,
}

/// Returns the followers of a system that continue in another store. All others are rebuilt from
/// the log.
#[must_use]
pub fn transferable_followers<S: System>() -> Vec<TransferableFollower> {
    let followers = S::followers().into_iter();
    let followers = followers.filter(|follower| {
        matches!(
            follower.target,
            FollowerTarget::Policy { .. } | FollowerTarget::Foreign { .. }
        )
    });
    followers
        .map(|follower| TransferableFollower {
            name: Name::from_static(follower.name),
            takes: follower
                .target
                .sources()
                .into_iter()
                .map(|(aggregate, _)| aggregate.clone())
                .collect(),
        })
        .collect()
}

/// Returns the partitions in which a follower has run.
pub async fn partitions(
    store: &dyn FollowerStore,
    follower: &Name,
) -> Result<Vec<Partition>, StoreError> {
    let count = partitions_of(store, follower, store.log_id()).await?;
    Ok(Partition::split(count).collect())
}

/// Returns `true` if a note is copied unchanged: it names no positions and is neither a checksum
/// nor the holder.
#[must_use]
pub fn is_copied_unchanged(key: &str) -> bool {
    !is_of_positions(key) && !key.starts_with(notes::CHECKSUMS) && key != notes::HOLDER
}

/// Returns `true` if a note is about one event and its position.
#[must_use]
pub fn is_of_positions(key: &str) -> bool {
    [
        notes::PARKED,
        notes::HELD,
        notes::DROPPED,
        notes::PARKING_RECORDS,
    ]
    .iter()
    .any(|prefix| key.starts_with(prefix))
}

/// Returns `true` if the note is about an event that the follower has not processed.
#[must_use]
pub fn is_unprocessed(key: &str) -> bool {
    key.starts_with(notes::HELD) || key.starts_with(notes::DROPPED)
}

/// Returns the stream and version of the event that a note is about.
pub fn place_of(note: &str) -> Result<(StreamId, Version), StoreError> {
    #[derive(serde::Deserialize)]
    struct Place {
        #[serde(flatten)]
        stream: StreamId,
        version: Version,
    }
    let Place { stream, version } =
        serde_json::from_str(note).map_err(|error| unreadable(note, error))?;
    Ok((stream, version))
}

/// Returns the same note for an event at `position`.
pub fn moved_note(
    key: &str,
    note: &str,
    position: Position,
) -> Result<(String, String), StoreError> {
    let mut value: Value = serde_json::from_str(note).map_err(|error| unreadable(note, error))?;
    value["position"] = position.as_u64().into();
    let is_keyed_by_position =
        key.starts_with(notes::DROPPED) || key.starts_with(notes::PARKING_RECORDS);
    let key = match key.rsplit_once('/') {
        Some((before, _)) if is_keyed_by_position => format!("{before}/{:020}", position.as_u64()),
        _ => key.to_owned(),
    };
    Ok((key, value.to_string()))
}

fn unreadable(note: &str, error: serde_json::Error) -> StoreError {
    StoreError::corrupt(format!("a note of a follower, {note:?}"), error)
}
