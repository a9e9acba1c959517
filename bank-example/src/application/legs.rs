//! The part of the accounts in transfers in steps: they debit, agree to a credit or refuse it, and credit.

use eventsourcing::{ApplicationError, CommandError, Id, Policy, RecordedEvent, UnitOfWork};

use super::accounts::AccountService;
use crate::domain::account::Account;
use crate::domain::transfer::{Leg, Order, Side, Transfer, TransferEvent};
use crate::domain::{BankError, Money};

impl Policy<Transfer> for AccountService {
    type Error = CommandError<BankError>;

    async fn react(
        &self,
        event: &RecordedEvent<Transfer>,
        work: &mut UnitOfWork,
    ) -> Result<(), Self::Error> {
        let transfer = event.aggregate_id;
        match &event.payload {
            TransferEvent::Requested { order } => {
                let refusal = debit(order, work).await?;
                answer(transfer, Side::Debit, refusal, work);
            }
            TransferEvent::Debited { order } if order.bank.is_none() => {
                let refusal = work
                    .find(order.to)
                    .await?
                    .is_none()
                    .then(|| no_account(order.to));
                answer(transfer, Side::Credit, refusal, work);
            }
            TransferEvent::Completed { order } if order.bank.is_none() => {
                credit(order.to, order.amount, work).await?;
            }
            TransferEvent::Compensated { order, .. } => {
                credit(order.from, order.amount, work).await?;
            }
            TransferEvent::Debited { .. } | TransferEvent::Completed { .. } => {}
            TransferEvent::Refused { .. } => {}
        }
        Ok(())
    }
}

/// Debits the first account. Returns the reason if the account refuses.
async fn debit(order: &Order, work: &mut UnitOfWork) -> Result<Option<String>, ApplicationError> {
    Ok(match work.find(order.from).await? {
        None => Some(no_account(order.from)),
        Some(account) => account
            .execute(|account| account.debit(order.amount))
            .err()
            .map(|refusal| refusal.to_string()),
    })
}

/// Credits an account. Accounts are never closed, so a bank that has agreed to a credit cannot refuse it any more.
async fn credit(
    id: Id<Account>,
    amount: Money,
    work: &mut UnitOfWork,
) -> Result<(), CommandError<BankError>> {
    work.load(id)
        .await?
        .execute(|account| account.credit(amount))
        .map_err(CommandError::Rejected)
}

fn answer(transfer: Id<Transfer>, side: Side, refusal: Option<String>, work: &mut UnitOfWork) {
    work.create(
        Leg::id(transfer, side),
        Leg::answer(transfer, side, refusal),
    );
}

fn no_account(id: Id<Account>) -> String {
    format!("account {id} does not exist")
}
