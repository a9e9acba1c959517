use eventsourcing_core::{Aggregate, event};
use serde::{Deserialize, Serialize};

#[derive(Aggregate)]
union Bits {
    int: u32,
    float: f32,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(event = BoxEvent)]
struct Boxed<T> {
    content: T,
}

#[event]
#[derive(Clone, Serialize, Deserialize)]
enum BoxEvent {
    Packed,
}

fn main() {}
