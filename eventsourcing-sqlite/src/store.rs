//! [`SqliteStore`]: implements the store trait with the parts of this crate.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use eventsourcing_core::sql::Database;
use eventsourcing_core::store::{
    Acknowledged, Append, Appended, AuditStore, CommandId, Durability, Epoch, EventStore,
    FollowerNotes, FollowerPosition, FollowerStore, FollowersQuery, Lease, LeaseHolder,
    LeaseRequest, LeaseToken, Load, Loaded, LogChecksum, LogChecksumsQuery, LogId, LogPage,
    LogQuery, LogSlice, Name, NotesQuery, Position, Receipt, StoreError, StoredEvent, StreamQuery,
    VisibleLog, noted_rejection,
};
use tokio::task::spawn_blocking;

use crate::checkpoint::WriteAheadLog;
use crate::checksums;
use crate::commit::CommitQueue;
use crate::config::SqliteOptions;
use crate::database::SqliteDatabase;
use crate::file_watch::FileWatch;
use crate::lease;
use crate::notify::{Head, Waiting};
use crate::open::{Opened, open, open_in_memory};
use crate::read;
use crate::readers::Readers;
use crate::tracking;

const FULL: &str = "open the file with Durability::Full to have each append wait for the disk";
const BACKUPS: &str = "backups (docs/backups.md) lack the last events; docs/beyond-one-machine.md has a set-up that loses none";

/// A store in an SQLite file. Clones share its connections.
///
/// It needs a tokio runtime with the time driver enabled. When the last clone is dropped, the queue is still committed
/// and then the file is closed. Dropping waits a moment for that, so that a program that exits leaves one tidy file;
/// [`close`](Self::close) waits until it is done and blocks no other task.
///
/// ```
/// use eventsourcing_core::store::{EventStore, Position};
/// use eventsourcing_sqlite::SqliteStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let store = SqliteStore::open(folder.path().join("bank.db")).await?;
/// assert_eq!(store.head().await?, Position::ZERO);
/// store.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqliteStore(Arc<Shared>);

/// Fields are dropped from top to bottom. The writer's connection, in `queue`, must be the last to be closed: only the
/// writer can copy the write-ahead log and remove it.
struct Shared {
    path: Arc<Path>,
    log_id: LogId,
    /// `durability` and `watch` are `None` for a store in memory.
    durability: Option<Durability>,
    watch: Option<Arc<FileWatch>>,
    readers: Readers,
    waiting: Waiting,
    queue: Arc<CommitQueue>,
}

impl SqliteStore {
    /// Opens the store in the file at `path`, and creates file and tables if there are none.
    ///
    /// The folder must exist. The file may hold tables of other programs; they are left alone, except that the journal
    /// mode of the whole file becomes WAL. Any number of processes may open the same file at the same time. If this
    /// future is dropped the file may have been created.
    ///
    /// # Errors
    /// The contents of the file have not changed.
    /// - [`StoreError::Unavailable`]: the folder does not exist, the path is a folder, the file or folder is read-only,
    ///   or another process kept the file locked for longer than the busy timeout.
    /// - [`StoreError::Corrupt`]: the file is not an SQLite database, or it has tables of this store's names with
    ///   another structure.
    /// - [`StoreError::Invalid`]: a later release has written the file, so upgrade the program. Or the write-ahead log
    ///   (`-wal`) beside the file belongs to another file, or the file is missing; the message says what to do.
    ///
    /// The path must name this file as long as the store is open. If the file, its `-wal` or its `-shm` is removed,
    /// renamed, replaced or overwritten, each later append, step and transaction is [`StoreError::Unavailable`] with
    /// the reason, and reads are too after a moment, until the store is opened again. So no event is acknowledged that
    /// would be in another file than the path names.
    ///
    /// Promises P29, F1 and F2 in `docs/store-contract.md`.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path.as_ref(), SqliteOptions::new()).await
    }

    /// Opens the store in the file at `path`, but creates neither file nor tables where there is no store: for programs
    /// that only read, and for paths whose misspelling must not create a new, empty store. An older schema is migrated.
    ///
    /// ```
    /// use eventsourcing_core::store::StoreError;
    /// use eventsourcing_sqlite::SqliteStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let folder = tempfile::tempdir().expect("a folder");
    /// let mistyped = folder.path().join("bnak.db");
    /// let error = SqliteStore::open_existing(&mistyped).await.expect_err("there is no such file");
    /// assert!(matches!(error, StoreError::NoStore { .. }) && !mistyped.exists());
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError::NoStore`]: the file does not exist, or holds no store. Nothing was created. Otherwise those of
    /// [`open`](Self::open).
    ///
    /// Promise P29 in `docs/store-contract.md`.
    pub async fn open_existing(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        SqliteOptions::new().open_existing(path).await
    }

    /// Creates a new store in memory: for tests, and for read models beside a
    /// [`MemoryStore`](eventsourcing_core::store::MemoryStore). It is lost with its last clone.
    ///
    /// A single connection serves all tasks one after the other. Reads wait while a [transaction](Database::begin) is
    /// open, so a task that reads from the store within its own transaction waits for itself.
    ///
    /// ```
    /// use eventsourcing_core::store::FollowerStore;
    /// use eventsourcing_core::values;
    /// use eventsourcing_sqlite::SqliteStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = SqliteStore::in_memory()?;
    /// let database = store.database().expect("it has one");
    /// let mut transaction = database.begin().await?;
    /// transaction.execute("CREATE TABLE balances (account TEXT PRIMARY KEY, amount BIGINT)", &[]).await?;
    /// transaction.execute("INSERT INTO balances VALUES ($1, $2)", &values!["Ada", 100]).await?;
    /// transaction.commit().await?;
    /// let rows = database.query("SELECT amount FROM balances WHERE account = $1", &values!["Ada"]).await?;
    /// assert_eq!(rows[0].get::<i64>("amount")?, 100);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: memory or a thread for the store is missing.
    pub fn in_memory() -> Result<Self, StoreError> {
        let (path, log_id, connection) = open_in_memory()?;
        let head = Head::new();
        let poll_interval = SqliteOptions::POLL_INTERVAL_DEFAULT;
        let queue = Arc::new(CommitQueue::start(
            connection,
            log_id,
            &path,
            None,
            head.clone(),
        )?);
        let readers = Readers::Writer(Arc::clone(&queue));
        let watcher = Readers::Writer(Arc::clone(&queue));
        let waiting = Waiting::new(head, watcher, poll_interval);
        Ok(Self(Arc::new(Shared {
            path,
            log_id,
            durability: None,
            watch: None,
            readers,
            waiting,
            queue,
        })))
    }

    /// Commits the queue, waits for the reads under way, and closes the file. All clones are closed too: later calls
    /// are [`StoreError::Unavailable`]. An open transaction is rolled back. Closing twice is harmless.
    ///
    /// If this future is dropped some parts of the store may be closed and others still open; call it again.
    pub async fn close(&self) {
        self.0.readers.close().await;
        self.0.waiting.close().await;
        self.0.queue.close().await;
    }

    pub(crate) async fn open_with(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        let owned = path.to_owned();
        let SqliteOptions {
            poll_interval,
            busy_timeout,
            durability,
            ..
        } = options;
        let opened = spawn_blocking(move || open(&owned, &options)).await;
        let opened = opened
            .map_err(|error| StoreError::unavailable("opening the store was aborted", error))??;
        let Opened {
            path,
            log_id,
            watch,
            mut writer,
            readers,
            watcher,
        } = opened;
        let head = Head::new();
        let readers = Readers::new(Arc::clone(&path), Arc::clone(&watch), readers);
        let watcher = Readers::new(Arc::clone(&path), Arc::clone(&watch), vec![watcher]);
        let waiting = Waiting::new(head.clone(), watcher, poll_interval);
        let wal = WriteAheadLog::new(&path, Arc::clone(&watch), busy_timeout, &mut writer)?;
        let queue = Arc::new(CommitQueue::start(writer, log_id, &path, Some(wal), head)?);
        let shared = Shared {
            path,
            log_id,
            durability: Some(durability),
            watch: Some(watch),
            readers,
            waiting,
            queue,
        };
        Ok(Self(Arc::new(shared)))
    }

    pub(crate) fn path(&self) -> Arc<Path> {
        Arc::clone(&self.0.path)
    }

    pub(crate) fn watch(&self) -> Option<&Arc<FileWatch>> {
        self.0.watch.as_ref()
    }

    pub(crate) fn readers(&self) -> &Readers {
        &self.0.readers
    }

    pub(crate) fn queue(&self) -> &CommitQueue {
        &self.0.queue
    }
}

#[async_trait]
impl EventStore for SqliteStore {
    async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        append.validate()?;
        append.check_epoch(Epoch::FIRST)?;
        let append = append.with_rejection_as_note(self.0.log_id);
        self.0.queue.append(append).await
    }

    async fn read_stream(&self, query: StreamQuery) -> Result<Vec<StoredEvent>, StoreError> {
        self.0
            .readers
            .run(move |connection| read::stream(connection, &query))
            .await
    }

    async fn load(&self, load: Load) -> Result<Loaded, StoreError> {
        self.0
            .readers
            .run(|connection| read::load(connection, load))
            .await
    }

    async fn read_log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        Epoch::FIRST.check(query.epoch)?;
        self.0
            .readers
            .run(move |connection| read::log(connection, &query))
            .await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.0.readers.run(read::head).await
    }

    /// The writer assigns positions while it commits, so every visible position is decided.
    async fn newest_position(&self) -> Result<Position, StoreError> {
        self.head().await
    }

    async fn visible(&self, position: Position) -> Result<VisibleLog, StoreError> {
        self.0
            .readers
            .run(move |connection| read::visible(connection, position))
            .await
    }

    async fn receipt(&self, command_id: CommandId) -> Result<Option<Receipt>, StoreError> {
        let log = self.0.log_id;
        self.0
            .readers
            .run(move |connection| read::receipt(connection, log, command_id))
            .await
    }

    async fn rejection(&self, command_id: CommandId) -> Result<Option<String>, StoreError> {
        noted_rejection(self, command_id).await
    }

    async fn wait_beyond(
        &self,
        position: Position,
        epoch: Option<Epoch>,
    ) -> Result<Position, StoreError> {
        Epoch::FIRST.check(epoch)?;
        self.0.waiting.beyond(position).await
    }

    /// Always the first epoch: a handle keeps to one file, which forgets nothing.
    fn epoch(&self) -> Epoch {
        Epoch::FIRST
    }

    async fn acknowledged(&self) -> Result<Acknowledged, StoreError> {
        Ok(match self.0.durability {
            Some(Durability::Full) => Acknowledged::OnDisk {
                remedy: BACKUPS.to_owned(),
            },
            Some(Durability::Normal) => Acknowledged::Written {
                remedy: FULL.to_owned(),
            },
            None => Acknowledged::InMemory,
        })
    }

    fn log_id(&self) -> LogId {
        self.0.log_id
    }

    fn fault(&self) -> Option<String> {
        self.0.watch.as_ref()?.fault()
    }
}

#[async_trait]
impl FollowerStore for SqliteStore {
    async fn tracking(&self, follower: &Name, upstream: LogId) -> Result<Position, StoreError> {
        let follower = follower.clone();
        self.0
            .readers
            .run(move |connection| tracking::position(connection, &follower, upstream))
            .await
    }

    async fn followers(&self, query: FollowersQuery) -> Result<Vec<FollowerPosition>, StoreError> {
        self.0
            .readers
            .run(move |connection| tracking::followers(connection, query))
            .await
    }

    async fn notes(&self, query: NotesQuery) -> Result<FollowerNotes, StoreError> {
        self.0
            .readers
            .run(move |connection| tracking::notes(connection, &query))
            .await
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Lease, StoreError> {
        request.validate()?;
        self.0.queue.lease(request).await
    }

    async fn lease_holder(
        &self,
        follower: &Name,
        upstream: LogId,
    ) -> Result<Option<LeaseHolder>, StoreError> {
        let follower = follower.clone();
        self.0
            .readers
            .run(move |connection| lease::holder(connection, &follower, upstream))
            .await
    }

    async fn release(
        &self,
        follower: &Name,
        upstream: LogId,
        token: LeaseToken,
    ) -> Result<(), StoreError> {
        self.0
            .queue
            .release(follower.clone(), upstream, token)
            .await
    }

    fn database(&self) -> Option<Arc<dyn Database>> {
        Some(Arc::new(SqliteDatabase(self.clone())))
    }

    fn audit(&self) -> Option<&dyn AuditStore> {
        Some(self)
    }
}

#[async_trait]
impl AuditStore for SqliteStore {
    async fn receipts(
        &self,
        after: Option<CommandId>,
        limit: usize,
    ) -> Result<Vec<Receipt>, StoreError> {
        let log = self.0.log_id;
        self.0
            .readers
            .run(move |connection| read::receipts(connection, log, after, limit))
            .await
    }

    async fn checksums(
        &self,
        query: LogChecksumsQuery,
    ) -> Result<BTreeMap<LogSlice, LogChecksum>, StoreError> {
        self.0
            .readers
            .run(move |connection| checksums::count(connection, &query))
            .await
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { path, log_id, .. } = &*self.0;
        f.debug_struct("SqliteStore")
            .field("path", path)
            .field("log_id", log_id)
            .finish_non_exhaustive()
    }
}
