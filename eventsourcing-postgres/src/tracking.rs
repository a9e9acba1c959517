//! The positions of followers: their steps, as `append()` and `step()` take them, and their notes.

use deadpool_postgres::ClientWrapper;
use eventsourcing_core::store::{
    Cut, EventIdentity, EventRef, FollowerNotes, FollowerPosition, FollowersQuery, LeaseToken,
    LogId, Name, NotesQuery, Position, Revision, StoreError, Tracking,
};
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use crate::rows::{self, stored};

const STEP: &str = include_str!("queries/step.sql");
const FOLLOWERS: &str = include_str!("queries/followers.sql");
const NOTES: &str = include_str!("queries/notes.sql");

/// Returns the fencing token of a step, or -1 for none.
pub(crate) fn lease_of(step: &Tracking) -> i64 {
    step.lease.map_or(-1, |token| stored(token.as_u64()))
}

/// Returns the number of steps that the follower must have made, or -1 for any.
pub(crate) fn revision_of(step: &Tracking) -> i64 {
    step.revision
        .map_or(-1, |revision| stored(revision.as_u64()))
}

/// Returns the position and the identity of the last event that the follower has seen.
pub(crate) fn last_event_of(step: &Tracking) -> (Option<i64>, Option<&[u8]>) {
    let event = step.last_event.as_ref();
    (
        event.map(|event| stored(event.position.as_u64())),
        event.map(|event| &event.identity.as_bytes()[..]),
    )
}

/// Returns the whole follower and the number of its partitions.
pub(crate) fn cut_of(step: &Tracking) -> (Option<&str>, Option<i32>) {
    let cut = step.cut.as_ref();
    let partitions =
        |cut: &Cut| i32::try_from(cut.partitions).expect("a valid cut fits a signed number");
    (cut.map(|cut| cut.follower.as_str()), cut.map(partitions))
}

/// Returns the size of the notes of a step in bytes.
pub(crate) fn bytes_of(step: &Tracking) -> usize {
    step.notes
        .iter()
        .map(|(key, value)| key.len() + value.as_ref().map_or(0, String::len))
        .sum()
}

/// Translates an outcome of the schema's functions into the refusal of `step`.
pub(crate) fn refusal(step: &Tracking, outcome: i32, number: u64) -> StoreError {
    let follower = step.follower.clone();
    if let (
        7,
        Some(Cut {
            follower,
            partitions,
        }),
    ) = (outcome, &step.cut)
    {
        let actual = u32::try_from(number).unwrap_or(u32::MAX);
        return StoreError::CutChanged {
            follower: follower.clone(),
            expected: *partitions,
            actual,
        };
    }
    match (outcome, step.lease) {
        (2, _) => StoreError::TrackingConflict {
            follower,
            expected: step.from,
            actual: Position::new(number),
        },
        (6, Some(token)) => StoreError::LeaseLost {
            follower,
            token,
            current: LeaseToken::new(number),
        },
        _ => {
            let reason =
                format!("the outcome of a step of follower {follower} is {outcome} ({number})");
            StoreError::Corrupt {
                reason,
                source: None,
            }
        }
    }
}

/// Makes `step`, which has been validated, in the open transaction of `client`.
pub(crate) async fn make(
    client: &ClientWrapper,
    step: &Tracking,
) -> Result<Result<(), StoreError>, Error> {
    let (keys, values): (Vec<_>, Vec<_>) = step.notes.iter().unzip();
    let (seen_position, seen_identity) = last_event_of(step);
    let (cut_follower, cut_partitions) = cut_of(step);
    let statement = client.prepare_cached(STEP).await?;
    let row = client
        .query_one(
            &statement,
            &[
                &step.follower.as_str(),
                &step.upstream.as_uuid(),
                &stored(step.from.as_u64()),
                &stored(step.to.as_u64()),
                &lease_of(step),
                &revision_of(step),
                &keys,
                &values,
                &seen_position,
                &seen_identity,
                &cut_follower,
                &cut_partitions,
            ],
        )
        .await?;
    let outcome: i32 = row.try_get(0)?;
    let number: i64 = row.try_get(1)?;

    Ok(if outcome == 0 {
        Ok(())
    } else {
        Err(refusal(step, outcome, number.unsigned_abs()))
    })
}

pub(crate) async fn followers(
    client: &ClientWrapper,
    query: &FollowersQuery,
) -> Result<Vec<FollowerPosition>, Error> {
    // No name is empty, so the first page begins after an empty one.
    let first = (Name::from_static(""), LogId::from_uuid(Uuid::nil()));
    let (follower, upstream) = query.after.as_ref().unwrap_or(&first);
    let statement = client.prepare_cached(FOLLOWERS).await?;
    let limit = rows::at_most(query.limit);
    let rows = client
        .query(
            &statement,
            &[&follower.as_str(), &upstream.as_uuid(), &limit],
        )
        .await?;
    let follower = |row: &Row| {
        Ok(FollowerPosition {
            follower: row.try_get::<_, String>(0)?.into(),
            upstream: LogId::from_uuid(row.try_get(1)?),
            position: rows::position(row, 2)?,
            revision: Revision::new(rows::number(row, 3)?),
        })
    };
    rows.iter().map(follower).collect()
}

/// Reads position, revision and notes in one statement, so that all are of one moment.
pub(crate) async fn notes(
    client: &ClientWrapper,
    query: &NotesQuery,
) -> Result<FollowerNotes, Error> {
    let NotesQuery {
        follower,
        upstream,
        prefix,
        after,
        limit,
    } = query;
    let follower = follower.as_str();
    let upstream = upstream.as_uuid();
    let limit = rows::at_most(*limit);

    let statement = client.prepare_cached(NOTES).await?;
    let rows = client
        .query(&statement, &[&follower, &upstream, prefix, after, &limit])
        .await?;
    let Some(first) = rows.first() else {
        return Ok(FollowerNotes::default());
    };
    Ok(FollowerNotes {
        position: rows::position(first, 0)?,
        revision: Revision::new(rows::number(first, 1)?),
        last_event: last_event(first)?,
        partitions: first.try_get::<_, Option<i32>>(4)?.map(i32::unsigned_abs),
        notes: rows
            .iter()
            .filter_map(|row| note(row).transpose())
            .collect::<Result<_, _>>()?,
    })
}

fn last_event(row: &Row) -> Result<Option<EventRef>, Error> {
    let Some(rows::Identity(identity)) = row.try_get(3)? else {
        return Ok(None);
    };
    Ok(Some(EventRef {
        position: rows::position(row, 2)?,
        identity: EventIdentity::from_bytes(identity),
    }))
}

/// Reads the note in a row. A follower without matching notes has one row without a note.
fn note(row: &Row) -> Result<Option<(String, String)>, Error> {
    let key: Option<String> = row.try_get(5)?;
    key.map(|key| Ok((key, row.try_get(6)?))).transpose()
}
