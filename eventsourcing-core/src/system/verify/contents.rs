//! [`RunningSystem::verify_contents`]: compares each read model in a SQL database with what its
//! code makes of the log.
//!
//! A hidden generation is built from the first event on. When it has reached the position of the
//! live one, the rows of both are compared, and the hidden one is removed.

use super::tables::Source;
use crate::sql::{SqlError, Transaction};
use crate::store::{HolderId, LogPage, LogQuery, Position, StoreError, StoredEvent, Tracking};
use crate::system::follower::{describe, described};
use crate::system::notes::RETIRED;
use crate::system::parking::{Exceptions, NotesReader};
use crate::system::read_model::{Generation, make, project};
use crate::system::report::{ContentsVerification, VerifyProgress};
use crate::system::wiring::{LogOfReadModel, SqlFollower};
use crate::system::{RunningSystem, StepFailure, System, SystemError};

/// The maximum number of events in one transaction.
const EVENTS_PER_PAGE_MAX: usize = 256;
/// The number of attempts to compare rows without blocking the follower, in the hope that it makes
/// no step meanwhile.
const OPTIMISTIC_ATTEMPTS: usize = 3;
/// The maximum number of attempts in all. Each later one tries to block the follower for the time
/// of the comparison.
const ATTEMPTS_MAX: usize = 10_000;

/// The reason why a comparison has no result.
enum Failed {
    Store(StoreError),
    /// This read model cannot be compared; the others can.
    Unchecked(String),
}

impl<S: System> RunningSystem<S> {
    /// Builds each read model in a SQL database again, beside the live generation, and compares
    /// both row by row at the same position. The new generation is removed afterwards. Readers,
    /// writers and followers go on meanwhile. If the follower makes steps all the time, it is
    /// blocked while its rows are compared, and on SQLite all writers wait then.
    ///
    /// The comparison finds mistakes in the code of a projection: those that were fixed since, and
    /// those that occur at random. A projection whose rows depend on anything but its events, or on
    /// the order between several logs, is reported although nothing is wrong.
    ///
    /// If this future is dropped, the tables that it has built stay until the next call.
    ///
    /// # Errors
    /// [`SystemError::Store`]: a store does not answer.
    pub async fn verify_contents(&self) -> Result<Vec<ContentsVerification>, SystemError> {
        self.verify_contents_with(|_| {}).await
    }

    /// Does the same as [`verify_contents`](Self::verify_contents), and reports to `progress` from
    /// time to time.
    ///
    /// # Errors
    /// The same as those of [`verify_contents`](Self::verify_contents).
    pub async fn verify_contents_with(
        &self,
        mut progress: impl FnMut(&VerifyProgress) + Send,
    ) -> Result<Vec<ContentsVerification>, SystemError> {
        let mut verifications = Vec::with_capacity(self.read_models.len());
        for read_model in &self.read_models {
            let mut verification = ContentsVerification::new(read_model.generations.name().clone());
            match self
                .compare(read_model, &mut verification, &mut progress)
                .await
            {
                Ok(()) => {}
                Err(Failed::Unchecked(why)) => verification.unchecked = Some(why),
                Err(Failed::Store(error)) => return Err(error.into()),
            }
            verifications.push(verification);
        }
        Ok(verifications)
    }

    async fn compare(
        &self,
        read_model: &SqlFollower<S>,
        verification: &mut ContentsVerification,
        progress: &mut (impl FnMut(&VerifyProgress) + Send),
    ) -> Result<(), Failed> {
        let generations = &read_model.generations;
        let holder = HolderId::new();

        let Some(generation) = generations.begin_check(holder).await? else {
            let why =
                "another process is comparing it, or has died while it did; retry in two minutes";
            return Err(Failed::Unchecked(why.to_owned()));
        };
        let reached = vec![Position::ZERO; read_model.logs.len()];
        let system = &*self.engine.system;
        let exceptions = Vec::new();

        let mut fresh = ShadowBuild {
            system,
            read_model,
            holder,
            generation,
            reached,
            exceptions,
        };
        let compared = fresh.compare(verification, progress).await;
        let ended = generations.end_check(&fresh.generation, holder).await;
        compared?;
        Ok(ended?)
    }
}

/// A hidden generation that is built to be compared with the live one.
struct ShadowBuild<'a, S> {
    system: &'a S,
    read_model: &'a SqlFollower<S>,
    holder: HolderId,
    generation: Generation,
    /// The positions that it has reached in each of the logs.
    reached: Vec<Position>,
    /// The events that the live generation has skipped or processed with another payload, in each
    /// of the logs.
    exceptions: Vec<Exceptions>,
}

/// The live generation, and its position in each of the logs.
#[derive(PartialEq)]
struct LiveState {
    generation: Generation,
    steps: Vec<Tracking>,
}

impl LiveState {
    /// Returns the position; the sum if there are several logs.
    fn position(&self) -> Position {
        sum(self.steps.iter().map(|step| &step.from))
    }
}

impl<S: Send + Sync + 'static> ShadowBuild<'_, S> {
    async fn compare(
        &mut self,
        verification: &mut ContentsVerification,
        progress: &mut (impl FnMut(&VerifyProgress) + Send),
    ) -> Result<(), Failed> {
        for attempt in 0..ATTEMPTS_MAX {
            let live = self.live().await?;
            self.advance(&live, verification, progress).await?;
            let compared = match attempt < OPTIMISTIC_ATTEMPTS {
                true => self.compare_optimistically(&live, verification).await?,
                false => self.compare_held(verification).await?,
            };
            if compared {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
        Err(Failed::Unchecked(
            "its follower makes steps all the time; retry when less is written".to_owned(),
        ))
    }

    async fn live(&self) -> Result<LiveState, Failed> {
        let generations = &self.read_model.generations;
        loop {
            let generation = generations
                .read()
                .await?
                .live
                .expect("an open read model has a live generation");
            if generation.version != generations.version() {
                let why = format!(
                    "version {} of it is live; verify with a program of that version",
                    generation.version
                );
                return Err(Failed::Unchecked(why));
            }
            let steps = generations.steps_in_place(&generation).await?;
            // A retired position means that another generation has become live since the index was
            // read.
            if steps.iter().any(|step| step.from == RETIRED) {
                continue;
            }
            return Ok(LiveState { generation, steps });
        }
    }

    /// Processes every event up to the position of the live generation.
    async fn advance(
        &mut self,
        live: &LiveState,
        verification: &mut ContentsVerification,
        progress: &mut (impl FnMut(&VerifyProgress) + Send),
    ) -> Result<(), Failed> {
        let read_model = self.read_model;
        self.exceptions = self.exceptions_of(live).await?;
        for (index, (log, step)) in read_model.logs.iter().zip(&live.steps).enumerate() {
            while self.reached[index] < step.from {
                self.keep_claim().await?;
                let page = page_up_to(log, self.reached[index], step.from).await?;
                let mut transaction = read_model.generations.database().begin().await?;
                self.take(index, &page.events, &mut *transaction).await?;
                transaction.commit().await?;
                verification.events += page.events.len() as u64;
                self.reached[index] = page.ceiling;
                let follower = verification.name.clone();
                let position = sum(self.reached.iter());

                progress(&VerifyProgress {
                    follower,
                    position,
                    end: live.position(),
                });
            }
        }
        Ok(())
    }

    /// Returns the events that the live generation has skipped or processed with another payload.
    /// Rows cannot be compared while it has parked events, since their effects are still missing.
    async fn exceptions_of(&self, live: &LiveState) -> Result<Vec<Exceptions>, Failed> {
        let generations = &self.read_model.generations;
        let mut exceptions = Vec::with_capacity(live.steps.len());
        for log in &self.read_model.logs {
            let follower = generations.follower(live.generation.number);
            let upstream = log.upstream.log_id();

            let notes = NotesReader {
                home: &**generations.home(),
                follower,
                upstream,
            };
            if notes.has_parked().await? {
                return Err(Failed::Unchecked(
                    "it has parked events; retry or discard them first".to_owned(),
                ));
            }
            exceptions.push(notes.exceptions().await?);
        }
        Ok(exceptions)
    }

    async fn keep_claim(&self) -> Result<(), Failed> {
        match self
            .read_model
            .generations
            .claim(&self.generation, self.holder)
            .await?
        {
            Some(_) => Ok(()),
            None => Err(Failed::Unchecked(
                "another process has started to compare it".to_owned(),
            )),
        }
    }

    async fn take(
        &self,
        index: usize,
        events: &[StoredEvent],
        transaction: &mut dyn Transaction,
    ) -> Result<(), Failed> {
        let tables = self.read_model.generations.tables();
        let number = self.generation.number;

        let handlers = &self.read_model.logs[index].handlers;
        for event in events
            .iter()
            .filter_map(|event| self.exceptions[index].taken(event))
        {
            let projected =
                project(self.system, handlers, &event, tables, number, transaction).await;
            projected.map_err(|failure| failed(failure, &event))?;
        }
        Ok(())
    }

    /// Compares without blocking the follower. Returns `true` if the live generation has made no
    /// step meanwhile.
    async fn compare_optimistically(
        &self,
        live: &LiveState,
        verification: &mut ContentsVerification,
    ) -> Result<bool, Failed> {
        let database = self.read_model.generations.database();
        let compared = self
            .tables(Source::Database(database), live, verification)
            .await;
        // This comes before the errors of the comparison: if another generation is live by now, the
        // tables of the old one are gone, and the errors only say that.
        if self.live().await? != *live {
            return Ok(false);
        }
        compared?;
        Ok(true)
    }

    /// Compares while the follower is blocked. Returns `true` if that was possible. The events
    /// since the last look are read before the transaction begins, so that the follower has little
    /// time for another step, and nothing is read from the log while it waits.
    async fn compare_held(&self, verification: &mut ContentsVerification) -> Result<bool, Failed> {
        self.keep_claim().await?;
        let read_model = self.read_model;
        let live = self.live().await?;
        let mut rest = Vec::new();
        for ((log, step), reached) in read_model.logs.iter().zip(&live.steps).zip(&self.reached) {
            rest.push(events_between(log, *reached, step.from).await?);
        }
        let mut transaction = read_model.generations.database().begin().await?;
        match make(&mut *transaction, &live.steps).await {
            Err(StoreError::TrackingConflict { .. }) => return Ok(false),
            made => made?,
        }
        for (index, events) in rest.iter().enumerate() {
            self.take(index, events, &mut *transaction).await?;
        }
        // The transaction is dropped without a commit, which undoes the steps and the rows written
        // in it. Until then the steps in place keep the follower from making its own.
        self.tables(Source::Transaction(&mut *transaction), &live, verification)
            .await?;
        verification.events += rest.iter().map(|events| events.len() as u64).sum::<u64>();
        Ok(true)
    }

    async fn tables(
        &self,
        mut source: Source<'_>,
        live: &LiveState,
        verification: &mut ContentsVerification,
    ) -> Result<(), SqlError> {
        (
            verification.rows,
            verification.differences,
            verification.position,
        ) = (0, Vec::new(), live.position());
        for table in self.read_model.generations.tables() {
            let compared = source
                .compare(table, live.generation.number, self.generation.number)
                .await?;
            verification.rows += compared.rows;
            verification.differences.extend(compared.difference);
        }
        Ok(())
    }
}

/// Returns the next events of the log up to `end`. The follower has reached `end`, so the log is
/// decided up to there.
async fn page_up_to<S>(
    log: &LogOfReadModel<S>,
    after: Position,
    end: Position,
) -> Result<LogPage, StoreError> {
    let query = LogQuery::after(after)
        .limit(EVENTS_PER_PAGE_MAX)
        .categories(log.takes())
        .decided_up_to(end);
    let mut page = log.upstream.read_log(query).await?;
    page.events.retain(|event| event.position <= end);
    page.ceiling = page.ceiling.min(end);
    Ok(page)
}

async fn events_between<S>(
    log: &LogOfReadModel<S>,
    mut after: Position,
    end: Position,
) -> Result<Vec<StoredEvent>, StoreError> {
    let mut events = Vec::new();
    while after < end {
        let page = page_up_to(log, after, end).await?;
        events.extend(page.events);
        after = page.ceiling;
    }
    Ok(events)
}

fn sum<'a>(positions: impl Iterator<Item = &'a Position>) -> Position {
    Position::new(positions.map(|position| position.as_u64()).sum())
}

fn failed(failure: StepFailure, event: &StoredEvent) -> Failed {
    let position = event.position;
    let event = describe(event);

    match failure {
        StepFailure::Unavailable(error) => Failed::Store(error),
        StepFailure::Event(cause) => {
            let cause = described(cause).0;
            Failed::Unchecked(format!(
                "it cannot be built: processing fails at position {position} ({event}): {cause}"
            ))
        }
        StepFailure::Moved | StepFailure::LeaseLost | StepFailure::CutChanged(_) => {
            unreachable!("an event is projected without a step")
        }
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<SqlError> for Failed {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Store(error) => Self::Store(error),
            error => Self::Unchecked(format!("the database refuses to compare: {error}")),
        }
    }
}
