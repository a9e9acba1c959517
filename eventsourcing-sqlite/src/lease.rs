//! Leases inside the writer's transaction, on the clock of the machine, which all processes with the file open share.
//! If that clock is set, leases end early or late; tokens and positions still keep every step single.

use std::time::Duration;

use eventsourcing_core::store::{
    HolderId, Lease, LeaseHolder, LeaseRequest, LeaseToken, LogId, Name, StoreError, Tracking,
};
use rusqlite::{Connection, OptionalExtension, Result, Transaction, params};
use uuid::Uuid;

use crate::rows::stored;
use crate::tracking;

const TAKE_LEASE: &str = include_str!("queries/take_lease.sql");
const LEASE_HOLDER: &str = include_str!("queries/lease_holder.sql");
const RELEASE_LEASE: &str = include_str!("queries/release_lease.sql");

/// A lease as stored in the file.
struct Held {
    holder: HolderId,
    token: LeaseToken,
    /// Negative for an expired lease.
    milliseconds_left: i64,
}

pub(crate) fn take(transaction: &Transaction<'_>, request: &LeaseRequest) -> Result<Lease> {
    let LeaseRequest {
        follower,
        upstream,
        holder,
        duration,
    } = request;
    let token = match find(transaction, follower, *upstream)? {
        Some(held) if held.holder == *holder => held.token,
        Some(Held {
            holder,
            milliseconds_left,
            ..
        }) if milliseconds_left > 0 => {
            let expires_in = Duration::from_millis(milliseconds_left.unsigned_abs());
            return Ok(Lease::Taken { holder, expires_in });
        }
        Some(held) => LeaseToken::new(held.token.as_u64() + 1),
        None => LeaseToken::new(1),
    };
    let upstream_bytes = upstream.as_uuid().into_bytes();
    let holder = holder.as_uuid().into_bytes();

    let milliseconds = i64::try_from(duration.as_millis())
        .unwrap_or(i64::MAX)
        .max(1);
    let row = params![
        follower.as_str(),
        upstream_bytes,
        holder,
        stored(token.as_u64()),
        milliseconds
    ];
    transaction.prepare_cached(TAKE_LEASE)?.execute(row)?;
    Ok(Lease::Held {
        token,
        position: tracking::position(transaction, follower, *upstream)?,
    })
}

pub(crate) fn release(
    transaction: &Transaction<'_>,
    follower: &Name,
    upstream: LogId,
    token: LeaseToken,
) -> Result<()> {
    let row = params![
        follower.as_str(),
        upstream.as_uuid().into_bytes(),
        stored(token.as_u64())
    ];
    transaction
        .prepare_cached(RELEASE_LEASE)?
        .execute(row)
        .map(drop)
}

/// Returns the current holder of the lease.
pub(crate) fn holder(
    connection: &Connection,
    follower: &Name,
    upstream: LogId,
) -> Result<Option<LeaseHolder>> {
    let held = find(connection, follower, upstream)?.filter(|held| held.milliseconds_left > 0);
    Ok(held.map(
        |Held {
             holder,
             token,
             milliseconds_left,
         }| {
            let expires_in = Duration::from_millis(milliseconds_left.unsigned_abs());
            LeaseHolder {
                holder,
                token,
                expires_in,
            }
        },
    ))
}

/// Returns the refusal of a step whose token is not the newest one.
pub(crate) fn check(connection: &Connection, tracking: &Tracking) -> Result<Option<StoreError>> {
    let Some(token) = tracking.lease else {
        return Ok(None);
    };
    let held = find(connection, &tracking.follower, tracking.upstream)?;
    let current = held.map_or(LeaseToken::new(0), |held| held.token);
    if token == current {
        return Ok(None);
    }
    Ok(Some(StoreError::LeaseLost {
        follower: tracking.follower.clone(),
        token,
        current,
    }))
}

fn find(connection: &Connection, follower: &Name, upstream: LogId) -> Result<Option<Held>> {
    let row = params![follower.as_str(), upstream.as_uuid().into_bytes()];
    let held = |row: &rusqlite::Row<'_>| {
        Ok(Held {
            holder: HolderId::from_uuid(Uuid::from_bytes(row.get(0)?)),
            token: LeaseToken::new(row.get::<_, i64>(1)?.unsigned_abs()),
            milliseconds_left: row.get(2)?,
        })
    };
    connection
        .prepare_cached(LEASE_HOLDER)?
        .query_row(row, held)
        .optional()
}
