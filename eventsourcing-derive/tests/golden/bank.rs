#[derive(System)]
pub struct EventSourcedBank {
    #[application(aggregates(Account))]
    pub accounts: AccountService,

    #[application(name = "books", aggregates(Ledger), follows(accounts: Account), timers)]
    pub ledger: LedgerService,

    #[projection(follows(accounts: Account(Opened, Credited), ledger: Ledger))]
    pub activity: ActivityFeed,
}
