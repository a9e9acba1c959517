//! [`FollowerSettings`]: the choices of a program for one follower.

use super::OnFailure;

/// The choices of a program for one follower.
#[derive(Clone, Copy, Debug)]
pub(super) struct FollowerSettings {
    /// `None`: the default of the system.
    pub(super) on_failure: Option<OnFailure>,
    pub(super) partitions: u32,
    /// The program confirms that the follower takes other events than before.
    pub(super) is_change_confirmed: bool,
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
            is_change_confirmed: false,
        }
    }
}
