use eventsourcing_core::event;
use serde::{Deserialize, Serialize};

#[event]
fn opened() {}

#[event]
mod events {}

#[event]
union Bits {
    int: u32,
}

#[event]
#[derive(Clone, Serialize, Deserialize)]
enum NothingHappens {}

#[event]
#[derive(Clone, Serialize, Deserialize)]
enum BoxEvent<T> {
    Packed(T),
}

#[event]
#[derive(Clone, Serialize, Deserialize)]
struct Unpacked<T>(T);

#[event(colour = "red")]
#[derive(Clone, Serialize, Deserialize)]
struct Coloured {}

#[event(name = "Enumeration")]
#[derive(Clone, Serialize, Deserialize)]
enum Named {
    Opened,
}

#[event(version = 0)]
#[derive(Clone, Serialize, Deserialize)]
struct Zeroth {}

fn main() {
    opened();
    let _ = <Coloured as eventsourcing_core::Event>::TYPES;
}
