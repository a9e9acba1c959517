//! [`BuildProgress`]: how far the build of a read model has come.

use std::time::Duration;

use super::FollowerFailure;

/// How far a build has come.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BuildProgress {
    /// How many positions of the logs it has dealt with or passed over.
    pub position: u64,
    /// How many there are.
    pub head: u64,
    /// How many it deals with in a second, since this process follows the build.
    pub rate: f64,
    /// How long it will take at that rate; `None` as long as nobody can tell.
    pub remaining: Option<Duration>,
    /// How it is going.
    pub state: BuildState,
}

/// How a build is going.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BuildState {
    /// It is being built.
    Building,
    /// Readers see it.
    Shown,
    /// It cannot deal with an event. Mend the cause and start the system again.
    Failed(FollowerFailure),
    /// Another version is built in its place.
    GivenUp,
    /// The system was stopped. The build goes on when it is started again.
    Interrupted,
}
