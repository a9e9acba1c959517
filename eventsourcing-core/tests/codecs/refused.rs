//! A value that would not come back is refused before it is stored, with the name of its field, and nothing is written.
//!
//! These tests run without reading back, so that release builds, which do not read back, refuse the same values.

use std::collections::HashMap;

use eventsourcing_core::store::CommandId;
use eventsourcing_core::system::FollowerState;
use eventsourcing_core::{
    ApplicationError, Due, Metadata, OnFailure, Policy, RecordedEvent, Root, Runner, System,
    Timers, UnitOfWork, VALUE_DEPTH_MAX,
};
use eventsourcing_testing::ManualClock;

use super::*;

/// An aggregate with values that cannot be stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Odd {
    Fine(u8),
    Fraction(f64),
    Half(f32),
    Nested(Option<Option<u8>>),
    OptionOfUnit(Option<()>),
    OptionOfMarker(Option<Marker>),
    OptionOfJson(Option<serde_json::Value>),
    ByPair(BTreeMap<(u8, u8), bool>),
    ByOption(BTreeMap<Option<u8>, bool>),
    Large(u128),
    Small(i128),
    ByLarge(BTreeMap<u128, u8>),
    List(Vec<Self>),
    Collision(Collision),
    Twice(Twice),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Collision {
    Inner(Inner),
    Map(BTreeMap<String, u8>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Inner {
    size: u8,
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Twice {
    size: u8,
    #[serde(flatten)]
    more: HashMap<String, u8>,
}

#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
struct Crate {
    last: Odd,
    count: u32,
}

#[event]
impl Crate {
    fn made(odd: Odd) -> Self {
        Self {
            last: odd,
            count: 1,
        }
    }
    fn filled(&mut self, odd: Odd) {
        self.last = odd;
        self.count += 1;
    }
}

fn odds() -> Vec<(Odd, &'static str, &'static str)> {
    let finite = "is not a finite number";
    let null = "comes back as `None`";
    let key = "a key of a map";
    let large = "does not fit into 64 bits";
    let collision = Inner {
        size: 1,
        kind: "odd".into(),
    };
    let map = BTreeMap::from([("a".to_owned(), 1), ("kind".to_owned(), 2)]);
    let twice = Twice {
        size: 1,
        more: HashMap::from([("size".to_owned(), 2)]),
    };
    let deep = (0..=VALUE_DEPTH_MAX).fold(Odd::Fine(1), |odd, _| Odd::List(vec![odd]));
    vec![
        (Odd::Fraction(f64::NAN), "odd.Fraction", finite),
        (Odd::Fraction(f64::NEG_INFINITY), "odd.Fraction", finite),
        (Odd::Half(f32::INFINITY), "odd.Half", finite),
        (
            Odd::List(vec![Odd::Fine(1), Odd::Half(f32::NAN)]),
            "odd.List[1].Half",
            finite,
        ),
        (Odd::Nested(Some(None)), "odd.Nested", null),
        (Odd::OptionOfUnit(Some(())), "odd.OptionOfUnit", null),
        (
            Odd::OptionOfMarker(Some(Marker)),
            "odd.OptionOfMarker",
            null,
        ),
        (
            Odd::OptionOfJson(Some(serde_json::Value::Null)),
            "odd.OptionOfJson",
            null,
        ),
        (Odd::ByPair([((1, 2), true)].into()), "odd.ByPair", key),
        (Odd::ByOption([(None, true)].into()), "odd.ByOption", key),
        (Odd::Large(u128::MAX), "odd.Large", large),
        (Odd::Small(i128::MIN), "odd.Small", large),
        (Odd::ByLarge([(1 << 64, 1)].into()), "odd.ByLarge", large),
        (deep, "", "is nested deeper than 100 levels"),
        (
            Odd::Collision(Collision::Inner(collision)),
            "odd.Collision",
            "`kind` is written twice",
        ),
        (
            Odd::Collision(Collision::Map(map)),
            "odd.Collision",
            "`kind` is written twice",
        ),
        (Odd::Twice(twice), "odd.Twice", "`size` is written twice"),
    ]
}

fn fine() -> Vec<Odd> {
    vec![
        Odd::Fine(1),
        Odd::Fraction(-0.0),
        Odd::Half(0.1),
        Odd::Nested(None),
        Odd::Nested(Some(Some(1))),
        Odd::OptionOfUnit(None),
        Odd::OptionOfJson(Some(serde_json::json!([null]))),
        Odd::Large(u64::MAX.into()),
        Odd::Small(i64::MIN.into()),
        Odd::ByLarge([(7, 1)].into()),
        Odd::Twice(Twice {
            size: 1,
            more: HashMap::from([("weight".to_owned(), 2)]),
        }),
        (0..VALUE_DEPTH_MAX / 2 - 2).fold(Odd::Fine(1), |odd, _| Odd::List(vec![odd])),
    ]
}

/// Returns applications on one store, one for each codec, that do not read back.
fn apps(store: &MemoryStore) -> [Application; 2] {
    let app = Application::new("boxes", store.clone()).with_read_back(false);
    [app.clone(), app.with_codec(Codec::MessagePack)]
}

fn assert_names(error: &impl std::fmt::Display, event: &str, field: &str, problem: &str) {
    let text = error.to_string();
    let is_named = text.contains(&format!("cannot encode event {event}: field `{field}"))
        && text.contains(problem);
    assert!(is_named, "{event} {field} {problem}: {text}");
}

#[tokio::test]
async fn odd_value_is_refused_with_its_event_and_field_and_nothing_is_written() {
    let store = MemoryStore::new();
    for app in apps(&store) {
        let made = || CrateEvent::Made { odd: Odd::Fine(0) };
        let id = app.create(made).await.unwrap().id;
        for (odd, field, problem) in odds() {
            let head = store.head().await.unwrap();
            let refused = app.create(|| CrateEvent::Made { odd: odd.clone() }).await;
            assert_names(&refused.unwrap_err(), "Made", field, problem);
            let filled = || CrateEvent::Filled { odd: odd.clone() };
            let refused = app.update(id, |_| filled()).await.unwrap_err();
            assert!(
                matches!(refused, ApplicationError::Store(StoreError::Invalid { .. })),
                "{refused}"
            );
            assert_names(&refused, "Filled", field, problem);
            let mut root = app.load(id).await.unwrap();
            root.record(filled());
            assert_names(
                &app.save(&mut root).await.unwrap_err(),
                "Filled",
                field,
                problem,
            );
            assert_eq!(store.head().await.unwrap(), head, "{odd:?}");
        }
        // The cache has nothing of the refused value.
        for (odd, count) in fine().into_iter().zip(2..) {
            let filled = |state: &Crate| {
                assert_eq!(state.count, count - 1);
                CrateEvent::Filled { odd: odd.clone() }
            };
            app.update(id, filled)
                .await
                .unwrap_or_else(|error| panic!("{odd:?}: {error}"));
            assert_eq!(app.load(id).await.unwrap().last, odd);
        }
    }
}

/// Commands that wait for each other are written together, but a refusal concerns one command only.
#[tokio::test]
async fn other_commands_of_a_shared_append_are_unharmed() {
    for app in apps(&MemoryStore::new()) {
        let made = || CrateEvent::Made { odd: Odd::Fine(0) };
        let id = app.create(made).await.unwrap().id;
        let update = |number: u8| {
            let odd = if number == 5 {
                Odd::Fraction(f64::NAN)
            } else {
                Odd::Fine(number)
            };
            let app = app.clone();
            async move {
                app.update(id, |_| CrateEvent::Filled { odd: odd.clone() })
                    .await
            }
        };
        let outcomes = futures_util::future::join_all((1..=20).map(update)).await;
        for (outcome, number) in outcomes.into_iter().zip(1..) {
            match outcome {
                Err(error) if number == 5 => {
                    assert_names(&error, "Filled", "odd.Fraction", "finite");
                }
                outcome => drop(outcome.unwrap_or_else(|error| panic!("{number}: {error}"))),
            }
        }
        assert_eq!(app.load(id).await.unwrap().count, 20);
    }
}

/// A state that has no finite mean before it has two readings, and snapshots at each version.
#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
#[aggregate(snapshot = every(1))]
struct Gauge {
    readings: u32,
    mean: f64,
}

#[event]
impl Gauge {
    fn installed() -> Self {
        Self {
            readings: 0,
            mean: f64::NAN,
        }
    }
    fn read(&mut self, value: f64) {
        self.mean = if self.readings == 0 {
            value
        } else {
            f64::midpoint(self.mean, value)
        };
        self.readings += 1;
    }
}

#[tokio::test]
async fn snapshot_that_would_not_come_back_is_not_kept() {
    let store = MemoryStore::new();
    let app = Application::new("gauges", store.clone()).with_read_back(false);
    let id = app.create(|| GaugeEvent::Installed).await.unwrap().id;
    let kept = async || {
        let load = eventsourcing_core::store::Load::new(id.stream());
        let fingerprint = Some(<Gauge as Aggregate>::FINGERPRINT);
        store
            .load(eventsourcing_core::store::Load {
                fingerprint,
                ..load
            })
            .await
            .unwrap()
            .snapshot
    };
    assert!(kept().await.is_none());
    let refused = app.snapshot(id).await.unwrap_err().to_string();
    assert!(
        refused.contains("state of Gauge")
            && refused.contains("`mean`: NaN is not a finite number"),
        "{refused}"
    );
    assert!(
        app.load(id).await.unwrap().mean.is_nan(),
        "it is folded from its events"
    );
    app.update(id, |_| GaugeEvent::Read { value: 2.0 })
        .await
        .unwrap();
    assert_eq!(kept().await.unwrap().version.as_u64(), 2);
}

/// A kept rejection is JSON, too.
#[derive(Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{ratio} is no ratio")]
struct NoRatio {
    ratio: f64,
    of: Option<Option<u8>>,
}

#[tokio::test]
async fn refusal_that_would_not_come_back_is_not_kept() {
    for app in apps(&MemoryStore::new()) {
        let made = || CrateEvent::Made { odd: Odd::Fine(0) };
        let id = app.create(made).await.unwrap().id;
        for (ratio, of, field) in [(f64::NAN, None, "ratio"), (0.5, Some(None), "of")] {
            let command = app.command(CommandId::new());
            let decide = |_: &Crate| Err::<CrateEvent, _>(NoRatio { ratio, of });
            let refused = command.once(command.update(id, decide)).await.unwrap_err();
            let CommandError::Application(ApplicationError::Store(StoreError::Invalid { reason })) =
                refused
            else {
                panic!("{refused}")
            };
            assert!(
                reason.contains(&format!("cannot be kept: field `{field}`")),
                "{reason}"
            );
            assert_eq!(
                command.first_answer::<NoRatio>().await.unwrap(),
                None,
                "nothing is kept"
            );
            command
                .update(id, |_| CrateEvent::Filled { odd: Odd::Fine(1) })
                .await
                .unwrap();
        }
        let command = app.command(CommandId::new());
        let decide = |_: &Crate| {
            Err::<CrateEvent, _>(NoRatio {
                ratio: -0.5,
                of: Some(Some(1)),
            })
        };
        command.once(command.update(id, decide)).await.unwrap_err();
        let kept = command
            .first_answer::<NoRatio>()
            .await
            .unwrap()
            .unwrap()
            .unwrap_err();
        assert_eq!(
            kept,
            NoRatio {
                ratio: -0.5,
                of: Some(Some(1))
            }
        );
    }
}

/// A policy that copies the contents of boxes, through a timer.
struct Copies {
    app: Application,
}

impl From<Application> for Copies {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

/// An aggregate that the timer creates with half of a value.
#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
struct Double {
    half: f64,
}

#[event]
impl Double {
    fn begun(half: f64) -> Self {
        Self { half }
    }
}

/// Returns half of a value, which for 0 is not a number.
fn half(odd: &Odd) -> f64 {
    let Odd::Fine(value) = odd else { return 0.0 };
    f64::from(*value) / f64::from(*value) / 2.0
}

impl Policy<Crate> for Copies {
    type Error = ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Crate>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        match &event.payload {
            CrateEvent::Made { odd } => {
                let id = work.new_id();
                work.create::<Double>(id, DoubleEvent::Begun { half: half(odd) });
            }
            CrateEvent::Filled { odd } => {
                work.schedule(event.recorded_at, event.aggregate_id, &half(odd));
            }
        }
        Ok(())
    }
}

impl Timers for Copies {
    type Timer = f64;
    type Error = ApplicationError;

    async fn due(&self, timer: &Due<f64>, work: &mut UnitOfWork) -> Result<(), ApplicationError> {
        let id = work.new_id();
        work.create::<Double>(
            id,
            DoubleEvent::Begun {
                half: timer.payload,
            },
        );
        Ok(())
    }
}

struct Boxes {
    app: Application,
}

impl From<Application> for Boxes {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

#[derive(System)]
struct Copying {
    #[application(aggregates(Crate))]
    boxes: Boxes,
    #[application(aggregates(Double), follows(boxes: Crate), timers)]
    copies: Copies,
}

#[tokio::test]
async fn odd_value_that_a_policy_records_or_schedules_fails_its_event_and_no_other() {
    for codec in CODECS {
        let builder = Copying::builder(MemoryStore::new())
            .with_runner(Runner::inline())
            .with_codec(codec);
        let builder = builder.with_clock(ManualClock::new()).with_read_back(false);
        let system = builder
            .with_on_failure(Copying::COPIES, OnFailure::Park)
            .start()
            .await
            .unwrap();
        let mut ids = Vec::new();
        for value in [1, 0, 1] {
            let made = || CrateEvent::Made {
                odd: Odd::Fine(value),
            };
            ids.push(system.boxes.app.create(made).await.unwrap().id);
        }
        for value in [1, 0] {
            let filled = |_: &Crate| CrateEvent::Filled {
                odd: Odd::Fine(value),
            };
            system.boxes.app.update(ids[2], filled).await.unwrap();
        }
        system.wait_until_caught_up().await.unwrap();
        let health = system.health().await.unwrap();
        assert!(
            matches!(health.followers[0].state, FollowerState::Running),
            "{:?}",
            health.followers[0].state
        );
        let parked = system
            .parking(Copying::COPIES)
            .unwrap()
            .list()
            .await
            .unwrap();
        let reasons: Vec<_> = parked.iter().map(|parked| format!("{parked:?}")).collect();
        assert_eq!(parked.len(), 2, "{reasons:?}");
        assert!(
            reasons
                .iter()
                .any(|reason| reason.contains("cannot encode event Begun: field `half`")),
            "{reasons:?}"
        );
        assert!(
            reasons
                .iter()
                .any(|reason| reason.contains("payload of the timer")),
            "{reasons:?}"
        );
        let copies = system
            .copies
            .app
            .ids::<Double>(Position::ZERO, 10)
            .await
            .unwrap()
            .ids;
        assert_eq!(copies.len(), 3, "two events and one timer");
        for id in copies {
            assert_eq!(system.copies.app.load(id).await.unwrap().half, 0.5);
        }
    }
}

/// Metadata accepts any text.
#[tokio::test]
async fn metadata_of_every_kind_comes_back() {
    let app = Application::new("boxes", MemoryStore::new());
    let metadata = Metadata::actor("a\0\u{2028}\"\\\u{10FFFF}")
        .with("", "empty")
        .with("\0", "\n")
        .with("kind", "null");
    let mut root = Root::<Crate>::create(CrateEvent::Made { odd: Odd::Fine(1) });
    app.with(metadata.clone()).save(&mut root).await.unwrap();
    let read = app.history(root.id()).await.unwrap().remove(0).metadata;
    assert_eq!(
        (&read.actor, &read.extra),
        (&metadata.actor, &metadata.extra)
    );
}
