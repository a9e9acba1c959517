//! A small domain for the tests of timers with a manual clock: wishes schedule the ringing of bells.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "not every test uses all of it"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventsourcing_core::store::{LogQuery, Position};
use eventsourcing_core::{
    Aggregate, Application, ApplicationError, Due, Id, Policy, Receipt, RecordedEvent, Root,
    System, Timers, UnitOfWork, event,
};
use eventsourcing_testing::ManualClock;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// A wish to schedule or cancel the timer of a key.
#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
pub struct Wish {}

#[event]
impl Wish {
    fn made(_key: String, _at: Timestamp, _text: String) -> Self {
        Self {}
    }
    fn repeated(&mut self, _key: String, _at: Timestamp, _text: String) {}
    fn withdrawn(&mut self, _key: String) {}
}

/// A bell that has rung.
#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
pub struct Bell {
    pub key: String,
    pub text: String,
}

#[event]
impl Bell {
    fn rung(key: String, text: String, _due: Timestamp) -> Self {
        Self { key, text }
    }
}

pub struct Wishes {
    pub app: Application,
}

impl From<Application> for Wishes {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

impl Wishes {
    pub async fn make(&self, key: &str, at: Timestamp, text: &str) -> Id<Wish> {
        let mut wish = Root::<Wish>::create(made(key, at, text));
        self.app.save(&mut wish).await.unwrap();
        wish.id()
    }
    pub async fn repeat(&self, wish: Id<Wish>, key: &str, at: Timestamp, text: &str) {
        let mut wish = self.app.load(wish).await.unwrap();
        wish.record(WishEvent::Repeated {
            key: key.into(),
            at,
            text: text.into(),
        });
        self.app.save(&mut wish).await.unwrap();
    }
    pub async fn withdraw(&self, wish: Id<Wish>, key: &str) -> Receipt {
        let mut wish = self.app.load(wish).await.unwrap();
        wish.record(WishEvent::Withdrawn { key: key.into() });
        self.app.save(&mut wish).await.unwrap()
    }
}

pub fn made(key: &str, at: Timestamp, text: &str) -> WishEvent {
    WishEvent::Made {
        key: key.into(),
        at,
        text: text.into(),
    }
}

/// The text of a bell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Text(pub String);

/// A policy that rings bells at the wished times. Some texts make it fail, panic or sleep.
pub struct Bells {
    pub app: Application,
    /// `true` once it does not fail any more on the text "fail".
    pub is_fixed: AtomicBool,
    /// `true` once it has slept on the text "sleep", which it does one time only.
    pub asleep: AtomicBool,
    pub wake: Arc<Notify>,
}

impl From<Application> for Bells {
    fn from(app: Application) -> Self {
        Self {
            app,
            is_fixed: AtomicBool::default(),
            asleep: AtomicBool::default(),
            wake: Arc::default(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum BellError {
    #[error("the bell is broken")]
    Broken,
    #[error(transparent)]
    App(#[from] ApplicationError),
}

impl Policy<Wish> for Bells {
    type Error = ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Wish>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        match &event.payload {
            WishEvent::Made { at, text, .. } if text == "number" => {
                work.schedule(*at, "number", &7_u32);
            }
            WishEvent::Made { key, at, text } | WishEvent::Repeated { key, at, text } => {
                work.schedule(*at, key, &Text(text.clone()));
            }
            WishEvent::Withdrawn { key } => work.cancel(key),
        }
        Ok(())
    }
}

impl Timers for Bells {
    type Timer = Text;
    type Error = BellError;

    async fn due(&self, timer: &Due<Text>, work: &mut UnitOfWork) -> Result<(), BellError> {
        let Due {
            key,
            at,
            payload: Text(text),
            ..
        } = timer;
        match text.split_once(' ').unwrap_or((text, "")) {
            ("fail", _) if !self.is_fixed.load(Ordering::SeqCst) => return Err(BellError::Broken),
            ("panic", _) => panic!("what a noise"),
            ("cancel", other) => work.cancel(other),
            ("hourly", _) => work.schedule(*at + Duration::from_secs(3_600), key, &timer.payload),
            ("sleep", _) if !self.asleep.swap(true, Ordering::SeqCst) => self.wake.notified().await,
            _ => {}
        }
        let id = work.new_id::<Bell>();
        work.create(
            id,
            BellEvent::Rung {
                key: key.clone(),
                text: text.clone(),
                due: *at,
            },
        );
        Ok(())
    }
}

#[derive(System)]
pub struct BellTower {
    #[application(aggregates(Wish))]
    pub wishes: Wishes,

    #[application(aggregates(Bell), follows(wishes: Wish), timers)]
    pub bells: Bells,
}

/// Returns the bells in the order in which they rang.
pub async fn rung(app: &Application) -> Vec<RecordedEvent<Bell>> {
    let log = app
        .log(LogQuery::after(Position::ZERO).limit(usize::MAX))
        .await
        .unwrap();
    log.decode().unwrap()
}

/// Returns the texts of the bells in the order in which they rang.
pub async fn texts(app: &Application) -> Vec<String> {
    let text = |bell: RecordedEvent<Bell>| match bell.payload {
        BellEvent::Rung { text, .. } => text,
    };
    rung(app).await.into_iter().map(text).collect()
}

/// Returns the time this number of seconds after the start of the clock.
pub fn second(number: u64) -> Timestamp {
    ManualClock::START + Duration::from_secs(number)
}
