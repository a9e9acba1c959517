//! Servers that forget commits: fail-over to a standby that lags behind, a crash that takes what was not flushed, the restore
//! of an earlier backup. And fail-over to a synchronous standby, which forgets nothing.
//!
//! Four processes command, follow, wait and subscribe, and live through all of it. After each accident: every event of the
//! history that survived was processed once; no wait returned early; nothing was decided on what the server has forgotten;
//! every subscription ended or went on without a gap; commands succeed within five seconds of the new primary.
//!
//! The number of accidents of each kind is 2; `EVENTSOURCING_TEST_ACCIDENTS` says another one, as 20.
//! `EVENTSOURCING_TEST_SEED` repeats the random moments of a run.

#![allow(clippy::print_stderr, reason = "figures for whoever reads along")]

mod checks;
mod process;
mod servers;
#[path = "../support/mod.rs"]
mod support;
mod teller;

use std::time::Duration;

use bank_example::system::EventSourcedBank;
use eventsourcing_core::{Runner, Running, Stores};
use eventsourcing_postgres::{Durability, PostgresOptions, PostgresStore};

const CHILD: &str = "BANK_TEST_CHILD";
/// The number of accidents of each kind.
const ACCIDENTS: &str = "EVENTSOURCING_TEST_ACCIDENTS";
const PROCESSES: usize = 4;
/// Commands that a process gives at once.
const HANDS: usize = 2;
const ACCOUNTS: usize = 8;
const LEASE: Duration = Duration::from_millis(500);
/// From the moment when the new primary takes writes until every process has been served.
const RECOVERY_MAX: Duration = Duration::from_secs(5);
/// A process that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

async fn open(url: &str, durability: Durability) -> (Running<EventSourcedBank>, PostgresStore) {
    let options = PostgresOptions::new().with_durability(durability);
    let store = options.connect(url).await.expect("the store opens");
    let runner = Runner::concurrent().with_leases(LEASE);
    let bank = EventSourcedBank::start(Stores::shared(store.clone()), runner).await.expect("the bank starts");
    (bank, store)
}
