//! Leases: they choose, for each follower, the process that runs it.
//!
//! Leases save work. They do not make a follower exactly once: its position does, which each append
//! checks.

mod lease;
mod membership;

use std::time::Duration;

use crate::store::HolderId;

pub(crate) use lease::{LeaseKeeper, LeaseState};
pub(crate) use membership::Membership;

/// The identity of this process as a holder of leases, and their duration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaseConfig {
    pub(crate) holder: HolderId,
    pub(crate) duration: Duration,
}

/// Returns the process number and the host, so that people can find this process.
pub(super) fn this_process() -> String {
    format!(
        "pid {} on {}",
        std::process::id(),
        gethostname::gethostname().to_string_lossy()
    )
}
