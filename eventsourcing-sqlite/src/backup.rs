//! [`SqliteStore::backup`]: copies a store that is in use into one file.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use eventsourcing_core::store::{Position, StoreError};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::config::SqliteOptions;
use crate::content_token;
use crate::error::{translate, unavailable};
use crate::open::connect_to_read;
use crate::read;
use crate::readers::Readers;
use crate::store::SqliteStore;

/// The number of pages copied between two progress reports, 4 MiB.
const PAGES_PER_STEP: i32 = 1_024;
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// The progress of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupProgress {
    /// The pages that have been copied.
    pub pages: u64,
    /// The pages of the whole store.
    pub of: u64,
}

/// The extent of a finished backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// The position of the last event in the copy.
    pub head: Position,
    /// The length of the copy in bytes.
    pub bytes: u64,
}

impl SqliteStore {
    /// Copies the store, as of one moment, into a new file at `path`: events, snapshots, positions of followers and the
    /// tables of read models. Writers are not blocked meanwhile.
    ///
    /// The copy is one file without a write-ahead log, it is on the disk when this returns, and it can be opened like
    /// any other store. It gets its name when it is complete; until then the file is called `path` with a random part
    /// and `.partial`. Damage in the store is copied as well, so verify the copy.
    ///
    /// The write-ahead log of the store cannot restart while a backup runs, so it grows with every commit. If this
    /// future is dropped the copy is aborted and removed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use eventsourcing_sqlite::SqliteStore;
    /// # let folder = tempfile::tempdir()?;
    /// let store = SqliteStore::open(folder.path().join("bank.db")).await?;
    /// let copied = store.backup(folder.path().join("copy.db")).await?;
    /// println!("{} bytes, up to position {}", copied.bytes, copied.head);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`StoreError::Invalid`]: `path` names an existing file, which is left as it is.
    /// - [`StoreError::Unavailable`]: the copy cannot be written, or the store cannot be read.
    ///
    /// After an error there is no new file at `path`.
    pub async fn backup(&self, path: impl AsRef<Path>) -> Result<BackedUp, StoreError> {
        self.backup_with(path, |_| {}).await
    }

    /// Copies the store as [`backup`](Self::backup) does, and reports to `progress` from another thread.
    ///
    /// # Errors
    /// Those of [`backup`](Self::backup).
    pub async fn backup_with(
        &self,
        path: impl AsRef<Path>,
        progress: impl FnMut(BackupProgress) + Send + 'static,
    ) -> Result<BackedUp, StoreError> {
        let copy = Copy::to(path.as_ref())?;
        let wanted = Wanted(Arc::default());
        let dropped = Arc::clone(&wanted.0);
        let store = self.clone();
        let Some(watch) = self.watch().cloned() else {
            let make = move |source: &Connection| Ok(copy.make(source, &dropped, progress));
            return match self.readers() {
                Readers::Writer(queue) => queue.read(make).await?,
                pool @ Readers::Pool(_) => pool.run(make).await?,
            };
        };
        let copied = spawn_blocking(move || {
            watch.look()?;
            let source = connect_to_read(&store.path(), &SqliteOptions::new())?;
            watch.check(&source)?;
            copy.make(&source, &dropped, progress)
        });
        copied
            .await
            .map_err(|error| StoreError::unavailable("the backup was aborted", error))?
    }
}

/// Tells the copying thread when the future that waits for it is dropped.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A copy under construction: it is written to `partial` and then renamed to `target`.
struct Copy {
    target: PathBuf,
    partial: PathBuf,
}

impl Copy {
    fn to(target: &Path) -> Result<Self, StoreError> {
        let target = std::path::absolute(target).map_err(|error| cannot_write(target, error))?;
        if target.symlink_metadata().is_ok() {
            return Err(exists(&target));
        }
        let mut partial = target.clone().into_os_string();
        partial.push(format!(".{}.partial", Uuid::new_v4().simple()));
        Ok(Self {
            target,
            partial: partial.into(),
        })
    }

    fn make(
        &self,
        source: &Connection,
        dropped: &AtomicBool,
        progress: impl FnMut(BackupProgress),
    ) -> Result<BackedUp, StoreError> {
        let cannot = |error| translate(&self.target, error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut copy = Connection::open_with_flags(&self.partial, flags).map_err(cannot)?;
        let head = self.fill(source, &mut copy, dropped, progress)?;
        finish(&copy).map_err(cannot)?;
        copy.close().map_err(|(_, error)| cannot(error))?;
        let bytes = self.name().map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => exists(&self.target),
            _ => cannot_write(&self.target, error),
        })?;
        Ok(BackedUp { head, bytes })
    }

    /// Copies the snapshot of one open read transaction. Without that transaction SQLite would restart the copy at each
    /// commit of another connection, and a busy store would never be copied.
    fn fill(
        &self,
        source: &Connection,
        copy: &mut Connection,
        dropped: &AtomicBool,
        mut progress: impl FnMut(BackupProgress),
    ) -> Result<Position, StoreError> {
        let cannot = |error| translate(&self.target, error);
        // An incomplete copy is discarded after a crash, so nothing is flushed before the end.
        copy.execute_batch("PRAGMA journal_mode = off; PRAGMA synchronous = off")
            .map_err(cannot)?;
        let moment = source.unchecked_transaction().map_err(cannot)?;
        let head = read::head(&moment).map_err(cannot)?;
        let backup = Backup::new(&moment, copy).map_err(cannot)?;
        loop {
            let step = backup.step(PAGES_PER_STEP).map_err(cannot)?;
            let done = backup.progress();
            let of = u64::from(done.pagecount.unsigned_abs());
            progress(BackupProgress {
                pages: of - u64::from(done.remaining.unsigned_abs()).min(of),
                of,
            });
            match step {
                StepResult::Done => return Ok(head),
                StepResult::Busy | StepResult::Locked => thread::sleep(BUSY_PAUSE),
                _ => {}
            }
            if dropped.load(Ordering::Relaxed) {
                return Err(unavailable(&self.target, "the backup was aborted"));
            }
        }
    }

    /// Flushes the copy and gives it its name, unless that name has been taken meanwhile. Returns the length of the
    /// copy.
    fn name(&self) -> std::io::Result<u64> {
        let file = File::options().read(true).write(true).open(&self.partial)?;
        file.sync_all()?;
        // The copy is complete and flushed before it gets its name. A crash after the link leaves it with both names, and
        // the partial one can be removed.
        match fs::hard_link(&self.partial, &self.target) {
            Ok(()) => fs::remove_file(&self.partial)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
            // The file system has no hard links. An empty file reserves the name until the copy replaces it, because a
            // rename alone would overwrite a file that was created meanwhile. A crash in between leaves the empty file.
            Err(_) => {
                File::create_new(&self.target)?;
                fs::rename(&self.partial, &self.target)?;
            }
        }
        #[cfg(unix)]
        if let Some(folder) = self.target.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(file.metadata()?.len())
    }
}

impl Drop for Copy {
    /// Removes the partial file, which no longer exists once the copy has its name.
    fn drop(&mut self) {
        let _none = fs::remove_file(&self.partial);
    }
}

/// Turns the copy into a single file with a content token of its own: a store in use notices when the copy is put over
/// its file.
fn finish(copy: &Connection) -> rusqlite::Result<()> {
    copy.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
    content_token::renew_copy(copy)
}

fn exists(path: &Path) -> StoreError {
    let reason = format!(
        "{}: this exists, and a backup overwrites nothing; choose another name",
        path.display()
    );
    StoreError::Invalid { reason }
}

fn cannot_write(path: &Path, error: std::io::Error) -> StoreError {
    StoreError::unavailable(
        format!("{}: cannot be written: {error}", path.display()),
        error,
    )
}
