//! [`FollowerFailure`]: why a follower does not work.

use std::error::Error;
use std::sync::Arc;

use crate::store::{Name, Position};

/// Which follower failed, where and why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("follower {follower} stands before position {position} ({event}): {cause}")]
#[non_exhaustive]
pub struct FollowerFailure {
    /// The follower.
    pub follower: Name,
    /// The position of the event it cannot deal with.
    pub position: Position,
    /// The name, stream and version of that event; or the timer it cannot deal with, before that position.
    pub event: String,
    /// What the policy or projection said and what caused that, in one line.
    pub cause: String,
    /// What the policy or projection said.
    #[source]
    pub source: Arc<dyn Error + Send + Sync>,
}
