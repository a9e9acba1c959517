//! One step of a follower inside the writer's transaction, be it an append or a transaction of a read model.

use eventsourcing_core::store::{Cut, FollowerNotes, StoreError, Tracking};
use rusqlite::{Connection, Result, params};

use crate::lease;
use crate::read;
use crate::rows::stored;

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
    } = read::progress(connection, follower, *upstream)?;
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
    let recorded = read::progress(connection, follower, step.upstream)?.partitions;
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
