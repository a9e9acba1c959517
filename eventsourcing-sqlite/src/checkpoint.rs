//! Keeps the write-ahead log from growing without end.
//!
//! SQLite copies the log into the database by itself, but it can begin the log anew only at a moment when no reader
//! needs the old pages. While many readers overlap without a pause that moment does not come by itself, so a long log
//! makes the writer wait for it, and not for long.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::open::wait_for_locks;

/// SQLite tries to copy the log after this many pages of 4 KiB. Commits change the same pages again and again, and each is
/// copied once; so more pages cost less work, and more room on the disk.
pub(crate) const CHECKPOINT_PAGES: i64 = 8_000;
/// SQLite cuts the log's file back to this size when the log begins anew.
pub(crate) const WAL_BYTES_KEPT: i64 = 32 * 1024 * 1024;
/// How often the log's file is looked at, if there are commits.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The writer waits for readers when the log's file is longer than this.
const WAL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long each of its two tries waits for readers, not counting the time that copying takes.
const READERS_WAIT_MILLISECONDS_MAX: i32 = 250;

/// The length of a store's write-ahead log.
pub(crate) struct WalLength {
    file: PathBuf,
    bytes_max: u64,
    /// More than `bytes_max` after a reader has outlasted the writer's patience.
    next_try: u64,
    last_look: Instant,
    busy_timeout: Duration,
}

impl WalLength {
    pub(crate) fn new(path: &Path, busy_timeout: Duration) -> Self {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut file = OsString::from(path);
        file.push("-wal");
        let last_look = Instant::now();
        Self { file: file.into(), bytes_max: WAL_BYTES_MAX, next_try: WAL_BYTES_MAX, last_look, busy_timeout }
    }

    /// Shortens the log if it has become too long. What is committed stays committed, whatever happens.
    pub(crate) fn limit(&mut self, connection: &mut Connection) {
        if self.last_look.elapsed() >= LOOK_INTERVAL {
            self.last_look = Instant::now();
            self.limit_now(connection);
        }
    }

    fn limit_now(&mut self, connection: &mut Connection) {
        let bytes = fs::metadata(&self.file).map_or(0, |file| file.len());
        if bytes <= self.next_try {
            return;
        }
        let shortened = self.shorten(connection) || self.shorten(connection);
        tracing::debug!(wal = %self.file.display(), bytes, shortened, "the write-ahead log was too long");
        self.next_try = if shortened { self.bytes_max } else { bytes + self.bytes_max };
    }

    /// Whether it worked, and no reader was in the way.
    ///
    /// SQLite waits for the places that readers of old pages hold. A new reader may take such a place first, and others
    /// share it with that one; a second try knows that these readers are up to date and does not wait for them.
    fn shorten(&self, connection: &mut Connection) -> bool {
        let busy = wait_for_readers(connection)
            .and_then(|()| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0)));
        let restored = wait_for_locks(connection, self.busy_timeout);
        busy == Ok(false) && restored.is_ok()
    }
}

fn wait_for_readers(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_handler(Some(|waited_milliseconds| {
        thread::sleep(Duration::from_millis(1));
        waited_milliseconds < READERS_WAIT_MILLISECONDS_MAX
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SqliteOptions;

    const MIB: u64 = 1024 * 1024;

    fn write_mib(connection: &Connection) {
        let write = "CREATE TABLE IF NOT EXISTS big (bytes); INSERT INTO big VALUES (zeroblob(1048576))";
        connection.execute_batch(write).expect("a write");
    }

    #[test]
    fn long_log_is_shortened_once_no_reader_needs_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = SqliteOptions::new();
        let mut opened = crate::open::open(&folder.path().join("log.db"), &options).expect("a store");
        let mut length = WalLength::new(&opened.path, options.busy_timeout);
        (length.bytes_max, length.next_try) = (MIB / 2, MIB / 2);
        let bytes = |length: &WalLength| fs::metadata(&length.file).expect("a log").len();

        let reader = opened.readers[0].unchecked_transaction().expect("a read transaction");
        crate::read::head(&reader).expect("a moment");
        write_mib(&opened.writer);
        length.limit_now(&mut opened.writer);
        let before = bytes(&length);
        assert!(before >= MIB, "a reader needs it");
        assert!(length.next_try > before, "the next commit does not wait again");
        reader.commit().expect("the reader ends");

        write_mib(&opened.writer);
        length.limit_now(&mut opened.writer);
        assert_eq!(bytes(&length), 0);
        assert_eq!(length.next_try, MIB / 2);
    }
}
