//! The calls into user code at which a panic is injected.

use std::cell::Cell;
use std::future::Future;
use std::panic::{set_hook, take_hook};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// The quantity of the one poisonous order: user code called for it panics, if its point is armed.
pub(crate) const POISON: u32 = 13;

const MESSAGE: &str = "injected";

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Point { $($(#[$doc])* $point,)* }

        /// All points.
        pub(crate) const POINTS: &[Point] = &[$(Point::$point,)*];
    };
}

points! {
    /// A decision of an aggregate.
    Decide,
    /// `Clone` of an event, with which it is recorded.
    CloneEvent,
    /// The fold of the event that creates.
    FoldFirst,
    /// The fold of a later event.
    FoldNext,
    /// `Serialize` of an event.
    EncodeEvent,
    /// `Deserialize` of an event.
    DecodeEvent,
    /// `Serialize` of a state, for a snapshot.
    EncodeState,
    /// `Deserialize` of a state, from a snapshot.
    DecodeState,
    /// A snapshot policy.
    SnapshotPolicy,
    /// An upcaster.
    Upcast,
    /// An upcaster that splits an event into several.
    Split,
    /// A clock.
    Clock,
    /// A source of ids.
    NewId,
    /// `Serialize` of a refusal that is kept.
    EncodeRefusal,
    /// `Deserialize` of a refusal that was kept.
    DecodeRefusal,
    /// A policy.
    React,
    /// A decision that creates an aggregate within a policy.
    CreateWithin,
    /// The fold of an event that a policy records.
    FoldRecorded,
    /// `Serialize` of an event that a policy records.
    EncodeRecorded,
    /// `Deserialize` of an event of an aggregate that a policy loads.
    DecodeLoaded,
    /// `Serialize` of a state that a policy has changed.
    EncodeOwnState,
    /// A snapshot policy of an aggregate that a policy changes.
    OwnSnapshotPolicy,
    /// `Display` of the key of a timer.
    TimerKey,
    /// `Serialize` of the payload of a timer.
    EncodeTimer,
    /// `Deserialize` of the payload of a timer.
    DecodeTimer,
    /// The handler of a due timer.
    Due,
    /// A projection in memory.
    ProjectInMemory,
    /// A projection in a SQL database.
    ProjectInSql,
    /// A projection into a foreign system.
    ProjectElsewhere,
    /// `Display` of the error of a policy.
    ErrorDisplay,
    /// `Debug` of the error of a policy.
    ErrorDebug,
    /// `source` of the error of a policy.
    ErrorSource,
}

/// The occasions on which an armed point panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Each time it is reached for the poisonous order.
    Always,
    /// Once, after it was reached this number of times for the poisonous order.
    OnceAfter(u32),
}

#[derive(Clone, Copy, Debug)]
struct Armed {
    point: Point,
    when: When,
    reached: u32,
    fired: u32,
}

static ARMED: Mutex<Option<Armed>> = Mutex::new(None);
static TURN: Mutex<()> = Mutex::new(());

tokio::task_local! {
    static EXEMPT: ();
}

thread_local! {
    static INJECTS: Cell<bool> = const { Cell::new(false) };
}

/// Points belong to the process, so one test at a time arms them.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn arm(point: Point, when: When) {
    hush();
    *armed() = Some(Armed {
        point,
        when,
        reached: 0,
        fired: 0,
    });
}

/// Disarms all points, and returns the number of panics since the last arming.
pub(crate) fn disarm() -> u32 {
    armed().take().map_or(0, |armed| armed.fired)
}

pub(crate) fn is_armed(point: Point) -> bool {
    armed().is_some_and(|armed| armed.point == point) && EXEMPT.try_with(|()| ()).is_err()
}

fn armed() -> MutexGuard<'static, Option<Armed>> {
    ARMED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs code of the test itself, which never panics.
pub(crate) async fn unharmed<T>(future: impl Future<Output = T>) -> T {
    EXEMPT.scope((), future).await
}

/// Marks a call into user code for this quantity.
pub(crate) fn reach(point: Point, quantity: u32) {
    if quantity == POISON {
        reach_always(point);
    }
}

/// Marks a call into user code that concerns no quantity.
pub(crate) fn reach_always(point: Point) {
    let fires = {
        let mut armed = armed();
        let Some(armed) = armed.as_mut().filter(|armed| armed.point == point) else {
            return;
        };
        if EXEMPT.try_with(|()| ()).is_ok() {
            return;
        }
        armed.reached += 1;
        let fires = match armed.when {
            When::Always => true,
            When::OnceAfter(times) => armed.reached == times + 1,
        };
        armed.fired += u32::from(fires);
        fires
    };
    if fires {
        INJECTS.set(true);
        panic!("{MESSAGE}: {point:?}");
    }
}

/// Silences the hundreds of expected panics; the previous hook still prints all others.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !INJECTS.replace(false) {
                before(panic);
            }
        }));
    });
}
