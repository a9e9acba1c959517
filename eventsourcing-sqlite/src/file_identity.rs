//! Distinguishes one file from another, and one state of a file from a later one, without opening the file.
//!
//! The database file must never be opened and closed beside SQLite: when a process closes any handle of a file, POSIX
//! drops all locks that the process holds on it, including those by which SQLite excludes other processes.

use std::fs::Metadata;
use std::time::Duration;

/// The longest tick of a file system's clock. Two changes within one tick may leave the same [`Stamp`].
const CLOCK_TICK_MAX: Duration = Duration::from_millis(20);

/// The identity of the file that a path names.
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

    /// Returns the time of the last change of the inode, which no program can set: a copy with a preserved modification
    /// time is noticed too.
    pub(super) fn changed(file: &Metadata) -> Duration {
        let seconds = u64::try_from(file.ctime()).unwrap_or_default();
        let nanoseconds = u32::try_from(file.ctime_nsec()).unwrap_or_default();
        Duration::new(seconds, nanoseconds)
    }

    pub(super) fn names(file: &Metadata) -> u64 {
        file.nlink()
    }
}

/// On other systems an open database cannot be removed or renamed, so its creation time identifies it.
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

/// Returns the number of names (hard links) of the file.
pub(crate) fn names_of(file: &Metadata) -> u64 {
    of_metadata::names(file)
}
