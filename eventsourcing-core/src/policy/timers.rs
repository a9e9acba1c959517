//! [`Timers`]: the reaction of a policy to a time that it has chosen itself.

use std::any::{Any, type_name};
use std::collections::BTreeMap;
use std::error::Error;

use jiff::{Timestamp, TimestampRound, Unit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::codec::Encoding;
use crate::store::{BoxError, NOTE_KEY_BYTES_MAX};
use crate::{EventRef, Metadata, UnitOfWork};

/// The longest key of a timer, in bytes.
pub const TIMER_KEY_BYTES_MAX: usize = 400;

// The longest note key made of a timer key has 25 bytes more: "due/", 20 digits and "/".
const _: () = assert!(TIMER_KEY_BYTES_MAX + 25 <= NOTE_KEY_BYTES_MAX);

/// Processes the timers that a [`Policy`](crate::Policy) has [scheduled](UnitOfWork::schedule),
/// when they are due.
///
/// Declare it with the word `timers`: `#[application(aggregates(Order), follows(payments: Payment),
/// timers)]`.
///
/// A timer is stored with the position of the policy, in the same append as the events that the
/// policy recorded. So the timer exists exactly if the event that scheduled it has been processed,
/// survives restarts, and is processed exactly once: everything that `due` records and the end of
/// the timer are written in one append, with any number of processes running the system. Timers
/// that are due are processed in the order of their times, before the next event. A timer may be
/// late, if no process runs the policy; it is never early, by the clock of the application.
///
/// ```
/// # use eventsourcing_core::{Aggregate, ApplicationError, Application, Due, Id, Policy, RecordedEvent, Timers, UnitOfWork, event};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Aggregate, Serialize, Deserialize)] struct Order {}
/// # #[event] impl Order { fn placed() -> Self { Self {} } fn paid(&mut self) {} }
/// # #[derive(Aggregate, Serialize, Deserialize)] struct Reminder {}
/// # #[event] impl Reminder { fn sent(_text: String) -> Self { Self {} } }
/// struct Reminders { app: Application }
///
/// impl Policy<Order> for Reminders {
///     type Error = ApplicationError;
///
///     async fn react(&self, event: &RecordedEvent<Order>, work: &mut UnitOfWork) -> Result<(), ApplicationError> {
///         match event.payload {
///             OrderEvent::Placed => {
///                 let tomorrow = event.recorded_at + std::time::Duration::from_secs(24 * 60 * 60);
///                 work.schedule(tomorrow, event.aggregate_id, &"please pay".to_owned());
///             }
///             OrderEvent::Paid => work.cancel(event.aggregate_id),
///         }
///         Ok(())
///     }
/// }
///
/// impl Timers for Reminders {
///     type Timer = String;
///     type Error = ApplicationError;
///
///     async fn due(&self, timer: &Due<String>, work: &mut UnitOfWork) -> Result<(), ApplicationError> {
///         let id = work.new_id::<Reminder>();
///         work.create(id, ReminderEvent::Sent { text: timer.payload.clone() });
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is said to have timers, but not what to do when one is due",
    label = "write `impl Timers for {Self}`, or take `timers` away"
)]
pub trait Timers: Send + Sync + 'static {
    /// The payload of a timer. It is stored as JSON, and read by the release that runs when the
    /// timer is due: give new fields a default. A payload that cannot be read is a failure.
    type Timer: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The error of `due`. A failure stops the follower at the timer, or parks it, [as at an
    /// event](crate::OnFailure); nothing of the timer's work is written, and the timer stays.
    type Error: Error + Send + Sync + 'static;

    /// Processes a timer that is due. As with [`Policy`](crate::Policy), only the effects of `work`
    /// happen exactly once.
    fn due(
        &self,
        timer: &Due<Self::Timer>,
        work: &mut UnitOfWork,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// A timer that is due.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Due<T> {
    /// The key of the timer.
    pub key: String,
    /// The time for which the timer was scheduled. The current time is this one or later.
    pub at: Timestamp,
    /// The payload that the timer was scheduled with.
    pub payload: T,
    /// The metadata of everything that is recorded because of the timer: the event that scheduled
    /// it is the cause, and the actor is the one of that event.
    pub metadata: Metadata,
}

/// A timer as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timer {
    /// The key of the timer, from which the note key is made.
    #[serde(skip)]
    pub key: String,
    /// The id of the timer, different from that of every other. New ids are derived from it.
    pub(crate) id: Uuid,
    /// The time for which it was scheduled.
    pub due: Timestamp,
    pub(crate) payload: Value,
    pub(crate) metadata: Metadata,
    /// The reason why the timer is parked, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parked: Option<WhyParked>,
}

/// The reason why a timer is parked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WhyParked {
    pub(crate) cause: String,
    pub(crate) since: Timestamp,
    pub(crate) attempts: u32,
}

/// The payload of a timer is not of the type that this release of the policy expects. Another
/// release may have used another type.
#[derive(Debug, thiserror::Error)]
#[error(
    "the payload of the timer {key:?} is not a {expected}; give new fields of a timer's payload a default, or discard the timer"
)]
pub struct UnreadablePayload {
    key: String,
    expected: &'static str,
    source: serde_json::Error,
}

impl Timer {
    /// Decodes the timer for the policy.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<Due<T>, UnreadablePayload> {
        let unreadable = |source| UnreadablePayload {
            key: self.key.clone(),
            expected: type_name::<T>(),
            source,
        };
        let payload = T::deserialize(&self.payload).map_err(unreadable)?;
        Ok(Due {
            key: self.key.clone(),
            at: self.due,
            payload,
            metadata: self.metadata.clone(),
        })
    }

    /// Returns a description for people.
    pub(crate) fn describe(&self) -> String {
        let cause = self.metadata.causation.as_ref();
        let cause = cause.map(
            |EventRef {
                 category,
                 id,
                 version,
             }| format!(", scheduled by version {version} of {category} {id}"),
        );
        format!(
            "timer {:?}, due at {}{}",
            self.key,
            self.due,
            cause.unwrap_or_default()
        )
    }
}

/// The timers that a policy may schedule.
#[derive(Clone, Copy, Debug)]
pub enum TimerType {
    /// No timers: the system declares none for the policy.
    None,
    /// Timers with payloads of the named type, which the function encodes.
    Of(EncodePayload, &'static str),
    /// Timers of any type. For tests of a policy alone.
    Any,
}

/// Encodes a payload; `None` if it is of another type.
type EncodePayload = fn(&dyn Any, Encoding) -> Option<Result<String, BoxError>>;

impl TimerType {
    /// Returns the type of the timers of `P`.
    pub fn of<P: Timers>() -> Self {
        let encode: EncodePayload = |payload, encoding| {
            payload
                .downcast_ref::<P::Timer>()
                .map(|payload| encoding.encode_note(payload))
        };
        Self::Of(encode, type_name::<P::Timer>())
    }
}

/// The changes to timers in a unit of work.
#[derive(Debug)]
pub(crate) struct Schedule {
    allowed: TimerType,
    encoding: Encoding,
    /// The changed timers by their keys; `None`: cancelled or processed.
    pub(crate) changes: BTreeMap<String, Option<Timer>>,
    /// The first mistake. The policy is not told; the event fails with it after the policy has
    /// returned.
    mistake: Option<TimerError>,
}

/// A mistake of a policy about its timers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TimerError {
    #[error(
        "the timer {key:?} would never be due: implement `Timers` and write `timers` in `#[application(…)]`"
    )]
    NotDeclared { key: String },
    #[error(
        "the timer {key:?} is scheduled with a {found}, but the policy expects timers of the type {declared}"
    )]
    OtherType {
        key: String,
        found: &'static str,
        declared: &'static str,
    },
    #[error(
        "a timer key of {bytes} bytes is not allowed: use 1 to {TIMER_KEY_BYTES_MAX} bytes and no NUL character"
    )]
    Key { bytes: usize },
    #[error("the payload of the timer {key:?} cannot be kept")]
    Payload { key: String, source: BoxError },
}

impl Schedule {
    pub(crate) fn new(allowed: TimerType, encoding: Encoding) -> Self {
        Self {
            allowed,
            encoding,
            changes: BTreeMap::new(),
            mistake: None,
        }
    }

    pub(crate) fn put<T: Serialize + 'static>(
        &mut self,
        due: Timestamp,
        key: String,
        payload: &T,
        of: Origin,
    ) {
        match self.timer(due, &key, payload, of) {
            Ok(timer) => drop(self.changes.insert(key, Some(timer))),
            Err(mistake) => drop(self.mistake.get_or_insert(mistake)),
        }
    }

    fn timer<T: Serialize + 'static>(
        &self,
        due: Timestamp,
        key: &str,
        payload: &T,
        Origin { id, metadata }: Origin,
    ) -> Result<Timer, TimerError> {
        self.check(key)?;
        let payload = self.encode(key, payload)?;
        Ok(Timer {
            key: key.into(),
            id,
            due: to_microsecond(due),
            payload,
            metadata,
            parked: None,
        })
    }

    fn encode<T: Serialize + 'static>(&self, key: &str, payload: &T) -> Result<Value, TimerError> {
        let encoded = match self.allowed {
            TimerType::None => return Err(TimerError::NotDeclared { key: key.into() }),
            TimerType::Of(encode, declared) => {
                let other_type = || TimerError::OtherType {
                    key: key.into(),
                    found: type_name::<T>(),
                    declared,
                };
                encode(payload, self.encoding).ok_or_else(other_type)?
            }
            TimerType::Any => Encoding::encode_unread_note(payload),
        };
        let value = encoded.and_then(|text| Ok(serde_json::from_str(&text)?));
        value.map_err(|source| TimerError::Payload {
            key: key.into(),
            source,
        })
    }

    pub(crate) fn cancel(&mut self, key: String) {
        match self.check(&key) {
            Ok(()) => drop(self.changes.insert(key, None)),
            Err(mistake) => drop(self.mistake.get_or_insert(mistake)),
        }
    }

    fn check(&self, key: &str) -> Result<(), TimerError> {
        if matches!(self.allowed, TimerType::None) {
            return Err(TimerError::NotDeclared { key: key.into() });
        }
        match key.len() {
            1..=TIMER_KEY_BYTES_MAX if !key.contains('\0') => Ok(()),
            bytes => Err(TimerError::Key { bytes }),
        }
    }

    pub(crate) fn take_mistake(&mut self) -> Option<TimerError> {
        self.mistake.take()
    }
}

/// The id of a timer and the metadata of the event that schedules it.
pub(crate) struct Origin {
    pub(crate) id: Uuid,
    pub(crate) metadata: Metadata,
}

/// Rounds up, so that no timer is early: timers are ordered by whole microseconds.
fn to_microsecond(time: Timestamp) -> Timestamp {
    let up = TimestampRound::new()
        .smallest(Unit::Microsecond)
        .mode(jiff::RoundMode::Ceil);
    time.round(up).unwrap_or(time)
}
