use eventsourcing_core::{event};

#[event]
impl Account {
    fn opened() -> Self {
        Self {}
    }
}

fn main() {}
