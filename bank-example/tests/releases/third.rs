//! The third release: credits are kept in cents, a correction is a credit and a withdrawal, and nothing is frozen any more.
//! The ledger notes why.

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
    channels: Vec<String>,
}

#[event(schema, split(name = "Corrected", with = corrected), retired("Frozen"))]
impl Account {
    fn opened(owner: String) -> Self {
        Self {
            owner,
            balance: ZERO,
            channels: Vec::new(),
        }
    }
    #[event(version = 3, upcast(from = 1, with = at_the_counter), upcast(from = 2, with = in_cents))]
    fn credited(&mut self, cents: i64, channel: String) {
        self.balance += money(cents);
        self.channels.push(channel);
    }
    #[event(name = "Withdrawn", former_names("Debited"))]
    fn withdrawn(&mut self, amount: Money) {
        self.balance -= amount;
    }
}

fn money(cents: i64) -> Money {
    Money::new(cents, 2)
}

fn cents(mut amount: Money) -> Result<i64, String> {
    amount.rescale(2);
    i64::try_from(amount.mantissa()).map_err(|_| format!("{amount} is more money than there is"))
}

fn at_the_counter(mut old: Value) -> Value {
    old["channel"] = "counter".into();
    old
}

#[derive(Deserialize)]
struct InMoney {
    amount: Money,
    channel: String,
}

#[derive(Serialize)]
struct InCents {
    cents: i64,
    channel: String,
}

fn in_cents(old: InMoney) -> Result<InCents, String> {
    Ok(InCents {
        cents: cents(old.amount)?,
        channel: old.channel,
    })
}

#[derive(Deserialize)]
struct Corrected {
    credited: Money,
    debited: Money,
}

fn corrected(old: Corrected) -> Result<[AccountEvent; 2], String> {
    let cents = cents(old.credited)?;
    let channel = "correction".into();

    Ok([
        AccountEvent::Credited { cents, channel },
        AccountEvent::Withdrawn {
            amount: old.debited,
        },
    ])
}

impl Write for Account {
    const VARIETY: usize = 2;

    fn open(owner: &str) -> AccountEvent {
        AccountEvent::Opened {
            owner: owner.into(),
        }
    }
    fn write(&self, number: usize, amount: Money) -> AccountEvent {
        match number % Self::VARIETY {
            0 => AccountEvent::Credited {
                cents: cents(amount).expect("a small amount"),
                channel: "web".into(),
            },
            _ => AccountEvent::Withdrawn {
                amount: amount / Money::TWO,
            },
        }
    }
    fn change(event: &AccountEvent) -> Change {
        match event {
            AccountEvent::Opened { .. } => None,
            AccountEvent::Credited { cents, .. } => Some(money(*cents)),
            AccountEvent::Withdrawn { amount } => Some(-*amount),
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
    #[event(version = 2, upcast(from = 1, with = for_no_reason))]
    fn transaction_added(&mut self, _account: Id<Account>, amount: Money, _why: String) {
        self.balance += amount;
    }
}

fn for_no_reason(mut old: Value) -> Value {
    old["why"] = "not known".into();
    old
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
        let account = event.aggregate_id;
        let why = event.name().to_owned();

        let ledger = work
            .load_or_create(Id::<Ledger>::named("General"), || LedgerEvent::Opened)
            .await?;
        ledger.record(LedgerEvent::TransactionAdded {
            account,
            amount,
            why,
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
