//! [`PlainStore`]: the model of a store, with lists and linear scans. It is slow on purpose, so that it stays simple enough to
//! be evidently right.

use std::collections::BTreeMap;

use eventsourcing_core::store::{
    Append, Appended, CommandId, Commands, Direction, Expected, Filter, FollowerNotes, Load,
    Loaded, LoadedEvent, LogId, Name, NewSnapshot, NotesQuery, Position, Receipt, ReceiptKind,
    Revision, SharedAnswer, SharedCommand, StoredEvent, StoredSnapshot, StreamId, StreamQuery,
    Tracking, Version,
};
use jiff::Timestamp;

#[derive(Default)]
pub(super) struct PlainStore {
    log: Vec<StoredEvent>,
    tracking: Vec<Tracking>,
    receipts: Vec<Receipt>,
    snapshots: Vec<NewSnapshot>,
}

/// The required outcome of an append.
pub(super) enum Verdict {
    /// The append was carried out before.
    Repeated(Receipt),
    /// The append is refused, for one of these reasons.
    Refused(Vec<Refusal>),
    /// The append is carried out.
    Accepted,
}

#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    Invalid,
    Repeated(Vec<Receipt>),
    Conflict {
        stream: StreamId,
        expected: Expected,
        actual: Version,
    },
    TrackingConflict {
        follower: Name,
        expected: Position,
        actual: Position,
    },
}

impl PlainStore {
    pub(super) fn judge(&self, append: &Append) -> Verdict {
        if makes_no_sense(append) {
            return Verdict::Refused(vec![Refusal::Invalid]);
        }
        if let Some(receipt) = append.commands.only().and_then(|id| self.receipt_of(id)) {
            return Verdict::Repeated(receipt);
        }
        let shared = append.commands.shared().iter();
        let repeated: Vec<_> = shared
            .filter_map(|command| self.receipt_of(command.id))
            .collect();
        if !repeated.is_empty() {
            return Verdict::Refused(vec![Refusal::Repeated(repeated)]);
        }
        let mut refusals = self.conflicts(append);
        refusals.extend(
            append
                .tracking
                .as_ref()
                .and_then(|tracking| self.tracking_conflict(tracking)),
        );
        if append
            .snapshots
            .iter()
            .any(|snapshot| self.is_beyond(append, snapshot))
        {
            refusals.push(Refusal::Invalid);
        }
        if refusals.is_empty() {
            Verdict::Accepted
        } else {
            Verdict::Refused(refusals)
        }
    }

    fn receipt_of(&self, id: CommandId) -> Option<Receipt> {
        self.receipts
            .iter()
            .find(|receipt| receipt.command_id == Some(id))
            .copied()
    }

    fn conflicts(&self, append: &Append) -> Vec<Refusal> {
        let mut conflicts = Vec::new();
        for part in &append.streams {
            let actual = self.version_of(&part.stream);
            let expected = part.expected;

            let as_expected = match expected {
                Expected::Any => true,
                Expected::NoStream => actual.as_u64() == 0,
                Expected::Exists => actual.as_u64() > 0,
                Expected::Exact(version) => actual == version,
            };
            if !as_expected {
                conflicts.push(Refusal::Conflict {
                    stream: part.stream.clone(),
                    expected,
                    actual,
                });
            }
        }
        conflicts
    }

    fn tracking_conflict(&self, step: &Tracking) -> Option<Refusal> {
        let Tracking {
            follower,
            upstream,
            from,
            revision,
            ..
        } = step;
        let actual = self.position_of(follower, *upstream);
        let outdated =
            revision.is_some_and(|revision| revision != self.revision_of(follower, *upstream));
        let conflict = Refusal::TrackingConflict {
            follower: follower.clone(),
            expected: *from,
            actual,
        };
        (actual != *from || outdated).then_some(conflict)
    }

    fn is_beyond(&self, append: &Append, snapshot: &NewSnapshot) -> bool {
        let parts = append
            .streams
            .iter()
            .filter(|part| part.stream == snapshot.stream);
        let appended: usize = parts.map(|part| part.events.len()).sum();
        let end = self.version_of(&snapshot.stream).as_u64() + appended as u64;
        snapshot.version.as_u64() == 0 || snapshot.version.as_u64() > end
    }

    /// Carries `append` out. `positions` are those of the store under test, which may choose any positions as long as they grow.
    pub(super) fn carry_out(
        &mut self,
        log: LogId,
        append: Append,
        positions: &[Position],
    ) -> Appended {
        let mut positions_left = positions.iter();
        for part in append.streams {
            for event in part.events {
                let version = Version::new(self.version_of(&part.stream).as_u64() + 1);
                self.log.push(StoredEvent {
                    position: *positions_left
                        .next()
                        .expect("there is a position for each event"),
                    stream: part.stream.clone(),
                    version,
                    recorded_at: Timestamp::from_microsecond(append.recorded_at.as_microsecond())
                        .expect("it was a time"),
                    name: event.name,
                    schema_version: event.schema_version,
                    codec: event.codec,
                    payload: event.payload,
                    metadata: event.metadata,
                });
            }
        }
        self.tracking.extend(append.tracking);
        self.snapshots.extend(append.snapshots);
        let (kind, position) = match (positions.last(), &append.commands) {
            (Some(last), _) => (ReceiptKind::Recorded, *last),
            (None, Commands::One { is_rejection, .. }) if *is_rejection => {
                (ReceiptKind::Rejected, self.head())
            }
            (None, commands) if commands.is_empty() => {
                (ReceiptKind::NothingRecorded, Position::ZERO)
            }
            (None, _) => (ReceiptKind::NothingRecorded, self.head()),
        };
        let receipt = Receipt {
            log,
            kind,
            position,
            command_id: append.commands.only(),
        };
        let shared = append.commands.shared().iter().map(|command| {
            let (kind, position) = match command.answer {
                SharedAnswer::Recorded { last_event } => {
                    (ReceiptKind::Recorded, positions[last_event])
                }
                SharedAnswer::NothingRecorded => (ReceiptKind::NothingRecorded, self.head()),
                SharedAnswer::Rejected => (ReceiptKind::Rejected, self.head()),
            };
            Receipt {
                log,
                kind,
                position,
                command_id: Some(command.id),
            }
        });
        let appended = Appended {
            shared: shared.collect(),
            ..Appended::new(receipt)
        };
        self.receipts.push(receipt);
        self.receipts.extend(&appended.shared);
        appended
    }

    pub(super) fn receipts(&self, after: Option<CommandId>, limit: usize) -> Vec<Receipt> {
        let named = self
            .receipts
            .iter()
            .filter(|receipt| receipt.command_id.is_some() && receipt.command_id > after);
        let mut receipts: Vec<_> = named.copied().collect();
        receipts.sort_by_key(|receipt| receipt.command_id);
        receipts.truncate(limit);
        receipts
    }

    pub(super) fn log(&self) -> &[StoredEvent] {
        &self.log
    }

    pub(super) fn head(&self) -> Position {
        self.log
            .last()
            .map_or(Position::ZERO, |event| event.position)
    }

    pub(super) fn version_of(&self, stream: &StreamId) -> Version {
        Version::new(
            self.log
                .iter()
                .filter(|event| event.stream == *stream)
                .count() as u64,
        )
    }

    pub(super) fn position_of(&self, follower: &Name, upstream: LogId) -> Position {
        let mut steps = self.tracking.iter().rev();
        let last = steps.find(|step| step.follower == *follower && step.upstream == upstream);
        last.map_or(Position::ZERO, |step| step.to)
    }

    pub(super) fn revision_of(&self, follower: &Name, upstream: LogId) -> Revision {
        let steps = self
            .tracking
            .iter()
            .filter(|step| step.follower == *follower && step.upstream == upstream);
        Revision::new(steps.count() as u64)
    }

    fn partitions_of(&self, follower: &Name, upstream: LogId) -> Option<u32> {
        let cuts = self
            .tracking
            .iter()
            .filter(|step| step.upstream == upstream)
            .filter_map(|step| step.cut.as_ref());
        cuts.filter(|cut| cut.follower == *follower)
            .map(|cut| cut.partitions)
            .next()
    }

    pub(super) fn notebook(&self, query: &NotesQuery) -> FollowerNotes {
        let NotesQuery {
            follower,
            upstream,
            prefix,
            after,
            limit,
        } = query;
        let mut notes = BTreeMap::new();
        let steps = self
            .tracking
            .iter()
            .filter(|step| step.follower == *follower && step.upstream == *upstream);
        for (key, value) in steps.flat_map(|step| &step.notes) {
            notes.remove(key);
            notes.extend(value.clone().map(|value| (key.clone(), value)));
        }
        notes.retain(|key, _| key.starts_with(prefix) && key > after);
        let position = self.position_of(follower, *upstream);
        let revision = self.revision_of(follower, *upstream);

        let steps = self
            .tracking
            .iter()
            .filter(|step| step.follower == *follower && step.upstream == *upstream);
        let last_event = steps.filter_map(|step| step.last_event).next_back();
        let partitions = self.partitions_of(follower, *upstream);
        FollowerNotes {
            position,
            revision,
            last_event,
            partitions,
            notes: notes.into_iter().take(*limit).collect(),
        }
    }

    pub(super) fn stream(&self, query: &StreamQuery) -> Vec<StoredEvent> {
        let of_stream = self.log.iter().filter(|event| event.stream == query.stream);
        let wanted =
            of_stream.filter(|event| query.from <= event.version && event.version <= query.to);
        let mut events: Vec<_> = wanted.cloned().collect();
        if query.direction == Direction::Backwards {
            events.reverse();
        }
        events.truncate(query.limit);
        events
    }

    pub(super) fn load(&self, load: &Load) -> Loaded {
        let of_stream = self
            .snapshots
            .iter()
            .filter(|snapshot| snapshot.stream == load.stream);
        let usable = of_stream.filter(|snapshot| {
            Some(snapshot.fingerprint) == load.fingerprint
                && load.after < snapshot.version
                && snapshot.version <= load.to
        });
        let newest = usable.max_by_key(|snapshot| snapshot.version);
        let after = newest.map_or(load.after, |snapshot| snapshot.version);
        let query = StreamQuery::new(load.stream.clone())
            .from(after.next())
            .to(load.to)
            .limit(load.limit);
        let events = self.stream(&query).iter().map(LoadedEvent::from).collect();
        let snapshot = newest.cloned().map(
            |NewSnapshot {
                 version,
                 codec,
                 payload,
                 ..
             }| StoredSnapshot {
                version,
                codec,
                payload,
            },
        );
        Loaded { snapshot, events }
    }

    /// Returns the events after one position and up to another that match `filter`.
    pub(super) fn wanted(
        &self,
        filter: &Filter,
        after: Position,
        up_to: Position,
    ) -> Vec<StoredEvent> {
        let within = self
            .log
            .iter()
            .filter(|event| after < event.position && event.position <= up_to);
        let wants = |event: &&StoredEvent| {
            let category =
                filter.categories.is_empty() || filter.categories.contains(&event.stream.category);
            let name = filter.names.is_empty() || filter.names.contains(&event.name);
            let first = !filter.first_of_stream || event.version.as_u64() == 1;
            category && name && first
        };
        within.filter(wants).cloned().collect()
    }
}

fn makes_no_sense(append: &Append) -> bool {
    let streams: Vec<_> = append.streams.iter().map(|part| &part.stream).collect();
    let named_twice = streams
        .iter()
        .enumerate()
        .any(|(number, stream)| streams[..number].contains(stream));
    let has_events = append.streams.iter().any(|part| !part.events.is_empty());
    let nothing = !has_events
        && append.tracking.is_none()
        && append.snapshots.is_empty()
        && append.commands.is_empty();
    let odd_commands = match &append.commands {
        Commands::None => false,
        Commands::One { is_rejection, .. } => *is_rejection && has_events,
        Commands::Several(shared) => are_odd(shared, append.event_count()),
    };
    let backwards = append
        .tracking
        .as_ref()
        .is_some_and(|step| step.to < step.from);
    named_twice || nothing || odd_commands || backwards
}

fn are_odd(shared: &[SharedCommand], events: usize) -> bool {
    shared.iter().enumerate().any(|(number, command)| {
        let is_beyond =
            matches!(command.answer, SharedAnswer::Recorded { last_event } if last_event >= events);
        let is_like = |other: &SharedCommand| {
            other.id == command.id
                || (command.answer == other.answer
                    && command.answer.kind() == ReceiptKind::Recorded)
        };
        is_beyond || shared[..number].iter().any(is_like)
    })
}
