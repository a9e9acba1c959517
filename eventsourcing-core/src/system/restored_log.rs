//! [`RunningSystem::accept_restored_log`]: lets a follower continue in a log that was restored to
//! an earlier moment.
//!
//! The follower has processed events that the log has lost. Their effects stay; undoing them is
//! work for people. The position and the notes of the follower become those of one that has never
//! seen these events.

use std::sync::Arc;

use jiff::Timestamp;

use super::follower::{FollowerWorker, Rewound};
use super::verify::{accounted, all_notes, compare};
use super::{AcceptedLog, FollowerName, RunningSystem, System, SystemError};
use crate::retry::RetryPolicy;
use crate::store::{Append, FollowerNotes, Name, Position, StoreError};

impl<S: System> RunningSystem<S> {
    /// Lets `follower`, which has stopped with [`LogWentBack`](StoreError::LogWentBack), continue
    /// in its log, which was restored to an earlier moment.
    ///
    /// `kept` is the last position up to which the log is still the one that the follower has
    /// processed: the end of the log right after the restore, before anything else was recorded.
    /// The follower continues after it, so that all events recorded since the restore are processed
    /// once. With an earlier position events are processed again; a later one would leave events
    /// out. A later one is refused where that can be detected: the follower's notes up to `kept`
    /// are compared with the log as [`verify`](Self::verify) does, by slices of 10,000 positions,
    /// the last one of which cannot be checked.
    ///
    /// The events that the follower has recorded because of the lost ones stay, and so do its
    /// writes elsewhere and the timers it has scheduled; people have to check all of these. Lost
    /// events that it had parked are removed from its notes.
    ///
    /// Returns the old and new position for each log and partition that went back. A follower that
    /// has seen no lost event is left as it is, so that this call can be repeated. The follower
    /// continues at once in this process, and within some seconds in others.
    ///
    /// # Errors
    /// [`SystemError::Invalid`]: the follower is a read model, which is
    /// [rebuilt](Self::rebuild) instead, or works in memory; `kept` is beyond the end of the log,
    /// or not before the position of the follower; or the log up to there differs from the events
    /// that the follower has processed. [`SystemError::Store`]: a store does not answer. Partitions
    /// that were accepted before the error stay accepted; call this again.
    pub async fn accept_restored_log(
        &self,
        follower: impl Into<FollowerName<S>>,
        kept: Position,
    ) -> Result<Vec<AcceptedLog>, SystemError> {
        let follower = follower.into();
        let name = self.known(follower)?;
        self.refuse_rebuildable(&name)?;
        let mut accepted = Vec::new();
        for worker in self
            .engine
            .workers
            .iter()
            .filter(|worker| worker.name == name)
        {
            accepted.extend(accept(worker, kept).await?);
        }
        if !accepted.is_empty() {
            self.resume(follower).await?;
        }
        Ok(accepted)
    }

    fn refuse_rebuildable(&self, follower: &Name) -> Result<(), SystemError> {
        let mut workers = self.engine.workers.iter();
        let is_shared = workers.any(|worker| worker.name == *follower && worker.is_shared());
        let why = if self
            .read_models
            .iter()
            .any(|read_model| read_model.generations.name() == follower)
        {
            "is a read model, whose rows may stem from lost events: rebuild it"
        } else if !is_shared {
            "works in the memory of each process: start the system again"
        } else {
            return Ok(());
        };
        Err(SystemError::Invalid {
            reason: format!("{follower} {why}"),
        })
    }
}

/// Rewinds one worker. Returns `None` if the log still has the last event that the follower has
/// seen.
async fn accept<S>(
    worker: &Arc<FollowerWorker<S>>,
    kept: Position,
) -> Result<Option<AcceptedLog>, SystemError> {
    let (home, follower, log) = worker.home();
    let mut backoff = RetryPolicy::default().start("accepting a restored log");
    loop {
        let epoch = home.epoch();
        let follower_notes = all_notes(&**home, follower.clone(), log).await?;
        let Some(end) = worker.end_of_restored_log(&follower_notes).await? else {
            return Ok(None);
        };
        refuse_position(&follower, kept, follower_notes.position, end)?;
        let Rewound { step, notes } = worker.kept_in_restored_log(&follower_notes, kept).await?;
        refuse_another_past(worker, &notes).await?;
        let accepted = AcceptedLog {
            follower: follower.clone(),
            log,
            from: follower_notes.position,
            to: step.to,
            events: count(&follower_notes)?.saturating_sub(count(&notes)?),
        };
        match home
            .append(Append::new(Timestamp::UNIX_EPOCH).with_tracking(step.in_epoch(epoch)))
            .await
        {
            Ok(_) => return Ok(Some(accepted)),
            // Another process has changed the notes meanwhile, so they are read again.
            Err(
                error @ (StoreError::TrackingConflict { .. } | StoreError::OutdatedEpoch { .. }),
            ) => {
                backoff.wait(error).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn refuse_position(
    follower: &Name,
    kept: Position,
    place: Position,
    end: Position,
) -> Result<(), SystemError> {
    let why = if kept > end {
        format!("the log ends at position {end}, so it has kept nothing up to position {kept}")
    } else if kept >= place {
        format!(
            "follower {follower} is at position {place} and has seen a lost event, so the log has kept less than that"
        )
    } else {
        return Ok(());
    };
    let what_to_do =
        "give the position at which the restored log ended before anything else was recorded";
    Err(SystemError::Invalid {
        reason: format!("{why}; {what_to_do}"),
    })
}

/// Refuses notes that do not fit the log: the log is not the one that the follower has processed.
async fn refuse_another_past<S>(
    worker: &Arc<FollowerWorker<S>>,
    notes: &FollowerNotes,
) -> Result<(), SystemError> {
    let verification = compare(worker, notes).await?;
    let Some(difference) = verification.differences.first() else {
        return Ok(());
    };
    let to = notes.position;
    let reason = format!(
        "up to position {to} the log is not what follower {} has processed ({difference}); give an earlier position",
        worker.name
    );
    Err(SystemError::Invalid { reason })
}

/// Returns the number of events that the follower accounts for.
fn count(follower_notes: &FollowerNotes) -> Result<u64, StoreError> {
    Ok(accounted(follower_notes)?
        .values()
        .map(|checksums| checksums.count)
        .sum())
}
