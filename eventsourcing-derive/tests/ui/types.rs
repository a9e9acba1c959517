//! Mistakes that only the compiler can see are shown in the user's lines.

use eventsourcing_core::{Aggregate, event};
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Serialize, Deserialize)]
struct WithoutEvents {}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(snapshot = 50)]
struct NotAPolicy {}

#[event]
impl NotAPolicy {
    fn opened() -> Self {
        Self {}
    }
}

#[derive(Aggregate, Serialize, Deserialize)]
struct NotComparable {}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Money;

#[event]
impl NotComparable {
    fn opened(amount: Money) -> Self {
        let _ = amount;
        Self {}
    }
}

fn main() {}
