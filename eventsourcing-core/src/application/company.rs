//! Commands on one aggregate share an append: see [`Company`].
//!
//! A command that has its turn decides, leaves the root with its events in the slot, and queues up again. Those who were in the queue
//! meanwhile do the same. The first one to have its turn again has written what has gathered. So whoever waits is let in, and
//! nobody waits for commands that are yet to come. A command that nobody waits behind is written at once.

use std::fmt;
use std::pin::pin;

use futures_util::future::{Either, select};
use tokio::runtime::Handle;

use super::Application;
use crate::aggregate::root::AnyRoot;
use crate::cache::{Kept, Slot, Turn};
use crate::company::{Company, Member, Outcome};
use crate::panics::catch;
use crate::store::{Append, EventStore, Receipt, ReceiptKind, StoreError, StreamId};
use crate::{Aggregate, ApplicationError, CommandError, Id, IntoEvents, Root};

/// A command that has decided.
struct Decided<E> {
    /// What is answered if the events are written: that it was carried out, or the refusal.
    answer: Result<(), E>,
    fate: Fate,
    /// Whether there is anything to write for it.
    has_events: bool,
    /// It has decided on what was in the cache, which may be stale.
    was_cached: bool,
}

enum Fate {
    Sealed(Outcome),
    /// It is written with others.
    Shared(Member),
}

impl Application {
    /// Decides when it has its turn, and has it written with the others that do.
    pub(super) async fn update_in_company<A, D, E>(
        &self,
        slot: &Slot,
        id: Id<A>,
        decide: impl Fn(&A) -> Result<D, E> + Send + Sync,
    ) -> Result<Receipt, CommandError<E>>
    where
        A: Aggregate,
        D: IntoEvents<A::Event>,
        E: fmt::Display + Send,
    {
        let (mut backoff, mut may_be_stale) = (self.settings.retry.start("command"), true);
        loop {
            let Decided {
                answer,
                fate,
                has_events,
                was_cached,
            } = self.decide(slot, id, &decide).await?;
            let outcome = match fate {
                Fate::Sealed(outcome) => outcome,
                Fate::Shared(member) => self.outcome(slot, member).await,
            };
            match outcome {
                Outcome::Written(receipt) => {
                    answer.map_err(CommandError::Rejected)?;
                    // What the others have recorded proves what it was decided on, and lies at or before their receipt.
                    let kind = if has_events {
                        receipt.kind
                    } else {
                        ReceiptKind::NothingRecorded
                    };
                    return Ok(Receipt { kind, ..receipt });
                }
                Outcome::Nothing => {
                    answer.map_err(CommandError::Rejected)?;
                    return Ok(self.nothing_recorded().await?);
                }
                Outcome::Again(_) if was_cached && may_be_stale => may_be_stale = false,
                Outcome::Again(error) => backoff.wait(error).await?,
                Outcome::Apart => return self.update_alone(slot, id, decide).await,
                Outcome::Failed(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for its turn, decides on what those before it have decided, and joins them. What is refused on a root that may be
    /// stale, or leads to nothing, is decided again on what is stored, unless the events of others are going to prove the root.
    async fn decide<A, D, E>(
        &self,
        slot: &Slot,
        id: Id<A>,
        decide: impl Fn(&A) -> Result<D, E> + Send + Sync,
    ) -> Result<Decided<E>, ApplicationError>
    where
        A: Aggregate,
        D: IntoEvents<A::Event>,
    {
        let mut turn = slot.turn().await;
        while !turn.admits::<A>() {
            turn = self.settle(slot, turn).await;
        }
        let kept = turn.take::<A>(self.store.epoch());
        let mut was_cached = kept.is_some();
        let (mut root, company) = match kept {
            Some(kept) => kept,
            None => (self.load(id).await?, None),
        };
        let before = root.pending().len();
        let mut answer = root.execute_because(self.metadata(), &decide);
        if !root.has_pending() && was_cached {
            (root, was_cached) = (self.load(id).await?, false);
            answer = root.execute_because(self.metadata(), &decide);
        }
        let has_events = root.pending().len() > before;
        let fate = match company {
            None if !root.has_pending() => {
                turn.put(Box::new(root));
                Fate::Sealed(Outcome::Nothing)
            }
            None if !slot.is_wanted() => Fate::Sealed(self.write_single(&mut turn, root).await),
            company => {
                let mut company = company.unwrap_or_else(Company::new);
                let member = company.join();
                turn.put_unwritten(Box::new(root), company);
                Fate::Shared(member)
            }
        };
        Ok(Decided {
            answer,
            fate,
            has_events,
            was_cached,
        })
    }

    /// Writes at once what nobody waits to go on from.
    async fn write_single<A: Aggregate>(&self, turn: &mut Turn, mut root: Root<A>) -> Outcome {
        let written = self.write_root(&mut root).await;
        if written.is_ok() {
            turn.put(Box::new(root));
        }
        Outcome::of_one(written)
    }

    /// What has become of the company. Whoever has a turn again before it is written, has it written.
    async fn outcome(&self, slot: &Slot, mut member: Member) -> Outcome {
        {
            let (settled, turn) = (pin!(member.settled()), pin!(slot.turn()));
            if let Either::Right((turn, settled)) = select(settled, turn).await {
                drop(self.settle(slot, turn).await);
                settled.await;
            }
        }
        member.outcome()
    }

    /// Has written what has gathered in the slot, and gives the turn back. It goes on if this future is dropped, for others wait
    /// for it.
    pub(super) async fn settle(&self, slot: &Slot, mut turn: Turn) -> Turn {
        let Ok(runtime) = Handle::try_current() else {
            self.write_company(&mut turn).await;
            return turn;
        };
        let app = self.clone();
        let written = runtime.spawn(async move {
            app.write_company(&mut turn).await;
            turn
        });
        match written.await {
            Ok(turn) => turn,
            // It panicked, and has left the slot empty.
            Err(_) => slot.turn().await,
        }
    }

    /// Encoding is code of the user, which may fail or panic for one command. Then nothing has begun: the company goes, and
    /// each of its commands is tried alone, where it harms no other.
    async fn write_company(&self, kept: &mut Kept) {
        let Some((mut root, company)) = kept.take_company() else {
            return;
        };
        let Ok(Ok(append)) = catch(|| self.encode_alone(&*root)) else {
            return;
        };
        company.begin();
        let outcome = self.append_root(&mut *root, append).await;
        if outcome.is_ok() {
            kept.put(root);
        }
        company.settle(outcome);
    }

    async fn write_root(&self, root: &mut dyn AnyRoot) -> Result<Receipt, StoreError> {
        let append = self.encode_alone(root)?;
        self.append_root(root, append).await
    }

    /// An append with what one root has to write.
    fn encode_alone(&self, root: &dyn AnyRoot) -> Result<Append, StoreError> {
        self.encode_root(Append::new(self.now()), root, &[])
    }

    async fn append_root(
        &self,
        root: &mut dyn AnyRoot,
        append: Append,
    ) -> Result<Receipt, StoreError> {
        let snapshots: Vec<StreamId> = append
            .snapshots
            .iter()
            .map(|snapshot| snapshot.stream.clone())
            .collect();
        let epoch = append.epoch.unwrap_or(self.store.epoch());
        let receipt = self.store.append(append).await?.receipt;
        root.saved(&snapshots, epoch);
        Ok(receipt)
    }
}
