//! The door of the test kit `eventsourcing-testing`: steps that in a program only an application or a follower takes.
//!
//! Each item says why it is not public. The kit calls the code that programs run, instead of a copy of it, so that its laws are
//! about that code.

use std::collections::BTreeMap;
use std::error::Error;

use crate::aggregate::root::AnyRoot;
use crate::codec::Encoding;
use crate::store::{
    Append, CodecId, Loaded, LogId, Name, NewEvent, Position, StoreError, StoredSnapshot, Tracking,
};
use crate::{
    Aggregate, Application, Codec, CodecError, Event, Id, RecordedEvent, Root, UnitOfWork,
};

/// Not public: the errors of applications do not separate snapshots, which are loaded around.
pub use crate::aggregate::root::LoadError;
/// Not public: a follower knows its timers from the declaration of the system.
pub use crate::policy::timers::{Timer, TimerType};

/// A unit of work outside a follower, and the writes it leads to.
///
/// Not public: what a policy records belongs in one append with the position of its follower. Here there is no position.
#[derive(Debug)]
pub struct DetachedWork(UnitOfWork);

/// The writes that a unit of work leads to.
#[derive(Debug)]
pub struct Consequences {
    /// The recorded events, without the position of a follower.
    pub append: Append,
    /// The changed timers by their keys; `None`: cancelled or processed.
    pub timers: BTreeMap<String, Option<Timer>>,
}

impl DetachedWork {
    /// Begins to process an event.
    #[must_use]
    pub fn of_event<A: Aggregate>(
        app: &Application,
        timers: TimerType,
        event: &RecordedEvent<A>,
    ) -> Self {
        let mut work = UnitOfWork::new(app.clone(), timers);
        work.begin(event.event_ref(), &event.metadata);
        Self(work)
    }

    /// Begins to process a timer that is due.
    #[must_use]
    pub fn of_timer(app: &Application, timers: TimerType, timer: &Timer) -> Self {
        let mut work = UnitOfWork::new(app.clone(), timers);
        work.begin_due(timer);
        Self(work)
    }

    /// Returns the unit of work that the policy takes.
    pub fn work(&mut self) -> &mut UnitOfWork {
        &mut self.0
    }

    /// Ends the unit of work after the policy has returned.
    ///
    /// # Errors
    /// A mistake about timers, an event that cannot be encoded: the errors that a follower stops with.
    pub fn end(mut self) -> Result<Consequences, Box<dyn Error + Send + Sync>> {
        if let Some(mistake) = self.0.schedule.take_mistake() {
            return Err(mistake.into());
        }
        let step = Tracking::new(
            Name::from_static("policy"),
            LogId::new(),
            Position::ZERO,
            Position::ZERO,
        );
        let append = Append {
            tracking: None,
            ..self.0.to_append(step)?
        };
        Ok(Consequences {
            append,
            timers: self.0.schedule.changes,
        })
    }
}

/// The laws say themselves what was not read as it was written, so only doubtful values are read back here.
const UNREAD: Encoding = Encoding::JSON.without_read_back();

/// Encodes the unsaved events of a root as JSON.
///
/// Not public: only an append makes stored events of unsaved ones.
///
/// # Errors
/// The errors of an append whose events cannot be encoded.
pub fn encode_pending<A: Aggregate>(root: &Root<A>) -> Result<Vec<NewEvent>, StoreError> {
    root.encode(UNREAD, b"{}")
}

/// Encodes an event as JSON, without the check that it can be read back.
///
/// Not public: [`Codec::encode_event`] is the encoding with the checks of an append.
///
/// # Errors
/// [`CodecError::Encode`].
pub fn encode_unread<E: Event>(event: &E) -> Result<Vec<u8>, CodecError> {
    UNREAD.encode_event(event).map(|encoded| encoded.payload)
}

/// Checks that a codec reads an event as it wrote it.
///
/// Not public: [`Application::with_read_back`] turns the check on for programs.
///
/// # Errors
/// [`CodecError::Encode`].
pub fn check_read_back<E: Event>(codec: Codec, event: &E) -> Result<(), CodecError> {
    let encoding = Encoding {
        reads_back: true,
        ..codec.into()
    };
    encoding.encode_event(event).map(drop)
}

/// Encodes the state of a root as a snapshot in JSON.
///
/// Not public: only a save decides that a snapshot is kept.
///
/// # Errors
/// [`CodecError::Encode`].
pub fn encode_snapshot<A: Aggregate>(root: &Root<A>) -> Result<StoredSnapshot, CodecError> {
    let snapshot = root.encode_snapshot(UNREAD)?;
    Ok(StoredSnapshot {
        version: snapshot.version,
        codec: snapshot.codec,
        payload: snapshot.payload,
    })
}

/// Decodes a state.
///
/// Not public: a state without the events after it is not the state of an aggregate.
///
/// # Errors
/// [`CodecError::Decode`].
pub fn decode_state<A: Aggregate>(codec: CodecId, bytes: &[u8]) -> Result<A, CodecError> {
    Codec::decode_state(codec, bytes)
}

/// Folds what a store has loaded; `None` if there are no events.
///
/// Not public: [`Application::load`] also knows the epoch in which the events were read, and other names of the aggregate.
///
/// # Errors
/// The events or the snapshot cannot be read.
pub fn fold_loaded<A: Aggregate>(id: Id<A>, loaded: Loaded) -> Result<Option<Root<A>>, LoadError> {
    Root::from_loaded(id, A::NAME, loaded)
}
