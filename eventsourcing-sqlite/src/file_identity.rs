//! Tells one file from another, and one state of a file from a later one, without opening it.
//!
//! The database file must never be opened and closed beside SQLite: POSIX drops all locks that a process holds on a file
//! when the process closes any of its handles, and with them those that keep other processes out.

use std::fs::Metadata;
use std::time::Duration;

/// Two changes within this time may leave a file with the same [`Stamp`]: file systems take the time from a clock that
/// ticks every few milliseconds.
const CLOCK_TICK_MAX: Duration = Duration::from_millis(20);

/// Which file a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(u64, u64);

/// The state of a file: differs after each write, and after changes of its names and rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    bytes: u64,
    changed: Duration,
}

#[cfg(unix)]
mod of_metadata {
    use std::os::unix::fs::MetadataExt;

    use super::{Duration, Identity, Metadata};

    pub(super) fn identity(file: &Metadata) -> Identity {
        Identity(file.dev(), file.ino())
    }

    /// The time of the last change, which no program can set: a copy that keeps the time of writing does not hide.
    pub(super) fn changed(file: &Metadata) -> Duration {
        let seconds = u64::try_from(file.ctime()).unwrap_or_default();
        let nanoseconds = u32::try_from(file.ctime_nsec()).unwrap_or_default();
        Duration::new(seconds, nanoseconds)
    }

    pub(super) fn names(file: &Metadata) -> u64 {
        file.nlink()
    }
}

/// Elsewhere an open database cannot be removed or renamed, so the time it was made is enough.
#[cfg(not(unix))]
mod of_metadata {
    use std::io::Result;
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::{Duration, Identity, Metadata};

    pub(super) fn identity(file: &Metadata) -> Identity {
        let created = since_1970(file.created());
        Identity(created.as_secs(), created.subsec_nanos().into())
    }

    pub(super) fn changed(file: &Metadata) -> Duration {
        since_1970(file.modified())
    }

    pub(super) fn names(_: &Metadata) -> u64 {
        1
    }

    fn since_1970(time: Result<SystemTime>) -> Duration {
        time.ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .unwrap_or_default()
    }
}

impl Identity {
    pub(crate) fn of(file: &Metadata) -> Self {
        of_metadata::identity(file)
    }
}

impl Stamp {
    pub(crate) fn of(file: &Metadata) -> Self {
        Self {
            bytes: file.len(),
            changed: of_metadata::changed(file),
        }
    }

    /// Returns `true` if a write from now on is certain to leave another stamp.
    pub(crate) fn is_settled(&self) -> bool {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        now > self.changed + CLOCK_TICK_MAX
    }
}

/// The number of names (hard links) that the file has.
pub(crate) fn names_of(file: &Metadata) -> u64 {
    of_metadata::names(file)
}
