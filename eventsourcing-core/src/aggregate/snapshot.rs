//! Snapshots shorten loading. They are hints: without them every result is the same, only later.

use crate::store::Version;

/// The progress of an aggregate in a save, from which a policy decides whether to keep a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The version before the save.
    pub before: Version,
    /// The version after the save; a snapshot would be of this one.
    pub after: Version,
    /// The version of the snapshot the aggregate was loaded from or last kept, zero if there was
    /// none.
    pub snapshot: Version,
}

impl Progress {
    /// Returns the step from `before` to `after` of an aggregate without a snapshot.
    #[must_use]
    pub fn new(before: Version, after: Version) -> Self {
        Self {
            before,
            after,
            snapshot: Version::ZERO,
        }
    }
}

/// Decides when a snapshot is kept. Implement it for rules of your own.
///
/// ```
/// use eventsourcing_core::snapshot::{Progress, SnapshotPolicy};
///
/// /// Often at first, then ever less: at versions 16, 32, 64, 128 …
/// struct Doubling;
///
/// impl SnapshotPolicy for Doubling {
///     fn is_due(&self, progress: &Progress) -> bool {
///         progress.after.as_u64() >= (progress.snapshot.as_u64() * 2).max(16)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say when to keep snapshots",
    label = "write `every(50)`, `never()` or a value of a type with `SnapshotPolicy`"
)]
pub trait SnapshotPolicy: Send + Sync + 'static {
    /// Returns `true` if the save keeps a snapshot.
    fn is_due(&self, progress: &Progress) -> bool;
}

/// Keeps a snapshot whenever the version passes a multiple of `events`, so that loading reads fewer
/// than `events` events.
///
/// `every(0)` is [`never()`].
#[must_use]
pub fn every(events: u64) -> Every {
    Every { events }
}

/// Keeps no snapshots. The default.
#[must_use]
pub fn never() -> Never {
    Never
}

/// The policy that [`every`] returns.
#[derive(Clone, Copy, Debug)]
pub struct Every {
    events: u64,
}

impl SnapshotPolicy for Every {
    fn is_due(&self, progress: &Progress) -> bool {
        // A save may append several events and step over a multiple, so the numbers of multiples
        // passed are compared. For `every(0)` both are `None`, and never in order.
        let multiples = |version: Version| version.as_u64().checked_div(self.events);
        multiples(progress.before) < multiples(progress.after)
    }
}

/// The policy that [`never()`] returns.
#[derive(Clone, Copy, Debug)]
pub struct Never;

impl SnapshotPolicy for Never {
    fn is_due(&self, _: &Progress) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(policy: impl SnapshotPolicy, before: u64, after: u64) -> bool {
        policy.is_due(&Progress::new(Version::new(before), Version::new(after)))
    }

    #[test]
    fn every_is_due_when_a_multiple_is_passed() {
        assert!(!due(every(50), 48, 49));
        assert!(due(every(50), 49, 50));
        assert!(!due(every(50), 50, 51));
        assert!(due(every(50), 40, 160));
        assert!(due(every(1), 0, 1));
    }

    #[test]
    fn every_zero_and_never_are_never_due() {
        assert!(!due(every(0), 0, 1_000));
        assert!(!due(never(), 0, 1_000));
    }
}
