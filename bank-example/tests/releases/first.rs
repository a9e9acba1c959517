//! The first release of a small bank. Amounts are decimal texts, as in the bank itself.

use bank_example::domain::{Money, ZERO};
use eventsourcing::{
    Aggregate, ApplicationError, Id, Policy, RecordedEvent, SqlProjection, System, Tx, UnitOfWork,
    event,
};
use serde::{Deserialize, Serialize};

use super::shared::{Accounts, Change, Ledgers, Movements, Write};

#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
#[aggregate(snapshot = every(2))]
pub(crate) struct Account {
    owner: String,
    balance: Money,
    frozen: bool,
}

#[event(schema)]
impl Account {
    fn opened(owner: String) -> Self {
        Self {
            owner,
            balance: ZERO,
            frozen: false,
        }
    }
    fn credited(&mut self, amount: Money) {
        self.balance += amount;
    }
    fn debited(&mut self, amount: Money) {
        self.balance -= amount;
    }
    /// A mistake at the counter: the amount credited for it, and the amount debited again.
    fn corrected(&mut self, credited: Money, debited: Money) {
        self.balance += credited - debited;
    }
    fn frozen(&mut self, _reason: String) {
        self.frozen = true;
    }
}

impl Write for Account {
    const VARIETY: usize = 4;

    fn open(owner: &str) -> AccountEvent {
        AccountEvent::Opened {
            owner: owner.into(),
        }
    }
    fn write(&self, number: usize, amount: Money) -> AccountEvent {
        match number % Self::VARIETY {
            0 => AccountEvent::Credited { amount },
            1 => AccountEvent::Corrected {
                credited: amount,
                debited: amount / Money::TWO,
            },
            2 => AccountEvent::Frozen {
                reason: "a court".into(),
            },
            _ => AccountEvent::Debited { amount },
        }
    }
    fn change(event: &AccountEvent) -> Change {
        match event {
            AccountEvent::Opened { .. } | AccountEvent::Frozen { .. } => None,
            AccountEvent::Credited { amount } => Some(*amount),
            AccountEvent::Debited { amount } => Some(-*amount),
            AccountEvent::Corrected { credited, debited } => Some(*credited - *debited),
        }
    }
    fn balance(&self) -> Money {
        self.balance
    }
}

#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
#[aggregate(snapshot = every(3))]
pub(crate) struct Ledger {
    pub(crate) balance: Money,
}

#[event(schema)]
impl Ledger {
    fn opened() -> Self {
        Self { balance: ZERO }
    }
    fn transaction_added(&mut self, _account: Id<Account>, amount: Money) {
        self.balance += amount;
    }
}

impl Policy<Account> for Ledgers {
    type Error = ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Account>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        let Some(amount) = Account::change(&event.payload) else {
            return Ok(());
        };
        let ledger = work
            .load_or_create(Id::<Ledger>::named("General"), || LedgerEvent::Opened)
            .await?;
        ledger.record(LedgerEvent::TransactionAdded {
            account: event.aggregate_id,
            amount,
        });
        Ok(())
    }
}

impl SqlProjection<Account> for Movements {
    type Error = eventsourcing::sql::SqlError;

    async fn project(
        &self,
        event: &RecordedEvent<Account>,
        tx: &mut Tx<'_>,
    ) -> Result<(), Self::Error> {
        Self::insert(event, Account::change(&event.payload), tx).await
    }
}

#[derive(System)]
#[system(schema)]
pub(crate) struct Bank {
    #[application(aggregates(Account))]
    pub(crate) accounts: Accounts,
    #[application(aggregates(Ledger), follows(accounts: Account))]
    pub(crate) ledger: Ledgers,
    #[projection(sql, follows(accounts: Account))]
    pub(crate) movements: Movements,
}

super::shared::release!();
