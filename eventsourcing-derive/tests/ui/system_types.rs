#[path = "support/bank.rs"]
mod bank;

use bank::{Account, Accounts, Feed, Ledger, Ledgers};
use eventsourcing_core::System;

#[derive(System)]
struct WithoutPolicy {
    #[application(aggregates(Account), follows(ledgers: Ledger))]
    accounts: Accounts,
    #[application(aggregates(Ledger))]
    ledgers: Ledgers,
}

#[derive(System)]
struct WithoutProjection {
    #[application(aggregates(Ledger))]
    ledgers: Ledgers,
    #[projection(follows(ledgers: Ledger))]
    feed: Feed,
}

#[derive(System)]
struct NotAService {
    #[application(aggregates(Account))]
    accounts: NotFromApplication,
}

#[derive(System)]
struct NotDefault {
    #[application(aggregates(Account))]
    accounts: Accounts,
    #[projection(follows(accounts: Account))]
    feed: LateFeed,
}

struct NotFromApplication;

struct LateFeed(Feed);

impl eventsourcing_core::Projection<Account> for LateFeed {
    type Error = std::convert::Infallible;

    async fn project(
        &self,
        event: &eventsourcing_core::RecordedEvent<Account>,
    ) -> Result<(), std::convert::Infallible> {
        self.0.project(event).await
    }
}

#[derive(System)]
struct NotAnAggregate {
    #[application(aggregates(String))]
    accounts: Accounts,
}

#[derive(System)]
struct WithoutTimers {
    #[application(aggregates(Account))]
    accounts: Accounts,
    #[application(aggregates(Ledger), follows(accounts: Account), timers)]
    ledgers: Ledgers,
}

fn main() {}
