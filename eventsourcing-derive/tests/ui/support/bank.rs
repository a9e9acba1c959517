//! A bank for the cases of `#[derive(System)]`.

use std::convert::Infallible;

use eventsourcing_core::{Aggregate, Application, Policy, Projection, RecordedEvent, UnitOfWork, event};
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Serialize, Deserialize)]
pub struct Account {}

#[event]
impl Account {
    fn opened() -> Self {
        Self {}
    }
}

#[derive(Aggregate, Serialize, Deserialize)]
pub struct Ledger {}

#[event]
impl Ledger {
    fn opened() -> Self {
        Self {}
    }
}

pub struct Accounts {
    pub app: Application,
}

impl From<Application> for Accounts {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

pub struct Ledgers {
    pub app: Application,
}

impl From<Application> for Ledgers {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

impl Policy<Account> for Ledgers {
    type Error = Infallible;

    async fn react(&self, _: &RecordedEvent<Account>, _: &mut UnitOfWork) -> Result<(), Infallible> {
        Ok(())
    }
}

#[derive(Default)]
pub struct Feed;

impl Projection<Account> for Feed {
    type Error = Infallible;

    async fn project(&self, _: &RecordedEvent<Account>) -> Result<(), Infallible> {
        Ok(())
    }
}
