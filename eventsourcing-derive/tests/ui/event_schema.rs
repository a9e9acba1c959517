//! What a schema cannot be made of.

use eventsourcing_core::{Aggregate, event};
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Serialize, Deserialize)]
pub struct Account {}

#[event(schema)]
impl Account {
    fn opened(#[serde(with = "hex")] key: u64) -> Self {
        let _ = key;
        Self {}
    }
    fn closed(&mut self, #[serde(serialize_with = "hex::serialize")] key: u64) {
        let _ = key;
    }
}

#[event(schema = true)]
#[derive(Clone, Serialize, Deserialize)]
pub enum DoorEvent {
    Opened,
}

#[event(schema)]
#[derive(Clone, Serialize, Deserialize)]
pub struct Pinged {
    #[serde(deserialize_with = "hex::deserialize")]
    at: u64,
}

mod hex {
    pub fn serialize<S: serde::Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }
    pub fn deserialize<'de, D: serde::Deserializer<'de>>(_: D) -> Result<u64, D::Error> {
        Ok(0)
    }
}

fn main() {}
