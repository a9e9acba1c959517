use eventsourcing_core::{Aggregate, Id, event};
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Clone, Serialize, Deserialize)]
struct NeverCreated {}

#[event]
impl NeverCreated {
    fn closed(&mut self) {}
}

#[derive(Aggregate, Clone, Serialize, Deserialize)]
struct Empty {}

#[event]
impl Empty {}

#[derive(Aggregate, Clone, Serialize, Deserialize)]
struct OfTrait {}

#[event]
impl Default for OfTrait {
    fn default() -> Self {
        Self {}
    }
}

struct Generic<T>(T);

#[event]
impl<T> Generic<T> {
    fn opened(content: u32) -> Self {
        unimplemented!("{content}")
    }
}

struct Special<T>(T);

#[event]
impl Special<u32> {
    fn opened(content: u32) -> Self {
        Self(content)
    }
}

#[event]
impl (u32, u32) {}

#[derive(Aggregate, Clone, Serialize, Deserialize)]
struct WithItems {}

#[event]
impl WithItems {
    const LIMIT: u32 = 1;

    fn opened() -> Self {
        Self {}
    }
}

#[derive(Aggregate, Clone, Serialize, Deserialize)]
struct Misspelt {}

#[event(enumeration = MisspeltEvent, craet = eventsourcing_core)]
impl Misspelt {
    fn opened() -> Self {
        Self {}
    }
}

#[derive(Aggregate, Clone, Serialize, Deserialize)]
struct EnumIsPath {}

#[event(enum = events::EnumIsPathEvent)]
impl EnumIsPath {
    fn opened() -> Self {
        Self {}
    }
}

#[derive(Aggregate, Clone, Serialize, Deserialize)]
struct Named {}

#[event]
impl Named {
    fn opened() -> Self {
        Self {}
    }
    #[event(name = "Opened")]
    fn reopened(&mut self) {}
    #[event(names = "Reopened")]
    fn reopened_again(&mut self) {}
}

fn main() {
    let _: Id<NeverCreated> = Id::named("all of them are aggregates nevertheless");
    let _ = (NeverCreatedEvent::Closed, NamedEvent::Reopened, WithItemsEvent::Opened);
}
