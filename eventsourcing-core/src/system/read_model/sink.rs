//! [`SqlSink`]: a read model in tables. The rows written for events and the follower's step are one
//! transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tracing::{info, warn};

use super::generation_index::Generation;
use super::generations::Generations;
use crate::sql::Transaction;
use crate::store::{FollowerStore, Name, StoreError, StoredEvent, Tracking};
use crate::system::StepFailure;
use crate::system::follower::{Handlers, Sink, SqlProjectionHandler, catching};
use crate::{Table, Tx};

/// The sink that writes one generation of a read model.
pub(crate) struct SqlSink<S> {
    generations: Arc<Generations>,
    handlers: Handlers<dyn SqlProjectionHandler<S>>,
    /// The generation that it writes or observes.
    number: AtomicU64,
    /// The version of that generation, or [`OWN`] if it is the version of this program.
    other_version: AtomicU64,
    /// The sink belongs to a build and stays with its generation. Other sinks move to the live one.
    builds: bool,
}

/// The value that stands for the version of this program. Versions are `u32`, so none of them has
/// this value.
const OWN: u64 = u64::MAX;

impl<S> SqlSink<S> {
    /// Returns a sink for the live generation, now and after each switch.
    pub(crate) fn of_live(
        generations: Arc<Generations>,
        handlers: Handlers<dyn SqlProjectionHandler<S>>,
        live: &Generation,
    ) -> Self {
        let sink = Self::new(generations, handlers, live.number, false);
        sink.take_up(live);
        sink
    }

    /// Returns a sink for a generation that is being built.
    pub(crate) fn of_build(
        generations: Arc<Generations>,
        handlers: Handlers<dyn SqlProjectionHandler<S>>,
        building: &Generation,
    ) -> Self {
        Self::new(generations, handlers, building.number, true)
    }

    fn new(
        generations: Arc<Generations>,
        handlers: Handlers<dyn SqlProjectionHandler<S>>,
        number: u64,
        builds: bool,
    ) -> Self {
        Self {
            generations,
            handlers,
            number: AtomicU64::new(number),
            other_version: AtomicU64::new(OWN),
            builds,
        }
    }

    fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Moves to the live generation. Returns `true` if it differs from the one before, or if this
    /// process may write it from now on.
    fn take_up(&self, live: &Generation) -> bool {
        let before = self.number.swap(live.number, Ordering::AcqRel);
        let own = self.generations.version();
        let other = if live.version == own {
            OWN
        } else {
            live.version.into()
        };
        let was_observer = self.other_version.swap(other, Ordering::AcqRel) != OWN;
        let follower = self.generations.name();
        if other != OWN && !was_observer {
            warn!(%follower, live = live.version, own, "another version of the read model is live; this process only observes it");
        }
        if other == OWN && (before != live.number || was_observer) {
            info!(%follower, generation = live.number, "this generation of the read model is live");
        }
        before != live.number || (was_observer && other == OWN)
    }
}

#[async_trait]
impl<S: Send + Sync> Sink<S> for SqlSink<S> {
    fn follower(&self) -> Name {
        self.generations.follower(self.number())
    }

    fn home(&self) -> &Arc<dyn FollowerStore> {
        self.generations.home()
    }

    async fn adopt_successor(&self) -> Result<bool, StoreError> {
        match self.generations.read().await?.live {
            Some(live) if !self.builds => Ok(self.take_up(&live)),
            _ => Ok(false),
        }
    }

    fn is_observer(&self) -> bool {
        self.other_version.load(Ordering::Acquire) != OWN
    }

    async fn process(
        &self,
        system: &S,
        events: &[StoredEvent],
        step: Tracking,
    ) -> Result<(), StepFailure> {
        let generation = self.number();
        let mut transaction = self.generations.database().begin().await?;
        transaction.step(&step).await?;
        for event in events {
            project(
                system,
                &self.handlers,
                event,
                self.generations.tables(),
                generation,
                &mut *transaction,
            )
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// Processes one event into a generation, within a transaction.
pub(crate) async fn project<S: Send + Sync>(
    system: &S,
    handlers: &Handlers<dyn SqlProjectionHandler<S>>,
    event: &StoredEvent,
    tables: &'static [Table],
    generation: u64,
    transaction: &mut dyn Transaction,
) -> Result<(), StepFailure> {
    let handler = &handlers[&event.stream.category];
    let mut tx = Tx::new(transaction, tables, generation);
    let projected = catching(handler.project(system, event, &mut tx)).await;
    tx.outcome(projected)
}
