//! The positions of followers: their steps within the writer's transaction, and their notes.

use std::collections::BTreeMap;

use eventsourcing_core::store::{
    Cut, FollowerNotes, FollowerPosition, FollowersQuery, LogId, Name, NotesQuery, Position,
    Revision, StoreError, Tracking,
};
use rusqlite::{Connection, OptionalExtension, Result, params};
use uuid::Uuid;

use crate::lease;
use crate::read::rows_at_most;
use crate::rows::{self, stored};

pub(crate) const TRACKING: &str = include_str!("queries/tracking.sql");
pub(crate) const FOLLOWERS: &str = include_str!("queries/followers.sql");
pub(crate) const NOTES: &str = include_str!("queries/notes.sql");
const PUT_TRACKING: &str = include_str!("queries/put_tracking.sql");
const PUT_CUT: &str = include_str!("queries/put_cut.sql");
const PUT_NOTE: &str = include_str!("queries/put_note.sql");
const REMOVE_NOTE: &str = include_str!("queries/remove_note.sql");

/// Returns the reason why `step` may not be made, or `None`. Reads only.
pub(crate) fn check(connection: &Connection, step: &Tracking) -> Result<Option<StoreError>> {
    if let Some(refusal) = lease::check(connection, step)? {
        return Ok(Some(refusal));
    }
    if let Some(refusal) = check_cut(connection, step)? {
        return Ok(Some(refusal));
    }
    let Tracking {
        follower,
        upstream,
        from,
        ..
    } = step;
    let FollowerNotes {
        position: actual,
        revision,
        ..
    } = progress(connection, follower, *upstream)?;
    if actual == *from && step.revision.is_none_or(|wanted| wanted == revision) {
        return Ok(None);
    }
    Ok(Some(StoreError::TrackingConflict {
        follower: follower.clone(),
        expected: *from,
        actual,
    }))
}

/// Returns the refusal of a step whose number of partitions differs from the recorded one. No other writer runs at the
/// same time, so an unrecorded cut stays unrecorded until the step is made.
fn check_cut(connection: &Connection, step: &Tracking) -> Result<Option<StoreError>> {
    let Some(Cut {
        follower,
        partitions,
    }) = &step.cut
    else {
        return Ok(None);
    };
    let recorded = progress(connection, follower, step.upstream)?.partitions;
    Ok(recorded
        .filter(|actual| actual != partitions)
        .map(|actual| StoreError::CutChanged {
            follower: follower.clone(),
            expected: *partitions,
            actual,
        }))
}

/// Makes `step`, which has been checked.
pub(crate) fn make(connection: &Connection, step: &Tracking) -> Result<()> {
    let follower = step.follower.as_str();
    let upstream = step.upstream.as_uuid().into_bytes();

    let seen = step.last_event.map(|event| stored(event.position.as_u64()));
    let identity = step.last_event.map(|event| *event.identity.as_bytes());
    let row = params![follower, upstream, stored(step.to.as_u64()), seen, identity];
    connection.prepare_cached(PUT_TRACKING)?.execute(row)?;
    if let Some(Cut {
        follower,
        partitions,
    }) = &step.cut
    {
        connection.prepare_cached(PUT_CUT)?.execute(params![
            follower.as_str(),
            upstream,
            partitions
        ])?;
    }
    for (key, value) in &step.notes {
        match value {
            Some(value) => connection
                .prepare_cached(PUT_NOTE)?
                .execute(params![follower, upstream, key, value])?,
            None => connection
                .prepare_cached(REMOVE_NOTE)?
                .execute(params![follower, upstream, key])?,
        };
    }
    Ok(())
}

/// Returns the position of a follower.
pub(crate) fn position(
    connection: &Connection,
    follower: &Name,
    upstream: LogId,
) -> Result<Position> {
    progress(connection, follower, upstream).map(|notes| notes.position)
}

/// Returns a page of the followers that have made steps.
pub(crate) fn followers(
    connection: &Connection,
    query: FollowersQuery,
) -> Result<Vec<FollowerPosition>> {
    // No name is empty, so the first page begins after an empty one.
    let (follower, upstream) = query
        .after
        .unwrap_or((Name::from_static(""), LogId::from_uuid(Uuid::nil())));
    let after = params![
        follower.as_str(),
        upstream.as_uuid().into_bytes(),
        rows_at_most(query.limit)
    ];
    let mut statement = connection.prepare_cached(FOLLOWERS)?;
    let followers = statement.query_map(after, |row| {
        Ok(FollowerPosition {
            follower: row.get::<_, String>(0)?.into(),
            upstream: LogId::from_uuid(rows::uuid(row, 1)?),
            position: rows::position(row, 2)?,
            revision: Revision::new(rows::number(row, 3)?),
        })
    })?;
    followers.collect()
}

/// Returns the position of a follower and the number of its steps, without its notes.
pub(crate) fn progress(
    connection: &Connection,
    follower: &Name,
    upstream: LogId,
) -> Result<FollowerNotes> {
    let key = params![follower.as_str(), upstream.as_uuid().into_bytes()];
    let progress = connection.prepare_cached(TRACKING)?.query_row(key, |row| {
        Ok(FollowerNotes {
            position: rows::position(row, 0)?,
            revision: Revision::new(rows::number(row, 1)?),
            last_event: rows::event_ref(row, 2, 3)?,
            partitions: row.get(4)?,
            notes: BTreeMap::new(),
        })
    });
    Ok(progress.optional()?.unwrap_or_default())
}

/// Reads position, revision and notes in one transaction, so that all are of one moment.
pub(crate) fn notes(connection: &Connection, query: &NotesQuery) -> Result<FollowerNotes> {
    let moment = connection.unchecked_transaction()?;
    let mut notes = progress(&moment, &query.follower, query.upstream)?;
    notes.notes = wanted_notes(&moment, query)?;
    moment.commit()?;
    Ok(notes)
}

fn wanted_notes(connection: &Connection, query: &NotesQuery) -> Result<BTreeMap<String, String>> {
    let NotesQuery {
        follower,
        upstream,
        prefix,
        after,
        limit,
    } = query;
    let mut statement = connection.prepare_cached(NOTES)?;
    let mut rows = statement.query(params![
        follower.as_str(),
        upstream.as_uuid().into_bytes(),
        prefix.max(after)
    ])?;
    let mut notes = BTreeMap::new();
    while notes.len() < *limit
        && let Some(row) = rows.next()?
    {
        let key: String = row.get(0)?;
        if !key.starts_with(prefix) {
            break;
        }
        if key > *after {
            notes.insert(key, row.get(1)?);
        }
    }
    Ok(notes)
}
