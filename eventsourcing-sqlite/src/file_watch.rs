//! [`FileWatch`]: stops a store whose path no longer names the files that it has open.
//!
//! SQLite writes into the files that it has opened, whatever happens to their names. After `rm`, `mv` or a restore it
//! would go on in a file that cannot be found again. So each commit checks the names first, at the cost of three calls
//! of `stat`. A fault is final for the store, because the file may have been changed in other ways meanwhile.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use eventsourcing_core::store::{Position, StoreError};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};

use crate::content_token::{self, Token};
use crate::error::{translate_before_commit, unavailable};
use crate::file_identity::{Identity, Stamp, names_of};
use crate::read;

/// The interval at which reads check the names.
const READS_LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// The number of looks at content that does not fit before that is final, and the time for which content that cannot be
/// read alone is looked at: another process may be copying its log into the file.
const MISFITS_MAX: u32 = 20;
const UNREADABLE_TIME: Duration = Duration::from_millis(50);
const LOOK_AGAIN_INTERVAL: Duration = Duration::from_millis(5);

const REMOVED: &str = "was removed or renamed while this store had it open; stop this program, put the file back with its \
                       -wal or restore a backup, and open the store again";
const REPLACED: &str = "was replaced while this store had it open; stop this program and open the store again, which then \
                        uses what the path names now";
const RESTORED: &str = "was restored while this store had it open: its content is older than, or unrelated to, what this \
                        store has seen; stop this program and open the store again, which then uses what is there now";
const OVERWRITTEN: &str = "was overwritten while this store had it open, by a copy or a backup; stop this program, restore \
                           the file again, remove its -wal and -shm files, and open the store again";

/// Watches the file, its log and the index of its log.
pub(crate) struct FileWatch {
    path: Arc<Path>,
    parts: [Part; 3],
    approved: Mutex<Approved>,
    seen: Mutex<Seen>,
    /// The reason why the store cannot go on.
    lost: OnceLock<String>,
    /// `true` if SQLite itself wrote other content into the file that the path names.
    was_restored: AtomicBool,
    opened: Instant,
    /// The time of the last check by a read, in milliseconds since `opened`.
    read_looked: AtomicU64,
}

struct Part {
    path: PathBuf,
    identity: Identity,
}

/// The furthest state that was seen of the content, file and log together. SQLite's own backup can replace the content
/// by an ordinary transaction, which changes no name, and nothing in the file before the next checkpoint.
#[derive(Default)]
struct Seen {
    token: Option<Token>,
    head: Position,
    /// Changes with each commit of another connection.
    data_version: i64,
}

/// The state of the file in which its content was last found correct.
struct Approved {
    stamp: Stamp,
    /// `false` if a later write could have left the same stamp.
    is_settled: bool,
    /// `None` if the file could not be read alone.
    token: Option<Token>,
    names: u64,
}

/// The result of a look at the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileState {
    /// No write has reached the file.
    Same,
    /// The stamp is the same, but a write within the last clock tick could have left it too.
    Unsettled,
    /// The file was written: by another process that copied its log into it, or by accident.
    Written,
}

impl FileWatch {
    /// Watches the files that `connection` has just opened at `path`. `file` is the file that the path named at that
    /// time.
    pub(crate) fn new(
        path: &Arc<Path>,
        file: Identity,
        connection: &Connection,
    ) -> Result<Self, StoreError> {
        let real = fs::canonicalize(path).map_err(|error| cannot_look(path, &error))?;
        let found = metadata(path)?;
        let watch = Self {
            path: Arc::clone(path),
            parts: [
                Part {
                    path: path.to_path_buf(),
                    identity: file,
                },
                Part::beside(&real, "-wal")?,
                Part::beside(&real, "-shm")?,
            ],
            approved: Mutex::new(Approved {
                stamp: Stamp::of(&found),
                is_settled: false,
                token: None,
                names: 1,
            }),
            seen: Mutex::default(),
            lost: OnceLock::new(),
            was_restored: AtomicBool::new(false),
            opened: Instant::now(),
            read_looked: AtomicU64::new(0),
        };
        watch.check_content(connection)?;
        watch.check_continuation(connection)?;
        Ok(watch)
    }

    /// Checks the names.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the path names no file or another file, now or at an earlier look.
    pub(crate) fn look(&self) -> Result<FileState, StoreError> {
        self.look_closely().map(|(state, _)| state)
    }

    /// Checks the names, and the content if the file was written.
    pub(crate) fn check(&self, connection: &Connection) -> Result<FileState, StoreError> {
        let state = self.look()?;
        if state != FileState::Same {
            self.check_content(connection)?;
        }
        Ok(state)
    }

    /// Checks as [`check`](Self::check) does, unless a read has done so within the last interval.
    pub(crate) fn check_if_due(&self, connection: &Connection) -> Result<(), StoreError> {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        let interval = u64::try_from(READS_LOOK_INTERVAL.as_millis()).unwrap_or(u64::MAX);
        if self.lost.get().is_none()
            && now
                < self
                    .read_looked
                    .load(Ordering::Relaxed)
                    .saturating_add(interval)
        {
            return Ok(());
        }
        self.read_looked.store(now, Ordering::Relaxed);
        self.check(connection)?;
        self.check_continuation(connection)
    }

    /// Checks in an open transaction of the writer that the commits of others since the last transaction continue the
    /// known content.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the content is another one, or of an earlier time.
    pub(crate) fn check_before_write(&self, writer: &Connection) -> Result<(), StoreError> {
        let version = writer
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut get| get.query_row([], |row| row.get(0)));
        let version = version.map_err(|error| translate_before_commit(&self.path, error))?;
        if std::mem::replace(&mut self.seen().data_version, version) == version {
            return Ok(());
        }
        self.check_continuation(writer)
    }

    /// Records the head after a commit of the writer.
    pub(crate) fn note_head(&self, head: Position) {
        let mut seen = self.seen();
        seen.head = seen.head.max(head);
    }

    /// Checks that the content continues the content seen before.
    fn check_continuation(&self, connection: &Connection) -> Result<(), StoreError> {
        let found = {
            // The lock is held while the content is read. Otherwise a second thread could record a later head between
            // this read and this comparison, and the content would seem to have gone back.
            let mut seen = self.seen();
            let found = content_token::tokens(connection)
                .and_then(|tokens| Ok((tokens, read::head(connection)?)));
            found.map(|(tokens, head)| {
                let goes_on = head >= seen.head
                    && seen
                        .token
                        .as_ref()
                        .is_none_or(|token| tokens.go_on_from(token));
                (seen.token, seen.head) = (Some(tokens.last()), head.max(seen.head));
                goes_on
            })
        };
        match found {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.lose_content(connection)),
            // The read that follows finds any other fault and reports it.
            Err(_) => Ok(()),
        }
    }

    /// Compares the token in the file with the list that `connection` sees.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the content is another one, or of an earlier time.
    pub(crate) fn check_content(&self, connection: &Connection) -> Result<(), StoreError> {
        let since = Instant::now();
        let mut misfits = 0;
        loop {
            let file = self.look_closely()?.1;
            match content_token::token_in_file(&self.path) {
                Ok(in_file) if self.fits(connection, &in_file) => {
                    self.approve(&file, in_file);
                    return Ok(());
                }
                Ok(_) => misfits += 1,
                // A checkpoint never writes another header, so this is not a copy under way.
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
                    misfits += 1;
                }
                // Readers can keep a checkpoint from completing; then the file is unreadable without its log until the
                // next checkpoint, and that proves nothing.
                Err(_) if since.elapsed() > UNREADABLE_TIME => {
                    self.pass_over(&file);
                    return Ok(());
                }
                Err(_) => {}
            }
            if misfits == MISFITS_MAX {
                return Err(self.lose_content(connection));
            }
            thread::sleep(LOOK_AGAIN_INTERVAL);
        }
    }

    /// Returns `true` if the token in the file is in the list, and not before a token that the file has shown.
    fn fits(&self, connection: &Connection, in_file: &Token) -> bool {
        let Ok(known) = content_token::tokens(connection) else {
            return false;
        };
        match &self.approved().token {
            Some(before) => known.allow_after(in_file, before),
            None => known.allow(in_file),
        }
    }

    /// Accepts content that cannot be judged, until the file is written again.
    fn pass_over(&self, file: &Metadata) {
        let stamp = Stamp::of(file);
        let mut approved = self.approved();
        approved.is_settled = stamp.is_settled();
        approved.stamp = stamp;
    }

    fn approve(&self, file: &Metadata, token: Token) {
        let stamp = Stamp::of(file);
        let mut approved = self.approved();
        let names = self.warn_of_names(approved.names, file);
        *approved = Approved {
            stamp,
            is_settled: stamp.is_settled(),
            token: Some(token),
            names,
        };
    }

    /// Returns the reason why the store cannot go on, after a look at the names.
    pub(crate) fn fault(&self) -> Option<String> {
        let _told = self.look();
        let why = self.lost.get()?;
        Some(format!("{}: {why}", self.path.display()))
    }

    /// Returns the token that the file alone showed at the last look.
    pub(crate) fn token(&self) -> Option<Token> {
        self.approved().token.clone()
    }

    /// Returns the change to the file that explains an error of SQLite, if there was one.
    pub(crate) fn cause_of_failure(&self, connection: &Connection) -> Option<StoreError> {
        self.check(connection).err()
    }

    /// Returns `true` if the log holds other content and the file is unchanged. Until that log is copied into the file,
    /// the two do not belong together.
    pub(crate) fn is_restored_in_log(&self) -> bool {
        self.was_restored.load(Ordering::Relaxed)
            && self.parts.iter().all(|part| self.find(part).is_ok())
            && content_token::token_in_file(&self.path)
                .is_ok_and(|in_file| self.token() == Some(in_file))
    }

    /// Makes SQLite leave file and log untouched when `connection` is closed, if they no longer belong to this store.
    /// Otherwise closing would copy the log into a file with other content, or delete the log of another program.
    pub(crate) fn before_closing(&self, connection: &Connection) {
        if self.check(connection).is_err()
            && !self.is_restored_in_log()
            && let Err(error) =
                connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        {
            tracing::error!(path = %self.path.display(), %error, "SQLite may copy the write-ahead log into a file it does not belong to");
        }
    }

    fn look_closely(&self) -> Result<(FileState, Metadata), StoreError> {
        if let Some(why) = self.lost.get() {
            return Err(unavailable(&self.path, why));
        }
        let file = self.find(&self.parts[0])?;
        for part in &self.parts[1..] {
            self.find(part)?;
        }
        let approved = self.approved();
        let state = match (approved.stamp == Stamp::of(&file), approved.is_settled) {
            (true, true) => FileState::Same,
            (true, false) => FileState::Unsettled,
            (false, _) => FileState::Written,
        };
        drop(approved);
        Ok((state, file))
    }

    fn find(&self, part: &Part) -> Result<Metadata, StoreError> {
        match fs::metadata(&part.path) {
            Ok(found) if Identity::of(&found) == part.identity => Ok(found),
            Ok(_) => Err(self.lose(part, REPLACED)),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Err(self.lose(part, REMOVED))
            }
            // The file cannot be looked at, for example because the rights of its folder have changed. That may pass,
            // so it is not final.
            Err(error) => Err(cannot_look(&part.path, &error)),
        }
    }

    /// Handles content that is not the expected one. If the file is unchanged, SQLite itself wrote the new content,
    /// which is still in the log; if file and log belong together, it has been copied from there. In both cases nothing
    /// is damaged. In any other case the file was overwritten.
    fn lose_content(&self, connection: &Connection) -> StoreError {
        // Another process that has noticed too may be copying its log into the file at this moment.
        for _ in 0..MISFITS_MAX {
            if let Ok(in_file) = content_token::token_in_file(&self.path) {
                let is_in_log = self.token().as_ref() == Some(&in_file);
                if is_in_log
                    || content_token::tokens(connection).is_ok_and(|known| known.allow(&in_file))
                {
                    self.was_restored.store(is_in_log, Ordering::Relaxed);
                    return self.lose(&self.parts[0], RESTORED);
                }
            }
            thread::sleep(LOOK_AGAIN_INTERVAL);
        }
        self.lose(&self.parts[0], OVERWRITTEN)
    }

    fn lose(&self, part: &Part, what: &str) -> StoreError {
        let why = self.lost.get_or_init(|| {
            let why = match part.path == *self.path {
                true => format!("the file {what}"),
                false => format!("{} {what}", part.path.display()),
            };
            tracing::error!(path = %self.path.display(), why, "the sqlite store has stopped; open it again");
            why
        });
        unavailable(&self.path, why)
    }

    /// Logs a warning about hard links. They serve some as backups, and are harmless until a program opens the file by
    /// one.
    fn warn_of_names(&self, before: u64, file: &Metadata) -> u64 {
        let names = names_of(file);
        if names > 1 && names != before {
            let path = self.path.display();
            tracing::warn!(%path, names, "the file has several hard links; open it by one name only, or it will be damaged");
        }
        names
    }

    /// A panic while the lock is held cannot leave the state half changed, so a poisoned lock is used further.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A panic while the lock is held cannot leave the state half changed, so a poisoned lock is used further.
    fn approved(&self) -> MutexGuard<'_, Approved> {
        self.approved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    fn beside(file: &Path, ending: &str) -> Result<Self, StoreError> {
        let mut path = file.as_os_str().to_owned();
        path.push(ending);
        let path = PathBuf::from(path);
        let identity = Identity::of(&metadata(&path)?);
        Ok(Self { path, identity })
    }
}

/// Returns the metadata of the file that `path` names.
pub(crate) fn metadata(path: &Path) -> Result<Metadata, StoreError> {
    fs::metadata(path).map_err(|error| cannot_look(path, &error))
}

fn cannot_look(path: &Path, error: &std::io::Error) -> StoreError {
    unavailable(path, format_args!("cannot be looked at: {error}"))
}
