//! The bank, declared.

use eventsourcing_core::System;

use crate::application::{accounts::AccountService, activity::ActivityFeed, ledger::LedgerService};
use crate::domain::{account::Account, ledger::Ledger};

/// Every movement on any account reaches the ledger and the activity feed.
#[derive(Debug, System)]
pub struct EventSourcedBank {
    #[application(aggregates(Account))]
    pub accounts: AccountService,

    #[application(aggregates(Ledger), follows(accounts: Account))]
    pub ledger: LedgerService,

    #[projection(follows(accounts: Account))]
    pub activity: ActivityFeed,
}
