//! From a path to connections. Every fault is found before anything is written.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use eventsourcing_core::store::{Durability, LogId, StoreError};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::checkpoint::{WAL_BYTES_KEPT, wal_of};
use crate::config::{IfAbsent, SqliteOptions};
use crate::error::{is_busy, is_damage, translate, unavailable};
use crate::file_identity::Identity;
use crate::file_watch::FileWatch;
use crate::{content_token, schema, temporary};

/// The pause between two attempts to get a lock. It is short and constant, so that a process with little to write gets
/// a lock between the commits of one that writes without a pause.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(1);
/// The number of statements kept prepared on each connection. The store has about thirty; the others are those of read
/// models.
const STATEMENTS_CACHED: usize = 128;
const CACHE_KIB: i64 = 8 * 1024;

/// The connections of a store, and what was found while they were opened.
pub(crate) struct Opened {
    pub(crate) path: Arc<Path>,
    pub(crate) log_id: LogId,
    pub(crate) watch: Arc<FileWatch>,
    pub(crate) writer: Connection,
    pub(crate) readers: Vec<Connection>,
    /// Reads the head for waiting tasks. It is a connection of its own, so that long reads do not delay wake-ups.
    pub(crate) watcher: Connection,
}

/// Opens the file at `path` and migrates its schema. Blocks.
pub(crate) fn open(path: &Path, options: &SqliteOptions) -> Result<Opened, StoreError> {
    let path: Arc<Path> = locate(path)?.into();
    refuse_log_without_file(&path)?;
    if options.if_absent == IfAbsent::Refuse && !path.exists() {
        return Err(no_store(&path, "there is no such file"));
    }
    refuse_use_by_another_name(&path)?;
    let (mut writer, file) = connect_to_what_is_named(&path, options)?;
    refuse_read_only(&writer, &path)?;
    refuse_stale_log(&writer, &path)?;
    let found = schema::refuse_newer(&writer, &path)?;
    if options.if_absent == IfAbsent::Refuse && found == schema::NONE {
        return Err(no_store(&path, "the file holds no store of events"));
    }
    switch_to_wal(&writer, &path, options.busy_timeout)?;
    prepare_writing(&writer, options.durability).map_err(|error| translate(&path, error))?;
    let log_id = schema::migrate(&mut writer, &path)?;
    let reader = || connect_to_read(&path, options);
    let readers = (0..options.readers)
        .map(|_| reader())
        .collect::<Result<_, _>>()?;
    let watcher = reader()?;
    let watch = Arc::new(FileWatch::new(&path, file, &writer)?);
    leave_log_when_closed(&writer, false).map_err(|error| translate(&path, error))?;
    tracing::debug!(path = %path.display(), %log_id, "sqlite store opened");
    Ok(Opened {
        path,
        log_id,
        watch,
        writer,
        readers,
        watcher,
    })
}

/// Connects a reader, which never runs checkpoints.
pub(crate) fn connect_to_read(
    path: &Path,
    options: &SqliteOptions,
) -> Result<Connection, StoreError> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, options)?;
    leave_log_when_closed(&connection, true).map_err(|error| translate(path, error))?;
    Ok(connection)
}

/// Sets whether closing the last connection leaves the log in place. By default SQLite copies the log into the file and
/// deletes it; that must not happen before it is known that both belong together.
fn leave_log_when_closed(connection: &Connection, leave: bool) -> rusqlite::Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, leave)
        .map(drop)
}

/// Connects the writer, and returns the identity of the file that the path named both before and after. On an overlay
/// file system the file becomes another one when it is first opened for writing; the second attempt finds it stable.
fn connect_to_what_is_named(
    path: &Path,
    options: &SqliteOptions,
) -> Result<(Connection, Identity), StoreError> {
    const TRIES_MAX: usize = 5;
    let named = || fs::metadata(path).ok().map(|file| Identity::of(&file));
    for _ in 0..TRIES_MAX {
        let before = named();
        let create = match options.if_absent {
            IfAbsent::Create => OpenFlags::SQLITE_OPEN_CREATE,
            IfAbsent::Refuse => OpenFlags::empty(),
        };
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | create, options)?;
        leave_log_when_closed(&connection, true).map_err(|error| translate(path, error))?;
        if let (Some(before), Some(after)) = (before, named())
            && before == after
        {
            return Ok((connection, after));
        }
    }
    Err(unavailable(
        path,
        "the file is being replaced; open the store again when that is done",
    ))
}

/// Refuses an empty or missing file beside a log. SQLite silently deletes the log of an empty file, and with it events
/// that may exist nowhere else.
///
/// The log is checked first: while another process creates the store, the file has content before there is a log.
fn refuse_log_without_file(path: &Path) -> Result<(), StoreError> {
    let bytes_of = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    let log = wal_of(path);
    if bytes_of(&log) == 0 || bytes_of(path) > 0 {
        return Ok(());
    }
    let why = format!(
        "the file is missing or empty, but its write-ahead log {} is there and may hold the last events; put the file \
         back that it belongs to, or move the log away to begin with an empty store",
        log.display()
    );
    Err(StoreError::Invalid {
        reason: format!("{}: {why}", path.display()),
    })
}

/// Refuses a file that a program has open by another name: a hard link, or a file that is mounted in a second place.
/// Each name has a log of its own, and the two would overwrite each other's pages.
///
/// A process that has the file open by this name has a log beside it. Locks on a file without such a log are held under
/// another name. Other processes that check at the same moment have released their locks at the next attempt.
fn refuse_use_by_another_name(path: &Path) -> Result<(), StoreError> {
    const TIMEOUT: Duration = Duration::from_secs(2);
    let since = Instant::now();
    loop {
        let is_empty = fs::metadata(path).map_or(0, |file| file.len()) == 0;
        if is_empty || wal_of(path).exists() {
            return Ok(());
        }
        match lock_alone(path) {
            Err(error) if is_busy(&error) && since.elapsed() < TIMEOUT => {
                thread::sleep(Duration::from_millis(fastrand::u64(1..8)));
            }
            Err(error) if is_busy(&error) => break,
            // The steps that follow find any other fault and report it.
            _ => return Ok(()),
        }
    }
    let why = "a program has this file open by another name, such as a hard link or a mounted copy of the path; open it by one \
               name only";
    Err(unavailable(path, why))
}

/// Locks the file exclusively for a moment, or fails at once.
fn lock_alone(path: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::ZERO)?;
    connection.execute_batch("PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE; ROLLBACK")
}

/// Refuses a log that another file left behind, before any of its pages get into this one. Reads only.
fn refuse_stale_log(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    const WAL_HEADER_BYTES: u64 = 32;
    // A process that is copying its log is in a later state at the next look, so a single mismatch proves nothing.
    const LOOKS: usize = 60;
    let log = wal_of(path);
    for look in 0..LOOKS {
        if fs::metadata(&log).map_or(0, |file| file.len()) <= WAL_HEADER_BYTES {
            return Ok(());
        }
        if look > 0 {
            thread::sleep(Duration::from_millis(5));
        }
        let in_file = content_token::token_in_file(path);
        match (in_file, content_token::tokens(connection)) {
            (Ok(in_file), Ok(known)) if known.allow(&in_file) => return Ok(()),
            // A crash interrupted a checkpoint. The log still holds every page, and SQLite copies them again.
            (Err(_), Ok(_)) => return Ok(()),
            (_, Err(error)) if !is_damage(&error) => return Err(translate(path, error)),
            (Err(_), Err(error)) if look + 1 == LOOKS => return Err(translate(path, error)),
            _ => {}
        }
    }
    let why = format!(
        "the write-ahead log {} belongs to another file or to earlier content of this one; nothing was changed. If the file \
         is a restored backup, remove {} and its -shm file and open the store again; if the log holds the events that you \
         want, put back the file it belongs to",
        log.display(),
        log.display()
    );
    Err(StoreError::Invalid {
        reason: format!("{}: {why}", path.display()),
    })
}

fn no_store(path: &Path, why: &str) -> StoreError {
    StoreError::NoStore {
        reason: format!("{}: {why}", path.display()),
    }
}

/// Creates a store in memory, which has a single connection.
pub(crate) fn open_in_memory() -> Result<(Arc<Path>, LogId, Connection), StoreError> {
    let path: Arc<Path> = Path::new(":memory:").into();
    let connection = Connection::open_in_memory()
        .and_then(|connection| prepare(&connection).map(|()| connection));
    let mut connection = connection.map_err(|error| translate(&path, error))?;
    let log_id = schema::migrate(&mut connection, &path)?;
    Ok((path, log_id, connection))
}

/// Returns the absolute path, which SQLite takes literally. It would read `file:…` as a URI and an empty path as a
/// temporary file.
fn locate(path: &Path) -> Result<PathBuf, StoreError> {
    if path.as_os_str() == ":memory:" {
        let reason =
            "this is not the name of a file; use SqliteStore::in_memory or MemoryStore".to_owned();
        return Err(StoreError::Invalid { reason });
    }
    let cannot = |error| {
        StoreError::unavailable(
            format!("the path {:?} cannot be used", path.display()),
            error,
        )
    };
    let path = std::path::absolute(path).map_err(cannot)?;
    match fs::metadata(&path) {
        Ok(found) if found.is_dir() => {
            Err(unavailable(&path, "this is a folder; name a file in it"))
        }
        Ok(_) => Ok(path),
        Err(error) if error.kind() == ErrorKind::NotFound => refuse_missing_folder(path),
        Err(error) => Err(StoreError::unavailable(
            format!("{}: {error}", path.display()),
            error,
        )),
    }
}

fn refuse_missing_folder(path: PathBuf) -> Result<PathBuf, StoreError> {
    match path.parent() {
        Some(folder) if !folder.is_dir() => Err(unavailable(
            &path,
            format_args!(
                "the folder {} does not exist; create it first",
                folder.display()
            ),
        )),
        _ => Ok(path),
    }
}

fn connect(
    path: &Path,
    flags: OpenFlags,
    options: &SqliteOptions,
) -> Result<Connection, StoreError> {
    let connect = || {
        let mut connection =
            Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        wait_for_locks(&mut connection, options.busy_timeout)?;
        prepare(&connection)?;
        Ok(connection)
    };
    connect().map_err(|error: rusqlite::Error| translate(path, error))
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    temporary::keep_in_memory_without_folder(connection)?;
    // Plans must not depend on values: SQLite would plan nearly every statement again when its values change.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    rusqlite::vtab::array::load_module(connection)
}

/// Waits at most `timeout` for each lock.
///
/// SQLite's own handler sleeps longer with each attempt, so the process that has waited longest has the least chance.
pub(crate) fn wait_for_locks(
    connection: &mut Connection,
    timeout: Duration,
) -> rusqlite::Result<()> {
    let mut since = Instant::now();
    connection.busy_handler(Some(move |tries| {
        if tries == 0 {
            since = Instant::now();
        }
        thread::sleep(LOCK_RETRY_INTERVAL);
        since.elapsed() < timeout
    }))
}

/// Refuses a file that is not writable. SQLite would open it read-only and fail at the first append.
fn refuse_read_only(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    match connection.is_readonly("main") {
        Ok(false) => Ok(()),
        Ok(true) => Err(unavailable(
            path,
            "the file is read-only; make it writable for this user",
        )),
        Err(error) => Err(translate(path, error)),
    }
}

/// Switches the journal to WAL. SQLite does not call the busy handler when several processes switch at the same time,
/// so this retries itself.
fn switch_to_wal(
    connection: &Connection,
    path: &Path,
    timeout: Duration,
) -> Result<(), StoreError> {
    let since = Instant::now();
    loop {
        match connection
            .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))
        {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => {
                return Err(unavailable(
                    path,
                    "the file system lacks what SQLite's write-ahead log needs",
                ));
            }
            Err(error) if is_busy(&error) && since.elapsed() < timeout => {
                thread::sleep(LOCK_RETRY_INTERVAL);
            }
            Err(error) => return Err(translate(path, error)),
        }
    }
}

fn prepare_writing(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    let (synchronous, fullfsync) = match durability {
        Durability::Full => ("full", true),
        Durability::Normal => ("normal", false),
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "fullfsync", fullfsync)?;
    // The writer runs checkpoints itself, with a token before and after: see `checkpoint.rs`.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
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
        connection
            .pragma_query_value(None, name, |row| row.get(0))
            .expect("a pragma")
    }

    #[test]
    fn durability_sets_how_sqlite_flushes() {
        let (_folder, full) = writer_with(Durability::Full);
        assert_eq!(
            (pragma(&full, "synchronous"), pragma(&full, "fullfsync")),
            (2, 1)
        );
        let (_folder, normal) = writer_with(Durability::Normal);
        assert_eq!(
            (pragma(&normal, "synchronous"), pragma(&normal, "fullfsync")),
            (1, 0)
        );
    }

    #[test]
    fn connection_without_the_right_to_write_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log.db");
        let options = SqliteOptions::new();
        drop(open(&path, &options).expect("a fresh store"));
        let connection =
            connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY, &options).expect("a connection");
        let error = refuse_read_only(&connection, &path)
            .expect_err("it cannot write")
            .to_string();
        assert!(error.contains("read-only; make it writable"), "{error}");
    }
}
