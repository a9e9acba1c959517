//! Commands on stored aggregates: each decides while it holds the locks of its aggregates, and commands that wait for each other share
//! an append.
//!
//! A command that no other waits for is written at once. Otherwise its roots, with their events, go into a [`CommandBatch`], and its
//! locks are free for the next command, which decides on what the ones before it have decided and joins the batch: a busy aggregate is
//! not held to one command a commit. Commands on several aggregates join the batch of any of them, so those that have one busy
//! aggregate in common share appends too. The batch is written when those have decided who waited when it began, by a task of its own:
//! a command whose future is dropped takes no other along.

mod batch;
mod cache;
mod decision;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

pub(super) use self::batch::CommandBatch;
use self::batch::{BatchError, Contents, Outcome};
pub(crate) use self::cache::Cache;
pub(super) use self::cache::{EntryLocks, HeldRoots};
use self::decision::{Command, Decided, Fate};
use super::Application;
use super::attempts::Attempts;
use super::parts::RootIds;
use super::save::refuse_rejected;
use crate::CommandError;
use crate::aggregate::root::AnyRoot;
use crate::panics::catch;
use crate::store::{Append, Commands, Receipt, StoreError};

/// The time for which a batch admits commands that begin to wait while it gathers. Commands that waited before are admitted in any
/// case; later ones take the microseconds of their decisions, unless one of them has to load an aggregate.
const GATHERING_MAX: Duration = Duration::from_millis(5);
/// After as many refusals because of other commands a command is written alone: a stream of repeated commands keeps no other waiting.
const REFUSALS_MAX: u32 = 3;

impl Application {
    /// Lets a command decide on the aggregates `ids`, and has it written, again and again if other processes were faster.
    pub(super) async fn execute<I, E>(
        &self,
        ids: I,
        decide: impl Fn(&mut I::Roots) -> Result<(), E> + Send + Sync,
    ) -> Result<Receipt, CommandError<E>>
    where
        I: RootIds,
        E: Send,
    {
        let new_ids = self.new_ids();
        let mut command = Command::new(self, ids, &new_ids);
        let mut backoff = self.settings.retry.start("command");
        let mut may_be_stale = true;
        let mut refusals = 0;
        loop {
            let Decided {
                answer,
                fate,
                was_cached,
            } = command.decide(&decide).await?;
            let outcome = match fate {
                Fate::Sealed(outcome) => outcome,
                Fate::Shared(ticket) => ticket.outcome().await,
            };
            match outcome {
                Outcome::Written(receipt) => return self.answer(answer, Some(receipt)).await,
                Outcome::Unwritten => return self.answer(answer, None).await,
                Outcome::Again(_) if was_cached && may_be_stale => may_be_stale = false,
                Outcome::Again(error) => backoff.wait(error).await?,
                Outcome::AgainAtOnce => {
                    refusals += 1;
                    command.is_verified = true;
                    command.may_share &= refusals < REFUSALS_MAX;
                }
                Outcome::Unverified => {
                    if let Some(receipt) = self.first_receipt().await? {
                        return Ok(receipt);
                    }
                    command.is_verified = true;
                }
                Outcome::Apart => command.may_share = false,
                Outcome::Failed(error) => return Err(error.into()),
            }
        }
    }

    /// The answer to a command that is written, or that had nothing to write. If it was rejected, it may have been carried out before.
    async fn answer<E>(
        &self,
        decided: Result<(), E>,
        receipt: Option<Receipt>,
    ) -> Result<Receipt, CommandError<E>> {
        match (decided, receipt) {
            (Err(rejection), _) => self
                .first_receipt()
                .await?
                .ok_or(CommandError::Rejected(rejection)),
            (Ok(()), Some(receipt)) => {
                refuse_rejected(&receipt)?;
                Ok(receipt)
            }
            (Ok(()), None) => Ok(self.nothing_recorded().await?),
        }
    }

    /// Brings what the locks stand for up to date, and returns the batch that the command may join, if there is one. Other batches
    /// are written first.
    async fn settle(
        &self,
        locks: &mut EntryLocks<'_>,
        may_share: bool,
    ) -> Option<Arc<CommandBatch>> {
        let mut joined: Option<Arc<CommandBatch>> = None;
        for lock in locks.iter_mut() {
            let Some(batch) = lock.batch() else {
                continue;
            };
            let is_joined = joined
                .as_ref()
                .is_none_or(|joined| Arc::ptr_eq(joined, &batch));
            if may_share && is_joined && batch.is_gathering() {
                joined = Some(batch);
                continue;
            }
            self.close(&batch).await;
            lock.take_settled();
        }
        joined
    }

    /// Has a batch written that takes no further command, and waits until it is settled. The writing goes on if this future is
    /// dropped, for others wait for it.
    async fn close(&self, batch: &Arc<CommandBatch>) {
        let contents = batch.contents.lock().await.take();
        if let Some(contents) = contents {
            let app = self.clone();
            let closed = Arc::clone(batch);
            let write = async move { app.write_batch(&closed, contents).await };
            match Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(write)),
                Err(_) => write.await,
            }
        }
        batch.settled().await;
    }

    /// Starts the task that writes a new batch. It needs a runtime, without which every command is written alone.
    fn lead(&self, runtime: &Handle, batch: Arc<CommandBatch>) {
        let app = self.clone();
        runtime.spawn(async move {
            let ended = EndsWithItsTask(&batch);
            app.gather(&batch).await;
            let contents = batch.contents.lock().await.take();
            // From now on the batch ends with the task that writes it, which may be that of a command.
            std::mem::forget(ended);
            if let Some(contents) = contents {
                app.write_batch(&batch, contents).await;
            }
        });
    }

    /// Encoding is code of the user, which may fail or panic for one command. Then nothing has begun: the batch is dissolved, and
    /// each of its commands is tried alone, where it harms no other.
    async fn write_batch(&self, batch: &Arc<CommandBatch>, mut contents: Contents) {
        let _ended = EndsWithItsTask(batch);
        if batch.is_deserted() || !contents.is_whole() {
            return;
        }
        let Ok(Ok(append)) = catch(|| self.encode_batch(&contents)) else {
            return;
        };
        if !batch.begin() {
            return;
        }
        let mut attempts = Attempts::default();
        let roots = contents
            .roots
            .values_mut()
            .map(|root| &mut **root as &mut dyn AnyRoot);
        match self.append_roots(append, roots, &mut attempts).await {
            Ok(appended) => {
                self.cache.put_back(batch, contents.roots);
                batch.settle(Ok(appended));
            }
            Err(error) => {
                let is_unanswered = attempts.are_unanswered() && answers_all(&error, &contents);
                batch.settle(Err(BatchError {
                    error,
                    is_unanswered,
                }));
            }
        }
    }

    /// Waits until those commands have decided that wait for aggregates of the batch.
    ///
    /// Locks are granted in the order of requests: every command that waits when this one requests the lock has had its turn before it. A command may wait for
    /// one lock while it holds another, and keep others from the queue of a busy aggregate; so this looks again while the batch grows.
    async fn gather(&self, batch: &Arc<CommandBatch>) {
        let start = Instant::now();
        let mut joined_before = 0;
        loop {
            let (joined, wanted) = match &*batch.contents.lock().await {
                Some(contents) if !contents.is_full() => {
                    (contents.joined, self.cache.wanted(contents.roots.keys()))
                }
                Some(_) | None => return,
            };
            let is_over = joined == joined_before || start.elapsed() > GATHERING_MAX;
            if wanted.is_empty() || (joined_before > 0 && is_over) {
                return;
            }
            joined_before = joined;
            for entry in wanted {
                entry.let_pass().await;
            }
        }
    }

    fn encode_batch(&self, contents: &Contents) -> Result<Append, StoreError> {
        let mut append = Append::new(self.now());
        if !contents.commands.is_empty() {
            append.commands = Commands::Several(contents.shared_commands());
        }
        contents.roots.values().try_fold(append, |append, root| {
            self.encode_root(append, &**root, &[])
        })
    }
}

/// An append answers all of its commands or none: where one of them has no receipt, no attempt at it was carried out.
fn answers_all(error: &StoreError, contents: &Contents) -> bool {
    matches!(error, StoreError::Repeated { receipts } if receipts.len() == contents.commands.len())
}

/// Tells the commands of a batch when the task has gone that was to write it.
struct EndsWithItsTask<'a>(&'a CommandBatch);

impl Drop for EndsWithItsTask<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
