//! [`WriteAheadLog`]: copies SQLite's write-ahead log into the database file and keeps it short.
//!
//! The store runs checkpoints itself and adds a content token before and after each (see `content_token`), so that a
//! file and a log that do not belong together are told apart. SQLite can restart the log only at a moment when no
//! reader needs its old pages. While many readers overlap without a pause that moment does not come by itself, so the
//! writer waits a short time for it once the log is long.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use eventsourcing_core::store::{Position, StoreError};
use rusqlite::Connection;

use crate::content_token;
use crate::error::{translate, translate_before_commit};
use crate::file_watch::{FileState, FileWatch};
use crate::open::wait_for_locks;

/// The log is copied after this many pages of 4 KiB. Commits change the same pages again and again, and each changed
/// page is copied once: a larger number costs less work and more room on the disk.
const CHECKPOINT_PAGES: u32 = 8_000;
/// The number of further pages after which a checkpoint that readers blocked is retried.
const CHECKPOINT_AGAIN_PAGES: u32 = 1_000;
/// A store that has been open for this long copies its log once, however short the log is. Only then does the file show
/// a current token, which reveals an older copy that is put over it.
const CHECKPOINT_FIRST: Duration = Duration::from_millis(200);
/// SQLite truncates the log's file to this size when the log restarts.
pub(crate) const WAL_BYTES_KEPT: i64 = 32 * 1024 * 1024;
/// The interval between two looks at the length of the log's file, if there are commits.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The writer waits for readers when the log's file is longer than this.
const WAL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The time each of the two attempts waits for readers, not counting the time that copying takes.
const READERS_WAIT_MILLISECONDS_MAX: i32 = 250;
/// The number of commits that repeat the tokens while readers keep the log from restarting.
const REPEATS_MAX: u32 = 200;
/// The part of the log's header that differs each time the log restarts.
const SALTS: std::ops::Range<usize> = 16..24;

/// The change that the next commit makes to the list of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Nothing,
    /// Adds a token.
    Renew,
    /// Writes the list unchanged: the log was copied, and this commit may be the one that restarts it.
    Repeat {
        left: u32,
    },
}

/// The log of the writer's connection.
pub(crate) struct WriteAheadLog {
    path: Arc<Path>,
    watch: Arc<FileWatch>,
    length: WalLength,
    /// The number of pages in the log after the last commit, reported by SQLite's hook.
    pages: Arc<AtomicU32>,
    pages_before: u32,
    next_copy: u32,
    mark: Mark,
    /// The salts of the log at the time it was copied.
    copied: Option<[u8; 8]>,
    has_copied: bool,
    copies_after_commit: bool,
    /// `true` if anything was committed since the last token.
    is_used: bool,
    opened: Instant,
}

impl WriteAheadLog {
    pub(crate) fn new(
        path: &Arc<Path>,
        watch: Arc<FileWatch>,
        busy_timeout: Duration,
        writer: &mut Connection,
    ) -> Result<Self, StoreError> {
        let pages = Arc::<AtomicU32>::default();
        let counted = Arc::clone(&pages);
        let hook = move |_: &mut rusqlite::hooks::Wal, count: i32| {
            counted.store(count.unsigned_abs(), Ordering::Relaxed);
            Ok(())
        };
        writer
            .wal_hook(Some(hook))
            .map_err(|error| translate(path, error))?;
        Ok(Self {
            path: Arc::clone(path),
            watch,
            length: WalLength::new(path, busy_timeout),
            pages,
            pages_before: 0,
            next_copy: CHECKPOINT_PAGES,
            mark: Mark::Renew,
            copied: None,
            has_copied: false,
            copies_after_commit: false,
            is_used: false,
            opened: Instant::now(),
        })
    }

    /// Checks that the open transaction may write, and adds the token that is due.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the path names another file; the transaction has to be rolled back.
    pub(crate) fn begin(&mut self, transaction: &Connection) -> Result<(), StoreError> {
        if self
            .watch
            .check(transaction)
            .map_err(StoreError::before_commit)?
            == FileState::Written
        {
            // Another process has copied the log, so this commit may restart it. The first pages of the new log must
            // carry a token: the salts of the old log are remembered to notice the restart.
            self.copied = self.length.salts();
            self.mark = Mark::Renew;
        }
        self.watch
            .check_before_write(transaction)
            .map_err(StoreError::before_commit)?;
        self.copies_after_commit = self.is_copy_due();
        let marked = match self.mark {
            Mark::Renew => content_token::renew(transaction, self.watch.token().as_ref()),
            _ if self.copies_after_commit => {
                content_token::renew(transaction, self.watch.token().as_ref())
            }
            Mark::Repeat { .. } => content_token::repeat(transaction),
            Mark::Nothing => Ok(()),
        };
        marked.map_err(|error| translate_before_commit(&self.path, error))
    }

    /// Checks the names once more before a transaction that was open for a while is committed.
    pub(crate) fn before_commit(&self) -> Result<(), StoreError> {
        self.watch
            .look()
            .map(drop)
            .map_err(StoreError::before_commit)
    }

    /// Records that the transaction passed to [`begin`](Self::begin) is committed. `written` is its last position, or
    /// zero.
    pub(crate) fn committed(&mut self, written: Position) {
        self.watch.note_head(written);
        self.is_used = true;
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.pages_before {
            self.next_copy = CHECKPOINT_PAGES;
        }
        self.pages_before = pages;
        self.mark = match self.mark {
            Mark::Nothing => Mark::Nothing,
            _ if self.copied.is_none() || self.copied != self.length.salts() => Mark::Nothing,
            Mark::Renew => Mark::Repeat { left: REPEATS_MAX },
            Mark::Repeat { left: 0 } => Mark::Nothing,
            Mark::Repeat { left } => Mark::Repeat { left: left - 1 },
        };
    }

    /// Returns the change to the file that explains an error of SQLite, if there was one.
    pub(crate) fn cause_of_failure(&self, connection: &Connection) -> Option<StoreError> {
        self.watch.cause_of_failure(connection)
    }

    /// Copies the log if that is due, between commits. Committed events stay committed, whatever happens here.
    pub(crate) fn tidy(&mut self, connection: &mut Connection) {
        if self.watch.is_restored_in_log() {
            self.copy(connection);
        }
        // A log is never copied into a file with other content. The next commit reports the reason.
        if std::mem::take(&mut self.copies_after_commit) && self.watch.check(connection).is_ok() {
            self.copy(connection);
        }
        if let Some(bytes) = self.length.excess()
            && self.watch.check(connection).is_ok()
        {
            self.renew(connection);
            let is_empty = self.length.shorten(connection, bytes);
            self.has_been_copied(connection, is_empty);
        }
    }

    /// Prepares the writer's connection for closing.
    pub(crate) fn before_closing(&mut self, connection: &mut Connection) {
        if self.is_used && self.watch.check(connection).is_ok() {
            // Closing the last connection copies the log, and that flushes the log first. So the token needs no flush
            // of its own.
            let _slower_at_worst = connection.pragma_update(None, "synchronous", "normal");
            self.renew(connection);
        }
        self.watch.before_closing(connection);
    }

    fn is_copy_due(&self) -> bool {
        self.pages_before >= self.next_copy
            || (!self.has_copied && self.opened.elapsed() > CHECKPOINT_FIRST)
    }

    fn copy(&mut self, connection: &mut Connection) {
        let copied = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            let whole = row.get::<_, i64>(1)? == row.get::<_, i64>(2)?;
            Ok(!row.get::<_, bool>(0)? && whole)
        });
        if let Err(error) = &copied {
            tracing::warn!(path = %self.path.display(), %error, "the write-ahead log could not be copied into the file");
        }
        self.has_been_copied(connection, copied.unwrap_or(false));
    }

    fn has_been_copied(&mut self, connection: &Connection, whole: bool) {
        self.has_copied = true;
        self.next_copy = self
            .pages_before
            .max(CHECKPOINT_PAGES - CHECKPOINT_AGAIN_PAGES)
            + CHECKPOINT_AGAIN_PAGES;
        if whole {
            self.copied = self.length.salts();
            self.mark = Mark::Renew;
        }
        // The next commit reports a failed check.
        let _later = self.watch.check(connection);
    }

    /// Commits nothing but a new token.
    fn renew(&mut self, connection: &mut Connection) {
        let renewed = connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .and_then(|begun| {
                content_token::renew(&begun, self.watch.token().as_ref())?;
                begun.commit()
            });
        match renewed {
            Ok(()) => self.is_used = false,
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "no content token was added");
            }
        }
    }
}

/// The length of a store's write-ahead log, and the attempts to shorten it.
struct WalLength {
    file: PathBuf,
    bytes_max: u64,
    /// The length at which the log is shortened next: more than `bytes_max` after an attempt that readers blocked.
    next_try: u64,
    last_look: Instant,
    busy_timeout: Duration,
}

impl WalLength {
    fn new(path: &Path, busy_timeout: Duration) -> Self {
        let last_look = Instant::now();
        Self {
            file: wal_of(path),
            bytes_max: WAL_BYTES_MAX,
            next_try: WAL_BYTES_MAX,
            last_look,
            busy_timeout,
        }
    }

    /// Returns the part of the log's header that distinguishes the log from itself before its last restart. SQLite
    /// holds no locks on the log's file, so opening and closing it drops none.
    fn salts(&self) -> Option<[u8; 8]> {
        use std::io::Read;

        let mut header = [0; SALTS.end];
        fs::File::open(&self.file)
            .ok()?
            .read_exact(&mut header)
            .ok()?;
        header[SALTS].try_into().ok()
    }

    /// Returns the length of the log if it is too long.
    fn excess(&mut self) -> Option<u64> {
        if self.last_look.elapsed() < LOOK_INTERVAL {
            return None;
        }
        self.last_look = Instant::now();
        let bytes = fs::metadata(&self.file).map_or(0, |file| file.len());
        (bytes > self.next_try).then_some(bytes)
    }

    /// Shortens the log. Returns `true` if the log is empty now.
    fn shorten(&mut self, connection: &mut Connection, bytes: u64) -> bool {
        let shortened = self.try_to_shorten(connection) || self.try_to_shorten(connection);
        tracing::debug!(wal = %self.file.display(), bytes, shortened, "the write-ahead log was too long");
        self.next_try = if shortened {
            self.bytes_max
        } else {
            bytes + self.bytes_max
        };
        shortened
    }

    /// Returns `true` if the log was shortened and no reader blocked that.
    ///
    /// SQLite waits for the slots that readers of old pages hold. A new reader may take such a slot first and share it
    /// with others; a second attempt knows that these readers are up to date and does not wait for them.
    fn try_to_shorten(&self, connection: &mut Connection) -> bool {
        let busy = wait_for_readers(connection).and_then(|()| {
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                row.get::<_, bool>(0)
            })
        });
        let restored = wait_for_locks(connection, self.busy_timeout);
        busy == Ok(false) && restored.is_ok()
    }
}

/// Returns the path of the write-ahead log of the database at `path`. SQLite follows links before it adds the ending.
pub(crate) fn wal_of(path: &Path) -> PathBuf {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut file = OsString::from(path);
    file.push("-wal");
    file.into()
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
    use crate::open::{Opened, open};

    const MIB: u64 = 1024 * 1024;

    struct Bench {
        _folder: tempfile::TempDir,
        opened: Opened,
        log: WriteAheadLog,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let mut opened =
                open(&folder.path().join("log.db"), &SqliteOptions::new()).expect("a store");
            let timeout = SqliteOptions::BUSY_TIMEOUT_DEFAULT;
            let watch = Arc::clone(&opened.watch);
            let log = WriteAheadLog::new(&opened.path, watch, timeout, &mut opened.writer)
                .expect("a log");
            Self {
                _folder: folder,
                opened,
                log,
            }
        }

        fn commit(&mut self, sql: &str) {
            let transaction = self.opened.writer.transaction().expect("a transaction");
            self.log.begin(&transaction).expect("the file is there");
            transaction.execute_batch(sql).expect("a write");
            transaction.commit().expect("a commit");
            self.log.committed(Position::ZERO);
            self.log.tidy(&mut self.opened.writer);
        }

        fn write_mib(&mut self) {
            self.commit("CREATE TABLE IF NOT EXISTS big (bytes); INSERT INTO big VALUES (zeroblob(1048576))");
        }

        fn tokens(&self) -> content_token::Tokens {
            content_token::tokens(&self.opened.writer).expect("tokens")
        }

        fn in_file(&self) -> content_token::Token {
            content_token::token_in_file(&self.opened.path).expect("the file can be read alone")
        }
    }

    fn bytes(bench: &Bench) -> u64 {
        fs::metadata(&bench.log.length.file).expect("a log").len()
    }

    fn shorten_now(bench: &mut Bench) {
        bench.log.length.last_look = Instant::now()
            .checked_sub(LOOK_INTERVAL)
            .expect("a time before");
        bench.log.tidy(&mut bench.opened.writer);
    }

    #[test]
    fn long_log_is_shortened_once_no_reader_needs_it() {
        let mut bench = Bench::new();
        bench.log.length.bytes_max = MIB / 2;
        bench.log.length.next_try = MIB / 2;
        let idle = bench.opened.readers.pop().expect("a reader");
        let reader = idle.unchecked_transaction().expect("a read transaction");
        crate::read::head(&reader).expect("a moment");
        bench.write_mib();
        shorten_now(&mut bench);
        let before = bytes(&bench);
        assert!(before >= MIB, "a reader needs it");
        assert!(
            bench.log.length.next_try > before,
            "the next commit does not wait again"
        );
        reader.commit().expect("the reader ends");

        bench.write_mib();
        shorten_now(&mut bench);
        assert_eq!((bytes(&bench), bench.log.length.next_try), (0, MIB / 2));
    }

    #[test]
    fn log_is_copied_after_so_many_pages_and_the_file_shows_the_newest_token() {
        let mut bench = Bench::new();
        bench.log.next_copy = 100;
        bench.write_mib();
        let tokens = bench.tokens();
        let before = bench.in_file();
        assert!(tokens.allow(&before), "the file shows what it was before");
        bench.commit("INSERT INTO big VALUES (1)");
        assert!(bench.log.has_copied);
        assert!(
            !tokens.allow(&bench.in_file()),
            "the token before the copy is a new one"
        );
        assert!(bench.tokens().allow(&bench.in_file()));
        bench.commit("INSERT INTO big VALUES (2)");
        let begun_anew = bench.tokens();
        assert!(
            begun_anew.allow(&bench.in_file()) && !begun_anew.allow(&before),
            "the file has passed that"
        );
        bench.commit("INSERT INTO big VALUES (3)");
        assert_eq!(
            (bench.tokens(), bench.log.mark),
            (begun_anew, Mark::Nothing),
            "no commit pays for tokens any more"
        );
    }

    #[test]
    fn tokens_are_repeated_until_the_log_begins_anew() {
        let mut bench = Bench::new();
        bench.write_mib();
        let idle = bench.opened.readers.pop().expect("a reader");
        bench.log.next_copy = 1;
        bench.commit("INSERT INTO big VALUES (1)");
        let reader = idle.unchecked_transaction().expect("a read transaction");
        crate::read::head(&reader).expect("a moment of the log that is not begun anew");
        let salts = bench.log.length.salts();
        bench.commit("INSERT INTO big VALUES (2)");
        if bench.log.length.salts() == salts {
            assert!(
                matches!(bench.log.mark, Mark::Repeat { .. }),
                "{:?}",
                bench.log.mark
            );
        }
        reader.commit().expect("the reader ends");
        for _ in 0..REPEATS_MAX + 2 {
            bench.commit("INSERT INTO big VALUES (3)");
        }
        assert_eq!(bench.log.mark, Mark::Nothing);
    }
}
