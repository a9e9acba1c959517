//! The laws notice what breaks them, say which law it is and what to do, and let pass what keeps them. For each planted bug
//! there is an aggregate or a policy that has it.
#![allow(clippy::unwrap_used)]

mod drawing;
mod folding;
mod order;
mod policies;
mod reading;
mod replay;
mod snapshots;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{SystemTime, UNIX_EPOCH};

use eventsourcing_core::{
    Aggregate, Application, ApplicationError, Due, Fold, Id, Policy, RecordedEvent, Timers,
    UnexpectedEvent, UnitOfWork, event,
};
use eventsourcing_testing::laws::{Laws, PolicyLaws, Sample};
use eventsourcing_testing::{Seed, laws};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use folding::{Jar, JarEvent};

/// Returns the message of a broken law.
fn broken(law: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(law)).expect_err("the law must be broken");
    *panic.downcast::<String>().expect("laws say what is wrong")
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is missing in: {message}");
    }
}

fn now() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos()
}
