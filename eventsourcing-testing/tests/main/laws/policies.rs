//! Policies that depend on more than the event and what is there.

use super::*;

#[derive(Aggregate, Serialize, Deserialize)]
struct Shelf {
    jars: u32,
}

#[event]
impl Shelf {
    fn built(_at: Timestamp) -> Self {
        Self { jars: 0 }
    }
    fn jar_added(&mut self, _jar: Id<Jar>) {
        self.jars += 1;
    }
}

/// A policy whose body is given.
macro_rules! policy {
    ($name:ident, |$event:ident, $work:ident| $body:expr) => {
        struct $name;

        impl From<Application> for $name {
            fn from(_: Application) -> Self {
                Self
            }
        }

        impl Policy<Jar> for $name {
            type Error = ApplicationError;

            async fn react(
                &self,
                $event: &RecordedEvent<Jar>,
                $work: &mut UnitOfWork,
            ) -> Result<(), ApplicationError> {
                $body;
                Ok(())
            }
        }
    };
}

policy!(Careful, |event, work| {
    let id = work.new_id::<Shelf>();
    work.create(
        id,
        ShelfEvent::Built {
            at: event.recorded_at,
        },
    );
    work.schedule(event.recorded_at, id, &id);
});
policy!(ReadsTheClock, |_event, work| {
    let id = work.new_id::<Shelf>();
    work.create(
        id,
        ShelfEvent::Built {
            at: Timestamp::now(),
        },
    );
});
policy!(InventsIds, |event, work| {
    if let JarEvent::Taken { .. } = event.payload {
        work.create(
            Id::<Shelf>::new(),
            ShelfEvent::Built {
                at: event.recorded_at,
            },
        );
    }
});
policy!(SchedulesAtRandom, |event, work| {
    let id = work.new_id::<Shelf>();
    work.create(
        id,
        ShelfEvent::Built {
            at: event.recorded_at,
        },
    );
    work.schedule(event.recorded_at, event.aggregate_id, &now().to_string());
});
policy!(NeedsAShelf, |event, work| {
    let shelf = work
        .load(Id::<Shelf>::from_uuid(event.aggregate_id.as_uuid()))
        .await?;
    shelf.record(ShelfEvent::JarAdded {
        jar: event.aggregate_id,
    });
});

/// A policy with timers, of which the bodies are given.
macro_rules! policy_with_timers {
    ($name:ident, |$event:ident, $work:ident| $body:expr, |$timer:ident, $due:ident| $when_due:expr) => {
        policy!($name, |$event, $work| $body);

        impl Timers for $name {
            type Timer = String;
            type Error = ApplicationError;

            async fn due(
                &self,
                $timer: &Due<String>,
                $due: &mut UnitOfWork,
            ) -> Result<(), ApplicationError> {
                $when_due;
                Ok(())
            }
        }
    };
}

policy_with_timers!(
    OnlySchedules,
    |event, work| work.schedule(event.recorded_at, event.position, &"a time".to_owned()),
    |_timer, _work| {}
);
policy_with_timers!(
    RemindsForEver,
    |event, work| work.schedule(event.recorded_at, "reminder", &"again".to_owned()),
    |timer, work| {
        let id = work.new_id::<Shelf>();
        work.create(id, ShelfEvent::Built { at: timer.at });
        work.schedule(
            timer.at + std::time::Duration::from_secs(60),
            &timer.key,
            &timer.payload,
        );
    }
);
policy_with_timers!(
    ReadsTheClockWhenDue,
    |event, work| work.schedule(event.recorded_at, "late", &"tick".to_owned()),
    |_timer, work| {
        let id = work.new_id::<Shelf>();
        work.create(
            id,
            ShelfEvent::Built {
                at: Timestamp::now(),
            },
        );
    }
);
policy_with_timers!(
    PanicsWhenDue,
    |event, work| work.schedule(event.recorded_at, "late", &"tick".to_owned()),
    |timer, _work| assert!(timer.key.is_empty(), "what a noise")
);
policy_with_timers!(
    SchedulesAnotherType,
    |event, work| work.schedule(event.recorded_at, "late", &7_u32),
    |_timer, _work| {}
);

laws!(policy Careful: Jar);
laws!(policy OnlySchedules: Jar);
laws!(policy RemindsForEver: Jar);
laws!(policy NeedsAShelf: Jar, given = [Shelf]);

fn message_for<P: From<Application> + Policy<Jar>>() -> String {
    broken(|| PolicyLaws::<P, Jar>::new().an_event_processed_twice_leads_to_the_same())
}

#[test]
fn a_policy_that_reads_the_clock_is_found() {
    assert_says(
        &message_for::<ReadsTheClock>(),
        &[
            "ReadsTheClock breaks the law that an event processed twice leads to the same: event 1 led to\n  Shelf",
            "and processed again to\n  Shelf",
            "\n  1 Filled {\"beans\":0}\n",
            "ids from `work.new_id()`, times from `event.recorded_at`",
        ],
    );
}

#[test]
fn a_policy_that_invents_ids_is_found() {
    assert_says(
        &message_for::<InventsIds>(),
        &[
            "InventsIds breaks the law",
            "event 2 led to",
            "\n  2 Taken {\"beans\":0}\n",
        ],
    );
}

#[test]
fn a_policy_that_schedules_at_random_is_found() {
    assert_says(
        &message_for::<SchedulesAtRandom>(),
        &["SchedulesAtRandom breaks the law", "\n  timer "],
    );
}

fn with_timers<P: From<Application> + Policy<Jar> + Timers>() -> String {
    broken(|| {
        PolicyLaws::<P, Jar>::new()
            .with_timers()
            .an_event_processed_twice_leads_to_the_same();
    })
}

#[test]
fn what_a_policy_does_when_a_timer_is_due_is_put_to_the_law() {
    assert_says(
        &with_timers::<ReadsTheClockWhenDue>(),
        &["breaks the law", "timer \"late\" led to\n  Shelf"],
    );
    assert_says(
        &with_timers::<PanicsWhenDue>(),
        &["breaks the law", "the code panicked: what a noise"],
    );
}

#[test]
fn a_timer_of_another_type_leads_to_nothing() {
    assert_says(
        &with_timers::<SchedulesAnotherType>(),
        &["is not tested: no event of Jar led to anything"],
    );
}

#[test]
fn a_policy_that_does_nothing_tests_nothing() {
    let message = message_for::<NeedsAShelf>();
    assert_says(
        &message,
        &[
            "is not tested: no event of Jar led to anything",
            "`given = […]`",
        ],
    );
}
