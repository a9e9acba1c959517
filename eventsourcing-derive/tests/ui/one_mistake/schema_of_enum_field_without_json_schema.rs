use eventsourcing_core::event;
use eventsourcing_core::schema::{DescribedEvent, SchemaGenerator};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
pub struct Money;

#[event(schema)]
#[derive(Clone, Serialize, Deserialize)]
pub enum AccountEvent {
    Opened,
    Credited { amount: Money },
    Debited(Money),
}

fn main() {
    AccountEvent::payload_schema(0, &mut SchemaGenerator::default());
}
