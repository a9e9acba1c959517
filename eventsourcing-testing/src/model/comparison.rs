//! [`Comparison`]: carries out the same actions on a store and on the model, and compares their answers.

use std::fmt::Debug;

use eventsourcing_core::store::{
    Append, Appended, AuditStore, CodecId, CommandId, Commands, EventStore, Expected, Filter,
    Fingerprint, FollowerStore, Load, LogId, LogQuery, Name, NewEvent, NewSnapshot, NotesQuery,
    Position, Revision, SharedAnswer, SharedCommand, StoreError, StreamId, StreamQuery, Tracking,
    Version,
};
use jiff::Timestamp;
use uuid::Uuid;

use super::action::{
    Action, Expectation, FOLLOWERS, NOTE_KEYS, STREAMS, Step, UPSTREAMS, Wanted, Write,
};
use super::plain_store::{PlainStore, Refusal, Verdict};
use crate::conformance::FollowerFixture;

pub(super) struct Comparison<F: FollowerFixture> {
    fixture: F,
    store: F::Store,
    model: PlainStore,
}

impl<F: FollowerFixture> Comparison<F> {
    pub(super) async fn new() -> Self {
        let fixture = F::new().await;
        let store = fixture.open().await;
        Self {
            fixture,
            store,
            model: PlainStore::default(),
        }
    }

    /// # Errors
    /// The difference between store and model.
    pub(super) async fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Append(write) => self.append(write).await,
            Action::ReadStream {
                stream,
                from,
                to,
                limit,
                backwards,
            } => {
                let query = StreamQuery::new(stream_id(*stream))
                    .from(Version::new(*from))
                    .to(Version::new(*to))
                    .limit(*limit);
                self.read_stream(if *backwards { query.backwards() } else { query })
                    .await
            }
            Action::Load {
                stream,
                after,
                to,
                limit,
                fingerprint,
            } => {
                let stream = stream_id(*stream);
                let fingerprint = fingerprint.map(Fingerprint);

                let after = Version::new(*after);
                let to = Version::new(*to);

                self.load(Load {
                    stream,
                    after,
                    to,
                    fingerprint,
                    limit: *limit,
                })
                .await
            }
            Action::ReadLog {
                after_event,
                limit,
                filter,
            } => {
                let after = self.position_of_event(*after_event);
                let query = LogQuery {
                    limit: *limit,
                    filter: filter_of(filter),
                    ..LogQuery::after(after)
                };
                self.read_log(query).await
            }
            Action::Head => equal(
                "the head",
                answer("head", self.store.head().await)?,
                self.model.head(),
            ),
            Action::NewestPosition => {
                let newest = answer("newest_position", self.store.newest_position().await)?;
                equal("the newest position", newest, self.model.head())
            }
            Action::Receipts { after, limit } => {
                let after = after.map(command_id);
                let listed = answer("receipts", self.store.receipts(after, *limit).await)?;
                equal("receipts", listed, self.model.receipts(after, *limit))
            }
            Action::Tracking { follower, upstream } => self.tracking(*follower, *upstream).await,
            Action::Notes {
                follower,
                upstream,
                prefix,
                after,
                limit,
            } => {
                let follower = follower_name(*follower);
                let upstream = self.log_id(*upstream);

                let query = NotesQuery::new(follower, upstream, note_key(*prefix))
                    .after(note_key(*after))
                    .limit(*limit);
                self.notes(query).await
            }
            Action::Reopen => {
                self.store = self.fixture.open().await;
                Ok(())
            }
        }
    }

    /// Compares all contents, through a store that is opened last.
    pub(super) async fn end(mut self) -> Result<(), String> {
        self.act(&Action::Reopen).await?;
        self.act(&Action::Head).await?;
        self.act(&Action::NewestPosition).await?;
        self.act(&Action::Receipts {
            after: None,
            limit: usize::MAX,
        })
        .await?;
        let mut query = LogQuery::after(Position::ZERO);
        while query.after < self.model.head() {
            query.after = self.page(query.clone()).await?;
        }
        for stream in 0..STREAMS {
            self.read_stream(StreamQuery::new(stream_id(stream)))
                .await?;
            self.load(Load::new(stream_id(stream)).with_snapshot(Fingerprint(0)))
                .await?;
        }
        for (follower, upstream) in
            (0..FOLLOWERS).flat_map(|follower| (0..UPSTREAMS).map(move |log| (follower, log)))
        {
            self.tracking(follower, upstream).await?;
            self.notes(NotesQuery::new(
                follower_name(follower),
                self.log_id(upstream),
                "",
            ))
            .await?;
        }
        Ok(())
    }

    async fn append(&mut self, write: &Write) -> Result<(), String> {
        let append = self.append_of(write);
        let result = self.store.append(append.clone()).await;
        match self.model.judge(&append) {
            Verdict::Repeated(receipt) => equal(
                "a repeated append",
                answer("append", result)?,
                Appended::repeated(receipt),
            ),
            Verdict::Refused(refusals) => refused(result, &refusals),
            Verdict::Accepted => self.accepted(append, answer("append", result)?).await,
        }
    }

    async fn accepted(&mut self, append: Append, appended: Appended) -> Result<(), String> {
        let count = append.event_count();
        let head = self.model.head();
        let query = LogQuery::after(head).limit(count + 1);
        let new = answer("read_log", self.store.read_log(query).await)?.events;
        let positions: Vec<_> = new.iter().map(|event| event.position).collect();
        equal(
            "the number of events that an append has added",
            positions.len(),
            count,
        )?;
        let all: Vec<_> = [head]
            .into_iter()
            .chain(positions.iter().copied())
            .collect();
        if !all.is_sorted_by(|one, next| one < next) {
            return Err(format!("positions must grow: {all:?}"));
        }
        let expected = self
            .model
            .carry_out(self.store.log_id(), append, &positions);
        equal("an append", appended, expected)?;
        let written = &self.model.log()[self.model.log().len() - count..];
        equal("what an append has added", new.as_slice(), written)
    }

    async fn read_stream(&self, query: StreamQuery) -> Result<(), String> {
        let model = self.model.stream(&query);
        equal(
            "read_stream",
            answer("read_stream", self.store.read_stream(query).await)?,
            model,
        )
    }

    async fn load(&self, load: Load) -> Result<(), String> {
        let model = self.model.load(&load);
        equal("load", answer("load", self.store.load(load).await)?, model)
    }

    async fn read_log(&self, query: LogQuery) -> Result<(), String> {
        self.page(query).await.map(|_| ())
    }

    /// Compares a page and returns its ceiling. A store may choose the length of a page, as long as it leaves out no event and the
    /// ceiling advances.
    async fn page(&self, query: LogQuery) -> Result<Position, String> {
        let page = answer("read_log", self.store.read_log(query.clone()).await)?;
        let more = query.after < self.model.head();
        if page.ceiling < query.after || (more && page.ceiling == query.after) {
            return Err(format!(
                "{query:?} advances to ceiling {} only",
                page.ceiling
            ));
        }
        if page.events.len() > query.limit.max(1) {
            return Err(format!("{query:?} returns {} events", page.events.len()));
        }
        let model = self.model.wanted(&query.filter, query.after, page.ceiling);
        equal("read_log", page.events, model)?;
        Ok(page.ceiling)
    }

    async fn tracking(&self, follower: usize, upstream: usize) -> Result<(), String> {
        let follower = follower_name(follower);
        let upstream = self.log_id(upstream);

        let store = answer("tracking", self.store.tracking(&follower, upstream).await)?;
        equal(
            "tracking",
            store,
            self.model.position_of(&follower, upstream),
        )
    }

    async fn notes(&self, query: NotesQuery) -> Result<(), String> {
        let model = self.model.notebook(&query);
        equal(
            "notes",
            answer("notes", self.store.notes(query).await)?,
            model,
        )
    }

    fn append_of(&self, write: &Write) -> Append {
        let nanosecond = i128::from(write.recorded_nanosecond);
        let mut append =
            Append::new(Timestamp::from_nanosecond(nanosecond).expect("close to 1970"));
        append.commands = commands_of(write);
        append.tracking = write.step.as_ref().map(|step| self.tracking_of(step));
        for part in &write.parts {
            let stream = stream_id(part.stream);
            let expected = self.expected(part.expectation, &stream);
            let events = part
                .events
                .iter()
                .map(|event| new_event(event.name, &event.payload))
                .collect();
            append = append.with_events(stream, expected, events);
        }
        for snapshot in &write.snapshots {
            append = append.with_snapshot(new_snapshot(
                snapshot.stream,
                snapshot.version,
                snapshot.fingerprint,
            ));
        }
        append
    }

    fn expected(&self, expectation: Expectation, stream: &StreamId) -> Expected {
        match expectation {
            Expectation::Any => Expected::Any,
            Expectation::NoStream => Expected::NoStream,
            Expectation::Exists => Expected::Exists,
            Expectation::Exact(version) => Expected::Exact(Version::new(version)),
            Expectation::Right => Expected::Exact(self.model.version_of(stream)),
        }
    }

    fn tracking_of(&self, step: &Step) -> Tracking {
        let follower = follower_name(step.follower);
        let upstream = self.log_id(step.upstream);

        let from = step.from.map_or_else(
            || self.model.position_of(&follower, upstream),
            Position::new,
        );
        let to = Position::new((from.as_u64() + step.length_and_one).saturating_sub(1));
        let revision = step.revision.map(|revision| match revision {
            Some(number) => Revision::new(number),
            None => self.model.revision_of(&follower, upstream),
        });
        let mut tracking = Tracking::new(follower, upstream, from, to).with_revision(revision);
        let notes = step.notes.iter().map(|(key, value)| {
            (
                note_key(*key).to_owned(),
                value.map(|value| value.to_string()),
            )
        });
        tracking.notes.extend(notes);
        tracking
    }

    /// Returns the position of the event with this number in the log, counted from 1; beyond the log for higher numbers.
    fn position_of_event(&self, number: usize) -> Position {
        match number.checked_sub(1) {
            None => Position::ZERO,
            Some(index) => match self.model.log().get(index) {
                Some(event) => event.position,
                None => Position::new(self.model.head().as_u64() + number as u64),
            },
        }
    }

    fn log_id(&self, upstream: usize) -> LogId {
        if upstream == 0 {
            self.store.log_id()
        } else {
            LogId::from_uuid(Uuid::from_u128(upstream as u128))
        }
    }
}

fn answer<T>(operation: &str, result: Result<T, StoreError>) -> Result<T, String> {
    result.map_err(|error| format!("{operation} must succeed; the store says: {error}"))
}

fn equal<T: Debug + PartialEq>(what: &str, store: T, model: T) -> Result<(), String> {
    if store == model {
        return Ok(());
    }
    Err(format!(
        "{what}: the store says {store:?}, the model {model:?}"
    ))
}

fn refused(result: Result<Appended, StoreError>, refusals: &[Refusal]) -> Result<(), String> {
    let refusal = match result {
        Err(StoreError::Invalid { .. }) => Refusal::Invalid,
        Err(StoreError::Repeated { receipts }) => Refusal::Repeated(receipts),
        Err(StoreError::Conflict {
            stream,
            expected,
            actual,
        }) => Refusal::Conflict {
            stream,
            expected,
            actual,
        },
        Err(StoreError::TrackingConflict {
            follower,
            expected,
            actual,
        }) => Refusal::TrackingConflict {
            follower,
            expected,
            actual,
        },
        other => {
            return Err(format!(
                "append: the store says {other:?}, the model refuses it: {refusals:?}"
            ));
        }
    };
    if refusals.contains(&refusal) {
        return Ok(());
    }
    Err(format!(
        "append: the store refuses it because of {refusal:?}, the model because of {refusals:?}"
    ))
}

/// Returns a stream by its number. The third stream has the id of the first and another category.
fn stream_id(number: usize) -> StreamId {
    let (category, id) = [(0, 1), (0, 2), (1, 1)][number];
    StreamId::new(category_name(category), Uuid::from_u128(id))
}

fn commands_of(write: &Write) -> Commands {
    if let (Some(number), true) = (write.command, write.shared.is_empty()) {
        return Commands::One {
            id: command_id(number),
            is_rejection: write.is_rejection,
        };
    }
    if write.shared.is_empty() {
        return Commands::None;
    }
    let shared = write.shared.iter().map(|(number, answer)| SharedCommand {
        id: command_id(*number),
        answer: match answer {
            0 => SharedAnswer::NothingRecorded,
            1 => SharedAnswer::Rejected,
            answer => SharedAnswer::Recorded {
                last_event: answer - 2,
            },
        },
    });
    Commands::Several(shared.collect())
}

fn command_id(number: usize) -> CommandId {
    CommandId::from_uuid(Uuid::from_u128(0xC0 + number as u128))
}

fn category_name(number: usize) -> Name {
    Name::from_static(["Account", "Transfer", "Nothing"][number])
}

fn event_name(number: usize) -> Name {
    Name::from_static(["Opened", "Closed", "opened"][number])
}

fn follower_name(number: usize) -> Name {
    Name::from_static(["statements", "Statements"][number])
}

/// Returns a key by its number. The last one is a prefix for queries only.
fn note_key(number: usize) -> &'static str {
    ["a", "ab", "A", "b", ""][..=NOTE_KEYS][number]
}

fn filter_of(wanted: &Wanted) -> Filter {
    Filter {
        categories: wanted
            .categories
            .iter()
            .copied()
            .map(category_name)
            .collect(),
        names: wanted.names.iter().copied().map(event_name).collect(),
        first_of_stream: wanted.first_of_stream,
    }
}

fn new_event(name: usize, payload: &[u8]) -> NewEvent {
    let metadata = payload.iter().rev().copied().collect();
    let codec = CodecId(payload.len() as u8);

    NewEvent {
        name: event_name(name),
        schema_version: 1 + name as u16,
        codec,
        payload: payload.to_vec(),
        metadata,
    }
}

/// Returns a snapshot. Its payload follows from its stream, version and fingerprint, so writing it again changes nothing.
fn new_snapshot(stream: usize, version: u64, fingerprint: u64) -> NewSnapshot {
    let payload = format!("{stream} at {version} by {fingerprint}").into_bytes();
    let version = Version::new(version);
    let fingerprint = Fingerprint(fingerprint);

    NewSnapshot {
        stream: stream_id(stream),
        version,
        fingerprint,
        codec: CodecId(9),
        payload,
    }
}
