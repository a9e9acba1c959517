//! The status of a follower: publishing its position, failing, recovering, and resuming after a
//! stop.

use async_trait::async_trait;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::causes::{described, is_of_newer_release};
use super::cursor::Cursor;
use super::status::{Status, Step};
use super::worker::FollowerWorker;
use crate::store::{BoxError, LogQuery, Position, StoreError};
use crate::system::{FollowerFailure, FollowerState, OnFailure, Parked};

/// Tells whether an event is parked.
#[async_trait]
pub(crate) trait ParkedLookup: Send + Sync {
    /// Returns the parked stream that holds back the event at `position`.
    async fn holding(&self, position: Position) -> Result<Option<Parked>, StoreError>;
}

#[async_trait]
impl<S: Send + Sync> ParkedLookup for FollowerWorker<S> {
    async fn holding(&self, position: Position) -> Result<Option<Parked>, StoreError> {
        if position == Position::ZERO || !self.status.borrow().has_parked {
            return Ok(None);
        }
        let query = LogQuery::after(Position::new(position.as_u64() - 1))
            .limit(1)
            .categories(self.takes());
        let found = self
            .upstream
            .read_log(query)
            .await?
            .events
            .into_iter()
            .next();
        match found.filter(|event| event.position == position) {
            Some(event) if self.notes().holds(&event).await? => Ok(self
                .parked()
                .await?
                .into_iter()
                .find(|parked| parked.stream == event.stream)),
            _ => Ok(None),
        }
    }
}

impl<S> FollowerWorker<S> {
    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Publishes the position of the cursor.
    pub(in crate::system) fn show(&self, cursor: &Cursor) {
        let now = (cursor.reached, !cursor.parked.is_empty(), cursor.proven());
        self.status.send_if_modified(|status| {
            let before = (status.reached, status.has_parked, status.epoch);
            (status.reached, status.has_parked, status.epoch) = now;
            before != now
        });
    }

    pub(super) fn fail(&self, position: Position, event: String, source: BoxError) -> Step {
        let is_outdated = is_of_newer_release(&*source);
        let has_gone_back = matches!(source.downcast_ref(), Some(StoreError::LogWentBack { .. }));
        let failure = self.failure(position, event, source);
        let (state, step) = match self.on_failure {
            _ if is_outdated => {
                warn!(follower = %self.name, %position, error = %failure.cause, "follower waits for a newer release");
                (FollowerState::WaitingForRelease(failure), Step::Outdated)
            }
            // A retry cannot bring lost events back, and parking one event would not help: the
            // whole past of the follower is in doubt.
            _ if has_gone_back => {
                error!(follower = %self.name, %position, error = %failure.cause, "follower stopped: the log went back");
                (FollowerState::Stopped(failure), Step::Stopped)
            }
            OnFailure::Stop | OnFailure::Park => {
                error!(follower = %self.name, %position, error = %failure.cause, "follower stopped");
                (FollowerState::Stopped(failure), Step::Stopped)
            }
            OnFailure::Retry => {
                warn!(follower = %self.name, %position, error = %failure.cause, "follower failed; it will retry");
                (FollowerState::Retrying(failure), Step::Failing)
            }
        };
        self.status.send_modify(|status| status.state = state);
        step
    }

    pub(in crate::system) fn failure(
        &self,
        position: Position,
        event: String,
        source: BoxError,
    ) -> FollowerFailure {
        let follower = self.name.clone();
        let (cause, source) = described(source);

        FollowerFailure {
            follower,
            position,
            event,
            cause,
            source,
        }
    }

    /// Clears a previous failure.
    pub(super) fn clear_failure(&self) {
        self.status.send_if_modified(|status| {
            let had_failed = status.state.failure().is_some();
            status.state = FollowerState::Running;
            had_failed
        });
    }

    /// Lets the follower continue if it has stopped, and returns `true` if it had. The task that
    /// runs it is woken.
    pub(crate) fn resume(&self) -> bool {
        let resumed = self.status.send_if_modified(|status| {
            let had_stopped = status.state.stopped().is_some();
            if had_stopped {
                status.state = FollowerState::Running;
            }
            had_stopped
        });
        if resumed {
            info!(follower = %self.name, partition = self.partition.number() + 1, "follower resumed");
        }
        resumed
    }

    /// Waits until the follower is before `position` again. A retry of a parked event reloads the
    /// stored position, which can lie before the one that this process had skipped to.
    pub(crate) async fn until_behind(&self, position: Position) {
        let mut status = self.status();
        let behind = status.wait_for(|status| status.reached < position).await;
        drop(behind.expect("the sender lives as long as this worker"));
    }

    /// Waits until the follower is resumed. Returns at once if it has not stopped.
    pub(crate) async fn until_resumed(&self) {
        let mut status = self.status();
        let resumed = status
            .wait_for(|status| status.state.stopped().is_none())
            .await;
        resumed.expect("the sender lives as long as this worker");
    }
}
