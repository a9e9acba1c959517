//! The systems of the releases.

use std::sync::Arc;

use bank_example::stores;
use eventsourcing::sqlite::SqliteStore;
use eventsourcing::store::{
    Append, EventStore, FollowerStore, FollowersQuery, LogId, LogQuery, MemoryStore, Name,
    NotesQuery, Position, StoredEvent, Tracking,
};
use eventsourcing::{
    Aggregate, Application, ApplicationError, Id, Policy, RecordedEvent, Root, Runner,
    RunningSystem, Stores, System, SystemBuilder, SystemError, UnitOfWork, event,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{Jar, JarEvent, Jars, shelf};
use crate::support::Place;

/// A store of each kind, with the resources it needs.
pub(crate) struct Home {
    pub(crate) stores: Stores,
    /// Keeps the positions of read models in tables.
    read_models: Arc<dyn FollowerStore>,
    place: Option<Place>,
}

impl Home {
    pub(crate) async fn all() -> Vec<Self> {
        let read_models = SqliteStore::in_memory().expect("a store");
        let in_memory = Stores::shared(MemoryStore::new()).with_read_models(read_models.clone());
        let mut homes = vec![Self {
            stores: in_memory,
            read_models: Arc::new(read_models),
            place: None,
        }];
        for place in Place::all_durable() {
            let home = Self::of(stores::open(place.url()).await.expect("a store"));
            homes.push(Self {
                place: Some(place),
                ..home
            });
        }
        homes
    }

    /// A home in stores whose shared one keeps everything.
    pub(crate) fn of(stores: Stores) -> Self {
        Self {
            read_models: stores.store(),
            stores,
            place: None,
        }
    }

    pub(crate) fn url(&self) -> &str {
        self.place.as_ref().map_or("memory:", Place::url)
    }

    pub(crate) fn builder<S: System>(&self) -> SystemBuilder<S> {
        SystemBuilder::new(self.stores.clone()).with_runner(Runner::inline())
    }

    pub(crate) async fn start<S: System>(&self) -> RunningSystem<S> {
        self.builder()
            .start()
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", self.url()))
    }

    /// Starts a system, lets it catch up and stops it.
    pub(crate) async fn run<S: System>(&self) {
        finish(self.start::<S>().await).await;
    }

    /// Requires that the system is not started, that the reason has these parts, and that nothing was written.
    pub(crate) async fn assert_refused<S: System>(
        &self,
        builder: SystemBuilder<S>,
        parts: &[&str],
    ) {
        let before = self.picture().await;
        let Err(SystemError::Invalid { reason }) = builder.start().await else {
            panic!("{}: it starts", self.url());
        };
        for part in parts {
            assert!(
                reason.contains(part),
                "{}: {part:?} is missing in: {reason}",
                self.url()
            );
        }
        assert_eq!(
            self.picture().await,
            before,
            "{}: nothing may be written",
            self.url()
        );
    }

    /// Returns the log and the positions of the followers.
    async fn picture(&self) -> (Vec<StoredEvent>, Vec<(Name, u64, u64)>) {
        let followers = self
            .stores
            .store()
            .followers(FollowersQuery::all())
            .await
            .expect("a list");
        let places = followers.into_iter().map(|place| {
            (
                place.follower,
                place.position.as_u64(),
                place.revision.as_u64(),
            )
        });
        (self.log().await, places.collect())
    }

    pub(crate) async fn log(&self) -> Vec<StoredEvent> {
        let query = LogQuery::after(Position::ZERO).limit(usize::MAX);
        self.stores
            .store()
            .read_log(query)
            .await
            .expect("the log is read")
            .events
    }

    /// Counts the events of this name.
    pub(crate) async fn count(&self, name: &str) -> usize {
        self.log()
            .await
            .iter()
            .filter(|event| event.name == *name)
            .count()
    }

    /// Removes the notes of a follower whose keys begin like this, as if an earlier release had never written them.
    pub(crate) async fn forget(&self, follower: &str, prefix: &str) {
        forget(
            &*self.stores.store(),
            follower,
            self.stores.store().log_id(),
            prefix,
        )
        .await;
    }

    /// Does what [`forget`](Self::forget) does to a generation of a read model in tables.
    pub(crate) async fn forget_in_read_models(&self, follower: &str, prefix: &str) {
        forget(
            &*self.read_models,
            follower,
            self.stores.store().log_id(),
            prefix,
        )
        .await;
    }

    /// Returns an application that records in the name of a program that does not run.
    pub(crate) fn application(&self, name: &'static str) -> Application {
        Application::new(name, self.stores.store())
    }

    /// Fills this many jars, and adds to each once.
    pub(crate) async fn fill(&self, jars: usize) {
        for _ in 0..jars {
            let mut jar =
                Root::<Jar>::create([JarEvent::Filled { beans: 2 }, JarEvent::Added { beans: 1 }]);
            self.application("jars")
                .save(&mut jar)
                .await
                .expect("a jar");
        }
    }

    pub(crate) async fn changes_of_the_shelf(&self) -> u64 {
        self.application("shelves")
            .find(shelf())
            .await
            .expect("an answer")
            .map_or(0, |shelf| shelf.changes)
    }

    pub(crate) async fn audited(&self) -> u64 {
        self.application("audits")
            .find(audit())
            .await
            .expect("an answer")
            .map_or(0, |audit| audit.entries)
    }
}

pub(crate) async fn finish<S: System>(running: RunningSystem<S>) {
    let settled = tokio::time::timeout(
        std::time::Duration::from_secs(60),
        running.wait_until_caught_up(),
    )
    .await;
    settled.expect("in time").expect("it catches up");
    running.stop().await.expect("a graceful end");
}

/// Counts the events it is notified of.
#[derive(Aggregate, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Audit {
    pub(crate) entries: u64,
}

#[event]
impl Audit {
    fn begun() -> Self {
        Self { entries: 0 }
    }
    fn entered(&mut self) {
        self.entries += 1;
    }
}

fn audit() -> Id<Audit> {
    Id::named("audit")
}

pub(crate) struct Audits(#[expect(dead_code, reason = "a policy has an application")] Application);

impl From<Application> for Audits {
    fn from(app: Application) -> Self {
        Self(app)
    }
}

async fn enter(work: &mut UnitOfWork) -> Result<(), ApplicationError> {
    work.load_or_create(audit(), || AuditEvent::Begun)
        .await?
        .record(AuditEvent::Entered);
    Ok(())
}

impl Policy<Jar> for Audits {
    type Error = ApplicationError;

    async fn react(
        &self,
        _: &RecordedEvent<Jar>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        enter(work).await
    }
}

/// An aggregate that exists only in later releases.
#[derive(Aggregate, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lid {
    pub(crate) is_closed: bool,
}

#[event]
impl Lid {
    fn made() -> Self {
        Self { is_closed: false }
    }
    fn closed(&mut self) {
        self.is_closed = true;
    }
}

impl Policy<Lid> for Audits {
    type Error = ApplicationError;

    async fn react(
        &self,
        _: &RecordedEvent<Lid>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        enter(work).await
    }
}

pub(crate) struct Lids(#[expect(dead_code, reason = "it is followed")] Application);

impl From<Application> for Lids {
    fn from(app: Application) -> Self {
        Self(app)
    }
}

/// The first release.
#[derive(System)]
#[system(name = "Pantry")]
pub(crate) struct Pantry {
    #[application(aggregates(Jar))]
    pub(crate) jars: Jars,
    #[application(aggregates(crate::domain::Shelf), follows(jars: Jar))]
    shelves: crate::domain::FixedShelves,
}

async fn forget(store: &dyn FollowerStore, follower: &str, upstream: LogId, prefix: &str) {
    let book = store
        .notes(NotesQuery::new(follower.into(), upstream, prefix))
        .await
        .expect("notes");
    assert!(
        !book.notes.is_empty(),
        "{follower} has noted nothing under {prefix:?}"
    );
    let step = Tracking::new(follower, upstream, book.position, book.position);
    let step = book.notes.into_keys().fold(step, Tracking::without_note);
    store
        .append(Append::new(Timestamp::UNIX_EPOCH).with_tracking(step))
        .await
        .expect("a step");
}
