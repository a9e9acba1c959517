//! Stored events of an earlier release that are split or retired now: aggregates, histories and followers read them, and each
//! stored event is processed once.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use eventsourcing_core::store::{EventStore, LogQuery, MemoryStore, Position, Version};
use eventsourcing_core::{
    Aggregate, Application, ApplicationError, Id, OnFailure, Policy, Projection, RecordedEvent,
    Root, Runner, System, UnitOfWork, event,
};
use serde::{Deserialize, Serialize};

/// The first release.
mod first {
    use super::*;

    #[derive(Aggregate, Serialize, Deserialize)]
    pub(crate) struct Jar {
        pub(crate) beans: u32,
    }

    #[event]
    impl Jar {
        fn reserved() -> Self {
            Self { beans: 0 }
        }
        fn filled(&mut self, beans: u32) {
            self.beans = beans;
        }
        fn painted(&mut self, _colour: String) {}
        fn stirred(&mut self, added: u32, taken: u32) {
            self.beans = self.beans + added - taken;
        }
    }
}

/// The second release: the event of a reservation is retired, that of a filling creates the jar, and that of stirring is split
/// into adding and taking.
mod second {
    use super::*;

    #[derive(Aggregate, Debug, Serialize, Deserialize)]
    #[aggregate(snapshot = every(4))]
    pub(crate) struct Jar {
        pub(crate) beans: u32,
        pub(crate) changes: u32,
    }

    #[event(split(name = "Stirred", with = stirred), split(name = "Filled", with = filled), retired("Reserved", "Painted"))]
    impl Jar {
        fn made() -> Self {
            Self {
                beans: 0,
                changes: 0,
            }
        }
        fn added(&mut self, beans: u32) {
            self.beans += beans;
            self.changes += 1;
        }
        fn taken(&mut self, beans: u32) {
            self.beans -= beans;
            self.changes += 1;
        }
    }

    #[derive(Deserialize)]
    struct Filled {
        beans: u32,
    }

    fn filled(old: Filled) -> [JarEvent; 2] {
        [JarEvent::Made, JarEvent::Added { beans: old.beans }]
    }

    #[derive(Deserialize)]
    struct Stirred {
        added: u32,
        taken: u32,
    }

    fn stirred(old: Stirred) -> Vec<JarEvent> {
        vec![
            JarEvent::Added { beans: old.added },
            JarEvent::Taken { beans: old.taken },
        ]
    }
}

use second::{Jar, JarEvent};

/// A jar of the first release: reserved, filled with 5, painted, stirred (3 more, 2 less).
async fn old_jar(store: &MemoryStore) -> Id<Jar> {
    use first::JarEvent::{Filled, Painted, Reserved, Stirred};
    let painted = Painted {
        colour: "red".into(),
    };
    let mut jar = Root::<first::Jar>::create([
        Reserved,
        Filled { beans: 5 },
        painted,
        Stirred { added: 3, taken: 2 },
    ]);
    Application::new("jars", store.clone())
        .save(&mut jar)
        .await
        .unwrap();
    Id::from_uuid(jar.id().as_uuid())
}

#[tokio::test]
async fn an_aggregate_folds_what_its_events_have_become_and_goes_on_from_its_version() {
    let store = MemoryStore::new();
    let id = old_jar(&store).await;
    let app = Application::new("jars", store);

    let jar = app.load(id).await.unwrap();
    assert_eq!(
        (jar.beans, jar.changes, jar.version()),
        (6, 3, Version::new(4))
    );
    app.update(id, |_| {
        [JarEvent::Added { beans: 1 }, JarEvent::Taken { beans: 3 }]
    })
    .await
    .unwrap();
    let jar = app.load(id).await.unwrap();
    assert_eq!(
        (jar.beans, jar.changes, jar.version()),
        (4, 5, Version::new(6))
    );
    let history = app.history(id).await.unwrap();
    let read: Vec<_> = history
        .iter()
        .map(|event| (event.version.as_u64(), event.part, event.name()))
        .collect();
    let parts = [
        (2, 0, "Made"),
        (2, 1, "Added"),
        (4, 0, "Added"),
        (4, 1, "Taken"),
        (5, 0, "Added"),
        (6, 0, "Taken"),
    ];
    assert_eq!(read, parts);
}

#[tokio::test]
async fn an_aggregate_is_loaded_at_the_versions_of_stored_events() {
    let store = MemoryStore::new();
    let id = old_jar(&store).await;
    let app = Application::new("jars", store);

    for (version, beans) in [(2, 5), (3, 5), (4, 6)] {
        let jar = app.load_at(id, Version::new(version)).await.unwrap();
        assert_eq!((jar.beans, jar.version()), (beans, Version::new(version)));
    }
    let error = app
        .load_at(id, Version::FIRST)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("all events of Jar") && error.contains("up to version 1 are retired"),
        "{error}"
    );
}

#[tokio::test]
async fn a_snapshot_and_the_events_after_it_are_what_all_events_are() {
    let store = MemoryStore::new();
    let id = old_jar(&store).await;
    let app = Application::new("jars", store.clone());

    app.snapshot(id).await.unwrap();
    app.update(id, |_| JarEvent::Added { beans: 1 })
        .await
        .unwrap();
    let load = eventsourcing_core::store::Load::new(id.stream())
        .with_snapshot(<Jar as Aggregate>::FINGERPRINT);
    let loaded = store.load(load);
    assert_eq!(
        loaded.await.unwrap().snapshot.unwrap().version,
        Version::new(4)
    );
    let jar = app.load(id).await.unwrap();
    assert_eq!(
        (jar.beans, jar.changes, jar.version()),
        (7, 4, Version::new(5))
    );
}

struct Jars;

impl From<Application> for Jars {
    fn from(_: Application) -> Self {
        Self
    }
}

#[derive(Aggregate, Serialize, Deserialize)]
struct Note {
    text: String,
}

#[event]
impl Note {
    fn written(text: String) -> Self {
        Self { text }
    }
}

/// A policy that writes a note for each change, with an id of its own.
struct Notes {
    app: Application,
}

impl From<Application> for Notes {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

impl Policy<Jar> for Notes {
    type Error = ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Jar>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        let text = format!("{:?}", event.payload);
        let id = work.new_id();
        work.create::<Note>(id, NoteEvent::Written { text });
        Ok(())
    }
}

/// A projection that lists the changes it sees. It fails the first three times that beans are taken.
#[derive(Default)]
struct List {
    seen: Mutex<Vec<(Position, u32)>>,
    failures: AtomicU32,
}

#[derive(Debug, thiserror::Error)]
#[error("not yet")]
struct NotYet;

impl Projection<Jar> for List {
    type Error = NotYet;

    async fn project(&self, event: &RecordedEvent<Jar>) -> Result<(), NotYet> {
        if matches!(event.payload, JarEvent::Taken { .. })
            && self.failures.fetch_add(1, Ordering::Relaxed) < 3
        {
            return Err(NotYet);
        }
        self.seen.lock().unwrap().push((event.position, event.part));
        Ok(())
    }
}

/// A projection that needs only the events of taking.
#[derive(Default)]
struct Thefts(Mutex<Vec<u32>>);

impl Projection<Jar> for Thefts {
    type Error = std::convert::Infallible;

    async fn project(&self, event: &RecordedEvent<Jar>) -> Result<(), Self::Error> {
        let JarEvent::Taken { beans } = event.payload else {
            panic!("not needed: {event:?}")
        };
        self.0.lock().unwrap().push(beans);
        Ok(())
    }
}

#[derive(System)]
struct Pantry {
    #[application(aggregates(Jar))]
    #[expect(dead_code, reason = "it owns what the others follow")]
    jars: Jars,
    #[application(aggregates(Note), follows(jars: Jar))]
    notes: Notes,
    #[projection(follows(jars: Jar))]
    list: List,
    #[projection(follows(jars: Jar(Taken)))]
    thefts: Thefts,
}

#[tokio::test]
async fn followers_process_the_parts_of_an_event_in_one_step() {
    let store = MemoryStore::new();
    for _ in 0..3 {
        old_jar(&store).await;
    }
    let builder = Pantry::builder(store.clone()).with_runner(Runner::inline());
    let pantry = builder
        .with_on_failure_default(OnFailure::Retry)
        .start()
        .await
        .unwrap();
    pantry.wait_until_caught_up().await.unwrap();

    let notes = pantry
        .notes
        .app
        .log(LogQuery::after(Position::ZERO).categories([Note::NAME]))
        .await
        .unwrap();
    let notes = notes.decode::<Note>().unwrap();
    let ids: HashSet<_> = notes.iter().map(|note| note.aggregate_id).collect();
    assert_eq!(
        (notes.len(), ids.len()),
        (12, 12),
        "four changes of each jar"
    );
    let causes: HashSet<_> = notes
        .iter()
        .map(|note| format!("{:?}", note.metadata.causation))
        .collect();
    assert_eq!(causes.len(), 6, "two stored events of each jar");

    let seen = pantry.list.seen.lock().unwrap().clone();
    assert_eq!(
        seen.len(),
        seen.iter().collect::<HashSet<_>>().len(),
        "nothing is seen twice: {seen:?}"
    );
    assert_eq!(seen.len(), 12);
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(*pantry.thefts.0.lock().unwrap(), [2, 2, 2]);

    let verification = pantry.verify().await.unwrap();
    assert!(verification.agrees(), "{verification:?}");
    assert_eq!(
        verification.followers[0].events, 12,
        "the stored ones count, retired ones too"
    );
    pantry.stop().await.unwrap();
}

#[tokio::test]
async fn an_event_is_parked_with_all_its_parts() {
    let store = MemoryStore::new();
    let id = old_jar(&store).await;
    let builder = Pantry::builder(store.clone()).with_runner(Runner::inline());
    let pantry = builder
        .with_on_failure(Pantry::LIST, OnFailure::Park)
        .start()
        .await
        .unwrap();
    pantry.wait_until_caught_up().await.unwrap();
    let parked = pantry.parking(Pantry::LIST).unwrap().list().await.unwrap();
    assert_eq!(
        parked
            .iter()
            .map(|parked| parked.version)
            .collect::<Vec<_>>(),
        [Version::new(4)]
    );
    pantry
        .parking(Pantry::LIST)
        .unwrap()
        .retry(&id.stream())
        .await
        .unwrap();
    let seen = pantry.list.seen.lock().unwrap().clone();
    assert_eq!(
        seen.iter().map(|(_, part)| *part).collect::<Vec<_>>(),
        [0, 1, 0, 1],
        "{seen:?}"
    );
    assert!(pantry.verify().await.unwrap().agrees());
    pantry.stop().await.unwrap();
}
