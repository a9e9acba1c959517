//! One append within the writer's transaction: everything is checked before anything is written.

use eventsourcing_core::store::{
    Append, Appended, Commands, LogId, NewSnapshot, Position, Receipt, ReceiptKind, SharedAnswer,
    SharedCommand, StoreError, StreamAppend, Version,
};
use jiff::Timestamp;
use rusqlite::{Result, Transaction, params};

use crate::read;
use crate::rows::stored;
use crate::tracking;

const INSERT_EVENT: &str = include_str!("queries/insert_event.sql");
const INSERT_RECEIPT: &str = include_str!("queries/insert_receipt.sql");
const PUT_SNAPSHOT: &str = include_str!("queries/put_snapshot.sql");

/// The result of checking an append against the stored data.
pub(crate) enum Checked {
    /// The append can be written. The versions are those of its streams, in the same order.
    Sound(Vec<Version>),
    /// The command was answered before, with this receipt.
    Repeated(Receipt),
    /// The append may not be written.
    Refused(StoreError),
}

/// Checks whether `append` can be written. Reads only.
pub(crate) fn check(transaction: &Transaction<'_>, log: LogId, append: &Append) -> Result<Checked> {
    if let Some(answered) = check_commands(transaction, log, &append.commands)? {
        return Ok(answered);
    }
    if let Some(step) = &append.tracking
        && let Some(refusal) = tracking::check(transaction, step)?
    {
        return Ok(Checked::Refused(refusal));
    }
    let mut versions = Vec::with_capacity(append.streams.len());
    for part in &append.streams {
        let actual = read::stream_version(transaction, &part.stream)?;
        if !part.expected.allows(actual) {
            let stream = part.stream.clone();
            let expected = part.expected;

            return Ok(Checked::Refused(StoreError::Conflict {
                stream,
                expected,
                actual,
            }));
        }
        versions.push(actual);
    }
    for snapshot in &append.snapshots {
        if let Err(refusal) =
            snapshot.check_within(version_after(transaction, append, &versions, snapshot)?)
        {
            return Ok(Checked::Refused(refusal));
        }
    }
    Ok(Checked::Sound(versions))
}

/// Looks whether commands of an append were answered before.
fn check_commands(
    transaction: &Transaction<'_>,
    log: LogId,
    commands: &Commands,
) -> Result<Option<Checked>> {
    let mut receipts = Vec::new();
    for id in commands.ids() {
        receipts.extend(read::receipt(transaction, log, id)?);
    }
    Ok(match (commands, receipts.first()) {
        (_, None) => None,
        (Commands::Several(_), Some(_)) => {
            Some(Checked::Refused(StoreError::Repeated { receipts }))
        }
        (_, Some(receipt)) => Some(Checked::Repeated(*receipt)),
    })
}

/// Writes `append`, whose streams are at `versions`.
///
/// An error leaves part of it in the transaction, which must then be rolled back.
pub(crate) fn write(
    transaction: &Transaction<'_>,
    log: LogId,
    append: &Append,
    versions: &[Version],
) -> Result<Appended> {
    for (part, version) in append.streams.iter().zip(versions) {
        insert_events(transaction, part, *version, append.recorded_at)?;
    }
    let kind = append.receipt_kind();
    let position = match kind {
        ReceiptKind::Recorded => Position::new(transaction.last_insert_rowid().unsigned_abs()),
        _ if append.commands.is_empty() => Position::ZERO,
        _ => read::head(transaction)?,
    };
    append
        .tracking
        .iter()
        .try_for_each(|step| tracking::make(transaction, step))?;
    append
        .snapshots
        .iter()
        .try_for_each(|snapshot| put_snapshot(transaction, snapshot))?;
    let receipt = Receipt {
        log,
        kind,
        position,
        command_id: append.commands.only(),
    };
    insert_receipt(transaction, &receipt)?;
    let shared = shared_receipts(append, &receipt);
    shared
        .iter()
        .try_for_each(|receipt| insert_receipt(transaction, receipt))?;
    Ok(Appended {
        shared,
        ..Appended::new(receipt)
    })
}

/// The receipts of the commands that share `append`, of which `whole` is the receipt. One writer has the whole file, so the
/// positions of an append have no hole.
fn shared_receipts(append: &Append, whole: &Receipt) -> Vec<Receipt> {
    let before = whole
        .position
        .as_u64()
        .saturating_sub(append.event_count() as u64);
    let receipt = |command: &SharedCommand| Receipt {
        kind: command.answer.kind(),
        position: match command.answer {
            SharedAnswer::Recorded { last_event } => Position::new(before + last_event as u64 + 1),
            SharedAnswer::NothingRecorded | SharedAnswer::Rejected => whole.position,
        },
        command_id: Some(command.id),
        ..*whole
    };
    append.commands.shared().iter().map(receipt).collect()
}

/// Earlier programs know a rejection by its position 0, so its own stands in a column that they do not read.
fn insert_receipt(transaction: &Transaction<'_>, receipt: &Receipt) -> Result<()> {
    let Some(id) = receipt.command_id else {
        return Ok(());
    };
    let place = stored(receipt.position.as_u64());
    let (position, decided_at) = match receipt.kind {
        ReceiptKind::Rejected => (0, Some(place)),
        ReceiptKind::Recorded | ReceiptKind::NothingRecorded => (place, None),
    };
    let row = params![
        id.as_uuid().into_bytes(),
        position,
        receipt.kind.number(),
        decided_at
    ];
    transaction
        .prepare_cached(INSERT_RECEIPT)?
        .execute(row)
        .map(drop)
}

fn version_after(
    transaction: &Transaction<'_>,
    append: &Append,
    versions: &[Version],
    snapshot: &NewSnapshot,
) -> Result<Version> {
    let mut parts = append.streams.iter().zip(versions);
    match parts.find(|(part, _)| part.stream == snapshot.stream) {
        Some((part, version)) => Ok(version.plus(part.events.len() as u64)),
        None => read::stream_version(transaction, &snapshot.stream),
    }
}

fn insert_events(
    transaction: &Transaction<'_>,
    part: &StreamAppend,
    mut version: Version,
    recorded_at: Timestamp,
) -> Result<()> {
    let mut insert = transaction.prepare_cached(INSERT_EVENT)?;
    for event in &part.events {
        version = version.next();
        insert.execute(params![
            part.stream.id.as_bytes(),
            part.stream.category.as_str(),
            stored(version.as_u64()),
            event.name.as_str(),
            event.schema_version,
            event.codec.0,
            recorded_at.as_microsecond(),
            event.metadata,
            event.payload,
        ])?;
    }
    Ok(())
}

fn put_snapshot(transaction: &Transaction<'_>, snapshot: &NewSnapshot) -> Result<()> {
    let row = params![
        snapshot.stream.id.as_bytes(),
        snapshot.stream.category.as_str(),
        snapshot.fingerprint.0.cast_signed(),
        stored(snapshot.version.as_u64()),
        snapshot.codec.0,
        snapshot.payload,
    ];
    transaction
        .prepare_cached(PUT_SNAPSHOT)?
        .execute(row)
        .map(drop)
}
