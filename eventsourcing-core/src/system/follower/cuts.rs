//! The number of partitions of a follower (its cut): agreed on at the start, named by each step,
//! refused where it differs.

use jiff::Timestamp;
use tracing::error;

use super::status::Step;
use super::worker::FollowerWorker;
use crate::store::{
    Append, BoxError, Cut, FollowerNotes, FollowerStore, LogId, NotesQuery, Position, StoreError,
    Tracking,
};
use crate::system::{FollowerState, SystemError};

/// The error of a process that runs a follower in another number of partitions than the recorded
/// one.
#[derive(Debug, thiserror::Error)]
#[error(
    "the follower is recorded to run in {recorded} partitions, but this process runs it in {own}; nothing was processed twice. Stop this \
     process, and start it with_partitions({follower:?}, {recorded})"
)]
struct OutdatedCut {
    follower: String,
    recorded: u32,
    own: u32,
}

impl<S> FollowerWorker<S> {
    /// Stops the follower, whatever its reaction to failed events is: the store refuses every step
    /// with an outdated cut.
    pub(super) fn stop_for_cut(&self, position: Position, refusal: StoreError) -> Step {
        let cause: BoxError = match refusal {
            StoreError::CutChanged {
                follower,
                expected: own,
                actual: recorded,
            } => OutdatedCut {
                follower: follower.as_str().to_owned(),
                recorded,
                own,
            }
            .into(),
            other => other.into(),
        };
        let failure = self.failure(position, "the number of its partitions".to_owned(), cause);
        error!(follower = %self.name, %position, error = %failure.cause, "follower stopped");
        self.status
            .send_modify(|status| status.state = FollowerState::Stopped(failure));
        Step::Stopped
    }
}

/// Refuses a number of partitions that differs from the recorded one: the positions of the
/// partitions would not fit. Returns the notes of the whole follower.
///
/// # Errors
/// [`SystemError::Invalid`]: the follower runs in another number of partitions.
pub(crate) async fn check_cut(
    home: &dyn FollowerStore,
    upstream: LogId,
    cut: &Cut,
) -> Result<FollowerNotes, SystemError> {
    let follower_notes = home
        .notes(NotesQuery::new(cut.follower.clone(), upstream, "").limit(0))
        .await?;
    // Earlier releases recorded no cut. A position under the follower's own name proves that it ran
    // in one partition.
    match follower_notes
        .partitions
        .or((follower_notes.position > Position::ZERO).then_some(1))
    {
        Some(recorded) if recorded != cut.partitions => return Err(refused(cut, recorded)),
        Some(_) => {}
        None => refuse_beside_the_whole(home, upstream, cut).await?,
    }
    Ok(follower_notes)
}

/// Records the cut of a follower before its first step, or refuses it.
pub(super) async fn agree_on_cut(
    home: &dyn FollowerStore,
    upstream: LogId,
    cut: &Cut,
) -> Result<(), SystemError> {
    loop {
        let follower_notes = check_cut(home, upstream, cut).await?;
        if follower_notes.partitions.is_some() {
            return Ok(());
        }
        let step = Tracking::new(
            cut.follower.clone(),
            upstream,
            follower_notes.position,
            follower_notes.position,
        )
        .with_revision(follower_notes.revision)
        .with_cut(cut.clone());
        match home
            .append(Append::new(Timestamp::UNIX_EPOCH).with_tracking(step))
            .await
        {
            Ok(_) => return Ok(()),
            // Another process that starts at this moment was faster, so its cut is compared with
            // the own one.
            Err(StoreError::TrackingConflict { .. }) => {}
            Err(StoreError::CutChanged { actual, .. }) => return Err(refused(cut, actual)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Refuses partitions beside a process that runs the follower whole. A release that records no cut
/// leaves no trace before its first step but the lease, and would go on beside the partitions.
async fn refuse_beside_the_whole(
    home: &dyn FollowerStore,
    upstream: LogId,
    cut: &Cut,
) -> Result<(), SystemError> {
    let Cut {
        follower,
        partitions,
    } = cut;
    if *partitions == 1 || home.lease_holder(follower, upstream).await?.is_none() {
        return Ok(());
    }
    let reason = format!(
        "another process runs follower {follower} in one partition at this moment; stop that process before this one is \
         started with_partitions({name:?}, {partitions})",
        name = follower.as_str()
    );
    Err(SystemError::Invalid { reason })
}

fn refused(cut: &Cut, recorded: u32) -> SystemError {
    let Cut {
        follower,
        partitions,
    } = cut;
    let reason = format!(
        "follower {follower} has run in {recorded} partitions and cannot go on in {partitions}; start it \
         with_partitions({name:?}, {recorded})",
        name = follower.as_str()
    );
    SystemError::Invalid { reason }
}

/// Returns the number of partitions in which a follower has run.
pub(crate) async fn partitions_of(
    home: &dyn FollowerStore,
    follower: &crate::store::Name,
    upstream: LogId,
) -> Result<u32, StoreError> {
    let follower_notes = home
        .notes(NotesQuery::new(follower.clone(), upstream, "").limit(0))
        .await?;
    Ok(follower_notes.partitions.unwrap_or(1))
}
