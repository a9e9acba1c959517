//! [`LedgerService`]: records every movement in the ledger.

use derive_more::{Deref, From};
use eventsourcing::{Application, ApplicationError, Id, Policy, RecordedEvent, UnitOfWork};

use crate::domain::account::{Account, AccountEvent};
use crate::domain::ledger::{GENERAL, Ledger, LedgerEvent};

/// Keeps the ledger. Every movement on any account reaches it exactly once.
#[derive(Debug, Deref, From)]
pub struct LedgerService(Application);

impl Policy<Account> for LedgerService {
    type Error = ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Account>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        let amount = match event.payload {
            AccountEvent::Opened { .. } => return Ok(()),
            AccountEvent::Credited { amount } => amount,
            AccountEvent::Debited { amount } => -amount,
        };
        let ledger = work
            .load_or_create(Id::<Ledger>::named(GENERAL), || LedgerEvent::Opened)
            .await?;
        ledger.record(LedgerEvent::TransactionAdded {
            account: event.aggregate_id,
            amount,
        });
        Ok(())
    }
}
