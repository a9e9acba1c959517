//! The operations of people on files, done by the programs that people use.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use eventsourcing_core::store::{EventStore, LogQuery, Position, StoreError};
use eventsourcing_sqlite::SqliteStore;

use crate::fixture::{Place, append};

pub(crate) fn run(program: &str, arguments: &[&Path]) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect("the program is installed");
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Copies in place: an existing file keeps its inode.
pub(crate) fn copy(from: &Path, to: &Path) {
    run("cp", &[from, to]);
}

/// Writes the content of `backup` into `file` by a transaction, as `.restore` of the `sqlite3` shell does.
pub(crate) fn restore_by_sqlite(backup: &Path, file: &Path) {
    let from = rusqlite::Connection::open(backup).expect("a connection");
    let mut to = rusqlite::Connection::open(file).expect("a connection");
    to.busy_timeout(Duration::from_secs(10)).expect("a timeout");
    let pages_per_step = 100;
    let restoring = rusqlite::backup::Backup::new(&from, &mut to).expect("a backup");
    restoring
        .run_to_completion(pages_per_step, Duration::from_millis(1), None)
        .expect("it is restored");
}

pub(crate) fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = file.into();
    name.push(ending);
    name.into()
}

/// Returns the sorted names in the folder.
pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.expect("an entry").file_name().into_string()
    };
    let mut names: Vec<_> = entries.map(|entry| name(entry).expect("UTF-8")).collect();
    names.sort();
    names
}

pub(crate) async fn write(store: &SqliteStore, appends: usize) {
    for _ in 0..appends {
        store
            .append(append())
            .await
            .expect("nothing has happened yet");
    }
}

pub(crate) async fn events_of(store: &SqliteStore) -> usize {
    store
        .read_log(LogQuery::after(Position::ZERO).limit(usize::MAX))
        .await
        .expect("the log")
        .events
        .len()
}

/// Creates a store with this number of events, and closes it.
pub(crate) async fn store_with(place: &Place, appends: usize) {
    let store = place.store().await;
    write(&store, appends).await;
    store.close().await;
}

pub(crate) fn assert_sound(file: &Path) {
    let connection = rusqlite::Connection::open(file).expect("a connection");
    let verdict: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("a verdict");
    assert_eq!(verdict, "ok", "{}", file.display());
}

/// Asserts that the error names the file at `path` and contains `what`.
pub(crate) fn assert_says(error: &StoreError, path: &Path, what: &str) {
    let text = crate::fixture::one_line(error);
    assert!(
        text.contains(&path.display().to_string()),
        "{text} does not name {}",
        path.display()
    );
    assert!(text.contains(what), "{text} does not say {what:?}");
}
