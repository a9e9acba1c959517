//! [`Application`]: load aggregates, let them decide, save what they decided.

mod attempts;
mod group_commit;
mod load;
mod new_ids;
mod ownership;
mod parts;
mod refusal;
mod save;
mod update;

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use jiff::Timestamp;

use group_commit::Cache;
pub use load::IdPage;
pub(crate) use ownership::Owners;
pub use parts::{RootIds, Saveable};
pub use update::Created;

#[cfg(feature = "zstd")]
use crate::Compression;
use crate::aggregate::snapshot::SnapshotPolicy;
use crate::codec::Encoding;
use crate::retry::RetryPolicy;
use crate::store::{CommandId, EventStore, Name};
use crate::{Aggregate, Clock, Codec, Id, IdSource, Metadata, RandomIds, SystemClock};

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
/// app.update(counter.id(), |_| CounterEvent::Counted { by: 2 }).await?;
/// assert_eq!(app.load(counter.id()).await?.count, 2);
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Application {
    name: Name,
    store: Arc<dyn EventStore>,
    settings: Arc<Settings>,
    context: Arc<Context>,
    cache: Arc<Cache>,
    hook: Arc<OnceLock<Weak<dyn AfterSave>>>,
}

/// The settings of an application, shared by all its handles.
#[derive(Clone)]
struct Settings {
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    encoding: Encoding,
    retry: RetryPolicy,
    snapshots: HashMap<TypeId, Arc<dyn SnapshotPolicy>>,
    /// The owners of all aggregates; `None`: the application is not part of a system.
    owners: Option<Arc<Owners>>,
}

/// The caller's metadata and command.
#[derive(Default)]
struct Context {
    metadata: Metadata,
    command_id: Option<CommandId>,
    /// The number of ids that the command has drawn; handles of one command share it.
    new_ids: Arc<AtomicU32>,
}

/// A runner's reaction to a save.
#[async_trait]
pub(crate) trait AfterSave: Send + Sync {
    async fn saved(&self);
}

impl Application {
    /// The number of cached aggregates, unless [`with_cache`](Self::with_cache) sets another.
    pub const CACHED_AGGREGATES_DEFAULT: usize = 1_000;

    /// An application that keeps its events in `store`.
    #[must_use]
    pub fn new(name: impl Into<Name>, store: impl EventStore) -> Self {
        Self {
            name: name.into(),
            store: Arc::new(store),
            settings: Arc::new(Settings {
                clock: Arc::new(SystemClock),
                ids: Arc::new(RandomIds),
                encoding: Encoding::default(),
                retry: RetryPolicy::default(),
                snapshots: HashMap::new(),
                owners: None,
            }),
            context: Arc::default(),
            cache: Arc::new(Cache::new(Self::CACHED_AGGREGATES_DEFAULT)),
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

    /// Writes events and snapshots by `codec` from now on. What is stored stays as it is and is read as before, so the
    /// codec can be changed at any time, and two programs may use different ones.
    ///
    /// ```
    /// # use eventsourcing_core::{Application, Codec, MemoryStore};
    /// # #[cfg(feature = "message-pack")]
    /// let app = Application::new("counters", MemoryStore::new()).with_codec(Codec::MessagePack);
    /// ```
    #[must_use]
    pub fn with_codec(mut self, codec: Codec) -> Self {
        self.settings_mut().encoding.codec = codec;
        self
    }

    /// Compresses large payloads and snapshots from now on.
    #[cfg(feature = "zstd")]
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.settings_mut().encoding.compression = Some(compression);
        self
    }

    /// Has everything that is written read again at once and compared, so that what would not come back as it was is
    /// refused: `Invalid`, with the field, and nothing is written. It costs reading what was just encoded.
    ///
    /// Numbers that are not finite, options in options, keys that no text stands for, numbers beyond 64 bits and
    /// [too deep](crate::VALUE_DEPTH_MAX) values are always refused, and what is written by way of `flatten`, with keys that
    /// are numbers or as a number of 128 bits is always read again. This finds the rest: types whose `Serialize` and
    /// `Deserialize` do not fit together, such as an `untagged` enum with variants that look alike. The laws
    /// of `eventsourcing-testing` find those too. On in debug builds, off in release builds, unless said otherwise.
    #[must_use]
    pub fn with_read_back(mut self, reads_back: bool) -> Self {
        self.settings_mut().encoding.reads_back = reads_back;
        self
    }

    /// Returns the encoding of events, snapshots and notes.
    pub(crate) fn encoding(&self) -> Encoding {
        self.settings.encoding
    }

    pub(crate) fn with_encoding(mut self, encoding: Encoding) -> Self {
        self.settings_mut().encoding = encoding;
        self
    }

    /// Saves only what it owns from now on.
    pub(crate) fn with_owners(mut self, owners: Arc<Owners>) -> Self {
        self.settings_mut().owners = Some(owners);
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
        self.settings_mut()
            .snapshots
            .insert(TypeId::of::<A>(), Arc::new(policy));
        self
    }

    /// Keeps the `aggregates` that were updated last in memory; with 0, none. The cache is a hint: a decision on a
    /// cached aggregate counts only if the append finds the aggregate unchanged.
    #[must_use]
    pub fn with_cache(mut self, aggregates: usize) -> Self {
        self.cache = Arc::new(Cache::new(aggregates));
        self
    }

    /// A handle that works in another way shares no aggregates with the one it was made of.
    fn settings_mut(&mut self) -> &mut Settings {
        self.cache = Arc::new(self.cache.another());
        Arc::make_mut(&mut self.settings)
    }

    /// A handle whose events carry this metadata.
    #[must_use]
    pub fn with(&self, metadata: Metadata) -> Self {
        let Context {
            command_id,
            ref new_ids,
            ..
        } = *self.context;
        self.in_context(Context {
            metadata,
            command_id,
            new_ids: Arc::clone(new_ids),
        })
    }

    /// A handle for one command that may be retried: what it saves is written once, however often it is asked.
    ///
    /// The first save with the id is carried out; every later one, in any process, returns its receipt and writes
    /// nothing. So use a handle for one save. With a command id, saves are also retried while the store is
    /// unavailable, because then it is safe.
    ///
    /// A command that has nothing to record is answered too, at the price of a durable write: a repetition gets the same
    /// [receipt](crate::Receipt), even if it would have something to record by then.
    ///
    /// What the domain refuses leaves no trace, and is decided anew when the command is repeated; with
    /// [`once`](Self::once) a refusal is kept too.
    #[must_use]
    pub fn command(&self, command_id: CommandId) -> Self {
        let metadata = self.context.metadata.clone();
        self.in_context(Context {
            metadata,
            command_id: Some(command_id),
            ..Context::default()
        })
    }

    fn in_context(&self, context: Context) -> Self {
        Self {
            context: Arc::new(context),
            ..self.clone()
        }
    }

    /// The name of the application in its system.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The store of its events.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn EventStore> {
        &self.store
    }

    /// An id for a new aggregate. Within a [command](Self::command) it follows from the command's id, and from how many
    /// were drawn before, so that a retried command creates the same aggregate.
    ///
    /// Each attempt of [`update`](Self::update), [`update_all`](Self::update_all), [`create`](Self::create) and
    /// [`retry`](Self::retry) draws the same ids, and so does the next call of one of them with the same handle. A
    /// loop written by hand draws the ids before it begins.
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

    fn metadata(&self) -> Metadata {
        let metadata = self.context.metadata.clone();
        match metadata.correlation_id {
            Some(_) => metadata,
            None => metadata.with_correlation_id(self.settings.ids.next_id()),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.settings.clock.now()
    }

    /// Has `runner` told of every save, from this handle and all its clones. The first runner stays.
    pub(crate) fn tell(&self, runner: Weak<dyn AfterSave>) {
        let _ = self.hook.set(runner);
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
