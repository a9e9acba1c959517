//! A small domain for the tests: jars of beans, and a shelf that counts the beans.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "not every test uses all of it"
)]

use std::sync::Mutex;

use eventsourcing_core::store::Position;
use eventsourcing_core::{
    Aggregate, Application, ApplicationError, Id, Policy, Projection, RecordedEvent, System,
    UnitOfWork, event,
};
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[aggregate(snapshot = every(10))]
pub struct Jar {
    pub beans: u32,
}

#[event]
impl Jar {
    fn filled(beans: u32) -> Self {
        Self { beans }
    }
    fn added(&mut self, beans: u32) {
        self.beans += beans;
    }
    fn taken(&mut self, beans: u32) {
        self.beans -= beans;
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("only {left} beans are left")]
pub struct NotEnough {
    pub left: u32,
}

impl Jar {
    pub fn add(&self, beans: u32) -> Result<JarEvent, NotEnough> {
        Ok(JarEvent::Added { beans })
    }
    pub fn take(&self, beans: u32) -> Result<JarEvent, NotEnough> {
        match beans <= self.beans {
            true => Ok(JarEvent::Taken { beans }),
            false => Err(NotEnough { left: self.beans }),
        }
    }
}

#[derive(Aggregate, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shelf {
    pub beans: i64,
    pub changes: u64,
}

#[event]
impl Shelf {
    fn built() -> Self {
        Self {
            beans: 0,
            changes: 0,
        }
    }
    fn changed(&mut self, by: i64) {
        self.beans += by;
        self.changes += 1;
    }
}

pub fn shelf() -> Id<Shelf> {
    Id::named("shelf")
}

pub struct Jars {
    pub app: Application,
}

impl From<Application> for Jars {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

/// A policy that counts all beans, and fails or panics on jars filled with these numbers.
pub struct Shelves {
    pub app: Application,
}

pub const FAILS_ON: u32 = 666;
pub const PANICS_ON: u32 = 667;

impl From<Application> for Shelves {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    #[error("{0} beans are too many")]
    TooMany(u32),
    #[error(transparent)]
    App(#[from] ApplicationError),
}

impl Policy<Jar> for Shelves {
    type Error = ShelfError;

    async fn react(
        &self,
        event: &RecordedEvent<Jar>,
        work: &mut UnitOfWork,
    ) -> Result<(), ShelfError> {
        match event.payload {
            JarEvent::Filled { beans: PANICS_ON } => panic!("what a number"),
            JarEvent::Filled { beans: FAILS_ON } => Err(ShelfError::TooMany(FAILS_ON)),
            _ => Ok(count(event, work).await?),
        }
    }
}

async fn count(event: &RecordedEvent<Jar>, work: &mut UnitOfWork) -> Result<(), ApplicationError> {
    let by = match event.payload {
        JarEvent::Filled { beans } | JarEvent::Added { beans } => i64::from(beans),
        JarEvent::Taken { beans } => -i64::from(beans),
    };
    work.load_or_create(shelf(), || ShelfEvent::Built)
        .await?
        .record(ShelfEvent::Changed { by });
    Ok(())
}

/// The next release of [`Shelves`], which fails at no number.
pub struct FixedShelves {
    pub app: Application,
}

impl From<Application> for FixedShelves {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

impl Policy<Jar> for FixedShelves {
    type Error = ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Jar>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        count(event, work).await
    }
}

/// A projection that keeps the positions of its events.
#[derive(Default)]
pub struct Seen(pub Mutex<Vec<Position>>);

impl Projection<Jar> for Seen {
    type Error = std::convert::Infallible;

    async fn project(&self, event: &RecordedEvent<Jar>) -> Result<(), Self::Error> {
        self.0.lock().unwrap().push(event.position);
        Ok(())
    }
}

impl Projection<Shelf> for Seen {
    type Error = std::convert::Infallible;

    async fn project(&self, event: &RecordedEvent<Shelf>) -> Result<(), Self::Error> {
        self.0.lock().unwrap().push(event.position);
        Ok(())
    }
}

#[derive(System)]
pub struct Pantry {
    #[application(aggregates(Jar))]
    pub jars: Jars,

    #[application(aggregates(Shelf), follows(jars: Jar))]
    pub shelves: Shelves,

    /// Follows a follower: the events of the shelf are written by the policy of the shelf.
    #[projection(follows(jars: Jar, shelves: Shelf))]
    pub seen: Seen,
}

/// The next release of [`Pantry`].
#[derive(System)]
pub struct FixedPantry {
    #[application(aggregates(Jar))]
    pub jars: Jars,

    #[application(aggregates(Shelf), follows(jars: Jar))]
    pub shelves: FixedShelves,
}
