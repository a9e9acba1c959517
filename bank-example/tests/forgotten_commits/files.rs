//! Accidents of files: an earlier backup replaces the file, in the ways that people do it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use eventsourcing::Subscription;
use eventsourcing::sqlite::SqliteStore;
use eventsourcing::store::{
    CommandId, EventStore as _, FollowerStore, HolderId, LeaseRequest, LogQuery, Name, StoreError,
};
use eventsourcing::testing::Seed;
use tempfile::TempDir;

use crate::checks::{Outcome, accounts_opened, check};
use crate::process::{Process, State};
use crate::support::money;
use crate::{ONE_AT_A_TIME, PROCESSES, RECOVERY_MAX, TIMEOUT, now, open, rounds};

/// The ways in which a backup replaces the file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Restore {
    /// All programs are stopped or killed, and the old files are moved away, as `docs/backups.md` says.
    AfterAllStopped,
    /// A copy of the backup gets the name of the file while programs are at work.
    ByRename,
    /// The bytes of the backup are written into the file while programs are at work.
    ByCopy,
    /// SQLite writes the backup into the file by a transaction while programs are at work, as `.restore` of its shell does.
    BySqlite,
}

impl Restore {
    /// The fault that a store reports whose file is lost in this way.
    fn fault(self) -> &'static str {
        match self {
            Self::AfterAllStopped => "no program has it open",
            Self::ByRename => "was replaced",
            Self::ByCopy => "was overwritten",
            Self::BySqlite => "was restored",
        }
    }
}

/// The folder of the bank.
struct Place {
    folder: TempDir,
    backup: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let backup = folder.path().join("backup.db");
        Self { folder, backup }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("bank.db")
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.file().display())
    }

    /// The database file and the files that SQLite keeps beside it.
    fn parts(&self) -> [PathBuf; 3] {
        ["", "-wal", "-shm"].map(|ending| {
            let mut name = OsString::from(self.file());
            name.push(ending);
            name.into()
        })
    }

    /// Copies the bank in use, in place of the backup before.
    async fn back_up(&self) {
        let _none = fs::remove_file(&self.backup);
        let store = SqliteStore::open_existing(self.file())
            .await
            .expect("the store opens");
        store.backup(&self.backup).await.expect("a backup");
        store.close().await;
    }

    fn move_old_files_away(&self) {
        let before = self.folder.path().join("before");
        fs::create_dir_all(&before).expect("a folder");
        for part in self.parts().iter().filter(|part| part.exists()) {
            fs::rename(part, before.join(part.file_name().expect("a name"))).expect("it is moved");
        }
    }

    fn remove_log(&self) {
        for part in self.parts()[1..].iter().filter(|part| part.exists()) {
            fs::remove_file(part).expect("it is removed");
        }
    }

    fn restore(&self, restore: Restore) {
        let renamed = self.folder.path().join("restored.db");
        match restore {
            Restore::AfterAllStopped | Restore::ByCopy => copy(&self.backup, &self.file()),
            Restore::ByRename => {
                copy(&self.backup, &renamed);
                fs::rename(renamed, self.file()).expect("it takes the place of the file");
            }
            Restore::BySqlite => {
                let from = rusqlite::Connection::open(&self.backup).expect("a connection");
                let mut to = rusqlite::Connection::open(self.file()).expect("a connection");
                to.busy_timeout(TIMEOUT).expect("a timeout");
                let restoring = rusqlite::backup::Backup::new(&from, &mut to).expect("a backup");
                let pause = Duration::from_millis(1);
                restoring
                    .run_to_completion(100, pause, None)
                    .expect("it is restored");
            }
        }
    }

    fn assert_sound(&self) {
        let connection = rusqlite::Connection::open(self.file()).expect("a connection");
        let verdict: String = connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .expect("a verdict");
        assert_eq!(verdict, "ok");
    }
}

/// Copies in place: a file that exists keeps its inode.
fn copy(from: &Path, to: &Path) {
    assert!(
        Command::new("cp")
            .args([from, to])
            .status()
            .expect("cp runs")
            .success(),
        "{}",
        to.display()
    );
}

/// Stops all processes, each gracefully or as `kill -9` does, and moves the old files away.
fn stop_all(place: &Place, processes: &mut [Process], random: &mut fastrand::Rng) {
    let mut are_graceful = true;
    for process in &mut *processes {
        match random.bool() {
            true => process.end(),
            false => {
                are_graceful = false;
                process.kill();
            }
        }
    }
    if are_graceful {
        let [_, log, index] = place.parts();
        assert!(
            !log.exists() && !index.exists(),
            "programs that have ended leave one file"
        );
    }
    place.move_old_files_away();
}

/// Waits until each process has noticed that its store is lost, and lets it end and start again at once on the files as
/// they are. Then does what the store's error advises, after the last process has closed the file, and returns when
/// that was done.
fn start_again_after_loss(
    place: &Place,
    restore: Restore,
    processes: &mut [Process],
    random: &mut fastrand::Rng,
) -> Instant {
    let mut since = Instant::now();
    for process in &mut *processes {
        process.listen(|told| matches!(told.state, State::Lost(_)));
        assert!(
            since.elapsed() <= RECOVERY_MAX,
            "noticed after {:?}",
            since.elapsed()
        );
        let State::Lost(why) = &process.told.state else {
            unreachable!("it is lost")
        };
        assert!(why.contains(restore.fault()), "{restore:?}: {why}");
        match random.bool() {
            true => process.end(),
            false => process.kill(),
        }
    }
    start_again(processes.iter_mut());
    let is_refused = |process: &Process| matches!(process.told.state, State::Refused(_));
    if processes.iter().all(is_refused) {
        processes.iter().for_each(assert_says_what_to_do);
        if restore == Restore::ByCopy {
            place.restore(restore);
        }
        place.remove_log();
        since = Instant::now();
    }
    start_again(processes.iter_mut().filter(|process| is_refused(process)));
    for process in processes.iter() {
        assert!(
            !is_refused(process),
            "what the message says does not help: {:?}",
            process.told.state
        );
    }
    since
}

fn start_again<'a>(processes: impl Iterator<Item = &'a mut Process>) {
    let mut processes: Vec<_> = processes.collect();
    processes
        .iter_mut()
        .for_each(|process| process.start_again());
    processes
        .iter_mut()
        .for_each(|process| process.listen(|told| !matches!(told.state, State::Starting)));
}

fn assert_says_what_to_do(process: &Process) {
    let State::Refused(why) = &process.told.state else {
        return;
    };
    let is_told = why.contains("remove") && why.contains("-wal") && why.contains("-shm");
    assert!(is_told, "it is not said what to do: {why}");
}

async fn storm(restore: Restore) {
    let _turn = ONE_AT_A_TIME.lock().await;
    let mut random = Seed::from_env().rng(100 + restore as u64);
    let place = Place::new();
    let accounts = accounts_opened(&place.url()).await;
    let mut processes: Vec<_> = (0..PROCESSES)
        .map(|_| Process::start(&place.url(), "full", &accounts))
        .collect();
    let mut outcome = Outcome {
        forgotten: 0,
        slowest: Duration::ZERO,
    };
    for round in 0..rounds() {
        processes
            .iter_mut()
            .for_each(|process| process.listen(|told| told.last_acknowledged.is_some()));
        place.back_up().await;
        tokio::time::sleep(Duration::from_millis(random.u64(50..400))).await;
        if restore == Restore::AfterAllStopped {
            stop_all(&place, &mut processes, &mut random);
        }
        place.restore(restore);
        let happened = now();
        let since = match restore {
            Restore::AfterAllStopped => {
                let since = Instant::now();
                start_again(processes.iter_mut());
                since
            }
            Restore::ByRename | Restore::ByCopy | Restore::BySqlite => {
                start_again_after_loss(&place, restore, &mut processes, &mut random)
            }
        };
        outcome.wait_for_service(&mut processes, since);
        outcome.forgotten += check(
            &place.url(),
            &mut processes,
            happened,
            &format!("{restore:?} {round}"),
        )
        .await;
        place.assert_sound();
    }
    outcome.report(&format!("{restore:?}"), &processes);
    assert!(
        outcome.forgotten > 0,
        "nothing was forgotten, so the storm has shown nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_is_restored_after_all_programs_have_stopped() {
    storm(Restore::AfterAllStopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_takes_the_name_of_a_file_in_use() {
    storm(Restore::ByRename).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_is_copied_over_a_file_in_use() {
    storm(Restore::ByCopy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_is_restored_by_sqlite_into_a_file_in_use() {
    storm(Restore::BySqlite).await;
}

/// A wait for a store that can never be used again would last forever.
#[tokio::test(flavor = "multi_thread")]
async fn waits_for_a_lost_file_end_with_its_fault() {
    let place = Place::new();
    let accounts = accounts_opened(&place.url()).await;
    let elsewhere = SqliteStore::open(place.file())
        .await
        .expect("the store opens");
    // Another process has the follower and does nothing, so that a wait for it lasts.
    let request = LeaseRequest {
        follower: Name::from_static("ledger"),
        upstream: elsewhere.log_id(),
        holder: HolderId::new(),
        duration: LeaseRequest::DURATION_MAX,
    };
    elsewhere.lease(request).await.expect("a lease");
    elsewhere.close().await;
    let (bank, store) = open(&place.url()).await;
    let receipt = bank
        .accounts
        .credit(accounts[0], money("1.00"))
        .await
        .expect("a credit");
    let mut events = Subscription::new(
        store.clone(),
        LogQuery::after(receipt.position).categories(["Account"]),
    );
    let command = bank.accounts.command(CommandId::new());
    let second = Duration::from_secs(1);
    let waits = async {
        tokio::join!(
            bank.wait_for(
                &receipt,
                bank_example::system::EventSourcedBank::LEDGER,
                TIMEOUT
            ),
            bank.wait_until_caught_up(),
            events.next(),
            async {
                tokio::time::sleep(second / 4).await;
                fs::remove_file(place.file()).expect("it is removed");
                tokio::time::timeout(
                    second,
                    command.update(accounts[0], |account| account.credit(money("1.00"))),
                )
                .await
            }
        )
    };
    let (waited, settled, event, commanded) = tokio::time::timeout(second * 2, waits)
        .await
        .expect("everything ends soon");
    for error in [
        waited.expect_err("no follower comes"),
        settled.expect_err("no follower comes"),
    ] {
        assert!(error.to_string().contains("was removed"), "{error}");
    }
    let error = event
        .expect("an error comes first")
        .expect_err("no event comes");
    assert!(
        matches!(&error, StoreError::Unavailable { .. })
            && error.to_string().contains("was removed"),
        "{error}"
    );
    let error = commanded
        .expect("no command tries again")
        .expect_err("the store is lost");
    assert!(error.to_string().contains("was removed"), "{error}");
}
