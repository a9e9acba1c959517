//! Commands: load, decide, save; again if another command was faster.

use super::Application;
use super::parts::RootIds;
use super::save::refuse_rejected;
use crate::store::Receipt;
use crate::{
    Aggregate, ApplicationError, AttemptError, CommandError, Decision, DecisionError, EventOf, Id,
    Root, Verdict,
};

/// A created aggregate.
#[derive(Debug)]
pub struct Created<A> {
    /// The id of the aggregate.
    pub id: Id<A>,
    /// The receipt of the events that created it: to wait until followers have processed them.
    pub receipt: Receipt,
}

impl Application {
    /// Creates an aggregate from the events that `decide` returns, and saves it under a [new id](Self::new_id).
    ///
    /// The events say which aggregate they create. Within a [command](Self::command) that was carried out before, id and
    /// receipt are those of the first time, even if `decide` would reject by now.
    ///
    /// ```
    /// # use eventsourcing_core::{Aggregate, Application, ApplicationError, Created, Id, Receipt, event};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Aggregate, Serialize, Deserialize)] struct Jar { beans: u32 }
    /// # #[event] impl Jar {
    /// #     fn filled(beans: u32) -> Self { Self { beans } }
    /// #     fn emptied(&mut self) { self.beans = 0; }
    /// # }
    /// async fn fill_and_empty(app: &Application) -> Result<Receipt, ApplicationError> {
    ///     let Created { id, receipt: _ } = app.create(|| JarEvent::Filled { beans: 3 }).await?;
    ///     app.update(id, |_| JarEvent::Emptied).await
    /// }
    /// ```
    ///
    /// # Errors
    /// [`ApplicationError`], if `decide` returns events: the store failed. [`CommandError`], if it returns a `Result`:
    /// [`CommandError::Rejected`] is the rejection. Nothing was written, except as
    /// [`StoreError::Unavailable`](crate::store::StoreError::Unavailable) says.
    ///
    /// # Panics
    /// The same as [`Root::create`].
    pub async fn create<A, D>(
        &self,
        decide: impl FnOnce() -> D + Send,
    ) -> Result<Created<A>, DecisionError<D>>
    where
        A: Aggregate<Event = D::Event>,
        D: Decision<Event: EventOf<A>, Failure: Send>,
    {
        let created = self.create_decided(decide).await;
        created.map_err(D::Verdict::error)
    }

    async fn create_decided<A, D>(
        &self,
        decide: impl FnOnce() -> D + Send,
    ) -> Result<Created<A>, CommandError<D::Failure>>
    where
        A: Aggregate<Event = D::Event>,
        D: Decision<Failure: Send>,
    {
        self.check_owns(A::NAME)?;
        let _new_ids = self.new_ids();
        let id = self.new_id();
        let receipt = match decide().into_events() {
            Ok(events) => self.save(&mut Root::<A>::caused(id, events, None)).await?,
            Err(rejection) => self
                .first_receipt()
                .await?
                .ok_or(CommandError::Rejected(rejection))?,
        };
        Ok(Created { id, receipt })
    }

    /// Loads the aggregate, lets it decide, and saves what it decided. If another command was faster it loads and
    /// decides again, so `decide` may run several times.
    ///
    /// Updates of one aggregate in one process take turns, and the next one finds the aggregate in the
    /// [cache](Self::with_cache): no load, one append. While an append is under way those who wait gather: each decides on
    /// what the one before it has decided, and all of it is one append. So a busy aggregate is not held to one command a
    /// commit. Each has its own answer and its own metadata. A [command](Self::command) with an id has the receipt that it would have got
    /// from an append of its own. Receipts of the others have one position, that of the last event of them all: a reader who
    /// has seen that position has seen the command's events.
    ///
    /// If this future is dropped the append may still happen, wholly or not at all.
    ///
    /// Within a [command](Self::command) that was carried out before, the first receipt is returned, also if the
    /// aggregate would refuse by now, or had nothing to record the first time. Whether a refusal is an answer for ever as well is up to [`once`](Self::once).
    ///
    /// # Errors
    /// [`CommandError::Rejected`]: what `decide` refused with. [`CommandError::Application`]: no such aggregate, the store failed, or
    /// others were faster too often. Nothing was written, except as
    /// [`StoreError::Unavailable`](crate::store::StoreError::Unavailable) says.
    ///
    /// # Panics
    /// If code of the aggregate does: `decide`, a fold, a field that is encoded or decoded; or the clock, or the source of ids. Nothing
    /// was written, and commands that would have shared the append are written without this one.
    pub async fn update<A, D>(
        &self,
        id: Id<A>,
        decide: impl Fn(&A) -> D + Send + Sync,
    ) -> Result<Receipt, DecisionError<D>>
    where
        A: Aggregate,
        D: Decision<Event = A::Event, Failure: Send>,
    {
        self.update_all((id,), |(root,)| root.execute(&decide))
            .await
    }

    /// Loads several aggregates, lets them decide together, and saves what they decided in one append: all or none.
    ///
    /// The ids are a tuple of up to four, or a `Vec` or a slice with ids of one kind of aggregate. The closure gets the roots in
    /// the same order: a tuple, or a boxed slice. It returns `()`, or a `Result` if an aggregate may reject.
    ///
    /// Within a process, updates that have an aggregate in common take turns, with those of [`update`](Self::update) too, and the
    /// next one finds the aggregates in the [cache](Self::with_cache). Those that wait for a busy aggregate share an append, whatever
    /// other aggregates each of them updates. Otherwise as [`update`](Self::update).
    ///
    /// ```
    /// # use eventsourcing_core::{Aggregate, Application, Id, Receipt, CommandError, event};
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
    /// async fn pour(app: &Application, from: Id<Jar>, to: Id<Jar>) -> Result<Receipt, CommandError<&'static str>> {
    ///     app.update_all((from, to), |(from, to)| {
    ///         from.execute(|jar| jar.take(3))?;
    ///         Ok(to.execute(|_| JarEvent::Added { beans: 3 }))
    ///     })
    ///     .await
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`update`](Self::update). The same id twice is [`StoreError::Invalid`](crate::store::StoreError::Invalid).
    pub async fn update_all<I, V>(
        &self,
        ids: I,
        decide: impl Fn(&mut I::Roots) -> V + Send + Sync,
    ) -> Result<Receipt, V::Error>
    where
        I: RootIds,
        V: Verdict<Failure: Send>,
    {
        let decide = |roots: &mut I::Roots| decide(roots).into_result();
        self.update_decided(ids, decide).await.map_err(V::error)
    }

    async fn update_decided<I, F>(
        &self,
        ids: I,
        decide: impl Fn(&mut I::Roots) -> Result<(), F> + Send + Sync,
    ) -> Result<Receipt, CommandError<F>>
    where
        I: RootIds,
        F: Send,
    {
        // Loading would find nothing where the owner has another store.
        I::aggregates().try_for_each(|aggregate| self.check_owns(aggregate))?;
        let receipt = self.execute(ids, decide).await?;
        self.after_save().await;
        Ok(receipt)
    }

    /// The receipt of this handle's command, if it was carried out before.
    ///
    /// # Errors
    /// [`ApplicationError::Rejected`]: it was refused before, and that was [kept](Self::once). Others: the store failed.
    pub async fn first_receipt(&self) -> Result<Option<Receipt>, ApplicationError> {
        match self.context.command_id {
            None => Ok(None),
            Some(command_id) => match self.store.receipt(command_id).await? {
                Some(receipt) => refuse_rejected(&receipt).map(|()| Some(receipt)),
                None => Ok(None),
            },
        }
    }

    /// Runs `attempt` again while it ends in a conflict, with growing waits, as often as the retry policy allows.
    /// For commands that [`update`](Self::update) and [`update_all`](Self::update_all) cannot express; `attempt` loads
    /// the aggregates anew each time. The [ids](Self::new_id) of a [command](Self::command) are the same in every attempt.
    ///
    /// # Errors
    /// What the last attempt ended with.
    pub async fn retry<T, E, F>(&self, attempt: impl Fn() -> F + Send) -> Result<T, E>
    where
        E: AttemptError,
        F: Future<Output = Result<T, E>> + Send,
    {
        let mut backoff = self.settings.retry.start("command");
        let new_ids = self.new_ids();
        loop {
            new_ids.begin_attempt();
            match attempt().await {
                Err(error) if error.is_conflict() => backoff.wait(error).await?,
                outcome => return outcome,
            }
        }
    }
}
