//! Leases: of the processes that run a system, the one that runs each follower.

mod lease;
mod membership;

use std::time::Duration;

use crate::store::HolderId;

pub(crate) use lease::{Tenure, Turn};
pub(crate) use membership::Seats;

/// Who holds leases, and for how long at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) holder: HolderId,
    pub(crate) duration: Duration,
}

/// Where to find this process.
pub(super) fn this_process() -> String {
    format!(
        "pid {} on {}",
        std::process::id(),
        gethostname::gethostname().to_string_lossy()
    )
}
