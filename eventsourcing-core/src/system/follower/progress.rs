//! Showing where a follower is, failing, and going on after a stop.

use async_trait::async_trait;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::causes::{described, is_of_newer_release};
use super::cursor::Cursor;
use super::failure::Cause;
use super::status::{Status, Step};
use super::worker::Feed;
use crate::store::{LogQuery, Position, StoreError};
use crate::system::{FollowerFailure, FollowerState, OnFailure, Parked};

/// Whether an event waits for people.
#[async_trait]
pub(crate) trait Holds: Send + Sync {
    /// The parked stream because of which the event at `position` is not dealt with.
    async fn holding(&self, position: Position) -> Result<Option<Parked>, StoreError>;
}

#[async_trait]
impl<S: Send + Sync> Holds for Feed<S> {
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

impl<S> Feed<S> {
    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Shows how far it is.
    pub(in crate::system) fn show(&self, cursor: &Cursor) {
        let now = (cursor.reached, !cursor.parked.is_empty(), cursor.proven());
        self.status.send_if_modified(|status| {
            let before = (status.reached, status.has_parked, status.epoch);
            (status.reached, status.has_parked, status.epoch) = now;
            before != now
        });
    }

    pub(super) fn fail(&self, position: Position, event: String, source: Cause) -> Step {
        let is_outdated = is_of_newer_release(&*source);
        let has_gone_back = matches!(source.downcast_ref(), Some(StoreError::LogWentBack { .. }));
        let failure = self.failure(position, event, source);
        let (state, step) = match self.on_failure {
            _ if is_outdated => {
                warn!(follower = %self.name, %position, error = %failure.cause, "follower waits for a newer release");
                (FollowerState::WaitingForRelease(failure), Step::Outdated)
            }
            // What is lost does not come back by trying again, nor does it belong to one event.
            _ if has_gone_back => {
                error!(follower = %self.name, %position, error = %failure.cause, "follower stopped: the log went back");
                (FollowerState::Stopped(failure), Step::Stopped)
            }
            OnFailure::Stop | OnFailure::Park => {
                error!(follower = %self.name, %position, error = %failure.cause, "follower stopped");
                (FollowerState::Stopped(failure), Step::Stopped)
            }
            OnFailure::Retry => {
                warn!(follower = %self.name, %position, error = %failure.cause, "follower failed and tries again");
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
        source: Cause,
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

    /// Whatever was wrong is mended.
    pub(super) fn succeed(&self) {
        self.status.send_if_modified(|status| {
            let mended = status.state.failure().is_some();
            status.state = FollowerState::Running;
            mended
        });
    }

    /// It goes on if it has stopped; whether it had. Whoever runs it notices.
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

    /// Waits until the follower is before `position` again. What it has passed over is not always written down, and a retry of a
    /// parked event goes on from what is.
    pub(crate) async fn until_behind(&self, position: Position) {
        let mut status = self.status();
        let behind = status.wait_for(|status| status.reached < position).await;
        drop(behind.expect("the sender lives as long as this feed"));
    }

    /// Waits until it is resumed; not at all if it has not stopped.
    pub(crate) async fn until_resumed(&self) {
        let mut status = self.status();
        let resumed = status
            .wait_for(|status| status.state.stopped().is_none())
            .await;
        resumed.expect("the sender lives as long as this feed");
    }
}
