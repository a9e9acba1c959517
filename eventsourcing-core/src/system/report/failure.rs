//! [`FollowerFailure`]: an event or timer that a follower failed to process, and the reason.

use std::error::Error;
use std::sync::Arc;

use crate::store::{Name, Position};

/// The failure of a follower: its place in the log, and the cause.
#[derive(Clone, Debug, thiserror::Error)]
#[error("follower {follower} failed at position {position} ({event}): {cause}")]
#[non_exhaustive]
pub struct FollowerFailure {
    /// The follower.
    pub follower: Name,
    /// The position of the event that the follower failed to process.
    pub position: Position,
    /// The name, stream and version of that event; or the timer that failed before that position.
    pub event: String,
    /// The error of the policy or projection and its sources, in one line.
    pub cause: String,
    /// The error of the policy or projection.
    #[source]
    pub source: Arc<dyn Error + Send + Sync>,
}
