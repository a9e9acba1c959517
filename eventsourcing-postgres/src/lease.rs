//! Leases, on the clock of the server.

use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use eventsourcing_core::store::{
    HolderId, Lease, LeaseHolder, LeaseRequest, LeaseToken, LogId, Name,
};
use tokio_postgres::Error;

use crate::rows::{self, stored};

const TAKE_LEASE: &str = include_str!("queries/take_lease.sql");
const LEASE_HOLDER: &str = include_str!("queries/lease_holder.sql");
const RELEASE_LEASE: &str = include_str!("queries/release_lease.sql");

/// Takes or renews a lease. A holder that asks twice renews, so the statement may run again after a lost connection.
pub(crate) async fn take(client: &ClientWrapper, request: &LeaseRequest) -> Result<Lease, Error> {
    let LeaseRequest {
        follower,
        upstream,
        holder,
        duration,
    } = request;
    let statement = client.prepare_cached(TAKE_LEASE).await?;
    let milliseconds = i64::try_from(duration.as_millis())
        .unwrap_or(i64::MAX)
        .max(1);
    let row = client
        .query_one(
            &statement,
            &[
                &follower.as_str(),
                &upstream.as_uuid(),
                &holder.as_uuid(),
                &milliseconds,
            ],
        )
        .await?;
    let held_by = HolderId::from_uuid(row.try_get(0)?);
    if held_by == *holder {
        let token = LeaseToken::new(row.try_get::<_, i64>(1)?.unsigned_abs());
        return Ok(Lease::Held {
            token,
            position: rows::position(&row, 3)?,
        });
    }
    Ok(Lease::Taken {
        holder: held_by,
        expires_in: time_left(row.try_get(2)?),
    })
}

/// Returns the holder of a lease that has not expired.
pub(crate) async fn holder(
    client: &ClientWrapper,
    (follower, upstream): (&Name, LogId),
) -> Result<Option<LeaseHolder>, Error> {
    let statement = client.prepare_cached(LEASE_HOLDER).await?;
    let row = client
        .query_opt(&statement, &[&follower.as_str(), &upstream.as_uuid()])
        .await?;
    let held = row.map(|row| {
        let holder = HolderId::from_uuid(row.try_get(0)?);
        let token = LeaseToken::new(rows::number(&row, 1)?);

        Ok(LeaseHolder {
            holder,
            token,
            expires_in: time_left(row.try_get(2)?),
        })
    });
    held.transpose()
}

/// Releases a lease. A second release changes nothing.
pub(crate) async fn release(
    client: &ClientWrapper,
    (follower, upstream, token): (&Name, LogId, LeaseToken),
) -> Result<(), Error> {
    let statement = client.prepare_cached(RELEASE_LEASE).await?;
    let row = (
        follower.as_str(),
        upstream.as_uuid(),
        stored(token.as_u64()),
    );
    client
        .execute(&statement, &[&row.0, &row.1, &row.2])
        .await
        .map(drop)
}

fn time_left(milliseconds: i64) -> Duration {
    Duration::from_millis(milliseconds.max(0).unsigned_abs())
}
