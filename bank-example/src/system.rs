//! The bank, declared.

use eventsourcing_core::System;

use crate::application::{accounts::AccountService, activity::ActivityFeed};
use crate::application::{ledger::LedgerService, summaries::AccountSummaries};
use crate::domain::{account::Account, ledger::Ledger};

/// Every movement on any account reaches the ledger and the read models.
#[derive(Debug, System)]
pub struct EventSourcedBank {
    #[application(aggregates(Account))]
    pub accounts: AccountService,

    #[application(aggregates(Ledger), follows(accounts: Account))]
    pub ledger: LedgerService,

    #[projection(sql, follows(accounts: Account))]
    pub activity: ActivityFeed,

    #[projection(sql, follows(accounts: Account))]
    pub summaries: AccountSummaries,
}
