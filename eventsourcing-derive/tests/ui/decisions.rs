//! Results of commands that are not decisions, and decisions in the wrong place.

use eventsourcing_core::{Aggregate, Application, Id, Root, event};
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Serialize, Deserialize)]
struct Door {}

#[event]
impl Door {
    fn built() -> Self {
        Self {}
    }
    fn opened(&mut self) {}
}

#[derive(Aggregate, Serialize, Deserialize)]
struct Lamp {}

#[event]
impl Lamp {
    fn hung() -> Self {
        Self {}
    }
}

async fn commands(app: Application, door: Id<Door>) {
    let _ = app.update(door, |_| "opened").await;
    let _ = app.update(door, |_| LampEvent::Hung).await;
    let _ = app.update_all((door, door), |_| DoorEvent::Opened).await;
}

fn roots(door: &mut Root<Door>) {
    door.execute(|_| ());
    door.record(LampEvent::Hung);
    door.record(Err::<DoorEvent, _>("locked"));
}

fn main() {}
