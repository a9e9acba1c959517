//! A batch of appends as arrays for one call of `append()`, and the translation of its outcomes.
//!
//! Everything that can be decided without the stored data is decided here: which appends cannot share a batch, and the
//! order in which rows are written. All batches write events in the order of their streams and receipts in the order of
//! their ids. So two processes that write the same rows always wait in the same direction, and never deadlock.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use eventsourcing_core::store::{
    Append, Appended, CommandId, Expected, LogId, Name, NewEvent, Position, Receipt, ReceiptKind,
    SharedAnswer, SharedCommand, StoreError, StreamAppend, StreamId, Tracking, Version,
};
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use crate::rows::{RecordedAt, stored};
use crate::tracking;

const APPEND: &str = include_str!("queries/append.sql");

/// The longest wait for the exclusive appender lock: longer than appends take, and shorter than people notice.
const EXCLUSIVE_LOCK_WAIT_MAX: Duration = Duration::from_millis(100);

/// The mode in which a batch holds the appender lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockMode {
    /// Held together with the batches of other connections.
    Shared,
    /// Held while no other append of the log is under way.
    Exclusive,
}

/// The outcome of one append.
#[derive(Debug)]
pub(crate) enum Outcome {
    Settled(Result<Appended, StoreError>),
    /// An earlier append of the batch may change the answer, so the append moves to the next batch.
    Deferred,
}

/// The arguments of `append()`, with the same names.
#[derive(Default)]
pub(crate) struct Batch<'a> {
    appends: Vec<&'a Append>,
    waits: Vec<bool>,
    command_appends: Vec<i32>,
    command_ids: Vec<Uuid>,
    command_kinds: Vec<i16>,
    command_parts: Vec<i32>,
    command_events: Vec<i32>,
    step_appends: Vec<i32>,
    step_followers: Vec<&'a str>,
    step_upstreams: Vec<Uuid>,
    step_starts: Vec<i64>,
    step_ends: Vec<i64>,
    step_leases: Vec<i64>,
    step_revisions: Vec<i64>,
    step_seen_positions: Vec<Option<i64>>,
    step_seen_identities: Vec<Option<&'a [u8]>>,
    step_cut_followers: Vec<Option<&'a str>>,
    step_cut_partitions: Vec<Option<i32>>,
    note_appends: Vec<i32>,
    note_followers: Vec<&'a str>,
    note_upstreams: Vec<Uuid>,
    note_keys: Vec<&'a str>,
    note_values: Vec<Option<&'a str>>,
    part_appends: Vec<i32>,
    part_stream_ids: Vec<Uuid>,
    part_categories: Vec<&'a str>,
    part_expected: Vec<i64>,
    part_events: Vec<i32>,
    part_before: Vec<i32>,
    event_parts: Vec<i32>,
    event_numbers: Vec<i32>,
    event_stream_ids: Vec<Uuid>,
    event_categories: Vec<&'a str>,
    event_names: Vec<&'a str>,
    event_schema_versions: Vec<i32>,
    event_codecs: Vec<i16>,
    event_recorded_at: Vec<RecordedAt>,
    event_metadata: Vec<&'a [u8]>,
    event_payloads: Vec<&'a [u8]>,
    snapshot_appends: Vec<i32>,
    snapshot_places: Vec<i32>,
    snapshot_stream_ids: Vec<Uuid>,
    snapshot_categories: Vec<&'a str>,
    snapshot_fingerprints: Vec<i64>,
    snapshot_versions: Vec<i64>,
    snapshot_codecs: Vec<i16>,
    snapshot_payloads: Vec<&'a [u8]>,
    snapshot_added: Vec<i32>,
}

/// The effects of the batch so far, which decide whether another append may join.
#[derive(Default)]
struct BatchEffects<'a> {
    /// The number of the last part that concerns each stream, from 1.
    parts: HashMap<&'a StreamId, i32>,
    written: HashSet<&'a StreamId>,
    /// The guarded streams. A guard's row has the version of the stream's next event, so the same batch cannot write
    /// one.
    guarded: HashSet<&'a StreamId>,
    commands: HashSet<Uuid>,
    followers: HashSet<(&'a Name, Uuid)>,
    cuts: HashMap<(&'a Name, Uuid), u32>,
}

/// A part with events, and the values that its rows share.
struct WrittenPart<'a> {
    part: i32,
    stream: &'a StreamId,
    recorded_at: RecordedAt,
    events: &'a [NewEvent],
}

impl<'a> Batch<'a> {
    /// Creates the batch of `appends`, which have been validated, in this order.
    pub(crate) fn new(appends: impl Iterator<Item = &'a Append>) -> Self {
        let mut batch = Self::default();
        let mut effects = BatchEffects::default();
        let mut written = Vec::new();
        for (number, append) in (1..).zip(appends) {
            batch.waits.push(!effects.admits(append));
            batch.add(number, append, &mut effects, &mut written);
            effects.join(append);
            batch.appends.push(append);
        }
        written.sort_by_key(|written: &WrittenPart<'_>| {
            (written.stream.id, &written.stream.category, written.part)
        });
        written.iter().for_each(|written| batch.add_events(written));
        batch.sort_commands();
        batch
    }

    /// Runs the batch in one round trip and one transaction, and returns the outcome of each append.
    ///
    /// # Errors
    /// The whole batch failed; the error tells whether it was written.
    pub(crate) async fn carry_out(
        &self,
        client: &ClientWrapper,
        log: LogId,
        mode: LockMode,
    ) -> Result<Vec<Outcome>, Error> {
        let row = match mode {
            LockMode::Shared => self.call(client, mode).await?,
            LockMode::Exclusive => self.call_exclusively(client).await?,
        };
        let verdicts = verdicts(&row)?;
        let answered = answered(&row)?;
        Ok((1..)
            .zip(&self.appends)
            .zip(&verdicts)
            .map(|((number, append), verdict)| {
                self.outcome(append, log, verdict, || {
                    self.shared_receipts(append, number, log, &answered)
                })
            })
            .collect())
    }

    /// Requests the exclusive lock with a short timeout, because all later appends queue behind such a request. All
    /// three statements are sent when the future is first polled, so the timeout is reset even if the future is
    /// dropped.
    async fn call_exclusively(&self, client: &ClientWrapper) -> Result<Row, Error> {
        client.prepare_cached(APPEND).await?;
        let limit = format!("SET lock_timeout = {}", EXCLUSIVE_LOCK_WAIT_MAX.as_millis());
        let (limited, row, _) = tokio::join! {
            biased;
            client.batch_execute(&limit),
            self.call(client, LockMode::Exclusive),
            client.batch_execute("RESET lock_timeout"),
        };
        limited?;
        row
    }

    async fn call(&self, client: &ClientWrapper, mode: LockMode) -> Result<Row, Error> {
        let statement = client.prepare_cached(APPEND).await?;
        let exclusive = mode == LockMode::Exclusive;
        client
            .query_one(
                &statement,
                &[
                    &exclusive,
                    &self.waits,
                    &self.command_appends,
                    &self.command_ids,
                    &self.step_appends,
                    &self.step_followers,
                    &self.step_upstreams,
                    &self.step_starts,
                    &self.step_ends,
                    &self.step_leases,
                    &self.step_revisions,
                    &self.note_appends,
                    &self.note_followers,
                    &self.note_upstreams,
                    &self.note_keys,
                    &self.note_values,
                    &self.part_appends,
                    &self.part_stream_ids,
                    &self.part_categories,
                    &self.part_expected,
                    &self.part_events,
                    &self.part_before,
                    &self.event_parts,
                    &self.event_numbers,
                    &self.event_stream_ids,
                    &self.event_categories,
                    &self.event_names,
                    &self.event_schema_versions,
                    &self.event_codecs,
                    &self.event_recorded_at,
                    &self.event_metadata,
                    &self.event_payloads,
                    &self.snapshot_appends,
                    &self.snapshot_places,
                    &self.snapshot_stream_ids,
                    &self.snapshot_categories,
                    &self.snapshot_fingerprints,
                    &self.snapshot_versions,
                    &self.snapshot_codecs,
                    &self.snapshot_payloads,
                    &self.snapshot_added,
                    &self.step_seen_positions,
                    &self.step_seen_identities,
                    &self.step_cut_followers,
                    &self.step_cut_partitions,
                    &self.command_kinds,
                    &self.command_parts,
                    &self.command_events,
                ],
            )
            .await
    }

    /// Returns the meaning of `verdict` for the `append` that it answers.
    fn outcome(
        &self,
        append: &Append,
        log: LogId,
        verdict: &Verdict,
        shared: impl Fn() -> Vec<Receipt>,
    ) -> Outcome {
        let number = verdict.number.unsigned_abs();
        let receipt = |kind| Receipt {
            log,
            kind,
            position: Position::new(number),
            command_id: append.commands.only(),
        };
        let place = usize::try_from(verdict.place).unwrap_or_default();
        Outcome::Settled(match (verdict.outcome, &append.tracking) {
            (0, _) => Ok(Appended {
                shared: shared(),
                ..Appended::new(receipt(append.receipt_kind()))
            }),
            (1, _) if !append.commands.shared().is_empty() => {
                Err(StoreError::Repeated { receipts: shared() })
            }
            (1, _) => match u8::try_from(verdict.place)
                .ok()
                .and_then(ReceiptKind::from_number)
            {
                Some(kind) => Ok(Appended::repeated(receipt(kind))),
                None => Err(strange(verdict)),
            },
            (outcome @ (2 | 6 | 7), Some(step)) => Err(tracking::refusal(step, outcome, number)),
            (3, _) => Err(self.conflict(append, place, Version::new(number))),
            (4, _) => Err(snapshot_refusal(append, place, Version::new(number))),
            (5, _) => return Outcome::Deferred,
            _ => Err(strange(verdict)),
        })
    }

    /// The receipts of the commands that share an append: of all if it was written, and of those that were answered before if it
    /// was refused. `answered` stands in the order of all commands of the batch.
    fn shared_receipts(
        &self,
        append: &Append,
        number: i32,
        log: LogId,
        answered: &[Option<(Position, ReceiptKind)>],
    ) -> Vec<Receipt> {
        let receipt = |command: &SharedCommand| {
            let place = self.place_of(command.id.as_uuid(), number)?;
            let answer = *answered.get(place)?;
            let (position, kind) = answer?;
            Some(Receipt {
                log,
                kind,
                position,
                command_id: Some(command.id),
            })
        };
        append
            .commands
            .shared()
            .iter()
            .filter_map(receipt)
            .collect()
    }

    /// The place of a command of an append among all commands of the batch, which stand in the order of their ids and of the
    /// appends.
    fn place_of(&self, id: Uuid, append: i32) -> Option<usize> {
        let first = self.command_ids.partition_point(|other| *other < id);
        let same = self.command_ids[first..]
            .iter()
            .take_while(|other| **other == id);
        (first..first + same.count()).find(|place| self.command_appends[*place] == append)
    }

    fn add(
        &mut self,
        number: i32,
        append: &'a Append,
        effects: &mut BatchEffects<'a>,
        written: &mut Vec<WrittenPart<'a>>,
    ) {
        self.add_commands(number, append);
        if let Some(step) = &append.tracking {
            self.add_step(number, step);
        }
        for part in &append.streams {
            let place = self.add_part(number, &part.stream, part.expected, part.events.len());
            self.part_before.push(
                effects
                    .parts
                    .insert(&part.stream, place)
                    .unwrap_or_default(),
            );
            if !part.events.is_empty() {
                let recorded_at = RecordedAt::new(append.recorded_at);
                written.push(WrittenPart {
                    part: place,
                    stream: &part.stream,
                    recorded_at,
                    events: &part.events,
                });
            }
        }
        for (place, snapshot) in (0..).zip(&append.snapshots) {
            self.snapshot_appends.push(number);
            self.snapshot_places.push(place);
            self.snapshot_stream_ids.push(snapshot.stream.id);
            self.snapshot_categories
                .push(snapshot.stream.category.as_str());
            self.snapshot_fingerprints
                .push(snapshot.fingerprint.0.cast_signed());
            self.snapshot_versions
                .push(stored(snapshot.version.as_u64()));
            self.snapshot_codecs.push(snapshot.codec.0.into());
            self.snapshot_payloads.push(&snapshot.payload);
            let own = append
                .streams
                .iter()
                .find(|part| part.stream == snapshot.stream);
            self.snapshot_added
                .push(own.map_or(0, |part| count(part.events.len())));
        }
    }

    /// Adds the commands of an append, before its parts are added.
    fn add_commands(&mut self, number: i32, append: &Append) {
        if let Some(id) = append.commands.only() {
            self.add_command(number, id, append.receipt_kind(), None);
        }
        for SharedCommand { id, answer } in append.commands.shared() {
            let end = match answer {
                SharedAnswer::Recorded { last_event } => append.event_at(*last_event),
                SharedAnswer::NothingRecorded | SharedAnswer::Rejected => None,
            };
            self.add_command(number, *id, answer.kind(), end);
        }
    }

    /// `end`: the part and the event in it with which the command ends, both from 0, if that is not the end of the append.
    fn add_command(
        &mut self,
        number: i32,
        id: CommandId,
        kind: ReceiptKind,
        end: Option<(usize, usize)>,
    ) {
        let (part, event) = match end {
            Some((part, event)) => (count(self.part_appends.len() + part + 1), count(event + 1)),
            None => (0, 0),
        };
        self.command_appends.push(number);
        self.command_ids.push(id.as_uuid());
        self.command_kinds.push(kind.number().into());
        self.command_parts.push(part);
        self.command_events.push(event);
    }

    fn add_step(&mut self, number: i32, step: &'a Tracking) {
        self.step_appends.push(number);
        self.step_followers.push(step.follower.as_str());
        self.step_upstreams.push(step.upstream.as_uuid());
        self.step_starts.push(stored(step.from.as_u64()));
        self.step_ends.push(stored(step.to.as_u64()));
        self.step_leases.push(tracking::lease_of(step));
        self.step_revisions.push(tracking::revision_of(step));
        let (seen_position, seen_identity) = tracking::last_event_of(step);
        self.step_seen_positions.push(seen_position);
        self.step_seen_identities.push(seen_identity);
        let (cut_follower, cut_partitions) = tracking::cut_of(step);
        self.step_cut_followers.push(cut_follower);
        self.step_cut_partitions.push(cut_partitions);
        for (key, value) in &step.notes {
            self.note_appends.push(number);
            self.note_followers.push(step.follower.as_str());
            self.note_upstreams.push(step.upstream.as_uuid());
            self.note_keys.push(key);
            self.note_values.push(value.as_deref());
        }
    }

    /// Returns the number of the part, from 1.
    fn add_part(
        &mut self,
        number: i32,
        stream: &'a StreamId,
        expected: Expected,
        events: usize,
    ) -> i32 {
        self.part_appends.push(number);
        self.part_stream_ids.push(stream.id);
        self.part_categories.push(stream.category.as_str());
        self.part_expected.push(match expected {
            Expected::Any => -1,
            Expected::Exists => -2,
            Expected::NoStream => 0,
            Expected::Exact(version) => stored(version.as_u64()),
        });
        self.part_events.push(count(events));
        count(self.part_appends.len())
    }

    fn add_events(&mut self, written: &WrittenPart<'a>) {
        for (number, event) in (1..).zip(written.events) {
            self.event_parts.push(written.part);
            self.event_numbers.push(number);
            self.event_stream_ids.push(written.stream.id);
            self.event_categories.push(written.stream.category.as_str());
            self.event_names.push(event.name.as_str());
            self.event_schema_versions.push(event.schema_version.into());
            self.event_codecs.push(event.codec.0.into());
            self.event_recorded_at.push(written.recorded_at);
            self.event_metadata.push(&event.metadata);
            self.event_payloads.push(&event.payload);
        }
    }

    fn sort_commands(&mut self) {
        if self.command_ids.len() < 2 {
            return;
        }
        let mut places: Vec<usize> = (0..self.command_ids.len()).collect();
        places
            .sort_unstable_by_key(|place| (self.command_ids[*place], self.command_appends[*place]));
        self.command_ids = in_order(&places, &self.command_ids);
        self.command_appends = in_order(&places, &self.command_appends);
        self.command_kinds = in_order(&places, &self.command_kinds);
        self.command_parts = in_order(&places, &self.command_parts);
        self.command_events = in_order(&places, &self.command_events);
    }

    fn conflict(&self, append: &Append, place: usize, actual: Version) -> StoreError {
        // `place` counts the parts of the whole batch; those of one append are adjacent.
        let first = self
            .part_appends
            .iter()
            .position(|number| Some(number) == self.part_appends.get(place - 1));
        let part = &append.streams[place - 1 - first.unwrap_or_default()];
        StoreError::Conflict {
            stream: part.stream.clone(),
            expected: part.expected,
            actual,
        }
    }
}

fn in_order<T: Copy>(places: &[usize], values: &[T]) -> Vec<T> {
    places.iter().map(|place| values[*place]).collect()
}

fn strange(verdict: &Verdict) -> StoreError {
    StoreError::Corrupt {
        reason: format!("append() answered {verdict:?}"),
        source: None,
    }
}

fn snapshot_refusal(append: &Append, place: usize, head: Version) -> StoreError {
    let refused = append.snapshots[place].check_within(head).err();
    refused.unwrap_or_else(|| StoreError::Corrupt {
        reason: "append() refused a sound snapshot".into(),
        source: None,
    })
}

/// Returns `true` for a part without events that only keeps other appends from writing to its stream.
fn is_guard(part: &StreamAppend) -> bool {
    part.events.is_empty() && matches!(part.expected, Expected::NoStream | Expected::Exact(_))
}

impl<'a> BatchEffects<'a> {
    /// Returns `true` if the effects of the batch so far do not change the answer to `append`.
    ///
    /// The database checks all appends against the state before the batch. For a part that expects any version, or any
    /// but 0, that answer remains true, because the streams of the batch only grow.
    fn admits(&self, append: &'a Append) -> bool {
        let exact = append
            .streams
            .iter()
            .filter(|part| matches!(part.expected, Expected::NoStream | Expected::Exact(_)));
        let mut written = append.streams.iter().filter(|part| !part.events.is_empty());
        exact
            .map(|part| &part.stream)
            .all(|stream| !self.written.contains(stream))
            && written.all(|part| !self.guarded.contains(&part.stream))
            && append
                .snapshots
                .iter()
                .all(|snapshot| !self.written.contains(&snapshot.stream))
            && append
                .commands
                .ids()
                .all(|id| !self.commands.contains(&id.as_uuid()))
            && append.tracking.iter().all(|step| {
                !self
                    .followers
                    .contains(&(&step.follower, step.upstream.as_uuid()))
            })
            && append
                .tracking
                .iter()
                .filter_map(cut_of)
                .all(|(whole, cut)| *self.cuts.get(&whole).unwrap_or(&cut) == cut)
    }

    fn join(&mut self, append: &'a Append) {
        let written = append.streams.iter().filter(|part| !part.events.is_empty());
        self.written.extend(written.map(|part| &part.stream));
        let guards = append.streams.iter().filter(|part| is_guard(part));
        self.guarded.extend(guards.map(|part| &part.stream));
        self.commands
            .extend(append.commands.ids().map(CommandId::as_uuid));
        self.followers.extend(
            append
                .tracking
                .iter()
                .map(|step| (&step.follower, step.upstream.as_uuid())),
        );
        self.cuts.extend(append.tracking.iter().filter_map(cut_of));
    }
}

/// Returns the number of partitions that a step relies on, with the whole follower. The first step of a batch may
/// record it.
fn cut_of(step: &Tracking) -> Option<((&Name, Uuid), u32)> {
    step.cut
        .as_ref()
        .map(|cut| ((&cut.follower, step.upstream.as_uuid()), cut.partitions))
}

/// The answer of `append()` about one append.
#[derive(Debug)]
struct Verdict {
    outcome: i32,
    number: i64,
    place: i32,
}

fn verdicts(row: &Row) -> Result<Vec<Verdict>, Error> {
    let outcomes: Vec<i32> = row.try_get(0)?;
    let numbers: Vec<i64> = row.try_get(1)?;
    let places: Vec<i32> = row.try_get(2)?;
    let verdicts = outcomes.into_iter().zip(numbers).zip(places);
    Ok(verdicts
        .map(|((outcome, number), place)| Verdict {
            outcome,
            number,
            place,
        })
        .collect())
}

/// Returns the answer to each command of the batch, now or before; `None` if its append was refused for another reason.
fn answered(row: &Row) -> Result<Vec<Option<(Position, ReceiptKind)>>, Error> {
    let positions: Vec<Option<i64>> = row.try_get(4)?;
    let kinds: Vec<Option<i16>> = row.try_get(5)?;
    let answered = positions.into_iter().zip(kinds);
    Ok(answered
        .map(|(position, kind)| {
            let kind = u8::try_from(kind?)
                .ok()
                .and_then(ReceiptKind::from_number)?;
            Some((Position::new(position?.unsigned_abs()), kind))
        })
        .collect())
}

/// No batch has as many events as 32 bits can count.
fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use eventsourcing_core::store::{CodecId, Fingerprint, NewSnapshot};
    use jiff::Timestamp;

    use super::*;

    fn stream(number: u128) -> StreamId {
        StreamId::new("account", Uuid::from_u128(number))
    }

    fn write(number: u128, expected: Expected) -> Append {
        let event = NewEvent {
            name: "deposited".into(),
            schema_version: 1,
            codec: CodecId(0),
            payload: vec![number as u8],
            metadata: Vec::new(),
        };
        Append::new(Timestamp::UNIX_EPOCH).with_events(stream(number), expected, vec![event])
    }

    fn guard(number: u128, expected: Expected) -> Append {
        guard_for(1, number, expected)
    }

    fn guard_for(writes: u128, number: u128, expected: Expected) -> Append {
        write(writes, Expected::Any).with_guard(stream(number), expected)
    }

    #[test]
    fn appends_that_change_each_others_answer_do_not_share_a_batch() {
        let id = CommandId::new();
        let at_two = Expected::Exact(Version::new(2));
        let step = |to| {
            Tracking::new(
                "audit",
                LogId::from_uuid(Uuid::nil()),
                Position::ZERO,
                Position::new(to),
            )
        };
        let snapshot = NewSnapshot {
            stream: stream(7),
            version: Version::FIRST,
            fingerprint: Fingerprint(1),
            codec: CodecId(0),
            payload: vec![],
        };
        for (what, first, second, waits) in [
            (
                "different streams",
                write(7, at_two),
                write(8, at_two),
                false,
            ),
            (
                "exact after a write",
                write(7, Expected::Any),
                write(7, at_two),
                true,
            ),
            (
                "new after a write",
                write(7, Expected::NoStream),
                write(7, Expected::NoStream),
                true,
            ),
            (
                "any after a write",
                write(7, at_two),
                write(7, Expected::Any),
                false,
            ),
            (
                "existing after a write",
                write(7, at_two),
                write(7, Expected::Exists),
                false,
            ),
            (
                "guard after a write",
                write(7, at_two),
                guard(7, at_two),
                true,
            ),
            (
                "write after a guard",
                guard(7, at_two),
                write(7, at_two),
                true,
            ),
            (
                "write after a guard of any version",
                guard(7, Expected::Exists),
                write(7, at_two),
                false,
            ),
            (
                "guard after a guard",
                guard(7, at_two),
                guard_for(2, 7, at_two),
                false,
            ),
            (
                "one command",
                write(7, Expected::Any).with_command_id(id),
                write(8, Expected::Any).with_command_id(id),
                true,
            ),
            (
                "one follower",
                write(7, Expected::Any).with_tracking(step(3)),
                write(8, Expected::Any).with_tracking(step(4)),
                true,
            ),
            (
                "snapshot after a write",
                write(7, Expected::Any),
                write(8, Expected::Any).with_snapshot(snapshot),
                true,
            ),
        ] {
            assert_eq!(
                Batch::new([&first, &second].into_iter()).waits,
                [false, waits],
                "{what}"
            );
        }
    }

    #[test]
    fn rows_are_written_in_the_order_of_streams_and_of_commands() {
        let appends: Vec<_> = [9, 3, 5, 3]
            .into_iter()
            .map(|number| write(number, Expected::Any))
            .zip([4, 2, 8, 6])
            .map(|(append, id)| append.with_command_id(CommandId::from_uuid(Uuid::from_u128(id))))
            .collect();
        let batch = Batch::new(appends.iter());
        assert_eq!(
            batch.event_parts,
            [2, 4, 3, 1],
            "parts of the same stream keep their order"
        );
        assert_eq!(batch.part_before, [0, 0, 0, 2]);
        assert_eq!(batch.command_appends, [2, 1, 4, 3]);
    }

    #[test]
    fn each_of_several_commands_ends_with_an_event_of_its_append() {
        let shared = |id, answer| SharedCommand {
            id: CommandId::from_uuid(Uuid::from_u128(id)),
            answer,
        };
        let event = write(1, Expected::Any).streams.remove(0).events.remove(0);
        let first = write(5, Expected::Any);
        let second = Append::new(Timestamp::UNIX_EPOCH)
            .with_guard(stream(7), Expected::Exists)
            .with_events(stream(8), Expected::Any, vec![event.clone(), event.clone()])
            .with_events(stream(9), Expected::Any, vec![event])
            .with_shared_commands(vec![
                shared(9, SharedAnswer::Recorded { last_event: 2 }),
                shared(3, SharedAnswer::NothingRecorded),
                shared(6, SharedAnswer::Recorded { last_event: 1 }),
            ]);
        let batch = Batch::new([&first, &second].into_iter());
        assert_eq!(batch.command_parts, [0, 3, 4], "in the order of the ids");
        assert_eq!(batch.command_events, [0, 2, 1]);
        let answered = [Some((Position::new(12), ReceiptKind::Recorded)), None, None];
        let log = LogId::from_uuid(Uuid::nil());
        let known = batch.shared_receipts(&second, 2, log, &answered);
        assert_eq!(known.len(), 1, "the others were not answered");
        assert_eq!(
            known[0].command_id,
            Some(shared(3, SharedAnswer::Rejected).id)
        );
    }
}
