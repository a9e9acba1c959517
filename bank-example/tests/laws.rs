//! The laws of event sourcing, for every part of the bank.

use bank_example::application::accounts::AccountService;
use bank_example::application::ledger::LedgerService;
use bank_example::application::transfers::TransferService;
use bank_example::domain::account::Account;
use bank_example::domain::ledger::Ledger;
use bank_example::domain::transfer::{Leg, Transfer};
use eventsourcing::schema::SchemaLock;
use eventsourcing::testing::laws;

laws!(Account, samples = locked().samples::<Account>());
laws!(Ledger, samples = locked().samples::<Ledger>());
laws!(Transfer, samples = locked().samples::<Transfer>());
laws!(Leg, samples = locked().samples::<Leg>());

laws!(policy LedgerService: Account);
laws!(policy AccountService: Transfer, given = [Account]);
laws!(policy TransferService: Leg, given = [Transfer]);

/// The laws of the decisions of accounts and transfers, for any amount.
mod as_decided {
    use super::*;

    laws!(Account, decide = [Account::credit, Account::debit]);
    laws!(Transfer, decide = [Transfer::answer, Transfer::time_out]);
}

/// The schema lock, with the stored form of each version of each event.
fn locked() -> SchemaLock {
    SchemaLock::read(concat!(env!("CARGO_MANIFEST_DIR"), "/events.lock.json"))
        .expect("the lock is committed")
}
