//! [`Root`]: a loaded or new aggregate with its state, its version, and the events that are not
//! saved yet.
//!
//! Nothing here talks to a store: `application/` loads and saves roots.

use std::any::{Any, TypeId};
use std::convert::Infallible;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::aggregate::decision::certain_events;
use crate::aggregate::snapshot::{Progress, SnapshotPolicy};
use crate::aggregate::{name_of, names_of};
use crate::codec::{Encoded, Encoding};
use crate::event::recorded;
use crate::panics::{Panicked, catch};
use crate::store::{
    Epoch, Expected, Loaded, LoadedEvent, Name, NewEvent, NewSnapshot, StoreError, StoredSnapshot,
    StreamId, Version,
};
use crate::{
    Aggregate, Codec, CodecError, Decision, Event, Id, Metadata, UnexpectedEvent, Verdict,
};

/// A loaded or new aggregate: read its state through `Deref`, change it by recording events, save
/// it with [`Application::save`](crate::Application::save).
///
/// A root derefs to `&A` and never to `&mut A`, so state changes only through events.
///
/// ```
/// # use eventsourcing_core::{Aggregate, Root, event};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Aggregate, Serialize, Deserialize)]
/// struct Counter { count: u32 }
///
/// #[event]
/// impl Counter {
///     fn started() -> Self { Self { count: 0 } }
///     fn counted(&mut self, by: u32) { self.count += by; }
/// }
///
/// let mut counter = Root::<Counter>::create(CounterEvent::Started);
/// counter.record(CounterEvent::Counted { by: 3 });
/// assert_eq!(counter.count, 3);
/// assert_eq!(counter.version().as_u64(), 2);
/// ```
pub struct Root<A: Aggregate> {
    id: Id<A>,
    /// The name of the aggregate in the store.
    category: &'static str,
    state: A,
    version: Version,
    /// The version of the newest snapshot this root knows of.
    snapshot: Version,
    pending: Vec<Pending<A::Event>>,
    /// The cause of the events recorded from now on; `None`: the application's metadata apply.
    cause: Option<Arc<Metadata>>,
    /// The epoch of the store in which the stored events were read or written; `None`: nothing is
    /// stored.
    epoch: Option<Epoch>,
}

struct Pending<E> {
    event: E,
    cause: Option<Arc<Metadata>>,
}

impl<A: Aggregate> Root<A> {
    /// Creates an aggregate with a new id. Nothing is stored before it is saved.
    ///
    /// # Panics
    /// If the first event does not create an aggregate, or a later one does: a mistake in the
    /// program, not in its input.
    #[track_caller]
    #[must_use]
    pub fn create(decision: impl Decision<Event = A::Event, Failure = Infallible>) -> Self {
        Self::with_id(Id::new(), decision)
    }

    /// Creates an aggregate with a given id: a [named](Id::named) one, or one from
    /// [`Application::new_id`](crate::Application::new_id).
    ///
    /// # Panics
    /// The same as [`create`](Self::create).
    #[track_caller]
    #[must_use]
    pub fn with_id(
        id: Id<A>,
        decision: impl Decision<Event = A::Event, Failure = Infallible>,
    ) -> Self {
        Self::caused(id, certain_events(decision), None)
    }

    #[track_caller]
    pub(crate) fn caused(
        id: Id<A>,
        events: impl IntoIterator<Item = A::Event>,
        cause: Option<Arc<Metadata>>,
    ) -> Self {
        let mut events = events.into_iter();
        let Some(first) = events.next() else {
            panic!(
                "a {} is created by an event, but the decision has none",
                A::NAME
            )
        };
        let name = first.event_type().name;
        let Ok(state) = A::fold_first(first.duplicate()) else {
            panic!(
                "{name} does not create a {}; only an event that does can be its first",
                A::NAME
            )
        };
        let pending = vec![Pending {
            event: first,
            cause: cause.clone(),
        }];
        let version = Version::FIRST;
        let snapshot = Version::ZERO;

        let mut root = Self {
            id,
            category: A::NAME,
            state,
            version,
            snapshot,
            pending,
            cause,
            epoch: None,
        };
        for event in events {
            root.record_event(event);
        }
        root
    }

    /// Lets the aggregate decide, and records the decision.
    ///
    /// Returns `()` if `decide` returns events, and otherwise a `Result`.
    ///
    /// ```
    /// # use eventsourcing_core::{Aggregate, Root, event};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Aggregate, Serialize, Deserialize)] struct Jar { beans: u32 }
    /// # #[event] impl Jar {
    /// #     fn filled(beans: u32) -> Self { Self { beans } }
    /// #     fn emptied(&mut self) { self.beans = 0; }
    /// # }
    /// # impl Jar {
    /// #     fn empty(&self) -> Result<JarEvent, &'static str> {
    /// #         if self.beans > 0 { Ok(JarEvent::Emptied) } else { Err("it is empty") }
    /// #     }
    /// # }
    /// let mut jar = Root::<Jar>::create(JarEvent::Filled { beans: 3 });
    /// jar.execute(|_| JarEvent::Emptied);
    /// assert_eq!(jar.execute(|jar| jar.empty()), Err("it is empty"));
    /// ```
    ///
    /// # Errors
    /// The rejection that `decide` returns. The root is as before.
    ///
    /// # Panics
    /// The same as [`record`](Self::record).
    #[track_caller]
    pub fn execute<D: Decision<Event = A::Event>>(
        &mut self,
        decide: impl FnOnce(&A) -> D,
    ) -> D::Verdict {
        let executed = match decide(&self.state).into_events() {
            Ok(events) => {
                for event in events {
                    self.record_event(event);
                }
                Ok(())
            }
            Err(rejection) => Err(rejection),
        };
        D::Verdict::from_result(executed)
    }

    /// Records the first `count` unsaved events of `other` again, which was at the same version before them.
    ///
    /// # Errors
    /// A conflict: this root stands at another version.
    pub(crate) fn replay(&mut self, other: Self, count: usize) -> Result<(), StoreError> {
        if count == 0 {
            return Ok(());
        }
        let expected =
            Version::new(other.version.since(Version::ZERO) - other.pending.len() as u64);
        if self.version != expected {
            return Err(StoreError::Conflict {
                stream: self.stream(),
                expected: Expected::Exact(expected),
                actual: self.version,
            });
        }
        for Pending { event, cause } in other.pending.into_iter().take(count) {
            self.cause = cause;
            self.record_event(event);
        }
        self.cause = None;
        Ok(())
    }

    /// Applies the decided events and keeps them until they are saved.
    ///
    /// # Panics
    /// If an event creates an aggregate: a mistake in the program, not in its input.
    #[track_caller]
    pub fn record(&mut self, decision: impl Decision<Event = A::Event, Failure = Infallible>) {
        for event in certain_events(decision) {
            self.record_event(event);
        }
    }

    #[track_caller]
    fn record_event(&mut self, event: A::Event) {
        let name = event.event_type().name;
        let Ok(()) = self.state.fold_next(event.duplicate()) else {
            panic!(
                "{name} creates a {}; it cannot happen to one that exists",
                A::NAME
            )
        };
        self.version = self.version.next();
        self.pending.push(Pending {
            event,
            cause: self.cause.clone(),
        });
    }

    /// The id of the aggregate.
    #[must_use]
    pub fn id(&self) -> Id<A> {
        self.id
    }

    /// Returns the stream in which the events are stored. A stream keeps the name it was begun
    /// with.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        self.id.stream_under(self.category)
    }

    /// Returns the number of events, saved or not.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the number of events that were stored when this root was loaded or last saved.
    #[must_use]
    pub fn stored_version(&self) -> Version {
        Version::new(self.version.since(Version::ZERO) - self.pending.len() as u64)
    }

    /// Returns the events that are not saved yet, in order.
    pub fn pending(&self) -> impl ExactSizeIterator<Item = &A::Event> {
        self.pending.iter().map(|pending| &pending.event)
    }

    /// Returns a guard on this aggregate, to be saved together with others: the save is a conflict
    /// if the aggregate has been changed since it was loaded. For rules that look at one aggregate
    /// to decide on another.
    #[must_use]
    pub fn guard(&self) -> StreamGuard {
        StreamGuard {
            aggregate: A::NAME,
            stream: self.stream(),
            version: self.stored_version(),
            epoch: self.epoch,
        }
    }

    /// Returns the state, without id, version and unsaved events.
    #[must_use]
    pub fn into_state(self) -> A {
        self.state
    }

    /// Sets the cause of the events recorded from now on.
    pub(crate) fn set_cause(&mut self, cause: Option<Arc<Metadata>>) {
        self.cause = cause;
    }

    /// Notes that the stored events were read in `epoch`.
    pub(crate) fn read_in(mut self, epoch: Epoch) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// Returns the aggregate that was loaded, or `None` if it has no events.
    ///
    /// # Errors
    /// [`LoadError::Snapshot`]: the snapshot cannot be decoded; the caller loads again without
    /// snapshots.
    pub(crate) fn from_loaded(
        id: Id<A>,
        category: &'static str,
        loaded: Loaded,
    ) -> Result<Option<Self>, LoadError> {
        let mut loading = Loading::new(id, category);
        loading.take(loaded)?;
        Ok(loading.end()?)
    }
}

/// An aggregate that is being loaded page by page.
pub(crate) struct Loading<A: Aggregate> {
    id: Id<A>,
    category: &'static str,
    state: Option<A>,
    version: Version,
    snapshot: Version,
}

impl<A: Aggregate> Loading<A> {
    /// Begins to load the aggregate `id` from the stream of this name.
    pub(crate) fn new(id: Id<A>, category: &'static str) -> Self {
        Self {
            id,
            category,
            state: None,
            version: Version::ZERO,
            snapshot: Version::ZERO,
        }
    }

    /// Folds the next page: the events after its snapshot, if it has one, or after the pages
    /// before.
    pub(crate) fn take(&mut self, loaded: Loaded) -> Result<(), LoadError> {
        let Loaded { snapshot, events } = loaded;
        if let Some(snapshot) = &snapshot {
            self.state = Some(decode_snapshot(snapshot)?);
            (self.version, self.snapshot) = (snapshot.version, snapshot.version);
        }
        for event in &events {
            self.check_follows(event)?;
            self.replay(event)?;
            self.version = event.version;
        }
        Ok(())
    }

    /// Returns the aggregate, or `None` if it has no events.
    pub(crate) fn end(self) -> Result<Option<Root<A>>, StoreError> {
        let Self {
            id,
            category,
            state,
            version,
            snapshot,
        } = self;
        match state {
            Some(state) => {
                let pending = Vec::new();
                Ok(Some(Root {
                    id,
                    category,
                    state,
                    version,
                    snapshot,
                    pending,
                    cause: None,
                    epoch: None,
                }))
            }
            None if version == Version::ZERO => Ok(None),
            // The stream has events, but all of them are retired. `Ok(None)` would let the caller
            // create the aggregate a second time in a stream that is not empty.
            None => Err(never_created(id, version)),
        }
    }

    /// Checks that `event` directly follows the last one: versions have no holes.
    fn check_follows(&self, event: &LoadedEvent) -> Result<(), StoreError> {
        if event.version == self.version.next() {
            return Ok(());
        }
        let reason = format!(
            "version {} of {} is followed by version {}",
            self.version,
            self.stream(),
            event.version
        );
        Err(StoreError::Corrupt {
            reason,
            source: None,
        })
    }

    /// Folds the events decoded from one stored event. The first event of all creates the state.
    fn replay(&mut self, loaded: &LoadedEvent) -> Result<(), StoreError> {
        for event in recorded::decode_loaded::<A>(|| self.id.stream_under(self.category), loaded)? {
            let folded = match &mut self.state {
                Some(state) => state.fold_next(event),
                None => A::fold_first(event).map(|created| self.state = Some(created)),
            };
            folded.map_err(|unexpected| self.corrupt(loaded, unexpected))?;
        }
        Ok(())
    }

    fn corrupt(&self, event: &LoadedEvent, unexpected: UnexpectedEvent) -> StoreError {
        let LoadedEvent { version, name, .. } = event;
        StoreError::corrupt(
            format!(
                "version {version} of {} is an unexpected {name}",
                self.stream()
            ),
            unexpected,
        )
    }

    /// Returns the stream that is being loaded.
    pub(crate) fn stream(&self) -> StreamId {
        self.id.stream_under(self.category)
    }
}

/// The reason why an aggregate could not be loaded.
#[derive(Debug)]
pub enum LoadError {
    /// The snapshot cannot be decoded; the events may still be readable.
    Snapshot(CodecError),
    /// The store failed, or its events cannot be folded.
    Store(StoreError),
}

impl From<StoreError> for LoadError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Decodes a snapshot. Snapshots are hints: one whose decoding panics is as useless as one that is
/// refused, so the panic becomes an error and the caller loads without snapshots.
fn decode_snapshot<A: Aggregate>(snapshot: &StoredSnapshot) -> Result<A, LoadError> {
    let decoded = catch(|| Codec::decode_state(snapshot.codec, &snapshot.payload));
    let refused = |panic: Panicked| CodecError::Decode {
        what: format!("snapshot of {}", A::NAME),
        source: panic.into(),
    };
    decoded
        .unwrap_or_else(|panic| Err(refused(panic)))
        .map_err(LoadError::Snapshot)
}

fn never_created<A: Aggregate>(id: Id<A>, version: Version) -> StoreError {
    let reason = format!(
        "all events of {} {id} up to version {version} are retired, so that nothing creates it",
        A::NAME
    );
    StoreError::Corrupt {
        reason,
        source: None,
    }
}

/// See [`Root::guard`].
#[derive(Clone, Debug)]
pub struct StreamGuard {
    /// The stored name of the aggregate; its stream may have been begun under another.
    pub(crate) aggregate: &'static str,
    pub(crate) stream: StreamId,
    pub(crate) version: Version,
    pub(crate) epoch: Option<Epoch>,
}

/// A root of any aggregate, as a save sees it.
pub trait AnyRoot: Send {
    #[doc(hidden)]
    fn aggregate(&self) -> &'static str;
    #[doc(hidden)]
    fn key(&self) -> StreamId;
    #[doc(hidden)]
    fn stream(&self) -> StreamId;
    #[doc(hidden)]
    fn other_streams(&self) -> Vec<StreamId>;
    #[doc(hidden)]
    fn has_pending(&self) -> bool;
    #[doc(hidden)]
    fn pending_count(&self) -> usize;
    /// Sets the cause of the events that are recorded from now on.
    #[doc(hidden)]
    fn set_cause(&mut self, cause: Option<Arc<Metadata>>);
    #[doc(hidden)]
    fn expected(&self) -> Version;
    #[doc(hidden)]
    fn encode(&self, encoding: Encoding, metadata: &[u8]) -> Result<Vec<NewEvent>, StoreError>;
    #[doc(hidden)]
    fn encode_snapshot(&self, encoding: Encoding) -> Result<NewSnapshot, CodecError>;
    #[doc(hidden)]
    fn kind(&self) -> TypeId;
    #[doc(hidden)]
    fn is_snapshot_due(&self, policy: Option<&dyn SnapshotPolicy>) -> bool;
    #[doc(hidden)]
    fn epoch(&self) -> Option<Epoch>;
    #[doc(hidden)]
    fn saved(&mut self, snapshots: &[StreamId], epoch: Epoch);
    #[doc(hidden)]
    fn restore(&mut self, category: &Name, loaded: Loaded, epoch: Epoch) -> Result<(), StoreError>;
}

/// A root of any aggregate that is kept in memory for the next command or page.
pub(crate) trait KeptRoot: AnyRoot + Any + Sync {}

impl<A: Aggregate> KeptRoot for Root<A> {}

impl<A: Aggregate> AnyRoot for Root<A> {
    fn aggregate(&self) -> &'static str {
        A::NAME
    }

    /// Returns the stream under the current name. It identifies the aggregate in memory, even if it
    /// is stored under another name.
    fn key(&self) -> StreamId {
        self.id.stream()
    }

    fn stream(&self) -> StreamId {
        Self::stream(self)
    }

    /// Returns the streams that the aggregate would have under its other names. A save of a new
    /// aggregate guards them, so that it does not begin a second stream.
    fn other_streams(&self) -> Vec<StreamId> {
        let others = names_of::<A>().filter(|name| *name != self.category);
        others.map(|name| self.id.stream_under(name)).collect()
    }

    fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    fn pending_count(&self) -> usize {
        self.pending.len()
    }

    fn set_cause(&mut self, cause: Option<Arc<Metadata>>) {
        Self::set_cause(self, cause);
    }

    fn expected(&self) -> Version {
        self.stored_version()
    }

    fn encode(&self, encoding: Encoding, metadata: &[u8]) -> Result<Vec<NewEvent>, StoreError> {
        self.pending
            .iter()
            .map(|pending| encode(pending, encoding, metadata))
            .collect()
    }

    fn encode_snapshot(&self, encoding: Encoding) -> Result<NewSnapshot, CodecError> {
        let Encoded { codec, payload } = encoding.encode_state(&self.state)?;
        let stream = self.stream();
        let version = self.version;

        Ok(NewSnapshot {
            stream,
            version,
            fingerprint: <A as Aggregate>::FINGERPRINT,
            codec,
            payload,
        })
    }

    fn kind(&self) -> TypeId {
        TypeId::of::<A>()
    }

    fn is_snapshot_due(&self, policy: Option<&dyn SnapshotPolicy>) -> bool {
        let before = self.stored_version();
        let after = self.version;

        let progress = Progress {
            snapshot: self.snapshot,
            ..Progress::new(before, after)
        };
        match policy {
            Some(policy) => policy.is_due(&progress),
            None => A::snapshot_policy().is_due(&progress),
        }
    }

    fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    fn saved(&mut self, snapshots: &[StreamId], epoch: Epoch) {
        // Only after the append has succeeded: a failed save leaves the events pending, and the
        // version they were decided at, so that the caller can save the root again.
        self.pending.clear();
        self.epoch = Some(epoch);
        if snapshots.contains(&self.stream()) {
            self.snapshot = self.version;
        }
    }

    fn restore(&mut self, category: &Name, loaded: Loaded, epoch: Epoch) -> Result<(), StoreError> {
        // The command was carried out by an earlier attempt or call, whose receipt the store
        // returned. The root takes the state that the earlier attempt has stored and drops the
        // events of this one.
        match Self::from_loaded(self.id, name_of::<A>(category).unwrap_or(A::NAME), loaded) {
            Ok(Some(root)) => *self = root.read_in(epoch),
            Ok(None) => return Err(not_repeatable(self.id)),
            Err(LoadError::Store(error)) => return Err(error),
            Err(LoadError::Snapshot(error)) => {
                return Err(StoreError::corrupt(
                    "load: a snapshot was returned without being requested",
                    error,
                ));
            }
        }
        Ok(())
    }
}

fn encode<E: Event>(
    pending: &Pending<E>,
    encoding: Encoding,
    metadata: &[u8],
) -> Result<NewEvent, StoreError> {
    let event_type = pending.event.event_type();
    let encoded = encoding.encode_event(&pending.event);
    let Encoded { codec, payload } = encoded.map_err(|error| StoreError::Invalid {
        reason: with_cause(&error),
    })?;
    Ok(NewEvent {
        name: Name::from_static(event_type.name),
        schema_version: event_type.version,
        codec,
        payload,
        metadata: match &pending.cause {
            Some(cause) => cause.to_bytes()?,
            None => metadata.to_vec(),
        },
    })
}

/// Returns the text of an error followed by that of its source.
pub(crate) fn with_cause(error: &CodecError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn not_repeatable<A: Aggregate>(id: Id<A>) -> StoreError {
    StoreError::Invalid {
        reason: format!(
            "the command was carried out before, but not on {} {id}; take ids of new aggregates from `Application::new_id`",
            A::NAME
        ),
    }
}

impl<A: Aggregate> Deref for Root<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.state
    }
}

impl<A: Aggregate + fmt::Debug> fmt::Debug for Root<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root")
            .field("id", &self.id)
            .field("version", &self.version)
            .field("pending", &self.pending.len())
            .field("state", &self.state)
            .finish()
    }
}
