//! Within a system an application saves its own aggregates and no others, on every path.

use eventsourcing_core::store::{
    CommandId, EventStore, LogQuery, MemoryStore, Position, StoreError,
};
use eventsourcing_core::{
    Application, ApplicationError, CommandError, Metadata, OnFailure, Policy, RecordedEvent, Root,
    Runner, Stores, System, UnitOfWork,
};

use crate::domain::{Jar, JarEvent, Jars, NotEnough, Pantry, Shelf, ShelfEvent, shelf};

/// An aggregate that the pantry does not know.
mod stranger {
    use eventsourcing_core::{Aggregate, event};
    use serde::{Deserialize, Serialize};

    #[derive(Aggregate, Serialize, Deserialize)]
    pub(crate) struct Lid {}

    #[event]
    impl Lid {
        fn made() -> Self {
            Self {}
        }
    }
}

use stranger::{Lid, LidEvent};

/// Returns the reason of a refusal because of ownership.
#[track_caller]
fn assert_not_owned<T>(saved: Result<T, ApplicationError>, owner: &str) {
    let Err(ApplicationError::Store(StoreError::Invalid { reason })) = saved else {
        panic!("it is not refused")
    };
    assert!(
        reason.starts_with("application shelves cannot save ") && reason.contains(owner),
        "{reason}"
    );
}

fn app_error<T>(rejected: Result<T, CommandError<NotEnough>>) -> Result<T, ApplicationError> {
    rejected.map_err(|error| match error {
        CommandError::Application(error) => error,
        CommandError::Rejected(refusal) => panic!("{refusal}"),
    })
}

#[tokio::test]
async fn an_application_saves_no_aggregate_that_another_one_owns() {
    for (what, stores) in [
        ("one store", Stores::shared(MemoryStore::new())),
        (
            "a store of its own",
            Stores::shared(MemoryStore::new()).with("shelves", MemoryStore::new()),
        ),
    ] {
        let builder = Pantry::builder(stores).with_runner(Runner::inline());
        let pantry = builder
            .with_application(Pantry::SHELVES, |app| app.with_cache(7))
            .start()
            .await
            .unwrap();
        let jar = pantry
            .jars
            .app
            .create(|| JarEvent::Filled { beans: 3 })
            .await
            .unwrap()
            .id;
        let other = pantry
            .jars
            .app
            .create(|| JarEvent::Filled { beans: 4 })
            .await
            .unwrap()
            .id;
        let heads = async || {
            (
                pantry.jars.app.store().head().await.unwrap(),
                pantry.shelves.app.store().head().await.unwrap(),
            )
        };
        let before = heads().await;
        let handles = [
            pantry.shelves.app.clone(),
            pantry.shelves.app.with(Metadata::actor("ann")),
            pantry.shelves.app.command(CommandId::new()),
        ];
        for app in &handles {
            let mut new = Root::<Jar>::create(JarEvent::Filled { beans: 1 });
            assert_not_owned(app.save(&mut new).await, "jars owns; save it through jars");
            assert_eq!(new.pending().len(), 1, "{what}: its events are kept");
            let mut shelf = Root::<Shelf>::create(ShelfEvent::Built);
            assert_not_owned(app.save((&mut shelf, &mut new)).await, "jars owns");
            let found = pantry.jars.app.load(jar).await.unwrap();
            assert_not_owned(app.save((&mut shelf, found.guard())).await, "jars owns");
            assert_not_owned(
                app.create(|| JarEvent::Filled { beans: 1 }).await,
                "jars owns",
            );
            assert_not_owned(
                app_error(app.update(jar, |jar| jar.add(1)).await),
                "jars owns",
            );
            assert_not_owned(app.update(jar, |_| None).await, "jars owns");
            let both = app.update_all((jar, other), |(jar, _)| jar.execute(|jar| jar.add(1)));
            assert_not_owned(app_error(both.await), "jars owns");
            assert_not_owned(app.snapshot(jar).await, "jars owns");
            let mut lid = Root::<Lid>::create(LidEvent::Made);
            assert_not_owned(app.save(&mut lid).await, "write it into `aggregates(…)`");
        }
        assert_eq!(heads().await, before, "{what}: nothing is written");
        let mut shelf = Root::<Shelf>::create(ShelfEvent::Built);
        pantry.shelves.app.save(&mut shelf).await.unwrap();
        pantry
            .jars
            .app
            .save(&mut Root::<Jar>::create(JarEvent::Filled { beans: 1 }))
            .await
            .unwrap();
    }
    // Outside of a system aggregates have no owner.
    let alone = Application::new("shelves", MemoryStore::new());
    alone
        .save(&mut Root::<Lid>::create(LidEvent::Made))
        .await
        .unwrap();
}

/// A policy that saves aggregates that its application does not own: a lid for each jar, or another jar.
struct Meddler;

impl From<Application> for Meddler {
    fn from(_: Application) -> Self {
        Self
    }
}

impl Policy<Jar> for Meddler {
    type Error = ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Jar>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        match event.payload {
            JarEvent::Filled { beans: 1 } => {
                let id = work.new_id();
                work.create::<Lid>(id, LidEvent::Made);
            }
            JarEvent::Filled { beans: 2 } => work
                .load(event.aggregate_id)
                .await?
                .record(JarEvent::Added { beans: 1 }),
            _ => {
                work.load_or_create(shelf(), || ShelfEvent::Built).await?;
            }
        }
        Ok(())
    }
}

#[derive(System)]
struct Meddled {
    #[application(aggregates(Jar))]
    jars: Jars,

    #[application(aggregates(Shelf), follows(jars: Jar))]
    shelves: Meddler,
}

#[tokio::test]
async fn a_policy_records_nothing_for_an_aggregate_that_its_application_does_not_own() {
    for (beans, why) in [
        (1, "cannot save Lid, which no application"),
        (2, "cannot save Jar, which jars owns"),
    ] {
        let builder = Meddled::builder(MemoryStore::new()).with_runner(Runner::inline());
        let system = builder
            .with_on_failure(Meddled::SHELVES, OnFailure::Park)
            .start()
            .await
            .unwrap();
        let fill = async |beans| {
            system
                .jars
                .app
                .create(|| JarEvent::Filled { beans })
                .await
                .unwrap();
        };
        fill(beans).await;
        fill(3).await;
        system.wait_until_caught_up().await.unwrap();
        let log = system
            .jars
            .app
            .log(LogQuery::after(Position::ZERO))
            .await
            .unwrap();
        let names: Vec<_> = log.events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(names, ["Filled", "Filled", "Built"]);
        let parked = system
            .parking(Meddled::SHELVES)
            .unwrap()
            .list()
            .await
            .unwrap();
        assert!(
            parked.len() == 1 && parked[0].cause.contains(why),
            "{parked:?}"
        );
    }
}
