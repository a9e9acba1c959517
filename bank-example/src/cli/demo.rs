//! The demo: a day at the bank, and a check that the ledger agrees with it.

use bank_example::application::summaries::Listing;
use bank_example::domain::account::Account;
use bank_example::domain::ledger::{Ledger, LedgerEvent};
use bank_example::domain::transfer::{Order, State};
use bank_example::domain::{Money, ZERO};
use bank_example::system::EventSourcedBank;
use eventsourcing::store::{LogQuery, Position};
use eventsourcing::{Aggregate, Id, RunningSystem};
use serde_json::json;

use super::commands;
use super::failure::Failure;
use super::output::{self, Output, cents};
use super::stop::Stop;
use super::transfers;

type Bank = RunningSystem<EventSourcedBank>;

pub(crate) async fn run(bank: &Bank, stop: &Stop) -> Result<Output, Failure> {
    bank.wait_until_caught_up().await?;
    let before = bank.ledger.store().head().await?;
    let ids = run_day(bank, stop).await?;
    bank.wait_until_caught_up().await?;
    let growth = growth(bank, before, &ids).await?;
    let expected = Growth {
        balance: Money::new(50_00, 2),
        transactions: 12,
    };
    if growth != expected {
        return Err(Failure::Store(format!(
            "the ledger grew by {growth}, but the accounts by {expected}"
        )));
    }
    show(bank, before, &growth).await
}

/// Moves money on two accounts: 20 + 20 + 20 - 40 on the first, 42 - 12 on the second, 5 from the second to the first,
/// then 3 back in steps, and 2 to an account that does not exist, which come back.
async fn run_day(bank: &Bank, stop: &Stop) -> Result<[Id<Account>; 2], Failure> {
    let alice = bank.accounts.open("Alice").await?.id;
    let bob = bank.accounts.open("Bob").await?.id;
    for _ in 0..3 {
        bank.accounts.credit(alice, Money::from(20)).await?;
    }
    bank.accounts.debit(alice, Money::from(40)).await?;
    bank.accounts.credit(bob, Money::from(42)).await?;
    bank.accounts.debit(bob, Money::from(12)).await?;
    bank.accounts.transfer(bob, alice, Money::from(5)).await?;
    for (to, amount) in [(bob, 3), (bank.accounts.new_id(), 2)] {
        let order = Order {
            from: alice,
            to,
            bank: None,
            amount: Money::from(amount),
        };
        let transfer = transfers::run(bank, order, stop).await?;
        let is_completed = transfer.state == State::Completed;
        let is_ours = to == bob;

        if is_completed != is_ours || !transfer.has_ended() {
            return Err(Failure::Store(format!(
                "transfer {} has come to {:?}",
                transfer.id(),
                transfer.state
            )));
        }
    }
    Ok([alice, bob])
}

#[derive(PartialEq)]
struct Growth {
    balance: Money,
    transactions: u64,
}

impl std::fmt::Display for Growth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} in {} transactions",
            cents(self.balance),
            self.transactions
        )
    }
}

/// Sums what the ledger has recorded about these accounts. Other programs may use the bank at the same time.
async fn growth(bank: &Bank, before: Position, ids: &[Id<Account>]) -> Result<Growth, Failure> {
    let mut growth = Growth {
        balance: ZERO,
        transactions: 0,
    };
    let mut after = before;
    loop {
        let page = bank
            .ledger
            .log(LogQuery::after(after).categories([Ledger::NAME]))
            .await?;
        if page.events.is_empty() {
            return Ok(growth);
        }
        for event in page.decode::<Ledger>()? {
            if let LedgerEvent::TransactionAdded { account, amount } = event.payload
                && ids.contains(&account)
            {
                growth.balance += amount;
                growth.transactions += 1;
            }
        }
        after = page.ceiling;
    }
}

async fn show(bank: &Bank, before: Position, growth: &Growth) -> Result<Output, Failure> {
    let accounts = output::summaries(&bank.summaries.list(Listing::ALL).await?, false);
    let transfers = transfers::all(bank).await?;
    let ledger = output::ledger(commands::ledger(bank).await?.as_deref());
    let events = output::log(&commands::log(bank, before, usize::MAX).await?)?;
    let text = format!(
        "ACCOUNTS\n{}\n\nTRANSFERS IN STEPS\n{}\n\nLEDGER\n{}\n\nEVENTS OF THIS RUN\n{}\n\nThe ledger agrees: it grew by {growth}.",
        accounts.text, transfers.text, ledger.text, events.text
    );
    let json = json!({
        "accounts": accounts.json,
        "transfers": transfers.json,
        "ledger": ledger.json,
        "events": events.json,
        "growth": { "balance": cents(growth.balance), "transactions": growth.transactions },
    });
    Ok(Output::new(text, json))
}
