//! Stores that lose commits: a server after fail-over to a standby that lags behind, after a crash that takes unflushed
//! commits, after the restore of an earlier backup; a file that an earlier backup replaces. Fail-over to a synchronous
//! standby loses nothing.
//!
//! Four processes send commands, follow, wait and subscribe all the time; a process whose file is lost reports that,
//! refuses everything, ends and is started again. After each accident: every surviving event was processed once; no
//! wait returned early; no decision was based on lost events; every subscription ended or continued without a gap;
//! every acknowledged event of a command that began after the accident exists; commands succeed within five seconds of
//! the new primary or of the new start.
//!
//! The number of accidents of each kind is 2, or the value of `EVENTSOURCING_TEST_ACCIDENTS`. `EVENTSOURCING_TEST_SEED`
//! repeats the random moments of a run.

#![allow(clippy::print_stderr, reason = "prints figures of the run")]

mod checks;
mod files;
mod process;
mod servers;
#[path = "../support/mod.rs"]
mod support;
mod teller;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bank_example::system::EventSourcedBank;
use eventsourcing::postgres::{Durability, PostgresOptions};
use eventsourcing::sqlite::SqliteStore;
use eventsourcing::store::{FollowerStore, StoreError};
use eventsourcing::{Runner, RunningSystem, Stores, SystemError};
use tokio::sync::Mutex;

const CHILD: &str = "BANK_TEST_CHILD";
/// The number of accidents of each kind.
const ACCIDENTS: &str = "EVENTSOURCING_TEST_ACCIDENTS";
const PROCESSES: usize = 4;
/// The number of concurrent commands of a process.
const HANDS: usize = 2;
const ACCOUNTS: usize = 8;
const LEASE: Duration = Duration::from_millis(500);
/// The longest time from the moment when the new primary accepts writes, or the processes are started again, until
/// every process was served.
const RECOVERY_MAX: Duration = Duration::from_secs(5);
/// The silence after which a process counts as hung.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Two runs at once would measure the load of the machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

fn rounds() -> u64 {
    std::env::var(ACCIDENTS).map_or(2, |rounds| rounds.parse().expect("a number"))
}

/// Nanoseconds since 1970, on the clock that all processes share.
fn now() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time after 1970")
        .as_nanos()
}

/// Opens the store at `url`, a file or a server.
async fn connect(url: &str, durability: Durability) -> Result<Arc<dyn FollowerStore>, StoreError> {
    match url.strip_prefix("sqlite:") {
        Some(path) => Ok(Arc::new(SqliteStore::open(path).await?)),
        None => Ok(Arc::new(
            PostgresOptions::new()
                .with_durability(durability)
                .connect(url)
                .await?,
        )),
    }
}

async fn start(
    store: Arc<dyn FollowerStore>,
) -> Result<RunningSystem<EventSourcedBank>, SystemError> {
    let runner = Runner::concurrent().with_leases(LEASE);
    EventSourcedBank::start(Stores::shared(store), runner).await
}

/// Opens the bank at `url`, where nothing happens at the moment.
async fn open(url: &str) -> (RunningSystem<EventSourcedBank>, Arc<dyn FollowerStore>) {
    let store = connect(url, Durability::Full)
        .await
        .expect("the store opens");
    (
        start(Arc::clone(&store)).await.expect("the bank starts"),
        store,
    )
}
