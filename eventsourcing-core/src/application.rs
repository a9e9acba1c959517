//! [`Application`]: load aggregates, let them decide, save what they decided.

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use jiff::Timestamp;
use tracing::warn;

use crate::retry::RetryPolicy;
use crate::root::{AnyRoot, LoadError};
use crate::save::{Ids, Part, Save};
use crate::snapshot::SnapshotPolicy;
use crate::store::{
    Append, Appended, CommandId, EventStore, Expected, LogPage, LogQuery, Name, Position, Receipt, StoreError,
    StreamQuery, Tracking, Version,
};
use crate::{
    Aggregate, AppError, Clock, Codec, Id, IdSource, IntoEvents, Metadata, RandomIds, Recorded, Rejected, Root,
    SystemClock,
};

/// A named part of a system that owns some aggregates.
///
/// A cheap handle: clones share the store. [`with`](Self::with) and [`command`](Self::command) give handles that
/// know more about who asks.
///
/// ```
/// # use eventsourcing_core::{Aggregate, Application, Root, event, store::MemoryStore};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Aggregate, Serialize, Deserialize)] struct Counter { count: u32 }
/// # #[event] impl Counter {
/// #     fn started() -> Self { Self { count: 0 } }
/// #     fn counted(&mut self, by: u32) { self.count += by; }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let app = Application::new("counters", MemoryStore::new());
/// let mut counter = Root::<Counter>::create(CounterEvent::Started);
/// app.save(&mut counter).await?;
/// app.update(counter.id(), |_: &Counter| Ok::<_, std::convert::Infallible>(CounterEvent::Counted { by: 2 })).await?;
/// assert_eq!(app.load(counter.id()).await?.count, 2);
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Application {
    name: Name,
    store: Arc<dyn EventStore>,
    settings: Arc<Settings>,
    context: Arc<Context>,
    hook: Arc<OnceLock<Weak<dyn AfterSave>>>,
}

/// How an application works, whoever asks.
#[derive(Clone)]
struct Settings {
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    codec: Codec,
    retry: RetryPolicy,
    snapshots: HashMap<TypeId, Arc<dyn SnapshotPolicy>>,
}

/// Who asks, and for what.
#[derive(Default)]
struct Context {
    metadata: Metadata,
    command_id: Option<CommandId>,
    new_ids: AtomicU32,
}

/// What a runner does when something was saved.
#[async_trait]
pub(crate) trait AfterSave: Send + Sync {
    async fn saved(&self);
}

impl Application {
    /// An application that keeps its events in `store`.
    #[must_use]
    pub fn new(name: impl Into<Name>, store: impl EventStore) -> Self {
        Self {
            name: name.into(),
            store: Arc::new(store),
            settings: Arc::new(Settings {
                clock: Arc::new(SystemClock),
                ids: Arc::new(RandomIds),
                codec: Codec::default(),
                retry: RetryPolicy::default(),
                snapshots: HashMap::new(),
            }),
            context: Arc::default(),
            hook: Arc::default(),
        }
    }

    /// Takes the time of events from `clock` instead of the machine.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.settings_mut().clock = Arc::new(clock);
        self
    }

    /// Takes new ids from `ids` instead of random numbers.
    #[must_use]
    pub fn with_ids(mut self, ids: impl IdSource) -> Self {
        self.settings_mut().ids = Arc::new(ids);
        self
    }

    /// Retries commands as `retry` says.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.settings_mut().retry = retry;
        self
    }

    /// Keeps snapshots of `A` as `policy` says instead of the aggregate's own policy.
    #[must_use]
    pub fn with_snapshots<A: Aggregate>(mut self, policy: impl SnapshotPolicy) -> Self {
        self.settings_mut().snapshots.insert(TypeId::of::<A>(), Arc::new(policy));
        self
    }

    fn settings_mut(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }

    /// A handle whose events carry this metadata.
    #[must_use]
    pub fn with(&self, metadata: Metadata) -> Self {
        let Context { command_id, .. } = *self.context;
        self.in_context(Context { metadata, command_id, ..Context::default() })
    }

    /// A handle for one command that may be retried: what it saves is written once, however often it is asked.
    ///
    /// The first save with the id is carried out; every later one, in any process, returns its receipt and writes
    /// nothing. So use a handle for one save. With a command id, saves are also retried while the store is
    /// unavailable, because then it is safe.
    #[must_use]
    pub fn command(&self, command_id: CommandId) -> Self {
        let metadata = self.context.metadata.clone();
        self.in_context(Context { metadata, command_id: Some(command_id), ..Context::default() })
    }

    fn in_context(&self, context: Context) -> Self {
        Self { context: Arc::new(context), ..self.clone() }
    }

    /// The name of the application in its system.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Where its events are.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn EventStore> {
        &self.store
    }

    /// An id for a new aggregate. Within a [command](Self::command) it follows from the command's id, so that a
    /// retried command creates the same aggregate.
    #[must_use]
    pub fn new_id<A: Aggregate>(&self) -> Id<A> {
        match self.context.command_id {
            None => Id::from_uuid(self.settings.ids.next_id()),
            Some(command) => {
                let number = self.context.new_ids.fetch_add(1, Ordering::Relaxed);
                Id::derived(command.as_uuid(), &number.to_string())
            }
        }
    }

    /// Saves all unsaved events of the given aggregates in one append: all or none.
    ///
    /// Give it `&mut root`, or several as a tuple: `save((&mut from, &mut to))`. Aggregates without unsaved events
    /// are left alone; to require that one has not changed, give `root.guard()`. If there is nothing to save the
    /// receipt's position is zero.
    ///
    /// After an error the aggregates keep their unsaved events. If this future is dropped the append may still
    /// happen, wholly or not at all.
    ///
    /// # Errors
    /// A conflict if somebody else has changed one of the aggregates: load and decide again, or use
    /// [`update`](Self::update) or [`retry`](Self::retry). Others as [`EventStore::append`].
    pub async fn save(&self, mut saved: impl Save) -> Result<Receipt, AppError> {
        self.save_parts(saved.parts()).await
    }

    async fn save_parts(&self, mut parts: Vec<Part<'_>>) -> Result<Receipt, AppError> {
        let append = self.encode(&parts)?;
        if append.event_count() == 0 {
            return Ok(Receipt::NOTHING);
        }
        let snapshots: Vec<_> = append.snapshots.iter().map(|snapshot| snapshot.stream.clone()).collect();
        let Appended { receipt, repeated } = self.append(append).await?;
        for root in roots(&mut parts) {
            match repeated && root.has_pending() {
                true => root.restore(self.store.load(root.load()).await?)?,
                false => root.saved(&snapshots),
            }
        }
        if let Some(runner) = self.hook.get().and_then(Weak::upgrade) {
            runner.saved().await;
        }
        Ok(receipt)
    }

    /// Appends, again and again while the store is unavailable if the command has an id.
    async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        if append.command_id.is_none() {
            return self.store.append(append).await;
        }
        let mut backoff = self.settings.retry.start("append");
        loop {
            match self.store.append(append.clone()).await {
                Err(error @ StoreError::Unavailable { .. }) => backoff.wait(error).await?,
                outcome => return outcome,
            }
        }
    }

    /// Creates an aggregate with what `decide` decides, and saves it under a [new id](Self::new_id).
    ///
    /// Within a [command](Self::command) that was carried out before, the id is that of the first time.
    ///
    /// # Errors
    /// [`Rejected::Domain`]: what `decide` refused with. [`Rejected::App`]: the store failed. Nothing was written,
    /// except as [`StoreError::Unavailable`] says.
    ///
    /// # Panics
    /// As [`Root::create`].
    pub async fn create<A, D, E>(&self, decide: impl FnOnce() -> Result<D, E> + Send) -> Result<Id<A>, Rejected<E>>
    where
        A: Aggregate,
        D: IntoEvents<A::Event>,
    {
        let id = self.new_id();
        let mut root = Root::<A>::with_id(id, decide().map_err(Rejected::Domain)?);
        self.save(&mut root).await?;
        Ok(id)
    }

    /// Loads the aggregate, lets it decide, and saves what it decided. If somebody else was faster it loads and
    /// decides again, so `decide` may run several times.
    ///
    /// Within a [command](Self::command) that was carried out before, the first receipt is returned, also if the
    /// aggregate would refuse by now.
    ///
    /// # Errors
    /// [`Rejected::Domain`]: what `decide` refused with. [`Rejected::App`]: no such aggregate, the store failed, or
    /// others were faster too often. Nothing was written, except as [`StoreError::Unavailable`] says.
    pub async fn update<A, D, E>(
        &self,
        id: Id<A>,
        decide: impl Fn(&A) -> Result<D, E> + Send + Sync,
    ) -> Result<Receipt, Rejected<E>>
    where
        A: Aggregate,
        D: IntoEvents<A::Event>,
        E: fmt::Display + Send,
    {
        self.retry(|| async {
            let mut root = self.load(id).await?;
            let decided = root.execute(&decide);
            self.carry_out(decided, vec![Part::Root(&mut root)]).await
        })
        .await
    }

    /// Loads several aggregates, lets them decide together, and saves what they decided in one append: all or none.
    /// Otherwise as [`update`](Self::update).
    ///
    /// ```
    /// # use eventsourcing_core::{Aggregate, Application, Id, Receipt, Rejected, event};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Aggregate, Serialize, Deserialize)] struct Jar { beans: u32 }
    /// # #[event] impl Jar {
    /// #     fn filled(beans: u32) -> Self { Self { beans } }
    /// #     fn added(&mut self, beans: u32) { self.beans += beans; }
    /// #     fn taken(&mut self, beans: u32) { self.beans -= beans; }
    /// # }
    /// # impl Jar {
    /// #     fn take(&self, beans: u32) -> Result<JarEvent, &'static str> {
    /// #         if beans > self.beans { Err("not enough beans") } else { Ok(JarEvent::Taken { beans }) }
    /// #     }
    /// # }
    /// async fn pour(app: &Application, from: Id<Jar>, to: Id<Jar>) -> Result<Receipt, Rejected<&'static str>> {
    ///     app.update_all((from, to), |(from, to)| {
    ///         from.execute(|jar| jar.take(3))?;
    ///         Ok(to.record(JarEvent::Added { beans: 3 }))
    ///     })
    ///     .await
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`update`](Self::update). The same id twice is [`StoreError::Invalid`].
    pub async fn update_all<I, E>(
        &self,
        ids: I,
        decide: impl Fn(&mut I::Roots) -> Result<(), E> + Send + Sync,
    ) -> Result<Receipt, Rejected<E>>
    where
        I: Ids,
        E: fmt::Display + Send,
    {
        self.retry(|| async {
            let mut roots = ids.load(self).await?;
            let decided = decide(&mut roots);
            self.carry_out(decided, I::parts(&mut roots)).await
        })
        .await
    }

    /// Saves what was decided. If it was refused or is nothing, the command may have been carried out before.
    async fn carry_out<E>(&self, decided: Result<(), E>, mut parts: Vec<Part<'_>>) -> Result<Receipt, Rejected<E>> {
        if let Err(refusal) = decided {
            return self.first_receipt().await?.ok_or(Rejected::Domain(refusal));
        }
        if !roots(&mut parts).any(|root| root.has_pending()) {
            return Ok(self.first_receipt().await?.unwrap_or(Receipt::NOTHING));
        }
        Ok(self.save_parts(parts).await?)
    }

    /// The receipt of this handle's command, if it was carried out before.
    ///
    /// # Errors
    /// The store failed.
    pub async fn first_receipt(&self) -> Result<Option<Receipt>, AppError> {
        match self.context.command_id {
            None => Ok(None),
            Some(command_id) => Ok(self.store.receipt(command_id).await?),
        }
    }

    /// Runs `attempt` again while it ends in a conflict, with growing waits, as often as the retry policy allows.
    /// For commands that [`update`](Self::update) and [`update_all`](Self::update_all) cannot express; `attempt` loads
    /// the aggregates anew each time.
    ///
    /// # Errors
    /// What the last attempt ended with.
    pub async fn retry<T, E, F>(&self, attempt: impl Fn() -> F + Send) -> Result<T, Rejected<E>>
    where
        E: fmt::Display + Send,
        F: Future<Output = Result<T, Rejected<E>>> + Send,
    {
        let mut backoff = self.settings.retry.start("command");
        loop {
            match attempt().await {
                Err(error) if error.is_conflict() => backoff.wait(error).await?,
                outcome => return outcome,
            }
        }
    }

    /// Loads an aggregate as it is now.
    ///
    /// # Errors
    /// [`AppError::NotFound`]: it has no events. Others as [`EventStore::load`].
    pub async fn load<A: Aggregate>(&self, id: Id<A>) -> Result<Root<A>, AppError> {
        self.find(id).await?.ok_or(AppError::NotFound { aggregate: A::NAME, id: id.as_uuid() })
    }

    /// Loads an aggregate as it is now, if there is one.
    ///
    /// # Errors
    /// As [`EventStore::load`].
    pub async fn find<A: Aggregate>(&self, id: Id<A>) -> Result<Option<Root<A>>, AppError> {
        self.load_to(id, Version::MAX).await
    }

    /// Loads an aggregate as it was at `version`. It can be looked at; saving changes to it is a conflict.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::NoSuchVersion`]: it has not come that far. Others as
    /// [`EventStore::load`].
    pub async fn load_at<A: Aggregate>(&self, id: Id<A>, version: Version) -> Result<Root<A>, AppError> {
        match self.load_to(id, version).await? {
            Some(root) if root.version() == version => Ok(root),
            _ => {
                let latest = self.load(id).await?.version();
                Err(AppError::NoSuchVersion { aggregate: A::NAME, id: id.as_uuid(), asked: version, latest })
            }
        }
    }

    async fn load_to<A: Aggregate>(&self, id: Id<A>, to: Version) -> Result<Option<Root<A>>, AppError> {
        match Root::from_loaded(id, self.store.load(Root::query(id, to, true)).await?) {
            Ok(root) => Ok(root),
            Err(LoadError::Store(error)) => Err(error.into()),
            Err(LoadError::Snapshot(error)) => {
                warn!(aggregate = A::NAME, %id, %error, "a snapshot cannot be used; reading all events");
                self.load_without_snapshot(id, to).await
            }
        }
    }

    async fn load_without_snapshot<A: Aggregate>(&self, id: Id<A>, to: Version) -> Result<Option<Root<A>>, AppError> {
        match Root::from_loaded(id, self.store.load(Root::query(id, to, false)).await?) {
            Ok(root) => Ok(root),
            Err(LoadError::Store(error)) => Err(error.into()),
            Err(LoadError::Snapshot(error)) => Err(StoreError::corrupt("a snapshot nobody asked for", error).into()),
        }
    }

    /// Keeps a snapshot of an aggregate as it is now, whatever the policy says.
    ///
    /// # Errors
    /// [`AppError::NotFound`], or the store failed.
    pub async fn snapshot<A: Aggregate>(&self, id: Id<A>) -> Result<(), AppError> {
        let root = self.load(id).await?;
        let snapshot = root.encode_snapshot(self.settings.codec);
        let snapshot = snapshot.map_err(|error| StoreError::Invalid { reason: error.to_string() })?;
        self.store.append(Append::new(self.now()).with_snapshot(snapshot)).await?;
        Ok(())
    }

    /// Everything that has happened to one aggregate, oldest first; nothing if there is no such aggregate.
    ///
    /// # Errors
    /// The store failed, or an event cannot be decoded.
    pub async fn history<A: Aggregate>(&self, id: Id<A>) -> Result<Vec<Recorded<A>>, AppError> {
        let events = self.store.read_stream(StreamQuery::new(id.stream())).await?;
        Ok(events.iter().map(Recorded::decode).collect::<Result<_, _>>()?)
    }

    /// A page of the log, as stored. It shows all applications that share the store.
    ///
    /// # Errors
    /// The store failed.
    pub async fn log(&self, query: LogQuery) -> Result<LogPage, AppError> {
        Ok(self.store.read_log(query).await?)
    }

    /// A page of the ids of all aggregates of one kind, in the order in which they were created.
    ///
    /// # Errors
    /// The store failed.
    pub async fn ids<A: Aggregate>(&self, after: Position, limit: usize) -> Result<IdPage<A>, AppError> {
        let query = LogQuery::after(after).limit(limit).categories([A::NAME]).first_of_stream();
        let LogPage { events, ceiling } = self.store.read_log(query).await?;
        Ok(IdPage { ids: events.iter().map(|event| Id::from_uuid(event.stream.id)).collect(), ceiling })
    }

    fn encode(&self, parts: &[Part<'_>]) -> Result<Append, StoreError> {
        let metadata = self.metadata().to_bytes()?;
        let mut append = Append::new(self.now());
        append.command_id = self.context.command_id;
        for part in parts {
            match part {
                Part::Guard(guard) => {
                    append = append.with_guard(guard.stream.clone(), Expected::Exact(guard.version));
                }
                Part::Root(root) if root.has_pending() => append = self.encode_root(append, *root, &metadata)?,
                Part::Root(_) => {}
            }
        }
        Ok(append)
    }

    fn encode_root(&self, mut append: Append, root: &dyn AnyRoot, metadata: &[u8]) -> Result<Append, StoreError> {
        let events = root.encode(self.settings.codec, metadata)?;
        let policy = self.settings.snapshots.get(&root.kind()).map(AsRef::as_ref);
        if root.is_snapshot_due(policy) {
            match root.encode_snapshot(self.settings.codec) {
                Ok(snapshot) => append = append.with_snapshot(snapshot),
                Err(error) => warn!(stream = %root.load().stream, %error, "no snapshot is kept"),
            }
        }
        Ok(append.with_events(root.load().stream, Expected::Exact(root.expected()), events))
    }

    /// One append with everything that a page of work has led to, and the follower's step.
    pub(crate) fn encode_work<'a>(
        &self,
        roots: impl Iterator<Item = &'a dyn AnyRoot>,
        tracking: Tracking,
    ) -> Result<Append, StoreError> {
        let append = Append::new(self.now()).with_tracking(tracking);
        roots.filter(|root| root.has_pending()).try_fold(append, |append, root| self.encode_root(append, root, &[]))
    }

    fn metadata(&self) -> Metadata {
        let metadata = self.context.metadata.clone();
        match metadata.correlation_id {
            Some(_) => metadata,
            None => metadata.with_correlation_id(self.settings.ids.next_id()),
        }
    }

    fn now(&self) -> Timestamp {
        self.settings.clock.now()
    }

    /// Has `runner` told of every save, from this handle and all its clones. The first runner stays.
    pub(crate) fn tell(&self, runner: Weak<dyn AfterSave>) {
        let _ = self.hook.set(runner);
    }
}

fn roots<'p, 'a: 'p>(parts: &'p mut [Part<'a>]) -> impl Iterator<Item = &'p mut (dyn AnyRoot + 'a)> {
    parts.iter_mut().filter_map(|part| match part {
        Part::Root(root) => Some(&mut **root),
        Part::Guard(_) => None,
    })
}

/// A page of ids.
#[derive(Clone, Debug)]
pub struct IdPage<A> {
    /// The ids, oldest aggregate first.
    pub ids: Vec<Id<A>>,
    /// Continue after it. The last page is the first one with fewer ids than asked for.
    pub ceiling: Position,
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application").field("name", &self.name).finish_non_exhaustive()
    }
}
