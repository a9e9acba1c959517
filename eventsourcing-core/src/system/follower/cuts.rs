//! The cut of a follower into partitions: agreed on at the start, named by each step, and refused where it is outdated.

use jiff::Timestamp;
use tracing::error;

use super::status::Step;
use super::worker::Feed;
use crate::store::{
    Append, Cut, EventStore, FollowerNotes, LogId, NotesQuery, Position, StoreError, Tracking,
};
use crate::system::{Cause, FollowerState, SystemError};

/// This process runs a follower in another number of partitions than the one that is recorded.
#[derive(Debug, thiserror::Error)]
#[error(
    "it is recorded to run in {recorded} partitions, and this process runs it in {own}; nothing was done twice. Stop this \
     process, and start it with_partitions({follower:?}, {recorded})"
)]
struct OutdatedCut {
    follower: String,
    recorded: u32,
    own: u32,
}

impl<S> Feed<S> {
    /// Stops, whatever is configured for events that fail: with another cut no step can be made any more.
    pub(super) fn stop_for_cut(&self, position: Position, refusal: StoreError) -> Step {
        let cause: Cause = match refusal {
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

/// Refuses another cut of a follower than the recorded one: the positions of its partitions would not fit. Returns what is
/// known of the whole follower.
///
/// # Errors
/// [`SystemError::Invalid`]: the follower runs in another number of partitions.
pub(crate) async fn check_cut(
    home: &dyn EventStore,
    upstream: LogId,
    cut: &Cut,
) -> Result<FollowerNotes, SystemError> {
    let book = home
        .notes(NotesQuery::new(cut.follower.clone(), upstream, "").limit(0))
        .await?;
    // Before cuts were recorded, a follower that has come anywhere under its own name ran whole.
    match book
        .partitions
        .or((book.position > Position::ZERO).then_some(1))
    {
        Some(recorded) if recorded != cut.partitions => return Err(refused(cut, recorded)),
        Some(_) => {}
        None => refuse_beside_the_whole(home, upstream, cut).await?,
    }
    Ok(book)
}

/// Records the cut of a follower before anything is done under it, or refuses it.
pub(super) async fn agree_on_cut(
    home: &dyn EventStore,
    upstream: LogId,
    cut: &Cut,
) -> Result<(), SystemError> {
    loop {
        let book = check_cut(home, upstream, cut).await?;
        if book.partitions.is_some() {
            return Ok(());
        }
        let step = Tracking::new(cut.follower.clone(), upstream, book.position, book.position)
            .with_revision(book.revision)
            .with_cut(cut.clone());
        match home
            .append(Append::new(Timestamp::UNIX_EPOCH).with_tracking(step))
            .await
        {
            Ok(_) => return Ok(()),
            // Another process that starts at this moment was first.
            Err(StoreError::TrackingConflict { .. }) => {}
            Err(StoreError::CutChanged { actual, .. }) => return Err(refused(cut, actual)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A process of a release that records no cut has made no step yet, and would go on beside the partitions.
async fn refuse_beside_the_whole(
    home: &dyn EventStore,
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

/// The number of partitions in which a follower has run.
#[cfg(feature = "archive")]
pub(crate) async fn partitions_of(
    home: &dyn EventStore,
    follower: &crate::store::Name,
    upstream: LogId,
) -> Result<u32, StoreError> {
    let book = home
        .notes(NotesQuery::new(follower.clone(), upstream, "").limit(0))
        .await?;
    Ok(book.partitions.unwrap_or(1))
}
