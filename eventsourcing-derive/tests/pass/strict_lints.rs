//! Expansions cause no warning, even with the strictest lints.
#![forbid(missing_docs, unreachable_pub, dead_code, unused_imports)]
#![deny(warnings, missing_debug_implementations, unused_qualifications)]
#![deny(deprecated, private_interfaces, unused, nonstandard_style, future_incompatible, rust_2018_idioms)]
#![deny(single_use_lifetimes, trivial_casts, unused_lifetimes, unused_results, let_underscore_drop)]

use eventsourcing_core::{Aggregate, Application, Fold, Id, Policy, RecordedEvent, System, UnitOfWork, event};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
struct Money(u64);

/// An account.
#[derive(Aggregate, Debug, Serialize, Deserialize)]
#[aggregate(snapshot = every(50))]
pub struct Account {
    balance: Money,
}

#[event]
impl Account {
    fn opened(_owner: String) -> Self {
        Self { balance: Money(0) }
    }
    fn credited(&mut self, #[serde(default = "nothing")] amount: Money) {
        self.balance = amount;
    }
    /// The text does not matter to the state.
    fn noted(&mut self, text: String) {}
    #[deprecated(note = "accounts are not closed any more")]
    fn closed(&mut self) {}
}

fn nothing() -> Money {
    Money(0)
}

/// An account that describes its events. Without a default, for which schemars has an `allow` that cannot be forbidden.
#[derive(Aggregate, Debug, Serialize, Deserialize)]
pub struct Described {
    balance: Money,
}

#[event(schema)]
impl Described {
    fn opened(_owner: String) -> Self {
        Self { balance: Money(0) }
    }
    fn credited(&mut self, amount: Money, #[schemars(with = "String")] _text: Option<String>) {
        self.balance = amount;
    }
    fn closed(&mut self) {}
}

/// The same events, written by hand.
#[event(schema)]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum WrittenEvent {
    /// First.
    First,
    /// Second.
    Second(u64),
    /// Third.
    Third {
        /// A field.
        field: u64,
    },
}

mod private {
    use super::*;

    #[derive(Aggregate, Debug, Serialize, Deserialize)]
    pub(crate) struct Ledger {}

    #[event]
    impl Ledger {
        fn opened() -> Self {
            Self {}
        }
    }

    #[derive(Debug)]
    pub(crate) struct Ledgers {
        pub(crate) app: Application,
    }

    impl From<Application> for Ledgers {
        fn from(app: Application) -> Self {
            Self { app }
        }
    }

    impl Policy<Account> for Ledgers {
        type Error = std::convert::Infallible;

        async fn react(&self, _: &RecordedEvent<Account>, _: &mut UnitOfWork) -> Result<(), Self::Error> {
            Ok(())
        }
    }

    #[derive(System, Debug)]
    pub(crate) struct Bank {
        #[application(aggregates(Account))]
        pub(crate) accounts: Ledgers,
        #[application(aggregates(Ledger), follows(accounts: Account))]
        pub(crate) ledgers: Ledgers,
    }
}

fn main() {
    let _: Result<Account, _> = Fold::create(AccountEvent::Opened { owner: String::new() });
    let _ = Id::<private::Ledger>::new();
    let _ = |bank: &private::Bank| (format!("{:?}", bank.accounts.app), format!("{:?}", bank.ledgers.app));
}
