//! An application that is written against the façade alone, with its default features: a bank in a SQLite file.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::error::Error;
use std::path::Path;

use eventsourcing::prelude::*;
use eventsourcing::sqlite::SqliteOptions;
use eventsourcing::store::{self, Acknowledged, Durability, OpenError, OpenOptions};
use eventsourcing::{ApplicationName, FollowerName, PolicyName, ProjectionName};

type Tested = Result<(), Box<dyn Error>>;

/// A bank account. Its balance never falls below zero.
#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
#[aggregate(snapshot = every(3))]
struct Account {
    balance: i64,
}

#[event]
impl Account {
    fn opened(_owner: String) -> Self {
        Self { balance: 0 }
    }
    fn credited(&mut self, amount: i64) {
        self.balance += amount;
    }
    #[event(former_names("Withdrawn"))]
    fn debited(&mut self, amount: i64) {
        self.balance -= amount;
    }
}

#[derive(Debug)]
struct InsufficientFunds;

impl std::fmt::Display for InsufficientFunds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("insufficient funds")
    }
}

impl Error for InsufficientFunds {}

impl Account {
    fn debit(&self, amount: i64) -> Result<AccountEvent, InsufficientFunds> {
        if amount > self.balance {
            return Err(InsufficientFunds);
        }
        Ok(AccountEvent::Debited { amount })
    }
}

/// The sum of all accounts.
#[derive(Aggregate, Serialize, Deserialize)]
struct Ledger {
    sum: i64,
}

#[event]
impl Ledger {
    fn begun() -> Self {
        Self { sum: 0 }
    }
    fn changed(&mut self, by: i64) {
        self.sum += by;
    }
}

fn general() -> Id<Ledger> {
    Id::named("general")
}

struct Accounts(Application);

impl From<Application> for Accounts {
    fn from(app: Application) -> Self {
        Self(app)
    }
}

struct Ledgers(Application);

impl From<Application> for Ledgers {
    fn from(app: Application) -> Self {
        Self(app)
    }
}

impl Policy<Account> for Ledgers {
    type Error = ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Account>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        let by = match event.payload {
            AccountEvent::Opened { .. } => return Ok(()),
            AccountEvent::Credited { amount } => amount,
            AccountEvent::Debited { amount } => -amount,
        };
        work.load_or_create(general(), || LedgerEvent::Begun)
            .await?
            .record(LedgerEvent::Changed { by });
        work.schedule(event.recorded_at, event.aggregate_id, &by);
        Ok(())
    }
}

impl Timers for Ledgers {
    type Timer = i64;
    type Error = Infallible;

    async fn due(&self, _: &Due<i64>, _: &mut UnitOfWork) -> Result<(), Infallible> {
        Ok(())
    }
}

struct Movements(ReadModel);

impl From<ReadModel> for Movements {
    fn from(read_model: ReadModel) -> Self {
        Self(read_model)
    }
}

impl SqlReadModel for Movements {
    const VERSION: u32 = 1;
    const TABLES: &'static [Table] = &[Table::new(
        "movements",
        "position BIGINT PRIMARY KEY, name TEXT NOT NULL, account TEXT NOT NULL",
    )];
}

impl SqlProjection<Account> for Movements {
    type Error = SqlError;

    async fn project(
        &self,
        event: &RecordedEvent<Account>,
        tx: &mut Tx<'_>,
    ) -> Result<(), SqlError> {
        let sql = "INSERT INTO {movements} (position, name, account) VALUES ($1, $2, $3)";
        tx.execute(
            sql,
            &values![event.position, event.name(), event.aggregate_id],
        )
        .await?;
        Ok(())
    }
}

#[derive(Default)]
struct Counter;

impl Projection<Account> for Counter {
    type Error = Infallible;

    async fn project(&self, _: &RecordedEvent<Account>) -> Result<(), Infallible> {
        Ok(())
    }
}

#[derive(System)]
struct Bank {
    #[application(aggregates(Account))]
    accounts: Accounts,
    #[application(aggregates(Ledger), follows(accounts: Account), timers)]
    ledger: Ledgers,
    #[projection(sql, follows(accounts: Account(Credited, Debited)))]
    movements: Movements,
    #[projection(name = "counter", follows(accounts: Account))]
    _counter: Counter,
}

#[test]
fn parts_are_named_by_constants_and_names_from_outside_are_looked_up() {
    let ledger: FollowerName<Bank> = Bank::LEDGER.into();
    assert_eq!(
        FollowerName::find("ledger").expect("it is declared"),
        ledger
    );
    assert_eq!(
        PolicyName::find("ledger").expect("it is declared"),
        Bank::LEDGER
    );
    assert_eq!(
        ProjectionName::find("counter").expect("it is declared"),
        Bank::_COUNTER
    );
    assert_eq!(
        ApplicationName::find("accounts").expect("it is declared"),
        Bank::ACCOUNTS
    );
    assert_eq!(Bank::_COUNTER.as_str(), "counter", "the stored name");

    let unknown = FollowerName::<Bank>::find("ledgr").expect_err("there is none");
    let text = "Bank has no follower \"ledgr\"; it has ledger, movements, counter";
    assert!(matches!(unknown, SystemError::UnknownFollower { .. }));
    assert_eq!(unknown.to_string(), text);
    let policy = ProjectionName::<Bank>::find("ledger").expect_err("there is none");
    assert!(
        matches!(policy, SystemError::NotARebuildableReadModel { .. }),
        "{policy}"
    );
    let projection = PolicyName::<Bank>::find("counter").expect_err("there is none");
    assert_eq!(
        projection.to_string(),
        "invalid: counter is a projection and not a policy"
    );
}

/// Opens an account, moves money, and looks at all that follows from it. Returns the account.
async fn one_day(bank: &RunningSystem<Bank>) -> Result<Id<Account>, Box<dyn Error>> {
    let opened = || AccountEvent::Opened {
        owner: "Alice".to_owned(),
    };
    let alice = bank.accounts.0.create(opened).await?.id;
    bank.accounts
        .0
        .update(alice, |_| AccountEvent::Credited { amount: 5 })
        .await?;
    let pay = bank.accounts.0.command(CommandId::new());
    pay.update(alice, |account| account.debit(3)).await?;
    pay.update(alice, |account| account.debit(3)).await?; // A repetition changes nothing.
    let refused = bank
        .accounts
        .0
        .update(alice, |account| account.debit(3))
        .await;
    assert!(
        matches!(refused, Err(CommandError::Rejected(InsufficientFunds))),
        "{refused:?}"
    );
    bank.wait_until_caught_up().await?;
    assert_eq!(bank.ledger.0.load(general()).await?.sum, 2);
    let rows = bank
        .movements
        .0
        .query("SELECT name FROM {movements} ORDER BY position", &[])
        .await?;
    let names: Vec<String> = rows
        .iter()
        .map(|row| row.get("name"))
        .collect::<Result<_, _>>()?;
    assert_eq!(names, ["Credited", "Debited"]);
    Ok(alice)
}

#[tokio::test]
async fn a_bank_in_a_file_is_there_when_it_is_opened_again() -> Tested {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}/bank.db", folder.path().display());
    let bank = Bank::start(store::open(&url).await?, Runner::concurrent()).await?;
    let alice = one_day(&bank).await?;
    bank.stop().await?;

    let bank = Bank::start(store::open_existing(&url).await?, Runner::inline()).await?;
    let account = bank.accounts.0.load(alice).await?;
    assert_eq!((account.balance, account.version()), (2, Version::new(3)));
    bank.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_bank_in_memory_has_read_models_too() -> Tested {
    let bank = Bank::start(store::open("memory:").await?, Runner::inline()).await?;
    one_day(&bank).await?;
    bank.stop().await?;
    Ok(())
}

#[tokio::test]
async fn opening_what_should_exist_creates_nothing() -> Tested {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("bank.db");
    let url = format!("sqlite:{}", file.display());
    match store::open_existing(&url).await {
        Err(OpenError::Store(StoreError::NoStore { reason })) => {
            assert!(reason.contains("bank.db"), "{reason}");
        }
        other => panic!("not refused as a store that is not there: {other:?}"),
    }
    assert!(!file.exists(), "a store was created");
    store::open(&url).await?;
    store::open_existing(&url).await?;
    Ok(())
}

#[tokio::test]
async fn the_options_of_a_backend_reach_its_store() -> Tested {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}/bank.db", folder.path().display());
    let survives = |stores: Stores| async move { stores.store().acknowledged().await };
    let default = survives(OpenOptions::new().open(&url).await?).await?;
    let normal = SqliteOptions::new().with_durability(Durability::Normal);
    let chosen = survives(
        OpenOptions::new()
            .with_sqlite(normal.clone())
            .open(&url)
            .await?,
    )
    .await?;
    let existing = survives(
        OpenOptions::new()
            .with_sqlite(normal)
            .open_existing(&url)
            .await?,
    )
    .await?;
    assert_ne!(format!("{default:?}"), format!("{chosen:?}"));
    assert_eq!(format!("{chosen:?}"), format!("{existing:?}"));
    Ok(())
}

#[tokio::test]
async fn durability_reaches_every_store_or_is_refused_when_it_is_opened() -> Tested {
    let folder = tempfile::tempdir()?;
    let file = format!("sqlite:{}/bank.db", folder.path().display());
    for durability in [Durability::Full, Durability::Normal] {
        let options = OpenOptions::new().with_durability(durability);
        let stores = options.clone().open(&file).await?;
        let is_on_disk = matches!(
            stores.store().acknowledged().await?,
            Acknowledged::OnDisk { .. }
        );
        assert_eq!(is_on_disk, durability == Durability::Full);
        let Err(refused) = options.open("memory:").await else {
            panic!("memory: cannot keep {durability:?}");
        };
        assert!(
            matches!(&refused, OpenError::Store(StoreError::Invalid { .. })),
            "{refused}"
        );
        assert!(
            refused.to_string().contains(&format!("{durability:?}")),
            "{refused}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn an_address_that_cannot_be_meant_opens_nothing() {
    for url in [
        "bank.db",
        "memory:bank",
        "oracle:x",
        "sqlite:",
        "postgres://bank:p@s3cr3t@host/b",
    ] {
        let error = store::open(url).await.expect_err(url);
        let text = error.to_string();
        assert!(
            matches!(error, OpenError::Address(_)) && !text.contains("s3cr3t"),
            "{url}: {text}"
        );
        let existing = store::open_existing(url).await.expect_err(url);
        assert_eq!(existing.to_string(), text);
    }
}

#[test]
fn the_facade_exports_every_name_of_the_core() -> Tested {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let core = std::fs::read_to_string(folder.join("../eventsourcing-core/src/lib.rs"))?;
    let facade = std::fs::read_to_string(folder.join("src/lib.rs"))?;
    let exported = exports(&facade);
    let missing: Vec<_> = exports(&core).difference(&exported).cloned().collect();
    assert!(
        missing.is_empty(),
        "eventsourcing/src/lib.rs does not export {missing:?}"
    );
    assert!(
        exported.contains("Aggregate") && exported.contains("SystemBuilder"),
        "no names were found: {exported:?}"
    );
    Ok(())
}

/// Returns the names that the `pub use` and `pub mod` items of a crate root export.
fn exports(root: &str) -> BTreeSet<String> {
    let code: String = root
        .lines()
        .filter(|line| !line.starts_with("//") && !line.starts_with('#'))
        .collect();
    let items = code.split(';').map(str::trim);
    let exported = items.filter_map(|item| {
        item.strip_prefix("pub use ")
            .or(item.strip_prefix("pub mod "))
    });
    let names = exported.flat_map(|path| {
        let names = path.rsplit_once("::").map_or(path, |(_, names)| names);
        names
            .trim_matches(['{', '}'])
            .split(',')
            .map(|name| name.rsplit(' ').next().unwrap_or_default().to_owned())
    });
    names.filter(|name| !name.is_empty()).collect()
}
