//! [`PostgresStore`]: implements the store trait with the parts of this crate.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use eventsourcing_core::sql::Database;
use eventsourcing_core::store::{
    Acknowledged, Append, Appended, AuditStore, CommandId, Epoch, EventStore, FollowerNotes,
    FollowerPosition, FollowerStore, FollowersQuery, Lease, LeaseHolder, LeaseRequest, LeaseToken,
    Load, Loaded, LogChecksum, LogChecksumsQuery, LogHolder, LogId, LogPage, LogQuery, LogSlice,
    Name, NotesQuery, Position, Receipt, StoreError, StoredEvent, StreamQuery, VisibleLog,
    noted_rejection,
};
use tokio::sync::watch;

use crate::acknowledged;
use crate::address::Endpoint;
use crate::checksums;
use crate::commit::{CommitNotifier, CommitQueue};
use crate::config::PostgresOptions;
use crate::database::PostgresDatabase;
use crate::epochs::Epochs;
use crate::lease;
use crate::log::Log;
use crate::log_holders;
use crate::notify::Waiting;
use crate::open::{Opened, open};
use crate::read;
use crate::readers::Readers;
use crate::signal::Signal;
use crate::tracking;

/// A store in a schema of a PostgreSQL database. Clones share its connections.
///
/// It needs a tokio runtime with I/O and time enabled that lives as long as the store: the runtime in which it was
/// connected. When the last clone is dropped, the queue is still committed and then the connections are closed;
/// [`close`](Self::close) waits for that.
///
/// Lost connections are replaced automatically. Until the server is back every call is [`StoreError::Unavailable`],
/// within the timeouts of [`PostgresOptions`].
#[derive(Clone)]
pub struct PostgresStore(Arc<Shared>);

struct Shared {
    endpoint: Endpoint,
    log_id: LogId,
    epochs: Epochs,
    readers: Readers,
    log: Log,
    waiting: Waiting,
    queue: CommitQueue,
    signal: Signal,
    database: Arc<PostgresDatabase>,
}

impl PostgresStore {
    /// Connects to the database at `url`, and creates the schema and its tables if there are none.
    ///
    /// `url` is written `postgres://user:password@host:port/database?sslmode=require`, or as words of libpq (`host=…
    /// dbname=…`). Every parameter of libpq is honoured or refused, as [the crate](crate#how-a-connection-is-made)
    /// lists them. Any number of processes may connect at the same time. If this future is dropped the schema may have
    /// been created.
    ///
    /// # Errors
    /// The contents of the database have not changed. No error shows the password.
    /// - [`StoreError::Unavailable`]: the server cannot be reached, refuses this role, has no such database, is a
    ///   replica, or kept its schema locked for longer than the statement timeout.
    /// - [`StoreError::Corrupt`]: the stored data contradicts itself.
    /// - [`StoreError::Invalid`]: `url` cannot be understood; the role lacks a privilege; there are tables of this
    ///   store's names with another structure; the database is not encoded in UTF-8; a pooler is not in session mode;
    ///   or a later release has written the schema, so upgrade the program.
    ///
    /// Promise P29 in `docs/store-contract.md`.
    pub async fn connect(url: impl AsRef<str>) -> Result<Self, StoreError> {
        Self::connect_with(url.as_ref(), PostgresOptions::new()).await
    }

    /// Connects to the store in the database at `url`, but creates neither schema nor tables where there is no store:
    /// for programs that only read, and for addresses whose misspelling must not create a new, empty store. An older
    /// schema is migrated.
    ///
    /// # Errors
    /// [`StoreError::NoStore`]: the database holds no store in this schema. Nothing was created. Otherwise those of
    /// [`connect`](Self::connect).
    ///
    /// Promise P29 in `docs/store-contract.md`.
    pub async fn connect_existing(url: impl AsRef<str>) -> Result<Self, StoreError> {
        PostgresOptions::new().connect_existing(url).await
    }

    /// Commits the queue, and closes the connections; reads under way complete. All clones are closed too: later calls
    /// are [`StoreError::Unavailable`]. Closing twice is harmless.
    ///
    /// If this future is dropped some parts of the store may be closed and others still open; call it again.
    pub async fn close(&self) {
        self.0.queue.close().await;
        self.0.signal.stop();
        self.0.readers.close();
        self.0.database.close();
    }

    pub(crate) async fn connect_with(
        url: &str,
        options: PostgresOptions,
    ) -> Result<Self, StoreError> {
        let Opened {
            sessions,
            log_id,
            client,
        } = open(url, &options).await?;
        let endpoint = sessions.endpoint.clone();
        let readers = Readers::new(&sessions, options.readers)?;
        let database = Arc::new(PostgresDatabase::new(&sessions, &options)?);
        let wakeups = watch::Sender::new(());
        let written = watch::Sender::new(Position::ZERO);

        let signal = Signal::start(
            sessions.clone(),
            log_id,
            written.subscribe(),
            wakeups.clone(),
        );
        let notifier = CommitNotifier {
            wakeups: wakeups.clone(),
            written,
        };
        let queue = CommitQueue::start(&sessions, log_id, client, options.writers, &notifier);
        let epochs = sessions.epochs.clone();
        let log = Log::new(&sessions);
        let waiting = Waiting::new(wakeups, epochs.clone(), options.poll_interval);
        Ok(Self(Arc::new(Shared {
            endpoint,
            log_id,
            epochs,
            readers,
            log,
            waiting,
            queue,
            signal,
            database,
        })))
    }
}

#[async_trait]
impl EventStore for PostgresStore {
    async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        append.validate()?;
        let append = append.with_rejection_as_note(self.0.log_id);
        self.0.queue.append(append).await
    }

    async fn read_stream(&self, query: StreamQuery) -> Result<Vec<StoredEvent>, StoreError> {
        self.0
            .readers
            .run(&query, |client, query| {
                Box::pin(read::stream(client, query))
            })
            .await
    }

    async fn load(&self, load: Load) -> Result<Loaded, StoreError> {
        self.0
            .readers
            .run(&load, |client, load| Box::pin(read::load(client, load)))
            .await
    }

    async fn read_log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        self.0.log.page(&self.0.readers, &query).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.0.log.head(&self.0.readers).await.map(|(_, head)| head)
    }

    async fn visible(&self, position: Position) -> Result<VisibleLog, StoreError> {
        self.0.log.visible(&self.0.readers, position).await
    }

    async fn newest_position(&self) -> Result<Position, StoreError> {
        self.0
            .readers
            .run(&(), |client, ()| Box::pin(read::newest(client)))
            .await
    }

    async fn receipt(&self, command_id: CommandId) -> Result<Option<Receipt>, StoreError> {
        let wanted = (self.0.log_id, command_id);
        self.0
            .readers
            .run(&wanted, |client, (log, id)| {
                Box::pin(read::receipt(client, *log, *id))
            })
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
        self.0
            .waiting
            .beyond(position, epoch, &self.0.log, &self.0.readers)
            .await
    }

    fn epoch(&self) -> Epoch {
        self.0.epochs.epoch()
    }

    async fn log_holders(&self) -> Result<Vec<LogHolder>, StoreError> {
        log_holders::find(&self.0.readers).await
    }

    async fn acknowledged(&self) -> Result<Acknowledged, StoreError> {
        acknowledged::find(&self.0.readers).await
    }

    fn log_id(&self) -> LogId {
        self.0.log_id
    }
}

#[async_trait]
impl FollowerStore for PostgresStore {
    async fn tracking(&self, follower: &Name, upstream: LogId) -> Result<Position, StoreError> {
        let wanted = (follower, upstream);
        let reading = self.0.readers.run(&wanted, |client, (follower, upstream)| {
            Box::pin(read::tracking(client, follower, *upstream))
        });
        reading.await
    }

    async fn followers(&self, query: FollowersQuery) -> Result<Vec<FollowerPosition>, StoreError> {
        self.0
            .readers
            .run(&query, |client, query| {
                Box::pin(tracking::followers(client, query))
            })
            .await
    }

    async fn notes(&self, query: NotesQuery) -> Result<FollowerNotes, StoreError> {
        self.0
            .readers
            .run(&query, |client, query| {
                Box::pin(tracking::notes(client, query))
            })
            .await
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Lease, StoreError> {
        request.validate()?;
        self.0
            .readers
            .run(&request, |client, request| {
                Box::pin(lease::take(client, request))
            })
            .await
    }

    async fn lease_holder(
        &self,
        follower: &Name,
        upstream: LogId,
    ) -> Result<Option<LeaseHolder>, StoreError> {
        self.0
            .readers
            .run(&(follower, upstream), |client, lease| {
                Box::pin(lease::holder(client, *lease))
            })
            .await
    }

    async fn release(
        &self,
        follower: &Name,
        upstream: LogId,
        token: LeaseToken,
    ) -> Result<(), StoreError> {
        let held = (follower, upstream, token);
        self.0
            .readers
            .run(&held, |client, held| {
                Box::pin(lease::release(client, *held))
            })
            .await
    }

    fn database(&self) -> Option<Arc<dyn Database>> {
        Some(Arc::clone(&self.0.database) as _)
    }

    fn audit(&self) -> Option<&dyn AuditStore> {
        Some(self)
    }
}

#[async_trait]
impl AuditStore for PostgresStore {
    async fn receipts(
        &self,
        after: Option<CommandId>,
        limit: usize,
    ) -> Result<Vec<Receipt>, StoreError> {
        let wanted = (self.0.log_id, after, limit);
        let reading = self.0.readers.run(&wanted, |client, (log, after, limit)| {
            Box::pin(read::receipts(client, *log, *after, *limit))
        });
        reading.await
    }

    async fn checksums(
        &self,
        query: LogChecksumsQuery,
    ) -> Result<BTreeMap<LogSlice, LogChecksum>, StoreError> {
        self.0
            .readers
            .run(&query, |client, query| {
                Box::pin(checksums::count(client, query))
            })
            .await
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared {
            endpoint, log_id, ..
        } = &*self.0;
        let endpoint = endpoint.to_string();
        f.debug_struct("PostgresStore")
            .field("endpoint", &endpoint)
            .field("log_id", log_id)
            .finish_non_exhaustive()
    }
}
