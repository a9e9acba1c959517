//! The followers of the bank: a ledger, and a projection that notes the arrival times of events.

use std::convert::Infallible;
use std::time::Instant;

use eventsourcing_core::{
    Application, ApplicationError, Id, Policy, Projection, RecordedEvent, System, UnitOfWork,
};
use tokio::sync::mpsc;

use super::domain::{Account, AccountEvent, Ledger, LedgerEvent};

#[derive(System)]
pub struct Bookkeeping {
    #[expect(dead_code, reason = "it is followed")]
    #[application(aggregates(Account))]
    pub accounts: Accounts,
    #[application(aggregates(Ledger), follows(accounts: Account))]
    pub ledger: Books,
}

#[derive(System)]
pub struct Watched {
    #[application(aggregates(Account))]
    pub accounts: Accounts,
    #[projection(foreign, follows(accounts: Account))]
    pub arrivals: Arrivals,
}

pub struct Accounts {
    pub app: Application,
}

impl From<Application> for Accounts {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

pub struct Books {
    pub app: Application,
}

impl From<Application> for Books {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

impl Policy<Account> for Books {
    type Error = ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Account>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        let AccountEvent::Credited { amount, .. } = event.payload else {
            return Ok(());
        };
        let ledger = work
            .load_or_create(Id::<Ledger>::named("General"), || LedgerEvent::Opened)
            .await?;
        ledger.record(LedgerEvent::Added { amount });
        Ok(())
    }
}

/// A projection that reports the arrival time of each event.
pub struct Arrivals {
    pub seen: mpsc::UnboundedSender<Instant>,
}

impl Projection<Account> for Arrivals {
    type Error = Infallible;

    async fn project(&self, event: &RecordedEvent<Account>) -> Result<(), Infallible> {
        if let AccountEvent::Credited { .. } = event.payload {
            let _ = self.seen.send(Instant::now());
        }
        Ok(())
    }
}
