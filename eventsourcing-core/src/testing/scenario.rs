//! Given, when, then: for aggregates and for policies. A test reads like the rule it checks.
#![allow(
    missing_debug_implementations,
    reason = "the steps of a test live for one expression"
)]

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt::{Debug, Display};
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::policy::timers::{Timer, TimerType};
use crate::store::{
    Append, EventStore, LogId, MemoryStore, Name, NewEvent, Position, StoredEvent, StreamId,
    StreamQuery, Tracking, Version,
};
use crate::{
    Aggregate, Application, Codec, DecodedEvents, Event, Id, IntoEvents, Metadata, Policy,
    RecordedEvent, Root, Timers, UnitOfWork,
};

/// Starts a test of an aggregate. Implemented for every aggregate; import it to use it.
///
/// ```
/// use eventsourcing_core::testing::Scenario;
/// # use eventsourcing_core::{Aggregate, event};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Aggregate, Serialize, Deserialize)]
/// struct Jar { beans: u32 }
///
/// #[event]
/// impl Jar {
///     fn filled(beans: u32) -> Self { Self { beans } }
///     fn emptied(&mut self) { self.beans = 0; }
/// }
///
/// impl Jar {
///     fn empty(&self) -> Result<JarEvent, &'static str> {
///         if self.beans > 0 { Ok(JarEvent::Emptied) } else { Err("it is empty") }
///     }
/// }
///
/// Jar::given([JarEvent::Filled { beans: 3 }])
///     .when(|jar| jar.empty())
///     .then([JarEvent::Emptied])
///     .then_state(|jar| assert_eq!(jar.beans, 0));
///
/// Jar::given([JarEvent::Filled { beans: 3 }, JarEvent::Emptied])
///     .when(|jar| jar.empty())
///     .then_rejected("it is empty");
/// ```
pub trait Scenario: Aggregate {
    /// What has happened to the aggregate.
    ///
    /// # Panics
    /// If the events are not a history: see [`Root::create`].
    #[track_caller]
    fn given(events: impl IntoEvents<Self::Event>) -> Given<Self> {
        Given {
            root: Root::create(events),
        }
    }

    /// Nothing has happened: the aggregate does not exist yet.
    fn given_nothing() -> GivenNothing<Self> {
        GivenNothing { of: PhantomData }
    }
}

impl<A: Aggregate> Scenario for A {}

/// See [`Scenario::given`].
#[must_use = "nothing is tested before `then`"]
pub struct Given<A: Aggregate> {
    root: Root<A>,
}

impl<A: Aggregate> Given<A> {
    /// What is asked of the aggregate.
    pub fn when<D: IntoEvents<A::Event>, E>(
        self,
        decide: impl FnOnce(&A) -> Result<D, E>,
    ) -> Then<A, E> {
        let outcome = decide(&self.root).map(IntoEvents::into_events);
        Then {
            root: Some(self.root),
            outcome,
        }
    }
}

/// See [`Scenario::given_nothing`].
#[must_use = "nothing is tested before `then`"]
pub struct GivenNothing<A> {
    of: PhantomData<fn() -> A>,
}

impl<A: Aggregate> GivenNothing<A> {
    /// What is asked.
    pub fn when<D: IntoEvents<A::Event>, E>(
        self,
        decide: impl FnOnce() -> Result<D, E>,
    ) -> Then<A, E> {
        Then {
            root: None,
            outcome: decide().map(IntoEvents::into_events),
        }
    }
}

/// What came of it.
#[must_use = "nothing is tested before `then`"]
pub struct Then<A: Aggregate, E> {
    root: Option<Root<A>>,
    outcome: Result<Vec<A::Event>, E>,
}

impl<A: Aggregate, E> Then<A, E> {
    /// Exactly these events were decided on, in this order.
    ///
    /// # Panics
    /// If it was anything else.
    #[track_caller]
    pub fn then(self, expected: impl IntoEvents<A::Event>) -> Decided<A>
    where
        A::Event: Debug + PartialEq,
        E: Debug,
    {
        let events = match self.outcome {
            Ok(events) => events,
            Err(refusal) => panic!("{} refused: {refusal:?}", A::NAME),
        };
        assert_eq!(
            events,
            expected.into_events(),
            "the events that {} decided on (left) and those expected",
            A::NAME
        );
        Decided {
            root: self.root,
            events,
        }
    }

    /// It was not refused, and nothing happens.
    ///
    /// # Panics
    /// If it was anything else.
    #[track_caller]
    pub fn then_nothing(self)
    where
        A::Event: Debug + PartialEq,
        E: Debug,
    {
        self.then(Vec::new());
    }

    /// It was refused, with this.
    ///
    /// # Panics
    /// If it was not.
    #[track_caller]
    pub fn then_rejected(self, expected: E)
    where
        A::Event: Debug,
        E: Debug + PartialEq,
    {
        match self.outcome {
            Err(refusal) => assert_eq!(
                refusal,
                expected,
                "the refusal of {} (left) and the one expected",
                A::NAME
            ),
            Ok(events) => panic!("{} did not refuse, but decided on {events:?}", A::NAME),
        }
    }
}

/// The events were as expected.
pub struct Decided<A: Aggregate> {
    root: Option<Root<A>>,
    events: Vec<A::Event>,
}

impl<A: Aggregate> Decided<A> {
    /// Looks at the state after the events.
    ///
    /// # Panics
    /// If `check` does, or if nothing was decided about an aggregate that does not exist.
    #[track_caller]
    pub fn then_state(self, check: impl FnOnce(&A)) {
        let root = match self.root {
            None => Root::create(self.events),
            Some(mut root) => {
                root.record(self.events);
                root
            }
        };
        check(&root);
    }
}

/// A test of a policy: what it records in answer to events.
///
/// ```
/// # use eventsourcing_core::{Aggregate, ApplicationError, Application, Id, Policy, RecordedEvent, UnitOfWork, event};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Aggregate, Serialize, Deserialize)] struct Jar { beans: u32 }
/// # #[event] impl Jar { fn filled(beans: u32) -> Self { Self { beans } } }
/// # #[derive(Aggregate, Serialize, Deserialize)] struct Shelf { jars: u32 }
/// # #[event] impl Shelf {
/// #     fn built() -> Self { Self { jars: 0 } }
/// #     fn jar_added(&mut self, _jar: Id<Jar>) { self.jars += 1; }
/// # }
/// # struct Keeper { _app: Application }
/// # impl From<Application> for Keeper { fn from(app: Application) -> Self { Self { _app: app } } }
/// # impl Policy<Jar> for Keeper {
/// #     type Error = ApplicationError;
/// #     async fn react(&self, event: &RecordedEvent<Jar>, work: &mut UnitOfWork) -> Result<(), ApplicationError> {
/// #         let shelf = work.load_or_create(Id::<Shelf>::named("shelf"), || ShelfEvent::Built).await?;
/// #         shelf.record(ShelfEvent::JarAdded { jar: event.aggregate_id });
/// #         Ok(())
/// #     }
/// # }
/// use eventsourcing_core::testing::PolicyScenario;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (jar, shelf) = (Id::<Jar>::new(), Id::<Shelf>::named("shelf"));
/// PolicyScenario::<Keeper>::new()
///     .given(shelf, ShelfEvent::Built).await
///     .when(jar, JarEvent::Filled { beans: 3 }).await
///     .then(shelf, ShelfEvent::JarAdded { jar })
///     .then_nothing_else();
/// # });
/// ```
///
/// A policy with [`Timers`] is asked which it has scheduled, and told that one is due:
///
/// ```text
/// PolicyScenario::<Reminders>::new()
///     .when(order, OrderEvent::Placed).await
///     .then_timer(order, Timestamp::UNIX_EPOCH + DAY, "please pay".to_owned())
///     .when_due(order).await
///     .then(reminder, ReminderEvent::Sent { text: "please pay".to_owned() })
///     .then_nothing_else();
/// ```
#[must_use = "nothing is tested before `then`"]
pub struct PolicyScenario<P> {
    policy: P,
    app: Application,
    /// The position of the last event that the policy was told of.
    upstream: Position,
    /// How many events of each aggregate it was told of.
    told: HashMap<StreamId, u64>,
    recorded: Vec<(StreamId, Vec<NewEvent>)>,
    timers: BTreeMap<String, Timer>,
    /// The timers that were scheduled and not yet asked about.
    scheduled: BTreeMap<String, Timer>,
    failure: Option<String>,
}

impl<P: From<Application>> PolicyScenario<P> {
    /// A policy whose application has no events yet.
    pub fn new() -> Self {
        let app = Application::new("policy", MemoryStore::new());
        let policy = P::from(app.clone());
        let upstream = Position::ZERO;

        let timers = BTreeMap::new();
        let scheduled = BTreeMap::new();

        let told = HashMap::new();
        let recorded = Vec::new();

        Self {
            policy,
            app,
            upstream,
            told,
            recorded,
            timers,
            scheduled,
            failure: None,
        }
    }
}

impl<P: From<Application>> Default for PolicyScenario<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> PolicyScenario<P> {
    /// What has happened in the policy's own application.
    ///
    /// # Panics
    /// If the events are not a history: see [`Root::create`].
    pub async fn given<A: Aggregate>(self, id: Id<A>, events: impl IntoEvents<A::Event>) -> Self {
        self.app
            .save(&mut Root::with_id(id, events))
            .await
            .expect("a new aggregate in an empty store in memory");
        self
    }

    /// The policy is told of an event, after those it was told of before, and after what was given. Its version goes on from
    /// what was given of its aggregate and told before. It was recorded at the first second of 1970.
    pub async fn when<A: Aggregate>(mut self, id: Id<A>, event: A::Event) -> Self
    where
        P: Policy<A>,
    {
        let version = self.next_version(id.stream()).await;
        let head = self.app.store().head().await.expect("a store in memory");
        self.upstream = Position::new(self.upstream.max(head).as_u64() + 1);
        let event = RecordedEvent {
            payload: event,
            aggregate_id: id,
            category: A::NAME,
            version,
            position: self.upstream,
            recorded_at: Timestamp::UNIX_EPOCH,
            metadata: Metadata::new().with_correlation_id(Uuid::nil()),
            part: 0,
        };
        let mut work = UnitOfWork::new(self.app.clone(), TimerType::Any);
        work.begin(event.event_ref(), &event.metadata);
        let reacted = self.policy.react(&event, &mut work).await;
        self.keep(work, reacted).await;
        self
    }

    /// Counts one more event of the aggregate.
    async fn next_version(&mut self, stream: StreamId) -> Version {
        let last = StreamQuery::new(stream.clone()).backwards().limit(1);
        let given = self
            .app
            .store()
            .read_stream(last)
            .await
            .expect("a store in memory");
        let given = given.first().map_or(0, |event| event.version.as_u64());
        let told = self.told.entry(stream).or_default();
        *told += 1;
        Version::new(given + *told)
    }

    /// A timer that was scheduled is due.
    ///
    /// # Panics
    /// If there is none of this key, or it was scheduled with something else than a [`Timers::Timer`].
    pub async fn when_due(mut self, key: impl Display) -> Self
    where
        P: Timers,
    {
        self.assert_no_failure();
        let key = key.to_string();
        let timer = self
            .timers
            .remove(&key)
            .unwrap_or_else(|| panic!("there is no timer {key:?}"));
        let due = timer
            .decode::<P::Timer>()
            .unwrap_or_else(|error| panic!("{}", error_text(&error)));
        let mut work = UnitOfWork::new(self.app.clone(), TimerType::Any);
        work.begin_due(&timer);
        let dealt_with = self.policy.due(&due, &mut work).await;
        self.keep(work, dealt_with).await;
        self
    }

    async fn keep(&mut self, mut work: UnitOfWork, outcome: Result<(), impl Error>) {
        let mistake = work
            .schedule
            .take_mistake()
            .map(|mistake| error_text(&mistake));
        if let Some(failure) = outcome.err().map(|error| error_text(&error)).or(mistake) {
            self.failure = Some(failure);
            return;
        }
        for (key, timer) in std::mem::take(&mut work.schedule.changes) {
            self.scheduled.remove(&key);
            self.timers.remove(&key);
            if let Some(timer) = timer {
                self.scheduled.insert(key.clone(), timer.clone());
                self.timers.insert(key, timer);
            }
        }
        let step = Tracking::new(
            Name::from_static("policy"),
            LogId::new(),
            Position::ZERO,
            self.upstream,
        );
        let append = work.to_append(step);
        let append = Append {
            tracking: None,
            ..append.expect("events that can be encoded")
        };
        self.recorded.extend(
            append
                .streams
                .iter()
                .map(|part| (part.stream.clone(), part.events.clone())),
        );
        if append.event_count() > 0 {
            self.app
                .store()
                .append(append)
                .await
                .expect("nobody else writes to this store");
        }
    }

    /// A timer of this key is pending: it will be due at this time, and the policy will be told this.
    ///
    /// # Panics
    /// If there is none, or another one.
    #[track_caller]
    pub fn then_timer<T>(mut self, key: impl Display, at: Timestamp, expected: T) -> Self
    where
        T: DeserializeOwned + Debug + PartialEq,
    {
        self.assert_no_failure();
        let key = key.to_string();
        self.scheduled.remove(&key);
        let Some(timer) = self.timers.get(&key) else {
            panic!("there is no timer {key:?}, but {:?}", self.timers.keys())
        };
        let due = timer
            .decode::<T>()
            .unwrap_or_else(|error| panic!("{}", error_text(&error)));
        assert_eq!(
            (due.at, due.payload),
            (at, expected),
            "the timer {key:?} (left) and the one expected"
        );
        self
    }

    /// No timer is pending: none was scheduled, or all of them were cancelled or due.
    ///
    /// # Panics
    /// If there is one.
    #[track_caller]
    pub fn then_no_timer(self) -> Self {
        self.assert_no_failure();
        assert!(
            self.timers.is_empty(),
            "there are still timers: {:?}",
            self.timers.keys()
        );
        self
    }

    /// Exactly these events were recorded for this aggregate, in this order.
    ///
    /// # Panics
    /// If it was anything else.
    #[track_caller]
    pub fn then<A>(mut self, id: Id<A>, expected: impl IntoEvents<A::Event>) -> Self
    where
        A: Aggregate<Event: Debug + PartialEq>,
    {
        self.assert_no_failure();
        let stream = id.stream();
        let of_stream = self
            .recorded
            .extract_if(.., |(recorded, _)| *recorded == stream);
        let events: Vec<A::Event> = of_stream
            .flat_map(|(_, events)| events)
            .flat_map(|event| decode(&stream, event))
            .collect();
        assert_eq!(
            events,
            expected.into_events(),
            "the events recorded for {stream} (left) and those expected"
        );
        self
    }

    /// Nothing was recorded for any other aggregate, and no other timer was scheduled.
    ///
    /// # Panics
    /// If there was.
    #[track_caller]
    pub fn then_nothing_else(self) {
        self.assert_no_failure();
        let others: Vec<_> = self
            .recorded
            .iter()
            .map(|(stream, _)| stream.to_string())
            .collect();
        assert!(
            others.is_empty(),
            "events were also recorded for {}",
            others.join(", ")
        );
        assert!(
            self.scheduled.is_empty(),
            "timers were also scheduled: {:?}",
            self.scheduled.keys()
        );
    }

    /// The policy failed, with an error whose text contains `expected`.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn then_failed(self, expected: &str) {
        match self.failure {
            Some(failure) => assert!(
                failure.contains(expected),
                "the policy failed with {failure:?}"
            ),
            None => panic!("the policy did not fail"),
        }
    }

    #[track_caller]
    fn assert_no_failure(&self) {
        if let Some(failure) = &self.failure {
            panic!("the policy failed: {failure}");
        }
    }
}

fn decode<E: Event>(stream: &StreamId, event: NewEvent) -> DecodedEvents<E> {
    let NewEvent {
        name,
        schema_version,
        codec,
        payload,
        metadata,
    } = event;
    let position = Position::ZERO;
    let version = Version::ZERO;
    let recorded_at = Timestamp::UNIX_EPOCH;

    let stream = stream.clone();
    let stored = StoredEvent {
        position,
        stream,
        version,
        recorded_at,
        name,
        schema_version,
        codec,
        payload,
        metadata,
    };
    Codec::decode_events(&stored).expect("an event that was encoded just now")
}

fn error_text(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", error_text(source)),
        None => error.to_string(),
    }
}
