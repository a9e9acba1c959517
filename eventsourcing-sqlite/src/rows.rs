//! From rows to events. Names repeat from row to row, so a page stores each name once.

use eventsourcing_core::store::{
    CodecId, CommandId, EventIdentity, EventRef, LoadedEvent, LogId, Name, Position, Receipt,
    ReceiptKind, StoredEvent, StoredSnapshot, StreamId, Version,
};
use jiff::Timestamp;
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Error, Result, Row};
use uuid::Uuid;

/// The number of different names that a page shares; further names are stored once for each event.
const NAMES_SHARED_MAX: usize = 64;

/// Reads the rows of one page.
#[derive(Default)]
pub(crate) struct Rows {
    categories: SharedNames,
    names: SharedNames,
}

impl Rows {
    /// Reads the event in a row whose columns are in the order of the table.
    pub(crate) fn event(&mut self, row: &Row<'_>) -> Result<StoredEvent> {
        let (stream, version) = self.identity(row)?;
        Ok(StoredEvent {
            position: position(row, 0)?,
            stream,
            version,
            name: self.names.name(row, 4)?,
            schema_version: row.get(5)?,
            codec: CodecId(row.get(6)?),
            recorded_at: timestamp(row, 7)?,
            metadata: bytes(row, 8)?,
            payload: bytes(row, 9)?,
        })
    }

    /// Reads the event in a row of version, name, schema version, codec and payload.
    pub(crate) fn loaded(&mut self, row: &Row<'_>) -> Result<LoadedEvent> {
        Ok(LoadedEvent {
            version: version(row, 0)?,
            name: self.names.name(row, 1)?,
            schema_version: row.get(2)?,
            codec: CodecId(row.get(3)?),
            payload: bytes(row, 4)?,
        })
    }

    /// Reads the stream and the version of the event in a row that begins like one of the table.
    pub(crate) fn identity(&mut self, row: &Row<'_>) -> Result<(StreamId, Version)> {
        Ok((
            StreamId {
                category: self.categories.name(row, 2)?,
                id: uuid(row, 1)?,
            },
            version(row, 3)?,
        ))
    }
}

/// Reads the snapshot in a row of version, codec and payload.
pub(crate) fn snapshot(row: &Row<'_>) -> Result<StoredSnapshot> {
    Ok(StoredSnapshot {
        version: version(row, 0)?,
        codec: CodecId(row.get(1)?),
        payload: bytes(row, 2)?,
    })
}

/// Reads the receipt in a row of command, position, kind and position of a rejection. Earlier releases wrote neither of
/// the last two.
pub(crate) fn receipt(row: &Row<'_>, log: LogId) -> Result<Receipt> {
    let command_id = Some(CommandId::from_uuid(uuid(row, 0)?));
    let position = position(row, 1)?;
    let kind = match row.get::<_, Option<u8>>(2)? {
        None => ReceiptKind::of_earlier_release(position),
        Some(number) => ReceiptKind::from_number(number)
            .ok_or_else(|| Error::IntegralValueOutOfRange(2, number.into()))?,
    };
    let decided_at = row
        .get::<_, Option<i64>>(3)?
        .map(|_| self::position(row, 3))
        .transpose()?;
    Ok(Receipt {
        log,
        kind,
        position: decided_at.unwrap_or(position),
        command_id,
    })
}

pub(crate) fn position(row: &Row<'_>, column: usize) -> Result<Position> {
    number(row, column).map(Position::new)
}

pub(crate) fn version(row: &Row<'_>, column: usize) -> Result<Version> {
    number(row, column).map(Version::new)
}

/// Reads the event that two columns name, or `None` where they are NULL.
pub(crate) fn event_ref(
    row: &Row<'_>,
    position: usize,
    identity: usize,
) -> Result<Option<EventRef>> {
    let Some(bytes) = row.get::<_, Option<[u8; 16]>>(identity)? else {
        return Ok(None);
    };
    Ok(Some(EventRef {
        position: self::position(row, position)?,
        identity: EventIdentity::from_bytes(bytes),
    }))
}

/// Returns the number as SQLite stores it. Nothing is lost: positions and versions never exceed the largest signed
/// number.
pub(crate) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[derive(Default)]
struct SharedNames(Vec<Name>);

impl SharedNames {
    fn name(&mut self, row: &Row<'_>, column: usize) -> Result<Name> {
        let text = row
            .get_ref(column)?
            .as_str()
            .map_err(|error| unreadable(column, Type::Text, error))?;
        if let Some(known) = self.0.iter().find(|known| known.as_str() == text) {
            return Ok(known.clone());
        }
        let name = Name::from(text);
        if self.0.len() < NAMES_SHARED_MAX {
            self.0.push(name.clone());
        }
        Ok(name)
    }
}

pub(crate) fn number(row: &Row<'_>, column: usize) -> Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| Error::IntegralValueOutOfRange(column, number))
}

fn timestamp(row: &Row<'_>, column: usize) -> Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?)
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Integer, Box::new(error)))
}

pub(crate) fn uuid(row: &Row<'_>, column: usize) -> Result<Uuid> {
    let bytes: [u8; 16] = row.get(column)?;
    Ok(Uuid::from_bytes(bytes))
}

fn bytes(row: &Row<'_>, column: usize) -> Result<Vec<u8>> {
    let bytes = row
        .get_ref(column)?
        .as_blob()
        .map_err(|error| unreadable(column, Type::Blob, error))?;
    Ok(bytes.to_vec())
}

fn unreadable(column: usize, wanted: Type, error: FromSqlError) -> Error {
    Error::FromSqlConversionFailure(column, wanted, Box::new(error))
}
