//! [`FileWatch`]: refuses to go on when the path no longer names what this store has open.
//!
//! SQLite writes into the files that it has opened, whatever becomes of their names. After `rm`, `mv` or a restore it would go on
//! in a file that nobody can find again. So each commit looks at the names first: three calls of `stat`, some microseconds.
//! What was found once is final for the store, since nobody knows what else has happened to the file meanwhile.

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

use crate::error::{translate_before_commit, unavailable};
use crate::file_identity::{Identity, Stamp, names_of};
use crate::content_token::{self, Token};
use crate::read;

/// How often reads look at the names.
const READS_LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How often a content that does not fit is looked at before that is final, and how long one that cannot be read alone: another
/// process may just be copying its log into the file.
const MISFITS_MAX: u32 = 20;
const UNREADABLE_TIME: Duration = Duration::from_millis(50);
const LOOK_AGAIN_INTERVAL: Duration = Duration::from_millis(5);

const REMOVED: &str = "was removed or renamed while this store had it open; stop this program, put the file back with its \
                       -wal or restore a backup, and open the store again";
const REPLACED: &str = "was replaced while this store had it open; stop this program and open the store again, which then \
                        uses what the path names now";
const RESTORED: &str = "was restored while this store had it open: it is of an earlier time or of another life than what this store \
                        has seen; stop this program and open the store again, which then uses what is there now";
const OVERWRITTEN: &str = "was overwritten while this store had it open, by a copy or a backup; stop this program, restore \
                           the file again, remove its -wal and -shm files, and open the store again";

/// Watches the file, its log and the index of its log.
pub(crate) struct FileWatch {
    path: Arc<Path>,
    parts: [Part; 3],
    approved: Mutex<Approved>,
    seen: Mutex<Seen>,
    /// Why the store cannot go on.
    lost: OnceLock<String>,
    /// Another content was written by way of SQLite, into the file that the path names.
    was_restored: AtomicBool,
    opened: Instant,
    /// When a read looked last, in milliseconds since `opened`.
    read_looked: AtomicU64,
}

struct Part {
    path: PathBuf,
    identity: Identity,
}

/// The furthest that was seen of the content, file and log together. SQLite's own backup can write another content into them by a
/// transaction like any other, which changes no name and nothing in the file before the next checkpoint.
#[derive(Default)]
struct Seen {
    token: Option<Token>,
    head: Position,
    /// Changes with each commit of another connection.
    data_version: i64,
}

/// The state of the file in which its content was found to be right.
struct Approved {
    stamp: Stamp,
    /// A write may have followed without leaving another stamp.
    is_settled: bool,
    /// Unknown if the file could not be read alone.
    token: Option<Token>,
    names: u64,
}

/// What a look at the names has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Nothing has written to the file.
    Same,
    /// The same, but a write a moment ago could look like this too.
    Unsettled,
    /// Somebody has written to the file: another process that copies its log into it, or an accident.
    Written,
}

impl FileWatch {
    /// Watches what `connection` has just opened at `path`. `file` is what the path named when it was opened.
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
        watch.check_course(connection)?;
        Ok(watch)
    }

    /// Looks at the names.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the path names nothing or something else, now or at an earlier look.
    pub(crate) fn look(&self) -> Result<Sight, StoreError> {
        self.look_closely().map(|(sight, _)| sight)
    }

    /// Looks at the names, and at the content if somebody has written to the file.
    pub(crate) fn check(&self, connection: &Connection) -> Result<Sight, StoreError> {
        let sight = self.look()?;
        if sight != Sight::Same {
            self.check_content(connection)?;
        }
        Ok(sight)
    }

    /// [`check`](Self::check), if no read has done it lately.
    pub(crate) fn check_now_and_then(&self, connection: &Connection) -> Result<(), StoreError> {
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
        self.check_course(connection)
    }

    /// Requires of an open transaction of the writer that what others have committed since the last one goes on from there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the content is of another life, or of an earlier time.
    pub(crate) fn check_before_write(&self, writer: &Connection) -> Result<(), StoreError> {
        let version = writer
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut get| get.query_row([], |row| row.get(0)));
        let version = version.map_err(|error| translate_before_commit(&self.path, error))?;
        if std::mem::replace(&mut self.seen().data_version, version) == version {
            return Ok(());
        }
        self.check_course(writer)
    }

    /// The writer has committed up to here.
    pub(crate) fn note_head(&self, head: Position) {
        let mut seen = self.seen();
        seen.head = seen.head.max(head);
    }

    /// Requires that the content goes on from what was seen before.
    fn check_course(&self, connection: &Connection) -> Result<(), StoreError> {
        let found = {
            // Held while the content is read: what was read before somebody noted more would seem to have gone back.
            let mut seen = self.seen();
            let found =
                content_token::tokens(connection).and_then(|tokens| Ok((tokens, read::head(connection)?)));
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
            // What else is wrong is found and told by whoever reads what they came for.
            Err(_) => Ok(()),
        }
    }

    /// Compares the token in the file with those that `connection` sees.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the content is of another life, or of an earlier time.
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
                // No copying process writes another header.
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
                    misfits += 1
                }
                // Where readers keep a copy from being completed, the file makes no sense without its log until the next one.
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

    /// What the file shows is in the list, and not behind what it has shown before.
    fn fits(&self, connection: &Connection, in_file: &Token) -> bool {
        let Ok(known) = content_token::tokens(connection) else {
            return false;
        };
        match &self.approved().token {
            Some(before) => known.allow_after(in_file, before),
            None => known.allow(in_file),
        }
    }

    /// Looks no more at a content that shows nothing, until somebody writes to the file again.
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

    /// Returns why the store cannot go on, after a look at the names.
    pub(crate) fn fault(&self) -> Option<String> {
        let _told = self.look();
        let why = self.lost.get()?;
        Some(format!("{}: {why}", self.path.display()))
    }

    /// The token that the file shows alone, as of the last look.
    pub(crate) fn token(&self) -> Option<Token> {
        self.approved().token.clone()
    }

    /// Returns what an error of SQLite comes from, if it comes from what happened to the file.
    pub(crate) fn cause_of_failure(&self, connection: &Connection) -> Option<StoreError> {
        self.check(connection).err()
    }

    /// Returns `true` if another content stands in the log, and the file is still what it was: until the log is copied into it, the
    /// two seem to be of two lives.
    pub(crate) fn is_restored_in_log(&self) -> bool {
        self.was_restored.load(Ordering::Relaxed)
            && self.parts.iter().all(|part| self.find(part).is_ok())
            && content_token::token_in_file(&self.path).is_ok_and(|in_file| self.token() == Some(in_file))
    }

    /// Has SQLite leave file and log as they are when `connection` is closed, if they are not this store's any more: the
    /// log would be copied into a file of another life, or the log of another program would be deleted.
    pub(crate) fn before_closing(&self, connection: &Connection) {
        if self.check(connection).is_err()
            && !self.is_restored_in_log()
            && let Err(error) =
                connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        {
            tracing::error!(path = %self.path.display(), %error, "the log may be copied into the file");
        }
    }

    fn look_closely(&self) -> Result<(Sight, Metadata), StoreError> {
        if let Some(why) = self.lost.get() {
            return Err(unavailable(&self.path, why));
        }
        let file = self.find(&self.parts[0])?;
        for part in &self.parts[1..] {
            self.find(part)?;
        }
        let approved = self.approved();
        let sight = match (approved.stamp == Stamp::of(&file), approved.is_settled) {
            (true, true) => Sight::Same,
            (true, false) => Sight::Unsettled,
            (false, _) => Sight::Written,
        };
        drop(approved);
        Ok((sight, file))
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
            // Such as a folder whose rights have changed: it passes, and until then nobody knows.
            Err(error) => Err(cannot_look(&part.path, &error)),
        }
    }

    /// The content is not what it was. If the file is, the new content was written by way of SQLite and stands in the log; if file
    /// and log belong together, it was copied from there into the file. Either way nothing is damaged.
    fn lose_content(&self, connection: &Connection) -> StoreError {
        // Another process that has noticed too may just be copying its log into the file.
        for _ in 0..MISFITS_MAX {
            if let Ok(in_file) = content_token::token_in_file(&self.path) {
                let is_in_log = self.token().as_ref() == Some(&in_file);
                if is_in_log || content_token::tokens(connection).is_ok_and(|known| known.allow(&in_file)) {
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
            tracing::error!(path = %self.path.display(), why, "the store refuses to go on");
            why
        });
        unavailable(&self.path, why)
    }

    /// A hard link is a backup to some, and harmless until a program opens the file by it.
    fn warn_of_names(&self, before: u64, file: &Metadata) -> u64 {
        let names = names_of(file);
        if names > 1 && names != before {
            let path = self.path.display();
            tracing::warn!(%path, names, "the file has several names; open it by one of them only, or it is damaged");
        }
        names
    }

    /// A panic while the lock is held cannot leave it half changed.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A panic while the lock is held cannot leave it half changed.
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

/// What `path` names.
pub(crate) fn metadata(path: &Path) -> Result<Metadata, StoreError> {
    fs::metadata(path).map_err(|error| cannot_look(path, &error))
}

fn cannot_look(path: &Path, error: &std::io::Error) -> StoreError {
    unavailable(path, format_args!("cannot be looked at: {error}"))
}
