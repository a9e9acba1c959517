//! Where followers are: their steps, as `append()` and `step()` take them, and their notes.

use deadpool_postgres::ClientWrapper;
use eventsourcing_core::store::{LeaseToken, Notebook, NotesQuery, Position, Revision, StoreError, Tracking};
use tokio_postgres::{Error, Row};

use crate::rows::{self, stored};

const STEP: &str = include_str!("queries/step.sql");
const NOTES: &str = include_str!("queries/notes.sql");

/// The token a step is made under, or what stands for none.
pub(crate) fn lease_of(step: &Tracking) -> i64 {
    step.lease.map_or(-1, |token| stored(token.as_u64()))
}

/// How many steps there must have been, or what stands for any number.
pub(crate) fn revision_of(step: &Tracking) -> i64 {
    step.revision.map_or(-1, |revision| stored(revision.as_u64()))
}

/// How many bytes the notes of a step have.
pub(crate) fn bytes_of(step: &Tracking) -> usize {
    step.notes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, String::len)).sum()
}

/// Why `step` was not made, in the outcomes of the schema's functions.
pub(crate) fn refusal(step: &Tracking, outcome: i32, number: u64) -> StoreError {
    let follower = step.follower.clone();
    match (outcome, step.lease) {
        (2, _) => StoreError::TrackingConflict { follower, expected: step.from, actual: Position::new(number) },
        (6, Some(token)) => StoreError::LeaseLost { follower, token, current: LeaseToken::new(number) },
        _ => {
            let reason = format!("the outcome of a step of follower {follower} is {outcome} ({number})");
            StoreError::Corrupt { reason, source: None }
        }
    }
}

/// Makes `step`, which is valid, in the transaction that is open on `client`.
pub(crate) async fn make(client: &ClientWrapper, step: &Tracking) -> Result<Result<(), StoreError>, Error> {
    let (keys, values): (Vec<_>, Vec<_>) = step.notes.iter().unzip();
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
            ],
        )
        .await?;
    let (outcome, number): (i32, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(if outcome == 0 { Ok(()) } else { Err(refusal(step, outcome, number.unsigned_abs())) })
}

/// One statement, so that position, revision and notes are of one moment.
pub(crate) async fn notes(client: &ClientWrapper, query: &NotesQuery) -> Result<Notebook, Error> {
    let NotesQuery { follower, upstream, prefix, after, limit } = query;
    let (follower, upstream, limit) = (follower.as_str(), upstream.as_uuid(), rows::at_most(*limit));
    let statement = client.prepare_cached(NOTES).await?;
    let rows = client.query(&statement, &[&follower, &upstream, prefix, after, &limit]).await?;
    let Some(first) = rows.first() else { return Ok(Notebook::default()) };
    let (position, revision) = (rows::position(first, 0)?, Revision::new(rows::number(first, 1)?));
    let notes = rows.iter().filter_map(|row| note(row).transpose()).collect::<Result<_, _>>()?;
    Ok(Notebook { position, revision, notes })
}

/// A follower without any such note has one row all the same.
fn note(row: &Row) -> Result<Option<(String, String)>, Error> {
    let key: Option<String> = row.try_get(2)?;
    key.map(|key| Ok((key, row.try_get(3)?))).transpose()
}
