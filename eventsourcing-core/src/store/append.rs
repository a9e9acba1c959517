//! The content of one atomic write.

use std::collections::HashSet;

use jiff::Timestamp;

use super::limits::{invalid, validate_name, validate_size};
use super::{
    CommandId, Commands, EVENTS_PER_APPEND_MAX, Epoch, Expected, METADATA_BYTES_MAX,
    NOTE_BYTES_MAX, NewEvent, NewSnapshot, PAYLOAD_BYTES_MAX, ReceiptKind, SharedCommand,
    StoreError, StreamId, Tracking,
};

/// The part of an append that concerns one stream. Without events it is a guard: only the expectation counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamAppend {
    /// The stream.
    pub stream: StreamId,
    /// The condition for the append to happen.
    pub expected: Expected,
    /// The events to append, in order.
    pub events: Vec<NewEvent>,
}

/// One atomic write: all of it happens, or none.
///
/// Events get their positions in the order of `streams`, and within a stream in the order of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The time of recording. Stores keep microseconds.
    pub recorded_at: Timestamp,
    /// The commands that are answered, if retries must get the same answers. They may be all that the append carries: then the
    /// store remembers that they had nothing to record.
    pub commands: Commands,
    /// Events and expectations. A stream appears at most once.
    pub streams: Vec<StreamAppend>,
    /// The step of the follower that makes the append.
    pub tracking: Option<Tracking>,
    /// Snapshots to keep. A snapshot may not be beyond its stream as this append leaves it.
    pub snapshots: Vec<NewSnapshot>,
    /// The rejection to keep as the answer to the command, as text. [`EventStore::rejection`](super::EventStore::rejection)
    /// returns it. It has no NUL character, and at most as many bytes as a note.
    pub rejection: Option<String>,
    /// The epoch in which the append was decided; in another one nothing is written. `None`: it relies on nothing that was read.
    pub epoch: Option<Epoch>,
}

impl Append {
    /// Returns an append without content; give it events, tracking, a snapshot or a command.
    #[must_use]
    pub fn new(recorded_at: Timestamp) -> Self {
        Self {
            recorded_at,
            commands: Commands::None,
            streams: Vec::new(),
            tracking: None,
            snapshots: Vec::new(),
            rejection: None,
            epoch: None,
        }
    }

    /// Adds `events` for `stream`, on the condition that it is as `expected`.
    #[must_use]
    pub fn with_events(
        mut self,
        stream: StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Self {
        self.streams.push(StreamAppend {
            stream,
            expected,
            events,
        });
        self
    }

    /// Adds the condition that `stream` is as `expected`, without appending to it.
    #[must_use]
    pub fn with_guard(self, stream: StreamId, expected: Expected) -> Self {
        self.with_events(stream, expected, Vec::new())
    }

    /// Names the command, so that a retry returns the first receipt.
    #[must_use]
    pub fn with_command_id(mut self, id: CommandId) -> Self {
        let is_rejection = false;
        self.commands = Commands::One { id, is_rejection };
        self
    }

    /// Names the command, whose answer is a rejection: the append records no event.
    #[must_use]
    pub fn with_rejected_command(mut self, id: CommandId) -> Self {
        let is_rejection = true;
        self.commands = Commands::One { id, is_rejection };
        self
    }

    /// Names the command, whose answer is a rejection, and keeps `rejection` with it: the append records no event and makes no
    /// step.
    #[must_use]
    pub fn with_rejection(mut self, id: CommandId, rejection: impl Into<String>) -> Self {
        self.rejection = Some(rejection.into());
        self.with_rejected_command(id)
    }

    /// Names several commands that share the append, each with a receipt of its own.
    #[must_use]
    pub fn with_shared_commands(mut self, commands: Vec<SharedCommand>) -> Self {
        self.commands = Commands::Several(commands);
        self
    }

    /// Adds the step of a follower.
    #[must_use]
    pub fn with_tracking(mut self, tracking: Tracking) -> Self {
        self.tracking = Some(tracking);
        self
    }

    /// Adds a snapshot.
    #[must_use]
    pub fn with_snapshot(mut self, snapshot: NewSnapshot) -> Self {
        self.snapshots.push(snapshot);
        self
    }

    /// Writes only in this epoch. Of several epochs the earliest counts.
    #[must_use]
    pub fn in_epoch(mut self, epoch: impl Into<Option<Epoch>>) -> Self {
        self.epoch = earliest(self.epoch, epoch.into());
        self
    }

    /// Returns the epoch in which the append and its step were decided: the earliest of the two.
    #[must_use]
    pub fn decided_in(&self) -> Option<Epoch> {
        earliest(
            self.epoch,
            self.tracking.as_ref().and_then(|tracking| tracking.epoch),
        )
    }

    /// Checks that the append and its step were decided in the epoch `current`, if they name one. Stores call it once they know
    /// that the command has not been carried out before.
    ///
    /// # Errors
    /// [`StoreError::OutdatedEpoch`]: one of them was decided in another epoch.
    pub fn check_epoch(&self, current: Epoch) -> Result<(), StoreError> {
        current.check(self.epoch)?;
        current.check(self.tracking.as_ref().and_then(|tracking| tracking.epoch))
    }

    /// Returns the number of events, over all streams.
    #[must_use]
    pub fn event_count(&self) -> usize {
        self.streams.iter().map(|stream| stream.events.len()).sum()
    }

    /// Returns the kind of receipt that the append leads to, as a whole.
    #[must_use]
    pub fn receipt_kind(&self) -> ReceiptKind {
        match (self.event_count(), &self.commands) {
            (
                0,
                Commands::One {
                    is_rejection: true, ..
                },
            ) => ReceiptKind::Rejected,
            (0, _) => ReceiptKind::NothingRecorded,
            _ => ReceiptKind::Recorded,
        }
    }

    /// Returns the stream and the event in it, both counted from 0, that stand at `place` among all events of the append.
    #[must_use]
    pub fn event_at(&self, place: usize) -> Option<(usize, usize)> {
        let mut before = 0;
        for (number, part) in self.streams.iter().enumerate() {
            if place < before + part.events.len() {
                return Some((number, place - before));
            }
            before += part.events.len();
        }
        None
    }

    /// Checks everything that does not depend on stored data. Every store calls this first.
    ///
    /// # Errors
    /// [`StoreError::Invalid`]: the append carries nothing, is a rejection with events or a step, names a stream or a command
    /// twice, gives a command an event that is not there, steps backwards, or exceeds a limit.
    pub fn validate(&self) -> Result<(), StoreError> {
        let events = self.event_count();
        if events == 0
            && self.tracking.is_none()
            && self.snapshots.is_empty()
            && self.commands.is_empty()
        {
            return Err(invalid(
                "an append needs at least one event, a tracking step, a snapshot or a command id",
            ));
        }
        self.commands.validate(events)?;
        self.validate_rejection()?;
        if events > EVENTS_PER_APPEND_MAX {
            return Err(invalid(format!(
                "{events} events in one append; at most {EVENTS_PER_APPEND_MAX} are allowed"
            )));
        }
        self.validate_streams()?;
        self.tracking.iter().try_for_each(Tracking::validate)?;
        self.snapshots.iter().try_for_each(validate_snapshot)
    }

    fn validate_rejection(&self) -> Result<(), StoreError> {
        let Some(rejection) = &self.rejection else {
            return Ok(());
        };
        if self.receipt_kind() != ReceiptKind::Rejected || self.tracking.is_some() {
            return Err(invalid(
                "a rejection is the answer to one command, with neither an event nor the step of a follower",
            ));
        }
        if rejection.contains('\0') {
            return Err(invalid("a rejection has no NUL character"));
        }
        validate_size("rejection", rejection.as_bytes(), NOTE_BYTES_MAX)
    }

    fn validate_streams(&self) -> Result<(), StoreError> {
        let mut seen = HashSet::with_capacity(self.streams.len());
        for part in &self.streams {
            validate_name("category", &part.stream.category)?;
            if self.streams.len() > 1 && !seen.insert(&part.stream) {
                return Err(invalid(format!(
                    "stream {} appears twice in one append",
                    part.stream
                )));
            }
            part.events.iter().try_for_each(validate_event)?;
        }
        Ok(())
    }
}

fn earliest(one: Option<Epoch>, other: Option<Epoch>) -> Option<Epoch> {
    one.into_iter().chain(other).min()
}

fn validate_event(event: &NewEvent) -> Result<(), StoreError> {
    validate_name("event name", &event.name)?;
    validate_size("payload", &event.payload, PAYLOAD_BYTES_MAX)?;
    validate_size("metadata", &event.metadata, METADATA_BYTES_MAX)
}

fn validate_snapshot(snapshot: &NewSnapshot) -> Result<(), StoreError> {
    validate_name("category", &snapshot.stream.category)?;
    validate_size("snapshot", &snapshot.payload, PAYLOAD_BYTES_MAX)
}
