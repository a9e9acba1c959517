//! [`FollowerSettings`]: what a program chooses for one follower.

use super::OnFailure;

/// What may be chosen for each follower.
#[derive(Clone, Copy, Debug)]
pub(super) struct FollowerSettings {
    /// `None`: as all others.
    pub(super) on_failure: Option<OnFailure>,
    pub(super) partitions: u32,
    /// It takes other events than it took, on purpose.
    pub(super) is_change_meant: bool,
}

impl FollowerSettings {
    pub(super) fn on_failure(self) -> OnFailure {
        self.on_failure.unwrap_or_default()
    }
}

impl Default for FollowerSettings {
    fn default() -> Self {
        Self {
            on_failure: None,
            partitions: 1,
            is_change_meant: false,
        }
    }
}
