//! Saving: everything that was decided becomes one append.

use std::sync::Weak;

use tracing::warn;

use super::Application;
use super::attempts::Attempts;
use super::parts::{Part, Saveable};
use crate::ApplicationError;
use crate::aggregate::root::{AnyRoot, with_cause};
use crate::panics::catch;
use crate::store::{
    Append, Appended, Expected, Load, Loaded, NewSnapshot, PAYLOAD_BYTES_MAX, Receipt, ReceiptKind,
    StoreError, StreamId, Tracking, Version,
};

impl Application {
    /// Saves all unsaved events of the given aggregates in one append: all or none.
    ///
    /// Give it `&mut root`, or several as a tuple: `save((&mut from, &mut to))`. Aggregates without unsaved events
    /// are left alone; to require that one has not changed, give `root.guard()`.
    ///
    /// If there is nothing to save nothing is written, except within a [command](Self::command), whose answer is
    /// remembered. The receipt is then of the kind [`NothingRecorded`](crate::ReceiptKind::NothingRecorded), and stands for
    /// everything that was stored before.
    ///
    /// After an error the aggregates keep their unsaved events. If this future is dropped the append may still
    /// happen, wholly or not at all.
    ///
    /// # Errors
    /// A conflict if one of the aggregates was changed meanwhile: load and decide again, or use
    /// [`update`](Self::update) or [`retry`](Self::retry). [`StoreError::Invalid`] within a system if another application owns one
    /// of them, or if it is guarded. Others as [`EventStore::append`](crate::store::EventStore::append).
    pub async fn save(&self, mut saved: impl Saveable) -> Result<Receipt, ApplicationError> {
        self.save_parts(saved.parts()).await
    }

    pub(super) async fn save_parts(
        &self,
        parts: Vec<Part<'_>>,
    ) -> Result<Receipt, ApplicationError> {
        let receipt = self.write(parts).await?;
        self.after_save().await;
        Ok(receipt)
    }

    /// Saves, but does not yet tell the runner.
    pub(super) async fn write(
        &self,
        mut parts: Vec<Part<'_>>,
    ) -> Result<Receipt, ApplicationError> {
        let append = self.encode(&parts)?;
        if append.event_count() == 0 && append.commands.is_empty() {
            return Ok(self.nothing_recorded().await?);
        }
        let appended = self
            .append_roots(append, roots(&mut parts), &mut Attempts::default())
            .await?;
        refuse_rejected(&appended.receipt)?;
        roots(&mut parts).for_each(|root| self.cache.forget(&root.key()));
        if appended.repeated {
            for root in roots(&mut parts).filter(|root| root.has_pending()) {
                self.restore(root).await?;
            }
        }
        Ok(appended.receipt)
    }

    /// Appends what `roots` have to write, and marks it as written. They are left alone if the command was answered before.
    pub(super) async fn append_roots<'p, 'a: 'p>(
        &self,
        append: Append,
        roots: impl Iterator<Item = &'p mut (dyn AnyRoot + 'a)> + Send,
        attempts: &mut Attempts,
    ) -> Result<Appended, StoreError> {
        let snapshots: Vec<StreamId> = append
            .snapshots
            .iter()
            .map(|snapshot| snapshot.stream.clone())
            .collect();
        let epoch = append.epoch.unwrap_or(self.store.epoch());
        let appended = self.append(append, attempts).await?;
        if !appended.repeated {
            roots
                .filter(|root| root.has_pending())
                .for_each(|root| root.saved(&snapshots, epoch));
        }
        Ok(appended)
    }

    /// Brings a root to where the first time has left it, which may have been under another name.
    async fn restore(&self, root: &mut dyn AnyRoot) -> Result<(), StoreError> {
        let epoch = self.store.epoch();
        let mut stands_under = root.stream();
        let mut loaded = Loaded::default();
        for stream in std::iter::once(root.stream()).chain(root.other_streams()) {
            if loaded.events.is_empty() {
                loaded = self.store.load(Load::new(stream.clone())).await?;
                stands_under = stream;
            }
        }
        root.restore(&stands_under.category, loaded, epoch)
    }

    /// Returns the receipt of a decision without a command id and without events. It is not stored. Its position is read after
    /// the decision, so all events that the decision was based on lie before it.
    pub(super) async fn nothing_recorded(&self) -> Result<Receipt, StoreError> {
        let position = self.store.newest_position().await?;
        Ok(Receipt {
            log: self.store.log_id(),
            kind: ReceiptKind::NothingRecorded,
            position,
            command_id: None,
        })
    }

    /// Gives an inline runner its turn.
    pub(super) async fn after_save(&self) {
        if let Some(runner) = self.hook.get().and_then(Weak::upgrade) {
            runner.saved().await;
        }
    }

    /// Appends, again and again while the store is unavailable if a command has an id: what was written once is refused the second
    /// time, because that command has a receipt by then. A store that can never be used again is not asked again.
    pub(super) async fn append(
        &self,
        append: Append,
        attempts: &mut Attempts,
    ) -> Result<Appended, StoreError> {
        if append.commands.is_empty() {
            return self.store.append(append).await;
        }
        let mut backoff = self.settings.retry.start("append");
        loop {
            match self.store.append(append.clone()).await {
                Err(error @ StoreError::Unavailable { .. }) if self.store.fault().is_none() => {
                    attempts.note(&error);
                    backoff
                        .wait(error)
                        .await
                        .map_err(|error| attempts.conclude(error))?;
                }
                outcome => return outcome.map_err(|error| attempts.conclude(error)),
            }
        }
    }

    fn encode(&self, parts: &[Part<'_>]) -> Result<Append, StoreError> {
        let metadata = self.metadata().to_bytes()?;
        let mut append = Append::new(self.now());
        if let Some(command_id) = self.context.command_id {
            append = append.with_command_id(command_id);
        }
        for part in parts {
            match part {
                Part::Guard(guard) => {
                    self.check_owns(guard.aggregate)?;
                    let expected = Expected::Exact(guard.version);
                    append = append
                        .with_guard(guard.stream.clone(), expected)
                        .in_epoch(guard.epoch);
                }
                Part::Root(root) if root.has_pending() => {
                    append = self.encode_root(append, *root, &metadata)?;
                }
                Part::Root(_) => {}
            }
        }
        Ok(append)
    }

    pub(super) fn encode_root(
        &self,
        mut append: Append,
        root: &dyn AnyRoot,
        metadata: &[u8],
    ) -> Result<Append, StoreError> {
        self.check_owns(root.aggregate())?;
        let events = root.encode(self.settings.encoding, metadata)?;
        append.snapshots.extend(self.snapshot_of(root));
        if root.expected() == Version::ZERO {
            // Nor may it have been begun under another name, by whichever release.
            let others = root.other_streams().into_iter();
            append = others.fold(append, |append, other| {
                append.with_guard(other, Expected::Exact(Version::ZERO))
            });
        }
        let expected = Expected::Exact(root.expected());
        Ok(append
            .with_events(root.stream(), expected, events)
            .in_epoch(root.epoch()))
    }

    /// One append with everything that a page of work has led to, and the follower's step.
    pub(crate) fn encode_work<'a>(
        &self,
        roots: impl Iterator<Item = &'a dyn AnyRoot>,
        tracking: Tracking,
    ) -> Result<Append, StoreError> {
        let append = Append::new(self.now()).with_tracking(tracking);
        roots
            .filter(|root| root.has_pending())
            .try_fold(append, |append, root| self.encode_root(append, root, &[]))
    }

    /// `None`: there will be no snapshot. None is due, or it cannot be made, which is not worth failing a command for.
    fn snapshot_of(&self, root: &dyn AnyRoot) -> Option<NewSnapshot> {
        let policy = self.settings.snapshots.get(&root.kind()).map(AsRef::as_ref);
        let snapshot = || {
            root.is_snapshot_due(policy)
                .then(|| root.encode_snapshot(self.settings.encoding))
        };
        let reason = match catch(snapshot) {
            Ok(None) => return None,
            Ok(Some(Ok(snapshot))) if snapshot.payload.len() <= PAYLOAD_BYTES_MAX => {
                return Some(snapshot);
            }
            Ok(Some(Ok(snapshot))) => format!("it would have {} bytes", snapshot.payload.len()),
            Ok(Some(Err(error))) => with_cause(&error),
            Err(panic) => panic.to_string(),
        };
        warn!(stream = %root.stream(), reason, "no snapshot is kept");
        None
    }
}

/// A receipt of a rejection that was kept is no receipt of a command that was carried out.
pub(super) fn refuse_rejected(receipt: &Receipt) -> Result<(), ApplicationError> {
    match (receipt.kind, receipt.command_id) {
        (ReceiptKind::Rejected, Some(command_id)) => Err(ApplicationError::Rejected { command_id }),
        _ => Ok(()),
    }
}

pub(super) fn roots<'p, 'a: 'p>(
    parts: &'p mut [Part<'a>],
) -> impl Iterator<Item = &'p mut (dyn AnyRoot + 'a)> {
    parts.iter_mut().filter_map(|part| match part {
        Part::Root(root) => Some(&mut **root),
        Part::Guard(_) => None,
    })
}
