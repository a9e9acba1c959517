//! The fast path of appends. If every append of a batch adds events to one stream at a known version, and nothing else,
//! the batch is one INSERT that writes all or nothing: see `queries/append_to_streams.sql`. The INSERT does not tell
//! the reason for a refusal, so the batch then runs again through `append()`, which does. A conflict is not an error of
//! the server: it draws no position and leaves no line in the server's log.

use std::collections::HashSet;
use std::pin::pin;

use deadpool_postgres::ClientWrapper;
use eventsourcing_core::store::{
    Append, Appended, Commands, Expected, LogId, NewEvent, Receipt, StreamAppend, StreamId, Version,
};
use futures_util::TryStreamExt;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, RowStream};
use uuid::Uuid;

use crate::rows::{self, RecordedAt, stored};

const APPEND_TO_STREAM: &str = include_str!("queries/append_to_stream.sql");
const APPEND_TO_STREAMS: &str = include_str!("queries/append_to_streams.sql");

/// The arguments of the statement, with the same names, and the index of each append's last event.
#[derive(Default)]
pub(crate) struct FastAppend<'a> {
    part_stream_ids: Vec<Uuid>,
    part_categories: Vec<&'a str>,
    part_before: Vec<i64>,
    stream_ids: Vec<Uuid>,
    categories: Vec<&'a str>,
    versions: Vec<i64>,
    names: Vec<&'a str>,
    schema_versions: Vec<i32>,
    codecs: Vec<i16>,
    recorded_at: Vec<RecordedAt>,
    metadata: Vec<&'a [u8]>,
    payloads: Vec<&'a [u8]>,
    /// The index of the last event of each append, in the order of the appends.
    ends: Vec<usize>,
}

/// The rows of one append.
struct Part<'a> {
    append: usize,
    stream: &'a StreamId,
    before: Version,
    recorded_at: RecordedAt,
    events: &'a [NewEvent],
}

impl<'a> FastAppend<'a> {
    /// Returns `None` if an append needs more than this path offers.
    pub(crate) fn of(appends: impl Iterator<Item = &'a Append>) -> Option<Self> {
        let mut parts = appends
            .enumerate()
            .map(|(number, append)| part(number, append))
            .collect::<Option<Vec<_>>>()?;
        // All batches write in this order, so that they never deadlock: see `batch.rs`.
        parts.sort_unstable_by_key(|part| (part.stream.id, &part.stream.category));
        let mut streams = HashSet::with_capacity(parts.len());
        if !parts.iter().all(|part| streams.insert(part.stream)) {
            return None;
        }
        let mut fast = Self {
            ends: vec![0; parts.len()],
            ..Self::default()
        };
        parts.iter().for_each(|part| fast.add(part));
        Some(fast)
    }

    fn add(&mut self, part: &Part<'a>) {
        self.part_stream_ids.push(part.stream.id);
        self.part_categories.push(part.stream.category.as_str());
        self.part_before.push(stored(part.before.as_u64()));
        let mut version = part.before;
        for event in part.events {
            version = version.next();
            self.stream_ids.push(part.stream.id);
            self.categories.push(part.stream.category.as_str());
            self.versions.push(stored(version.as_u64()));
            self.names.push(event.name.as_str());
            self.schema_versions.push(event.schema_version.into());
            self.codecs.push(event.codec.0.into());
            self.recorded_at.push(part.recorded_at);
            self.metadata.push(&event.metadata);
            self.payloads.push(&event.payload);
        }
        self.ends[part.append] = self.versions.len() - 1;
    }

    /// Writes all appends in one round trip and one transaction. Returns `None` if a stream is at another version;
    /// nothing was written then.
    ///
    /// # Errors
    /// Those of `append()`.
    pub(crate) async fn write(
        &self,
        client: &ClientWrapper,
        log: LogId,
    ) -> Result<Option<Vec<Appended>>, Error> {
        let mut rows = pin!(self.rows(client).await?);
        let mut positions = Vec::with_capacity(self.versions.len());
        while let Some(row) = rows.try_next().await? {
            positions.push(rows::position(&row, 0)?);
        }
        if positions.len() < self.versions.len() {
            return Ok(None);
        }
        let appended = |end: &usize| {
            let receipt = Receipt::at(log, positions[*end]);
            Appended::new(receipt)
        };
        Ok(Some(self.ends.iter().map(appended).collect()))
    }

    async fn rows(&self, client: &ClientWrapper) -> Result<RowStream, Error> {
        if let ([stream_id], [category], [before]) = (
            &*self.part_stream_ids,
            &*self.part_categories,
            &*self.part_before,
        ) {
            let statement = client.prepare_cached(APPEND_TO_STREAM).await?;
            let arguments: [&(dyn ToSql + Sync); 10] = [
                stream_id,
                category,
                before,
                &self.versions,
                &self.names,
                &self.schema_versions,
                &self.codecs,
                &self.recorded_at[0],
                &self.metadata,
                &self.payloads,
            ];
            return client.query_raw(&statement, arguments).await;
        }
        let statement = client.prepare_cached(APPEND_TO_STREAMS).await?;
        let arrays: [&(dyn ToSql + Sync); 12] = [
            &self.part_stream_ids,
            &self.part_categories,
            &self.part_before,
            &self.stream_ids,
            &self.categories,
            &self.versions,
            &self.names,
            &self.schema_versions,
            &self.codecs,
            &self.recorded_at,
            &self.metadata,
            &self.payloads,
        ];
        client.query_raw(&statement, arrays).await
    }
}

/// Returns the rows of an append, or `None` if it needs the slow path.
fn part(number: usize, append: &Append) -> Option<Part<'_>> {
    let Append {
        recorded_at,
        commands: Commands::None,
        streams,
        tracking: None,
        snapshots,
        ..
    } = append
    else {
        return None;
    };
    let (
        [
            StreamAppend {
                stream,
                expected,
                events,
            },
        ],
        true,
    ) = (&**streams, snapshots.is_empty())
    else {
        return None;
    };
    let before = match *expected {
        Expected::NoStream => Version::ZERO,
        Expected::Exact(version) => version,
        Expected::Any | Expected::Exists => return None,
    };
    let recorded_at = RecordedAt::new(*recorded_at);
    (!events.is_empty()).then_some(Part {
        append: number,
        stream,
        before,
        recorded_at,
        events,
    })
}

#[cfg(test)]
mod tests {
    use eventsourcing_core::store::{CodecId, CommandId};
    use jiff::Timestamp;

    use super::*;

    fn write(stream: u128, expected: Expected, events: u64) -> Append {
        let event = |_| NewEvent {
            name: "Counted".into(),
            schema_version: 1,
            codec: CodecId(1),
            payload: Vec::new(),
            metadata: Vec::new(),
        };
        let stream = StreamId::new("counter", Uuid::from_u128(stream));
        Append::new(Timestamp::UNIX_EPOCH).with_events(
            stream,
            expected,
            (0..events).map(event).collect(),
        )
    }

    fn exact(version: u64) -> Expected {
        Expected::Exact(Version::new(version))
    }

    #[test]
    fn whatever_has_to_be_judged_goes_the_long_way() {
        let fast = write(7, exact(3), 1);
        assert!(FastAppend::of([&fast, &write(8, Expected::NoStream, 2)].into_iter()).is_some());
        let other = StreamId::new("counter", Uuid::from_u128(9));
        for append in [
            write(8, Expected::Any, 1),
            write(8, Expected::Exists, 1),
            write(8, exact(3), 0),
            write(7, exact(4), 1),
            write(8, exact(3), 1).with_command_id(CommandId::new()),
            write(8, exact(3), 1).with_guard(other, Expected::Exists),
        ] {
            assert!(
                FastAppend::of([&fast, &append].into_iter()).is_none(),
                "{append:?}"
            );
        }
    }

    #[test]
    fn events_stand_in_the_order_of_their_streams_and_receipts_in_that_of_the_appends() {
        let appends = [
            write(9, exact(5), 2),
            write(3, Expected::NoStream, 1),
            write(6, exact(1), 2),
        ];
        let fast = FastAppend::of(appends.iter()).expect("all are fast");
        assert_eq!(fast.versions, [1, 2, 3, 6, 7]);
        assert_eq!(fast.part_before, [0, 1, 5]);
        assert_eq!(fast.ends, [4, 0, 2]);
    }
}
