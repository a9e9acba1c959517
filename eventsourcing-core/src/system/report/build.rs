//! [`RebuildProgress`]: the progress of building a new generation of a read model.

use std::time::Duration;

use super::FollowerFailure;

/// The progress of a build.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RebuildProgress {
    /// The number of positions of the logs that the build has processed or skipped.
    pub position: u64,
    /// The number of positions in the logs.
    pub head: u64,
    /// The positions processed per second, since this process started to watch the build.
    pub rate: f64,
    /// The estimated time that is left at that rate; `None` while there is nothing to estimate it
    /// from.
    pub remaining: Option<Duration>,
    /// The state of the build.
    pub state: RebuildState,
}

/// The state of a build.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RebuildState {
    /// The generation is being built.
    Building,
    /// The build has finished, and readers see the new generation.
    Live,
    /// The read model failed to process an event. Fix the cause and start the system again.
    Failed(FollowerFailure),
    /// Another version of the read model is built in its place.
    Superseded,
    /// The system was stopped. The build continues when the system is started again.
    Interrupted,
}
