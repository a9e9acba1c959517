//! What of a follower goes into another store, and what becomes of its notes where events have other positions.

use serde_json::Value;

use super::System;
use super::follower::{FollowerTarget, Partition, partitions_of};
use super::notes;
use crate::store::{EventStore, Name, Position, StoreError, StreamId, Version};

/// A follower whose effects are elsewhere than in tables of its store: a policy, or a projection into something foreign.
/// If it began anew it would have them again.
pub(crate) struct Carried {
    pub(crate) name: Name,
    /// The stored names of the aggregates whose events it takes.
    pub(crate) takes: Vec<Name>,
}

/// The followers of a system that go on in another store. All others are built anew from the log.
pub(crate) fn carried<S: System>() -> Vec<Carried> {
    let followers = S::followers().into_iter();
    let followers = followers.filter(|follower| {
        matches!(
            follower.target,
            FollowerTarget::Policy { .. } | FollowerTarget::Foreign { .. }
        )
    });
    followers
        .map(|follower| Carried {
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

/// The partitions in which a follower has run.
pub(crate) async fn partitions(
    store: &dyn EventStore,
    follower: &Name,
) -> Result<Vec<Partition>, StoreError> {
    let count = partitions_of(store, follower, store.log_id()).await?;
    Ok(Partition::split(count).collect())
}

/// Whether a note stays as it is: its key and its value name no positions, and nobody but the follower has written it.
pub(crate) fn is_carried_as_it_is(key: &str) -> bool {
    !is_of_positions(key) && !key.starts_with(notes::CHECKSUMS) && key != notes::HOLDER
}

/// Whether a note is about one event and its position.
pub(crate) fn is_of_positions(key: &str) -> bool {
    [
        notes::PARKED,
        notes::HELD,
        notes::DROPPED,
        notes::PARKING_RECORDS,
    ]
    .iter()
    .any(|prefix| key.starts_with(prefix))
}

/// Whether the event of a note is one that the follower has not dealt with.
pub(crate) fn is_put_aside(key: &str) -> bool {
    key.starts_with(notes::HELD) || key.starts_with(notes::DROPPED)
}

/// The event that a note is about.
pub(crate) fn place_of(note: &str) -> Result<(StreamId, Version), StoreError> {
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

/// The same note where its event is at `position`.
pub(crate) fn moved_note(
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
