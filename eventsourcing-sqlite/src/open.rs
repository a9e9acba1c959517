//! From a path to connections. Whatever is wrong is found before anything is written.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use eventsourcing_core::store::{LogId, StoreError};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::checkpoint::{CHECKPOINT_PAGES, WAL_BYTES_KEPT};
use crate::config::{Durability, SqliteOptions};
use crate::error::{is_busy, translate, unavailable};
use crate::schema;

/// How long to sleep before a lock is tried again. Short and constant, so that a process with little to write gets its
/// turn between the commits of one that writes without a pause.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(1);
/// Statements kept ready on each connection; the store has some thirty, the rest is for read models.
const STATEMENTS_CACHED: usize = 128;
const CACHE_KIB: i64 = 8 * 1024;

/// A store's connections.
pub(crate) struct Opened {
    pub(crate) path: Arc<Path>,
    pub(crate) log_id: LogId,
    pub(crate) writer: Connection,
    pub(crate) readers: Vec<Connection>,
    /// Reads the head while somebody waits; of its own, so that long reads do not delay wake-ups.
    pub(crate) watcher: Connection,
}

/// Opens the file at `path` and brings its schema up to date. Blocks.
pub(crate) fn open(path: &Path, options: &SqliteOptions) -> Result<Opened, StoreError> {
    let path: Arc<Path> = locate(path)?.into();
    let mut writer = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE, options)?;
    refuse_read_only(&writer, &path)?;
    schema::refuse_newer(&writer, &path)?;
    switch_to_wal(&writer, &path, options.busy_timeout)?;
    prepare_writing(&writer, options.durability).map_err(|error| translate(&path, error))?;
    let log_id = schema::migrate(&mut writer, &path)?;
    let reader = || connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY, options);
    let readers = (0..options.readers).map(|_| reader()).collect::<Result<_, _>>()?;
    let watcher = reader()?;
    tracing::debug!(path = %path.display(), %log_id, "opened");
    Ok(Opened { path, log_id, writer, readers, watcher })
}

/// Makes a store in memory, which has but one connection.
pub(crate) fn open_in_memory() -> Result<(Arc<Path>, LogId, Connection), StoreError> {
    let path: Arc<Path> = Path::new(":memory:").into();
    let connection = Connection::open_in_memory().and_then(|connection| prepare(&connection).map(|()| connection));
    let mut connection = connection.map_err(|error| translate(&path, error))?;
    let log_id = schema::migrate(&mut connection, &path)?;
    Ok((path, log_id, connection))
}

/// The absolute path, which SQLite takes as it is: it would read `file:…` as a URI and an empty path as a temporary file.
fn locate(path: &Path) -> Result<PathBuf, StoreError> {
    if path.as_os_str() == ":memory:" {
        let reason = "this is not the name of a file; use SqliteStore::in_memory or MemoryStore".to_owned();
        return Err(StoreError::Invalid { reason });
    }
    let cannot = |error| StoreError::unavailable(format!("the path {:?} cannot be used", path.display()), error);
    let path = std::path::absolute(path).map_err(cannot)?;
    match fs::metadata(&path) {
        Ok(found) if found.is_dir() => Err(unavailable(&path, "this is a folder; name a file in it")),
        Ok(_) => Ok(path),
        Err(error) if error.kind() == ErrorKind::NotFound => refuse_missing_folder(path),
        Err(error) => Err(StoreError::unavailable(format!("{}: {error}", path.display()), error)),
    }
}

fn refuse_missing_folder(path: PathBuf) -> Result<PathBuf, StoreError> {
    match path.parent() {
        Some(folder) if !folder.is_dir() => {
            Err(unavailable(&path, format_args!("the folder {} does not exist; create it first", folder.display())))
        }
        _ => Ok(path),
    }
}

fn connect(path: &Path, flags: OpenFlags, options: &SqliteOptions) -> Result<Connection, StoreError> {
    let connect = || {
        let mut connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        wait_for_locks(&mut connection, options.busy_timeout)?;
        prepare(&connection)?;
        Ok(connection)
    };
    connect().map_err(|error: rusqlite::Error| translate(path, error))
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // A plan does not depend on values: SQLite would make a new one for nearly every statement that is given others.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    rusqlite::vtab::array::load_module(connection)
}

/// Waits at most `timeout` for each lock.
///
/// SQLite's own handler sleeps longer and longer, and so those who have waited longest get the least.
pub(crate) fn wait_for_locks(connection: &mut Connection, timeout: Duration) -> rusqlite::Result<()> {
    let mut since = Instant::now();
    connection.busy_handler(Some(move |tries| {
        if tries == 0 {
            since = Instant::now();
        }
        thread::sleep(LOCK_RETRY_INTERVAL);
        since.elapsed() < timeout
    }))
}

/// SQLite opens a file that is not writable for reading only, and would fail at the first append.
fn refuse_read_only(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    match connection.is_readonly("main") {
        Ok(false) => Ok(()),
        Ok(true) => Err(unavailable(path, "the file is read-only; make it writable for this user")),
        Err(error) => Err(translate(path, error)),
    }
}

/// When several processes switch at the same time SQLite does not ask the busy handler, so this tries again itself.
fn switch_to_wal(connection: &Connection, path: &Path, timeout: Duration) -> Result<(), StoreError> {
    let since = Instant::now();
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0)) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => return Err(unavailable(path, "the file system lacks what SQLite's write-ahead log needs")),
            Err(error) if is_busy(&error) && since.elapsed() < timeout => thread::sleep(LOCK_RETRY_INTERVAL),
            Err(error) => return Err(translate(path, error)),
        }
    }
}

fn prepare_writing(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    let full = durability == Durability::Full;
    connection.pragma_update(None, "synchronous", if full { "full" } else { "normal" })?;
    connection.pragma_update(None, "fullfsync", full)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer_with(durability: Durability) -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = SqliteOptions::new().with_durability(durability);
        let opened = open(&folder.path().join("log.db"), &options).expect("a fresh store");
        (folder, opened.writer)
    }

    fn pragma(connection: &Connection, name: &str) -> i64 {
        connection.pragma_query_value(None, name, |row| row.get(0)).expect("a pragma")
    }

    #[test]
    fn durability_sets_how_sqlite_flushes() {
        let (_folder, full) = writer_with(Durability::Full);
        assert_eq!((pragma(&full, "synchronous"), pragma(&full, "fullfsync")), (2, 1));
        let (_folder, normal) = writer_with(Durability::Normal);
        assert_eq!((pragma(&normal, "synchronous"), pragma(&normal, "fullfsync")), (1, 0));
    }

    #[test]
    fn connection_without_the_right_to_write_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log.db");
        let options = SqliteOptions::new();
        drop(open(&path, &options).expect("a fresh store"));
        let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY, &options).expect("a connection");
        let error = refuse_read_only(&connection, &path).expect_err("it cannot write").to_string();
        assert!(error.contains("read-only; make it writable"), "{error}");
    }
}
