//! [`Command`]: one command decides, alone or in a batch.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use smallvec::SmallVec;
use tokio::runtime::Handle;

use super::batch::{BatchCommand, BatchError, BatchTicket, CommandBatch, Contents, Outcome};
use super::cache::{Entries, EntryLocks, HeldRoots};
use crate::application::Application;
use crate::application::attempts::Attempts;
use crate::application::new_ids::NewIds;
use crate::application::parts::RootIds;
use crate::store::{Append, Appended, CommandId, StoreError, StreamId};
use crate::{ApplicationError, Metadata};

/// A command, and what is known of it from attempt to attempt.
pub(super) struct Command<'c, I> {
    app: &'c Application,
    ids: I,
    entries: Entries,
    new_ids: &'c NewIds<'c>,
    /// It may be written together with others.
    pub(super) may_share: bool,
    /// Its id was looked up, or a store has said of it that it is not among those that were answered before.
    pub(super) is_verified: bool,
    /// It names an aggregate twice, of which there is one root in a cache or batch.
    names_one_twice: bool,
}

/// A command that has decided.
pub(super) struct Decided<E> {
    /// The answer if the events are written: success, or the rejection.
    pub(super) answer: Result<(), E>,
    pub(super) fate: Fate,
    /// It has decided on what was in the cache, which may be stale.
    pub(super) was_cached: bool,
}

pub(super) enum Fate {
    Sealed(Outcome),
    /// It is written with others.
    Shared(BatchTicket),
}

/// The number of unwritten events of each root, in the order of the ids.
type Counts = SmallVec<[usize; 4]>;
/// The answer of the user's decision, or its panic.
type Caught<E> = Result<Result<(), E>, Box<dyn Any + Send>>;

impl<'c, I: RootIds> Command<'c, I> {
    pub(super) fn new(app: &'c Application, ids: I, new_ids: &'c NewIds<'c>) -> Self {
        let entries = app.cache.entries(ids.streams());
        let names_one_twice = entries.len() < ids.count();
        Self {
            app,
            ids,
            entries,
            new_ids,
            may_share: !names_one_twice,
            is_verified: false,
            names_one_twice,
        }
    }

    fn id(&self) -> Option<CommandId> {
        self.app.context.command_id
    }

    /// Waits for its turn, and decides on what those before it have decided. What is rejected on a root that may be stale, or leads to
    /// nothing, is decided again on what is stored, unless the events of others are going to prove the root.
    pub(super) async fn decide<E>(
        &self,
        decide: &(impl Fn(&mut I::Roots) -> Result<(), E> + Send + Sync),
    ) -> Result<Decided<E>, ApplicationError>
    where
        E: Send,
    {
        let mut locks = self.entries.lock().await;
        loop {
            let joined = self.app.settle(&mut locks, self.may_share).await;
            if !self.names_one_twice {
                self.ids.load_missing(self.app, &mut locks).await?;
            }
            let Some(batch) = joined else {
                return self.decide_apart(locks, decide).await;
            };
            let mut gate = batch.contents.lock().await;
            match self.admission(&mut locks, &mut gate) {
                Admission::Granted => {
                    return self.decide_in(&batch, locks, &mut gate, decide).await;
                }
                Admission::AfterVerification => return Ok(unverified()),
                Admission::Refused => {
                    drop(gate);
                    self.app.close(&batch).await;
                }
            }
        }
    }

    fn admission(&self, locks: &mut EntryLocks<'_>, gate: &mut Option<Contents>) -> Admission {
        let Some(contents) = gate.as_mut().filter(|contents| contents.admits(self.id())) else {
            return Admission::Refused;
        };
        let must_verify = contents.is_strict && self.id().is_some() && !self.is_verified;
        let held = HeldRoots {
            locks,
            contents: Some(contents),
        };
        match self.ids.fit(&held) {
            true if must_verify => Admission::AfterVerification,
            true => Admission::Granted,
            false => Admission::Refused,
        }
    }

    /// Decides where there is no batch to join. It is written at once, unless others wait for one of its aggregates.
    async fn decide_apart<E>(
        &self,
        mut locks: EntryLocks<'_>,
        decide: &(impl Fn(&mut I::Roots) -> Result<(), E> + Send + Sync),
    ) -> Result<Decided<E>, ApplicationError> {
        let cause = Arc::new(self.app.metadata());
        let mut roots = match self.names_one_twice {
            true => self.ids.load(self.app).await?,
            false => self.ids.take(&mut HeldRoots {
                locks: &mut locks,
                contents: None,
            }),
        };
        let mut was_cached = !self.names_one_twice && locks.iter().any(|lock| !lock.is_fresh);
        self.new_ids.begin_attempt();
        let mut answer = decide_because::<I, E>(&mut roots, &cause, decide);
        if was_cached && is_unproven::<I>(&mut roots, &locks) {
            roots = self.ids.load(self.app).await?;
            was_cached = false;
            self.new_ids.begin_attempt();
            answer = decide_because::<I, E>(&mut roots, &cause, decide);
        }
        let has_events = has_pending::<I>(&mut roots);
        let fate = if answer.is_err() || !(has_events || self.id().is_some()) {
            self.put_back(roots, &mut locks);
            Fate::Sealed(Outcome::Unwritten)
        } else if has_events
            && self.may_share
            && locks.iter().any(|lock| lock.entry.is_wanted())
            && let Ok(runtime) = Handle::try_current()
        {
            Fate::Shared(self.open_batch(roots, &mut locks, &runtime))
        } else {
            Fate::Sealed(self.write_alone(roots, &mut locks).await)
        };
        Ok(Decided {
            answer,
            fate,
            was_cached,
        })
    }

    /// Leaves the roots that are written to the next command, and forgets the others.
    fn put_back(&self, roots: I::Roots, locks: &mut EntryLocks<'_>) {
        if !self.names_one_twice {
            let contents = None;
            I::put(roots, &mut HeldRoots { locks, contents }, None);
        }
    }

    async fn write_alone(&self, mut roots: I::Roots, locks: &mut EntryLocks<'_>) -> Outcome {
        let written = self.append_alone(&mut roots).await;
        // A repeated command has written nothing: what its roots have come to is not what is stored.
        if matches!(&written, Ok(appended) if !appended.repeated) {
            self.put_back(roots, locks);
        }
        Outcome::of_one(written)
    }

    async fn append_alone(&self, roots: &mut I::Roots) -> Result<Appended, StoreError> {
        let mut append = Append::new(self.app.now());
        if let Some(id) = self.id() {
            append = append.with_command_id(id);
        }
        let mut roots = I::roots(roots);
        for root in roots.iter().filter(|root| root.has_pending()) {
            append = self.app.encode_root(append, &**root, &[])?;
        }
        let roots = roots.iter_mut().map(|root| &mut **root);
        self.app
            .append_roots(append, roots, &mut Attempts::default())
            .await
    }

    /// Begins a batch with what this command has decided.
    fn open_batch(
        &self,
        mut roots: I::Roots,
        locks: &mut EntryLocks<'_>,
        runtime: &Handle,
    ) -> BatchTicket {
        let end = end_of::<I>(&mut roots, &[]);
        let mut contents = Contents::default();
        let batch = Arc::new(CommandBatch::new());
        let mut held = HeldRoots {
            locks,
            contents: Some(&mut contents),
        };
        I::put(roots, &mut held, Some(&batch));
        let ticket = self.join(&batch, &mut contents, end, true);
        *batch
            .contents
            .try_lock()
            .expect("its locks are held, so no other command has found it") = Some(contents);
        self.app.lead(runtime, batch);
        ticket
    }

    /// Decides on the roots of a batch. Whatever becomes of the decision, what others have decided stays as it was.
    async fn decide_in<E>(
        &self,
        batch: &Arc<CommandBatch>,
        mut locks: EntryLocks<'_>,
        gate: &mut Option<Contents>,
        decide: &(impl Fn(&mut I::Roots) -> Result<(), E> + Send + Sync),
    ) -> Result<Decided<E>, ApplicationError>
    where
        E: Send,
    {
        let cause = Arc::new(self.app.metadata());
        let mut held = HeldRoots {
            locks: &mut locks,
            contents: gate.as_mut(),
        };
        let roots = self.ids.take(&mut held);
        let (mut roots, before, caught) =
            match self.decide_on(roots, held.locks, &cause, decide).await {
                Ok(decided) => decided,
                Err(error) => {
                    *gate = None;
                    return dissolve(batch, error);
                }
            };
        let end = end_of::<I>(&mut roots, &before);
        I::put(roots, &mut held, Some(batch));
        let contents = gate.as_mut().expect("it was there when it was joined");
        contents.make_whole();
        let answer = caught.unwrap_or_else(|panic| resume_unwind(panic));
        let ticket = self.join(batch, contents, end, answer.is_ok());
        Ok(Decided {
            answer,
            fate: Fate::Shared(ticket),
            was_cached: true,
        })
    }

    /// Lets the command decide on roots with events of others, and rolls back what it leaves behind if it does not carry out anything.
    async fn decide_on<E: Send>(
        &self,
        mut roots: I::Roots,
        locks: &EntryLocks<'_>,
        cause: &Arc<Metadata>,
        decide: &(impl Fn(&mut I::Roots) -> Result<(), E> + Send + Sync),
    ) -> Result<(I::Roots, Counts, Caught<E>), ApplicationError> {
        let before = counts::<I>(&mut roots);
        self.new_ids.begin_attempt();
        let mut caught = decide_caught::<I, E>(&mut roots, cause, decide);
        if caught.is_ok() && is_unproven::<I>(&mut roots, locks) {
            roots = self.rolled_back(roots, &before).await?;
            self.new_ids.begin_attempt();
            caught = decide_caught::<I, E>(&mut roots, cause, decide);
        }
        let has_left_traces = match &caught {
            Ok(Ok(())) => false,
            Ok(Err(_)) => counts::<I>(&mut roots) != before,
            // A fold may have changed the state half-way.
            Err(_) => true,
        };
        if has_left_traces {
            roots = self.rolled_back(roots, &before).await?;
        }
        Ok((roots, before, caught))
    }

    /// The roots as they are stored, with the events that others have recorded before.
    ///
    /// # Errors
    /// A conflict: another process has changed one of them, so that nothing of the batch can be written.
    async fn rolled_back(
        &self,
        roots: I::Roots,
        before: &[usize],
    ) -> Result<I::Roots, ApplicationError> {
        let mut fresh = self.ids.load(self.app).await?;
        I::replay(&mut fresh, roots, before)?;
        Ok(fresh)
    }

    fn join(
        &self,
        batch: &Arc<CommandBatch>,
        contents: &mut Contents,
        end: Option<(StreamId, usize)>,
        is_carried_out: bool,
    ) -> BatchTicket {
        contents.joined += 1;
        contents.is_strict |= self.is_verified;
        let has_events = is_carried_out && end.is_some();
        let id = self.id().filter(|_| is_carried_out);
        let place = id.map(|id| {
            contents.commands.push(BatchCommand { id, end });
            (id, contents.commands.len() - 1)
        });
        batch.ticket(place, has_events)
    }
}

/// The answer of a batch to a command that wants to join it.
enum Admission {
    Granted,
    AfterVerification,
    Refused,
}

fn unverified<E>() -> Decided<E> {
    Decided {
        answer: Ok(()),
        fate: Fate::Sealed(Outcome::Unverified),
        was_cached: true,
    }
}

/// Ends a batch whose roots are lost. After a conflict all of its commands decide again; otherwise each is tried alone.
fn dissolve<E>(
    batch: &CommandBatch,
    error: ApplicationError,
) -> Result<Decided<E>, ApplicationError> {
    match error {
        ApplicationError::Store(StoreError::Conflict {
            stream,
            expected,
            actual,
        }) => {
            let conflict = || StoreError::Conflict {
                stream: stream.clone(),
                expected,
                actual,
            };
            batch.settle(Err(BatchError {
                error: conflict(),
                is_unanswered: false,
            }));
            Ok(Decided {
                answer: Ok(()),
                fate: Fate::Sealed(Outcome::Again(conflict())),
                was_cached: true,
            })
        }
        error => {
            batch.abandon();
            Err(error)
        }
    }
}

/// Lets the aggregates decide; what is recorded is because of `cause`.
fn decide_because<I: RootIds, E>(
    roots: &mut I::Roots,
    cause: &Arc<Metadata>,
    decide: impl Fn(&mut I::Roots) -> Result<(), E>,
) -> Result<(), E> {
    for root in I::roots(roots) {
        root.set_cause(Some(Arc::clone(cause)));
    }
    let answer = decide(roots);
    for root in I::roots(roots) {
        root.set_cause(None);
    }
    answer
}

/// Decides like [`decide_because`], and catches panics. After a panic the roots only serve to take the events of others from them.
fn decide_caught<I: RootIds, E>(
    roots: &mut I::Roots,
    cause: &Arc<Metadata>,
    decide: impl Fn(&mut I::Roots) -> Result<(), E>,
) -> Caught<E> {
    catch_unwind(AssertUnwindSafe(|| {
        decide_because::<I, E>(roots, cause, decide)
    }))
}

fn counts<I: RootIds>(roots: &mut I::Roots) -> Counts {
    let counts = I::roots(roots);
    counts.iter().map(|root| root.pending_count()).collect()
}

fn has_pending<I: RootIds>(roots: &mut I::Roots) -> bool {
    I::roots(roots).iter().any(|root| root.has_pending())
}

/// Returns `true` if a root was looked at that may be stale: it was not loaded now, and no event of it will prove it.
fn is_unproven<I: RootIds>(roots: &mut I::Roots, locks: &EntryLocks<'_>) -> bool {
    I::roots(roots)
        .iter()
        .any(|root| !root.has_pending() && !locks.has_fresh(&root.key()))
}

/// The last stream in which the command has recorded events, in the order in which they are appended, and how many there are with it.
fn end_of<I: RootIds>(roots: &mut I::Roots, before: &[usize]) -> Option<(StreamId, usize)> {
    let before = before.iter().copied().chain(std::iter::repeat(0));
    let roots = I::roots(roots);
    let recorded = roots.iter().zip(before);
    recorded
        .filter(|(root, before)| root.pending_count() > *before)
        .map(|(root, _)| (root.key(), root.pending_count()))
        .max()
}
