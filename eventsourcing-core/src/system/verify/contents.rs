//! [`RunningSystem::verify_contents`]: is each read model in a SQL database what its code makes of the log?
//!
//! A generation is built from the first event on that nobody sees. When it is where the shown one is, their rows are
//! compared, and it is thrown away.

use super::tables::Asked;
use crate::sql::{SqlError, Transaction};
use crate::store::{
    EventStore, HolderId, LogPage, LogQuery, Position, StoreError, StoredEvent, Tracking,
};
use crate::system::follower::{describe, described};
use crate::system::notes::RETIRED;
use crate::system::parking::{Exceptions, NotesOf};
use crate::system::read_model::{Generation, make, project};
use crate::system::report::{ContentsVerification, VerifyProgress};
use crate::system::wiring::{LogOfReadModel, SqlFollower};
use crate::system::{Failure, RunningSystem, System, SystemError};

/// How many events are taken in one transaction.
const EVENTS_PER_PAGE_MAX: usize = 256;
/// How often rows are compared without keeping the follower still, in the hope that it makes no step meanwhile.
const ATTEMPTS_WITHOUT_HOLDING: usize = 3;
/// How often it is tried to keep the follower still.
const ATTEMPTS_MAX: usize = 10_000;

/// Why the comparison has no result.
enum Failed {
    Store(StoreError),
    /// The rest can be compared all the same.
    Unchecked(String),
}

impl<S: System> RunningSystem<S> {
    /// Builds each read model in a SQL database anew, beside the one that readers see, and compares both row by row at the
    /// same position. The new one is thrown away; readers, writers and followers go on meanwhile. If the follower makes
    /// steps all the time it is kept still while its rows are compared, and on SQLite everybody who writes waits then.
    ///
    /// It shows what went wrong in the code of a projection: mistakes that have been mended since, or that strike at
    /// random. A projection whose rows depend on anything but its events, or on the order between several logs, is reported
    /// though nothing is wrong.
    ///
    /// If this future is dropped, what it has built stays until contents are verified the next time.
    ///
    /// # Errors
    /// [`SystemError::Store`]: a store does not answer.
    pub async fn verify_contents(&self) -> Result<Vec<ContentsVerification>, SystemError> {
        self.verify_contents_with(|_| {}).await
    }

    /// As [`verify_contents`](Self::verify_contents), and tells `progress` how far it is, from time to time.
    ///
    /// # Errors
    /// As [`verify_contents`](Self::verify_contents).
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
            let why = "another process compares it at this moment, or has died while it did; try again in two minutes";
            return Err(Failed::Unchecked(why.to_owned()));
        };
        let reached = vec![Position::ZERO; read_model.logs.len()];
        let system = &*self.engine.system;
        let exceptions = Vec::new();

        let mut fresh = Fresh {
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

/// A generation that is built to be compared.
struct Fresh<'a, S> {
    system: &'a S,
    read_model: &'a SqlFollower<S>,
    holder: HolderId,
    generation: Generation,
    /// Where it is in each of the logs.
    reached: Vec<Position>,
    /// What people have told the shown one to take otherwise, in each of the logs.
    exceptions: Vec<Exceptions>,
}

/// What readers see, and where it is in each of the logs.
#[derive(PartialEq)]
struct Shown {
    generation: Generation,
    steps: Vec<Tracking>,
}

impl Shown {
    /// In several logs the sum.
    fn position(&self) -> Position {
        sum(self.steps.iter().map(|step| &step.from))
    }
}

impl<S: Send + Sync + 'static> Fresh<'_, S> {
    async fn compare(
        &mut self,
        verification: &mut ContentsVerification,
        progress: &mut (impl FnMut(&VerifyProgress) + Send),
    ) -> Result<(), Failed> {
        for attempt in 0..ATTEMPTS_MAX {
            let shown = self.shown().await?;
            self.advance(&shown, verification, progress).await?;
            let compared = match attempt < ATTEMPTS_WITHOUT_HOLDING {
                true => self.compare_beside(&shown, verification).await?,
                false => self.compare_held(verification).await?,
            };
            if compared {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
        Err(Failed::Unchecked(
            "its follower is never still; try again when less is written".to_owned(),
        ))
    }

    async fn shown(&self) -> Result<Shown, Failed> {
        let generations = &self.read_model.generations;
        loop {
            let generation = generations
                .read()
                .await?
                .shown
                .expect("an open read model shows something");
            if generation.version != generations.version() {
                let why = format!(
                    "version {} of it answers; ask a program that has it",
                    generation.version
                );
                return Err(Failed::Unchecked(why));
            }
            let steps = generations.steps_on_the_spot(&generation).await?;
            // Otherwise another generation has just taken its place.
            if steps.iter().any(|step| step.from == RETIRED) {
                continue;
            }
            return Ok(Shown { generation, steps });
        }
    }

    /// Takes every event up to where the shown one is.
    async fn advance(
        &mut self,
        shown: &Shown,
        verification: &mut ContentsVerification,
        progress: &mut (impl FnMut(&VerifyProgress) + Send),
    ) -> Result<(), Failed> {
        let read_model = self.read_model;
        self.exceptions = self.exceptions_of(shown).await?;
        for (index, (log, step)) in read_model.logs.iter().zip(&shown.steps).enumerate() {
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
                    end: shown.position(),
                });
            }
        }
        Ok(())
    }

    /// What people have told the shown one to take otherwise. What it has put aside until they do cannot be compared.
    async fn exceptions_of(&self, shown: &Shown) -> Result<Vec<Exceptions>, Failed> {
        let generations = &self.read_model.generations;
        let mut exceptions = Vec::with_capacity(shown.steps.len());
        for log in &self.read_model.logs {
            let follower = generations.follower(shown.generation.number);
            let upstream = log.upstream.log_id();

            let notes = NotesOf {
                home: &**generations.home(),
                follower,
                upstream,
            };
            if notes.has_parked().await? {
                return Err(Failed::Unchecked(
                    "it has parked events; deal with them first".to_owned(),
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
                "another process has begun to compare it".to_owned(),
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

    /// True if the shown one has made no step meanwhile.
    async fn compare_beside(
        &self,
        shown: &Shown,
        verification: &mut ContentsVerification,
    ) -> Result<bool, Failed> {
        let database = self.read_model.generations.database();
        let compared = self
            .tables(Asked::Database(database), shown, verification)
            .await;
        // Before errors are looked at: its tables may be gone.
        if self.shown().await? != *shown {
            return Ok(false);
        }
        compared?;
        Ok(true)
    }

    /// True if the shown one could be kept still. What has happened since the last look is read before that, so that it
    /// has little time to make a step, and nothing is read while others wait.
    async fn compare_held(&self, verification: &mut ContentsVerification) -> Result<bool, Failed> {
        self.keep_claim().await?;
        let read_model = self.read_model;
        let shown = self.shown().await?;
        let mut rest = Vec::new();
        for ((log, step), reached) in read_model.logs.iter().zip(&shown.steps).zip(&self.reached) {
            rest.push(events_between(log, *reached, step.from).await?);
        }
        let mut transaction = read_model.generations.database().begin().await?;
        match make(&mut *transaction, &shown.steps).await {
            Err(StoreError::TrackingConflict { .. }) => return Ok(false),
            made => made?,
        }
        for (index, events) in rest.iter().enumerate() {
            self.take(index, events, &mut *transaction).await?;
        }
        // Dropping the transaction undoes the steps, and what was taken within it.
        self.tables(Asked::Transaction(&mut *transaction), &shown, verification)
            .await?;
        verification.events += rest.iter().map(|events| events.len() as u64).sum::<u64>();
        Ok(true)
    }

    async fn tables(
        &self,
        mut asked: Asked<'_>,
        shown: &Shown,
        verification: &mut ContentsVerification,
    ) -> Result<(), SqlError> {
        (
            verification.rows,
            verification.differences,
            verification.position,
        ) = (0, Vec::new(), shown.position());
        for table in self.read_model.generations.tables() {
            let compared = asked
                .compare(table, shown.generation.number, self.generation.number)
                .await?;
            verification.rows += compared.rows;
            verification.differences.extend(compared.difference);
        }
        Ok(())
    }
}

/// The next events of the log, none of them after `end`, where the follower has got to: so the log is decided up to there.
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

fn failed(failure: Failure, event: &StoredEvent) -> Failed {
    let position = event.position;
    let event = describe(event);

    match failure {
        Failure::Unavailable(error) => Failed::Store(error),
        Failure::Event(cause) => {
            let cause = described(cause).0;
            Failed::Unchecked(format!(
                "it cannot be built: it stands before position {position} ({event}): {cause}"
            ))
        }
        Failure::Moved | Failure::LeaseLost | Failure::CutChanged(_) => {
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
