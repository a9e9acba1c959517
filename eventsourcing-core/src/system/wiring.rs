//! From followers and stores to feeds.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::builder::FollowerSettings;
use super::feed::{Feed, FeedSettings, Handlers, Partition, PlainSink, PolicySink, Sink, SqlSink};
use super::follower::{DueHandler, Route, Target};
use super::generations::{Generation, Generations};
use super::{Applications, Follower, Stores, SystemError};
use crate::sql::SqlError;
use crate::store::{Append, EventStore, LogId, Name, NotesQuery, Position, StoreError, Tracking};
use crate::{Clock, MemoryStore, Table};

/// Opens the feeds of a system.
pub(super) struct Wiring<'a, S> {
    pub(super) applications: &'a Applications,
    pub(super) stores: &'a Stores,
    pub(super) clock: &'a Arc<dyn Clock>,
    /// The followers that can be built anew, as far as they are opened.
    pub(super) read_models: Vec<SqlFollower<S>>,
}

/// One log that a follower follows. One store is one log, however many applications it has.
pub(super) struct FollowedLog<S> {
    pub(super) upstream: Arc<dyn EventStore>,
    pub(super) handlers: Handlers<S>,
}

impl<S> FollowedLog<S> {
    pub(super) fn takes(&self) -> Vec<Name> {
        self.handlers.keys().cloned().collect()
    }
}

/// A read model in a SQL database.
pub(super) struct SqlFollower<S> {
    pub(super) generations: Arc<Generations>,
    pub(super) logs: Vec<FollowedLog<S>>,
    settings: FeedSettings,
}

impl<S: Send + Sync + 'static> Wiring<'_, S> {
    /// The feeds of `follower`: for each log it follows a position of its own, for each partition another one.
    pub(super) async fn open(
        &mut self,
        follower: Follower<S>,
        settings: FollowerSettings,
    ) -> Result<Vec<Arc<Feed<S>>>, SystemError> {
        let (name, target) = (Name::from_static(follower.name), follower.target);
        let feed_settings = self.feed_settings(settings);
        let (logs, timers) = (self.logs(follower.routes), follower.timers);
        if let Target::Sql { version, tables } = target {
            return self.open_read_model(name, version, tables, logs, settings).await;
        }
        let mut feeds = Vec::new();
        for log in logs {
            if matches!(target, Target::Events) {
                let home = Arc::clone(self.applications.application(name.as_str()).store());
                agree_on_partitions(&*home, &name, log.upstream.log_id(), settings.partitions).await?;
            }
            for partition in Partition::split(settings.partitions) {
                let (upstream, takes) = (Arc::clone(&log.upstream), log.takes());
                let sink = self.sink(&name, target, log.handlers.clone(), timers.clone());
                let feed = Feed::open(name.clone(), upstream, takes, partition, sink, &feed_settings).await?;
                refuse_forgotten_timers(&feed).await?;
                feeds.push(Arc::new(feed));
            }
        }
        Ok(feeds)
    }

    fn feed_settings(&self, settings: FollowerSettings) -> FeedSettings {
        FeedSettings { on_failure: settings.on_failure(), clock: Arc::clone(self.clock) }
    }

    fn logs(&self, routes: BTreeMap<Name, Route<S>>) -> Vec<FollowedLog<S>> {
        let mut logs: BTreeMap<LogId, FollowedLog<S>> = BTreeMap::new();
        for (aggregate, route) in routes {
            let upstream = Arc::clone(self.applications.application(route.application).store());
            let log = logs.entry(upstream.log_id());
            let log = log.or_insert_with(|| FollowedLog { upstream, handlers: BTreeMap::new() });
            log.handlers.insert(aggregate, route.handler);
        }
        logs.into_values().collect()
    }

    fn sink(
        &self,
        name: &Name,
        target: Target,
        handlers: Handlers<S>,
        timers: Option<Arc<dyn DueHandler<S>>>,
    ) -> Box<dyn Sink<S>> {
        match target {
            Target::Events => Box::new(PolicySink::new(self.applications.application(name.as_str()), handlers, timers)),
            Target::Memory => Box::new(PlainSink::new(name.clone(), Arc::new(MemoryStore::new()), handlers, false)),
            Target::Foreign(_) => Box::new(PlainSink::new(name.clone(), self.stores.store(), handlers, true)),
            Target::Sql { .. } => unreachable!("a read model in a SQL database has sinks for its generations"),
        }
    }

    async fn open_read_model(
        &mut self,
        name: Name,
        version: u32,
        tables: &'static [Table],
        logs: Vec<FollowedLog<S>>,
        settings: FollowerSettings,
    ) -> Result<Vec<Arc<Feed<S>>>, SystemError> {
        if settings.partitions != 1 {
            let reason = format!("{name} is a read model and cannot be split; remove with_partitions({name:?}, …)");
            return Err(SystemError::Invalid { reason });
        }
        let (home, database) = self.stores.read_models(name.as_str())?;
        let upstreams = logs.iter().map(|log| log.upstream.log_id()).collect();
        let generations = Arc::new(Generations::new(name, version, tables, home, database, upstreams));
        let opened = generations.open().await.map_err(|error| refused(&generations, error))?;
        let shown = opened.shown.expect("an open read model shows something");
        let follower = SqlFollower { generations, logs, settings: self.feed_settings(settings) };
        let feeds = follower.feeds(|generations, handlers| SqlSink::of_shown(generations, handlers, &shown)).await?;
        self.read_models.push(follower);
        Ok(feeds)
    }
}

impl<S: Send + Sync + 'static> SqlFollower<S> {
    /// The feeds that build a generation.
    pub(super) async fn building(&self, building: &Generation) -> Result<Vec<Arc<Feed<S>>>, StoreError> {
        self.feeds(|generations, handlers| SqlSink::of_build(generations, handlers, building)).await
    }

    async fn feeds(
        &self,
        sink: impl Fn(Arc<Generations>, Handlers<S>) -> SqlSink<S>,
    ) -> Result<Vec<Arc<Feed<S>>>, StoreError> {
        let mut feeds = Vec::new();
        for log in &self.logs {
            let sink = Box::new(sink(Arc::clone(&self.generations), log.handlers.clone()));
            let (name, upstream) = (self.generations.name().clone(), Arc::clone(&log.upstream));
            let feed = Feed::open(name, upstream, log.takes(), Partition::WHOLE, sink, &self.settings).await?;
            feeds.push(Arc::new(feed));
        }
        Ok(feeds)
    }
}

/// What the database says to the tables of a read model.
pub(super) fn refused(generations: &Generations, error: SqlError) -> SystemError {
    match error {
        SqlError::Store(error) => error.into(),
        error => SystemError::Invalid {
            reason: format!("the database refuses the tables of the read model {}: {error}", generations.name()),
        },
    }
}

/// A timer that nobody deals with any more would be lost silently.
async fn refuse_forgotten_timers<S>(feed: &Feed<S>) -> Result<(), SystemError> {
    match feed.has_forgotten_timers().await? {
        false => Ok(()),
        true => Err(SystemError::Invalid {
            reason: format!(
                "{name} has scheduled timers that would never be due: write `timers` in its #[application(…)]",
                name = feed.name
            ),
        }),
    }
}

/// Under which key a follower that runs in partitions notes how many there are.
pub(super) const PARTITIONS_KEY: &str = "partitions";

/// Makes sure that the follower has never run in another number of partitions: their positions would not fit these.
async fn agree_on_partitions(
    home: &dyn EventStore,
    follower: &Name,
    upstream: LogId,
    partitions: u32,
) -> Result<(), SystemError> {
    loop {
        let book = home.notes(NotesQuery::new(follower.clone(), upstream, PARTITIONS_KEY)).await?;
        let noted = book.notes.get(PARTITIONS_KEY).cloned();
        match noted.or_else(|| (book.position > Position::ZERO).then(|| "1".to_owned())) {
            Some(known) if known == partitions.to_string() => return Ok(()),
            Some(known) => {
                let reason = format!(
                    "follower {follower} has run in {known} partitions and cannot go on in {partitions}; \
                     start it with_partitions({follower:?}, {known})"
                );
                return Err(SystemError::Invalid { reason });
            }
            None if partitions == 1 => return Ok(()),
            None => {}
        }
        let step = Tracking::new(follower.clone(), upstream, book.position, book.position)
            .with_revision(book.revision)
            .with_note(PARTITIONS_KEY, partitions.to_string());
        match home.append(Append::new(Timestamp::UNIX_EPOCH).with_tracking(step)).await {
            // Another process that starts at this moment was first.
            Ok(_) | Err(StoreError::TrackingConflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
