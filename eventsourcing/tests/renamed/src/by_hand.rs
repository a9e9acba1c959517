//! An aggregate without macros: the code that the derives would write.

use std::error::Error;

use es::prelude::*;
use es::snapshot::{SnapshotPolicy, never};
use es::store::Fingerprint;
use es::{EventOf, EventType, Fold, UnexpectedEvent};
use serde::{Deserializer, Serializer};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Door {
    open: bool,
}

#[derive(Clone, Copy)]
enum DoorEvent {
    Built,
    Opened,
}

#[derive(Serialize, Deserialize)]
struct Nothing {}

impl Event for DoorEvent {
    const TYPES: &'static [EventType] = &[
        EventType {
            name: "Built",
            version: 1,
        },
        EventType {
            name: "Opened",
            version: 1,
        },
    ];

    fn index(&self) -> usize {
        *self as usize
    }
    fn duplicate(&self) -> Self {
        *self
    }
    fn serialize_payload<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Nothing {}.serialize(serializer)
    }
    fn deserialize_payload<'de, D: Deserializer<'de>>(
        index: usize,
        deserializer: D,
    ) -> Result<Self, D::Error> {
        Nothing::deserialize(deserializer)?;
        Ok([Self::Built, Self::Opened][index])
    }
}

impl Fold<DoorEvent> for Door {
    fn create(event: DoorEvent) -> Result<Self, UnexpectedEvent> {
        match event {
            DoorEvent::Built => Ok(Self { open: false }),
            DoorEvent::Opened => Err(UnexpectedEvent),
        }
    }
    fn apply(&mut self, event: DoorEvent) -> Result<(), UnexpectedEvent> {
        match event {
            DoorEvent::Built => return Err(UnexpectedEvent),
            DoorEvent::Opened => self.open = true,
        }
        Ok(())
    }
}

impl EventOf<Door> for DoorEvent {}

impl Aggregate for Door {
    type Event = DoorEvent;
    const NAME: &'static str = "Door";
    const FINGERPRINT: Fingerprint = Fingerprint(1);

    fn snapshot_policy() -> impl SnapshotPolicy {
        never()
    }
    fn fold_first(event: DoorEvent) -> Result<Self, UnexpectedEvent> {
        Self::create(event)
    }
    fn fold_next(&mut self, event: DoorEvent) -> Result<(), UnexpectedEvent> {
        self.apply(event)
    }
    fn serialize_state<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }
    fn deserialize_state<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

#[tokio::test]
async fn an_aggregate_without_macros_is_saved_and_loaded() -> Result<(), Box<dyn Error>> {
    let app = Application::new("doors", es::store::open("memory:").await?.store());
    let id = app.create(|| DoorEvent::Built).await?.id;
    let receipt = app.update(id, |_| DoorEvent::Opened).await?;
    assert_eq!(receipt.position, Position::new(2));
    assert_eq!(*app.load(id).await?, Door { open: true });
    Ok(())
}
