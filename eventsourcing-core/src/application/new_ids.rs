//! [`NewIds`]: ids of new aggregates are the same in every attempt at a command.

use std::sync::atomic::{AtomicU32, Ordering};

use super::Application;

/// The ids that the attempts at one command draw: each draws those that the first one has drawn. When this is dropped they
/// can be drawn again, by a repetition of the command with the same handle.
pub(super) struct NewIds<'a> {
    drawn: &'a AtomicU32,
    /// The number of ids that were drawn before the first attempt.
    drawn_before: u32,
}

impl Application {
    pub(super) fn new_ids(&self) -> NewIds<'_> {
        let drawn = &*self.context.new_ids;
        NewIds {
            drawn,
            drawn_before: drawn.load(Ordering::Relaxed),
        }
    }
}

impl NewIds<'_> {
    /// To be called before each attempt.
    pub(super) fn begin_attempt(&self) {
        self.drawn.store(self.drawn_before, Ordering::Relaxed);
    }
}

impl Drop for NewIds<'_> {
    fn drop(&mut self) {
        self.begin_attempt();
    }
}
