//! The second release: a credit says where it was paid in, and a debit is called a withdrawal.

use bank_example::domain::{Money, ZERO};
use eventsourcing::{
    Aggregate, ApplicationError, Id, Policy, RecordedEvent, SqlProjection, System, Tx, UnitOfWork,
    event,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::shared::{Accounts, Change, Ledgers, Movements, Write};

#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
#[aggregate(snapshot = every(2))]
pub(crate) struct Account {
    owner: String,
    balance: Money,
    frozen: bool,
    channels: Vec<String>,
}

#[event(schema)]
impl Account {
    fn opened(owner: String) -> Self {
        Self {
            owner,
            balance: ZERO,
            frozen: false,
            channels: Vec::new(),
        }
    }
    #[event(version = 2, upcast(from = 1, with = at_the_counter))]
    fn credited(&mut self, amount: Money, channel: String) {
        self.balance += amount;
        self.channels.push(channel);
    }
    #[event(name = "Withdrawn", former_names("Debited"))]
    fn withdrawn(&mut self, amount: Money) {
        self.balance -= amount;
    }
    fn corrected(&mut self, credited: Money, debited: Money) {
        self.balance += credited - debited;
    }
    fn frozen(&mut self, _reason: String, #[serde(default)] _by: Option<String>) {
        self.frozen = true;
    }
}

fn at_the_counter(mut old: Value) -> Value {
    old["channel"] = "counter".into();
    old
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
            0 => AccountEvent::Credited {
                amount,
                channel: "web".into(),
            },
            1 => AccountEvent::Corrected {
                credited: amount,
                debited: amount / Money::TWO,
            },
            2 => AccountEvent::Frozen {
                reason: "a court".into(),
                by: Some("a judge".into()),
            },
            _ => AccountEvent::Withdrawn { amount },
        }
    }
    fn change(event: &AccountEvent) -> Change {
        match event {
            AccountEvent::Opened { .. } | AccountEvent::Frozen { .. } => None,
            AccountEvent::Credited { amount, .. } => Some(*amount),
            AccountEvent::Withdrawn { amount } => Some(-*amount),
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
