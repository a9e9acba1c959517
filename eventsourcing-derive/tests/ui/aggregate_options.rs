use eventsourcing_core::{Aggregate, Id, event};
use serde::{Deserialize, Serialize};

macro_rules! aggregates {
    ($($name:ident $(#[$options:meta])*)*) => {
        $(
            #[derive(Aggregate, Serialize, Deserialize)]
            #[aggregate(event = OpenedEvent)]
            $(#[$options])*
            struct $name {}

            impl eventsourcing_core::Fold<OpenedEvent> for $name {
                fn create(_: OpenedEvent) -> Result<Self, eventsourcing_core::UnexpectedEvent> {
                    Ok(Self {})
                }
                fn apply(&mut self, _: OpenedEvent) -> Result<(), eventsourcing_core::UnexpectedEvent> {
                    Ok(())
                }
            }
        )*
    };
}

#[event]
#[derive(Clone, Serialize, Deserialize)]
struct OpenedEvent {}

aggregates! {
    Misspelt #[aggregate(snapshots = every(50))]
    Unknown #[aggregate(colour = "red")]
    Repeated #[aggregate(event = OpenedEvent)]
    NoParentheses #[aggregate = "x"]
    NoKey #[aggregate("Account")]
    NameIsNumber #[aggregate(name = 1)]
    NameWithoutValue #[aggregate(name)]
    NameIsList #[aggregate(name("Account"))]
    SnapshotWithoutValue #[aggregate(snapshot)]
    VersionZero #[aggregate(snapshot_version = 0)]
    VersionTooLarge #[aggregate(snapshot_version = 65536)]
    VersionIsText #[aggregate(snapshot_version = "2")]
    CrateIsText #[aggregate(crate = "core")]
    NameEmpty #[aggregate(name = "")]
    NameWithNul #[aggregate(name = "a\0b")]
    NameTooLong #[aggregate(name = "1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456")]
    FormerIsText #[aggregate(former_names = "Konto")]
    FormerTwice #[aggregate(name = "Account", former_names("Konto", "Account"), next_name = "Konto")]
    NextEmpty #[aggregate(next_name = "")]
    NameOfAPartition #[aggregate(name = "Account:1/4")]
    NextNameWithPoint #[aggregate(next_name = "bank.Account")]
    Twice #[aggregate(nam = "x", versoin = 1)]
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(event = "AccountEvent")]
struct Account {}

#[event]
impl Account {
    fn opened() -> Self {
        Self {}
    }
}

fn main() {
    let _: Id<Misspelt> = Id::named("all of them are aggregates nevertheless");
    let _: Id<Account> = Id::named("x");
}
