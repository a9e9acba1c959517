//! The declaration of the bank: its services, and what each of them follows.

use eventsourcing::System;

use crate::application::{accounts::AccountService, activity::ActivityFeed, ledger::LedgerService};
use crate::application::{summaries::AccountSummaries, transfers::TransferService};
use crate::domain::{account::Account, ledger::Ledger, transfer::Leg, transfer::Transfer};

/// The whole bank. Every movement on an account reaches the ledger and the read models, and every transfer in steps
/// ends.
#[derive(Debug, System)]
#[system(schema)]
pub struct EventSourcedBank {
    #[application(aggregates(Account, Leg), follows(transfers: Transfer))]
    pub accounts: AccountService,

    #[application(aggregates(Transfer), follows(accounts: Leg), timers)]
    pub transfers: TransferService,

    #[application(aggregates(Ledger), follows(accounts: Account))]
    pub ledger: LedgerService,

    #[projection(sql, follows(accounts: Account))]
    pub activity: ActivityFeed,

    #[projection(sql, follows(accounts: Account))]
    pub summaries: AccountSummaries,
}
