//! Exports the whole bank to a file, and imports it again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bank_example::application::summaries::Listing;
use bank_example::domain::ZERO;
use bank_example::stores;
use bank_example::system::EventSourcedBank;
use eventsourcing::archive::{self, ArchiveError, Exported, Imported, Progress, Stage};
use eventsourcing::schema::WithLock as _;
use eventsourcing::store::FollowerStore;
use eventsourcing::{OnFailure, Runner, RunningSystem};
use indicatif::ProgressBar;
use serde_json::json;
use tokio::fs::{self, File};
use tokio::io::BufReader;

use super::commands::ledger;
use super::failure::{Failure, one_line};
use super::output::{Output, cents};
use super::stop::Stop;
use super::{NOTHING_DONE, console, opened, progress, stopped, verify};

/// The file name that stands for standard output.
const STDOUT: &str = "-";
const NO_WHOLE_ARCHIVE: &str = "the output is not a whole archive";
/// The number of bytes of an archive that are read at once: each read costs a turn of another thread.
const BYTES_PER_READ: usize = 1024 * 1024;

pub(super) async fn export(store: &str, file: &Path, stop: &Stop) -> Result<Output, Failure> {
    let store = opened(stop, stores::open_existing(store)).await?.store();
    let bar = progress::bar("");
    let outcome = match file.as_os_str() == STDOUT {
        true => {
            stop.or(export_to_stdout(store, &bar), NO_WHOLE_ARCHIVE)
                .await
        }
        false => {
            stop.or(export_file(store, file, &bar), "no archive was written")
                .await
        }
    };
    bar.finish_and_clear();
    let exported = outcome.flatten()?;
    let followers: Vec<_> = exported.followers.iter().map(ToString::to_string).collect();
    let text = format!(
        "exported {} events, up to position {}, and the positions of {}",
        exported.events,
        exported.head,
        followers.join(", ")
    );
    if file.as_os_str() == STDOUT {
        console::say("done", &text);
        return Ok(Output::nothing());
    }
    Ok(Output::new(
        text,
        json!({ "events": exported.events, "head": exported.head, "followers": followers }),
    ))
}

/// Exports to standard output. An archive that is cut off is useless, so a reader that goes away is an error here.
async fn export_to_stdout(
    store: Arc<dyn FollowerStore>,
    bar: &ProgressBar,
) -> Result<Exported, Failure> {
    let out = tokio::io::stdout();
    let exported =
        archive::export::<EventSourcedBank>(store, out, |progress| draw(bar, progress)).await;
    exported.map_err(|error| match error {
        ArchiveError::File(error) => Failure::unwritten(&error),
        error => failed(error),
    })
}

/// Exports to a file, which gets its name when it is complete.
async fn export_file(
    store: Arc<dyn FollowerStore>,
    file: &Path,
    bar: &ProgressBar,
) -> Result<Exported, Failure> {
    if matches!(fs::try_exists(file).await, Ok(true)) {
        return Err(Failure::Usage(format!(
            "{} exists; choose another name",
            file.display()
        )));
    }
    let partial = PathBuf::from(format!("{}.partial", file.display()));
    let cannot_write =
        |error| Failure::Usage(format!("{} cannot be written: {error}", partial.display()));
    let mut out = File::create(&partial).await.map_err(cannot_write)?;
    let exported =
        archive::export::<EventSourcedBank>(store, &mut out, |progress| draw(bar, progress))
            .await
            .map_err(failed)?;
    out.sync_all().await.map_err(cannot_write)?;
    fs::rename(&partial, file).await.map_err(cannot_write)?;
    Ok(exported)
}

pub(super) async fn import(store: &str, file: &Path, stop: &Stop) -> Result<Output, Failure> {
    let opened = File::open(file).await;
    let opened = opened
        .map_err(|error| Failure::Usage(format!("{} cannot be read: {error}", file.display())))?;
    let bar = progress::bar("");
    let again = "run the import again with the same file: it continues where it stopped";
    let filled = stop.or(stores::open_to_fill(store), NOTHING_DONE).await??;
    let lines = BufReader::with_capacity(BYTES_PER_READ, opened);
    let importing = archive::import(filled, lines, |progress| draw(&bar, progress));
    let imported = stop.or(importing, again).await;
    bar.finish_and_clear();
    let done = match imported? {
        Ok(Imported {
            events,
            events_before: 0,
            ..
        }) => format!("imported {events} events"),
        Ok(Imported {
            events,
            events_before,
            ..
        }) => {
            format!("imported {events} events, {events_before} of them before it was interrupted")
        }
        // An earlier import may have been interrupted after its last event, while it checked the bank.
        Err(ArchiveError::Finished) => "this archive was imported before".to_owned(),
        Err(error) => return Err(failed(error)),
    };
    let checked = stop.or(check(store, &done), "").await.flatten();
    checked.map_err(|failure| {
        failure.after_it_was_done(format_args!("{done}, but not checked; see verify"))
    })
}

/// Lets the bank in the store catch up, and checks that every event has arrived.
async fn check(store: &str, done: &str) -> Result<Output, Failure> {
    let runner = Runner::concurrent().without_leases();
    let builder = EventSourcedBank::builder(stores::open_existing(store).await?)
        .with_lock(EventSourcedBank::LOCK);
    let builder = builder.with_runner(runner);
    let bank = builder
        .with_on_failure_default(OnFailure::Park)
        .start()
        .await?;
    bank.wait_until_caught_up().await?;
    let verified = verify::run(&bank, false).await?;
    let agrees = ledger_agrees(&bank).await?;
    let stopped = stopped(bank).await;

    let text = format!("{done}\n\n{}", verified.text);
    let json = json!({ "done": done, "verified": verified.json });
    let failure = verified.failure.or_else(|| agrees.err());
    Ok(Output::new(text, json).fail(failure).warn(stopped))
}

/// Compares the ledger with the sum of the accounts, unless events are parked.
async fn ledger_agrees(
    bank: &RunningSystem<EventSourcedBank>,
) -> Result<Result<(), Failure>, Failure> {
    let has_parked = bank
        .health()
        .await?
        .followers
        .iter()
        .any(|follower| follower.parked > 0);
    let accounts = bank
        .summaries
        .list(Listing::ALL)
        .await?
        .iter()
        .fold(ZERO, |sum, account| sum + account.balance);
    let ledger = ledger(bank).await?.map_or(ZERO, |ledger| ledger.balance);
    Ok(match has_parked || ledger == accounts {
        true => Ok(()),
        false => Err(Failure::Refused(format!(
            "the ledger has {}, all accounts together have {}",
            cents(ledger),
            cents(accounts)
        ))),
    })
}

fn draw(bar: &ProgressBar, progress: Progress) {
    bar.set_prefix(match progress.stage {
        Stage::Exporting => "exporting",
        Stage::Reading => "reading the file",
        Stage::Importing => "importing",
        _ => "comparing",
    });
    bar.set_length(progress.of);
    bar.set_position(progress.events);
}

fn failed(error: ArchiveError) -> Failure {
    match error {
        ArchiveError::Store(error) => error.into(),
        ArchiveError::File(_) => Failure::Store(one_line(&error)),
        error => Failure::Refused(one_line(&error)),
    }
}
