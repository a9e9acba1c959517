//! From rows to events. Names repeat from row to row, so a page stores each name once.

use std::error::Error as StdError;
use std::pin::pin;

use eventsourcing_core::store::{
    CodecId, CommandId, Loaded, LoadedEvent, LogId, Name, Position, Receipt, ReceiptKind,
    StoreError, StoredEvent, StoredSnapshot, StreamId, Version,
};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use tokio_postgres::{Error, Row, RowStream};

use crate::error::Unreadable;

type AnyError = Box<dyn StdError + Sync + Send>;

/// The number of different names that a page shares; further names are stored once for each event.
const NAMES_SHARED_MAX: usize = 64;

/// The microseconds from 1970 to 2000, where PostgreSQL's time begins.
const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;
/// The earliest time that PostgreSQL stores, in 4714 BC, relative to 2000.
const EARLIEST_MICROSECONDS: i64 = -211_813_488_000_000_000;

/// Reads the rows of one page.
#[derive(Default)]
pub(crate) struct Rows {
    categories: SharedNames,
    names: SharedNames,
}

impl Rows {
    /// Reads all events of a page. Each row is dropped before the next one is received, so that its buffer is reused.
    pub(crate) async fn events(rows: RowStream) -> Result<Vec<StoredEvent>, Error> {
        let mut rows = pin!(rows);
        let mut page = Self::default();
        let mut events = Vec::new();

        while let Some(row) = rows.try_next().await? {
            events.push(page.event(&row)?);
        }
        Ok(events)
    }

    /// Reads a snapshot, if there is one, and the events after it.
    pub(crate) async fn loaded(rows: RowStream) -> Result<Loaded, Error> {
        let mut rows = pin!(rows);
        let mut page = Self::default();
        let mut loaded = Loaded::default();

        while let Some(row) = rows.try_next().await? {
            let version = version(&row, 0)?;
            let codec = CodecId(row.try_get::<_, Narrow<u8>>(3)?.0);

            let name: &str = row.try_get(1)?;
            let payload = row.try_get(4)?;

            if name.is_empty() {
                loaded.snapshot = Some(StoredSnapshot {
                    version,
                    codec,
                    payload,
                });
            } else {
                let name = page.names.name(name);
                let schema_version = row.try_get::<_, Narrow<u16>>(2)?.0;

                loaded.events.push(LoadedEvent {
                    version,
                    name,
                    schema_version,
                    codec,
                    payload,
                });
            }
        }
        Ok(loaded)
    }

    /// Reads the event in a row whose columns are in the order shared by all queries of stored events.
    fn event(&mut self, row: &Row) -> Result<StoredEvent, Error> {
        Ok(StoredEvent {
            position: position(row, 0)?,
            stream: StreamId {
                id: row.try_get(1)?,
                category: self.categories.name(row.try_get(2)?),
            },
            version: version(row, 3)?,
            name: self.names.name(row.try_get(4)?),
            schema_version: row.try_get::<_, Narrow<u16>>(5)?.0,
            codec: CodecId(row.try_get::<_, Narrow<u8>>(6)?.0),
            recorded_at: row.try_get::<_, RecordedAt>(7)?.0,
            metadata: row.try_get(8)?,
            payload: row.try_get(9)?,
        })
    }
}

/// Reads the receipt in a row of command, position, kind and position of a rejection. Earlier releases wrote neither of
/// the last two.
pub(crate) fn receipt(row: &Row, log: LogId) -> Result<Receipt, Error> {
    let position = position(row, 1)?;
    let kind = row.try_get::<_, Option<Kind>>(2)?.map(|kind| kind.0);
    let decided_at = row
        .try_get::<_, Option<Narrow<u64>>>(3)?
        .map(|number| Position::new(number.0));
    Ok(Receipt {
        log,
        kind: kind.unwrap_or_else(|| ReceiptKind::of_earlier_release(position)),
        position: decided_at.unwrap_or(position),
        command_id: Some(CommandId::from_uuid(row.try_get(0)?)),
    })
}

pub(crate) fn position(row: &Row, column: usize) -> Result<Position, Error> {
    number(row, column).map(Position::new)
}

fn version(row: &Row, column: usize) -> Result<Version, Error> {
    number(row, column).map(Version::new)
}

/// Reads a number that is never negative.
pub(crate) fn number(row: &Row, column: usize) -> Result<u64, Error> {
    row.try_get::<_, Narrow<u64>>(column).map(|number| number.0)
}

/// Returns the number as PostgreSQL stores it. Nothing is lost: positions and versions never exceed the largest signed
/// number.
pub(crate) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns a limit as PostgreSQL takes it.
pub(crate) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[derive(Default)]
struct SharedNames(Vec<Name>);

impl SharedNames {
    fn name(&mut self, text: &str) -> Name {
        if let Some(known) = self.0.iter().find(|known| known.as_str() == text) {
            return known.clone();
        }
        let name = Name::from(text);
        if self.0.len() < NAMES_SHARED_MAX {
            self.0.push(name.clone());
        }
        name
    }
}

/// The kind of a receipt.
struct Kind(ReceiptKind);

impl<'a> FromSql<'a> for Kind {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, AnyError> {
        let number = i16::from_sql(kind, raw)?;
        let known = u8::try_from(number).ok().and_then(ReceiptKind::from_number);
        Ok(Self(known.ok_or_else(|| {
            Unreadable(format!("{number} is not a kind of receipt"))
        })?))
    }

    accepts!(INT2);
}

/// A number that PostgreSQL keeps in a wider, signed type.
struct Narrow<T>(T);

impl<'a, T: TryFrom<i64>> FromSql<'a> for Narrow<T> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, AnyError> {
        let number = match *kind {
            Type::INT2 => i16::from_sql(kind, raw)?.into(),
            Type::INT4 => i32::from_sql(kind, raw)?.into(),
            _ => i64::from_sql(kind, raw)?,
        };
        let narrow = T::try_from(number)
            .map_err(|_| Unreadable(format!("the number {number} is out of range")))?;
        Ok(Self(narrow))
    }

    accepts!(INT2, INT4, INT8);
}

/// The identity of an event.
pub(crate) struct Identity(pub(crate) [u8; 16]);

impl<'a> FromSql<'a> for Identity {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, AnyError> {
        let identity = raw.try_into();
        Ok(Self(identity.map_err(|_| {
            Unreadable(format!("an identity of {} bytes instead of 16", raw.len()))
        })?))
    }

    accepts!(BYTEA);
}

/// The time at which an event was recorded, to the microsecond.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordedAt(Timestamp);

impl RecordedAt {
    /// Wraps `at`, which has been checked.
    pub(crate) fn new(at: Timestamp) -> Self {
        Self(at)
    }

    /// # Errors
    /// [`StoreError::Invalid`]: `at` is before the earliest time that PostgreSQL stores.
    pub(crate) fn check(at: Timestamp) -> Result<(), StoreError> {
        if at.as_microsecond() - EPOCH_MICROSECONDS >= EARLIEST_MICROSECONDS {
            return Ok(());
        }
        Err(StoreError::Invalid {
            reason: format!("recorded at {at}; PostgreSQL knows no time before 4714 BC"),
        })
    }
}

impl ToSql for RecordedAt {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, AnyError> {
        (self.0.as_microsecond() - EPOCH_MICROSECONDS).to_sql(&Type::INT8, out)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for RecordedAt {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, AnyError> {
        let since_2000 = i64::from_sql(&Type::INT8, raw)?;
        let at = Timestamp::from_microsecond(since_2000.saturating_add(EPOCH_MICROSECONDS));
        let at = at.map_err(|_| {
            Unreadable(format!(
                "no such time: {since_2000} microseconds after 2000"
            ))
        })?;
        Ok(Self(at))
    }

    accepts!(TIMESTAMPTZ);
}
