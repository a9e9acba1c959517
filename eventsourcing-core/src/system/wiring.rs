//! [`Wiring`]: opens the workers of the declared followers on the stores of a system.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::follower::{
    FollowedEvents, FollowerTarget, FollowerWorker, Handlers, Partition, PlainSink, PolicySink,
    Routes, Sink, SqlProjectionHandler, WorkerSettings, check_cut,
};
use super::read_model::{Generation, Generations, SqlSink};
use super::settings::FollowerSettings;
use super::{Applications, Follower, Stores, SystemError};
use crate::sql::SqlError;
use crate::store::{Cut, FollowerStore, LogId, Name};
use crate::{Clock, MemoryStore, Table};

/// Opens the workers of a system.
pub(super) struct Wiring<'a, S> {
    pub(super) applications: &'a Applications,
    pub(super) stores: &'a Stores,
    pub(super) clock: &'a Arc<dyn Clock>,
    /// The stored names of the aggregates that this release knows.
    pub(super) known_aggregates: BTreeSet<Name>,
    /// The opened read models in SQL databases, which can be rebuilt.
    pub(super) read_models: Vec<SqlFollower<S>>,
}

/// One log that a follower follows. One store is one log, however many applications it has.
pub(super) struct FollowedLog<H: ?Sized> {
    pub(super) upstream: Arc<dyn FollowerStore>,
    pub(super) handlers: Handlers<H>,
    followed: FollowedEvents,
}

/// A log that a read model in a SQL database follows.
pub(super) type LogOfReadModel<S> = FollowedLog<dyn SqlProjectionHandler<S>>;

impl<H: ?Sized> FollowedLog<H> {
    pub(super) fn takes(&self) -> impl Iterator<Item = Name> {
        self.handlers.keys().cloned()
    }
}

/// A read model in a SQL database.
pub(super) struct SqlFollower<S> {
    pub(super) generations: Arc<Generations>,
    pub(super) logs: Vec<LogOfReadModel<S>>,
    settings: WorkerSettings,
}

impl<S: Send + Sync + 'static> Wiring<'_, S> {
    /// Opens the workers of `follower`: one for each log and partition, each with a position of its
    /// own.
    pub(super) async fn open(
        &mut self,
        follower: Follower<S>,
        settings: FollowerSettings,
    ) -> Result<Vec<Arc<FollowerWorker<S>>>, SystemError> {
        let name = Name::from_static(follower.name);
        match follower.target {
            FollowerTarget::Policy { routes, timers } => {
                let app = self.applications.application(follower.name);
                let home = self.stores.of(follower.name);
                let sink = |handlers| {
                    boxed(PolicySink::new(
                        app.clone(),
                        Arc::clone(&home),
                        handlers,
                        timers.clone(),
                    ))
                };
                self.open_workers(
                    name,
                    Some(Arc::clone(&home)),
                    self.logs(routes),
                    settings,
                    sink,
                )
                .await
            }
            FollowerTarget::Memory { routes } => {
                let home = || Arc::new(MemoryStore::new());
                let sink = |handlers| boxed(PlainSink::new(name.clone(), home(), handlers, false));
                self.open_workers(name.clone(), None, self.logs(routes), settings, sink)
                    .await
            }
            FollowerTarget::Foreign { routes, .. } => {
                let home = self.stores.store();
                let sink = |handlers| {
                    boxed(PlainSink::new(
                        name.clone(),
                        Arc::clone(&home),
                        handlers,
                        true,
                    ))
                };
                self.open_workers(
                    name.clone(),
                    Some(Arc::clone(&home)),
                    self.logs(routes),
                    settings,
                    sink,
                )
                .await
            }
            FollowerTarget::Sql {
                version,
                tables,
                routes,
            } => {
                self.open_read_model(name, version, tables, self.logs(routes), settings)
                    .await
            }
        }
    }

    /// Opens the workers of a follower that keeps its positions at `home`, or `None` if it lives in
    /// the memory of this process.
    async fn open_workers<H: ?Sized>(
        &self,
        name: Name,
        home: Option<Arc<dyn FollowerStore>>,
        logs: Vec<FollowedLog<H>>,
        settings: FollowerSettings,
        sink: impl Fn(Handlers<H>) -> Box<dyn Sink<S>> + Send + Sync,
    ) -> Result<Vec<Arc<FollowerWorker<S>>>, SystemError>
    where
        Handlers<H>: Send + Sync,
    {
        let worker_settings = self.worker_settings(settings);
        let mut workers = Vec::new();
        for FollowedLog {
            upstream,
            handlers,
            followed,
        } in logs
        {
            if let Some(home) = &home {
                let cut = Cut::new(name.clone(), settings.partitions);
                check_cut(&**home, upstream.log_id(), &cut).await?;
            }
            for partition in Partition::split(settings.partitions) {
                let log = Arc::clone(&upstream);
                let sink = sink(handlers.clone());

                let worker = FollowerWorker::open(
                    name.clone(),
                    log,
                    followed.clone(),
                    partition,
                    sink,
                    &worker_settings,
                )
                .await?;
                worker.check_events(settings.is_change_confirmed).await?;
                refuse_forgotten_timers(&worker).await?;
                workers.push(Arc::new(worker));
            }
        }
        Ok(workers)
    }

    fn worker_settings(&self, settings: FollowerSettings) -> WorkerSettings {
        WorkerSettings {
            on_failure: settings.on_failure(),
            clock: Arc::clone(self.clock),
        }
    }

    fn logs<H: ?Sized>(&self, routes: Routes<H>) -> Vec<FollowedLog<H>> {
        let mut logs: BTreeMap<LogId, FollowedLog<H>> = BTreeMap::new();
        for (aggregate, route) in routes {
            let upstream = self.stores.of(route.application);
            let log = logs.entry(upstream.log_id());
            let log = log.or_insert_with(|| {
                let followed =
                    FollowedEvents::default().with_known_aggregates(&self.known_aggregates);
                FollowedLog {
                    upstream,
                    handlers: BTreeMap::new(),
                    followed,
                }
            });
            log.followed.add(&aggregate, &route.events);
            log.handlers.insert(aggregate, route.handler);
        }
        logs.into_values().collect()
    }

    async fn open_read_model(
        &mut self,
        name: Name,
        version: u32,
        tables: &'static [Table],
        logs: Vec<LogOfReadModel<S>>,
        settings: FollowerSettings,
    ) -> Result<Vec<Arc<FollowerWorker<S>>>, SystemError> {
        if settings.partitions != 1 {
            let reason = format!(
                "{name} is a read model and cannot be split; remove with_partitions({name:?}, …)"
            );
            return Err(SystemError::Invalid { reason });
        }
        if settings.is_change_confirmed {
            let reason = format!(
                "{name} is a read model in tables, which is rebuilt to take other events: raise its VERSION, and remove it \
                 from changed_followers([…])"
            );
            return Err(SystemError::Invalid { reason });
        }
        let logs = logs.into_iter().map(|log| FollowedLog {
            followed: log.followed.with_tables(tables),
            ..log
        });
        let logs: Vec<_> = logs.collect();
        let (home, database) = self.stores.read_models(name.as_str())?;
        let upstreams = logs.iter().map(|log| log.upstream.log_id()).collect();
        let generations = Arc::new(Generations::new(
            name, version, tables, home, database, upstreams,
        ));
        let opened = generations
            .open()
            .await
            .map_err(|error| refused_first(&generations, error))?;
        let live = opened
            .live
            .expect("an open read model has a live generation");
        if live.version == version && !live.has_tables(tables) {
            let reason = format!(
                "the read model {name} has other TABLES than those it was built with, in the same VERSION; raise the VERSION \
                 to have it rebuilt",
                name = generations.name()
            );
            return Err(SystemError::Invalid { reason });
        }
        let follower = SqlFollower {
            generations,
            logs,
            settings: self.worker_settings(settings),
        };
        let workers = follower
            .workers(|generations, handlers| SqlSink::of_live(generations, handlers, &live))
            .await?;
        self.read_models.push(follower);
        Ok(workers)
    }
}

impl<S: Send + Sync + 'static> SqlFollower<S> {
    /// Opens the workers that build a generation.
    pub(super) async fn building(
        &self,
        building: &Generation,
    ) -> Result<Vec<Arc<FollowerWorker<S>>>, SystemError> {
        let workers = self
            .workers(|generations, handlers| SqlSink::of_build(generations, handlers, building))
            .await?;
        for worker in &workers {
            worker.agree(false).await?;
        }
        Ok(workers)
    }

    async fn workers(
        &self,
        sink: impl Fn(Arc<Generations>, Handlers<dyn SqlProjectionHandler<S>>) -> SqlSink<S>,
    ) -> Result<Vec<Arc<FollowerWorker<S>>>, SystemError> {
        let mut workers = Vec::new();
        for log in &self.logs {
            let sink = Box::new(sink(Arc::clone(&self.generations), log.handlers.clone()));
            let name = self.generations.name().clone();
            let upstream = Arc::clone(&log.upstream);
            let followed = log.followed.clone();
            let worker = FollowerWorker::open(
                name,
                upstream,
                followed,
                Partition::WHOLE,
                sink,
                &self.settings,
            )
            .await?;
            worker.check_events(false).await?;
            workers.push(Arc::new(worker));
        }
        Ok(workers)
    }
}

fn boxed<S>(sink: impl Sink<S> + 'static) -> Box<dyn Sink<S>> {
    Box::new(sink)
}

/// Explains why the first tables of a read model were refused: they may exist already, under an
/// earlier name of the read model.
fn refused_first(generations: &Generations, error: SqlError) -> SystemError {
    match refused(generations, error) {
        SystemError::Invalid { reason } => {
            let what_to_do = "if the read model was given another name, keep the one it had, with name = \"…\" in the \
                              attribute of its field";
            SystemError::Invalid {
                reason: format!("{reason}; {what_to_do}"),
            }
        }
        other => other,
    }
}

/// Turns an error of the database about the tables of a read model into one for the caller.
pub(super) fn refused(generations: &Generations, error: SqlError) -> SystemError {
    match error {
        SqlError::Store(error) => error.into(),
        error => SystemError::Invalid {
            reason: format!(
                "the database refuses the tables of the read model {}: {error}",
                generations.name()
            ),
        },
    }
}

/// Refuses a follower that is declared without timers but has pending ones, which would be lost
/// silently.
async fn refuse_forgotten_timers<S>(worker: &FollowerWorker<S>) -> Result<(), SystemError> {
    match worker.has_forgotten_timers().await? {
        false => Ok(()),
        true => Err(SystemError::Invalid {
            reason: format!(
                "{name} has scheduled timers that would never be due: write `timers` in its #[application(…)]",
                name = worker.name
            ),
        }),
    }
}
