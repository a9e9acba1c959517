//! The promises of `#[derive(System)]`: the definition, the assembled services, the followers, the start.

use std::convert::Infallible;
use std::sync::Mutex;

use eventsourcing_core::{
    Aggregate, Application, Id, MemoryStore, Policy, Projection, RecordedEvent, Root, Runner,
    System, UnitOfWork, event,
};
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Serialize, Deserialize)]
struct Account {}

#[event]
impl Account {
    fn opened() -> Self {
        Self {}
    }
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(name = "general-ledger")]
struct Ledger {
    accounts: u32,
}

#[event]
impl Ledger {
    fn started() -> Self {
        Self { accounts: 0 }
    }
    fn account_added(&mut self) {
        self.accounts += 1;
    }
}

struct AccountService {
    app: Application,
}

impl From<Application> for AccountService {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

struct LedgerService {
    app: Application,
}

impl From<Application> for LedgerService {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

impl Policy<Account> for LedgerService {
    type Error = eventsourcing_core::ApplicationError;

    async fn react(
        &self,
        _: &RecordedEvent<Account>,
        work: &mut UnitOfWork,
    ) -> Result<(), Self::Error> {
        let ledger = work
            .load_or_create(Id::<Ledger>::named("General"), || LedgerEvent::Started)
            .await?;
        ledger.record(LedgerEvent::AccountAdded);
        Ok(())
    }
}

#[derive(Default)]
struct ActivityFeed {
    lines: Mutex<Vec<&'static str>>,
}

impl ActivityFeed {
    fn add(&self, line: &'static str) {
        self.lines.lock().expect("no one panics").push(line);
    }
}

impl Projection<Account> for ActivityFeed {
    type Error = Infallible;

    async fn project(&self, _: &RecordedEvent<Account>) -> Result<(), Infallible> {
        self.add("account");
        Ok(())
    }
}

impl Projection<Ledger> for ActivityFeed {
    type Error = Infallible;

    async fn project(&self, _: &RecordedEvent<Ledger>) -> Result<(), Infallible> {
        self.add("ledger");
        Ok(())
    }
}

#[derive(System)]
struct Bank {
    #[application(name = "books", aggregates(Account))]
    accounts: AccountService,
    #[application(aggregates(Ledger), follows(accounts: Account))]
    ledger: LedgerService,
    #[projection(follows(accounts: Account, ledger: Ledger))]
    activity: ActivityFeed,
}

#[test]
fn the_definition_names_applications_and_their_followers() {
    let expected = eventsourcing_core::Definition::new("Bank")
        .with_application("books", &["Account"])
        .with_application("ledger", &["general-ledger"])
        .with_policy("ledger", &[("books", "Account")])
        .with_projection(
            "activity",
            &[("books", "Account"), ("ledger", "general-ledger")],
        );
    assert_eq!(Bank::definition().to_string(), expected.to_string());
    assert_eq!(<Bank as System>::followers().len(), 2);
}

#[tokio::test]
async fn a_started_system_runs_its_policies_and_projections()
-> Result<(), Box<dyn std::error::Error>> {
    let bank = Bank::start(MemoryStore::new(), Runner::concurrent()).await?;
    assert_eq!(bank.accounts.app.name().as_str(), "books");
    bank.accounts
        .app
        .save(&mut Root::<Account>::create(AccountEvent::Opened))
        .await?;
    bank.wait_until_caught_up().await?;
    assert_eq!(
        bank.ledger
            .app
            .load(Id::<Ledger>::named("General"))
            .await?
            .accounts,
        1
    );
    let mut lines = bank.activity.lines.lock().expect("no one panics").clone();
    lines.sort_unstable();
    assert_eq!(lines, ["account", "ledger", "ledger"]);
    bank.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_builder_offers_more_choices() -> Result<(), Box<dyn std::error::Error>> {
    let bank = Bank::builder(MemoryStore::new())
        .with_runner(Runner::inline())
        .start()
        .await?;
    bank.stop().await?;
    Ok(())
}
