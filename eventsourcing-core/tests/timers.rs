//! Timers of policies: each is due in time, in order and once, also after crashes, failures and new releases.
#![allow(clippy::unwrap_used)]

mod manual_time;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use eventsourcing_core::store::{FollowerStore, MemoryStore};
use eventsourcing_core::system::ParkingAction;
use eventsourcing_core::{
    Application, Id, Metadata, OnFailure, Policy, RecordedEvent, Root, Runner, RunningSystem,
    Stores, System, SystemError, TIMER_KEY_BYTES_MAX, UnitOfWork,
};
use eventsourcing_testing::{
    Fault, FaultRates, FaultyStore, ManualClock, Operation, PolicyScenario, Seed,
};
use jiff::Timestamp;
use manual_time::{
    Bell, BellEvent, BellTower, Bells, Text, Wish, WishEvent, Wishes, made, rung, second, texts,
};

async fn start(
    store: impl FollowerStore,
    clock: &ManualClock,
    runner: Runner,
) -> RunningSystem<BellTower> {
    BellTower::builder(store)
        .with_clock(clock.clone())
        .with_runner(runner)
        .start()
        .await
        .unwrap()
}

/// A system in memory whose time stands still.
async fn inline() -> (RunningSystem<BellTower>, ManualClock) {
    let clock = ManualClock::new();
    (
        start(MemoryStore::new(), &clock, Runner::inline()).await,
        clock,
    )
}

async fn within_seconds<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("within 20 seconds")
}

/// Sets the clock and waits until all due timers are processed.
async fn at(second_: u64, system: &RunningSystem<BellTower>, clock: &ManualClock) -> Vec<String> {
    clock.set(second(second_));
    system.wait_until_caught_up().await.unwrap();
    texts(&system.bells.app).await
}

/// Returns the number of pending timers and the time of the next one.
async fn pending(system: &RunningSystem<BellTower>) -> (u64, Option<Timestamp>) {
    let health = system.health().await.unwrap();
    (health.followers[0].timers, health.followers[0].next_due)
}

#[tokio::test]
async fn timers_are_due_in_order_and_never_early() {
    let (system, clock) = inline().await;
    for number in [30, 10, 20, 40] {
        system
            .wishes
            .make(
                &format!("wish {number}"),
                second(number),
                &number.to_string(),
            )
            .await;
    }
    assert_eq!(pending(&system).await, (4, Some(second(10))));
    clock.set(second(10) - Duration::from_micros(1));
    system.wait_until_caught_up().await.unwrap();
    assert_eq!(texts(&system.bells.app).await, [""; 0]);
    assert_eq!(at(10, &system, &clock).await, ["10"]);
    assert_eq!(at(39, &system, &clock).await, ["10", "20", "30"]);
    assert_eq!(pending(&system).await, (1, Some(second(40))));
    assert_eq!(at(40, &system, &clock).await, ["10", "20", "30", "40"]);
    assert_eq!(at(10_000, &system, &clock).await.len(), 4, "once");
    assert_eq!(pending(&system).await, (0, None));
}

#[tokio::test]
async fn a_time_is_rounded_up_to_the_microsecond() {
    let (system, clock) = inline().await;
    system
        .wishes
        .make("soon", second(1) + Duration::from_nanos(1), "soon")
        .await;
    assert_eq!(at(1, &system, &clock).await, [""; 0]);
    assert_eq!(
        pending(&system).await,
        (1, Some(second(1) + Duration::from_micros(1)))
    );
    clock.advance(Duration::from_micros(1));
    system.wait_until_caught_up().await.unwrap();
    assert_eq!(texts(&system.bells.app).await, ["soon"]);
}

#[tokio::test]
async fn a_time_that_has_passed_is_due_at_once() {
    let (system, _) = inline().await;
    system.wishes.make("now", ManualClock::START, "now").await;
    for past in [
        Timestamp::UNIX_EPOCH,
        Timestamp::MIN,
        second(0) - Duration::from_secs(1),
    ] {
        system.wishes.make("past", past, "past").await;
    }
    assert_eq!(
        texts(&system.bells.app).await,
        ["now", "past", "past", "past"]
    );
    assert_eq!(pending(&system).await, (0, None));
}

#[tokio::test]
async fn a_timer_of_the_same_key_is_replaced() {
    let (system, clock) = inline().await;
    let wish = system.wishes.make("tea", second(10), "early").await;
    system
        .wishes
        .make("tea time", second(15), "another key")
        .await;
    system.wishes.repeat(wish, "tea", second(20), "late").await;
    assert_eq!(pending(&system).await, (2, Some(second(15))));
    assert_eq!(at(19, &system, &clock).await, ["another key"]);
    system
        .wishes
        .repeat(wish, "tea", second(19), "at once")
        .await;
    assert_eq!(at(30, &system, &clock).await, ["another key", "at once"]);
}

#[tokio::test]
async fn a_cancelled_timer_is_never_due() {
    let (system, clock) = inline().await;
    let wish = system.wishes.make("tea", second(10), "tea").await;
    system
        .wishes
        .make("tea time", second(10), "another key")
        .await;
    system.wishes.withdraw(wish, "tea").await;
    system.wishes.withdraw(wish, "tea").await;
    system.wishes.withdraw(wish, "never scheduled").await;
    assert_eq!(pending(&system).await, (1, Some(second(10))));
    assert_eq!(at(30, &system, &clock).await, ["another key"]);
    system.wishes.withdraw(wish, "tea time").await;
    system.wishes.repeat(wish, "tea", second(40), "again").await;
    assert_eq!(at(40, &system, &clock).await, ["another key", "again"]);
}

#[tokio::test]
async fn what_one_page_schedules_replaces_and_cancels_counts_as_it_ends() {
    let store = MemoryStore::new();
    let clock = ManualClock::new();

    // No follower runs yet, so that all events are one page.
    let wishes = Wishes {
        app: Application::new("wishes", store.clone()),
    };
    let wish = wishes.make("tea", second(10), "first").await;
    wishes.make("coffee", second(10), "coffee").await;
    wishes.repeat(wish, "tea", second(20), "second").await;
    wishes.withdraw(wish, "coffee").await;
    wishes.make("milk", second(15), "milk").await;
    let system = start(store, &clock, Runner::inline()).await;
    assert_eq!(pending(&system).await, (2, Some(second(15))));
    assert_eq!(at(100, &system, &clock).await, ["milk", "second"]);
}

#[tokio::test]
async fn a_timer_that_is_due_may_cancel_another_and_schedule_itself_again() {
    let (system, clock) = inline().await;
    system.wishes.make("a", second(10), "cancel b").await;
    system.wishes.make("b", second(10), "b").await;
    system.wishes.make("c", second(10), "hourly").await;
    assert_eq!(at(10, &system, &clock).await, ["cancel b", "hourly"]);
    assert_eq!(pending(&system).await, (1, Some(second(3_610))));
    assert_eq!(
        at(3 * 3_600, &system, &clock).await,
        ["cancel b", "hourly", "hourly", "hourly"]
    );
    let ids: BTreeSet<_> = rung(&system.bells.app)
        .await
        .iter()
        .map(|bell| bell.aggregate_id.as_uuid())
        .collect();
    assert_eq!(ids.len(), 4, "each has an id of its own");
}

#[tokio::test]
async fn timers_survive_a_restart() {
    let store = MemoryStore::new();
    let clock = ManualClock::new();

    for number in 0..300 {
        let system = match number % 100 {
            0 => start(store.clone(), &clock, Runner::inline()).await,
            _ => continue,
        };
        for number in number..number + 100 {
            system
                .wishes
                .make(
                    &number.to_string(),
                    second(1_000 - number),
                    &number.to_string(),
                )
                .await;
        }
        system.stop().await.unwrap();
    }
    clock.set(second(1_000));
    let system = start(store, &clock, Runner::inline()).await;
    let expected: Vec<_> = (0..300)
        .rev()
        .map(|number: u64| number.to_string())
        .collect();
    assert_eq!(texts(&system.bells.app).await, expected);
    assert_eq!(pending(&system).await, (0, None));
}

#[tokio::test]
async fn a_manual_clock_and_the_inline_runner_are_deterministic() {
    let run = async || {
        let (system, clock) = inline().await;
        for number in 0..20 {
            let wish = Id::<Wish>::named(&number.to_string());
            let event = made(&number.to_string(), second(number % 7), "hourly");
            system
                .wishes
                .app
                .save(&mut Root::with_id(wish, event))
                .await
                .unwrap();
            clock.advance(Duration::from_millis(700));
        }
        at(7_300, &system, &clock).await;
        rung(&system.bells.app)
            .await
            .into_iter()
            .map(|bell| (bell.position, bell.aggregate_id, bell.payload))
            .collect()
    };
    let first: Vec<_> = run().await;
    let second: Vec<_> = run().await;

    assert_eq!(first.len(), 60);
    assert_eq!(first, second);
}

#[tokio::test]
async fn what_a_timer_records_is_because_of_the_event_that_scheduled_it() {
    let (system, clock) = inline().await;
    let mut wish = Root::<Wish>::create(made("tea", second(10), "hourly"));
    system
        .wishes
        .app
        .with(Metadata::actor("teller-7"))
        .save(&mut wish)
        .await
        .unwrap();
    at(3_700, &system, &clock).await;
    let wishes = system.wishes.app.history(wish.id()).await.unwrap();
    let bells = rung(&system.bells.app).await;
    assert_eq!(bells.len(), 2, "also when it was scheduled again");
    for bell in bells {
        assert_eq!(
            bell.metadata,
            Metadata::caused_by(wishes[0].event_ref(), &wishes[0].metadata)
        );
        assert!(
            bell.metadata.correlation_id.is_some()
                && bell.metadata.actor.as_deref() == Some("teller-7")
        );
    }
}

#[tokio::test]
async fn a_timer_that_cannot_be_processed_stops_the_follower_visibly() {
    for (text, cause) in [
        ("fail", "the bell is broken"),
        ("panic", "panicked: what a noise"),
    ] {
        let (system, clock) = inline().await;
        for number in 0..10 {
            let text = if number == 5 { text } else { "ring" };
            system
                .wishes
                .make(&format!("{number}"), second(10 + number), text)
                .await;
        }
        clock.set(second(100));
        let Err(SystemError::FollowerStopped(failure)) = system.wait_until_caught_up().await else {
            panic!("it settled")
        };
        assert_eq!(
            texts(&system.bells.app).await,
            ["ring"; 5],
            "what was due before"
        );
        assert_eq!(failure.cause, cause);
        assert!(failure.event.starts_with(
            "timer \"5\", due at 2020-01-01T00:00:15Z, scheduled by version 1 of Wish"
        ));
        assert_eq!(pending(&system).await, (5, Some(second(15))));
        assert!(!system.health().await.unwrap().is_healthy());
        system.wishes.make("later", second(10), "later").await;
        assert_eq!(texts(&system.bells.app).await.len(), 5, "it stands");
        system.stop().await.unwrap_err();
    }
}

#[tokio::test]
async fn a_fixed_follower_continues_at_the_timer_where_it_stopped() {
    let store = MemoryStore::new();
    let clock = ManualClock::new();

    let system = start(store.clone(), &clock, Runner::inline()).await;
    system.wishes.make("1", second(1), "fail").await;
    system.wishes.make("2", second(2), "2").await;
    clock.set(second(3));
    system.wait_until_caught_up().await.unwrap_err();
    drop(system);
    clock.set(second(0));
    let system = start(store, &clock, Runner::inline()).await;
    system.bells.is_fixed.store(true, Ordering::SeqCst);
    assert_eq!(at(3, &system, &clock).await, ["fail", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_retries_processes_the_timer_when_the_cause_is_gone() {
    let builder =
        BellTower::builder(MemoryStore::new()).with_on_failure(BellTower::BELLS, OnFailure::Retry);
    let system = builder.start().await.unwrap();
    system.wishes.make("1", Timestamp::now(), "fail").await;
    within_seconds(async {
        while system.health().await.unwrap().is_healthy() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    system.bells.is_fixed.store(true, Ordering::SeqCst);
    within_seconds(system.wait_until_caught_up()).await.unwrap();
    assert_eq!(texts(&system.bells.app).await, ["fail"]);
    assert!(system.health().await.unwrap().is_healthy());
}

/// The next release, whose timers have the loudness of a bell.
mod next_release {
    use eventsourcing_core::{ApplicationError, Due, Timers};
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Serialize, Deserialize)]
    pub(crate) struct Wanted {
        text: String,
        loudness: u32,
    }

    pub(crate) struct Bells {
        pub(crate) app: Application,
    }

    impl From<Application> for Bells {
        fn from(app: Application) -> Self {
            Self { app }
        }
    }

    impl Policy<Wish> for Bells {
        type Error = ApplicationError;

        async fn react(
            &self,
            event: &RecordedEvent<Wish>,
            work: &mut UnitOfWork,
        ) -> Result<(), ApplicationError> {
            match &event.payload {
                WishEvent::Made { key, at, text } | WishEvent::Repeated { key, at, text } => {
                    work.schedule(
                        *at,
                        key,
                        &Wanted {
                            text: text.clone(),
                            loudness: 1,
                        },
                    );
                }
                WishEvent::Withdrawn { key } => work.cancel(key),
            }
            Ok(())
        }
    }

    impl Timers for Bells {
        type Timer = Wanted;
        type Error = ApplicationError;

        async fn due(
            &self,
            timer: &Due<Wanted>,
            work: &mut UnitOfWork,
        ) -> Result<(), ApplicationError> {
            let key = timer.key.clone();
            let text = timer.payload.text.clone();
            let due = timer.at;

            let id = work.new_id::<Bell>();
            work.create(
                id,
                BellEvent::Rung {
                    key,
                    text: format!("{text} {}", timer.payload.loudness),
                    due,
                },
            );
            Ok(())
        }
    }

    #[derive(System)]
    pub(crate) struct BellTower {
        #[application(aggregates(Wish))]
        pub(crate) wishes: Wishes,

        #[application(aggregates(Bell), follows(wishes: Wish), timers)]
        pub(crate) bells: Bells,
    }

    pub(crate) type Release = RunningSystem<BellTower>;

    /// Starts the next release on a store in which the first one has scheduled timers "1" to "3", all of which are due.
    pub(crate) async fn after_the_first(
        runner: Runner,
        on_failure: OnFailure,
    ) -> (Release, Id<Wish>) {
        let store = MemoryStore::new();
        let clock = ManualClock::new();

        let first = start(store.clone(), &clock, Runner::inline()).await;
        let mut wish = None;
        for number in 1..=3 {
            wish = Some(
                first
                    .wishes
                    .make(&number.to_string(), second(number), "old")
                    .await,
            );
        }
        first.stop().await.unwrap();
        clock.set(second(10));
        let builder = BellTower::builder(store)
            .with_clock(clock)
            .with_runner(runner)
            .with_on_failure_default(on_failure);
        (builder.start().await.unwrap(), wish.unwrap())
    }
}

use next_release::after_the_first;

#[tokio::test(flavor = "multi_thread")]
async fn timers_that_another_release_has_scheduled_are_parked_and_all_else_goes_on() {
    for runner in [Runner::inline(), Runner::concurrent()] {
        let (system, _) = after_the_first(runner, OnFailure::Park).await;
        within_seconds(system.wait_until_caught_up()).await.unwrap();
        system.wishes.make("4", second(4), "new").await;
        within_seconds(system.wait_until_caught_up()).await.unwrap();
        assert_eq!(texts(&system.bells.app).await, ["new 1"]);
        let health = system.health().await.unwrap();
        let bells = &health.followers[0];
        assert_eq!(
            (bells.parked_timers, bells.timers, bells.next_due),
            (3, 0, None)
        );
        assert_eq!(
            (bells.state.to_string().as_str(), health.is_healthy()),
            ("running", false)
        );

        let parking = system
            .parking(next_release::BellTower::BELLS)
            .unwrap()
            .by("ann");
        let parked = parking.timers().await.unwrap();
        let keys: Vec<_> = parked.iter().map(|timer| timer.key.as_str()).collect();
        assert_eq!(
            keys,
            ["1", "2", "3"],
            "in the order in which they were parked"
        );
        assert_eq!(
            (parked[0].due, parked[0].attempts, &parked[0].payload),
            (second(1), 1, &"old".into())
        );
        assert_eq!(parked[0].scheduled_by.as_ref().unwrap().category, "Wish");
        assert!(
            parked[0]
                .cause
                .starts_with("the payload of the timer \"1\" is not a "),
            "{}",
            parked[0].cause
        );
        assert!(!parked[0].cause.contains("corrupt"), "{}", parked[0].cause);
        within_seconds(system.stop()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_timers_are_retried_edited_and_discarded_and_it_is_recorded() {
    for runner in [Runner::inline(), Runner::concurrent()] {
        let (system, _) = after_the_first(runner, OnFailure::Park).await;
        within_seconds(system.wait_until_caught_up()).await.unwrap();
        let parking = system
            .parking(next_release::BellTower::BELLS)
            .unwrap()
            .by("ann");
        let failure = parking.retry_timer("1").await.unwrap().unwrap();
        assert!(
            failure
                .event
                .starts_with("timer \"1\", due at 2020-01-01T00:00:01Z"),
            "{failure}"
        );
        assert_eq!(parking.timers().await.unwrap()[0].attempts, 2);
        let edited = serde_json::json!({ "text": "edited", "loudness": 7 });
        assert!(
            parking
                .retry_timer_edited("1", edited.clone())
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(texts(&system.bells.app).await, ["edited 7"]);
        parking
            .discard_timer("2", "it is not needed")
            .await
            .unwrap();
        assert_eq!(parking.timers().await.unwrap().len(), 1);

        let records = parking.timer_records().await.unwrap();
        let actions: Vec<_> = records
            .iter()
            .map(|record| (record.key.as_str(), &record.by, &record.action))
            .collect();
        let failed = ParkingAction::Failed {
            cause: failure.cause,
        };
        let ann = "ann".to_owned();

        let dropped = ParkingAction::Dropped {
            reason: "it is not needed".into(),
        };
        let expected = [
            ("1", &ann, &failed),
            ("1", &ann, &ParkingAction::Edited { payload: edited }),
            ("2", &ann, &dropped),
        ];
        assert!(
            expected.iter().all(|expected| actions.contains(expected)) && actions.len() == 3,
            "{actions:?}"
        );

        for refused in [
            parking
                .retry_timer("1")
                .await
                .map(drop)
                .unwrap_err()
                .to_string(),
            parking
                .discard_timer("4", "never there")
                .await
                .unwrap_err()
                .to_string(),
        ] {
            assert!(
                refused.contains("bells has not parked a timer"),
                "{refused}"
            );
        }
        let refused = parking
            .discard_timer("3", " ")
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains("needs a reason"), "{refused}");
        parking.discard_timer("3", "nor here").await.unwrap();
        assert!(system.health().await.unwrap().is_healthy());
        within_seconds(system.wait_until_caught_up()).await.unwrap();
        assert_eq!(texts(&system.bells.app).await, ["edited 7"], "each once");
        within_seconds(system.stop()).await.unwrap();
    }
}

#[tokio::test]
async fn a_policy_replaces_and_cancels_a_parked_timer_as_any_other() {
    let (system, wish) = after_the_first(Runner::inline(), OnFailure::Park).await;
    system.wishes.repeat(wish, "1", second(20), "again").await;
    system.wishes.withdraw(wish, "2").await;
    let parked = system
        .parking(next_release::BellTower::BELLS)
        .unwrap()
        .timers()
        .await
        .unwrap();
    assert_eq!(
        parked
            .iter()
            .map(|timer| timer.key.as_str())
            .collect::<Vec<_>>(),
        ["3"]
    );
    let health = system.health().await.unwrap();
    assert_eq!(
        (
            health.followers[0].timers,
            health.followers[0].parked_timers
        ),
        (1, 1)
    );
    assert_eq!(health.followers[0].next_due, Some(second(20)));
    system.wishes.withdraw(wish, "1").await;
    system.wishes.withdraw(wish, "3").await;
    let health = system.health().await.unwrap();
    assert_eq!(
        (
            health.followers[0].timers,
            health.followers[0].parked_timers
        ),
        (0, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_that_cannot_be_read_stops_the_follower_or_is_retried_and_claims_no_corruption() {
    let (system, _) = after_the_first(Runner::inline(), OnFailure::Stop).await;
    let Err(SystemError::FollowerStopped(failure)) = system.wait_until_caught_up().await else {
        panic!("it settled")
    };
    assert!(
        failure.event.starts_with("timer \"1\"") && !failure.cause.contains("corrupt"),
        "{failure}"
    );
    let (system, _) = after_the_first(Runner::concurrent(), OnFailure::Retry).await;
    within_seconds(async {
        while system.health().await.unwrap().is_healthy() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let health = system.health().await.unwrap();
    let failure = health.followers[0].failure().unwrap();
    assert!(
        health.followers[0].state.to_string() == "retrying" && !failure.cause.contains("corrupt"),
        "{failure}"
    );
    within_seconds(system.stop()).await.unwrap();
}

#[tokio::test]
async fn a_timer_that_fails_or_panics_is_parked_and_stays_so_over_a_restart() {
    let store = MemoryStore::new();
    let clock = ManualClock::new();

    let open = async || {
        let builder = BellTower::builder(store.clone())
            .with_clock(clock.clone())
            .with_runner(Runner::inline());
        builder
            .with_on_failure(BellTower::BELLS, OnFailure::Park)
            .start()
            .await
            .unwrap()
    };
    let system = open().await;
    for (key, text) in [("1", "ring"), ("2", "fail"), ("3", "panic"), ("4", "ring")] {
        system.wishes.make(key, second(1), text).await;
    }
    assert_eq!(at(1, &system, &clock).await, ["ring", "ring"]);
    system.stop().await.unwrap();
    let system = open().await;
    assert_eq!(at(2, &system, &clock).await.len(), 2);
    let parking = system.parking(BellTower::BELLS).unwrap();
    let causes: Vec<_> = parking
        .timers()
        .await
        .unwrap()
        .into_iter()
        .map(|timer| timer.cause)
        .collect();
    assert_eq!(causes, ["the bell is broken", "panicked: what a noise"]);
    system.bells.is_fixed.store(true, Ordering::SeqCst);
    assert!(parking.retry_timer("2").await.unwrap().is_none());
    assert!(parking.retry_timer("3").await.unwrap().is_some());
    assert_eq!(texts(&system.bells.app).await, ["ring", "ring", "fail"]);
    assert!(system.verify().await.unwrap().agrees());
}

/// A policy that schedules timers without declaring them.
struct Undeclared {
    app: Application,
}

impl From<Application> for Undeclared {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

impl Policy<Wish> for Undeclared {
    type Error = eventsourcing_core::ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Wish>,
        work: &mut UnitOfWork,
    ) -> Result<(), Self::Error> {
        if let WishEvent::Made { key, at, text } = &event.payload {
            work.schedule(*at, key, &Text(text.clone()));
        }
        Ok(())
    }
}

#[derive(System)]
struct Forgetful {
    #[application(aggregates(Wish))]
    wishes: Wishes,

    #[application(aggregates(Bell), follows(wishes: Wish))]
    bells: Undeclared,
}

#[tokio::test]
async fn a_policy_that_is_not_declared_to_have_timers_fails_when_it_schedules_one() {
    let system = Forgetful::start(MemoryStore::new(), Runner::inline())
        .await
        .unwrap();
    system.wishes.make("tea", Timestamp::MAX, "tea").await;
    let Err(SystemError::FollowerStopped(failure)) = system.wait_until_caught_up().await else {
        panic!("it settled")
    };
    assert!(
        failure
            .cause
            .contains("write `timers` in `#[application(…)]`"),
        "{failure}"
    );
    assert_eq!(texts(&system.bells.app).await, [""; 0]);
}

#[tokio::test]
async fn timers_that_are_not_declared_any_more_are_not_forgotten() {
    let store = MemoryStore::new();
    let system = start(store.clone(), &ManualClock::new(), Runner::inline()).await;
    system.wishes.make("tea", second(1), "tea").await;
    system.stop().await.unwrap();
    let Err(SystemError::Invalid { reason }) = Forgetful::start(store, Runner::inline()).await
    else {
        panic!("it started")
    };
    assert!(
        reason.contains("bells has scheduled timers that would never be due: write `timers`"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_mistake_about_a_timer_fails_the_event() {
    let longest = "k".repeat(TIMER_KEY_BYTES_MAX);
    let (system, clock) = inline().await;
    system.wishes.make(&longest, second(1), "long").await;
    assert_eq!(at(1, &system, &clock).await, ["long"]);
    for (key, text, cause) in [
        (
            "",
            "empty",
            "a timer key of 0 bytes is not allowed: use 1 to 400 bytes and no NUL character",
        ),
        (
            "a\0b",
            "NUL",
            "a timer key of 3 bytes is not allowed: use 1 to 400 bytes and no NUL character",
        ),
        (&format!("{longest}k"), "longer", "a timer key of 401 bytes"),
        (
            "any",
            "number",
            "the timer \"number\" is scheduled with a u32, but the policy expects timers of the type",
        ),
    ] {
        let (system, _) = inline().await;
        system.wishes.make(key, second(1), text).await;
        let Err(SystemError::FollowerStopped(failure)) = system.wait_until_caught_up().await else {
            panic!("it settled")
        };
        assert!(failure.cause.starts_with(cause), "{failure}");
        assert!(failure.event.starts_with("Made of Wish"), "{failure}");
        assert_eq!(pending(&system).await, (0, None));
    }
}

#[tokio::test]
async fn keys_are_taken_as_they_are() {
    let (system, clock) = inline().await;
    let keys = ["a", "a/b", "/", "due/1/a", "ä 🦀", "%", "_", "A"];
    for key in keys {
        system.wishes.make(key, second(1), key).await;
    }
    let mut expected = keys;
    expected.sort_unstable();
    assert_eq!(
        at(1, &system, &clock).await,
        expected,
        "those of one moment in the order of their keys"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_concurrent_follower_sleeps_until_a_timer_is_due() {
    let system = BellTower::start(MemoryStore::new(), Runner::concurrent())
        .await
        .unwrap();
    let due = Timestamp::now() + Duration::from_millis(700);
    system.wishes.make("soon", due, "soon").await;
    system.wishes.make("late", Timestamp::MAX, "late").await;
    within_seconds(async {
        while rung(&system.bells.app).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let bell = rung(&system.bells.app).await.remove(0);
    let late = bell.recorded_at.duration_since(due);
    assert!(late.as_millis() < 250 && !late.is_negative(), "{late} late");
    within_seconds(system.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_concurrent_follower_notices_a_clock_that_jumps() {
    let clock = ManualClock::new();
    let system = start(MemoryStore::new(), &clock, Runner::concurrent()).await;
    system
        .wishes
        .make("tomorrow", second(24 * 3_600), "tomorrow")
        .await;
    within_seconds(system.wait_until_caught_up()).await.unwrap();
    assert_eq!(texts(&system.bells.app).await, [""; 0]);
    assert_eq!(
        within_seconds(at(24 * 3_600, &system, &clock)).await,
        ["tomorrow"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_process_each_timer_once() {
    for runner in [Runner::concurrent(), Runner::concurrent().without_leases()] {
        let store = MemoryStore::new();
        let mut systems = Vec::new();

        for _ in 0..3 {
            systems.push(BellTower::start(store.clone(), runner).await.unwrap());
        }
        let now = Timestamp::now();
        for number in 0..200 {
            let due = now + Duration::from_millis(number * 3);
            systems[0]
                .wishes
                .make(&number.to_string(), due, &number.to_string())
                .await;
        }
        let all: BTreeSet<_> = (0..200).map(|number| number.to_string()).collect();
        within_seconds(async {
            while texts(&systems[0].bells.app).await.len() < 200 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        for system in &systems {
            within_seconds(system.wait_until_caught_up()).await.unwrap();
        }
        let rung = texts(&systems[0].bells.app).await;
        assert_eq!(rung.len(), 200, "once");
        assert_eq!(rung.into_iter().collect::<BTreeSet<_>>(), all);
        for system in systems {
            within_seconds(system.stop()).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_slept_past_its_lease_over_a_timer_writes_nothing() {
    let store = MemoryStore::new();
    let lease = Duration::from_millis(300);

    let runner = Runner::concurrent().with_leases(lease);
    let sleeper = BellTower::start(store.clone(), runner).await.unwrap();
    sleeper.wishes.make("nap", Timestamp::now(), "sleep").await;
    within_seconds(async {
        while !sleeper.bells.asleep.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let awake = BellTower::start(store, runner).await.unwrap();
    awake.bells.asleep.store(true, Ordering::SeqCst);
    within_seconds(awake.wait_until_caught_up()).await.unwrap();
    assert_eq!(
        texts(&awake.bells.app).await,
        ["sleep"],
        "the lease was taken over"
    );
    sleeper.bells.wake.notify_one();
    sleeper.wishes.make("next", Timestamp::now(), "next").await;
    within_seconds(sleeper.wait_until_caught_up())
        .await
        .unwrap();
    assert_eq!(
        texts(&sleeper.bells.app).await,
        ["sleep", "next"],
        "each once"
    );
    assert_eq!(
        sleeper.health().await.unwrap().followers[0]
            .state
            .to_string(),
        "standing by"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_longer_than_the_lease_is_done_in_smaller_pieces() {
    let store = MemoryStore::new();
    let wishes = Wishes {
        app: Application::new("wishes", store.clone()),
    };
    for number in 0..200 {
        wishes
            .make(&number.to_string(), Timestamp::UNIX_EPOCH, "now")
            .await;
    }
    let mut systems = Vec::new();
    for number in 0..2 {
        let rates = FaultRates {
            delay: 1.0,
            delay_max: Duration::from_millis(8),
            ..FaultRates::default()
        };
        let slow = FaultyStore::new(store.clone()).with_rates(Seed::new(number), rates);
        let runner = Runner::concurrent().with_leases(Duration::from_millis(60));
        systems.push(BellTower::start(slow, runner).await.unwrap());
    }
    within_seconds(async {
        while rung(&wishes.app).await.len() < 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    within_seconds(systems[0].wait_until_caught_up())
        .await
        .unwrap();
    assert_eq!(rung(&wishes.app).await.len(), 200, "once");
}

#[tokio::test]
async fn a_lost_reply_repeats_no_timer() {
    for fault in [Fault::LostReply, Fault::Unavailable, Fault::Conflict] {
        let store = FaultyStore::new(MemoryStore::new());
        let clock = ManualClock::new();

        let store = std::sync::Arc::new(store);
        let system = start(store.clone(), &clock, Runner::inline()).await;
        system.wishes.make("1", second(1), "1").await;
        system.wishes.make("2", second(2), "2").await;
        clock.set(second(2));
        store.fail_next(Operation::Append, fault);
        let _ = system.wait_until_caught_up().await;
        assert_eq!(at(3, &system, &clock).await, ["1", "2"], "after {fault:?}");
        assert_eq!(pending(&system).await, (0, None));
    }
}

#[tokio::test]
async fn timers_work_across_stores_and_partitions() {
    let clock = ManualClock::new();
    let stores = Stores::shared(MemoryStore::new()).with("bells", MemoryStore::new());
    let builder = BellTower::builder(stores)
        .with_clock(clock.clone())
        .with_partitions(BellTower::BELLS, 3);
    let system = builder.with_runner(Runner::inline()).start().await.unwrap();
    let mut wishes = Vec::new();
    for number in 0..30 {
        let wish = Id::<Wish>::new();
        let key = wish.to_string();
        system
            .wishes
            .app
            .save(&mut Root::with_id(
                wish,
                made(&key, second(10), &number.to_string()),
            ))
            .await
            .unwrap();
        wishes.push((wish, key));
    }
    for (wish, key) in &wishes[..10] {
        system.wishes.withdraw(*wish, key).await;
    }
    for (wish, key) in &wishes[10..20] {
        system.wishes.repeat(*wish, key, second(20), "late").await;
    }
    let health = system.health().await.unwrap();
    assert_eq!(
        health
            .followers
            .iter()
            .map(|follower| follower.timers)
            .sum::<u64>(),
        20
    );
    let early: BTreeSet<_> = at(10, &system, &clock).await.into_iter().collect();
    assert_eq!(early, (20..30).map(|number| number.to_string()).collect());
    assert_eq!(at(20, &system, &clock).await[10..], ["late"; 10]);
}

#[tokio::test]
async fn a_policy_with_timers_is_tested_with_given_when_then() {
    let wish = Id::<Wish>::new();
    let bell = Id::<Bell>::named("tea");
    let scenario = || PolicyScenario::<Named>::new();
    scenario()
        .when(wish, made("tea", second(10), "tea is ready"))
        .await
        .then_timer("tea", second(10), Text("tea is ready".into()))
        .when_due("tea")
        .await
        .then(
            bell,
            BellEvent::Rung {
                key: "tea".into(),
                text: "tea is ready".into(),
                due: second(10),
            },
        )
        .then_no_timer()
        .then_nothing_else();
    scenario()
        .when(wish, made("tea", second(10), "tea is ready"))
        .await
        .when(wish, WishEvent::Withdrawn { key: "tea".into() })
        .await
        .then_no_timer()
        .then_nothing_else();
    scenario()
        .when(wish, made("tea", second(10), "fail"))
        .await
        .when_due("tea")
        .await
        .then_failed("broken");
    scenario()
        .when(wish, made("", second(10), "tea"))
        .await
        .then_failed("a timer key of 0 bytes");
}

#[tokio::test]
#[should_panic(expected = "timers were also scheduled: [\"tea\"]")]
async fn a_scenario_notices_a_timer_that_was_not_expected() {
    PolicyScenario::<Named>::new()
        .when(Id::new(), made("tea", second(1), "tea"))
        .await
        .then_nothing_else();
}

#[tokio::test]
#[should_panic(expected = "there is no timer \"coffee\"")]
async fn a_scenario_notices_a_timer_that_is_missing() {
    let scenario = PolicyScenario::<Named>::new()
        .when(Id::new(), made("tea", second(1), "tea"))
        .await;
    let _ = scenario.then_timer("coffee", second(1), Text("tea".into()));
}

/// A policy like [`Bells`] whose bells are named by their keys.
struct Named(Bells);

impl From<Application> for Named {
    fn from(app: Application) -> Self {
        Self(app.into())
    }
}

impl Policy<Wish> for Named {
    type Error = eventsourcing_core::ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Wish>,
        work: &mut UnitOfWork,
    ) -> Result<(), Self::Error> {
        self.0.react(event, work).await
    }
}

impl eventsourcing_core::Timers for Named {
    type Timer = Text;
    type Error = manual_time::BellError;

    async fn due(
        &self,
        timer: &eventsourcing_core::Due<Text>,
        work: &mut UnitOfWork,
    ) -> Result<(), Self::Error> {
        let key = timer.key.clone();
        let text = timer.payload.0.clone();
        let due = timer.at;

        if text == "fail" {
            return Err(manual_time::BellError::Broken);
        }
        work.create(Id::<Bell>::named(&key), BellEvent::Rung { key, text, due });
        Ok(())
    }
}
