//! Stores that forget commits: a server after fail-over to a standby that lags behind, after a crash that takes what was not
//! flushed, after the restore of an earlier backup; a file in whose place an earlier backup is put. And fail-over to a
//! synchronous standby, which forgets nothing.
//!
//! Four processes command, follow, wait and subscribe, and live through all of it; a process whose file is lost says so,
//! refuses everything, ends and is started again. After each accident: every event of the history that survived was processed
//! once; no wait returned early; nothing was decided on what is forgotten; every subscription ended or went on without
//! a gap; whatever was acknowledged to a command that began after the accident is there; commands succeed within five
//! seconds of the new primary or of the new start.
//!
//! The number of accidents of each kind is 2; `EVENTSOURCING_TEST_ACCIDENTS` says another one, as 20.
//! `EVENTSOURCING_TEST_SEED` repeats the random moments of a run.

#![allow(clippy::print_stderr, reason = "figures for whoever reads along")]

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
use eventsourcing::store::{EventStore, StoreError};
use eventsourcing::{Runner, RunningSystem, Stores, SystemError};
use tokio::sync::Mutex;

const CHILD: &str = "BANK_TEST_CHILD";
/// The number of accidents of each kind.
const ACCIDENTS: &str = "EVENTSOURCING_TEST_ACCIDENTS";
const PROCESSES: usize = 4;
/// Commands that a process gives at once.
const HANDS: usize = 2;
const ACCOUNTS: usize = 8;
const LEASE: Duration = Duration::from_millis(500);
/// From the moment when the new primary takes writes, or the processes are started again, until every process has been
/// served.
const RECOVERY_MAX: Duration = Duration::from_secs(5);
/// A process that says nothing for so long hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Two storms at once would measure how busy the machine is.
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
async fn connect(url: &str, durability: Durability) -> Result<Arc<dyn EventStore>, StoreError> {
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

async fn start(store: Arc<dyn EventStore>) -> Result<RunningSystem<EventSourcedBank>, SystemError> {
    let runner = Runner::concurrent().with_leases(LEASE);
    EventSourcedBank::start(Stores::shared(store), runner).await
}

/// Opens the bank at `url`, where nothing happens at the moment.
async fn open(url: &str) -> (RunningSystem<EventSourcedBank>, Arc<dyn EventStore>) {
    let store = connect(url, Durability::Full)
        .await
        .expect("the store opens");
    (
        start(Arc::clone(&store)).await.expect("the bank starts"),
        store,
    )
}
