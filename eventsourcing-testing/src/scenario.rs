//! Given, when, then: tests of aggregates and of policies that read like the rules they check.
#![allow(
    missing_debug_implementations,
    reason = "the steps of a test live for one expression"
)]

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::error::Error;
use std::fmt::{Debug, Display};
use std::marker::PhantomData;

use eventsourcing_core::private::testing::{Consequences, DetachedWork, Timer, TimerType};
use eventsourcing_core::store::{
    EventStore, MemoryStore, NewEvent, Position, StoredEvent, StreamId, StreamQuery, Version,
};
use eventsourcing_core::{
    Aggregate, Application, Codec, Decision, DecodedEvents, Event, Id, Metadata, Policy,
    RecordedEvent, Root, Timers,
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// Starts a test of an aggregate. Every aggregate implements this trait; import it to use it.
///
/// ```
/// use eventsourcing_testing::Scenario;
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
    /// Starts with an aggregate that has these events.
    ///
    /// # Panics
    /// The events are not a history: see [`Root::create`].
    #[track_caller]
    fn given(events: impl Decision<Event = Self::Event, Failure = Infallible>) -> Given<Self> {
        Given {
            root: Root::create(events),
        }
    }

    /// Starts without an aggregate.
    fn given_nothing() -> GivenNothing<Self> {
        GivenNothing { of: PhantomData }
    }
}

impl<A: Aggregate> Scenario for A {}

/// A test with an existing aggregate: see [`Scenario::given`].
#[must_use = "nothing is tested before `then`"]
pub struct Given<A: Aggregate> {
    root: Root<A>,
}

impl<A: Aggregate> Given<A> {
    /// Calls the decision under test.
    pub fn when<D: Decision<Event = A::Event>>(
        self,
        decide: impl FnOnce(&A) -> D,
    ) -> Then<A, D::Failure> {
        let outcome = events_of(decide(&self.root));
        Then {
            root: Some(self.root),
            outcome,
        }
    }
}

/// A test without an aggregate: see [`Scenario::given_nothing`].
#[must_use = "nothing is tested before `then`"]
pub struct GivenNothing<A> {
    of: PhantomData<fn() -> A>,
}

impl<A: Aggregate> GivenNothing<A> {
    /// Calls the decision under test.
    pub fn when<D: Decision<Event = A::Event>>(
        self,
        decide: impl FnOnce() -> D,
    ) -> Then<A, D::Failure> {
        Then {
            root: None,
            outcome: events_of(decide()),
        }
    }
}

/// The outcome of a decision.
#[must_use = "nothing is tested before `then`"]
pub struct Then<A: Aggregate, E> {
    root: Option<Root<A>>,
    outcome: Result<Vec<A::Event>, E>,
}

impl<A: Aggregate, E> Then<A, E> {
    /// Checks that the decision returned exactly these events, in this order.
    ///
    /// # Panics
    /// The outcome differs.
    #[track_caller]
    pub fn then(self, expected: impl Decision<Event = A::Event, Failure = Infallible>) -> Decided<A>
    where
        A::Event: Debug + PartialEq,
        E: Debug,
    {
        let events = match self.outcome {
            Ok(events) => events,
            Err(rejection) => panic!("{} rejected: {rejection:?}", A::NAME),
        };
        assert_eq!(
            events,
            expected_events(expected),
            "the events that {} decided on (left) and those expected",
            A::NAME
        );
        Decided {
            root: self.root,
            events,
        }
    }

    /// Checks that the decision did not reject, and returned no event.
    ///
    /// # Panics
    /// The outcome differs.
    #[track_caller]
    pub fn then_nothing(self)
    where
        A::Event: Debug + PartialEq,
        E: Debug,
    {
        self.then(Vec::new());
    }

    /// Checks that the decision rejected with this error.
    ///
    /// # Panics
    /// The decision did not reject, or with another error.
    #[track_caller]
    pub fn then_rejected(self, expected: E)
    where
        A::Event: Debug,
        E: Debug + PartialEq,
    {
        match self.outcome {
            Err(rejection) => assert_eq!(
                rejection,
                expected,
                "the rejection of {} (left) and the one expected",
                A::NAME
            ),
            Ok(events) => panic!("{} did not reject, but decided on {events:?}", A::NAME),
        }
    }
}

/// A decision whose events were as expected.
pub struct Decided<A: Aggregate> {
    root: Option<Root<A>>,
    events: Vec<A::Event>,
}

impl<A: Aggregate> Decided<A> {
    /// Passes the state after the events to `check`.
    ///
    /// # Panics
    /// `check` panics, or there is no event and no aggregate.
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

/// A test of a policy: the events and timers that follow from events.
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
/// use eventsourcing_testing::PolicyScenario;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let jar = Id::<Jar>::new();
/// let shelf = Id::<Shelf>::named("shelf");
/// PolicyScenario::<Keeper>::new()
///     .given(shelf, ShelfEvent::Built).await
///     .when(jar, JarEvent::Filled { beans: 3 }).await
///     .then(shelf, ShelfEvent::JarAdded { jar })
///     .then_nothing_else();
/// # });
/// ```
///
/// A test of a policy with [`Timers`] checks the scheduled timers, and makes them due:
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
    /// The position of the last event that the policy processed.
    upstream: Position,
    /// The number of processed events of each aggregate.
    processed: HashMap<StreamId, u64>,
    recorded: Vec<(StreamId, Vec<NewEvent>)>,
    timers: BTreeMap<String, Timer>,
    /// The timers that were scheduled and not yet checked.
    scheduled: BTreeMap<String, Timer>,
    failure: Option<String>,
}

impl<P: From<Application>> PolicyScenario<P> {
    /// Creates a policy whose application has no events yet.
    pub fn new() -> Self {
        let app = Application::new("policy", MemoryStore::new());
        let policy = P::from(app.clone());
        let upstream = Position::ZERO;

        let timers = BTreeMap::new();
        let scheduled = BTreeMap::new();

        let processed = HashMap::new();
        let recorded = Vec::new();

        Self {
            policy,
            app,
            upstream,
            processed,
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
    /// Adds an aggregate with these events to the policy's own application.
    ///
    /// # Panics
    /// The events are not a history: see [`Root::create`].
    pub async fn given<A: Aggregate>(
        self,
        id: Id<A>,
        events: impl Decision<Event = A::Event, Failure = Infallible>,
    ) -> Self {
        self.app
            .save(&mut Root::with_id(id, events))
            .await
            .expect("a new aggregate in an empty store in memory");
        self
    }

    /// Lets the policy process an event, after all earlier ones and after the given events. The version of the event continues those
    /// of its aggregate. The event was recorded at the first second of 1970.
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
        let mut work = DetachedWork::of_event(&self.app, TimerType::Any, &event);
        let reacted = self.policy.react(&event, work.work()).await;
        self.keep(work, reacted).await;
        self
    }

    /// Counts one more event of the aggregate and returns its version.
    async fn next_version(&mut self, stream: StreamId) -> Version {
        let last = StreamQuery::new(stream.clone()).backwards().limit(1);
        let given = self
            .app
            .store()
            .read_stream(last)
            .await
            .expect("a store in memory");
        let given = given.first().map_or(0, |event| event.version.as_u64());
        let processed = self.processed.entry(stream).or_default();
        *processed += 1;
        Version::new(given + *processed)
    }

    /// Makes a scheduled timer due.
    ///
    /// # Panics
    /// There is no timer of this key, or it was scheduled with a payload of another type than [`Timers::Timer`].
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
        let mut work = DetachedWork::of_timer(&self.app, TimerType::Any, &timer);
        let processed = self.policy.due(&due, work.work()).await;
        self.keep(work, processed).await;
        self
    }

    async fn keep(&mut self, work: DetachedWork, outcome: Result<(), impl Error>) {
        let ended = match outcome {
            Ok(()) => work.end().map_err(|error| error_text(&*error)),
            Err(error) => Err(error_text(&error)),
        };
        match ended {
            Ok(consequences) => self.write(consequences).await,
            Err(failure) => self.failure = Some(failure),
        }
    }

    async fn write(&mut self, Consequences { append, timers }: Consequences) {
        for (key, timer) in timers {
            self.scheduled.remove(&key);
            self.timers.remove(&key);
            if let Some(timer) = timer {
                self.scheduled.insert(key.clone(), timer.clone());
                self.timers.insert(key, timer);
            }
        }
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
                .expect("there is no other writer to this store");
        }
    }

    /// Checks that a timer of this key is pending, with this time and payload.
    ///
    /// # Panics
    /// There is no such timer, or it differs.
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

    /// Checks that no timer is pending: none was scheduled, or all were cancelled or due.
    ///
    /// # Panics
    /// A timer is pending.
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

    /// Checks that exactly these events were recorded for this aggregate, in this order.
    ///
    /// # Panics
    /// The outcome differs.
    #[track_caller]
    pub fn then<A>(
        mut self,
        id: Id<A>,
        expected: impl Decision<Event = A::Event, Failure = Infallible>,
    ) -> Self
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
            expected_events(expected),
            "the events recorded for {stream} (left) and those expected"
        );
        self
    }

    /// Checks that nothing was recorded for any other aggregate, and no other timer was scheduled.
    ///
    /// # Panics
    /// There are further events or timers.
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

    /// Checks that the policy failed with an error whose text contains `expected`.
    ///
    /// # Panics
    /// The policy did not fail, or with another error.
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

fn events_of<D: Decision>(decision: D) -> Result<Vec<D::Event>, D::Failure> {
    Ok(decision.into_events()?.into_iter().collect())
}

fn expected_events<D: Decision<Failure = Infallible>>(expected: D) -> Vec<D::Event> {
    let Ok(events) = events_of(expected);
    events
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
